//! Bitbucket Cloud, by <https://developer.atlassian.com/cloud/bitbucket/rest/> and
//! <https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/>.

mod payload;
mod refs;
mod routes;

use std::sync::Arc;

use serde_json::{Value, json};

use super::Inner;
use super::delivery::{Delivery, read_basic, sign};
use super::facts::Change;
use super::family::{About, Notice, Shape};
use super::http::{Answer, Call};
use super::state::{Grant, Refusal};

/// What is larger is not sent, and nobody is told.
const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

pub(super) struct Bitbucket;

impl Shape for Bitbucket {
    fn clone_path(&self, full_name: &str) -> String {
        format!("/{full_name}.git")
    }

    /// Access tokens have the first name, API tokens of people the second.
    fn git_users(&self) -> &'static [&'static str] {
        &["x-token-auth", "x-bitbucket-api-token-auth"]
    }

    fn api_prefix(&self) -> &'static str {
        "/2.0"
    }

    fn is_download(&self, path: &str) -> bool {
        path.split('/').nth(3) == Some("get")
    }

    fn api(&self, forge: &Arc<Inner>, call: &Call) -> Answer {
        routes::answer(forge, call)
    }

    fn download(&self, forge: &Arc<Inner>, call: &Call) -> Answer {
        refs::download(forge, call)
    }

    fn token(&self, call: &Call) -> Option<String> {
        let header = call.header("authorization")?;
        let bearer = header.strip_prefix("Bearer ").map(str::to_owned);
        Some(bearer.or_else(|| read_basic(header).map(|(_, password)| password)).unwrap_or_default())
    }

    fn refused(&self, why: Refusal, _call: &Call) -> Answer {
        match why {
            Refusal::BadToken => {
                failed(401, "Token is invalid, expired, or not supported for this endpoint.")
            }
            Refusal::NoToken => failed(401, "Authentication required"),
            Refusal::Unseen => failed(
                404,
                "You may not have access to this repository or it no longer exists in this workspace. \
                 If you think this repository exists and you have access, make sure you are authenticated.",
            ),
            Refusal::Forbidden(need) => {
                let needed = if need == Grant::Admin { "webhook" } else { "repository:write" };
                let detail = json!({ "required": [needed], "granted": ["repository"] });
                let message = "Your credentials lack one or more required privilege scopes.";
                Answer::json(
                    403,
                    &json!({ "type": "error", "error": { "message": message, "detail": detail } }),
                )
            }
        }
    }

    fn limited(&self, _seconds: u64) -> Answer {
        failed(429, "Rate limit for this resource has been exceeded")
    }

    fn all_events(&self) -> &'static [&'static str] {
        &["repo:push"]
    }

    fn pushed(&self, about: &About, changes: &[Change]) -> Vec<Notice> {
        let body = payload::push(about, changes);
        if body.to_string().len() > PAYLOAD_BYTES_MAX {
            return Vec::new();
        }
        vec![Notice::new("repo:push", "repo:push", body)]
    }

    fn sign(&self, secret: &str, delivery: &Delivery) -> String {
        sign(secret, &delivery.body)
    }

    fn headers(&self, delivery: &Delivery) -> Vec<(&'static str, String)> {
        vec![
            ("Content-Type", "application/json".to_owned()),
            ("User-Agent", "Bitbucket-Webhooks/2.0".to_owned()),
            ("X-Attempt-Number", "1".to_owned()),
            ("X-Event-Key", delivery.event.clone()),
            ("X-Event-Time", super::clock::rfc3339(delivery.at_s)),
            ("X-Hook-UUID", delivery.hook_uuid.clone()),
            ("X-Request-UUID", delivery.id.clone()),
            ("X-Hub-Signature", delivery.signature.clone()),
        ]
    }
}

fn failed(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "type": "error", "error": { "message": message } }))
}

/// 400 with the fields that are wrong.
fn invalid(fields: &Value) -> Answer {
    let error = json!({ "message": "Bad request", "fields": fields });
    Answer::json(400, &json!({ "type": "error", "error": error }))
}
