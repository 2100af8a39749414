//! GitLab's API: projects, webhooks and their events, deploy keys
//! (<https://docs.gitlab.com/api/project_webhooks/>, `/deploy_keys/`).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::Inner;
use super::super::clock::rfc3339;
use super::super::family::{About, Shape as _};
use super::super::http::{Answer, Call, Page};
use super::super::state::{Attempt, DeployKey, Grant, Hook, Repository, public_key};
use super::{failed, projects};

const PER_PAGE: usize = 20;
const PER_PAGE_MAX: usize = 100;

/// All flags of a hook; those that we send are `all_events`.
const FLAGS: &[&str] = &[
    "push_events",
    "tag_push_events",
    "releases_events",
    "issues_events",
    "confidential_issues_events",
    "merge_requests_events",
    "note_events",
    "confidential_note_events",
    "job_events",
    "pipeline_events",
    "wiki_page_events",
    "deployment_events",
    "feature_flag_events",
];

pub(super) fn answer(forge: &Arc<Inner>, call: &Call) -> Answer {
    match call.route() {
        ("GET", parts) if parts == ["user"] => who(forge, call),
        (_, parts) if parts.len() >= 2 && parts[0] == "projects" => {
            let name = full_name(forge, parts[1]);
            match forge.admit_call(call, &name, need(call, &parts[2..])) {
                Ok(repository) => of_project(forge, call, &repository, &parts[2..]),
                Err(answer) => answer,
            }
        }
        ("GET", parts) if parts.len() >= 3 && parts[0] == "groups" && parts[2] == "hooks" => {
            of_group(forge, call, parts[1], &parts[3..])
        }
        _ => Answer::json(404, &json!({ "error": "404 Not Found" })),
    }
}

/// The webhooks of a group: <https://docs.gitlab.com/api/group_webhooks/>.
fn of_group(forge: &Inner, call: &Call, group: &str, parts: &[&str]) -> Answer {
    let (repository, hooks) = match forge.admit_owner(call, group) {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let about = forge.about(&repository);
    let shown = |hook: &Hook| {
        let mut shown = hook_json(&about, hook);
        shown.as_object_mut().expect("an object").remove("project_id");
        shown["group_id"] = 99.into();
        shown
    };
    match parts {
        [] => paged(call, hooks.iter().map(shown).collect()),
        [id, rest @ ..] => match (hooks.iter().find(|hook| hook.has_id(id)), rest) {
            (Some(hook), []) => Answer::json(200, &shown(hook)),
            (Some(hook), ["events"]) => events(call, hook),
            _ => failed(404, "404 Not found"),
        },
    }
}

fn need(call: &Call, parts: &[&str]) -> Grant {
    match (call.method.as_str(), parts.first()) {
        (_, Some(&"hooks" | &"deploy_keys")) => Grant::Admin,
        ("GET" | "HEAD", _) => Grant::Read,
        _ => Grant::Write,
    }
}

/// Projects are named by number or by their encoded path.
fn full_name(forge: &Inner, id: &str) -> String {
    let state = forge.state();
    let found = state.repositories.values().find(|repository| repository.id.to_string() == id);
    found.map_or(id.to_owned(), |repository| repository.full_name.clone())
}

fn who(forge: &Inner, call: &Call) -> Answer {
    let token = super::Gitlab.token(call);
    if token.is_some_and(|token| forge.state().tokens.contains_key(&token)) {
        let user = json!({ "id": super::payload::USER_ID, "username": "fixture", "name": "Fixture", "state": "active" });
        return Answer::json(200, &user);
    }
    failed(401, "401 Unauthorized")
}

fn of_project(forge: &Arc<Inner>, call: &Call, repository: &Repository, parts: &[&str]) -> Answer {
    let about = forge.about(repository);
    match (call.method.as_str(), parts) {
        ("GET", ["hooks"]) => {
            paged(call, repository.own_hooks().map(|hook| hook_json(&about, hook)).collect())
        }
        ("POST", ["hooks"]) => match put_fields(call, forge.new_hook("", None, &[]), true) {
            Ok(hook) => {
                forge.add_new_hook(repository, &hook);
                Answer::json(201, &hook_json(&about, &hook))
            }
            Err(answer) => answer,
        },
        (_, ["hooks", id, rest @ ..]) => match repository.hook(id) {
            Some(hook) => of_hook(forge, call, repository, hook, rest),
            None => failed(404, "404 Not found"),
        },
        ("GET", ["deploy_keys"]) => paged(call, repository.keys.iter().map(key_json).collect()),
        ("POST", ["deploy_keys"]) => create_key(forge, call, repository),
        (method @ ("GET" | "DELETE"), ["deploy_keys", id]) => {
            let found = repository.keys.iter().find(|key| key.id.to_string() == *id);
            match (found, method) {
                (None, _) => failed(404, "404 Deploy Key Not Found"),
                (Some(key), "GET") => Answer::json(200, &key_json(key)),
                (Some(key), _) => {
                    forge.remove_key(&repository.full_name, key.id);
                    Answer::empty(204)
                }
            }
        }
        _ => projects::answer(forge, call, repository, &about, parts),
    }
}

pub(super) fn paged(call: &Call, all: Vec<Value>) -> Answer {
    let per_page = call.number("per_page", PER_PAGE, PER_PAGE_MAX);
    let page = Page::of(&all, call.number("page", 1, usize::MAX), per_page);
    let previous = if page.number > 1 { (page.number - 1).to_string() } else { String::new() };
    let answer = Answer::json(200, &Value::from(page.items.to_vec()))
        .with("x-page", page.number.to_string())
        .with("x-per-page", per_page.to_string())
        .with("x-prev-page", previous)
        .with("x-next-page", page.next().map(|next| next.to_string()).unwrap_or_default())
        .with("x-total", page.total.to_string())
        .with("x-total-pages", page.pages().to_string());
    match page.link(call) {
        Some(link) => answer.with("link", link),
        None => answer,
    }
}

fn hook_json(about: &About, hook: &Hook) -> Value {
    let mut value = json!({
        "id": hook.id,
        "url": hook.url,
        "name": hook.setting("name"),
        "description": hook.setting("description"),
        "project_id": about.id,
        "created_at": rfc3339(hook.created_s),
        "push_events_branch_filter": hook.setting("push_events_branch_filter").as_str().unwrap_or_default(),
        "branch_filter_strategy": "wildcard",
        "enable_ssl_verification": hook.setting("enable_ssl_verification").as_bool().unwrap_or(true),
        "repository_update_events": false,
        "alert_status": "executable",
        "disabled_until": null,
        "url_variables": [],
        "custom_webhook_template": null,
        "custom_headers": [],
    });
    for flag in FLAGS {
        value[*flag] = hook.events.iter().any(|event| event == flag).into();
    }
    value
}

/// A flag of JSON or of a form.
fn flag(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str().map(|text| matches!(text, "true" | "1")))
}

/// The hook as a request leaves it. The address must be there each time; with another one, the token goes.
fn put_fields(call: &Call, mut hook: Hook, is_new: bool) -> Result<Hook, Answer> {
    let body =
        call.json().ok_or_else(|| Answer::json(400, &json!({ "error": "The provided body is not JSON" })))?;
    let url = body["url"].as_str().ok_or_else(|| Answer::json(400, &json!({ "error": "url is missing" })))?;
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(Answer::json(422, &json!({ "error": "Invalid url given" })));
    }
    if hook.url != url {
        hook.secret = None;
    }
    hook.url = url.to_owned();
    // The name of the second is as in the settings page; the documentation that we have does not list it yet.
    for field in ["token", "signing_token"] {
        if let Some(token) = body[field].as_str() {
            hook.secret = (!token.is_empty()).then(|| token.to_owned());
        }
    }
    if is_new && body["push_events"].is_null() {
        hook.events.push("push_events".to_owned());
    }
    for name in FLAGS {
        if let Some(is_on) = flag(&body[*name]) {
            hook.events.retain(|event| event != name);
            hook.events.extend(is_on.then(|| (*name).to_owned()));
        }
    }
    for field in ["name", "description", "push_events_branch_filter"] {
        if !body[field].is_null() {
            hook.settings[field] = body[field].clone();
        }
    }
    if let Some(is_on) = flag(&body["enable_ssl_verification"]) {
        hook.settings["enable_ssl_verification"] = is_on.into();
    }
    Ok(hook)
}

fn of_hook(forge: &Arc<Inner>, call: &Call, repository: &Repository, hook: &Hook, parts: &[&str]) -> Answer {
    let about = forge.about(repository);
    match (call.method.as_str(), parts) {
        ("GET", []) => Answer::json(200, &hook_json(&about, hook)),
        ("PUT", []) => match put_fields(call, hook.clone(), false) {
            Ok(changed) => {
                forge.put_hook(&repository.full_name, &changed);
                Answer::json(200, &hook_json(&about, &changed))
            }
            Err(answer) => answer,
        },
        ("DELETE", []) => {
            forge.remove_hook(&repository.full_name, hook.id);
            Answer::empty(204)
        }
        ("GET", ["events"]) => events(call, hook),
        ("POST", ["events", id, "resend"]) => {
            if forge.try_again(&repository.full_name, &hook.id.to_string(), id) {
                Answer::json(201, &json!({ "response_status": 200 }))
            } else {
                failed(404, "404 Not found")
            }
        }
        ("POST", ["test", trigger]) => projects::test_hook(forge, repository, hook, trigger),
        _ => failed(404, "404 Not found"),
    }
}

/// The newest first.
fn events(call: &Call, hook: &Hook) -> Answer {
    let shown = hook.attempts.iter().rev().filter(|attempt| is_asked_for(call, attempt));
    paged(call, shown.map(|attempt| event_json(attempt)).collect())
}

/// `status` has codes and categories of them, with commas between.
fn is_asked_for(call: &Call, attempt: &Attempt) -> bool {
    let status = attempt.reply.as_ref().map(|reply| reply.status);
    let within = |from: u16| status.is_some_and(|status| (from..from + 100).contains(&status));
    let is_of = |part: &str| match part {
        "successful" => within(200),
        "client_failure" => within(400),
        // One that nobody answered has `internal error`, and is among these.
        "server_failure" => within(500) || status.is_none(),
        code => status.is_some_and(|status| status.to_string() == code),
    };
    call.query("status").is_none_or(|parts| parts.split(',').any(is_of))
}

fn event_json(attempt: &Attempt) -> Value {
    let trigger = match attempt.delivery.event.as_str() {
        "Tag Push Hook" => "tag_push_hooks",
        "Release Hook" => "release_hooks",
        _ => "push_hooks",
    };
    let is_secret = |name: &str| matches!(name, "X-Gitlab-Token" | "webhook-signature");
    let headers: Map<String, Value> = attempt
        .delivery
        .headers()
        .into_iter()
        .map(|(name, value)| {
            let value = if is_secret(name) { "[REDACTED]".to_owned() } else { value };
            (name.to_owned(), value.into())
        })
        .collect();
    let payload: Value = serde_json::from_slice(&attempt.delivery.body).unwrap_or_default();
    let (status, body) = match &attempt.reply {
        Some(reply) => (reply.status.to_string(), reply.body.clone()),
        // What is written for a receiver that cannot be reached.
        None => ("internal error".to_owned(), String::new()),
    };
    json!({
        "id": attempt.id,
        "url": attempt.delivery.url,
        "trigger": trigger,
        "request_headers": headers,
        "request_data": payload,
        "response_headers": {},
        "response_body": body,
        "execution_duration": 0.03,
        "response_status": status,
    })
}

fn key_json(key: &DeployKey) -> Value {
    json!({
        "id": key.id,
        "title": key.title,
        "key": key.key,
        "created_at": rfc3339(key.created_s),
        "expires_at": null,
        "can_push": !key.is_read_only,
    })
}

/// A key that the project has is given back; one of another project, which a person may see, is joined to this one.
fn create_key(forge: &Inner, call: &Call, repository: &Repository) -> Answer {
    let Some(body) = call.json() else { return Answer::json(400, &json!({ "error": "title is missing" })) };
    for field in ["title", "key"] {
        if body[field].as_str().is_none() {
            return Answer::json(400, &json!({ "error": format!("{field} is missing") }));
        }
    }
    let Some(key) = body["key"].as_str().and_then(public_key) else {
        return Answer::json(
            400,
            &json!({ "message": { "deploy_key.fingerprint": ["cannot be generated"], "deploy_key.key": ["is invalid"] } }),
        );
    };
    if let Some(known) = repository.keys.iter().find(|known| known.key == key) {
        return Answer::json(201, &key_json(known));
    }
    if let Some((_, known)) = forge.owner_of_key(&key) {
        forge.change(&repository.full_name, |repository| repository.keys.push(known.clone()));
        forge.write_keys();
        return Answer::json(201, &key_json(&known));
    }
    let is_read_only = !flag(&body["can_push"]).unwrap_or(false);
    let title = body["title"].as_str().unwrap_or_default();
    let key = forge.add_key(&repository.full_name, title, key, is_read_only);
    Answer::json(201, &key_json(&key))
}
