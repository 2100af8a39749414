//! The API of Gitea's family: repositories, webhooks, deploy keys, refs, archives.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::clock::rfc3339;
use super::super::facts::{Change, Commit, RefLine, refs, root, short_ref};
use super::super::family::{About, Notice, Shape as _};
use super::super::http::{Answer, Call, Page};
use super::super::state::{DeployKey, Grant, Hook, Repository, public_key};
use super::super::{Inner, archive};
use super::{Gitea, payload, statuses};
use crate::repo::TestRepo;

/// How many entries of a tree one answer has.
const TREE_PAGE: usize = 5;
pub(super) fn answer(of: &Gitea, forge: &Arc<Inner>, call: &Call) -> Answer {
    match call.route() {
        ("GET", parts) if parts == ["user"] => who(of, forge, call),
        ("GET", parts) if parts == ["version"] && !of.is_gogs() => {
            Answer::json(200, &json!({ "version": "1.24.0" }))
        }
        (_, parts) if parts.len() >= 3 && parts[0] == "repos" => {
            let name = format!("{}/{}", parts[1], parts[2]);
            match forge.admit_call(call, &name, need(call, &parts[3..])) {
                Ok(repository) => of_repository(of, forge, call, &repository, &parts[3..]),
                Err(answer) => answer,
            }
        }
        _ => not_found(call),
    }
}

fn need(call: &Call, parts: &[&str]) -> Grant {
    match (call.method.as_str(), parts.first()) {
        (_, Some(&"hooks" | &"keys")) => Grant::Admin,
        ("GET" | "HEAD", _) => Grant::Read,
        _ => Grant::Write,
    }
}

pub(super) fn failed(call: &Call, status: u16, message: &str) -> Answer {
    let swagger = format!("{}/swagger", call.url.split("/api/").next().unwrap_or_default());
    Answer::json(status, &json!({ "message": message, "url": format!("{swagger}.v1.json") }))
}

pub(super) fn not_found(call: &Call) -> Answer {
    failed(call, 404, "The target couldn't be found.")
}

fn who(of: &Gitea, forge: &Inner, call: &Call) -> Answer {
    match of.token(call) {
        Some(token) if forge.state().tokens.contains_key(&token) => Answer::json(
            200,
            &json!({ "id": 2, "login": "fixture", "username": "fixture", "is_admin": false }),
        ),
        Some(_) => failed(call, 401, "user does not exist [uid: 0, name: ]"),
        None => failed(call, 401, "token is required"),
    }
}

fn of_repository(
    of: &Gitea,
    forge: &Arc<Inner>,
    call: &Call,
    repository: &Repository,
    parts: &[&str],
) -> Answer {
    let about = forge.about(repository);
    match (call.method.as_str(), parts) {
        ("GET", []) => Answer::json(200, &payload::repository(of, &about)),
        ("GET", ["hooks"]) => {
            paged(of, call, repository.hooks.iter().map(|hook| hook_json(of, &about, hook)).collect())
        }
        ("POST", ["hooks"]) => create_hook(of, forge, call, repository, &about),
        (_, ["hooks", id, rest @ ..]) => match repository.hook(id) {
            Some(hook) => of_hook(of, forge, call, repository, hook, rest),
            None => not_found(call),
        },
        ("GET", ["keys"]) => {
            paged(of, call, repository.keys.iter().map(|key| key_json(&about, key)).collect())
        }
        ("POST", ["keys"]) => create_key(forge, call, repository, &about),
        (method @ ("GET" | "DELETE"), ["keys", id]) => {
            match (repository.keys.iter().find(|key| key.id.to_string() == *id), method) {
                (None, _) => not_found(call),
                (Some(key), "GET") => Answer::json(200, &key_json(&about, key)),
                (Some(key), _) => {
                    forge.remove_key(&repository.full_name, key.id);
                    Answer::empty(204)
                }
            }
        }
        ("GET", ["archive", name @ ..]) => {
            download(repository, &name.join("/")).unwrap_or_else(|| not_found(call))
        }
        (_, ["statuses", ..] | ["commits", _, "status" | "statuses"]) if !of.is_gogs() => {
            statuses::answer(of, forge, call, repository, &about, parts)
        }
        ("GET", _) => read(of, call, repository, &about, parts),
        _ => not_found(call),
    }
}

pub(super) fn paged(of: &Gitea, call: &Call, all: Vec<Value>) -> Answer {
    let Some((default, max)) = of.per_page else { return Answer::json(200, &Value::from(all)) };
    let page = Page::of(&all, call.number("page", 1, usize::MAX), call.number("limit", default, max));
    let answer = Answer::json(200, &Value::from(page.items.to_vec()));
    let answer = answer.with("x-total-count", page.total.to_string());
    match page.link(call) {
        Some(link) => answer.with("link", link),
        None => answer,
    }
}

fn hook_json(of: &Gitea, about: &About, hook: &Hook) -> Value {
    let kind = hook.setting("content_type").as_str().unwrap_or("json");
    let mut value = json!({
        "id": hook.id,
        "type": of.hook_type,
        "config": { "content_type": kind, "url": hook.url },
        "events": hook.events,
        "active": hook.is_active,
        "updated_at": rfc3339(hook.created_s),
        "created_at": rfc3339(hook.created_s),
    });
    if !of.is_gogs() {
        value["branch_filter"] = "*".into();
        value["authorization_header"] = "".into();
    }
    if of.hook_type == "forgejo" {
        value["url"] = hook.url.clone().into();
        value["content_type"] = kind.into();
        value["metadata"] = Value::Null;
    }
    let _ = about;
    value
}

fn strings(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array()?;
    Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// The same address twice is two hooks.
fn create_hook(
    of: &Gitea,
    forge: &Arc<Inner>,
    call: &Call,
    repository: &Repository,
    about: &About,
) -> Answer {
    let Some(body) = call.json() else { return failed(call, 422, "the body is not JSON") };
    let kind = body["type"].as_str().unwrap_or_default();
    // Forgejo takes Gitea's own type as well, and Gitea that of Gogs.
    if ![of.hook_type, "gitea", "gogs"].contains(&kind) || (of.is_gogs() && kind != "gogs") {
        return failed(call, 422, "Invalid hook type");
    }
    let config = &body["config"];
    let Some(url) = config["url"].as_str() else { return failed(call, 422, "Missing config option: url") };
    let Some(content_type) = config["content_type"].as_str() else {
        return failed(call, 422, "Missing config option: content_type");
    };
    if !["json", "form"].contains(&content_type) {
        return failed(call, 422, "Invalid content type");
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return failed(call, 422, "Invalid url");
    }
    let secret = config["secret"].as_str().filter(|text| !text.is_empty());
    let mut hook = forge.new_hook(url, secret, &[]);
    hook.events =
        strings(&body["events"]).filter(|list| !list.is_empty()).unwrap_or_else(|| vec!["push".to_owned()]);
    // Unlike at GitHub, a hook is off where nothing is said.
    hook.is_active = body["active"].as_bool().unwrap_or(false);
    hook.settings = json!({ "content_type": content_type });
    forge.add_new_hook(repository, &hook);
    Answer::json(201, &hook_json(of, about, &hook))
}

fn of_hook(
    of: &Gitea,
    forge: &Arc<Inner>,
    call: &Call,
    repository: &Repository,
    hook: &Hook,
    parts: &[&str],
) -> Answer {
    let about = forge.about(repository);
    match (call.method.as_str(), parts) {
        ("GET", []) => Answer::json(200, &hook_json(of, &about, hook)),
        ("DELETE", []) => {
            forge.remove_hook(&repository.full_name, hook.id);
            Answer::empty(204)
        }
        ("PATCH", []) => {
            let Some(body) = call.json() else { return failed(call, 422, "the body is not JSON") };
            let mut hook = hook.clone();
            let config = &body["config"];
            hook.url = config["url"].as_str().unwrap_or(&hook.url).to_owned();
            // Other than what is left out, what is given takes the place of what was.
            if let Some(secret) = config["secret"].as_str() {
                hook.secret = (!secret.is_empty()).then(|| secret.to_owned());
            }
            if let Some(kind) = config["content_type"].as_str() {
                hook.settings["content_type"] = kind.into();
            }
            hook.events = strings(&body["events"]).unwrap_or(hook.events);
            hook.is_active = body["active"].as_bool().unwrap_or(hook.is_active);
            forge.put_hook(&repository.full_name, &hook);
            Answer::json(200, &hook_json(of, &about, &hook))
        }
        ("POST", ["tests"]) => {
            let branch = "refs/heads/main";
            let Some(commit) = repository.repo.resolve(branch) else { return not_found(call) };
            let change = Change::look(&repository.repo, branch, Some(commit.clone()), Some(&commit));
            let notice = Notice::new("push", "", payload::push(of, &about, &change));
            let delivery = forge.deliver_to(repository, hook, &notice);
            forge.send_later(delivery);
            Answer::empty(204)
        }
        _ => not_found(call),
    }
}

fn key_json(about: &About, key: &DeployKey) -> Value {
    json!({
        "id": key.id,
        "key_id": key.id,
        "key": key.key,
        "url": format!("{}/repos/{}/keys/{}", about.api, about.full_name, key.id),
        "title": key.title,
        "fingerprint": "",
        "created_at": rfc3339(key.created_s),
        "read_only": key.is_read_only,
    })
}

/// One key may be in several repositories, but once in each; titles are unique in each.
fn create_key(forge: &Inner, call: &Call, repository: &Repository, about: &About) -> Answer {
    let Some(body) = call.json() else { return failed(call, 422, "the body is not JSON") };
    let title = body["title"].as_str().unwrap_or_default();
    if title.is_empty() {
        return failed(call, 422, "[Title]: Required");
    }
    let Some(key) = body["key"].as_str().and_then(public_key) else {
        return failed(call, 422, "Invalid key content: unknown key type");
    };
    if repository.keys.iter().any(|known| known.key == key) {
        return failed(call, 422, "This key has already been added to this repository");
    }
    if repository.keys.iter().any(|known| known.title == title) {
        return failed(call, 422, "A key with the same name already exists");
    }
    let key = forge.add_key(&repository.full_name, title, key, body["read_only"].as_bool().unwrap_or(false));
    Answer::json(201, &key_json(about, &key))
}

fn read(of: &Gitea, call: &Call, repository: &Repository, about: &About, parts: &[&str]) -> Answer {
    let repo = &repository.repo;
    let api = format!("{}/repos/{}", about.api, about.full_name);
    let object = |line: &RefLine| json!({ "ref": line.name, "url": format!("{api}/git/{}", line.name), "object": { "type": line.kind, "sha": line.object, "url": format!("{api}/git/{}s/{}", line.kind, line.object) } });
    let branch = |line: &RefLine| json!({ "name": short_ref(&line.name), "commit": { "id": line.commit }, "protected": false });
    let tag = |line: &RefLine| json!({ "name": short_ref(&line.name), "id": line.object, "message": "", "commit": { "sha": line.commit, "url": format!("{api}/git/commits/{}", line.commit) }, "zipball_url": format!("{}/{}/archive/{}.zip", about.web, about.full_name, short_ref(&line.name)) });
    let one = |value: Option<Value>| value.map_or_else(|| not_found(call), |value| Answer::json(200, &value));
    match parts {
        ["branches"] => paged(of, call, refs(repo, "refs/heads/").iter().map(branch).collect()),
        ["branches", name @ ..] => {
            let wanted = format!("refs/heads/{}", name.join("/"));
            one(refs(repo, &wanted).iter().find(|line| line.name == wanted).map(branch))
        }
        ["tags"] => paged(of, call, refs(repo, "refs/tags/").iter().map(tag).collect()),
        ["tags", name @ ..] => {
            let wanted = format!("refs/tags/{}", name.join("/"));
            one(refs(repo, &wanted).iter().find(|line| line.name == wanted).map(tag))
        }
        ["git", "refs", name @ ..] => {
            let prefix = format!("refs/{}", name.join("/"));
            let all = refs(repo, "refs/");
            let found: Vec<Value> =
                all.iter().filter(|line| line.name.starts_with(&prefix)).map(object).collect();
            if found.is_empty() { not_found(call) } else { Answer::json(200, &Value::from(found)) }
        }
        ["git", "trees", name] if of.is_gogs() => {
            one(Commit::find(repo, name).map(|commit| gogs_tree(&api, repo, &commit)))
        }
        ["git", "trees", name] => one(Commit::find(repo, name).map(|commit| {
            // Gitea gives as many a page as it likes; a small number shows whether the next one is asked for.
            let (all, page) = (root(repo, &commit.id), call.number("page", 1, usize::MAX));
            let entries: Vec<Value> = all
                .iter()
                .skip((page - 1) * TREE_PAGE)
                .take(TREE_PAGE)
                .map(|one| json!({ "path": one.name, "mode": one.mode, "type": one.kind, "size": 0, "sha": one.id, "url": format!("{api}/git/blobs/{}", one.id) }))
                .collect();
            json!({
                "sha": commit.id,
                "url": format!("{api}/git/trees/{}", commit.id),
                "tree": entries,
                "truncated": page * TREE_PAGE < all.len(),
                "page": page,
                "total_count": all.len(),
            })
        })),
        ["git", "commits", name] | ["commits", name] => one(Commit::find(repo, name).map(|commit| json!({
            "sha": commit.id,
            "url": format!("{api}/git/commits/{}", commit.id),
            "created": commit.time,
            // What Gogs calls the tree's is the commit's.
            "commit": { "message": commit.message, "tree": { "sha": if of.is_gogs() { &commit.id } else { &commit.tree }, "url": format!("{api}/git/trees/{}", commit.tree) } },
            "parents": commit.parents.iter().map(|id| json!({ "sha": id })).collect::<Vec<_>>(),
        }))),
        _ => not_found(call),
    }
}

/// By its source Gogs has no pages of it, leaves out a list that is empty, and tells one mode of all files.
fn gogs_tree(api: &str, repo: &TestRepo, commit: &Commit) -> Value {
    let mode = |kind: &str| match kind {
        "commit" => "160000",
        "tree" => "040000",
        _ => "120000",
    };
    let entries: Vec<Value> = root(repo, &commit.id)
        .iter()
        .map(|one| json!({ "path": one.name, "mode": mode(&one.kind), "type": one.kind, "size": 0, "sha": one.id, "url": format!("{api}/git/trees/{}", one.id) }))
        .collect();
    let tree = if entries.is_empty() { Value::Null } else { Value::from(entries) };
    json!({ "sha": commit.id, "url": format!("{api}/git/trees/{}", commit.id), "tree": tree })
}

/// The top folder is the repository's name, in small letters as its folder on the disk.
fn download(repository: &Repository, file: &str) -> Option<Answer> {
    let (name, format) = archive::split_format(file)?;
    let commit = Commit::find(&repository.repo, name)?;
    let folder = repository.name().to_lowercase();
    let file = format!("{folder}-{}.{format}", name.replace('/', "-"));
    Some(archive::answer(&repository.repo, &commit.id, format, &folder, &file))
}

/// The same archive among the pages: `/acme/shop/archive/v1.zip`.
pub(super) fn page_download(forge: &Inner, call: &Call) -> Answer {
    let (_, parts) = call.route();
    let [owner, name, "archive", file @ ..] = parts.as_slice() else { return not_found(call) };
    match forge.admit_call(call, &format!("{owner}/{name}"), Grant::Read) {
        Ok(repository) => download(&repository, &file.join("/")).unwrap_or_else(|| not_found(call)),
        Err(_) => not_found(call),
    }
}
