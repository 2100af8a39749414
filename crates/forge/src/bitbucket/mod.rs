//! Bitbucket Cloud.
//!
//! Sources: "Manage webhooks" and "Event payloads" of Atlassian's documentation of Bitbucket Cloud.

mod payload;

use gristmill_model::hex;

pub(crate) use self::payload::{parse, parse_unnamed};
use crate::error::VerifyError;
use crate::headers::Headers;
use crate::mac;
use crate::secret::Secret;
use crate::verifier::Verifier;
use crate::verify::Proof;

/// Names the event: `repo:push` and others.
pub(crate) const EVENT_HEADER: &str = "X-Event-Key";
/// The delivery's id, a UUID. `X-Attempt-Number` counts how often it was sent.
pub(crate) const DELIVERY_HEADER: &str = "X-Request-UUID";

/// Bears GitHub's old name and SHA-256.
pub(crate) const SIGNATURE: &str = "X-Hub-Signature";

/// Checks the signature over the raw body.
pub(crate) fn verify(headers: &Headers<'_>, body: &[u8], secrets: &[Secret]) -> Result<Proof, VerifyError> {
    let index = mac::sha256_header(headers, SIGNATURE, "sha256=", secrets, body)?;
    Ok(Proof { verifier: Verifier::BitbucketHmacSha256, secret_index: Some(index) })
}

/// The header that Bitbucket would send with `body`.
pub(crate) fn sign(secret: &Secret, body: &[u8]) -> (&'static str, String) {
    (SIGNATURE, format!("sha256={}", hex::encode(&mac::hmac_sha256(secret.as_bytes(), &[body]))))
}
