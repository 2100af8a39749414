//! Bitbucket Data Center's refs, commits, build statuses and archives.

use serde_json::{Value, json};

use super::super::clock::now_s;
use super::super::facts::{Commit, RefLine, refs, short_ref};
use super::super::family::{About, Shape as _};
use super::super::http::{Answer, Call};
use super::super::state::{CommitStatus, Grant, Repository};
use super::super::{Inner, archive};
use super::routes::paged;
use super::{failed, invalid, not_found, payload};

const STATES: &[&str] = &["SUCCESSFUL", "FAILED", "INPROGRESS", "CANCELLED", "UNKNOWN"];
const CHARS_MAX: usize = 255;

pub(super) fn answer(
    forge: &Inner,
    call: &Call,
    repository: &Repository,
    _about: &About,
    parts: &[&str],
) -> Answer {
    let repo = &repository.repo;
    match (call.method.as_str(), parts) {
        ("GET", ["branches"]) => paged(call, listed(call, repository, "refs/heads/")),
        ("GET", ["tags"]) => paged(call, listed(call, repository, "refs/tags/")),
        ("GET", ["tags", name @ ..]) => {
            let wanted = format!("refs/tags/{}", name.join("/"));
            match refs(repo, &wanted).iter().find(|line| line.name == wanted) {
                Some(line) => Answer::json(200, &ref_json(line)),
                None => not_found("Tag does not exist.", "repository.NoSuchTagException"),
            }
        }
        ("GET", ["commits", name]) => match Commit::find(repo, name) {
            // It tells no trees of commits.
            Some(commit) => Answer::json(200, &payload::commit(&commit)),
            None => no_commit(name),
        },
        ("POST", ["commits", commit, "builds"]) => put_status(forge, call, repository, commit),
        ("GET", ["commits", commit, "builds"]) => {
            let key = call.query("key").unwrap_or_default();
            let found = newest(repository, commit).into_iter().find(|status| status.context == key);
            match found {
                Some(status) => Answer::json(200, &status_json(&status)),
                None => not_found("Build status does not exist.", "build.NoSuchBuildStatusException"),
            }
        }
        ("GET", ["archive"]) => download(call, repository),
        _ => failed(404, "HTTP 404 Not Found", "javax.ws.rs.NotFoundException"),
    }
}

fn no_commit(name: &str) -> Answer {
    not_found(&format!("Commit '{name}' does not exist in the repository."), "commit.NoSuchCommitException")
}

fn ref_json(line: &RefLine) -> Value {
    let name = short_ref(&line.name);
    if line.name.starts_with("refs/tags/") {
        let hash = (line.kind == "tag").then(|| line.object.clone());
        return json!({ "id": line.name, "displayId": name, "type": "TAG", "latestCommit": line.commit, "latestChangeset": line.commit, "hash": hash });
    }
    json!({ "id": line.name, "displayId": name, "type": "BRANCH", "latestCommit": line.commit, "latestChangeset": line.commit, "isDefault": name == "main" })
}

fn listed(call: &Call, repository: &Repository, prefix: &str) -> Vec<Value> {
    let text = call.query("filterText").unwrap_or_default();
    let all = refs(&repository.repo, prefix);
    all.iter().filter(|line| short_ref(&line.name).contains(text)).map(ref_json).collect()
}

/// Of each key there is one, the newest.
fn newest(repository: &Repository, commit: &str) -> Vec<CommitStatus> {
    let mut found: Vec<CommitStatus> = Vec::new();
    for status in repository.statuses.iter().filter(|status| status.commit == commit) {
        found.retain(|known| known.context != status.context);
        found.push(status.clone());
    }
    found
}

fn status_json(status: &CommitStatus) -> Value {
    json!({
        "key": status.context,
        "state": status.state,
        "name": status.context,
        "url": status.url,
        "description": status.description,
        "createdDate": status.created_s * 1_000,
        "updatedDate": status.created_s * 1_000,
    })
}

fn put_status(forge: &Inner, call: &Call, repository: &Repository, commit: &str) -> Answer {
    let Some(body) = call.json() else { return invalid("", "The request body is not valid JSON") };
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    for field in ["key", "state", "url"] {
        if text(field).is_empty() {
            return invalid(field, &format!("A {field} is required"));
        }
    }
    if !STATES.contains(&text("state").as_str()) {
        return invalid("state", "The state is not a known one");
    }
    for field in ["key", "description", "name"] {
        if text(field).chars().count() > CHARS_MAX {
            return invalid(field, "Please enter a non-empty value less than 255 characters");
        }
    }
    if Commit::find(&repository.repo, commit).is_none_or(|found| found.id != commit) {
        return no_commit(commit);
    }
    let status = CommitStatus {
        id: forge.new_id(),
        commit: commit.to_owned(),
        state: text("state"),
        context: text("key"),
        description: text("description"),
        url: text("url"),
        created_s: now_s(),
    };
    forge.change(&repository.full_name, |repository| repository.statuses.push(status));
    Answer::empty(204)
}

/// The older way, in which a commit is of no repository.
pub(super) fn old_statuses(forge: &Inner, call: &Call, commit: &str) -> Answer {
    let all: Vec<Repository> = forge.state().repositories.values().cloned().collect();
    let found = all.iter().find(|repository| Commit::find(&repository.repo, commit).is_some());
    let need = if call.method == "GET" { Grant::Read } else { Grant::Write };
    let name = found.map_or("", |repository| repository.full_name.as_str());
    let token = super::BitbucketServer.token(call);
    let repository = match forge.admit(token.as_deref(), name, need) {
        Ok(repository) => repository,
        Err(why) => return super::BitbucketServer.refused(why, call),
    };
    match call.method.as_str() {
        "GET" => paged(call, newest(&repository, commit).iter().map(status_json).collect()),
        "POST" => put_status(forge, call, &repository, commit),
        _ => failed(405, "HTTP 405 Method Not Allowed", "javax.ws.rs.NotAllowedException"),
    }
}

/// There is no top folder but the one that is asked for.
fn download(call: &Call, repository: &Repository) -> Answer {
    let at = call.query("at").unwrap_or("HEAD");
    let Some(commit) = Commit::find(&repository.repo, at) else { return no_commit(at) };
    let format = match call.query("format").unwrap_or("zip") {
        "zip" => "zip",
        "tar" => "tar",
        "tar.gz" | "tgz" => "tar.gz",
        other => return invalid("format", &format!("The format {other} is not supported")),
    };
    let folder = call.query("prefix").unwrap_or_default().trim_end_matches('/');
    let file = format!("{}-{}.{format}", repository.name(), &commit.id[..11]);
    archive::answer(&repository.repo, &commit.id, format, folder, &file)
}
