//! Bitbucket Data Center's API: repositories, webhooks, access keys.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::Inner;
use super::super::family::About;
use super::super::http::{Answer, Call};
use super::super::state::{DeployKey, Grant, Hook, Repository, public_key};
use super::{failed, invalid, not_found, payload, refs};

const PER_PAGE: usize = 25;
const PER_PAGE_MAX: usize = 1_000;

pub(super) fn answer(forge: &Arc<Inner>, call: &Call) -> Answer {
    let (_, parts) = call.route();
    match parts.as_slice() {
        [api @ ("api" | "keys"), "1.0" | "latest", "projects", key, "repos", slug, rest @ ..] => {
            match forge.admit_call(call, &format!("{key}/{slug}"), need(call, api, rest)) {
                Ok(repository) if *api == "keys" => keys(forge, call, &repository, rest),
                Ok(repository) => of_repository(forge, call, &repository, rest),
                Err(answer) => answer,
            }
        }
        ["build-status", "1.0" | "latest", "commits", commit] => refs::old_statuses(forge, call, commit),
        ["api", "1.0" | "latest", "application-properties"] => Answer::json(
            200,
            &json!({ "version": "9.0.0", "buildNumber": "9000000", "displayName": "Bitbucket" }),
        ),
        _ => failed(404, "HTTP 404 Not Found", "javax.ws.rs.NotFoundException"),
    }
}

fn need(call: &Call, api: &str, parts: &[&str]) -> Grant {
    match (call.method.as_str(), api, parts.first()) {
        (_, "keys", _) | (_, _, Some(&"webhooks")) => Grant::Admin,
        ("GET" | "HEAD", ..) => Grant::Read,
        _ => Grant::Write,
    }
}

fn of_repository(forge: &Arc<Inner>, call: &Call, repository: &Repository, parts: &[&str]) -> Answer {
    let about = forge.about(repository);
    match (call.method.as_str(), parts) {
        ("GET", []) => Answer::json(200, &payload::repository(&about)),
        ("GET", ["webhooks"]) => paged(call, repository.hooks.iter().map(hook_json).collect()),
        ("POST", ["webhooks"]) => match put_fields(call, forge.new_hook("", None, &[])) {
            Ok(hook) => {
                forge.add_new_hook(repository, &hook);
                Answer::json(201, &hook_json(&hook))
            }
            Err(answer) => answer,
        },
        ("POST", ["webhooks", "test"]) => test(forge, call, repository),
        (_, ["webhooks", id, rest @ ..]) => match repository.hook(id) {
            Some(hook) => of_hook(forge, call, repository, hook, rest),
            None => not_found("Webhook does not exist.", "webhooks.NoSuchWebhookException"),
        },
        _ => refs::answer(forge, call, repository, &about, parts),
    }
}

/// Pages are counted by their first item.
pub(super) fn paged(call: &Call, all: Vec<Value>) -> Answer {
    let limit = call.number("limit", PER_PAGE, PER_PAGE_MAX);
    let start = call.query("start").and_then(|text| text.parse().ok()).unwrap_or(0).min(all.len());
    let end = (start + limit).min(all.len());
    let is_last = end == all.len();
    let mut value = json!({
        "size": end - start,
        "limit": limit,
        "isLastPage": is_last,
        "values": all[start..end],
        "start": start,
    });
    if !is_last {
        value["nextPageStart"] = end.into();
    }
    Answer::json(200, &value)
}

/// The configuration comes back as it was given, with the secret.
fn hook_json(hook: &Hook) -> Value {
    let mut configuration = json!({});
    if let Some(secret) = &hook.secret {
        configuration["secret"] = secret.clone().into();
    }
    json!({
        "id": hook.id,
        "name": hook.setting("name"),
        "createdDate": hook.created_s * 1_000,
        "updatedDate": hook.created_s * 1_000,
        "events": hook.events,
        "configuration": configuration,
        "url": hook.url,
        "active": hook.is_active,
        "scopeType": "repository",
        "sslVerificationRequired": hook.setting("sslVerificationRequired").as_bool().unwrap_or(true),
    })
}

fn put_fields(call: &Call, mut hook: Hook) -> Result<Hook, Answer> {
    let body = call.json().ok_or_else(|| invalid("", "The request body is not valid JSON"))?;
    let name = body["name"].as_str().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| invalid("name", "The name must not be empty"))?;
    let url = body["url"].as_str().unwrap_or_default();
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(invalid("url", "The URL must be valid"));
    }
    let events = body["events"].as_array().filter(|events| !events.is_empty());
    let events = events.ok_or_else(|| invalid("events", "At least one event is needed"))?;
    hook.events = events.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if let Some(unknown) = hook.events.iter().find(|event| !event.contains(':')) {
        return Err(invalid("events", &format!("No webhook event with the id {unknown} was found")));
    }
    hook.url = url.to_owned();
    let secret = body["configuration"]["secret"].as_str().filter(|text| !text.is_empty());
    hook.secret = secret.map(str::to_owned);
    hook.is_active = body["active"].as_bool().unwrap_or(true);
    hook.settings = json!({ "name": name, "sslVerificationRequired": body["sslVerificationRequired"] });
    Ok(hook)
}

fn of_hook(forge: &Arc<Inner>, call: &Call, repository: &Repository, hook: &Hook, parts: &[&str]) -> Answer {
    match (call.method.as_str(), parts) {
        ("GET", []) => Answer::json(200, &hook_json(hook)),
        ("PUT", []) => match put_fields(call, hook.clone()) {
            Ok(changed) => {
                forge.put_hook(&repository.full_name, &changed);
                Answer::json(200, &hook_json(&changed))
            }
            Err(answer) => answer,
        },
        ("DELETE", []) => {
            forge.remove_hook(&repository.full_name, hook.id);
            Answer::empty(204)
        }
        // The newest one only: there is no list.
        ("GET", ["latest"]) => match hook.attempts.last() {
            None => Answer::empty(204),
            Some(attempt) => {
                let outcome = if attempt.is_delivered() { "SUCCESS" } else { "FAILURE" };
                Answer::json(
                    200,
                    &json!({
                        "id": attempt.id,
                        "event": attempt.delivery.event,
                        "start": attempt.at_s * 1_000,
                        "finish": attempt.at_s * 1_000,
                        "duration": 30,
                        "eventScope": { "type": "repository", "id": repository.id.to_string() },
                        "request": { "method": "POST", "url": attempt.delivery.url },
                        "result": { "outcome": outcome, "description": attempt.reply.as_ref().map(|reply| reply.status.to_string()) },
                    }),
                )
            }
        },
        _ => failed(404, "HTTP 404 Not Found", "javax.ws.rs.NotFoundException"),
    }
}

/// Tries the address that the query names; whether it is a hook's does not matter there.
fn test(forge: &Arc<Inner>, call: &Call, repository: &Repository) -> Answer {
    let url = call.query("url").unwrap_or_default();
    let hook = repository.hooks.iter().find(|hook| hook.url == url).cloned();
    let hook = hook.unwrap_or_else(|| forge.new_hook(url, None, &[]));
    forge.try_hook(repository, &hook);
    Answer::json(200, &json!({ "url": url }))
}

fn key_json(about: &About, key: &DeployKey) -> Value {
    json!({
        "key": { "id": key.id, "text": key.key, "label": key.title, "algorithmType": "ED25519" },
        "repository": payload::repository(about),
        "permission": if key.is_read_only { "REPO_READ" } else { "REPO_WRITE" },
    })
}

fn keys(forge: &Inner, call: &Call, repository: &Repository, parts: &[&str]) -> Answer {
    let about = forge.about(repository);
    let found = |id: &str| repository.keys.iter().find(|key| key.id.to_string() == id);
    match (call.method.as_str(), parts) {
        ("GET", ["ssh"]) => paged(call, repository.keys.iter().map(|key| key_json(&about, key)).collect()),
        ("POST", ["ssh"]) => create_key(forge, call, repository, &about),
        ("GET", ["ssh", id]) => match found(id) {
            Some(key) => Answer::json(200, &key_json(&about, key)),
            None => not_found("Access key does not exist.", "ssh.NoSuchSshAccessKeyException"),
        },
        // Taken away twice is taken away.
        ("DELETE", ["ssh", id]) => {
            if let Some(key) = found(id) {
                forge.remove_key(&repository.full_name, key.id);
            }
            Answer::empty(204)
        }
        _ => failed(404, "HTTP 404 Not Found", "javax.ws.rs.NotFoundException"),
    }
}

/// The status for a key that is there already is documented, the words are not.
fn create_key(forge: &Inner, call: &Call, repository: &Repository, about: &About) -> Answer {
    let Some(body) = call.json() else { return invalid("", "The request body is not valid JSON") };
    let text = body["key"]["text"].as_str().unwrap_or_default();
    let Some(key) = public_key(text) else { return invalid("key", "The SSH key is not valid") };
    let is_read_only = match body["permission"].as_str() {
        Some("REPO_READ") => true,
        Some("REPO_WRITE") => false,
        _ => return invalid("permission", "A permission is needed: REPO_READ or REPO_WRITE"),
    };
    if repository.keys.iter().any(|known| known.key == key) {
        let message = "This key is already an access key of this repository";
        return failed(409, message, "com.atlassian.bitbucket.ssh.DuplicateSshAccessKeyException");
    }
    // Without a label, the key's own comment is it.
    let label = body["key"]["label"].as_str().or_else(|| text.split_whitespace().nth(2)).unwrap_or_default();
    let key = forge.add_key(&repository.full_name, label, key, is_read_only);
    Answer::json(201, &key_json(about, &key))
}
