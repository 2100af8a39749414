//! The payloads of Gitea's family, with the fields of its documentation and values of our own.

use serde_json::{Value, json};

use super::super::facts::{Change, Commit, Files};
use super::super::family::About;
use super::Gitea;

/// Gitea lists so many of the newest commits (the setting `FEED_MAX_COMMIT_NUM` as it comes).
const COMMITS_MAX: usize = 5;

/// The first time of Go's, which stands for none.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

const TIME: &str = "2023-11-14T22:13:20Z";

/// Fields of Gitea's repositories that are true here.
const FLAGS: &[&str] = &[
    "has_issues",
    "has_wiki",
    "has_pull_requests",
    "has_projects",
    "allow_merge_commits",
    "allow_rebase",
    "allow_rebase_explicit",
    "allow_squash_merge",
];

pub(super) fn user(about: &About, login: &str, id: u64) -> Value {
    json!({
        "id": id,
        "login": login,
        "login_name": "",
        "full_name": "",
        "email": format!("{login}@example.org"),
        "avatar_url": format!("{}/avatars/{id}", about.web),
        "language": "",
        "is_admin": false,
        "last_login": NO_TIME,
        "created": TIME,
        "restricted": false,
        "active": false,
        "prohibit_login": false,
        "location": "",
        "website": "",
        "description": "",
        "visibility": "public",
        "followers_count": 0,
        "following_count": 0,
        "starred_repos_count": 0,
        "username": login,
    })
}

pub(super) fn repository(of: &Gitea, about: &About) -> Value {
    let permissions = json!({ "admin": true, "push": true, "pull": true });
    let mut value = json!({
        "id": about.id,
        "owner": user(about, about.owner(), 1),
        "name": about.name(),
        "full_name": about.full_name,
        "description": "A fixture",
        "empty": false,
        "private": about.is_private,
        "fork": false,
        "parent": null,
        "mirror": false,
        "size": 89,
        "html_url": format!("{}/{}", about.web, about.full_name),
        "ssh_url": about.ssh_url,
        "clone_url": about.clone_url,
        "website": "",
        "stars_count": 0,
        "forks_count": 0,
        "watchers_count": 1,
        "open_issues_count": 0,
        "default_branch": "main",
        "created_at": TIME,
        "updated_at": TIME,
        "permissions": permissions,
    });
    if !of.is_gogs() {
        value["template"] = false.into();
        value["archived"] = false.into();
        value["original_url"] = "".into();
        value["open_pr_counter"] = 0.into();
        value["release_counter"] = 0.into();
        value["internal"] = false.into();
        for flag in FLAGS {
            value[*flag] = true.into();
        }
        value["ignore_whitespace_conflicts"] = false.into();
        value["internal_tracker"] = json!({
            "enable_time_tracker": true,
            "allow_only_contributors_to_track_time": true,
            "enable_issue_dependencies": true,
        });
        value["default_merge_style"] = "merge".into();
        value["avatar_url"] = "".into();
        value["mirror_updated"] = NO_TIME.into();
        value["repo_transfer"] = Value::Null;
        value["mirror_interval"] = "".into();
        value["object_format_name"] = "sha1".into();
        value["url"] = format!("{}/repos/{}", about.api, about.full_name).into();
    }
    value
}

fn commit(about: &About, commit: &Commit, files: &Files) -> Value {
    let person = |(name, email): &(String, String)| json!({ "name": name, "email": email, "username": "" });
    json!({
        "id": commit.id,
        "message": format!("{}\n", commit.message),
        "url": format!("{}/{}/commit/{}", about.web, about.full_name, commit.id),
        "author": person(&commit.author),
        "committer": person(&commit.committer),
        "verification": null,
        "timestamp": commit.time,
        "added": files.added,
        "removed": files.removed,
        "modified": files.modified,
    })
}

pub(super) fn push(of: &Gitea, about: &About, change: &Change) -> Value {
    let (before, after) = (change.before_or_zeros(), change.after_or_zeros());
    let commits: Vec<Value> =
        change.newest(COMMITS_MAX).iter().rev().map(|(one, files)| commit(about, one, files)).collect();
    let mut value = json!({
        "ref": change.git_ref,
        "before": before,
        "after": after,
        "compare_url": format!("{}/{}/compare/{before}...{after}", about.web, about.full_name),
        "commits": commits,
        "repository": repository(of, about),
        "pusher": user(about, "fixture", 2),
        "sender": user(about, "fixture", 2),
    });
    if !of.is_gogs() {
        value["total_commits"] = change.commits.len().into();
        value["head_commit"] =
            change.head.as_ref().map_or(Value::Null, |(one, files)| commit(about, one, files));
    }
    value
}

fn ref_type(change: &Change) -> &'static str {
    if change.is_tag() { "tag" } else { "branch" }
}

pub(super) fn create(of: &Gitea, about: &About, change: &Change) -> Value {
    json!({
        "sha": change.after_or_zeros(),
        "ref": change.short_ref(),
        "ref_type": ref_type(change),
        "default_branch": "main",
        "repository": repository(of, about),
        "sender": user(about, "fixture", 2),
    })
}

pub(super) fn delete(of: &Gitea, about: &About, change: &Change) -> Value {
    json!({
        "ref": change.short_ref(),
        "ref_type": ref_type(change),
        "pusher_type": "user",
        "repository": repository(of, about),
        "sender": user(about, "fixture", 2),
    })
}

pub(super) fn release(of: &Gitea, about: &About, tag: &str, action: &str) -> Value {
    let page = format!("{}/{}", about.web, about.full_name);
    json!({
        "action": action,
        "release": {
            "id": 1,
            "tag_name": tag,
            "target_commitish": "main",
            "name": format!("Release {tag}"),
            "body": "What changed.",
            "url": format!("{}/repos/{}/releases/1", about.api, about.full_name),
            "html_url": format!("{page}/releases/tag/{tag}"),
            "tarball_url": format!("{page}/archive/{tag}.tar.gz"),
            "zipball_url": format!("{page}/archive/{tag}.zip"),
            "draft": false,
            "prerelease": false,
            "created_at": TIME,
            "published_at": TIME,
            "author": user(about, "fixture", 2),
            "assets": [],
        },
        "repository": repository(of, about),
        "sender": user(about, "fixture", 2),
    })
}
