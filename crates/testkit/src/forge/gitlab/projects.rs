//! GitLab's API below a project: commits, statuses, refs, archives
//! (<https://docs.gitlab.com/api/commits/>, `/branches/`, `/tags/`, `/repositories/`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::clock::{now_s, rfc3339};
use super::super::facts::{Change, Commit, RefLine, RootEntry, refs, root, short_ref};
use super::super::family::{About, Notice};
use super::super::http::{Answer, Call};
use super::super::state::{CommitStatus, Hook, Repository};
use super::super::{Inner, archive};
use super::routes::paged;
use super::{failed, payload};

const STATES: &[&str] = &["pending", "running", "success", "failed", "canceled", "skipped"];
const DESCRIPTION_CHARS_MAX: usize = 255;

pub(super) fn answer(
    forge: &Inner,
    call: &Call,
    repository: &Repository,
    about: &About,
    parts: &[&str],
) -> Answer {
    let repo = &repository.repo;
    match (call.method.as_str(), parts) {
        ("GET", []) => Answer::json(200, &project(about)),
        ("POST", ["statuses", commit]) => create_status(forge, call, repository, about, commit),
        ("GET", ["repository", "commits", name]) => match Commit::find(repo, name) {
            Some(commit) => Answer::json(200, &commit_json(about, &commit)),
            None => failed(404, "404 Commit Not Found"),
        },
        ("GET", ["repository", "commits", name, "statuses"]) => {
            let Some(commit) = Commit::find(repo, name) else { return failed(404, "404 Commit Not Found") };
            let of = repository.statuses.iter().filter(|status| status.commit == commit.id);
            paged(call, of.map(|status| status_json(about, status)).collect())
        }
        ("GET", ["repository", kind @ ("branches" | "tags")]) => paged(
            call,
            listed(repository, kind).iter().map(|line| ref_json(about, repository, line)).collect(),
        ),
        ("GET", ["repository", kind @ ("branches" | "tags"), name]) => {
            let all = listed(repository, kind);
            match all.iter().find(|line| short_ref(&line.name) == *name) {
                Some(line) => Answer::json(200, &ref_json(about, repository, line)),
                None if *kind == "tags" => failed(404, "404 Tag Not Found"),
                None => failed(404, "404 Branch Not Found"),
            }
        }
        ("GET", ["repository", "tree"]) => {
            let Some(commit) = Commit::find(repo, call.query("ref").unwrap_or("HEAD")) else {
                return failed(404, "404 Tree Not Found");
            };
            let entry = |one: RootEntry| json!({ "id": one.id, "name": one.name, "type": one.kind, "path": one.name, "mode": one.mode });
            paged(call, root(repo, &commit.id).into_iter().map(entry).collect())
        }
        ("GET", ["repository", file]) => match archive::split_format(file) {
            Some(("archive", format)) => download(call, repository, format),
            None if *file == "archive" => download(call, repository, "tar.gz"),
            _ => failed(404, "404 Not Found"),
        },
        _ => failed(404, "404 Not Found"),
    }
}

fn project(about: &About) -> Value {
    let (name, owner) = (about.name(), about.owner());
    json!({
        "id": about.id,
        "description": "A fixture",
        "name": name,
        "name_with_namespace": format!("{owner} / {name}"),
        "path": name,
        "path_with_namespace": about.full_name,
        "created_at": "2023-11-14T22:13:20.000Z",
        "default_branch": "main",
        "topics": [],
        "ssh_url_to_repo": about.ssh_url,
        "http_url_to_repo": about.clone_url,
        "web_url": format!("{}/{}", about.web, about.full_name),
        "namespace": { "id": 2, "name": owner, "path": owner, "kind": "group", "full_path": owner },
        "visibility": if about.is_private { "private" } else { "public" },
        "archived": false,
        "empty_repo": false,
    })
}

fn listed(repository: &Repository, kind: &str) -> Vec<RefLine> {
    refs(&repository.repo, if kind == "tags" { "refs/tags/" } else { "refs/heads/" })
}

fn ref_json(about: &About, repository: &Repository, line: &RefLine) -> Value {
    let commit = Commit::find(&repository.repo, &line.commit).map(|commit| commit_json(about, &commit));
    let name = short_ref(&line.name);
    if line.name.starts_with("refs/tags/") {
        return json!({ "name": name, "message": null, "target": line.object, "commit": commit, "release": null, "protected": false });
    }
    json!({ "name": name, "merged": false, "protected": false, "default": name == "main", "commit": commit })
}

/// GitLab tells no trees of commits.
fn commit_json(about: &About, commit: &Commit) -> Value {
    json!({
        "id": commit.id,
        "short_id": &commit.id[..8],
        "title": commit.title(),
        "message": commit.message,
        "author_name": commit.author.0,
        "author_email": commit.author.1,
        "authored_date": commit.time,
        "committer_name": commit.committer.0,
        "committer_email": commit.committer.1,
        "committed_date": commit.time,
        "created_at": commit.time,
        "parent_ids": commit.parents,
        "web_url": format!("{}/{}/-/commit/{}", about.web, about.full_name, commit.id),
    })
}

fn status_json(about: &About, status: &CommitStatus) -> Value {
    let none_if_empty = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "id": status.id,
        "sha": status.commit,
        "ref": "main",
        "status": status.state,
        "name": status.context,
        "target_url": none_if_empty(&status.url),
        "description": none_if_empty(&status.description),
        "created_at": rfc3339(status.created_s),
        "started_at": null,
        "finished_at": null,
        "allow_failure": false,
        "coverage": null,
        "author": { "id": payload::USER_ID, "username": "fixture", "web_url": format!("{}/fixture", about.web) },
    })
}

fn create_status(forge: &Inner, call: &Call, repository: &Repository, about: &About, commit: &str) -> Answer {
    // Parameters may stand in the query as well.
    let body = call.json().unwrap_or_default();
    let field = |name: &str| body[name].as_str().or_else(|| call.query(name)).unwrap_or_default().to_owned();
    let state = field("state");
    if state.is_empty() {
        return Answer::json(400, &json!({ "error": "state is missing, state does not have a valid value" }));
    }
    if !STATES.contains(&state.as_str()) {
        return Answer::json(400, &json!({ "error": "state does not have a valid value" }));
    }
    if Commit::find(&repository.repo, commit).is_none_or(|found| found.id != commit) {
        return failed(404, "404 Commit Not Found");
    }
    if field("description").chars().count() > DESCRIPTION_CHARS_MAX {
        let message = json!({ "description": ["is too long (maximum is 255 characters)"] });
        return Answer::json(400, &json!({ "message": message }));
    }
    let context = [field("name"), field("context"), "default".to_owned()];
    let context = context.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
    let is_same = |status: &&CommitStatus| status.commit == commit && status.context == context;
    let last = repository.statuses.iter().rev().find(is_same);
    // A status goes from state to state, and never to the one it is in.
    if let Some(last) = last.filter(|last| last.state == state) {
        let event = match last.state.as_str() {
            "pending" => "enqueue",
            "running" => "run",
            "success" => "success",
            "failed" => "drop",
            "skipped" => "skip",
            _ => "cancel",
        };
        let reason = format!("(Reason(s): Status cannot transition via \"{event}\")");
        let message = format!("Cannot transition status via :{event} from :{state} {reason}");
        return failed(400, &message);
    }
    let status = CommitStatus {
        id: forge.new_id(),
        commit: commit.to_owned(),
        state,
        context,
        description: field("description"),
        url: field("target_url"),
        created_s: now_s(),
    };
    forge.change(&repository.full_name, |repository| repository.statuses.push(status.clone()));
    Answer::json(201, &status_json(about, &status))
}

/// The top folder has the project's path, what was asked for, and the commit.
fn download(call: &Call, repository: &Repository, format: &str) -> Answer {
    let asked = call.query("sha").unwrap_or("HEAD");
    let Some(commit) = Commit::find(&repository.repo, asked) else {
        return failed(404, "404 File Not Found");
    };
    let asked = if asked == "HEAD" { "main" } else { asked };
    let folder = format!("{}-{}-{}", repository.name(), asked.replace('/', "-"), commit.id);
    archive::answer(&repository.repo, &commit.id, format, &folder, &format!("{folder}.{format}"))
}

/// A test tells of what is there: the newest commit of the default branch, or a tag.
pub(super) fn test_hook(forge: &Arc<Inner>, repository: &Repository, hook: &Hook, trigger: &str) -> Answer {
    let about = forge.about(repository);
    let (git_ref, event) = match trigger {
        "push_events" => ("refs/heads/main".to_owned(), "Push Hook"),
        "tag_push_events" => {
            let tag = refs(&repository.repo, "refs/tags/").pop();
            (tag.map(|line| line.name).unwrap_or_default(), "Tag Push Hook")
        }
        _ => return failed(422, "Ensure the project has at least one of these."),
    };
    let Some(commit) = repository.repo.resolve(&git_ref) else {
        return failed(422, "Ensure the project has at least one commit.");
    };
    let change = Change::look(&repository.repo, &git_ref, None, Some(&commit));
    let notice = Notice::new(event, "", payload::push(&about, &change));
    let delivery = forge.deliver_to(repository, hook, &notice);
    forge.send_later(delivery);
    failed(201, "201 Created")
}
