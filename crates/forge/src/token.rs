//! Tokens and passwords that are sent as they are. They prove who sends, not what is sent.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::Choice;

use crate::error::VerifyError;
use crate::headers::Headers;
use crate::mac;
use crate::secret::Secret;

/// The header of HTTP's Basic scheme, RFC 7617.
pub(crate) const AUTHORIZATION: &str = "Authorization";

/// Which of `secrets` the sender's password is.
pub(crate) fn basic(headers: &Headers<'_>, secrets: &[Secret]) -> Result<usize, VerifyError> {
    let value = headers.one(AUTHORIZATION)?.ok_or(VerifyError::Unsigned { header: AUTHORIZATION })?;
    let sent = credentials(value).ok_or(VerifyError::MalformedSignature {
        header: AUTHORIZATION,
        expected: "`Basic ` and the base64 of `user:password`",
    })?;
    let colon = sent.iter().position(|byte| *byte == b':').map_or(0, |colon| colon + 1);
    let fits = |secret: &Secret| {
        let claimed = if secret.has_user() { &sent[..] } else { &sent[colon..] };
        // A user without a password lets nobody in, however it came into the configuration.
        mac::same(secret.as_bytes(), claimed) & Choice::from(u8::from(secret.password().is_some()))
    };
    mac::first(secrets, fits).ok_or(VerifyError::Mismatch)
}

fn credentials(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, encoded) = value.split_at_checked("Basic ".len())?;
    let decoded = scheme.eq_ignore_ascii_case(b"Basic ").then(|| STANDARD.decode(encoded).ok())??;
    decoded.contains(&b':').then_some(decoded)
}

/// The header that a sender with this secret sends. Where the secret names no user, `gristmill` is one.
pub(crate) fn basic_header(secret: &Secret) -> (&'static str, String) {
    let user: &[u8] = if secret.has_user() { b"" } else { b"gristmill:" };
    (AUTHORIZATION, format!("Basic {}", STANDARD.encode([user, secret.as_bytes()].concat())))
}

/// Which of `secrets` the header's value is. `shown` is the header's name in errors.
pub(crate) fn matching(
    value: Option<&[u8]>,
    shown: &'static str,
    secrets: &[Secret],
) -> Result<usize, VerifyError> {
    let value = value.ok_or(VerifyError::Unsigned { header: shown })?;
    mac::first(secrets, |secret| mac::same(secret.as_bytes(), value)).ok_or(VerifyError::Mismatch)
}
