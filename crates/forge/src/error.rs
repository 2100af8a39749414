//! [`VerifyError`]: why a delivery was refused.

use crate::headers::DuplicateHeader;

/// Why a delivery was refused. The text is for the log of whoever runs the server; it never holds
/// a secret or an expected signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The project has no secret, so it has no webhook.
    #[error("the project has no secret, so it takes no webhook; add a `secret` to it")]
    NoSecret,
    /// The project names no topic, so it has no webhook.
    #[error("the project names no topic of Amazon SNS, so it takes no messages; add its ARN to it")]
    NoTopic,
    /// There is nothing to verify.
    #[error("the request is not signed; expected `{header}`: enter the project's secret at the forge")]
    Unsigned {
        /// The header that was looked for.
        header: &'static str,
    },
    /// A header came more than once.
    #[error(transparent)]
    Duplicate(#[from] DuplicateHeader),
    /// The signature's text is not of the documented form.
    #[error("`{header}` is malformed; expected {expected}")]
    MalformedSignature {
        /// The header it came in.
        header: &'static str,
        /// The documented form.
        expected: &'static str,
    },
    /// Only the legacy signature came, and the project did not opt in.
    #[error(
        "only the legacy SHA-1 signature came; expected `X-Hub-Signature-256`: \
         a sender that cannot send it is let in by `allow_sha1` in the project"
    )]
    Sha1Refused,
    /// No secret of the project made this signature.
    #[error("the signature fits none of the project's secrets; compare the one entered at the forge")]
    Mismatch,
    /// The signature is right, but of another time: somebody may send again what was overheard.
    #[error(
        "the signature is right, but {seconds} seconds {}; expected at most 300: set the clocks of both sides",
        if *ahead { "ahead of this host's clock" } else { "old" }
    )]
    Stale {
        /// How far it lies from the present moment.
        seconds: u64,
        /// Whether it lies in the future.
        ahead: bool,
    },
    /// The body is not a message of Amazon SNS.
    #[error("the body is not a message of Amazon SNS: {problem}; let the topic send to this URL by https")]
    Envelope {
        /// What is wrong with it.
        problem: String,
    },
    /// The topic sends the bare message, without anything that could be verified.
    #[error(
        "the message came without SNS's envelope, so it is not signed; turn raw message delivery off for this subscription"
    )]
    RawDelivery,
    /// An address in the message is not Amazon's.
    #[error(
        "`{field}` in the message is not an address of Amazon SNS; expected https://sns.<region>.amazonaws.com/…"
    )]
    ForeignHost {
        /// The field it stands in.
        field: &'static str,
    },
    /// The message is of another topic than the project's.
    #[error("the message is of the topic `{topic}`; expected the one that the project names")]
    OtherTopic {
        /// The topic in the message.
        topic: String,
    },
    /// The certificate that the message names was not given to [`crate::Check::certificate`].
    #[error(
        "the certificate that the message was signed with is not at hand; it is fetched from `SigningCertURL`"
    )]
    NoCertificate,
    /// The certificate cannot be used.
    #[error("the certificate of Amazon SNS {problem}")]
    Certificate {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The signature is right, but the event's name is missing or not one.
    #[error("`{header}` is missing or malformed; expected the name of an event")]
    Event {
        /// The header it should have come in.
        header: &'static str,
    },
    /// The signature is right, but the delivery's id is not one.
    #[error("`{header}` is malformed; expected 1 to 200 printable ASCII characters")]
    DeliveryId {
        /// The header it came in.
        header: &'static str,
    },
    /// The signature is right, but there is no id made by `webhook send`.
    #[error("`{header}` is missing or malformed; expected a ULID, the same when the delivery is sent again")]
    DeliveryUlid {
        /// The header it should have come in.
        header: &'static str,
    },
    /// The signature is right, but the form that holds the JSON is malformed.
    #[error("the form is malformed: {problem}; expected `payload=` and one value")]
    Form {
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl VerifyError {
    /// Whether the sender did show that it knows a secret. Only such a sender may be told what was
    /// wrong. All others get one and the same answer, whether the project exists or not.
    pub fn is_authenticated(&self) -> bool {
        matches!(
            self,
            VerifyError::Event { .. } | VerifyError::DeliveryId { .. } | VerifyError::DeliveryUlid { .. }
        )
    }
}
