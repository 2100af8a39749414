//! The PostgreSQL engine: a bounded set of connections, transactions that run as if one after the other.
//!
//! Every transaction is SERIALIZABLE: the rules of the queue are written as if nobody else were there, and the server
//! refuses whatever would come out differently. What it refuses is run again, from its closure.

mod clock;
pub(crate) mod error;
mod listen;
mod session;
mod url;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gristmill_model::{Clock, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use clock::ServerClock;
pub(crate) use session::Session;
pub use url::{PostgresUrl, PostgresUrlError};

use crate::error::DbError;
use crate::migrate;
use crate::tx::{Conn, Source, Tx};

/// Connections for transactions; one more listens. Beyond them, callers wait.
const CONNECTIONS_MAX: usize = 10;
/// Connections that are kept while nobody needs them.
const IDLE_MAX: usize = CONNECTIONS_MAX;
/// How long a transaction is tried again that got into the way of others, or whose server does not answer.
/// Deliveries must be answered within ten seconds; a program that froze in the middle of something lets go after five.
const AGAIN_FOR: Duration = Duration::from_secs(6);
/// How often a row that is there already is taken for one that another transaction has just written: the server tells
/// both by the same error.
const DUPLICATES_MAX: u32 = 3;
/// The longest wait before it is tried again because of others; at first it is a few milliseconds.
const CONFLICT_WAIT_MAX: Duration = Duration::from_millis(200);
/// How long to wait before a server that does not answer is called again.
const CALL_AGAIN: Duration = Duration::from_millis(100);

/// The settings of a server with which what was accepted could be lost, and the isolation that is needed.
const DURABLE: &str = "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting <> 'on' ORDER BY name";

const CHECKSUMS: &str = "SELECT 1 FROM pg_settings WHERE name = 'data_checksums' AND setting = 'off'";

/// An open database of a server.
pub(crate) struct Postgres {
    url: PostgresUrl,
    idle: Mutex<Vec<Session>>,
    places: Arc<Semaphore>,
    clock: Option<Arc<ServerClock>>,
    _listener: listen::Listener,
}

/// How one try of a transaction ended.
enum Tried<T, E> {
    /// This is the outcome.
    Over(Result<T, E>),
    /// It has to be tried again, because of this.
    Again(DbError),
}

impl Postgres {
    /// Connects, brings the schema up to `schema`, and listens: `wake` is called when anybody made work.
    pub(crate) fn open(
        url: &PostgresUrl,
        schema: i64,
        clock: Option<Arc<ServerClock>>,
        wake: Box<dyn Fn() + Send>,
    ) -> Result<Arc<Postgres>, DbError> {
        let mut session = Session::open(url)?;
        migrate::postgres(&mut session, schema)?;
        let asked = Instant::now();
        let now = session.begin("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")?;
        session.batch("ROLLBACK")?;
        if let Some(clock) = &clock {
            clock.learn(now, asked);
        }
        let listener = listen::Listener::start(url.clone(), wake);
        Ok(Arc::new(Postgres {
            url: url.clone(),
            idle: Mutex::new(vec![session]),
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            clock,
            _listener: listener,
        }))
    }

    /// The right to use a connection, for callers who can wait without a thread.
    pub(crate) async fn place(&self) -> Result<OwnedSemaphorePermit, DbError> {
        self.places.clone().acquire_owned().await.map_err(|_| DbError::Closed)
    }

    /// Runs `work` in a transaction, again where others were in the way, until it is durable or fails.
    pub(crate) fn transact<T, E: From<DbError>>(
        &self,
        clock: &dyn Clock,
        source: &Source,
        work: &dyn Fn(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.again(source, |session| self.write(session, clock, source, work))
    }

    /// Runs `query` on a snapshot.
    pub(crate) fn read<T>(
        &self,
        clock: &dyn Clock,
        source: &Source,
        query: &dyn Fn(&mut Tx<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.again(source, |session| {
            let now = match self.begin(session, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", clock) {
                Ok(now) => now,
                Err(error) => return after_failure(error),
            };
            let mut tx = Tx::new(Conn::Postgres(session), now, source);
            let result = query(&mut tx);
            let fault = tx.fault.take();
            session.roll_back();
            match (result, fault) {
                // A closure that writes is refused by a server that is there.
                (_, Some(fault)) if fault == DbError::Busy || !session.is_usable() && fault.is_again() => {
                    Tried::Again(fault)
                }
                (result, _) => Tried::Over(result),
            }
        })
    }

    /// What could lose accepted work.
    pub(crate) fn check(&self) -> Result<Vec<String>, DbError> {
        let mut session = self.session()?;
        let found = session.query(DURABLE, &[])?;
        self.give_back(session);
        let line = |row: &tokio_postgres::Row| {
            let (name, setting): (String, String) = (row.get(0), row.get(1));
            format!(
                "the PostgreSQL server has {name} = {setting}: what was accepted may be lost with its power"
            )
        };
        Ok(found.iter().map(line).collect())
    }

    /// What the server does not notice.
    pub(crate) fn advice(&self) -> Result<Vec<String>, DbError> {
        let mut session = self.session()?;
        let found = session.query(CHECKSUMS, &[])?;
        self.give_back(session);
        let off = "the PostgreSQL server keeps no checksums of its pages (data_checksums = off): what the disk damages it may not notice";
        Ok(found.iter().map(|_| off.to_owned()).collect())
    }

    fn again<T, E: From<DbError>>(
        &self,
        source: &Source,
        mut attempt: impl FnMut(&mut Session) -> Tried<T, E>,
    ) -> Result<T, E> {
        let began = Instant::now();
        let mut tries = 0;
        loop {
            let tried = match self.session() {
                Ok(mut session) => {
                    let tried = attempt(&mut session);
                    self.give_back(session);
                    tried
                }
                Err(error) if error.is_again() => Tried::Again(error),
                Err(error) => Tried::Over(Err(error.into())),
            };
            let error = match tried {
                Tried::Over(result) => return result,
                Tried::Again(error) => error,
            };
            tries += 1;
            let is_called = matches!(error, DbError::Unreachable(_));
            let wait = if is_called { CALL_AGAIN } else { conflict_wait(tries, source.bits()) };
            // What a dead connection cost is no reason not to try a new one.
            let is_late = began.elapsed() + wait > AGAIN_FOR && !(is_called && tries == 1);
            if is_late || matches!(error, DbError::Duplicate(_)) && tries >= DUPLICATES_MAX {
                return Err(error.into());
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "a thread of its own, which has nothing to wait on"
            )]
            std::thread::sleep(wait);
        }
    }

    fn write<T, E: From<DbError>>(
        &self,
        session: &mut Session,
        clock: &dyn Clock,
        source: &Source,
        work: &dyn Fn(&mut Tx<'_>) -> Result<T, E>,
    ) -> Tried<T, E> {
        let now = match self.begin(session, "BEGIN ISOLATION LEVEL SERIALIZABLE", clock) {
            Ok(now) => now,
            Err(error) => return after_failure(error),
        };
        let mut tx = Tx::new(Conn::Postgres(session), now, source);
        let ran = catch_unwind(AssertUnwindSafe(|| work(&mut tx)));
        let (wake, fault) = (tx.wake, tx.fault.take());
        if let Some(fault) = &fault
            && (fault.is_again() || matches!(fault, DbError::Duplicate(_)))
        {
            session.roll_back();
            return Tried::Again(fault.clone());
        }
        let result = ran.unwrap_or_else(|_| Err(DbError::Panic.into()));
        // The server keeps nothing of a transaction in which a statement failed, whatever became of the error.
        let result = result.and_then(|value| fault.map_or(Ok(value), |fault| Err(fault.into())));
        let value = match result {
            Ok(value) => value,
            Err(error) => {
                session.roll_back();
                return Tried::Over(Err(error));
            }
        };
        match session.commit(wake) {
            Ok(()) => Tried::Over(Ok(value)),
            Err(DbError::Busy) => Tried::Again(DbError::Busy),
            Err(error) => Tried::Over(Err(error.into())),
        }
    }

    fn begin(&self, session: &mut Session, how: &str, clock: &dyn Clock) -> Result<Timestamp, DbError> {
        let asked = Instant::now();
        let now = session.begin(how)?;
        Ok(match &self.clock {
            Some(server) => {
                server.learn(now, asked);
                now
            }
            None => clock.now(),
        })
    }

    fn session(&self) -> Result<Session, DbError> {
        let pooled = self.idle().pop();
        match pooled {
            Some(session) => Ok(session),
            None => Session::open(&self.url),
        }
    }

    fn give_back(&self, session: Session) {
        let mut idle = self.idle();
        if session.is_usable() && idle.len() < IDLE_MAX {
            idle.push(session);
        } else if !session.is_usable() {
            // The others most likely broke with it, and do not know it yet: each would cost its next user a try.
            idle.clear();
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a transaction that could not begin means.
fn after_failure<T, E: From<DbError>>(error: DbError) -> Tried<T, E> {
    if error.is_again() { Tried::Again(error) } else { Tried::Over(Err(error.into())) }
}

/// A random part of a time that doubles with each try.
fn conflict_wait(tries: u32, bits: u128) -> Duration {
    let longest = Duration::from_millis(2 << tries.min(7)).min(CONFLICT_WAIT_MAX);
    let part = u32::try_from(bits & 0xffff).expect("sixteen bits");
    longest * part / 0xffff
}
