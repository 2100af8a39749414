//! GitHub's API: <https://docs.github.com/en/rest/repos>, `/webhooks`, `/deploy-keys`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::Inner;
use super::super::clock::rfc3339;
use super::super::family::{About, Shape as _};
use super::super::http::{Answer, Call, Page};
use super::super::state::{DeployKey, Grant, Hook, Repository, public_key};
use super::{content, deliveries, failed, invalid, payload, statuses};

const PER_PAGE: usize = 30;
const PER_PAGE_MAX: usize = 100;
const HOOKS_PER_EVENT_MAX: usize = 20;

pub(super) fn answer(forge: &Arc<Inner>, call: &Call) -> Answer {
    if call.header("user-agent").is_none_or(str::is_empty) {
        return Answer::text(
            403,
            "Request forbidden by administrative rules. Please send a User-Agent header.",
        );
    }
    match call.route() {
        ("GET", parts) if parts == ["user"] => who(forge, call),
        (_, parts) if parts.len() >= 3 && parts[0] == "repos" => {
            let name = format!("{}/{}", parts[1], parts[2]);
            let need = need(call, &parts[3..]);
            match forge.admit_call(call, &name, need) {
                Ok(repository) => of_repository(forge, call, &repository, &parts[3..]),
                Err(answer) => moved(forge, call, &name, &parts[3..]).unwrap_or(answer),
            }
        }
        (_, parts) if parts.len() >= 2 && parts[0] == "repositories" => {
            by_id(forge, call, parts[1], &parts[2..])
        }
        (_, parts) if parts.len() >= 3 && parts[0] == "orgs" && parts[2] == "hooks" => {
            of_owner(forge, call, parts[1], &parts[3..])
        }
        _ => failed(404, "Not Found"),
    }
}

/// The webhooks of an organisation: <https://docs.github.com/en/rest/orgs/webhooks>.
fn of_owner(forge: &Arc<Inner>, call: &Call, owner: &str, parts: &[&str]) -> Answer {
    let (repository, hooks) = match forge.admit_owner(call, owner) {
        Ok(found) => found,
        Err(answer) => return answer,
    };
    let about = forge.about(&repository);
    let shown = |hook: &Hook| {
        let mut shown = payload::hook(&about, hook);
        shown["type"] = "Organization".into();
        shown["url"] = format!("{}/orgs/{owner}/hooks/{}", about.api, hook.id).into();
        shown
    };
    match (call.method.as_str(), parts) {
        ("GET", []) => paged(call, hooks.iter().map(shown).collect()),
        ("GET", [id, rest @ ..]) => match (hooks.iter().find(|hook| hook.has_id(id)), rest) {
            (Some(hook), []) => Answer::json(200, &shown(hook)),
            (Some(hook), ["deliveries", rest @ ..]) => {
                deliveries::answer(forge, call, &repository, hook, rest)
            }
            _ => failed(404, "Not Found"),
        },
        _ => failed(404, "Not Found"),
    }
}

/// Hooks and keys are for administrators, even to be seen.
fn need(call: &Call, parts: &[&str]) -> Grant {
    match (call.method.as_str(), parts.first()) {
        (_, Some(&"hooks" | &"keys")) => Grant::Admin,
        ("GET" | "HEAD", _) => Grant::Read,
        _ => Grant::Write,
    }
}

fn who(forge: &Inner, call: &Call) -> Answer {
    let token = super::Github.token(call);
    match token {
        Some(token) if forge.state().tokens.contains_key(&token) => {
            let web = format!("http://{}", forge.doors.web);
            Answer::json(200, &payload::user("fixture", 501_000_002, &web))
        }
        Some(_) => failed(401, "Bad credentials"),
        None => failed(401, "Requires authentication"),
    }
}

fn by_id(forge: &Arc<Inner>, call: &Call, id: &str, parts: &[&str]) -> Answer {
    let name = {
        let state = forge.state();
        let found = state.repositories.values().find(|repository| repository.id.to_string() == id);
        found.map(|repository| repository.full_name.clone())
    };
    match forge.admit_call(call, name.as_deref().unwrap_or_default(), need(call, parts)) {
        Ok(repository) => of_repository(forge, call, &repository, parts),
        Err(answer) => answer,
    }
}

/// Sends on who asks for a repository by the name it had, and may see it.
fn moved(forge: &Inner, call: &Call, old: &str, parts: &[&str]) -> Option<Answer> {
    let new = forge.state().moved.get(old).cloned()?;
    let repository = forge.admit_call(call, &new, Grant::Read).ok()?;
    let rest: String = parts.iter().map(|part| format!("/{part}")).collect();
    let url = format!("{}/repositories/{}{rest}", forge.api_url(), repository.id);
    // What changes something keeps its method.
    let status = if call.method == "GET" { 301 } else { 307 };
    let body = json!({ "message": "Moved Permanently", "url": url, "documentation_url": "https://docs.github.com/rest" });
    Some(Answer::json(status, &body).with("location", url))
}

fn of_repository(forge: &Arc<Inner>, call: &Call, repository: &Repository, parts: &[&str]) -> Answer {
    let about = forge.about(repository);
    match (call.method.as_str(), parts) {
        ("GET", []) => Answer::json(200, &payload::repository(&about)),
        ("GET", ["hooks"]) => {
            let shown = repository.own_hooks().map(|hook| payload::hook(&about, hook)).collect();
            paged(call, shown)
        }
        ("POST", ["hooks"]) => create_hook(forge, call, repository, &about),
        (_, ["hooks", id, rest @ ..]) => match repository.hook(id) {
            Some(hook) => of_hook(forge, call, repository, hook, rest),
            None => failed(404, "Not Found"),
        },
        ("GET", ["keys"]) => paged(call, repository.keys.iter().map(|key| key_json(&about, key)).collect()),
        ("POST", ["keys"]) => create_key(forge, call, repository, &about),
        (method @ ("GET" | "DELETE"), ["keys", id]) => {
            let found = repository.keys.iter().find(|key| key.id.to_string() == *id);
            match (found, method) {
                (None, _) => failed(404, "Not Found"),
                (Some(key), "GET") => Answer::json(200, &key_json(&about, key)),
                (Some(key), _) => {
                    forge.remove_key(&repository.full_name, key.id);
                    Answer::empty(204)
                }
            }
        }
        ("POST", ["statuses", commit]) => statuses::create(forge, call, repository, &about, commit),
        ("GET", ["commits", name @ .., "statuses"]) => {
            statuses::list(call, repository, &about, &name.join("/"))
        }
        ("GET", [kind @ ("zipball" | "tarball"), name @ ..]) => {
            content::redirect(forge, repository, kind, name)
        }
        ("GET", _) => content::read(call, repository, &about, parts),
        _ => failed(404, "Not Found"),
    }
}

pub(super) fn paged(call: &Call, all: Vec<Value>) -> Answer {
    let per_page = call.number("per_page", PER_PAGE, PER_PAGE_MAX);
    let page = Page::of(&all, call.number("page", 1, usize::MAX), per_page);
    let answer = Answer::json(200, &Value::from(page.items.to_vec()));
    match page.link(call) {
        Some(link) => answer.with("link", link),
        None => answer,
    }
}

fn create_hook(forge: &Arc<Inner>, call: &Call, repository: &Repository, about: &About) -> Answer {
    let Some(body) = call.json() else { return failed(400, "Problems parsing JSON") };
    let hook_error =
        |message: &str| invalid(json!({ "resource": "Hook", "code": "custom", "message": message }));
    if body.get("name").and_then(Value::as_str).is_some_and(|name| name != "web") {
        return invalid(json!({ "resource": "Hook", "code": "invalid", "field": "name" }));
    }
    let config = &body["config"];
    let url = config["url"].as_str().unwrap_or_default();
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return hook_error("url is not a valid URL");
    }
    let events = events(&body["events"]).unwrap_or_else(|| vec!["push".to_owned()]);
    // What counts as the same is not written down: the same address and kind of content, as others have found.
    if repository.hooks.iter().any(|hook| hook.url == url) {
        return hook_error("Hook already exists on this repository");
    }
    for event in &events {
        let so_far = repository.hooks.iter().filter(|hook| hook.events.contains(event)).count();
        if so_far >= HOOKS_PER_EVENT_MAX {
            return hook_error(&format!("The \"{event}\" event cannot have more than 20 hooks"));
        }
    }
    let mut hook = forge.new_hook(url, config["secret"].as_str().filter(|text| !text.is_empty()), &[]);
    hook.events = events;
    hook.is_active = body["active"].as_bool().unwrap_or(true);
    hook.settings = json!({
        // GitHub's own default is a form.
        "content_type": config["content_type"].as_str().unwrap_or("form"),
        "insecure_ssl": insecure_ssl(config),
    });
    forge.add_new_hook(repository, &hook);
    Answer::json(201, &payload::hook(about, &hook))
}

fn insecure_ssl(config: &Value) -> String {
    match &config["insecure_ssl"] {
        Value::Number(number) => number.to_string(),
        other => other.as_str().unwrap_or("0").to_owned(),
    }
}

fn events(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array()?;
    Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn of_hook(forge: &Arc<Inner>, call: &Call, repository: &Repository, hook: &Hook, parts: &[&str]) -> Answer {
    let about = forge.about(repository);
    match (call.method.as_str(), parts) {
        ("GET", []) => Answer::json(200, &payload::hook(&about, hook)),
        ("DELETE", []) => {
            forge.remove_hook(&repository.full_name, hook.id);
            Answer::empty(204)
        }
        ("PATCH", []) => {
            let Some(body) = call.json() else { return failed(400, "Problems parsing JSON") };
            let changed = patched(hook, &body);
            forge.put_hook(&repository.full_name, &changed);
            Answer::json(200, &payload::hook(&about, &changed))
        }
        (method @ ("GET" | "PATCH"), ["config"]) => {
            let mut shown = hook.clone();
            if method == "PATCH" {
                let Some(config) = call.json() else { return failed(400, "Problems parsing JSON") };
                shown = configured(hook, &config);
                forge.put_hook(&repository.full_name, &shown);
            }
            Answer::json(200, &payload::hook(&about, &shown)["config"])
        }
        ("POST", ["pings" | "tests"]) => {
            forge.try_hook(repository, hook);
            Answer::empty(204)
        }
        (_, ["deliveries", rest @ ..]) => deliveries::answer(forge, call, repository, hook, rest),
        _ => failed(404, "Not Found"),
    }
}

/// Of a configuration by itself, what is left out stays.
fn configured(hook: &Hook, config: &Value) -> Hook {
    let mut hook = hook.clone();
    hook.url = config["url"].as_str().unwrap_or(&hook.url).to_owned();
    if let Some(secret) = config["secret"].as_str() {
        hook.secret = (!secret.is_empty()).then(|| secret.to_owned());
    }
    if let Some(kind) = config["content_type"].as_str() {
        hook.settings["content_type"] = kind.into();
    }
    if !config["insecure_ssl"].is_null() {
        hook.settings["insecure_ssl"] = insecure_ssl(config).into();
    }
    hook
}

/// A `config` takes the place of the whole one before: without a secret in it, the hook has none.
fn patched(hook: &Hook, body: &Value) -> Hook {
    let mut hook = hook.clone();
    let config = &body["config"];
    if config.is_object() {
        hook.url = config["url"].as_str().unwrap_or(&hook.url).to_owned();
        hook.secret = config["secret"].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        hook.settings = json!({
            "content_type": config["content_type"].as_str().unwrap_or("form"),
            "insecure_ssl": insecure_ssl(config),
        });
    }
    hook.events = events(&body["events"]).unwrap_or(hook.events);
    hook.events.extend(events(&body["add_events"]).unwrap_or_default());
    let gone = events(&body["remove_events"]).unwrap_or_default();
    hook.events.retain(|event| !gone.contains(event));
    hook.is_active = body["active"].as_bool().unwrap_or(hook.is_active);
    hook
}

fn key_json(about: &About, key: &DeployKey) -> Value {
    json!({
        "id": key.id,
        "key": key.key,
        "url": format!("{}/repos/{}/keys/{}", about.api, about.full_name, key.id),
        "title": key.title,
        "verified": true,
        "created_at": rfc3339(key.created_s),
        "read_only": key.is_read_only,
        "added_by": "fixture",
        "last_used": null,
        "enabled": true,
    })
}

fn create_key(forge: &Inner, call: &Call, repository: &Repository, about: &About) -> Answer {
    let Some(body) = call.json() else { return failed(400, "Problems parsing JSON") };
    let error = |message: &str| {
        invalid(json!({ "resource": "PublicKey", "code": "custom", "field": "key", "message": message }))
    };
    let Some(key) = body["key"].as_str().and_then(public_key) else {
        return error("key is invalid. You must supply a key in OpenSSH public key format");
    };
    // In the whole of GitHub, not in this repository alone.
    if forge.owner_of_key(&key).is_some() {
        return error("key is already in use");
    }
    let title = body["title"].as_str().unwrap_or_default();
    let is_read_only = body["read_only"].as_bool().unwrap_or(false);
    let key = forge.add_key(&repository.full_name, title, key, is_read_only);
    Answer::json(201, &key_json(about, &key))
}
