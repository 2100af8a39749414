//! The message of Amazon SNS around what CodeCommit tells.

use std::str;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{TopicArn, url};
use crate::error::VerifyError;
use crate::parse::from_json;
use crate::text::shown;

/// A message as it came. Nothing of it is true until it is verified.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Envelope {
    #[serde(rename = "Type")]
    pub(super) kind: Kind,
    pub(super) message_id: String,
    pub(super) topic_arn: String,
    subject: Option<String>,
    pub(super) message: String,
    timestamp: String,
    signature_version: SignatureVersion,
    signature: String,
    #[serde(rename = "SigningCertURL")]
    certificate_url: String,
    #[serde(rename = "SubscribeURL")]
    subscribe_url: Option<String>,
    token: Option<String>,
}

/// What kind of message it is.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Notification,
    SubscriptionConfirmation,
    UnsubscribeConfirmation,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Notification => "Notification",
            Kind::SubscriptionConfirmation => "SubscriptionConfirmation",
            Kind::UnsubscribeConfirmation => "UnsubscribeConfirmation",
        }
    }
}

/// What is hashed and how.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignatureVersion {
    /// SHA-1, what topics begin with.
    #[serde(rename = "1")]
    One,
    /// SHA-256.
    #[serde(rename = "2")]
    Two,
}

impl Envelope {
    /// Reads a body.
    pub(super) fn read(body: &[u8]) -> Result<Envelope, VerifyError> {
        let malformed = |problem: String| VerifyError::Envelope { problem };
        let json = str::from_utf8(body).map_err(|_| malformed("it is not UTF-8".to_owned()))?;
        let found: Envelope = from_json("SNS", json).map_err(|error| malformed(error.to_string()))?;
        // Every signed field but the message is one line: else a message could pass for another one.
        let lines = [Some(&found.message_id), Some(&found.topic_arn), found.subject.as_ref()];
        let more = [Some(&found.timestamp), found.subscribe_url.as_ref(), found.token.as_ref()];
        if lines.iter().chain(&more).flatten().any(|text| text.contains('\n')) {
            return Err(malformed("a field has a line break".to_owned()));
        }
        if found.kind != Kind::Notification && (found.token.is_none() || found.subscribe_url.is_none()) {
            return Err(malformed("a confirmation without `Token` and `SubscribeURL`".to_owned()));
        }
        Ok(found)
    }

    /// Where the certificate is, which is surely at Amazon's.
    pub(super) fn certificate_url(&self) -> Result<&str, VerifyError> {
        let url = Some(&*self.certificate_url).filter(|url| url::is_certificate(url));
        url.ok_or(VerifyError::ForeignHost { field: "SigningCertURL" })
    }

    /// What is to be visited to confirm a subscription.
    pub(super) fn confirmation_url(&self) -> Option<&str> {
        let url = self.subscribe_url.as_deref().filter(|_| self.kind == Kind::SubscriptionConfirmation);
        url.filter(|url| url::is_confirmation(url))
    }

    /// Whether the message is of the topic; the error names the other one.
    pub(super) fn is_of(&self, topic_arn: &TopicArn) -> Result<(), VerifyError> {
        if self.topic_arn != topic_arn.as_str() {
            return Err(VerifyError::OtherTopic { topic: shown(&self.topic_arn) });
        }
        Ok(())
    }

    pub(super) fn version(&self) -> SignatureVersion {
        self.signature_version
    }

    pub(super) fn signature(&self) -> Result<Vec<u8>, VerifyError> {
        let decoded = STANDARD.decode(&self.signature).ok();
        let expected = "the base64 of an RSA signature";
        decoded.ok_or(VerifyError::MalformedSignature { header: "Signature", expected })
    }

    /// The text that is signed: name and value of some fields, each on a line, in the order of their names.
    pub(super) fn canonical(&self) -> String {
        let mut fields: Vec<(&str, &str)> =
            vec![("Message", self.message.as_str()), ("MessageId", self.message_id.as_str())];
        let optional = |name, value: &'_ Option<String>| value.clone().map(|value| (name, value));
        let confirms = self.kind != Kind::Notification;
        let subject = optional("Subject", &self.subject).filter(|_| !confirms);
        let url = optional("SubscribeURL", &self.subscribe_url).filter(|_| confirms);
        let token = optional("Token", &self.token).filter(|_| confirms);
        fields.extend(subject.iter().chain(&url).map(|(name, value)| (*name, value.as_str())));
        fields.push(("Timestamp", &self.timestamp));
        fields.extend(token.iter().map(|(name, value)| (*name, value.as_str())));
        fields.extend([("TopicArn", self.topic_arn.as_str()), ("Type", self.kind.name())]);
        fields.iter().map(|(name, value)| format!("{name}\n{value}\n")).collect()
    }
}
