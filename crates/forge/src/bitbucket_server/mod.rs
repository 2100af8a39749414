//! Bitbucket Server and Data Center.
//!
//! Sources: "Manage webhooks" and "Event payload" of Atlassian's documentation of Bitbucket Data Center.

mod payload;

pub(crate) use self::payload::{parse, parse_unnamed};
use crate::bitbucket;
use crate::error::VerifyError;
use crate::headers::Headers;
use crate::secret::Secret;
use crate::token::{self, AUTHORIZATION};
use crate::verifier::Verifier;
use crate::verify::Proof;

/// Names the event: `repo:refs_changed` and others.
pub(crate) const EVENT_HEADER: &str = bitbucket::EVENT_HEADER;
/// The delivery's id, a UUID.
pub(crate) const DELIVERY_HEADER: &str = "X-Request-Id";

/// The event of the button "Test connection".
pub(crate) const PING: &str = "diagnostics:ping";

/// Checks the signature over the raw body, or the password where the project expects one.
pub(crate) fn verify(
    headers: &Headers<'_>,
    body: &[u8],
    secrets: &[Secret],
    basic: bool,
) -> Result<Proof, VerifyError> {
    if basic {
        let index = token::basic(headers, secrets)?;
        return Ok(Proof { verifier: Verifier::Basic, secret_index: Some(index) });
    }
    bitbucket::verify(headers, body, secrets)
}

/// Whether the request is a test of the connection that shows nothing of its sender. Such a test may
/// come unsigned even where a secret is set. One that is signed is verified as everything else is.
pub(crate) fn is_probe(headers: &Headers<'_>) -> bool {
    let has = |name| headers.one(name) != Ok(None);
    headers.one(EVENT_HEADER) == Ok(Some(PING.as_bytes()))
        && !has(bitbucket::SIGNATURE)
        && !has(AUTHORIZATION)
}
