//! Statuses of commits at Gitea and Forgejo.

use serde_json::{Value, json};

use super::super::Inner;
use super::super::clock::{now_s, rfc3339};
use super::super::facts::Commit;
use super::super::family::About;
use super::super::http::{Answer, Call};
use super::super::state::{CommitStatus, Repository};
use super::routes::{failed, not_found, paged};
use super::{Gitea, payload};

const STATES: &[&str] = &["pending", "success", "error", "failure", "warning", "skipped"];

pub(super) fn answer(
    of: &Gitea,
    forge: &Inner,
    call: &Call,
    repository: &Repository,
    about: &About,
    parts: &[&str],
) -> Answer {
    match (call.method.as_str(), parts) {
        ("POST", ["statuses", commit]) => create(forge, call, repository, about, commit),
        ("GET", ["statuses", name] | ["commits", name, "statuses"]) => {
            let Some(commit) = Commit::find(&repository.repo, name) else { return not_found(call) };
            let all = repository.statuses.iter().rev().filter(|status| status.commit == commit.id);
            paged(of, call, all.map(|status| shown(about, status)).collect())
        }
        _ => not_found(call),
    }
}

fn shown(about: &About, status: &CommitStatus) -> Value {
    json!({
        "id": status.id,
        "status": status.state,
        "target_url": status.url,
        "description": status.description,
        "url": format!("{}/repos/{}/statuses/{}", about.api, about.full_name, status.commit),
        "context": status.context,
        "creator": payload::user(about, "fixture", 2),
        "created_at": rfc3339(status.created_s),
        "updated_at": rfc3339(status.created_s),
    })
}

fn create(forge: &Inner, call: &Call, repository: &Repository, about: &About, commit: &str) -> Answer {
    let Some(body) = call.json() else { return failed(call, 422, "the body is not JSON") };
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    if !STATES.contains(&text("state").as_str()) {
        return failed(call, 422, "[State]: unknown");
    }
    let Some(found) = Commit::find(&repository.repo, commit) else { return not_found(call) };
    let context =
        Some(text("context")).filter(|text| !text.is_empty()).unwrap_or_else(|| "default".to_owned());
    let status = CommitStatus {
        id: forge.new_id(),
        commit: found.id,
        state: text("state"),
        context,
        description: text("description"),
        url: text("target_url"),
        created_s: now_s(),
    };
    forge.change(&repository.full_name, |repository| repository.statuses.push(status.clone()));
    Answer::json(201, &shown(about, &status))
}
