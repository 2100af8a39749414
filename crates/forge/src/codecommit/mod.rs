//! AWS CodeCommit. It tells Amazon SNS, and SNS tells us: signed by RSA, with a certificate that the
//! message names by its address.
//!
//! That takes two steps, for this crate fetches nothing. [`certificate_url`] says which certificate an
//! unverified message names, and refuses addresses that are not Amazon's. The caller fetches it (and
//! keeps it), and gives it to [`crate::Check`]. Anybody can have messages signed by SNS, so what counts
//! as well is the topic: only the one that the project names is taken.
//!
//! Sources: "Verifying the signatures of Amazon SNS messages", "HTTP/HTTPS notification JSON format" and
//! its neighbours; "Working with triggers" and "Monitoring events" of CodeCommit.

mod certificate;
mod envelope;
mod payload;
mod topic;
mod url;

use bytes::Bytes;

use self::envelope::{Envelope, SignatureVersion};
pub(crate) use self::payload::parse;
pub use self::topic::{TopicArn, TopicArnError};
use crate::error::VerifyError;
use crate::forge::Forge;
use crate::headers::Headers;
use crate::verified::Verified;
use crate::verifier::Verifier;
use crate::verify::{Check, delivery_id};

/// Names the kind of message. The body has it too, signed.
pub(crate) const EVENT_HEADER: &str = "x-amz-sns-message-type";
const RAW: &str = "x-amz-sns-rawdelivery";

/// The address of the certificate that a message says it was signed with. Nothing is verified yet: the
/// address is one of Amazon's, which is all that is sure. A message of another topic than `topic_arn`
/// is refused before anything is fetched for it.
///
/// # Errors
/// [`VerifyError`] where the message is none, or names another topic or a foreign host. Nobody is
/// authenticated by it.
pub fn certificate_url(
    headers: &Headers<'_>,
    body: &[u8],
    topic_arn: &TopicArn,
) -> Result<String, VerifyError> {
    let envelope = open(headers, body)?;
    envelope.is_of(topic_arn)?;
    envelope.certificate_url().map(str::to_owned)
}

fn open(headers: &Headers<'_>, body: &[u8]) -> Result<Envelope, VerifyError> {
    if headers.one(RAW)?.is_some_and(|value| value.eq_ignore_ascii_case(b"true")) {
        return Err(VerifyError::RawDelivery);
    }
    Envelope::read(body)
}

/// Checks the signature over the canonical text, and the topic.
pub(crate) fn verify(check: &Check<'_>, headers: &Headers<'_>, body: Bytes) -> Result<Verified, VerifyError> {
    let envelope = open(headers, &body)?;
    envelope.certificate_url()?;
    let signature = envelope.signature()?;
    let key = check.certificate.map(|pem| certificate::public_key(pem, check.now)).transpose()?;
    let signed =
        certificate::is_signed(key.as_deref(), envelope.version(), &envelope.canonical(), &signature);
    envelope.is_of(check.topic_arn.ok_or(VerifyError::NoTopic)?)?;
    if key.is_none() {
        return Err(VerifyError::NoCertificate);
    }
    if !signed {
        return Err(VerifyError::Mismatch);
    }
    let delivery_id =
        delivery_id(envelope.message_id.as_bytes()).ok_or(VerifyError::DeliveryId { header: "MessageId" })?;
    let verifier = match envelope.version() {
        SignatureVersion::One => Verifier::SnsRsaSha1,
        SignatureVersion::Two => Verifier::SnsRsaSha256,
    };
    let event = envelope.kind.name().to_owned();
    Ok(Verified { forge: Forge::Codecommit, verifier, secret_index: None, event, delivery_id, body })
}

/// The address that confirms the subscription which `verified` asks for. Only a verified message gives
/// one out, so it is for the topic that the project names, and it is an address of Amazon's. To be
/// visited once, with a GET.
pub fn subscription_url(verified: &Verified) -> Option<String> {
    if verified.forge() != Forge::Codecommit {
        return None;
    }
    Envelope::read(verified.body()).ok()?.confirmation_url().map(str::to_owned)
}
