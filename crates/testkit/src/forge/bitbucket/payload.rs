//! Bitbucket Cloud's payload of a push, with the fields of its documentation and values of our own.

use serde_json::{Value, json};

use super::super::delivery::uuid;
use super::super::facts::{Change, Commit};
use super::super::family::About;

/// Each change lists so many of its newest commits.
const COMMITS_MAX: usize = 5;

pub(super) fn links(about: &About, below: &str) -> Value {
    let (web, name) = (&about.web, &about.full_name);
    json!({
        "self": { "href": format!("{}/repositories/{name}{below}", about.api) },
        "html": { "href": format!("{web}/{name}{below}") },
    })
}

fn api_link(about: &About, below: &str) -> Value {
    json!({ "href": format!("{}/repositories/{}{below}", about.api, about.full_name) })
}

/// A repository's UUID, in braces as everywhere.
pub(super) fn repository_uuid(about: &About) -> String {
    format!("{{{}}}", uuid(&format!("repository {}", about.id)))
}

fn person(about: &About) -> Value {
    json!({
        "type": "user",
        "nickname": "fixture",
        "display_name": "Fixture",
        "account_id": "557058:fixture",
        "uuid": format!("{{{}}}", uuid("fixture")),
        "links": {
            "self": { "href": format!("{}/users/fixture", about.api) },
            "html": { "href": format!("{}/fixture", about.web) },
            "avatar": { "href": format!("{}/fixture.png", about.web) },
        },
    })
}

pub(super) fn commit(about: &About, commit: &Commit) -> Value {
    let parent = |id: &String| json!({ "type": "commit", "hash": id, "links": links(about, &format!("/commit/{id}")) });
    let mut author = person(about);
    author["type"] = "author".into();
    author["raw"] = format!("{} <{}>", commit.author.0, commit.author.1).into();
    json!({
        "type": "commit",
        "hash": commit.id,
        "message": format!("{}\n", commit.message),
        "date": commit.time,
        "author": author,
        "parents": commit.parents.iter().map(parent).collect::<Vec<_>>(),
        "links": links(about, &format!("/commit/{}", commit.id)),
    })
}

/// One side of a change; `null` where the ref is not there.
fn side(about: &About, change: &Change, target: Option<&Commit>) -> Value {
    let Some(target) = target else { return Value::Null };
    let kind = if change.is_tag() { "tag" } else { "branch" };
    let mut ref_links = links(about, &format!("/{kind}/{}", change.short_ref()));
    ref_links["commits"] = api_link(about, &format!("/commits/{}", change.short_ref()));
    json!({
        "type": kind,
        "name": change.short_ref(),
        "target": commit(about, target),
        "links": ref_links,
    })
}

pub(super) fn push(about: &About, changes: &[Change]) -> Value {
    let told = |change: &Change| {
        let newest = change.newest(COMMITS_MAX).iter().rev();
        let commits: Vec<Value> = newest.map(|(one, _)| commit(about, one)).collect();
        json!({
            "old": side(about, change, change.old_head.as_ref()),
            "new": side(about, change, change.head.as_ref().map(|(commit, _)| commit)),
            "created": change.before.is_none(),
            "closed": change.after.is_none(),
            "forced": change.is_forced,
            "truncated": change.commits.len() > COMMITS_MAX,
            "commits": commits,
            "links": {
                "html": { "href": format!("{}/{}/branches/compare", about.web, about.full_name) },
                "diff": api_link(about, "/diff"),
                "commits": api_link(about, "/commits"),
            },
        })
    };
    json!({
        "actor": person(about),
        "repository": repository(about),
        "push": { "changes": changes.iter().map(told).collect::<Vec<_>>() },
    })
}

pub(super) fn repository(about: &About) -> Value {
    let clone = json!([
        { "name": "https", "href": about.clone_url },
        { "name": "ssh", "href": about.ssh_url },
    ]);
    let mut links = links(about, "");
    links["clone"] = clone;
    links["avatar"] = json!({ "href": format!("{}/{}.png", about.web, about.full_name) });
    json!({
        "type": "repository",
        "uuid": repository_uuid(about),
        "full_name": about.full_name,
        "name": about.name(),
        "slug": about.name(),
        "scm": "git",
        "is_private": about.is_private,
        "description": "A fixture",
        "mainbranch": { "type": "branch", "name": "main" },
        "workspace": { "type": "workspace", "slug": about.owner(), "name": about.owner() },
        "owner": { "type": "team", "username": about.owner(), "display_name": about.owner() },
        "links": links,
    })
}
