//! Azure DevOps' refs, commits, statuses and downloads.

use serde_json::{Value, json};

use super::super::clock::{now_s, rfc3339};
use super::super::facts::{Commit, RefLine, refs};
use super::super::family::About;
use super::super::http::{Answer, Call};
use super::super::state::{CommitStatus, Repository};
use super::super::{Inner, archive};
use super::{failed, payload};

const STATES: &[&str] = &["notSet", "pending", "succeeded", "failed", "error", "notApplicable"];
const REFS_MAX: usize = 1_000;

pub(super) fn answer(
    forge: &Inner,
    call: &Call,
    repository: &Repository,
    about: &About,
    parts: &[&str],
) -> Answer {
    match (call.method.as_str(), parts) {
        ("GET", []) => Answer::json(200, &payload::repository(about)),
        ("GET", ["refs"]) => list(call, repository),
        ("GET", ["commits", id]) => match commit(repository, id) {
            Some(commit) => {
                let mut value = payload::commit(about, &commit);
                value["treeId"] = commit.tree.clone().into();
                value["parents"] = commit.parents.clone().into();
                Answer::json(200, &value)
            }
            None => no_commit(id),
        },
        ("GET", ["commits", id, "statuses"]) => {
            let all = repository.statuses.iter().rev().filter(|status| status.commit == *id);
            let all: Vec<Value> = all.map(status_json).collect();
            Answer::json(200, &json!({ "count": all.len(), "value": all }))
        }
        ("POST", ["commits", id, "statuses"]) => create_status(forge, call, repository, id),
        ("GET", ["items"]) => download(call, repository),
        _ => failed(404, "The resource cannot be found.", "VssResourceNotFoundException"),
    }
}

fn commit(repository: &Repository, id: &str) -> Option<Commit> {
    Commit::find(&repository.repo, id).filter(|commit| commit.id == id)
}

fn no_commit(id: &str) -> Answer {
    failed(
        404,
        &format!("TF401175: The version descriptor {id} could not be resolved."),
        "GitUnresolvableToCommitException",
    )
}

/// The filter is what stands behind `refs/`; further pages are by a token in a header.
fn list(call: &Call, repository: &Repository) -> Answer {
    let prefix = format!("refs/{}", call.query("filter").unwrap_or_default());
    let start: usize = call.query("continuationToken").and_then(|text| text.parse().ok()).unwrap_or(0);
    let top = call.number("$top", REFS_MAX, REFS_MAX);
    let all: Vec<RefLine> =
        refs(&repository.repo, "refs/").into_iter().filter(|line| line.name.starts_with(&prefix)).collect();
    let is_peeled = call.query("peelTags") == Some("true");
    let shown = |line: &RefLine| {
        let mut value = json!({ "name": line.name, "objectId": line.object });
        if is_peeled && line.kind == "tag" {
            value["peeledObjectId"] = line.commit.clone().into();
        }
        value
    };
    let page: Vec<Value> = all.iter().skip(start).take(top).map(shown).collect();
    let end = start + page.len();
    let answer = Answer::json(200, &json!({ "count": page.len(), "value": page }));
    if end < all.len() { answer.with("x-ms-continuationtoken", end.to_string()) } else { answer }
}

fn status_json(status: &CommitStatus) -> Value {
    let (genre, name) = status.context.split_once('/').unwrap_or(("", &status.context));
    json!({
        "id": status.id,
        "state": status.state,
        "description": status.description,
        "targetUrl": status.url,
        "context": { "name": name, "genre": genre },
        "creationDate": rfc3339(status.created_s),
        "updatedDate": rfc3339(status.created_s),
        "createdBy": { "displayName": "Fixture", "uniqueName": "fixture@example.org" },
    })
}

fn create_status(forge: &Inner, call: &Call, repository: &Repository, id: &str) -> Answer {
    let wrong = |message: &str| failed(400, message, "InvalidArgumentValueException");
    let Some(body) = call.json() else { return wrong("The request body is not valid JSON.") };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let state = text(&body["state"]);
    if !STATES.contains(&state.as_str()) {
        return wrong("The state is not one of the known ones.");
    }
    let name = text(&body["context"]["name"]);
    if name.is_empty() {
        return wrong("A status must have a context with a name.");
    }
    if commit(repository, id).is_none() {
        return no_commit(id);
    }
    let genre = text(&body["context"]["genre"]);
    let context = if genre.is_empty() { name } else { format!("{genre}/{name}") };
    let status = CommitStatus {
        id: forge.new_id(),
        commit: id.to_owned(),
        state,
        context,
        description: text(&body["description"]),
        url: text(&body["targetUrl"]),
        created_s: now_s(),
    };
    forge.change(&repository.full_name, |repository| repository.statuses.push(status.clone()));
    Answer::json(201, &status_json(&status))
}

/// The whole repository as a zip, without a top folder and without submodules; what `.gitattributes` says is not followed.
/// (None of the three is in the documentation: clients have met them.)
fn download(call: &Call, repository: &Repository) -> Answer {
    let of = |name: &str| {
        let plain = call.query(&format!("versionDescriptor.{name}"));
        plain.or_else(|| call.query(&format!("versionDescriptor[{name}]")))
    };
    let is_whole = call.query("path") == Some("/") || call.query("scopePath") == Some("/");
    if call.query("$format") != Some("zip") || !is_whole {
        return failed(
            400,
            "Only the whole repository as a zip can be had here.",
            "InvalidArgumentValueException",
        );
    }
    let version = of("version").unwrap_or("main");
    let name = match of("versionType").unwrap_or("branch") {
        "commit" => version.to_owned(),
        "tag" => format!("refs/tags/{version}"),
        _ => format!("refs/heads/{version}"),
    };
    match Commit::find(&repository.repo, &name) {
        Some(commit) => {
            // It wins over the repository's own.
            let attributes = repository.repo.path().join("info/attributes");
            std::fs::create_dir_all(attributes.parent().expect("a folder")).expect("a folder can be made");
            std::fs::write(attributes, "* !export-ignore !export-subst\n").expect("a file can be written");
            let file = format!("{}.zip", repository.name());
            let mut answer = archive::answer(&repository.repo, &commit.id, "zip", "", &file);
            if call.query("zipForUnix") != Some("true") {
                archive::forget_modes(&mut answer.body);
            }
            answer
        }
        None => no_commit(version),
    }
}
