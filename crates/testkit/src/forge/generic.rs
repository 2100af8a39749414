//! A git server that nobody else plays: no API, and a hook that sends a token in a header.

use std::sync::Arc;

use serde_json::json;

use super::Inner;
use super::delivery::{Delivery, read_basic};
use super::facts::Change;
use super::family::{About, Notice, Shape};
use super::http::{Answer, Call};
use super::state::Refusal;

pub(super) struct Generic;

impl Shape for Generic {
    fn clone_path(&self, full_name: &str) -> String {
        format!("/{full_name}.git")
    }

    fn api_prefix(&self) -> &'static str {
        ""
    }

    fn api(&self, _forge: &Arc<Inner>, _call: &Call) -> Answer {
        Answer::text(404, "not found")
    }

    fn token(&self, call: &Call) -> Option<String> {
        read_basic(call.header("authorization")?).map(|(_, password)| password)
    }

    fn refused(&self, why: Refusal, _call: &Call) -> Answer {
        match why {
            Refusal::BadToken | Refusal::NoToken => Answer::text(401, "a password is needed"),
            Refusal::Unseen => Answer::text(404, "not found"),
            Refusal::Forbidden(_) => Answer::text(403, "forbidden"),
        }
    }

    fn all_events(&self) -> &'static [&'static str] {
        &[]
    }

    fn pushed(&self, about: &About, changes: &[Change]) -> Vec<Notice> {
        let told = |change: &Change| {
            json!({
                "ref": change.git_ref,
                "before": change.before_or_zeros(),
                "after": change.after_or_zeros(),
                "repository": { "id": about.id, "full_name": about.full_name },
            })
        };
        changes.iter().map(|change| Notice::new("push", "", told(change))).collect()
    }

    fn sign(&self, secret: &str, _delivery: &Delivery) -> String {
        secret.to_owned()
    }

    fn headers(&self, delivery: &Delivery) -> Vec<(&'static str, String)> {
        vec![("Content-Type", "application/json".to_owned()), ("X-Git-Token", delivery.signature.clone())]
    }
}
