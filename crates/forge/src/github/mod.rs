//! GitHub and GitHub Enterprise Server.
//!
//! A server sends `X-GitHub-Enterprise-Host` and `-Version` besides, which say nothing that is needed.
//!
//! Sources: "Webhook events and payloads" and "Validating webhook deliveries" of GitHub's documentation.

mod payload;

use gristmill_model::hex;

pub(crate) use self::payload::{BadRef, RefKind, parse, parse_unnamed, parse_with, unknown};
use crate::error::VerifyError;
use crate::headers::Headers;
use crate::mac::{self, Tag};
use crate::secret::Secret;
use crate::verifier::Verifier;
use crate::verify::Proof;

/// Names the event.
pub(crate) const EVENT_HEADER: &str = "X-GitHub-Event";
/// The delivery's id, a UUID.
pub(crate) const DELIVERY_HEADER: &str = "X-GitHub-Delivery";

const SIGNATURE_SHA256: &str = "X-Hub-Signature-256";
const SIGNATURE_SHA1: &str = "X-Hub-Signature";

/// Checks the signature over the raw body, before any form or JSON decoding. Which signature counts
/// follows from the headers alone, so that the work is the same whatever the project allows.
pub(crate) fn verify(
    headers: &Headers<'_>,
    body: &[u8],
    secrets: &[Secret],
    allow_sha1: bool,
) -> Result<Proof, VerifyError> {
    let (verifier, tag) = signature(headers)?;
    let matched = mac::matching_secret(&tag, secrets, body);
    if verifier == Verifier::GithubHmacSha1 && !allow_sha1 {
        return Err(VerifyError::Sha1Refused);
    }
    let index = matched.ok_or(VerifyError::Mismatch)?;
    Ok(Proof { verifier, secret_index: Some(index) })
}

/// GitHub sends both headers; where the SHA-256 one is there, it alone counts.
fn signature(headers: &Headers<'_>) -> Result<(Verifier, Tag), VerifyError> {
    let (sha256, sha1) = (headers.one(SIGNATURE_SHA256)?, headers.one(SIGNATURE_SHA1)?);
    if let Some(value) = sha256 {
        let tag = mac::digest_of(value, "sha256=").ok_or(VerifyError::MalformedSignature {
            header: SIGNATURE_SHA256,
            expected: mac::PREFIXED_DIGITS,
        })?;
        return Ok((Verifier::GithubHmacSha256, Tag::Sha256(tag)));
    }
    let value = sha1.ok_or(VerifyError::Unsigned { header: SIGNATURE_SHA256 })?;
    let tag = mac::digest_of(value, "sha1=").ok_or(VerifyError::MalformedSignature {
        header: SIGNATURE_SHA1,
        expected: "`sha1=` and 40 lower-case hexadecimal digits",
    })?;
    Ok((Verifier::GithubHmacSha1, Tag::Sha1(tag)))
}

/// The header that GitHub would send with `body`.
pub(crate) fn sign(secret: &Secret, body: &[u8]) -> (&'static str, String) {
    (SIGNATURE_SHA256, format!("sha256={}", hex::encode(&mac::hmac_sha256(secret.as_bytes(), &[body]))))
}
