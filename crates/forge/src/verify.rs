//! [`Check`]: from raw bytes to [`Verified`].

use bytes::Bytes;
use gristmill_model::{Digest, Timestamp};

use crate::codecommit::TopicArn;
use crate::error::VerifyError;
use crate::forge::Forge;
use crate::headers::{HeaderName, Headers};
use crate::secret::Secret;
use crate::verified::Verified;
use crate::verifier::Verifier;
use crate::{azure, bare, bitbucket, bitbucket_server, codecommit, generic, gitea, github, gitlab};

/// The longest delivery id taken, in bytes. Forges send UUIDs (36); the bound keeps rows small.
const DELIVERY_ID_BYTES_MAX: usize = 200;

/// The longest event name taken, in bytes. The longest in use has about 40.
const EVENT_BYTES_MAX: usize = 100;

/// The event's name where neither headers nor body have one.
pub(crate) const UNNAMED: &str = "unnamed";

/// What a request is checked against: what the project's configuration says, and the present moment.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// Who sends. It alone decides what is looked at, never the headers that happen to be there.
    pub forge: Forge,
    /// The project's secrets. Several may be valid at once, while one replaces another; all are tried,
    /// in constant time. CodeCommit has none.
    pub secrets: &'a [Secret],
    /// The present moment.
    pub now: Timestamp,
    /// GitHub: takes a legacy SHA-1 signature where no SHA-256 one came.
    pub allow_sha1: bool,
    /// Bitbucket Server: expects a password by HTTP's Basic scheme instead of a signature.
    pub basic: bool,
    /// Azure DevOps: expects the secret in this header instead of as a password.
    pub header: Option<&'a HeaderName>,
    /// CodeCommit: the one topic whose messages are taken.
    pub topic_arn: Option<&'a TopicArn>,
    /// CodeCommit: what stands at the address that [`crate::sns_certificate_url`] gave, in PEM.
    pub certificate: Option<&'a [u8]>,
}

/// What a request turned out to be.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A delivery whose sender is known.
    Delivery(Verified),
    /// Bitbucket Server tries whether anybody answers, which it does not sign. To be answered with 200
    /// and a fixed body, whatever the path; nothing of it is kept.
    Probe,
}

/// What a forge's module found.
pub(crate) struct Proof {
    pub(crate) verifier: Verifier,
    pub(crate) secret_index: Option<usize>,
}

impl<'a> Check<'a> {
    /// A check without anything that is peculiar to one forge.
    pub fn new(forge: Forge, secrets: &'a [Secret], now: Timestamp) -> Check<'a> {
        Check {
            forge,
            secrets,
            now,
            allow_sha1: false,
            basic: false,
            header: None,
            topic_arn: None,
            certificate: None,
        }
    }

    /// Checks that the sender of `body` is whom the project's configuration names.
    ///
    /// # Errors
    /// [`VerifyError`]; see [`VerifyError::is_authenticated`] for what the sender may be told.
    pub fn verify(&self, headers: &Headers<'_>, body: Bytes) -> Result<Outcome, VerifyError> {
        if bitbucket_server::is_probe(headers) {
            return Ok(Outcome::Probe);
        }
        self.verify_delivery(headers, body).map(Outcome::Delivery)
    }

    /// Does the work of [`Check::verify`] for a project that does not exist, so that neither the answer
    /// nor its time tells that. [`Outcome::Probe`] where that would give it too, else the error of a bad
    /// signature, and never anything else.
    ///
    /// The secret is made of the caller's randomness at its start and known to nobody.
    ///
    /// # Errors
    /// Always, but for a probe.
    pub fn verify_dummy(&self, headers: &Headers<'_>, body: Bytes) -> Result<Outcome, VerifyError> {
        match self.verify(headers, body) {
            Ok(Outcome::Probe) => Ok(Outcome::Probe),
            // Nobody's project names no topic; that is nothing to be told apart by.
            Err(VerifyError::NoTopic) => Err(VerifyError::Mismatch),
            Err(error) if !error.is_authenticated() => Err(error),
            // Somebody knows the dummy secret. Still nobody's project.
            Ok(Outcome::Delivery(_)) | Err(_) => Err(VerifyError::Mismatch),
        }
    }

    fn verify_delivery(&self, headers: &Headers<'_>, body: Bytes) -> Result<Verified, VerifyError> {
        if self.secrets.is_empty() && self.forge != Forge::Codecommit {
            return Err(VerifyError::NoSecret);
        }
        // In form mode these sign the JSON within, not the form.
        let is_gitea = matches!(self.forge, Forge::Gitea | Forge::Forgejo | Forge::Gogs);
        let body = if is_gitea { gitea::signed_bytes(body)? } else { body };
        let proof = match self.forge {
            Forge::Github => github::verify(headers, &body, self.secrets, self.allow_sha1),
            Forge::Gitlab => gitlab::verify(headers, &body, self.secrets, self.now),
            Forge::Bitbucket => bitbucket::verify(headers, &body, self.secrets),
            Forge::BitbucketServer => bitbucket_server::verify(headers, &body, self.secrets, self.basic),
            Forge::Gitea => gitea::verify(&gitea::GITEA, headers, &body, self.secrets),
            Forge::Forgejo => gitea::verify(&gitea::FORGEJO, headers, &body, self.secrets),
            Forge::Gogs => gitea::verify(&gitea::GOGS, headers, &body, self.secrets),
            Forge::AzureDevops => azure::verify(headers, self.secrets, self.header),
            Forge::Generic => generic::verify(headers, self.secrets),
            Forge::Bare => bare::verify(headers, &body, self.secrets),
            Forge::Codecommit => return codecommit::verify(self, headers, body),
        }?;
        let (event, delivery_id) = self.names(headers, &proof, &body)?;
        let delivery_id = delivery_id.unwrap_or_else(|| Digest::of(&body).to_string());
        let Proof { verifier, secret_index } = proof;
        Ok(Verified { forge: self.forge, verifier, secret_index, event, delivery_id, body })
    }

    /// The event's name and the delivery's id, once the sender is known.
    fn names(
        &self,
        headers: &Headers<'_>,
        proof: &Proof,
        body: &[u8],
    ) -> Result<(String, Option<String>), VerifyError> {
        match self.forge {
            Forge::Gitlab => gitlab::names(headers, proof.verifier, body),
            Forge::AzureDevops => Ok(azure::names(body)),
            Forge::Generic => Ok((UNNAMED.to_owned(), None)),
            Forge::Bare => bare::names(headers),
            other => {
                let event = event_of(headers, other.event_header())?;
                Ok((event, delivery_id_of(headers, other.delivery_header())?))
            }
        }
    }
}

pub(crate) fn event_of(headers: &Headers<'_>, header: &'static str) -> Result<String, VerifyError> {
    let value = headers.one(header)?.unwrap_or_default();
    event_name(value).ok_or(VerifyError::Event { header })
}

/// The name of an event where it is one: printable ASCII without spaces, 1 to 100 characters.
pub(crate) fn event_name(value: &[u8]) -> Option<String> {
    printable(value, EVENT_BYTES_MAX)
}

/// The id of a delivery where it is one.
pub(crate) fn delivery_id(value: &[u8]) -> Option<String> {
    printable(value, DELIVERY_ID_BYTES_MAX)
}

pub(crate) fn delivery_id_of(
    headers: &Headers<'_>,
    header: &'static str,
) -> Result<Option<String>, VerifyError> {
    let Some(value) = headers.one(header)? else {
        return Ok(None);
    };
    delivery_id(value).map(Some).ok_or(VerifyError::DeliveryId { header })
}

/// The value as text where it is 1 to `bytes_max` characters of printable ASCII without spaces.
fn printable(value: &[u8], bytes_max: usize) -> Option<String> {
    let fits = (1..=bytes_max).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    fits.then(|| value.iter().copied().map(char::from).collect())
}
