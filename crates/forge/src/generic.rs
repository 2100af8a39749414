//! Anything that can send a fixed token: `X-Git-Token`, as the AWS quick start "Git webhooks" had it.
//! Its body may be that of any forge; which one, its fields tell.

use std::collections::BTreeMap;

use gristmill_model::Event;
use serde::de::IgnoredAny;

use crate::error::VerifyError;
use crate::headers::Headers;
use crate::parse::{ParseError, from_json};
use crate::secret::Secret;
use crate::verifier::Verifier;
use crate::verify::Proof;
use crate::{azure, bare, bitbucket, bitbucket_server, gitea, github, gitlab, token};

const TOKEN: &str = "X-Git-Token";

/// Checks the token. Nothing of the request is signed.
pub(crate) fn verify(headers: &Headers<'_>, secrets: &[Secret]) -> Result<Proof, VerifyError> {
    let index = token::matching(headers.one(TOKEN)?, TOKEN, secrets)?;
    Ok(Proof { verifier: Verifier::GitToken, secret_index: Some(index) })
}

/// The header with the token. It is sent as it is.
pub(crate) fn sign(secret: &Secret) -> (&'static str, String) {
    (TOKEN, String::from_utf8_lossy(secret.as_bytes()).into_owned())
}

/// What a body tells of, whoever's it is.
pub(crate) fn parse(json: &str) -> Result<Vec<Event>, ParseError> {
    let fields: BTreeMap<String, IgnoredAny> = from_json("webhook", json)?;
    let has = |name: &str| fields.contains_key(name);
    if has("object_kind") || has("event_name") {
        gitlab::parse(json)
    } else if has("eventType") {
        azure::parse(json)
    } else if has("eventKey") {
        bitbucket_server::parse_unnamed(json)
    } else if has("push") || has("actor") {
        bitbucket::parse_unnamed(json)
    } else if has("lines") {
        bare::parse(json)
    } else if has("ref_type") && !has("master_branch") {
        gitea::parse_unnamed(json)
    } else {
        github::parse_unnamed(json)
    }
}
