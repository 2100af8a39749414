//! Gitea, and what it comes from and what came from it: Gogs and Forgejo. They differ in the names of
//! their headers. All three send the names of the others too, and GitHub's.
//!
//! Sources: "Webhooks" of each one's documentation; for form mode, the senders themselves.

mod payload;

use std::borrow::Cow;

use bytes::Bytes;
use gristmill_model::hex;

pub(crate) use self::payload::{parse, parse_unnamed};
use crate::error::VerifyError;
use crate::form;
use crate::headers::Headers;
use crate::mac;
use crate::secret::Secret;
use crate::verifier::Verifier;
use crate::verify::Proof;

/// One of the three.
pub(crate) struct Family {
    /// Names the event.
    pub(crate) event_header: &'static str,
    /// The delivery's id, a UUID.
    pub(crate) delivery_header: &'static str,
    signature: &'static str,
}

/// Gitea.
pub(crate) const GITEA: Family = Family {
    event_header: "X-Gitea-Event",
    delivery_header: "X-Gitea-Delivery",
    signature: "X-Gitea-Signature",
};

/// Forgejo.
pub(crate) const FORGEJO: Family = Family {
    event_header: "X-Forgejo-Event",
    delivery_header: "X-Forgejo-Delivery",
    signature: "X-Forgejo-Signature",
};

/// Gogs.
pub(crate) const GOGS: Family = Family {
    event_header: "X-Gogs-Event",
    delivery_header: "X-Gogs-Delivery",
    signature: "X-Gogs-Signature",
};

/// What is signed: the JSON, also where it comes within a form. A form that is none is signed by nobody.
pub(crate) fn signed_bytes(body: Bytes) -> Result<Bytes, VerifyError> {
    match form::json_of(&body) {
        Ok(Cow::Borrowed(_)) => Ok(body),
        Ok(Cow::Owned(json)) => Ok(json.into()),
        Err(problem) => Err(VerifyError::Form { problem }),
    }
}

/// Checks the signature over the JSON.
pub(crate) fn verify(
    family: &Family,
    headers: &Headers<'_>,
    json: &[u8],
    secrets: &[Secret],
) -> Result<Proof, VerifyError> {
    let index = mac::sha256_header(headers, family.signature, "", secrets, json)?;
    Ok(Proof { verifier: Verifier::GiteaHmacSha256, secret_index: Some(index) })
}

/// The header that the forge would send with this JSON.
pub(crate) fn sign(family: &Family, secret: &Secret, json: &[u8]) -> (&'static str, String) {
    (family.signature, hex::encode(&mac::hmac_sha256(secret.as_bytes(), &[json])))
}
