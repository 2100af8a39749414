//! HMACs and tokens, compared in constant time.

use gristmill_model::hex;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::error::VerifyError;
use crate::headers::Headers;
use crate::secret::Secret;

/// What a sender claims a body's HMAC to be.
pub(crate) enum Tag {
    /// By the legacy SHA-1.
    Sha1([u8; 20]),
    /// By SHA-256.
    Sha256([u8; 32]),
}

pub(crate) const PREFIXED_DIGITS: &str = "`sha256=` and 64 lower-case hexadecimal digits";
const BARE_DIGITS: &str = "64 lower-case hexadecimal digits";

const ANY_LENGTH: &str = "an HMAC takes a key of any length";

/// The HMAC-SHA256 under `key` of `parts`, one after the other.
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect(ANY_LENGTH);
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn hmac_sha1(secret: &Secret, body: &[u8]) -> [u8; 20] {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect(ANY_LENGTH);
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// Which of `secrets` made `tag`. All are tried whichever fits, and the outcome is looked at only
/// after that, so that the time tells nothing of the tag or of the secret.
pub(crate) fn matching_secret(tag: &Tag, secrets: &[Secret], body: &[u8]) -> Option<usize> {
    first(secrets, |secret| match tag {
        Tag::Sha1(claimed) => hmac_sha1(secret, body).ct_eq(claimed),
        Tag::Sha256(claimed) => hmac_sha256(secret.as_bytes(), &[body]).ct_eq(claimed),
    })
}

/// The first of `secrets` that fits; every one is asked.
pub(crate) fn first(secrets: &[Secret], fits: impl Fn(&Secret) -> Choice) -> Option<usize> {
    let outcomes: Vec<Choice> = secrets.iter().map(fits).collect();
    outcomes.into_iter().position(bool::from)
}

/// Whether two texts are equal. Their digests are compared, so that not even the length takes time.
pub(crate) fn same(one: &[u8], other: &[u8]) -> Choice {
    Sha256::digest(one).as_slice().ct_eq(Sha256::digest(other).as_slice())
}

/// The digest in `value`, which is `prefix` and lower-case hexadecimal digits.
pub(crate) fn digest_of<const N: usize>(value: &[u8], prefix: &str) -> Option<[u8; N]> {
    let digits = str::from_utf8(value).ok()?.strip_prefix(prefix)?;
    hex::decode(digits)?.try_into().ok()
}

/// Checks a header that is `prefix` and the HMAC-SHA256 of the body.
pub(crate) fn sha256_header(
    headers: &Headers<'_>,
    header: &'static str,
    prefix: &str,
    secrets: &[Secret],
    body: &[u8],
) -> Result<usize, VerifyError> {
    let value = headers.one(header)?.ok_or(VerifyError::Unsigned { header })?;
    let expected = if prefix.is_empty() { BARE_DIGITS } else { PREFIXED_DIGITS };
    let tag = digest_of(value, prefix).ok_or(VerifyError::MalformedSignature { header, expected })?;
    matching_secret(&Tag::Sha256(tag), secrets, body).ok_or(VerifyError::Mismatch)
}
