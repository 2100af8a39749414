//! GitHub's payloads, with the fields of its documentation
//! (<https://docs.github.com/en/webhooks/webhook-events-and-payloads>) and values of our own.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{NO_COMMIT, Repository};
use crate::repo::FIRST_COMMIT_S;

/// GitHub lists up to 2048 commits; some are enough here.
const COMMITS_MAX: usize = 20;

const OWNER_ID: u64 = 501_000_001;

/// A ref that is about to move.
pub(super) struct Change<'a> {
    pub(super) full_name: &'a str,
    pub(super) repository: &'a Repository,
    pub(super) git_ref: &'a str,
    pub(super) before: Option<&'a str>,
    pub(super) after: Option<&'a str>,
    pub(super) host: SocketAddr,
}

impl Change<'_> {
    fn short_ref(&self) -> &str {
        self.git_ref.trim_start_matches("refs/heads/").trim_start_matches("refs/tags/")
    }

    fn is_tag(&self) -> bool {
        self.git_ref.starts_with("refs/tags/")
    }

    /// The new commits, oldest first. For a new ref, those that no other ref leads to.
    fn commits(&self) -> Vec<Value> {
        let Some(after) = self.after.filter(|_| !self.is_tag()) else { return Vec::new() };
        let mut args =
            vec!["rev-list".to_owned(), "--reverse".to_owned(), format!("--max-count={COMMITS_MAX}")];
        args.extend([after.to_owned(), "--not".to_owned()]);
        args.push(self.before.map_or("--all".to_owned(), str::to_owned));
        let list = String::from_utf8(self.repository.repo.git(&args)).expect("ids are ASCII");
        list.lines().map(|id| self.commit(id)).collect()
    }

    fn commit(&self, id: &str) -> Value {
        let show = |format: &str| {
            let format = format!("--format={format}");
            let output = self.repository.repo.git(["log", "-1", &format, id]);
            String::from_utf8_lossy(&output).trim_end().to_owned()
        };
        let files = |filter: &str| -> Vec<String> {
            let args = ["diff-tree", "--root", "-r", "--no-commit-id", "--name-only", "-z", "--no-renames"];
            let output = self.repository.repo.git(args.into_iter().chain([filter, id]));
            let names = output.split(|byte| *byte == 0).filter(|name| !name.is_empty());
            names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
        };
        json!({
            "id": id,
            "tree_id": show("%T"),
            "distinct": true,
            "message": show("%B"),
            "timestamp": show("%cI"),
            "url": format!("https://{}/{}/commit/{id}", self.host, self.full_name),
            "author": { "name": show("%an"), "email": show("%ae"), "username": "fixture" },
            "committer": { "name": show("%cn"), "email": show("%ce"), "username": "fixture" },
            "added": files("--diff-filter=A"),
            "removed": files("--diff-filter=D"),
            "modified": files("--diff-filter=MT"),
        })
    }

    fn is_forced(&self) -> bool {
        let (Some(before), Some(after)) = (self.before, self.after) else { return false };
        let outside = self.repository.repo.git(["rev-list", "--max-count=1", before, "--not", after]);
        !outside.is_empty()
    }
}

pub(super) fn push(change: &Change<'_>) -> Value {
    let commits = change.commits();
    let base = format!("http://{}/{}", change.host, change.full_name);
    let short = |id: &str| id[..12].to_owned();
    let compare = match (change.before, change.after) {
        (Some(before), Some(after)) => format!("{base}/compare/{}...{}", short(before), short(after)),
        (None, Some(_)) => format!("{base}/compare/{}", change.short_ref()),
        (before, None) => format!("{base}/compare/{}...000000000000", before.map(short).unwrap_or_default()),
    };
    let head_commit = match change.after {
        Some(after) => {
            let commit = change.repository.repo.resolve(&format!("{after}^{{commit}}"));
            commit.map_or(Value::Null, |commit| change.commit(&commit))
        }
        None => Value::Null,
    };
    json!({
        "ref": change.git_ref,
        "before": change.before.unwrap_or(NO_COMMIT),
        "after": change.after.unwrap_or(NO_COMMIT),
        "repository": repository(change.full_name, change.repository, change.host),
        "pusher": { "name": "fixture", "email": "fixture@example.org" },
        "sender": user("fixture", OWNER_ID + 1, change.host),
        "created": change.before.is_none(),
        "deleted": change.after.is_none(),
        "forced": change.is_forced(),
        "base_ref": null,
        "compare": compare,
        "commits": commits,
        "head_commit": head_commit,
    })
}

pub(super) fn create(change: &Change<'_>) -> Value {
    json!({
        "ref": change.short_ref(),
        "ref_type": if change.is_tag() { "tag" } else { "branch" },
        "master_branch": "main",
        "description": "A fixture",
        "pusher_type": "user",
        "repository": repository(change.full_name, change.repository, change.host),
        "sender": user("fixture", OWNER_ID + 1, change.host),
    })
}

pub(super) fn delete(change: &Change<'_>) -> Value {
    json!({
        "ref": change.short_ref(),
        "ref_type": if change.is_tag() { "tag" } else { "branch" },
        "pusher_type": "user",
        "repository": repository(change.full_name, change.repository, change.host),
        "sender": user("fixture", OWNER_ID + 1, change.host),
    })
}

pub(super) fn ping(full_name: &str, of: &Repository, host: SocketAddr) -> Value {
    json!({
        "zen": "A fixture is worth a thousand mocks.",
        "hook_id": 310_000_001,
        "hook": {
            "type": "Repository",
            "id": 310_000_001,
            "name": "web",
            "active": true,
            "events": ["push", "release", "create", "delete"],
            "config": { "content_type": "json", "insecure_ssl": "0", "secret": "********", "url": "http://127.0.0.1/" },
            "updated_at": "2023-11-14T22:13:20Z",
            "created_at": "2023-11-14T22:13:20Z",
            "url": format!("http://{host}/api/v3/repos/{full_name}/hooks/310000001"),
            "test_url": format!("http://{host}/api/v3/repos/{full_name}/hooks/310000001/test"),
            "ping_url": format!("http://{host}/api/v3/repos/{full_name}/hooks/310000001/pings"),
            "deliveries_url": format!("http://{host}/api/v3/repos/{full_name}/hooks/310000001/deliveries"),
            "last_response": { "code": null, "status": "unused", "message": null },
        },
        "repository": repository(full_name, of, host),
        "sender": user("fixture", OWNER_ID + 1, host),
    })
}

pub(super) fn release(full_name: &str, of: &Repository, host: SocketAddr, tag: &str, action: &str) -> Value {
    let api = format!("http://{host}/api/v3/repos/{full_name}/releases/220000001");
    let published = !matches!(action, "created" | "unpublished" | "deleted");
    json!({
        "action": action,
        "release": {
            "url": api,
            "assets_url": format!("{api}/assets"),
            "upload_url": format!("{api}/assets{{?name,label}}"),
            "html_url": format!("http://{host}/{full_name}/releases/tag/{tag}"),
            "id": 220_000_001,
            "author": user("fixture", OWNER_ID + 1, host),
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
            "tarball_url": format!("http://{host}/api/v3/repos/{full_name}/tarball/{tag}"),
            "zipball_url": format!("http://{host}/api/v3/repos/{full_name}/zipball/{tag}"),
            "body": "What changed.",
        },
        "repository": repository(full_name, of, host),
        "sender": user("fixture", OWNER_ID + 1, host),
    })
}

fn user(login: &str, id: u64, host: SocketAddr) -> Value {
    let api = format!("http://{host}/api/v3/users/{login}");
    json!({
        "name": login,
        "email": format!("{login}@example.org"),
        "login": login,
        "id": id,
        "node_id": format!("U_{id}"),
        "avatar_url": format!("http://{host}/avatars/u/{id}?v=4"),
        "gravatar_id": "",
        "url": api,
        "html_url": format!("http://{host}/{login}"),
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

fn repository(full_name: &str, of: &Repository, host: SocketAddr) -> Value {
    let (owner, name) = full_name.split_once('/').expect("an owner and a name");
    let api = format!("http://{host}/api/v3/repos/{full_name}");
    let html = format!("http://{host}/{full_name}");
    let mut value = json!({
        "id": of.id,
        "node_id": format!("R_{}", of.id),
        "name": name,
        "full_name": full_name,
        "private": false,
        "owner": user(owner, OWNER_ID, host),
        "html_url": html,
        "description": "A fixture",
        "fork": false,
        "url": api,
        "created_at": FIRST_COMMIT_S,
        "updated_at": "2023-11-14T22:13:20Z",
        "pushed_at": FIRST_COMMIT_S,
        "git_url": format!("git://{host}/{full_name}.git"),
        "ssh_url": format!("git@{}:{full_name}.git", host.ip()),
        "clone_url": format!("{html}.git"),
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
        "visibility": "public",
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
