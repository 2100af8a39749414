//! GitLab, by <https://docs.gitlab.com/api/rest/> and
//! <https://docs.gitlab.com/user/project/integrations/webhook_events/>.

mod payload;
mod projects;
mod routes;

use std::sync::Arc;

use serde_json::{Value, json};

use super::Inner;
use super::delivery::{Delivery, read_basic, standard_webhooks, uuid};
use super::facts::Change;
use super::family::{About, Notice, Shape};
use super::http::{Answer, Call};
use super::state::{Hook, Refusal};

/// More branches, or more tags, than these in one push, and no hook is sent for them (the setting
/// `push_event_hooks_limit` as it comes).
const REFS_AT_ONCE_MAX: usize = 3;

pub(super) struct Gitlab;

impl Shape for Gitlab {
    fn clone_path(&self, full_name: &str) -> String {
        format!("/{full_name}.git")
    }

    fn api_prefix(&self) -> &'static str {
        "/api/v4"
    }

    fn api(&self, forge: &Arc<Inner>, call: &Call) -> Answer {
        routes::answer(forge, call)
    }

    fn token(&self, call: &Call) -> Option<String> {
        if let Some(token) = call.header("private-token") {
            return Some(token.to_owned());
        }
        let header = call.header("authorization")?;
        let bearer = header.strip_prefix("Bearer ").map(str::to_owned);
        Some(bearer.or_else(|| read_basic(header).map(|(_, password)| password)).unwrap_or_default())
    }

    fn refused(&self, why: Refusal, _call: &Call) -> Answer {
        match why {
            Refusal::BadToken | Refusal::NoToken => failed(401, "401 Unauthorized"),
            Refusal::Unseen => failed(404, "404 Project Not Found"),
            Refusal::Forbidden(_) => failed(403, "403 Forbidden"),
        }
    }

    fn limited(&self, seconds: u64) -> Answer {
        Answer::text(429, "Retry later\n")
            .with("retry-after", seconds.to_string())
            .with("ratelimit-limit", "60")
            .with("ratelimit-remaining", "0")
            .with("ratelimit-reset", (super::clock::now_s() + seconds).to_string())
    }

    fn all_events(&self) -> &'static [&'static str] {
        &["push_events", "tag_push_events", "releases_events"]
    }

    fn pushed(&self, about: &About, changes: &[Change]) -> Vec<Notice> {
        let is_few =
            |tags: bool| changes.iter().filter(|change| change.is_tag() == tags).count() <= REFS_AT_ONCE_MAX;
        let sent = changes.iter().filter(|change| is_few(change.is_tag()));
        sent.map(|change| {
            let (event, asked_as) = if change.is_tag() {
                ("Tag Push Hook", "tag_push_events")
            } else {
                ("Push Hook", "push_events")
            };
            Notice::new(event, asked_as, payload::push(about, change))
        })
        .collect()
    }

    fn released(&self, about: &About, tag: &str, action: &str, commit: Option<&str>) -> Option<Notice> {
        let body = payload::release(about, tag, action, commit);
        Some(Notice::new("Release Hook", "releases_events", body))
    }

    /// System hooks have no `object_kind`, but the event's name alone.
    fn stamp(&self, body: &mut Value, _id: &str, hook: &Hook) {
        if hook.setting("event") == "System Hook"
            && let Some(body) = body.as_object_mut()
        {
            body.remove("object_kind");
        }
    }

    fn sign(&self, secret: &str, delivery: &Delivery) -> String {
        if secret.starts_with("whsec_") {
            return standard_webhooks(secret, &delivery.id, delivery.at_s, &delivery.body);
        }
        secret.to_owned()
    }

    fn headers(&self, delivery: &Delivery) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("Content-Type", "application/json".to_owned()),
            ("User-Agent", "GitLab/18.0.0".to_owned()),
            ("Idempotency-Key", delivery.id.clone()),
            ("X-Gitlab-Event", delivery.event.clone()),
            ("X-Gitlab-Event-UUID", uuid(&format!("event {}", delivery.id))),
            ("X-Gitlab-Webhook-UUID", delivery.hook_uuid.clone()),
            ("X-Gitlab-Instance", delivery.instance.clone()),
        ];
        if delivery.signature.starts_with("v1,") {
            headers.push(("webhook-id", delivery.id.clone()));
            headers.push(("webhook-timestamp", delivery.at_s.to_string()));
            headers.push(("webhook-signature", delivery.signature.clone()));
        } else {
            headers.push(("X-Gitlab-Token", delivery.signature.clone()));
        }
        headers
    }

    fn tried(&self, _about: &About, _hook: &Hook) -> Option<Notice> {
        // A test is made of what is in the project: see `routes`.
        None
    }
}

fn failed(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({ "message": message }))
}
