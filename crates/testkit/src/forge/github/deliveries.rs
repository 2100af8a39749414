//! GitHub's list of deliveries: <https://docs.github.com/en/rest/repos/webhooks>.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::Inner;
use super::super::clock::rfc3339;
use super::super::http::{Answer, Call};
use super::super::state::{Attempt, Hook, Repository};
use super::failed;

const PER_PAGE: usize = 30;
const PER_PAGE_MAX: usize = 100;

pub(super) fn answer(
    forge: &Arc<Inner>,
    call: &Call,
    repository: &Repository,
    hook: &Hook,
    parts: &[&str],
) -> Answer {
    let found = |id: &str| hook.attempts.iter().find(|attempt| attempt.id.to_string() == id);
    match (call.method.as_str(), parts) {
        ("GET", []) => list(call, repository, hook),
        ("GET", [id]) => match found(id) {
            Some(attempt) => Answer::json(200, &whole(repository, attempt)),
            None => failed(404, "Not Found"),
        },
        ("POST", [id, "attempts"]) => {
            if forge.try_again(&repository.full_name, &hook.id.to_string(), id) {
                Answer::json(202, &json!({}))
            } else {
                failed(404, "Not Found")
            }
        }
        _ => failed(404, "Not Found"),
    }
}

/// Newest first. The cursor is opaque: here it is the last one that was shown.
fn list(call: &Call, repository: &Repository, hook: &Hook) -> Answer {
    let per_page = call.number("per_page", PER_PAGE, PER_PAGE_MAX);
    let mut left: Vec<&Attempt> = hook.attempts.iter().rev().map(AsRef::as_ref).collect();
    if call.query("status") == Some("failure") {
        left.retain(|attempt| !attempt.is_delivered());
    }
    if let Some(cursor) = call.query("cursor") {
        let Some(shown) = cursor.strip_prefix("v1_").and_then(|text| text.parse::<u64>().ok()) else {
            return failed(422, "Invalid cursor");
        };
        left.retain(|attempt| attempt.id < shown);
    }
    let page: Vec<Value> = left.iter().take(per_page).map(|attempt| short(repository, attempt)).collect();
    let answer = Answer::json(200, &Value::from(page));
    match left.get(per_page - 1) {
        Some(last) if left.len() > per_page => {
            let next = call.link(&[("cursor", format!("v1_{}", last.id))]);
            answer.with("link", format!("<{next}>; rel=\"next\""))
        }
        _ => answer,
    }
}

fn short(repository: &Repository, attempt: &Attempt) -> Value {
    let payload: Value = serde_json::from_slice(&attempt.delivery.body).unwrap_or_default();
    let (status, code) = match &attempt.reply {
        // The words and the code for hosts that cannot be reached are those of a hook's page, not of the documentation.
        None => ("failed to connect to host".to_owned(), 502),
        Some(_) if attempt.is_delivered() => {
            ("OK".to_owned(), attempt.reply.as_ref().map_or(0, |one| one.status))
        }
        Some(reply) => (format!("Invalid HTTP Response: {}", reply.status), reply.status),
    };
    json!({
        "id": attempt.id,
        "guid": attempt.delivery.id,
        "delivered_at": rfc3339(attempt.at_s),
        "redelivery": attempt.is_again,
        "duration": 0.03,
        "status": status,
        "status_code": code,
        "event": attempt.delivery.event,
        "action": payload["action"],
        "installation_id": null,
        // A hook of an organisation has those of several.
        "repository_id": payload["repository"]["id"].as_u64().unwrap_or(repository.id),
        "throttled_at": null,
    })
}

fn whole(repository: &Repository, attempt: &Attempt) -> Value {
    let mut value = short(repository, attempt);
    let headers: Map<String, Value> =
        attempt.delivery.headers().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let payload: Value = serde_json::from_slice(&attempt.delivery.body).unwrap_or_default();
    value["url"] = attempt.delivery.url.clone().into();
    value["request"] = json!({ "headers": headers, "payload": payload });
    value["response"] = match &attempt.reply {
        Some(reply) => json!({ "headers": {}, "payload": reply.body }),
        None => json!({ "headers": null, "payload": null }),
    };
    value
}
