//! Azure DevOps' service hooks, and where its other routes lead.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::Inner;
use super::super::clock::rfc3339;
use super::super::family::{About, Shape as _};
use super::super::http::{Answer, Call};
use super::super::state::{Grant, Hook, Repository};
use super::{Azure, failed, git, payload};

pub(super) fn answer(forge: &Arc<Inner>, call: &Call) -> Answer {
    let (method, parts) = call.route();
    if method != "GET" && call.query("api-version").is_none() {
        let message = format!(
            "No api-version was supplied for the \"{method}\" request. The version must be supplied either as part \
             of the Accept header (e.g. \"application/json; api-version=1.0\") or as a query parameter."
        );
        return failed(400, &message, "VssVersionNotSpecifiedException");
    }
    match parts.as_slice() {
        ["_apis", "hooks", "subscriptions", rest @ ..] => subscriptions(forge, call, rest),
        ["_apis", "projects", name] => project(forge, call, name),
        ["_apis", "git", "repositories", id, rest @ ..] => of_repository(forge, call, None, id, rest),
        [project, "_apis", "git", "repositories", id, rest @ ..] => {
            of_repository(forge, call, Some(project), id, rest)
        }
        _ => failed(404, "The resource cannot be found.", "VssResourceNotFoundException"),
    }
}

fn all(forge: &Inner) -> Vec<(Repository, About)> {
    let all: Vec<Repository> = forge.state().repositories.values().cloned().collect();
    all.into_iter().map(|one| (one.clone(), forge.about(&one))).collect()
}

fn of_repository(forge: &Inner, call: &Call, project: Option<&str>, id: &str, parts: &[&str]) -> Answer {
    let is_it = |about: &About| {
        let is_named = about.name().eq_ignore_ascii_case(id) && project.is_some();
        let is_there = project.is_none_or(|project| {
            about.owner().eq_ignore_ascii_case(project) || payload::project_id(about.owner()) == project
        });
        is_there && (is_named || payload::repository_id(about) == id)
    };
    let found = all(forge).into_iter().find(|(_, about)| is_it(about));
    let name = found.as_ref().map_or("", |(_, about)| about.full_name.as_str());
    let need = if call.method == "GET" { Grant::Read } else { Grant::Write };
    match forge.admit_call(call, name, need) {
        Ok(repository) => git::answer(forge, call, &repository, &forge.about(&repository), parts),
        Err(answer) => answer,
    }
}

fn project(forge: &Inner, call: &Call, name: &str) -> Answer {
    let is_it = |about: &About| about.owner() == name || payload::project_id(about.owner()) == name;
    let found = all(forge).into_iter().find(|(_, about)| is_it(about));
    let full_name = found.as_ref().map_or("", |(_, about)| about.full_name.as_str());
    match forge.admit_call(call, full_name, Grant::Read) {
        Ok(repository) => Answer::json(200, &payload::project(&forge.about(&repository))),
        Err(answer) => answer,
    }
}

/// Subscriptions are of the organisation; they are kept with the repositories that they name.
fn subscriptions(forge: &Arc<Inner>, call: &Call, parts: &[&str]) -> Answer {
    let token = Azure.token(call);
    let mut seen: Vec<(Repository, About)> = all(forge);
    let refused: Vec<_> = seen
        .iter()
        .map(|(repository, _)| forge.admit(token.as_deref(), &repository.full_name, Grant::Admin))
        .filter_map(Result::err)
        .collect();
    seen.retain(|(repository, _)| forge.admit(token.as_deref(), &repository.full_name, Grant::Admin).is_ok());
    if let (true, Some(why)) = (seen.is_empty(), refused.first()) {
        return Azure.refused(*why, call);
    }
    let hooks = || {
        seen.iter().flat_map(|(repository, about)| {
            repository.hooks.iter().map(move |hook| (repository, about, hook))
        })
    };
    let find = |id: &str| hooks().find(|(_, _, hook)| hook.has_id(id));
    match (call.method.as_str(), parts) {
        ("GET", []) => {
            let shown: Vec<Value> = hooks().map(|(_, about, hook)| shown(about, hook)).collect();
            Answer::json(200, &json!({ "count": shown.len(), "value": shown }))
        }
        ("POST", []) => create(forge, call, &seen),
        (_, [id, ..]) if find(id).is_none() => {
            let message = format!("The subscription with id {id} could not be found.");
            failed(404, &message, "SubscriptionNotFoundException")
        }
        (method, [id, rest @ ..]) => {
            let (repository, about, hook) = find(id).expect("looked for above");
            match (method, rest) {
                ("GET", []) => Answer::json(200, &shown(about, hook)),
                ("DELETE", []) => {
                    forge.remove_hook(&repository.full_name, hook.id);
                    Answer::empty(204)
                }
                ("PUT", []) => match put_fields(call, hook.clone()) {
                    Ok(changed) => {
                        forge.put_hook(&repository.full_name, &changed);
                        Answer::json(200, &shown(about, &changed))
                    }
                    Err(answer) => answer,
                },
                ("GET", ["notifications"]) => notifications(hook),
                _ => failed(404, "The resource cannot be found.", "VssResourceNotFoundException"),
            }
        }
        _ => failed(405, "The requested resource does not support this method.", "VssServiceException"),
    }
}

fn create(forge: &Arc<Inner>, call: &Call, seen: &[(Repository, About)]) -> Answer {
    let hook = match put_fields(call, forge.new_hook("", None, &["git.push"])) {
        Ok(hook) => hook,
        Err(answer) => return answer,
    };
    let wanted = hook.setting("publisherInputs")["repository"].as_str().unwrap_or_default().to_owned();
    let found = seen.iter().find(|(_, about)| payload::repository_id(about) == wanted);
    let Some((repository, about)) = found else {
        let message = "The input value for 'repository' is not valid.";
        return failed(400, message, "SubscriptionInputException");
    };
    forge.add_new_hook(repository, &hook);
    Answer::json(200, &shown(about, &hook))
}

fn put_fields(call: &Call, mut hook: Hook) -> Result<Hook, Answer> {
    let wrong = |message: &str| failed(400, message, "SubscriptionInputException");
    let body = call.json().ok_or_else(|| wrong("The request body is not valid JSON."))?;
    for (field, value) in [
        ("publisherId", "tfs"),
        ("eventType", "git.push"),
        ("consumerId", "webHooks"),
        ("consumerActionId", "httpRequest"),
    ] {
        if body[field].as_str() != Some(value) {
            return Err(wrong(&format!("'{field}' is not one that this server has: {}", body[field])));
        }
    }
    let inputs = &body["consumerInputs"];
    let url = inputs["url"].as_str().unwrap_or_default();
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(wrong("A value is needed for the input 'url'."));
    }
    hook.url = url.to_owned();
    if let Some(password) = inputs["basicAuthPassword"].as_str().filter(|text| !text.contains("****")) {
        hook.secret = (!password.is_empty()).then(|| password.to_owned());
    }
    hook.settings = json!({
        "user": inputs["basicAuthUsername"].as_str().unwrap_or_default(),
        "headers": inputs["httpHeaders"].as_str().unwrap_or_default(),
        "publisherInputs": body["publisherInputs"],
    });
    hook.is_active = body["status"].as_str().is_none_or(|status| status == "enabled");
    Ok(hook)
}

/// Passwords and headers are never shown again.
fn shown(about: &About, hook: &Hook) -> Value {
    let mut inputs = json!({ "url": hook.url, "basicAuthUsername": hook.setting("user") });
    if hook.secret.is_some() {
        inputs["basicAuthPassword"] = "********".into();
    }
    if hook.setting("headers").as_str().is_some_and(|text| !text.is_empty()) {
        inputs["httpHeaders"] = "********".into();
    }
    json!({
        "id": hook.uuid,
        "url": format!("{}/_apis/hooks/subscriptions/{}", about.api, hook.uuid),
        "status": if hook.is_active { "enabled" } else { "disabledByUser" },
        "publisherId": "tfs",
        "eventType": "git.push",
        "resourceVersion": "1.0",
        "eventDescription": "Repository shop",
        "consumerId": "webHooks",
        "consumerActionId": "httpRequest",
        "actionDescription": "To host 127.0.0.1",
        "createdDate": rfc3339(hook.created_s),
        "modifiedDate": rfc3339(hook.created_s),
        "publisherInputs": hook.setting("publisherInputs"),
        "consumerInputs": inputs,
    })
}

fn notifications(hook: &Hook) -> Answer {
    let all: Vec<Value> = hook
        .attempts
        .iter()
        .rev()
        .map(|attempt| {
            json!({
                "id": attempt.id,
                "subscriptionId": hook.uuid,
                "eventId": attempt.delivery.id,
                "createdDate": rfc3339(attempt.at_s),
                "status": "completed",
                "result": if attempt.is_delivered() { "succeeded" } else { "failed" },
            })
        })
        .collect();
    Answer::json(200, &json!({ "count": all.len(), "value": all }))
}
