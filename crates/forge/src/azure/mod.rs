//! Azure DevOps: the service hook "Web Hooks". It signs nothing; it sends a password, or headers that
//! the person who made the subscription chose.
//!
//! Sources: "Webhooks" and "Service hooks events" of Microsoft's documentation.

mod payload;

use std::str;

pub(crate) use self::payload::parse;
use crate::error::VerifyError;
use crate::headers::{HeaderName, Headers};
use crate::secret::Secret;
use crate::token;
use crate::verifier::Verifier;
use crate::verify::{Proof, UNNAMED};

/// What stands in an error for the header that the project names.
const CUSTOM_HEADER: &str = "the header that the project names";

/// Checks the password, or the token in the header that the project names.
pub(crate) fn verify(
    headers: &Headers<'_>,
    secrets: &[Secret],
    header: Option<&HeaderName>,
) -> Result<Proof, VerifyError> {
    let Some(header) = header else {
        let index = token::basic(headers, secrets)?;
        return Ok(Proof { verifier: Verifier::Basic, secret_index: Some(index) });
    };
    let value = headers.one_called(header.as_str(), CUSTOM_HEADER)?;
    let index = token::matching(value, CUSTOM_HEADER, secrets)?;
    Ok(Proof { verifier: Verifier::CustomHeader, secret_index: Some(index) })
}

/// The event's name and the delivery's id; both stand in the body.
pub(crate) fn names(body: &[u8]) -> (String, Option<String>) {
    let found = str::from_utf8(body).ok().map(payload::names).unwrap_or_default();
    (found.0.unwrap_or_else(|| UNNAMED.to_owned()), found.1)
}
