//! Bitbucket Cloud's API: repositories, webhooks, deploy keys, build statuses.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::Inner;
use super::super::clock::{now_s, rfc3339};
use super::super::facts::Commit;
use super::super::family::{About, Shape as _};
use super::super::http::{Answer, Call, Page};
use super::super::state::{CommitStatus, DeployKey, Grant, Hook, Repository, public_key};
use super::{failed, invalid, payload, refs};

const PER_PAGE: usize = 10;
const PER_PAGE_MAX: usize = 100;
const KEY_CHARS_MAX: usize = 40;
const STATES: &[&str] = &["INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"];

pub(super) fn answer(forge: &Arc<Inner>, call: &Call) -> Answer {
    match call.route() {
        ("GET", parts) if parts == ["user"] => who(forge, call),
        (_, parts) if parts.len() >= 3 && parts[0] == "repositories" => {
            let name = full_name(forge, parts[1], parts[2]);
            match forge.admit_call(call, &name, need(call, &parts[3..])) {
                Ok(repository) => of_repository(forge, call, &repository, &parts[3..]),
                Err(answer) => answer,
            }
        }
        _ => failed(404, "Resource not found"),
    }
}

/// A repository may be named by its UUID too.
fn full_name(forge: &Inner, workspace: &str, slug: &str) -> String {
    let named = format!("{workspace}/{slug}");
    if !slug.starts_with('{') {
        return named;
    }
    let all: Vec<Repository> = forge.state().repositories.values().cloned().collect();
    let found = all.iter().map(|one| forge.about(one)).find(|about| payload::repository_uuid(about) == slug);
    found.map_or(named, |about| about.full_name)
}

fn need(call: &Call, parts: &[&str]) -> Grant {
    match (call.method.as_str(), parts.first()) {
        (_, Some(&"hooks" | &"deploy-keys")) => Grant::Admin,
        ("GET" | "HEAD", _) => Grant::Read,
        _ => Grant::Write,
    }
}

fn who(forge: &Inner, call: &Call) -> Answer {
    let token = super::Bitbucket.token(call);
    if token.is_some_and(|token| forge.state().tokens.contains_key(&token)) {
        return Answer::json(200, &json!({ "type": "user", "nickname": "fixture", "username": "fixture" }));
    }
    failed(401, "Token is invalid, expired, or not supported for this endpoint.")
}

fn of_repository(forge: &Arc<Inner>, call: &Call, repository: &Repository, parts: &[&str]) -> Answer {
    let about = forge.about(repository);
    match (call.method.as_str(), parts) {
        ("GET", []) => Answer::json(200, &payload::repository(&about)),
        ("GET", ["hooks"]) => {
            paged(call, repository.hooks.iter().map(|hook| hook_json(&about, hook)).collect())
        }
        ("POST", ["hooks"]) => match put_fields(call, forge.new_hook("", None, &[])) {
            Ok(hook) => {
                forge.add_new_hook(repository, &hook);
                Answer::json(201, &hook_json(&about, &hook))
            }
            Err(answer) => answer,
        },
        (method, ["hooks", id]) => match (repository.hook(id), method) {
            (None, _) => failed(404, &format!("{id} is not a valid hook")),
            (Some(hook), "GET") => Answer::json(200, &hook_json(&about, hook)),
            (Some(hook), "PUT") => match put_fields(call, hook.clone()) {
                Ok(changed) => {
                    forge.put_hook(&repository.full_name, &changed);
                    Answer::json(200, &hook_json(&about, &changed))
                }
                Err(answer) => answer,
            },
            (Some(hook), "DELETE") => {
                forge.remove_hook(&repository.full_name, hook.id);
                Answer::empty(204)
            }
            _ => failed(405, "Method not allowed"),
        },
        ("GET", ["deploy-keys"]) => {
            paged(call, repository.keys.iter().map(|key| key_json(&about, key)).collect())
        }
        ("POST", ["deploy-keys"]) => create_key(forge, call, repository, &about),
        (method @ ("GET" | "DELETE"), ["deploy-keys", id]) => {
            match (repository.keys.iter().find(|key| key.id.to_string() == *id), method) {
                (None, _) => failed(404, "Deploy key not found"),
                (Some(key), "GET") => Answer::json(200, &key_json(&about, key)),
                (Some(key), _) => {
                    forge.remove_key(&repository.full_name, key.id);
                    Answer::empty(204)
                }
            }
        }
        (_, ["commit", commit, "statuses", rest @ ..]) => statuses(forge, call, repository, commit, rest),
        ("GET", _) => refs::answer(call, repository, &about, parts),
        _ => failed(404, "Resource not found"),
    }
}

pub(super) fn paged(call: &Call, all: Vec<Value>) -> Answer {
    let per_page = call.number("pagelen", PER_PAGE, PER_PAGE_MAX);
    let page = Page::of(&all, call.number("page", 1, 1_000_000), per_page);
    let mut value = json!({
        "pagelen": per_page,
        "page": page.number,
        "size": page.total,
        "values": page.items,
    });
    if let Some(next) = page.next() {
        value["next"] = call.link(&[("page", next.to_string())]).into();
    }
    if page.number > 1 {
        value["previous"] = call.link(&[("page", (page.number - 1).to_string())]).into();
    }
    Answer::json(200, &value)
}

fn hook_json(about: &About, hook: &Hook) -> Value {
    let braced = format!("{{{}}}", hook.uuid);
    json!({
        "type": "webhook_subscription",
        "uuid": braced,
        "url": hook.url,
        "description": hook.setting("description"),
        "subject_type": "repository",
        "subject": payload::repository(about),
        "active": hook.is_active,
        "events": hook.events,
        "secret_set": hook.secret.is_some(),
        "created_at": rfc3339(hook.created_s),
        "links": { "self": { "href": format!("{}/repositories/{}/hooks/{braced}", about.api, about.full_name) } },
    })
}

fn put_fields(call: &Call, mut hook: Hook) -> Result<Hook, Answer> {
    let body = call.json().ok_or_else(|| failed(400, "The request body is not valid JSON."))?;
    let url = body["url"].as_str().ok_or_else(|| invalid(&json!({ "url": ["Required field"] })))?;
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(invalid(&json!({ "url": ["Enter a valid URL."] })));
    }
    let events = body["events"].as_array().filter(|events| !events.is_empty());
    let events = events.ok_or_else(|| invalid(&json!({ "events": ["Required field"] })))?;
    hook.url = url.to_owned();
    hook.events = events.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    hook.is_active = body["active"].as_bool().unwrap_or(hook.is_active);
    if !body["description"].is_null() {
        hook.settings["description"] = body["description"].clone();
    }
    // `null` or an empty text takes the secret away; without the field it stays.
    match &body["secret"] {
        Value::String(secret) => hook.secret = (!secret.is_empty()).then(|| secret.clone()),
        Value::Null if body.get("secret").is_some() => hook.secret = None,
        _ => {}
    }
    Ok(hook)
}

fn key_json(about: &About, key: &DeployKey) -> Value {
    json!({
        "type": "deploy_key",
        "id": key.id,
        "key": key.key,
        "label": key.title,
        "comment": "",
        "added_on": rfc3339(key.created_s),
        "last_used": null,
        "repository": { "type": "repository", "full_name": about.full_name, "name": about.name(), "uuid": payload::repository_uuid(about) },
        "links": { "self": { "href": format!("{}/repositories/{}/deploy-keys/{}", about.api, about.full_name, key.id) } },
    })
}

/// Keys here only fetch. The words for a key that is there already are as clients have met them.
fn create_key(forge: &Inner, call: &Call, repository: &Repository, about: &About) -> Answer {
    let Some(body) = call.json() else { return failed(400, "The request body is not valid JSON.") };
    let wrong = |message: &str| Answer::json(400, &json!({ "key": [{ "message": message }] }));
    let Some(key) = body["key"].as_str().and_then(public_key) else { return wrong("Invalid SSH key.") };
    if repository.keys.iter().any(|known| known.key == key) {
        return wrong("Someone has already added that access key to this repository.");
    }
    let label = body["label"].as_str().unwrap_or_default();
    let key = forge.add_key(&repository.full_name, label, key, true);
    Answer::json(200, &key_json(about, &key))
}

fn status_json(status: &CommitStatus) -> Value {
    json!({
        "type": "build",
        "uuid": format!("{{{}}}", super::super::delivery::uuid(&format!("status {}", status.id))),
        "key": status.context,
        "name": status.context,
        "url": status.url,
        "state": status.state,
        "description": status.description,
        "created_on": rfc3339(status.created_s),
        "updated_on": rfc3339(status.created_s),
        "commit": { "type": "commit", "hash": status.commit },
    })
}

fn statuses(forge: &Inner, call: &Call, repository: &Repository, commit: &str, parts: &[&str]) -> Answer {
    let Some(found) = Commit::find(&repository.repo, commit) else {
        return failed(404, &format!("Commit not found: {commit}"));
    };
    // Of each key there is one, the newest.
    let newest =
        |key: &str| repository.statuses.iter().rev().find(|one| one.commit == found.id && one.context == key);
    match (call.method.as_str(), parts) {
        ("GET", []) => {
            let mut keys: Vec<&str> = Vec::new();
            for status in repository.statuses.iter().filter(|status| status.commit == found.id) {
                if !keys.contains(&status.context.as_str()) {
                    keys.push(&status.context);
                }
            }
            paged(call, keys.into_iter().filter_map(newest).map(status_json).collect())
        }
        ("GET", ["build", key]) => match newest(key) {
            Some(status) => Answer::json(200, &status_json(status)),
            None => failed(404, "Build status not found"),
        },
        ("POST", ["build"]) => put_status(forge, call, repository, &found.id, None),
        ("PUT", ["build", key]) if newest(key).is_some() => {
            put_status(forge, call, repository, &found.id, newest(key))
        }
        _ => failed(404, "Resource not found"),
    }
}

fn put_status(
    forge: &Inner,
    call: &Call,
    repository: &Repository,
    commit: &str,
    old: Option<&CommitStatus>,
) -> Answer {
    let Some(body) = call.json() else { return failed(400, "The request body is not valid JSON.") };
    let text = |field: &str, old: Option<&String>| {
        body[field].as_str().map(str::to_owned).or_else(|| old.cloned()).unwrap_or_default()
    };
    let key = text("key", old.map(|status| &status.context));
    let state = text("state", old.map(|status| &status.state));
    let url = text("url", old.map(|status| &status.url));
    for (field, value) in [("key", &key), ("state", &state), ("url", &url)] {
        if value.is_empty() {
            return invalid(&json!({ field: ["This field is required."] }));
        }
    }
    if key.chars().count() > KEY_CHARS_MAX {
        let text = format!("Ensure this value has at most 40 characters (it has {}).", key.chars().count());
        return invalid(&json!({ "key": [text] }));
    }
    if !STATES.contains(&state.as_str()) {
        return invalid(&json!({ "state": [format!("{state} is not a valid choice.")] }));
    }
    let status = CommitStatus {
        id: forge.new_id(),
        commit: commit.to_owned(),
        state,
        context: key,
        description: text("description", old.map(|status| &status.description)),
        url,
        created_s: now_s(),
    };
    forge.change(&repository.full_name, |repository| repository.statuses.push(status.clone()));
    Answer::json(if old.is_some() { 200 } else { 201 }, &status_json(&status))
}
