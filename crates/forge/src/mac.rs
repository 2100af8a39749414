//! HMACs, compared in constant time.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use crate::secret::Secret;

/// What a sender claims a body's HMAC to be.
pub(crate) enum Tag {
    /// By the legacy SHA-1.
    Sha1([u8; 20]),
    /// By SHA-256.
    Sha256([u8; 32]),
}

const ANY_LENGTH: &str = "an HMAC takes a key of any length";

/// The HMAC-SHA256 of `body`.
pub(crate) fn hmac_sha256(secret: &Secret, body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect(ANY_LENGTH);
    mac.update(body);
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
    let fits = |secret: &Secret| match tag {
        Tag::Sha1(claimed) => hmac_sha1(secret, body).ct_eq(claimed),
        Tag::Sha256(claimed) => hmac_sha256(secret, body).ct_eq(claimed),
    };
    let outcomes: Vec<Choice> = secrets.iter().map(fits).collect();
    outcomes.into_iter().position(bool::from)
}
