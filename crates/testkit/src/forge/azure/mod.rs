//! Azure DevOps, by <https://learn.microsoft.com/en-us/rest/api/azure/devops/git/> and
//! <https://learn.microsoft.com/en-us/azure/devops/service-hooks/events>.
//!
//! A repository `acme/shop` here is `shop` in the project `acme` of the organisation `contoso`. There are no deploy
//! keys.

mod git;
mod payload;
mod routes;

use std::sync::Arc;

use serde_json::{Value, json};

use super::Inner;
use super::delivery::{Delivery, basic, read_basic};
use super::facts::Change;
use super::family::{About, Notice, Shape, split_git_path};
use super::http::{Answer, Call, parts};
use super::state::{Hook, Refusal};

pub(super) struct Azure;

impl Shape for Azure {
    fn clone_path(&self, full_name: &str) -> String {
        let (project, name) = full_name.split_once('/').expect("a project and a name");
        format!("/contoso/{project}/_git/{name}")
    }

    fn ssh_path(&self, full_name: &str) -> String {
        format!("/v3/contoso/{full_name}")
    }

    fn git_path(&self, path: &str) -> Option<(String, String)> {
        let (name, rest) = split_git_path(path.strip_prefix("/contoso")?)?;
        let decoded = parts(&name);
        let [project, "_git", repository] = [decoded.first()?, decoded.get(1)?.as_str(), decoded.get(2)?]
        else {
            return None;
        };
        Some((format!("{project}/{repository}"), rest))
    }

    fn api_prefix(&self) -> &'static str {
        "/contoso"
    }

    fn api(&self, forge: &Arc<Inner>, call: &Call) -> Answer {
        routes::answer(forge, call)
    }

    fn token(&self, call: &Call) -> Option<String> {
        Some(read_basic(call.header("authorization")?).map(|(_, password)| password).unwrap_or_default())
    }

    fn refused(&self, why: Refusal, call: &Call) -> Answer {
        match why {
            Refusal::BadToken => {
                Answer::text(401, "Access Denied: The Personal Access Token used has expired.")
            }
            // Who brings no token is shown the page to sign in, and not told that this is an error.
            Refusal::NoToken => sign_in(),
            Refusal::Unseen if self.token(call).is_none() => sign_in(),
            Refusal::Unseen => failed(
                404,
                "TF401019: The Git repository with that name or identifier does not exist or you do not have \
                 permissions for the operation you are attempting.",
                "GitRepositoryNotFoundException",
            ),
            Refusal::Forbidden(_) => failed(
                403,
                "TF401027: You need the Git 'GenericContribute' permission to perform this action.",
                "GitNeedsPermissionException",
            ),
        }
    }

    fn all_events(&self) -> &'static [&'static str] {
        &["git.push"]
    }

    fn pushed(&self, about: &About, changes: &[Change]) -> Vec<Notice> {
        vec![Notice::new("git.push", "git.push", payload::push(about, changes))]
    }

    fn stamp(&self, body: &mut Value, id: &str, hook: &Hook) {
        body["id"] = id.into();
        body["subscriptionId"] = hook.uuid.clone().into();
    }

    fn sign(&self, secret: &str, delivery: &Delivery) -> String {
        basic(&delivery.user, secret)
    }

    fn headers(&self, delivery: &Delivery) -> Vec<(&'static str, String)> {
        vec![
            ("Content-Type", "application/json; charset=utf-8".to_owned()),
            ("User-Agent", "VSServices/19.0.0".to_owned()),
            ("Authorization", delivery.signature.clone()),
        ]
    }
}

/// Where it stands is not in the documentation; clients have met it.
fn sign_in() -> Answer {
    let mut answer = Answer::text(203, "<!DOCTYPE html><html><head><title>Sign In</title></head></html>");
    answer.headers = vec![("content-type", "text/html; charset=utf-8".to_owned())];
    answer
}

fn failed(status: u16, message: &str, kind: &str) -> Answer {
    let body = json!({
        "$id": "1",
        "innerException": null,
        "message": message,
        "typeName": format!("Microsoft.TeamFoundation.Git.Server.{kind}, Microsoft.TeamFoundation.Git.Server"),
        "typeKey": kind,
        "errorCode": 0,
        "eventId": 3000,
    });
    Answer::json(status, &body)
}
