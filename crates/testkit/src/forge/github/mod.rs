//! GitHub and GitHub Enterprise Server, by <https://docs.github.com/en/rest> and
//! <https://docs.github.com/en/webhooks>.

mod content;
mod deliveries;
mod payload;
mod routes;
mod statuses;

use std::sync::Arc;

use serde_json::{Value, json};

use super::Inner;
use super::clock;
use super::delivery::{Delivery, sign};
use super::facts::Change;
use super::family::{About, Notice, Shape};
use super::http::{Answer, Call};
use super::state::{Hook, Refusal};

/// More tags than these in one push, and no event tells of any of them.
const TAGS_AT_ONCE_MAX: usize = 3;

pub(super) struct Github;

impl Shape for Github {
    fn clone_path(&self, full_name: &str) -> String {
        format!("/{full_name}.git")
    }

    fn api_prefix(&self) -> &'static str {
        "/api/v3"
    }

    fn has_api_door(&self) -> bool {
        true
    }

    fn api(&self, forge: &Arc<Inner>, call: &Call) -> Answer {
        routes::answer(forge, call)
    }

    fn download(&self, forge: &Arc<Inner>, call: &Call) -> Answer {
        content::codeload(forge, call)
    }

    fn token(&self, call: &Call) -> Option<String> {
        let (scheme, token) = call.header("authorization")?.split_once(' ')?;
        let is_known = ["bearer", "token"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        // Anything else is a token that nobody made.
        Some(if is_known { token.trim().to_owned() } else { String::new() })
    }

    fn refused(&self, why: Refusal, _call: &Call) -> Answer {
        match why {
            Refusal::BadToken => failed(401, "Bad credentials"),
            Refusal::NoToken => failed(401, "Requires authentication"),
            Refusal::Unseen => failed(404, "Not Found"),
            Refusal::Forbidden(_) => failed(403, "Resource not accessible by personal access token"),
        }
    }

    fn limited(&self, seconds: u64) -> Answer {
        let answer = failed(403, "API rate limit exceeded for user ID 501000002.");
        answer
            .with("x-ratelimit-limit", "5000")
            .with("x-ratelimit-remaining", "0")
            .with("x-ratelimit-reset", (clock::now_s() + seconds).to_string())
            .with("retry-after", seconds.to_string())
    }

    fn all_events(&self) -> &'static [&'static str] {
        &["*"]
    }

    fn pushed(&self, about: &About, changes: &[Change]) -> Vec<Notice> {
        let tags = changes.iter().filter(|change| change.is_tag()).count();
        let mut notices = Vec::new();
        for change in changes.iter().filter(|change| !change.is_tag() || tags <= TAGS_AT_ONCE_MAX) {
            notices.push(Notice::new("push", "push", payload::push(about, change)));
            match (&change.before, &change.after) {
                (None, _) => {
                    notices.push(Notice::new("create", "create", payload::create(about, change)));
                }
                (_, None) => {
                    notices.push(Notice::new("delete", "delete", payload::delete(about, change)));
                }
                _ => {}
            }
        }
        notices
    }

    fn released(&self, about: &About, tag: &str, action: &str, _commit: Option<&str>) -> Option<Notice> {
        Some(Notice::new("release", "release", payload::release(about, tag, action)))
    }

    fn tried(&self, about: &About, hook: &Hook) -> Option<Notice> {
        Some(Notice::new("ping", "", payload::ping(about, hook)))
    }

    fn tries_new_hooks(&self) -> bool {
        true
    }

    fn sign(&self, secret: &str, delivery: &Delivery) -> String {
        sign(secret, &delivery.body)
    }

    fn headers(&self, delivery: &Delivery) -> Vec<(&'static str, String)> {
        vec![
            ("Accept", "*/*".to_owned()),
            ("Content-Type", "application/json".to_owned()),
            ("User-Agent", "GitHub-Hookshot/5a1d3c9".to_owned()),
            ("X-GitHub-Delivery", delivery.id.clone()),
            ("X-GitHub-Event", delivery.event.clone()),
            ("X-GitHub-Hook-ID", delivery.hook.to_string()),
            ("X-GitHub-Hook-Installation-Target-ID", "701000001".to_owned()),
            ("X-GitHub-Hook-Installation-Target-Type", "repository".to_owned()),
            ("X-Hub-Signature-256", delivery.signature.clone()),
        ]
    }
}

/// An error as GitHub says it.
fn failed(status: u16, message: &str) -> Answer {
    let documentation = "https://docs.github.com/rest";
    let status_text = status.to_string();
    Answer::json(
        status,
        &json!({ "message": message, "documentation_url": documentation, "status": status_text }),
    )
}

/// 422 with the reason in `errors`.
fn invalid(error: Value) -> Answer {
    let documentation = "https://docs.github.com/rest";
    let body = json!({
        "message": "Validation Failed",
        "errors": [error],
        "documentation_url": documentation,
        "status": "422",
    });
    Answer::json(422, &body)
}
