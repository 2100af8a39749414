//! Signatures by the Standard Webhooks specification.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gristmill_model::Timestamp;
use subtle::{Choice, ConstantTimeEq};

use crate::error::VerifyError;
use crate::headers::Headers;
use crate::mac;
use crate::secret::Secret;

/// The delivery's id.
pub(crate) const ID: &str = "webhook-id";
/// When it was sent, in seconds since 1970-01-01T00:00:00Z.
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// How far the time of a delivery may lie from the present moment, to either side.
const TOLERANCE: Duration = Duration::from_mins(5);

/// The most signatures of one delivery that are tried. A sender has one for each of its valid keys.
const SIGNATURES_MAX: usize = 8;

/// What a sender claims.
pub(super) struct Signature<'a> {
    id: &'a [u8],
    timestamp: &'a [u8],
    sent: Timestamp,
    tags: Vec<[u8; 32]>,
}

impl<'a> Signature<'a> {
    /// Reads the three headers.
    pub(super) fn read(headers: &Headers<'a>) -> Result<Signature<'a>, VerifyError> {
        let one = |header| headers.one(header)?.ok_or(VerifyError::Unsigned { header });
        let (value, id, timestamp) = (one(SIGNATURE)?, one(ID)?, one(TIMESTAMP)?);
        let tags: Vec<[u8; 32]> =
            value.split(|byte| *byte == b' ').filter_map(tag).take(SIGNATURES_MAX).collect();
        if tags.is_empty() {
            let expected = "`v1,` and the base64 of an HMAC-SHA256, several between spaces";
            return Err(VerifyError::MalformedSignature { header: SIGNATURE, expected });
        }
        // The specification forbids the dot: it parts what is signed.
        if id.is_empty() || id.contains(&b'.') {
            let expected = "an id without a dot";
            return Err(VerifyError::MalformedSignature { header: ID, expected });
        }
        let sent = sent(timestamp).ok_or(VerifyError::MalformedSignature {
            header: TIMESTAMP,
            expected: "seconds since 1970 in decimal digits",
        })?;
        Ok(Signature { id, timestamp, sent, tags })
    }

    /// Whether `secret` made one of the signatures.
    pub(super) fn made_by(&self, secret: &Secret, body: &[u8]) -> Choice {
        let key = secret.signing_key();
        let made = made(key.as_deref().unwrap_or_default(), self.id, self.timestamp, body);
        let fits = self.tags.iter().fold(Choice::from(0), |fits, tag| fits | made.ct_eq(tag));
        fits & Choice::from(u8::from(key.is_some()))
    }

    /// Whether it was sent about `now`.
    pub(super) fn is_of(&self, now: Timestamp) -> Result<(), VerifyError> {
        let ahead = self.sent > now;
        let apart = self.sent.since(now).max(now.since(self.sent));
        if apart > TOLERANCE {
            return Err(VerifyError::Stale { seconds: apart.as_secs(), ahead });
        }
        Ok(())
    }
}

fn tag(entry: &[u8]) -> Option<[u8; 32]> {
    STANDARD.decode(entry.strip_prefix(b"v1,")?).ok()?.try_into().ok()
}

fn sent(timestamp: &[u8]) -> Option<Timestamp> {
    let digits =
        str::from_utf8(timestamp).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse::<i64>().ok()?.checked_mul(1000).map(Timestamp)
}

fn made(key: &[u8], id: &[u8], timestamp: &[u8], body: &[u8]) -> [u8; 32] {
    mac::hmac_sha256(key, &[id, b".", timestamp, b".", body])
}

/// The headers that a sender with this signing token sends. `None` where it is none.
pub(crate) fn sign(
    secret: &Secret,
    id: &str,
    now: Timestamp,
    body: &[u8],
) -> Option<[(&'static str, String); 3]> {
    let key = secret.signing_key()?;
    let timestamp = (now.0 / 1000).to_string();
    let made = made(&key, id.as_bytes(), timestamp.as_bytes(), body);
    let value = format!("v1,{}", STANDARD.encode(made));
    Some([(ID, id.to_owned()), (TIMESTAMP, timestamp), (SIGNATURE, value)])
}
