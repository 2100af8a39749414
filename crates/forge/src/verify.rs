//! [`verify`]: from raw bytes to [`Verified`].

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use gristmill_model::Digest;

use crate::forge::Forge;
use crate::headers::{DuplicateHeader, Headers};
use crate::secret::Secret;
use crate::{github, text};

/// The longest delivery id taken, in bytes. Forges send UUIDs (36); the bound keeps rows small.
const DELIVERY_ID_BYTES_MAX: usize = 200;

/// The longest event name taken, in bytes. The longest in use has about 40.
const EVENT_BYTES_MAX: usize = 100;

/// How the sender showed that it knows a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verifier {
    /// GitHub's `X-Hub-Signature-256`.
    GithubHmacSha256,
    /// GitHub's legacy `X-Hub-Signature`, for projects that opted in.
    GithubHmacSha1,
}

/// The text names no verifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a verifier; expected one of: {known}", known = Verifier::ALL.map(Verifier::name).join(", "))]
pub struct UnknownVerifier(String);

impl Verifier {
    const ALL: [Verifier; 2] = [Verifier::GithubHmacSha256, Verifier::GithubHmacSha1];

    /// The name that is stored with a delivery.
    pub const fn name(self) -> &'static str {
        match self {
            Verifier::GithubHmacSha256 => "github-hmac-sha256",
            Verifier::GithubHmacSha1 => "github-hmac-sha1",
        }
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Verifier {
    type Err = UnknownVerifier;

    fn from_str(name: &str) -> Result<Verifier, UnknownVerifier> {
        let found = Verifier::ALL.into_iter().find(|verifier| verifier.name() == name);
        found.ok_or_else(|| UnknownVerifier(text::shown(name)))
    }
}

/// What a project allows beyond the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VerifyOptions {
    /// Takes a legacy SHA-1 signature where no SHA-256 one came.
    pub allow_sha1: bool,
}

/// Why a delivery was refused. The text is for the log of whoever runs the server; it never holds
/// a secret or an expected signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The project has no secret, so it has no webhook.
    #[error("the project has no secret, so it takes no webhook; add a `secret` to it")]
    NoSecret,
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
}

impl VerifyError {
    /// Whether the sender did show that it knows a secret. Only such a sender may be told what was
    /// wrong. All others get one and the same answer, whether the project exists or not.
    pub fn is_authenticated(&self) -> bool {
        matches!(self, VerifyError::Event { .. } | VerifyError::DeliveryId { .. })
    }
}

/// A delivery whose sender knew a secret of the project. Only [`verify`] makes one, and
/// [`Verified::from_store`] brings one back.
#[derive(Clone)]
pub struct Verified {
    forge: Forge,
    verifier: Verifier,
    secret_index: Option<usize>,
    event: String,
    delivery_id: String,
    body: Bytes,
}

/// A delivery as it lies in the database.
#[derive(Clone)]
pub struct StoredDelivery {
    /// [`Verified::forge`].
    pub forge: Forge,
    /// [`Verified::verifier`].
    pub verifier: Verifier,
    /// [`Verified::event`].
    pub event: String,
    /// [`Verified::delivery_id`].
    pub delivery_id: String,
    /// [`Verified::body`].
    pub body: Bytes,
}

impl Verified {
    /// Brings back a delivery that was stored. **Nothing is checked**: only for what [`verify`] let
    /// through before, read from a database that lies inside the border of trust. Never for bytes
    /// that came by any other way.
    pub fn from_store(stored: StoredDelivery) -> Verified {
        let StoredDelivery { forge, verifier, event, delivery_id, body } = stored;
        Verified { forge, verifier, secret_index: None, event, delivery_id, body }
    }

    /// Who sent it, by the project's configuration.
    pub fn forge(&self) -> Forge {
        self.forge
    }

    /// How it was verified.
    pub fn verifier(&self) -> Verifier {
        self.verifier
    }

    /// Which of the secrets given to [`verify`] signed it, counted from 0: after a rotation, whether
    /// the old one is still in use. `None` for a delivery from the store.
    pub fn secret_index(&self) -> Option<usize> {
        self.secret_index
    }

    /// The event's name as the forge sent it; printable ASCII, 1 to 100 characters. No forge signs it.
    pub fn event(&self) -> &str {
        &self.event
    }

    /// The delivery's id: the forge's, the same when it sends again; printable ASCII, 1 to 200
    /// characters. Where none came, the body's digest.
    pub fn delivery_id(&self) -> &str {
        &self.delivery_id
    }

    /// The bytes that were signed.
    pub fn body(&self) -> &Bytes {
        &self.body
    }
}

/// Everything but the body, which may be private and long.
impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("forge", &self.forge)
            .field("verifier", &self.verifier)
            .field("secret_index", &self.secret_index)
            .field("event", &self.event)
            .field("delivery_id", &self.delivery_id)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

/// Checks that the sender of `body` knows one of the project's `secrets`. Several may be valid at
/// once, while one replaces another; all are tried, in constant time.
///
/// # Errors
/// [`VerifyError`]; see [`VerifyError::is_authenticated`] for what the sender may be told.
pub fn verify(
    forge: Forge,
    headers: &Headers<'_>,
    body: Bytes,
    secrets: &[Secret],
    options: VerifyOptions,
) -> Result<Verified, VerifyError> {
    if secrets.is_empty() {
        return Err(VerifyError::NoSecret);
    }
    let (verifier, secret_index) = match forge {
        Forge::Github => github::verify(headers, &body, secrets, options)?,
    };
    let event = event_of(headers, forge.event_header())?;
    let delivery_id = match delivery_id_of(headers, forge.delivery_header())? {
        Some(id) => id,
        None => Digest::of(&body).to_string(),
    };
    Ok(Verified { forge, verifier, secret_index: Some(secret_index), event, delivery_id, body })
}

/// Does the work of [`verify`] for a project that does not exist, so that neither the answer nor
/// its time tells that. Gives the error that a bad signature would give, and never anything else.
///
/// `dummy` is a secret made of the caller's randomness at its start and known to nobody.
pub fn verify_dummy(
    forge: Forge,
    headers: &Headers<'_>,
    body: Bytes,
    dummy: &Secret,
    options: VerifyOptions,
) -> VerifyError {
    match verify(forge, headers, body, std::slice::from_ref(dummy), options) {
        Err(error) if !error.is_authenticated() => error,
        // Somebody knows the dummy secret. Still nobody's project.
        Ok(_) | Err(_) => VerifyError::Mismatch,
    }
}

/// Signs `body` as the forge would: the header's name and value. For `webhook send` and the demo.
pub fn sign(forge: Forge, secret: &Secret, body: &[u8]) -> (&'static str, String) {
    match forge {
        Forge::Github => github::sign(secret, body),
    }
}

fn event_of(headers: &Headers<'_>, header: &'static str) -> Result<String, VerifyError> {
    let value = headers.one(header)?.unwrap_or_default();
    printable(value, EVENT_BYTES_MAX).ok_or(VerifyError::Event { header })
}

fn delivery_id_of(headers: &Headers<'_>, header: &'static str) -> Result<Option<String>, VerifyError> {
    let Some(value) = headers.one(header)? else {
        return Ok(None);
    };
    printable(value, DELIVERY_ID_BYTES_MAX).map(Some).ok_or(VerifyError::DeliveryId { header })
}

/// The value as text where it is 1 to `bytes_max` characters of printable ASCII without spaces.
fn printable(value: &[u8], bytes_max: usize) -> Option<String> {
    let fits = (1..=bytes_max).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    fits.then(|| value.iter().copied().map(char::from).collect())
}
