//! GitHub's payloads, with the fields of its documentation
//! (<https://docs.github.com/en/webhooks/webhook-events-and-payloads>) and values of our own.

use serde_json::{Value, json};

use super::super::clock::rfc3339;
use super::super::facts::{Change, Commit, Files};
use super::super::family::About;
use super::super::state::Hook;
use crate::repo::FIRST_COMMIT_S;

const OWNER_ID: u64 = 501_000_001;

fn commit(about: &About, commit: &Commit, files: &Files) -> Value {
    json!({
        "id": commit.id,
        "tree_id": commit.tree,
        "distinct": true,
        "message": commit.message,
        "timestamp": commit.time,
        "url": format!("{}/{}/commit/{}", about.web, about.full_name, commit.id),
        "author": { "name": commit.author.0, "email": commit.author.1, "username": "fixture" },
        "committer": { "name": commit.committer.0, "email": commit.committer.1, "username": "fixture" },
        "added": files.added,
        "removed": files.removed,
        "modified": files.modified,
    })
}

pub(super) fn push(about: &About, change: &Change) -> Value {
    let base = format!("{}/{}", about.web, about.full_name);
    let short = |id: &str| id[..12].to_owned();
    let compare = match (&change.before, &change.after) {
        (Some(before), Some(after)) => format!("{base}/compare/{}...{}", short(before), short(after)),
        (None, Some(_)) => format!("{base}/compare/{}", change.short_ref()),
        (before, None) => {
            format!("{base}/compare/{}...000000000000", before.as_deref().map(short).unwrap_or_default())
        }
    };
    let commits: Vec<Value> = change.commits.iter().map(|(one, files)| commit(about, one, files)).collect();
    // Here alone these are seconds since 1970.
    let mut repository = repository(about);
    repository["created_at"] = FIRST_COMMIT_S.into();
    repository["pushed_at"] = FIRST_COMMIT_S.into();
    json!({
        "ref": change.git_ref,
        "before": change.before_or_zeros(),
        "after": change.after_or_zeros(),
        "repository": repository,
        "pusher": { "name": "fixture", "email": "fixture@example.org" },
        "sender": user("fixture", OWNER_ID + 1, &about.web),
        "created": change.before.is_none(),
        "deleted": change.after.is_none(),
        "forced": change.is_forced,
        "base_ref": null,
        "compare": compare,
        "commits": commits,
        "head_commit": change.head.as_ref().map(|(one, files)| commit(about, one, files)),
    })
}

pub(super) fn create(about: &About, change: &Change) -> Value {
    json!({
        "ref": change.short_ref(),
        "ref_type": if change.is_tag() { "tag" } else { "branch" },
        "master_branch": "main",
        "description": "A fixture",
        "pusher_type": "user",
        "repository": repository(about),
        "sender": user("fixture", OWNER_ID + 1, &about.web),
    })
}

pub(super) fn delete(about: &About, change: &Change) -> Value {
    json!({
        "ref": change.short_ref(),
        "ref_type": if change.is_tag() { "tag" } else { "branch" },
        "pusher_type": "user",
        "repository": repository(about),
        "sender": user("fixture", OWNER_ID + 1, &about.web),
    })
}

/// A hook as the API and `ping` show it.
pub(super) fn hook(about: &About, hook: &Hook) -> Value {
    let url = format!("{}/repos/{}/hooks/{}", about.api, about.full_name, hook.id);
    let mut config = json!({
        "content_type": hook.setting("content_type").as_str().unwrap_or("json"),
        "insecure_ssl": hook.setting("insecure_ssl").as_str().unwrap_or("0"),
        "url": hook.url,
    });
    if hook.secret.is_some() {
        config["secret"] = "********".into();
    }
    let last = match hook.attempts.last() {
        None => json!({ "code": null, "status": "unused", "message": null }),
        Some(attempt) if attempt.is_delivered() => {
            json!({ "code": 200, "status": "active", "message": "OK" })
        }
        Some(_) => json!({ "code": 502, "status": "misconfigured", "message": "failed to connect to host" }),
    };
    json!({
        "type": "Repository",
        "id": hook.id,
        "name": "web",
        "active": hook.is_active,
        "events": hook.events,
        "config": config,
        "updated_at": rfc3339(hook.created_s),
        "created_at": rfc3339(hook.created_s),
        "url": url,
        "test_url": format!("{url}/test"),
        "ping_url": format!("{url}/pings"),
        "deliveries_url": format!("{url}/deliveries"),
        "last_response": last,
    })
}

pub(super) fn ping(about: &About, of: &Hook) -> Value {
    json!({
        "zen": "A fixture is worth a thousand mocks.",
        "hook_id": of.id,
        "hook": hook(about, of),
        "repository": repository(about),
        "sender": user("fixture", OWNER_ID + 1, &about.web),
    })
}

pub(super) fn release(about: &About, tag: &str, action: &str) -> Value {
    let About { web, full_name, .. } = about;
    let repo = format!("{web}/api/v3/repos/{full_name}");
    let api = format!("{repo}/releases/220000001");
    let published = !matches!(action, "created" | "unpublished" | "deleted");
    json!({
        "action": action,
        "release": {
            "url": api,
            "assets_url": format!("{api}/assets"),
            "upload_url": format!("{api}/assets{{?name,label}}"),
            "html_url": format!("{web}/{full_name}/releases/tag/{tag}"),
            "id": 220_000_001,
            "author": user("fixture", OWNER_ID + 1, web),
            "node_id": "RE_fixture",
            "tag_name": tag,
            "target_commitish": "main",
            "name": format!("Release {tag}"),
            "draft": !published,
            "immutable": false,
            "prerelease": action == "prereleased",
            "created_at": "2023-11-14T22:13:20Z",
            "updated_at": "2023-11-14T22:13:20Z",
            "published_at": published.then_some("2023-11-14T22:13:20Z"),
            "assets": [],
            "tarball_url": format!("{repo}/tarball/{tag}"),
            "zipball_url": format!("{repo}/zipball/{tag}"),
            "body": "What changed.",
        },
        "repository": repository(about),
        "sender": user("fixture", OWNER_ID + 1, web),
    })
}

pub(super) fn user(login: &str, id: u64, web: &str) -> Value {
    let api = format!("{web}/api/v3/users/{login}");
    json!({
        "name": login,
        "email": format!("{login}@example.org"),
        "login": login,
        "id": id,
        "node_id": format!("U_{id}"),
        "avatar_url": format!("{web}/avatars/u/{id}?v=4"),
        "gravatar_id": "",
        "url": api,
        "html_url": format!("{web}/{login}"),
        "followers_url": format!("{api}/followers"),
        "following_url": format!("{api}/following{{/other_user}}"),
        "gists_url": format!("{api}/gists{{/gist_id}}"),
        "starred_url": format!("{api}/starred{{/owner}}{{/repo}}"),
        "subscriptions_url": format!("{api}/subscriptions"),
        "organizations_url": format!("{api}/orgs"),
        "repos_url": format!("{api}/repos"),
        "events_url": format!("{api}/events{{/privacy}}"),
        "received_events_url": format!("{api}/received_events"),
        "type": "User",
        "user_view_type": "public",
        "site_admin": false,
    })
}

/// Fields that are `<api>/<ending>`.
const LINKS: &[(&str, &str)] = &[
    ("forks_url", "forks"),
    ("keys_url", "keys{/key_id}"),
    ("collaborators_url", "collaborators{/collaborator}"),
    ("teams_url", "teams"),
    ("hooks_url", "hooks"),
    ("issue_events_url", "issues/events{/number}"),
    ("events_url", "events"),
    ("assignees_url", "assignees{/user}"),
    ("branches_url", "branches{/branch}"),
    ("tags_url", "tags"),
    ("blobs_url", "git/blobs{/sha}"),
    ("git_tags_url", "git/tags{/sha}"),
    ("git_refs_url", "git/refs{/sha}"),
    ("trees_url", "git/trees{/sha}"),
    ("statuses_url", "statuses/{sha}"),
    ("languages_url", "languages"),
    ("stargazers_url", "stargazers"),
    ("contributors_url", "contributors"),
    ("subscribers_url", "subscribers"),
    ("subscription_url", "subscription"),
    ("commits_url", "commits{/sha}"),
    ("git_commits_url", "git/commits{/sha}"),
    ("comments_url", "comments{/number}"),
    ("issue_comment_url", "issues/comments{/number}"),
    ("contents_url", "contents/{+path}"),
    ("compare_url", "compare/{base}...{head}"),
    ("merges_url", "merges"),
    ("archive_url", "{archive_format}{/ref}"),
    ("downloads_url", "downloads"),
    ("issues_url", "issues{/number}"),
    ("pulls_url", "pulls{/number}"),
    ("milestones_url", "milestones{/number}"),
    ("notifications_url", "notifications{?since,all,participating}"),
    ("labels_url", "labels{/name}"),
    ("releases_url", "releases{/id}"),
    ("deployments_url", "deployments"),
];

/// Fields that are 0 here.
const COUNTS: &[&str] = &[
    "stargazers_count",
    "watchers_count",
    "forks_count",
    "open_issues_count",
    "forks",
    "open_issues",
    "watchers",
    "stargazers",
];

/// Fields that are false here.
const FLAGS: &[&str] = &[
    "has_wiki",
    "has_pages",
    "has_discussions",
    "archived",
    "disabled",
    "is_template",
    "web_commit_signoff_required",
];

pub(super) fn repository(about: &About) -> Value {
    let About { web, full_name, .. } = about;
    let (owner, name) = (about.owner(), about.name());
    let api = format!("{web}/api/v3/repos/{full_name}");
    let html = format!("{web}/{full_name}");
    let mut value = json!({
        "id": about.id,
        "node_id": format!("R_{}", about.id),
        "name": name,
        "full_name": full_name,
        "private": about.is_private,
        "owner": user(owner, OWNER_ID, web),
        "html_url": html,
        "description": "A fixture",
        "fork": false,
        "url": api,
        "created_at": rfc3339(FIRST_COMMIT_S),
        "updated_at": "2023-11-14T22:13:20Z",
        "pushed_at": rfc3339(FIRST_COMMIT_S),
        "git_url": format!("git:{}", &about.clone_url["http:".len()..]),
        "ssh_url": about.ssh_url,
        "clone_url": about.clone_url,
        "svn_url": html,
        "homepage": null,
        "size": 23,
        "language": "Rust",
        "has_issues": true,
        "has_projects": true,
        "has_downloads": true,
        "mirror_url": null,
        "license": null,
        "allow_forking": true,
        "topics": [],
        "visibility": if about.is_private { "private" } else { "public" },
        "default_branch": "main",
        "master_branch": "main",
    });
    for field in COUNTS {
        value[*field] = Value::from(0);
    }
    for field in FLAGS {
        value[*field] = Value::from(false);
    }
    for (field, ending) in LINKS {
        value[*field] = Value::from(format!("{api}/{ending}"));
    }
    value
}
