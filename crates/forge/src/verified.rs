//! [`Verified`]: a delivery whose sender is known.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use gristmill_model::Digest;

use crate::forge::Forge;
use crate::verifier::Verifier;

/// How long a body's digest stands for a delivery. The same body later is another delivery: a branch
/// that is pushed from A to B, set back and pushed again makes equal bodies.
const DIGEST_STANDS_FOR: Duration = Duration::from_mins(10);

/// A delivery whose sender knew a secret of the project. Only [`crate::Check`] makes one, and
/// [`Verified::from_store`] brings one back.
#[derive(Clone)]
pub struct Verified {
    pub(crate) forge: Forge,
    pub(crate) verifier: Verifier,
    pub(crate) secret_index: Option<usize>,
    pub(crate) event: String,
    pub(crate) delivery_id: String,
    pub(crate) body: Bytes,
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
    /// Brings back a delivery that was stored. **Nothing is checked**: only for what a check let
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

    /// Which of the project's secrets was used, counted from 0: after a rotation, whether the old one
    /// is still in use. `None` for a delivery from the store, and for CodeCommit, which has none.
    pub fn secret_index(&self) -> Option<usize> {
        self.secret_index
    }

    /// The event's name as the forge sent it, in a header or in the body; printable ASCII, 1 to 100
    /// characters. No forge signs the header. `unnamed` where neither names one.
    pub fn event(&self) -> &str {
        &self.event
    }

    /// The delivery's id: the forge's, the same when it sends again; printable ASCII, 1 to 200
    /// characters. Where none came, the body's digest.
    pub fn delivery_id(&self) -> &str {
        &self.delivery_id
    }

    /// How long another delivery of the same id and body is the same one again. `None`: for as long as
    /// ids are kept. Ten minutes where the id is only the body's digest.
    pub fn id_stands_for(&self) -> Option<Duration> {
        // Ids of forges look otherwise, so that hashing once more is spared nearly always.
        let is_digest =
            self.delivery_id.starts_with("sha256:") && self.delivery_id == Digest::of(&self.body).to_string();
        is_digest.then_some(DIGEST_STANDS_FOR)
    }

    /// The bytes that were signed. What a token came with is taken whole.
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
