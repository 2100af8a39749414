//! Bitbucket Data Center's payload of a push, with the fields of its documentation and values of our own.

use serde_json::{Value, json};

use super::super::facts::{Change, Commit};
use super::super::family::About;

pub(super) fn person(about: &About) -> Value {
    json!({
        "name": "fixture",
        "emailAddress": "fixture@example.org",
        "id": 3,
        "displayName": "Fixture",
        "active": true,
        "slug": "fixture",
        "type": "NORMAL",
        "links": { "self": [{ "href": format!("{}/users/fixture", about.web) }] },
    })
}

pub(super) fn repository(about: &About) -> Value {
    let key = about.owner().to_uppercase();
    let project = format!("{}/projects/{key}", about.web);
    json!({
        "slug": about.name(),
        "id": about.id,
        "name": about.name(),
        "hierarchyId": "e3c939f9ef4a7fae272e",
        "scmId": "git",
        "state": "AVAILABLE",
        "statusMessage": "Available",
        "forkable": true,
        "project": {
            "key": key,
            "id": 2,
            "name": about.owner(),
            "public": false,
            "type": "NORMAL",
            "links": { "self": [{ "href": project }] },
        },
        "public": !about.is_private,
        "archived": false,
        "links": {
            "clone": [
                { "href": about.clone_url, "name": "http" },
                { "href": about.ssh_url, "name": "ssh" },
            ],
            "self": [{ "href": format!("{project}/repos/{}/browse", about.name()) }],
        },
    })
}

/// Times are milliseconds everywhere but in the payload's own date.
pub(super) fn commit(commit: &Commit) -> Value {
    let person = |(name, email): &(String, String)| json!({ "name": name, "emailAddress": email });
    let short = |id: &str| id[..11].to_owned();
    json!({
        "id": commit.id,
        "displayId": short(&commit.id),
        "author": person(&commit.author),
        "authorTimestamp": 1_700_000_000_000_u64,
        "committer": person(&commit.committer),
        "committerTimestamp": 1_700_000_000_000_u64,
        "message": commit.message,
        "parents": commit.parents.iter().map(|id| json!({ "id": id, "displayId": short(id) })).collect::<Vec<_>>(),
    })
}

pub(super) fn push(about: &About, changes: &[Change]) -> Value {
    let told = |change: &Change| {
        let kind = if change.is_tag() { "TAG" } else { "BRANCH" };
        let how = match (&change.before, &change.after) {
            (None, _) => "ADD",
            (_, None) => "DELETE",
            _ => "UPDATE",
        };
        json!({
            "ref": { "id": change.git_ref, "displayId": change.short_ref(), "type": kind },
            "refId": change.git_ref,
            "fromHash": change.before_or_zeros(),
            "toHash": change.after_or_zeros(),
            "type": how,
        })
    };
    let commits: Vec<Value> =
        changes.iter().flat_map(|change| change.newest(20)).map(|(one, _)| commit(one)).collect();
    let head = changes.iter().find_map(|change| change.head.as_ref()).map(|(one, _)| commit(one));
    json!({
        "eventKey": "repo:refs_changed",
        "date": "2023-11-14T22:13:20+0000",
        "actor": person(about),
        "repository": repository(about),
        "changes": changes.iter().map(told).collect::<Vec<_>>(),
        "commits": commits,
        "toCommit": head,
    })
}
