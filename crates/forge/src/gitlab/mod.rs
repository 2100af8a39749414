//! GitLab: webhooks of projects and groups, and system hooks.
//!
//! A project's secret says by its own form how its deliveries are verified: a signing token (`whsec_…`)
//! by signature, any other by the token that GitLab sends along. A header never decides that, so a
//! delivery without a signature does not get in where one is expected.
//!
//! Sources: "Webhooks", "Webhook events" and "System hooks" of GitLab's documentation; the Standard
//! Webhooks specification. That `X-Gitlab-Event-UUID` is one for all that a push (and what it leads to)
//! sends, and `Idempotency-Key` one for each, is from the source of the sender.

mod payload;
mod signature;

use gristmill_model::{Digest, Timestamp};
use subtle::Choice;

pub(crate) use self::payload::parse;
use self::signature::Signature;
pub(crate) use self::signature::sign;
use crate::error::VerifyError;
use crate::headers::Headers;
use crate::mac;
use crate::secret::Secret;
use crate::verifier::Verifier;
use crate::verify::{Proof, UNNAMED, delivery_id, delivery_id_of};

/// Names the kind of hook: `Push Hook`, `Tag Push Hook`, `Release Hook`, `System Hook`. The body names
/// the event, and that is what counts.
pub(crate) const EVENT_HEADER: &str = "X-Gitlab-Event";
/// The delivery's id, a UUID; since GitLab 17.4.
pub(crate) const DELIVERY_HEADER: &str = "Idempotency-Key";
/// What older ones send.
const EVENT_UUID: &str = "X-Gitlab-Event-UUID";
/// Where a delivery's id is looked for, the first that is there. That of the Standard Webhooks stands first, as
/// in a signed delivery.
pub(crate) const DELIVERY_HEADERS: [&str; 3] = [signature::ID, DELIVERY_HEADER, EVENT_UUID];

/// Carries the token of projects whose secret is none for signing.
pub(crate) const TOKEN: &str = "X-Gitlab-Token";

/// Checks the token or the signature, each secret by its own form.
pub(crate) fn verify(
    headers: &Headers<'_>,
    body: &[u8],
    secrets: &[Secret],
    now: Timestamp,
) -> Result<Proof, VerifyError> {
    let token = headers.one(TOKEN)?;
    let signing = secrets.iter().any(Secret::is_signing_token);
    let sending = secrets.iter().any(|secret| !secret.is_signing_token());
    let signature = match Signature::read(headers) {
        Ok(found) => Some(found),
        // While a signing token replaces a sent one, both kinds of delivery come.
        Err(error) if signing && !(sending && token.is_some()) => return Err(error),
        Err(_) => None,
    };
    if !signing && token.is_none() {
        return Err(VerifyError::Unsigned { header: TOKEN });
    }
    let fits = |secret: &Secret| match (secret.is_signing_token(), &signature, token) {
        (true, Some(signature), _) => signature.made_by(secret, body),
        (false, _, Some(token)) => mac::same(secret.as_bytes(), token),
        _ => Choice::from(0),
    };
    let index = mac::first(secrets, fits).ok_or(VerifyError::Mismatch)?;
    let Some(signature) = signature.filter(|_| secrets[index].is_signing_token()) else {
        return Ok(Proof { verifier: Verifier::GitlabToken, secret_index: Some(index) });
    };
    signature.is_of(now)?;
    Ok(Proof { verifier: Verifier::GitlabSigningToken, secret_index: Some(index) })
}

/// The event's name, off the body, and the delivery's id. Where a delivery is signed only the id that is
/// signed too counts.
pub(crate) fn names(
    headers: &Headers<'_>,
    verifier: Verifier,
    body: &[u8],
) -> Result<(String, Option<String>), VerifyError> {
    let event = payload::event_name(body).unwrap_or_else(|| UNNAMED.to_owned());
    if verifier == Verifier::GitlabSigningToken {
        return Ok((event, delivery_id_of(headers, signature::ID)?));
    }
    if let Some(id) = delivery_id_of(headers, DELIVERY_HEADER)? {
        return Ok((event, Some(id)));
    }
    let Some(uuid) = headers.one(EVENT_UUID)? else { return Ok((event, None)) };
    // Several deliveries share it: it is an id only together with what is delivered.
    let id = [uuid, b"/", Digest::of(body).to_hex().as_bytes()].concat();
    let id = delivery_id(&id).ok_or(VerifyError::DeliveryId { header: EVENT_UUID })?;
    Ok((event, Some(id)))
}
