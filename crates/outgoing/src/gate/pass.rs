//! [`Pass`]: who may use the gate, and what it was refused.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq as _;

use crate::error::Error;
use crate::url::Host;

/// How many refusals of a pass are kept; the first ones say enough.
const REFUSALS_MAX: usize = 16;

/// Lets one piece of work through the gate, until it is dropped. Its `Debug` hides the password.
pub struct Pass {
    passes: Arc<Passes>,
    holder: Arc<Holder>,
    user: String,
    password: String,
    gate: SocketAddr,
}

/// A connection that the gate did not make.
#[derive(Debug)]
pub struct Refusal {
    /// `host:port` as it was asked for.
    pub target: String,
    /// Why.
    pub error: Error,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// What the gate knows of a pass.
pub(super) struct Holder {
    password: String,
    own: Vec<(Host, u16)>,
    refusals: Mutex<Vec<Refusal>>,
}

/// All that are valid, by user name.
#[derive(Default)]
pub(super) struct Passes(Mutex<HashMap<String, Arc<Holder>>>);

/// What a panic elsewhere left behind is still a list.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pass {
    pub(super) fn new(passes: Arc<Passes>, gate: SocketAddr, own: Vec<(Host, u16)>) -> io::Result<Pass> {
        let (user, password) = (random()?, random()?);
        let holder = Arc::new(Holder { password: password.clone(), own, refusals: Mutex::default() });
        locked(&passes.0).insert(user.clone(), Arc::clone(&holder));
        Ok(Pass { passes, holder, user, password, gate })
    }

    /// The gate as a proxy's address, `http://user:password@127.0.0.1:port`. It is secret: not for arguments, nor for
    /// environments that others can read.
    pub fn proxy_url(&self) -> String {
        format!("http://{}:{}@{}", self.user, self.password, self.gate)
    }

    /// What was refused since this was last asked, at most the first 16.
    pub fn refusals(&self) -> Vec<Refusal> {
        std::mem::take(&mut *locked(&self.holder.refusals))
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        locked(&self.passes.0).remove(&self.user);
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("user", &self.user).field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl Holder {
    /// Whether the operator configured this very host and port.
    pub(super) fn owns(&self, host: &Host, port: u16) -> bool {
        self.own.iter().any(|(own, own_port)| own == host && *own_port == port)
    }

    pub(super) fn record(&self, target: String, error: Error) {
        let mut refusals = locked(&self.refusals);
        if refusals.len() < REFUSALS_MAX {
            refusals.push(Refusal { target, error });
        }
    }
}

impl Passes {
    /// Whose credentials `Proxy-Authorization` has.
    pub(super) fn holder(&self, authorization: &str) -> Option<Arc<Holder>> {
        let (scheme, encoded) = authorization.split_once(' ')?;
        let decoded =
            STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (user, password) = decoded.split_once(':')?;
        let holder = locked(&self.0).get(user).cloned()?;
        bool::from(holder.password.as_bytes().ct_eq(password.as_bytes())).then_some(holder)
    }
}

/// 128 bits that nobody can guess.
fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| io::Error::other("the system gave no randomness"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
