//! [`Proxy`]: stands before an S3 server, has its requests fail as a test says, and writes down which came.
//!
//! Requests are passed on byte for byte, so that their signatures hold: those cover `Host`, which names the proxy, and
//! servers compute them over what they were sent. Three things it does not leave as they are: it answers
//! `Expect: 100-continue` itself, it has a connection to the server for each request, and it keeps those of the
//! clients open also where the server would not, so that what is counted is the client's doing.

mod door;
mod http;
mod operation;
mod script;
mod serve;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use operation::Operation;
pub use script::{Fault, Odds, Rule};

use door::Door;
use script::Script;

/// A proxy on 127.0.0.1. It stops when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    door: Mutex<Door>,
}

/// A request as it came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// On which connection, counted from 0. One without requests is not seen.
    pub connection: usize,
    /// Whether it is the first of its connection.
    pub is_first: bool,
    /// Whether the client waited for `100 Continue` before it sent the body.
    pub has_waited: bool,
    /// GET, PUT …
    pub method: String,
    /// Path and query as they were sent.
    pub target: String,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// What it is to S3.
    pub operation: Operation,
    /// Of the path.
    pub bucket: String,
    /// Of the path, decoded. Empty where it is about the bucket.
    pub key: String,
    /// Bytes of the head and of the body that came.
    pub bytes_sent: u64,
    /// Of these, the body's.
    pub body_bytes: u64,
    /// What befell it.
    pub fault: Fault,
    /// What the server answered. `None` where it was not asked, or has not answered yet.
    pub server_status: Option<u16>,
    /// What the client was answered. `None` where it was not, or not yet.
    pub status: Option<u16>,
}

/// What the threads and the test share.
#[derive(Debug)]
pub(crate) struct Shared {
    upstream: SocketAddr,
    script: Mutex<Script>,
    list: Mutex<List>,
}

/// The requests that came and were not taken.
#[derive(Debug, Default)]
struct List {
    /// How many were taken: the number of the first that is here.
    taken: usize,
    seen: Vec<Seen>,
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proxy {
    /// A proxy before a server at `http://<address>:<port>`, that lets everything pass.
    pub fn start(endpoint: &str) -> Proxy {
        let upstream = endpoint.trim_start_matches("http://").trim_end_matches('/').parse();
        let upstream = upstream.unwrap_or_else(|error| panic!("{endpoint}: {error}"));
        let shared = Arc::new(Shared { upstream, script: Mutex::default(), list: Mutex::default() });
        let door = Mutex::new(Door::open(Arc::clone(&shared)));
        Proxy { shared, door }
    }

    /// Where clients send requests to instead of the server's endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.door().address())
    }

    /// Adds a rule. The first that is for a request and not used up has it.
    pub fn rule(&self, rule: Rule) {
        self.shared.script().add(rule);
    }

    /// Has requests fail by chance that no rule is for; `None` ends that.
    pub fn odds(&self, odds: Option<Odds>) {
        self.shared.script().set_odds(odds);
    }

    /// Everything passes again.
    pub fn heal(&self) {
        self.shared.script().clear();
    }

    /// Ends all connections, also amid a request or an answer; new ones are refused until [`Proxy::come_back`].
    pub fn go_away(&self) {
        self.door().close();
    }

    /// Listens again, at the same address.
    pub fn come_back(&self) {
        let shared = Arc::clone(&self.shared);
        self.door().reopen(shared);
    }

    /// The requests so far, in the order in which their heads came.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.list().seen.clone()
    }

    /// The requests so far, which are then forgotten.
    pub fn take_seen(&self) -> Vec<Seen> {
        let mut list = self.shared.list();
        list.taken += list.seen.len();
        std::mem::take(&mut list.seen)
    }

    /// How many there have been of an operation.
    pub fn count(&self, operation: Operation) -> usize {
        self.shared.list().seen.iter().filter(|seen| seen.operation == operation).count()
    }

    /// How many bytes clients have sent, of heads and bodies.
    pub fn bytes_sent(&self) -> u64 {
        self.shared.list().seen.iter().map(|seen| seen.bytes_sent).sum()
    }

    /// How often clients waited for the other side: for each answer, for each connection to be made, and for each
    /// `100 Continue`. Waits at the same time count each, as if they came one after another.
    pub fn round_trips(&self) -> usize {
        self.shared.list().seen.iter().map(Seen::round_trips).sum()
    }

    /// What came, for a person to read: a line for each operation, with its count, bytes, and round trips.
    pub fn table(&self) -> String {
        let mut rows: BTreeMap<Operation, (usize, u64, usize)> = BTreeMap::new();
        for seen in self.shared.list().seen.iter() {
            let row = rows.entry(seen.operation).or_default();
            *row = (row.0 + 1, row.1 + seen.bytes_sent, row.2 + seen.round_trips());
        }
        let mut text = format!("{:<26}{:>8}{:>14}{:>8}\n", "operation", "count", "bytes sent", "trips");
        for (operation, (count, bytes, trips)) in rows {
            // The width is for text, which a derived Debug does not heed.
            let _ = writeln!(text, "{:<26}{count:>8}{bytes:>14}{trips:>8}", format!("{operation:?}"));
        }
        text
    }

    fn door(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// See [`Proxy::round_trips`].
    pub fn round_trips(&self) -> usize {
        1 + usize::from(self.is_first) + usize::from(self.has_waited)
    }
}
