//! A bare repository: its `post-receive` hook calls `gristmill webhook send`, which sends what git told
//! the hook. The format is our own:
//!
//! ```text
//! POST /hooks/{project}
//! X-Gristmill-Signature-256: sha256=<HMAC-SHA256 of the body under the project's secret, in hexadecimal>
//! X-Gristmill-Delivery: <a ULID, made once per call and sent again with every attempt>
//!
//! {"repository":"acme/shop","lines":["<old> <new> <full ref>", …]}
//! ```
//!
//! `lines` are the lines of the hook's standard input. A new ref has an `old` of zeros, a deleted one a
//! `new` of zeros.
//!
//! Source for those lines: "post-receive" in git's githooks(5).

mod payload;

use gristmill_model::hex;

pub(crate) use self::payload::parse;
pub use self::payload::{PostReceiveError, post_receive_body};
use crate::error::VerifyError;
use crate::headers::Headers;
use crate::mac;
use crate::secret::Secret;
use crate::verifier::Verifier;
use crate::verify::Proof;

/// The delivery's id, a ULID.
pub(crate) const DELIVERY_HEADER: &str = "X-Gristmill-Delivery";
const SIGNATURE: &str = "X-Gristmill-Signature-256";

/// There is only the one.
const EVENT: &str = "post-receive";

/// Checks the signature over the raw body.
pub(crate) fn verify(headers: &Headers<'_>, body: &[u8], secrets: &[Secret]) -> Result<Proof, VerifyError> {
    let index = mac::sha256_header(headers, SIGNATURE, "sha256=", secrets, body)?;
    Ok(Proof { verifier: Verifier::GristmillHmacSha256, secret_index: Some(index) })
}

/// The event's name and the delivery's id. Without one the body cannot tell two pushes apart that move
/// a branch to and fro.
pub(crate) fn names(headers: &Headers<'_>) -> Result<(String, Option<String>), VerifyError> {
    let value = headers.one(DELIVERY_HEADER)?.unwrap_or_default();
    let id = ulid(value).ok_or(VerifyError::DeliveryUlid { header: DELIVERY_HEADER })?;
    Ok((EVENT.to_owned(), Some(id)))
}

/// A ULID as it is written: 26 digits of Crockford's base 32 in upper case, below 2^128.
fn ulid(value: &[u8]) -> Option<String> {
    let is_digit = |byte: &u8| {
        byte.is_ascii_digit() || (byte.is_ascii_uppercase() && !matches!(byte, b'I' | b'L' | b'O' | b'U'))
    };
    let fits = value.len() == 26 && value[0] <= b'7' && value.iter().all(is_digit);
    fits.then(|| value.iter().copied().map(char::from).collect())
}

/// The header that `webhook send` sends with `body`.
pub(crate) fn sign(secret: &Secret, body: &[u8]) -> (&'static str, String) {
    (SIGNATURE, format!("sha256={}", hex::encode(&mac::hmac_sha256(secret.as_bytes(), &[body]))))
}
