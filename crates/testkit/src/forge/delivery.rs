//! [`Delivery`]: one webhook, ready to be sent.

use std::fmt;
use std::sync::Weak;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::Inner;
use super::family::Family;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// One webhook, ready to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The event's name, in the forge's own words.
    pub event: String,
    /// The delivery's id, as the header or the body has it.
    pub id: String,
    /// What proves the sender, as the header has it: a signature, a token, a password. Empty where the hook has no
    /// secret.
    pub signature: String,
    /// The payload, as it is signed.
    pub body: Vec<u8>,
    /// Where its hook posts to.
    pub url: String,
    pub(super) family: Family,
    pub(super) hook: u64,
    pub(super) hook_uuid: String,
    /// Who logs in at the receiver, where a password is what proves the sender.
    pub(super) user: String,
    /// Headers that the hook's owner wants besides.
    pub(super) extra: Vec<(String, String)>,
    /// When it was made, in seconds since 1970: signed with some schemes.
    pub(super) at_s: u64,
    /// The forge's own address.
    pub(super) instance: String,
    pub(super) ledger: Ledger,
}

/// Where it is written down that a delivery arrived. Two deliveries may be equal without it.
#[derive(Clone, Default)]
pub(super) struct Ledger {
    pub(super) forge: Weak<Inner>,
    /// The attempt that this is; 0 for what the forge does not know of.
    pub(super) attempt: u64,
}

impl PartialEq for Ledger {
    fn eq(&self, _: &Ledger) -> bool {
        true
    }
}

impl Eq for Ledger {}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attempt {}", self.attempt)
    }
}

/// The answer to a delivery.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

impl Delivery {
    /// The headers that the forge sends with it.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = self.family.shape().headers(self);
        headers.retain(|(_, value)| !value.is_empty());
        headers
    }

    /// The same delivery with a signature by another secret.
    #[must_use]
    pub fn signed_with(&self, secret: &str) -> Delivery {
        let signature = self.family.shape().sign(secret, self);
        Delivery { signature, ledger: Ledger::default(), ..self.clone() }
    }

    /// Another delivery with the same body: what GitHub sends when somebody makes the same change again.
    #[must_use]
    pub fn with_id(&self, id: &str) -> Delivery {
        Delivery { id: id.to_owned(), ledger: Ledger::default(), ..self.clone() }
    }

    /// The same id and signature with another body.
    #[must_use]
    pub fn with_body(&self, body: impl Into<Vec<u8>>) -> Delivery {
        Delivery { body: body.into(), ledger: Ledger::default(), ..self.clone() }
    }

    /// Sends it and waits for the answer, for at most 30 seconds. An error is a connection that failed. The forge
    /// writes down what came of it.
    ///
    /// # Errors
    ///
    /// Where no answer came, in words.
    pub fn deliver(&self, url: &str) -> Result<Reply, String> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        let mut request = agent.post(url);
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        for (name, value) in &self.extra {
            request = request.header(name, value);
        }
        let mut response = request.send(&self.body[..]).map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
        let reply = Reply { status, body };
        if let Some(forge) = self.ledger.forge.upgrade() {
            forge.arrived(self.ledger.attempt, &reply);
        }
        Ok(reply)
    }
}

/// `X-Hub-Signature-256` for a body.
pub fn sign(secret: &str, body: &[u8]) -> String {
    format!("sha256={}", hex_mac(secret.as_bytes(), &[body]))
}

/// HMAC-SHA256 over all pieces, in hexadecimal.
pub(super) fn hex_mac(key: &[u8], pieces: &[&[u8]]) -> String {
    hex(&mac(key, pieces))
}

/// Standard Webhooks, as GitLab signs with a signing token: `v1,` and base64 over id, time and body. The key is what
/// stands behind `whsec_`, decoded.
pub(super) fn standard_webhooks(secret: &str, id: &str, at_s: u64, body: &[u8]) -> String {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).expect("a signing token is base64");
    let head = format!("{id}.{at_s}.");
    format!("v1,{}", STANDARD.encode(mac(&key, &[head.as_bytes(), body])))
}

/// HTTP's Basic scheme (RFC 7617).
pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// User and password of a Basic `Authorization` header.
pub(super) fn read_basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    let plain = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = plain.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (user.to_owned(), password.to_owned()))
}

fn mac(key: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for piece in pieces {
        mac.update(piece);
    }
    mac.finalize().into_bytes().to_vec()
}

/// Random-looking, and the same for the same text.
pub(super) fn uuid(text: &str) -> String {
    let digest = hex(&Sha256::digest(text.as_bytes()));
    format!(
        "{}-{}-4{}-a{}-{}",
        &digest[..8],
        &digest[8..12],
        &digest[13..16],
        &digest[17..20],
        &digest[20..32]
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
