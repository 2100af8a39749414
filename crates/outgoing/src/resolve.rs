//! From names to addresses that may be connected to.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::error::Error;
use crate::reach::{NotPublic, Reach};
use crate::url::Host;

/// How many addresses of a name are looked at; further ones are not used.
const ADDRESSES_MAX: usize = 16;

/// How many lookups there are at a time. The system's cannot be stopped, so a dead name server would else
/// collect threads without end.
const LOOKUPS_MAX: usize = 128;

/// Who turns names into addresses. In the program it is the system, [`System`]; tests have their own.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// The addresses of `name`; `port` is the one that they are asked for.
    ///
    /// # Errors
    ///
    /// Whatever went wrong; it counts as something that may pass.
    fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's own lookup: the hosts file, DNS and what else it is set up for.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Resolve for System {
    fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((name, port).to_socket_addrs()?.collect())
    }
}

/// Looks names up, and lets no address out that the reach does not have.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) resolve: Arc<dyn Resolve>,
    pub(crate) reach: Reach,
    /// Lookups that are under way.
    pub(crate) running: Arc<AtomicUsize>,
}

/// Counts a lookup for as long as it runs, even where nobody waits for it any more.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Which address a name has in our network is nothing for whom the error may reach; it is for the log.
fn refused(host: &Host, why: &NotPublic) -> Error {
    let text = match host {
        Host::Address(_) => why.to_string(),
        Host::Name(name) => {
            tracing::info!(host = %name, address = %why.address, "a name has {}, which is not connected to", why.kind);
            format!("it has {}", why.kind)
        }
    };
    Error::Refused { host: host.to_string(), why: text }
}

impl Checked {
    pub(crate) fn new(resolve: Arc<dyn Resolve>, reach: Reach) -> Checked {
        Checked { resolve, reach, running: Arc::default() }
    }

    /// The addresses to connect to. One forbidden address among them is enough for a refusal: a name of which
    /// only some answers are harmless is none that was made for us.
    pub(crate) fn addresses(
        &self,
        host: &Host,
        port: u16,
        within: Duration,
    ) -> Result<Vec<SocketAddr>, Error> {
        let found = match host {
            Host::Address(address) => vec![SocketAddr::new(*address, port)],
            Host::Name(name) => self.lookup(name, port, within)?,
        };
        for address in &found {
            self.reach.check(address.ip()).map_err(|why| refused(host, &why))?;
        }
        if found.is_empty() {
            return Err(Error::Lookup { host: host.to_string() });
        }
        Ok(found)
    }

    fn lookup(&self, name: &str, port: u16, within: Duration) -> Result<Vec<SocketAddr>, Error> {
        let failed = || Error::Lookup { host: name.to_owned() };
        if self.running.fetch_add(1, Ordering::SeqCst) >= LOOKUPS_MAX {
            self.running.fetch_sub(1, Ordering::SeqCst);
            return Err(failed());
        }
        let running = Running(Arc::clone(&self.running));
        let (sender, receiver) = sync_channel(1);
        let (resolve, asked) = (Arc::clone(&self.resolve), name.to_owned());
        let run = move || {
            let _running = running;
            // Nobody waits any more where the time is over.
            let _ = sender.send(resolve.resolve(&asked, port));
        };
        thread::Builder::new().name("lookup".to_owned()).spawn(run).map_err(|_| failed())?;
        match receiver.recv_timeout(within) {
            Ok(Ok(mut found)) => {
                found.truncate(ADDRESSES_MAX);
                Ok(found)
            }
            Err(RecvTimeoutError::Timeout) => {
                Err(Error::Timeout { host: name.to_owned(), what: "looking its name up" })
            }
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Err(failed()),
        }
    }
}
