//! GitHub and GitHub Enterprise Server.
//!
//! Sources: "Webhook events and payloads" and "Validating webhook deliveries" of GitHub's documentation.

mod payload;

use gristmill_model::hex;

pub(crate) use self::payload::{parse, parse_unnamed};
use crate::headers::Headers;
use crate::mac::{self, Tag};
use crate::secret::Secret;
use crate::verify::{Verifier, VerifyError, VerifyOptions};

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
    options: VerifyOptions,
) -> Result<(Verifier, usize), VerifyError> {
    let (verifier, tag) = signature(headers)?;
    let matched = mac::matching_secret(&tag, secrets, body);
    if verifier == Verifier::GithubHmacSha1 && !options.allow_sha1 {
        return Err(VerifyError::Sha1Refused);
    }
    matched.map(|index| (verifier, index)).ok_or(VerifyError::Mismatch)
}

/// GitHub sends both headers; where the SHA-256 one is there, it alone counts.
fn signature(headers: &Headers<'_>) -> Result<(Verifier, Tag), VerifyError> {
    let (sha256, sha1) = (headers.one(SIGNATURE_SHA256)?, headers.one(SIGNATURE_SHA1)?);
    if let Some(value) = sha256 {
        let tag = digest_of(value, "sha256=").ok_or(VerifyError::MalformedSignature {
            header: SIGNATURE_SHA256,
            expected: "`sha256=` and 64 lower-case hexadecimal digits",
        })?;
        return Ok((Verifier::GithubHmacSha256, Tag::Sha256(tag)));
    }
    let value = sha1.ok_or(VerifyError::Unsigned { header: SIGNATURE_SHA256 })?;
    let tag = digest_of(value, "sha1=").ok_or(VerifyError::MalformedSignature {
        header: SIGNATURE_SHA1,
        expected: "`sha1=` and 40 lower-case hexadecimal digits",
    })?;
    Ok((Verifier::GithubHmacSha1, Tag::Sha1(tag)))
}

fn digest_of<const N: usize>(value: &[u8], prefix: &str) -> Option<[u8; N]> {
    let digits = str::from_utf8(value).ok()?.strip_prefix(prefix)?;
    hex::decode(digits)?.try_into().ok()
}

/// The header that GitHub would send with `body`.
pub(crate) fn sign(secret: &Secret, body: &[u8]) -> (&'static str, String) {
    (SIGNATURE_SHA256, format!("sha256={}", hex::encode(&mac::hmac_sha256(secret, body))))
}
