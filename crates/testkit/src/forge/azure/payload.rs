//! Azure DevOps' payload of a push, with the fields of its documentation and values of our own.

use serde_json::{Value, json};

use super::super::delivery::uuid;
use super::super::facts::{Change, Commit};
use super::super::family::About;

pub(super) fn repository_id(about: &About) -> String {
    uuid(&format!("repository {}", about.id))
}

pub(super) fn project_id(project: &str) -> String {
    uuid(&format!("project {project}"))
}

pub(super) fn project(about: &About) -> Value {
    let id = project_id(about.owner());
    json!({
        "id": id,
        "name": about.owner(),
        "url": format!("{}/_apis/projects/{id}", about.api),
        "state": "wellFormed",
        "visibility": if about.is_private { "private" } else { "public" },
        "lastUpdateTime": "2023-11-14T22:13:20Z",
    })
}

pub(super) fn repository(about: &About) -> Value {
    let id = repository_id(about);
    json!({
        "id": id,
        "name": about.name(),
        "url": format!("{}/{}/_apis/git/repositories/{id}", about.api, project_id(about.owner())),
        "project": project(about),
        "defaultBranch": "refs/heads/main",
        "size": 728,
        "remoteUrl": about.clone_url,
        "sshUrl": about.ssh_url,
        "webUrl": about.clone_url,
        "isDisabled": false,
    })
}

pub(super) fn commit(about: &About, commit: &Commit) -> Value {
    let person =
        |(name, email): &(String, String)| json!({ "name": name, "email": email, "date": commit.time });
    json!({
        "commitId": commit.id,
        "author": person(&commit.author),
        "committer": person(&commit.committer),
        "comment": commit.message,
        "url": format!("{}/_apis/git/repositories/{}/commits/{}", about.api, repository_id(about), commit.id),
    })
}

/// Several refs of one push are in one event.
pub(super) fn push(about: &About, changes: &[Change]) -> Value {
    let update = |change: &Change| {
        json!({
            "name": change.git_ref,
            "oldObjectId": change.before_or_zeros(),
            "newObjectId": change.after_or_zeros(),
        })
    };
    let commits: Vec<Value> = changes
        .iter()
        .flat_map(|change| change.newest(20).iter().rev())
        .map(|(one, _)| commit(about, one))
        .collect();
    let text = format!("Fixture pushed updates to {}.", about.name());
    let message = json!({ "text": text, "html": text, "markdown": text });
    json!({
        "notificationId": 1,
        "eventType": "git.push",
        "publisherId": "tfs",
        "scope": "all",
        "message": message,
        "detailedMessage": message,
        "resource": {
            "commits": commits,
            "refUpdates": changes.iter().map(update).collect::<Vec<_>>(),
            "repository": repository(about),
            "pushedBy": {
                "displayName": "Fixture",
                "id": uuid("fixture"),
                "uniqueName": "fixture@example.org",
            },
            "pushId": 14,
            "date": "2023-11-14T22:13:20.3309587Z",
            "url": format!("{}/_apis/git/repositories/{}/pushes/14", about.api, repository_id(about)),
        },
        "resourceVersion": "1.0",
        "resourceContainers": {
            "collection": { "id": uuid("collection") },
            "account": { "id": uuid("account") },
            "project": { "id": project_id(about.owner()) },
        },
        "createdDate": "2023-11-14T22:13:21.0379153Z",
    })
}
