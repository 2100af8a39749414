//! GitLab's payloads, with the fields of its documentation and values of our own.

use serde_json::{Value, json};

use super::super::NO_COMMIT;
use super::super::facts::{Change, Commit, Files};
use super::super::family::About;

/// GitLab lists so many of the newest commits.
const COMMITS_MAX: usize = 20;

pub(super) const USER_ID: u64 = 4;

pub(super) fn push(about: &About, change: &Change) -> Value {
    let kind = if change.is_tag() { "tag_push" } else { "push" };
    let commits: Vec<Value> =
        change.newest(COMMITS_MAX).iter().map(|(one, files)| commit(about, one, files)).collect();
    json!({
        "object_kind": kind,
        "event_name": kind,
        "before": change.before_or_zeros(),
        "after": change.after_or_zeros(),
        "ref": change.git_ref,
        "ref_protected": false,
        "checkout_sha": change.head.as_ref().map(|(commit, _)| commit.id.clone()),
        "message": null,
        "user_id": USER_ID,
        "user_name": "Fixture",
        "user_username": "fixture",
        "user_email": "",
        "user_avatar": format!("{}/uploads/fixture.png", about.web),
        "project_id": about.id,
        "project": project(about),
        "commits": commits,
        "total_commits_count": change.commits.len(),
        "push_options": {},
        "repository": {
            "name": about.name(),
            "url": about.ssh_url,
            "description": "A fixture",
            "homepage": format!("{}/{}", about.web, about.full_name),
            "git_http_url": about.clone_url,
            "git_ssh_url": about.ssh_url,
            "visibility_level": visibility(about),
        },
    })
}

fn visibility(about: &About) -> u8 {
    if about.is_private { 0 } else { 20 }
}

fn project(about: &About) -> Value {
    let homepage = format!("{}/{}", about.web, about.full_name);
    json!({
        "id": about.id,
        "name": about.name(),
        "description": "A fixture",
        "web_url": homepage,
        "avatar_url": null,
        "git_ssh_url": about.ssh_url,
        "git_http_url": about.clone_url,
        "namespace": about.owner(),
        "visibility_level": visibility(about),
        "path_with_namespace": about.full_name,
        "default_branch": "main",
        "ci_config_path": null,
        "homepage": homepage,
        "url": about.ssh_url,
        "ssh_url": about.ssh_url,
        "http_url": about.clone_url,
    })
}

fn commit(about: &About, commit: &Commit, files: &Files) -> Value {
    json!({
        "id": commit.id,
        "message": commit.message,
        "title": commit.title(),
        "timestamp": commit.time,
        "url": format!("{}/{}/-/commit/{}", about.web, about.full_name, commit.id),
        "author": { "name": commit.author.0, "email": commit.author.1 },
        "added": files.added,
        "modified": files.modified,
        "removed": files.removed,
    })
}

/// `action` is `create`, `update` or `delete`.
pub(super) fn release(about: &About, tag: &str, action: &str, commit: Option<&str>) -> Value {
    let page = format!("{}/{}/-/releases/{tag}", about.web, about.full_name);
    json!({
        "id": 1,
        "created_at": "2023-11-14 22:13:20 UTC",
        "description": "What changed.",
        "name": format!("Release {tag}"),
        "released_at": "2023-11-14 22:13:20 UTC",
        "tag": tag,
        "object_kind": "release",
        "project": project(about),
        "url": page,
        "action": action,
        "assets": { "count": 0, "links": [], "sources": [] },
        "commit": {
            "id": commit.unwrap_or(NO_COMMIT),
            "message": "A change",
            "title": "A change",
            "timestamp": "2023-11-14T22:13:20+00:00",
            "url": format!("{}/{}/-/commit/{}", about.web, about.full_name, commit.unwrap_or(NO_COMMIT)),
            "author": { "name": "Fixture", "email": "fixture@example.org" },
        },
    })
}
