//! GitHub's statuses of commits: <https://docs.github.com/en/rest/commits/statuses>.

use serde_json::{Value, json};

use super::super::Inner;
use super::super::clock::{now_s, rfc3339};
use super::super::facts::Commit;
use super::super::family::About;
use super::super::http::{Answer, Call};
use super::super::state::{CommitStatus, Repository};
use super::routes::paged;
use super::{failed, invalid, payload};

const DESCRIPTION_CHARS_MAX: usize = 140;
const STATUSES_MAX: usize = 1_000;

/// The statuses of a commit, newest first.
pub(super) fn list(call: &Call, repository: &Repository, about: &About, name: &str) -> Answer {
    let Some(commit) = Commit::find(&repository.repo, name) else { return failed(404, "Not Found") };
    let of = repository.statuses.iter().rev().filter(|status| status.commit == commit.id);
    paged(call, of.map(|status| status_json(about, status)).collect())
}

fn status_json(about: &About, status: &CommitStatus) -> Value {
    let none_if_empty = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "url": format!("{}/repos/{}/statuses/{}", about.api, about.full_name, status.commit),
        "id": status.id,
        "state": status.state,
        "description": none_if_empty(&status.description),
        "target_url": none_if_empty(&status.url),
        "context": status.context,
        "created_at": rfc3339(status.created_s),
        "updated_at": rfc3339(status.created_s),
        "creator": payload::user("fixture", 501_000_002, &about.web),
    })
}

pub(super) fn create(
    forge: &Inner,
    call: &Call,
    repository: &Repository,
    about: &About,
    commit: &str,
) -> Answer {
    let Some(body) = call.json() else { return failed(400, "Problems parsing JSON") };
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    let custom = |field: &str, message: &str| {
        invalid(json!({ "resource": "Status", "code": "custom", "field": field, "message": message }))
    };
    if !["error", "failure", "pending", "success"].contains(&text("state").as_str()) {
        return custom("state", "state is not included in the list");
    }
    if text("description").chars().count() > DESCRIPTION_CHARS_MAX {
        return custom("description", "description is too long (maximum is 140 characters)");
    }
    // A commit that has a status is there; asking git a thousand times takes long.
    let is_known = repository.statuses.iter().any(|status| status.commit == commit);
    if !is_known && Commit::find(&repository.repo, commit).is_none_or(|found| found.id != commit) {
        return failed(422, &format!("No commit found for SHA: {commit}"));
    }
    let context = body["context"].as_str().unwrap_or("default").to_owned();
    let is_same = |status: &&CommitStatus| status.commit == commit && status.context == context;
    if repository.statuses.iter().filter(is_same).count() >= STATUSES_MAX {
        return custom("base", "This SHA and context has reached the maximum number of statuses.");
    }
    let status = CommitStatus {
        id: forge.new_id(),
        commit: commit.to_owned(),
        state: text("state"),
        context,
        description: text("description"),
        url: text("target_url"),
        created_s: now_s(),
    };
    forge.change(&repository.full_name, |repository| repository.statuses.push(status.clone()));
    Answer::json(201, &status_json(about, &status))
}
