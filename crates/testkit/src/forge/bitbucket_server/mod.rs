//! Bitbucket Data Center, by <https://developer.atlassian.com/server/bitbucket/rest/> and
//! <https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html>.
//!
//! A repository `acme/shop` here is `shop` in the project with the key `ACME`: keys are in capitals, but in clone
//! addresses.

mod payload;
mod refs;
mod routes;

use std::sync::Arc;

use serde_json::{Value, json};

use super::Inner;
use super::delivery::{Delivery, read_basic, sign};
use super::facts::Change;
use super::family::{About, Notice, Shape, split_git_path};
use super::http::{Answer, Call};
use super::state::{Hook, Refusal};

/// The event of a test.
const TEST: &str = "diagnostics:ping";

pub(super) struct BitbucketServer;

impl Shape for BitbucketServer {
    fn clone_path(&self, full_name: &str) -> String {
        format!("/scm/{full_name}.git")
    }

    fn ssh_path(&self, full_name: &str) -> String {
        format!("/{full_name}.git")
    }

    fn git_path(&self, path: &str) -> Option<(String, String)> {
        split_git_path(path.strip_prefix("/scm")?)
    }

    fn api_prefix(&self) -> &'static str {
        "/rest"
    }

    fn api(&self, forge: &Arc<Inner>, call: &Call) -> Answer {
        routes::answer(forge, call)
    }

    fn token(&self, call: &Call) -> Option<String> {
        let header = call.header("authorization")?;
        let bearer = header.strip_prefix("Bearer ").map(str::to_owned);
        Some(bearer.or_else(|| read_basic(header).map(|(_, password)| password)).unwrap_or_default())
    }

    fn refused(&self, why: Refusal, call: &Call) -> Answer {
        match why {
            Refusal::BadToken => failed(
                401,
                "Authentication failed. Please check your credentials and try again.",
                "com.atlassian.bitbucket.auth.IncorrectPasswordAuthenticationException",
            ),
            Refusal::Unseen if self.token(call).is_some() => {
                not_found("Repository does not exist.", "repository.NoSuchRepositoryException")
            }
            Refusal::NoToken | Refusal::Unseen | Refusal::Forbidden(_) => failed(
                401,
                "You are not permitted to access this resource",
                "com.atlassian.bitbucket.AuthorisationException",
            ),
        }
    }

    fn all_events(&self) -> &'static [&'static str] {
        &["repo:refs_changed"]
    }

    fn pushed(&self, about: &About, changes: &[Change]) -> Vec<Notice> {
        vec![Notice::new("repo:refs_changed", "repo:refs_changed", payload::push(about, changes))]
    }

    fn tried(&self, _about: &About, _hook: &Hook) -> Option<Notice> {
        Some(Notice::new(TEST, "", json!({ "test": true })))
    }

    fn sign(&self, secret: &str, delivery: &Delivery) -> String {
        // A test is not signed.
        if delivery.event == TEST { String::new() } else { sign(secret, &delivery.body) }
    }

    fn headers(&self, delivery: &Delivery) -> Vec<(&'static str, String)> {
        vec![
            ("Content-Type", "application/json; charset=utf-8".to_owned()),
            ("User-Agent", "Atlassian HttpClient 4.2.0 / Bitbucket-9.0.0 / Default".to_owned()),
            ("X-Event-Key", delivery.event.clone()),
            ("X-Request-Id", delivery.id.clone()),
            ("X-Hub-Signature", delivery.signature.clone()),
        ]
    }
}

fn failed(status: u16, message: &str, exception: &str) -> Answer {
    let error = json!({ "context": null, "message": message, "exceptionName": exception });
    Answer::json(status, &json!({ "errors": [error] }))
}

fn not_found(message: &str, exception: &str) -> Answer {
    failed(404, message, &format!("com.atlassian.bitbucket.{exception}"))
}

/// 400 that names the field.
fn invalid(field: &str, message: &str) -> Answer {
    let error: Value = json!({ "context": field, "message": message, "exceptionName": null });
    Answer::json(400, &json!({ "errors": [error] }))
}
