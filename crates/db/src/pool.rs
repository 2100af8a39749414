//! [`Db`]: the open database. One thread writes, with group commit; a few connections read.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gristmill_model::Clock;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::error::DbError;
use crate::migrate;
use crate::tx::Tx;

/// How long a transaction waits for another process (the command line) that writes.
const BUSY: Duration = Duration::from_secs(10);
/// Transactions that wait for the writer; beyond it, callers wait to be let in.
const QUEUE_MAX: usize = 1024;
/// The most transactions that share one sync of the disk: bounds how long the first waits for the last.
const GROUP_MAX: usize = 256;
/// Connections that read.
const READERS_MAX: usize = 4;
/// Statements each connection keeps prepared: more than there are in the program.
const STATEMENTS_MAX: usize = 256;

/// Where random bits come from; seeded in tests and in the simulator.
pub type Random = Arc<dyn Fn() -> u128 + Send + Sync>;

/// A transaction on its way to the writer; given an error instead of a transaction, it only passes it on.
type Work = Box<dyn FnOnce(Result<&mut Tx<'_>, DbError>) -> Ran + Send>;

/// What became of the closure, and how to tell its caller once its transaction's fate is known.
struct Ran {
    keep: bool,
    reply: Box<dyn FnOnce(Result<(), DbError>) + Send>,
}

struct Inner {
    work: mpsc::Sender<Work>,
    readers: Mutex<Vec<Connection>>,
    watcher: Mutex<Option<Connection>>,
    path: std::path::PathBuf,
    clock: Arc<dyn Clock>,
    random: Random,
    wake: Notify,
}

/// The open database; clones share it.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

impl Db {
    /// Opens (or makes) the SQLite database at `path`, brings its schema up to date and starts the
    /// thread that writes.
    pub fn open(path: &Path, clock: Arc<dyn Clock>, random: Random) -> Result<Db, DbError> {
        let mut writer = connect(path)?;
        migrate::run(&mut writer)?;
        sync_folder(path);
        let (work, queue) = mpsc::channel(QUEUE_MAX);
        let db = Db(Arc::new(Inner {
            work,
            readers: Mutex::new(Vec::new()),
            watcher: Mutex::new(None),
            path: path.to_owned(),
            clock: clock.clone(),
            random: random.clone(),
            wake: Notify::new(),
        }));
        let weak = Arc::downgrade(&db.0);
        let wake = move || {
            if let Some(inner) = weak.upgrade() {
                inner.wake.notify_waiters();
                inner.wake.notify_one();
            }
        };
        std::thread::Builder::new()
            .name("database".to_owned())
            .spawn(move || Writer { conn: writer, clock, random, wake: Box::new(wake) }.run(queue))
            .expect("the system can start a thread");
        Ok(db)
    }

    /// The clock the database was opened with.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// 128 random bits from the database's source.
    pub fn random(&self) -> u128 {
        (self.0.random)()
    }

    /// Runs `work` in a transaction and returns when what it wrote is on the disk. An `Err` of the
    /// closure takes its writes back. Transactions that wait at the same time share one sync.
    pub async fn transact<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let (work, answer) = package(work);
        self.0.work.send(work).await.map_err(|_| DbError::Closed)?;
        answer.await.map_err(|_| DbError::Closed)?
    }

    /// [`Db::transact`] for threads outside the async runtime.
    pub fn transact_blocking<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let (work, answer) = package(work);
        self.0.work.blocking_send(work).map_err(|_| DbError::Closed)?;
        answer.blocking_recv().map_err(|_| DbError::Closed)?
    }

    /// Runs a query on a snapshot, beside the writer.
    pub async fn read<T, F>(&self, query: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T, DbError> + Send + 'static,
    {
        let db = self.clone();
        tokio::task::spawn_blocking(move || db.read_blocking(query)).await.map_err(|_| DbError::Panic)?
    }

    /// [`Db::read`] for threads outside the async runtime.
    pub fn read_blocking<T>(
        &self,
        query: impl FnOnce(&mut Tx<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let pooled = self.readers().pop();
        let conn = match pooled {
            Some(conn) => conn,
            None => {
                let conn = connect(&self.0.path)?;
                conn.pragma_update(None, "query_only", true)?;
                conn
            }
        };
        conn.execute_batch("BEGIN")?;
        let mut tx = Tx { conn: &conn, now: self.0.clock.now(), random: &*self.0.random, wake: false };
        let result = query(&mut tx);
        conn.execute_batch("ROLLBACK")?;
        let mut readers = self.readers();
        if readers.len() < READERS_MAX {
            readers.push(conn);
        }
        result
    }

    fn readers(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.0.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns after a transaction of this process made work for somebody.
    pub async fn work_arrived(&self) {
        self.0.wake.notified().await;
    }

    /// Wakes whoever waits in [`Db::work_arrived`]; for changes made by other processes.
    pub fn wake(&self) {
        self.0.wake.notify_waiters();
        self.0.wake.notify_one();
    }

    /// A number that changes when anybody commits, this process or another one.
    pub fn data_version(&self) -> Result<i64, DbError> {
        // Each connection counts for itself: it must be the same one each time.
        let mut watcher = self.0.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let conn = match watcher.take() {
            Some(conn) => conn,
            None => connect(&self.0.path)?,
        };
        Ok(watcher.insert(conn).pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    /// Whether the file is intact, as SQLite sees it; the faults, if any.
    pub fn check(&self) -> Result<Vec<String>, DbError> {
        let conn = connect(&self.0.path)?;
        let mut statement = conn.prepare("PRAGMA integrity_check(20)")?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        let lines: Vec<String> = rows.collect::<Result<_, _>>()?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }
}

fn package<T, E, F>(work: F) -> (Work, oneshot::Receiver<Result<T, E>>)
where
    T: Send + 'static,
    E: From<DbError> + Send + 'static,
    F: FnOnce(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let run = move |tx: Result<&mut Tx<'_>, DbError>| {
        let result = match tx {
            Err(error) => Err(error.into()),
            // A panic in one transaction must not take the writer down with it.
            Ok(tx) => {
                catch_unwind(AssertUnwindSafe(|| work(tx))).unwrap_or_else(|_| Err(DbError::Panic.into()))
            }
        };
        let keep = result.is_ok();
        let reply = move |fate: Result<(), DbError>| {
            // A caller that no longer waits has gone on its own account.
            let _ = reply.send(result.and_then(|value| fate.map(|()| value).map_err(E::from)));
        };
        Ran { keep, reply: Box::new(reply) }
    };
    (Box::new(run), answer)
}

struct Writer {
    conn: Connection,
    clock: Arc<dyn Clock>,
    random: Random,
    wake: Box<dyn Fn() + Send>,
}

impl Writer {
    fn run(self, mut queue: mpsc::Receiver<Work>) {
        while let Some(first) = queue.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP_MAX
                && let Ok(next) = queue.try_recv()
            {
                group.push(next);
            }
            self.commit(group);
        }
    }

    /// Runs the group in one transaction, each member in a savepoint of its own, so that one that
    /// fails takes only its own writes back.
    fn commit(&self, group: Vec<Work>) {
        let mut wake = false;
        let mut ran = Vec::with_capacity(group.len());
        let begun = self.batch("BEGIN IMMEDIATE");
        for work in group {
            ran.push(match &begun {
                Ok(()) => self.one(work, &mut wake),
                Err(error) => work(Err(error.clone())),
            });
        }
        let fate = begun
            .and_then(|()| if self.conn.is_autocommit() { Err(DbError::Full) } else { self.batch("COMMIT") });
        if !self.conn.is_autocommit() {
            // The rollback of a failed commit can itself fail only where SQLite has rolled back already.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
        match &fate {
            Ok(()) if wake => (self.wake)(),
            Ok(()) => {}
            Err(error) => {
                tracing::error!(%error, transactions = ran.len(), "a group of transactions was taken back");
            }
        }
        for one in ran {
            (one.reply)(fate.clone());
        }
    }

    fn one(&self, work: Work, wake: &mut bool) -> Ran {
        // A full disk can end the whole transaction. A savepoint would then begin one of its own, and
        // keep what belongs to a group that is taken back.
        if self.conn.is_autocommit() {
            return work(Err(DbError::Full));
        }
        if let Err(error) = self.batch("SAVEPOINT one") {
            return work(Err(error));
        }
        let mut tx = Tx { conn: &self.conn, now: self.clock.now(), random: &*self.random, wake: false };
        let ran = work(Ok(&mut tx));
        *wake |= tx.wake && ran.keep;
        let ended =
            if ran.keep { self.batch("RELEASE one") } else { self.batch("ROLLBACK TO one; RELEASE one") };
        if let Err(error) = ended {
            tracing::debug!(%error, "a savepoint ended with its transaction");
        }
        ran
    }

    fn batch(&self, sql: &str) -> Result<(), DbError> {
        if sql.contains(';') {
            return Ok(self.conn.execute_batch(sql)?);
        }
        Ok(self.conn.prepare_cached(sql)?.execute([]).map(drop)?)
    }
}

fn connect(path: &Path) -> Result<Connection, DbError> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(BUSY)?;
    // FULL: a commit returns after the write-ahead log is synced. NORMAL could lose what was acknowledged.
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8000;")?;
    keep_statements(&conn)?;
    Ok(conn)
}

/// Statements are compiled once. Without the "stability guarantee" SQLite compiles a statement again
/// whenever a parameter changes that might choose another partial index: most of the CPU of this crate.
fn keep_statements(conn: &Connection) -> Result<(), DbError> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(())
}

/// Makes the database's own name durable: SQLite syncs the folder for its log, not for itself.
fn sync_folder(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(error) = std::fs::File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::warn!(%error, "the database's folder cannot be synced");
    }
}

/// A database in memory that runs each transaction where it is called: for tests and for the
/// simulator, which runs thousands of histories.
pub struct MemoryDb {
    conn: Connection,
    clock: Arc<dyn Clock>,
    random: Random,
    woken: Cell<bool>,
}

impl MemoryDb {
    /// An empty database with the newest schema.
    pub fn new(clock: Arc<dyn Clock>, random: Random) -> Result<MemoryDb, DbError> {
        let mut conn = Connection::open_in_memory()?;
        keep_statements(&conn)?;
        migrate::run(&mut conn)?;
        Ok(MemoryDb { conn, clock, random, woken: Cell::new(false) })
    }

    /// Runs `work` in a transaction; an `Err` takes its writes back.
    pub fn transact<T, E: From<DbError>>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.batch("BEGIN IMMEDIATE")?;
        let mut tx = Tx { conn: &self.conn, now: self.clock.now(), random: &*self.random, wake: false };
        let result = work(&mut tx);
        self.woken.set(self.woken.get() || (tx.wake && result.is_ok()));
        self.batch(if result.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
        result
    }

    fn batch(&self, sql: &str) -> Result<(), DbError> {
        Ok(self.conn.prepare_cached(sql)?.execute([]).map(drop)?)
    }

    /// Whether a transaction made work for somebody since this was asked last.
    pub fn take_woken(&self) -> bool {
        self.woken.replace(false)
    }

    /// Empties every table, which is much faster than a new database.
    pub fn clear(&self) -> Result<(), DbError> {
        let mut tables = self.conn.prepare_cached("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
        let names: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for name in names.iter().filter(|name| !matches!(name.as_str(), "counter" | "schema")) {
            self.conn.execute_batch(&format!("DELETE FROM {name}"))?;
        }
        Ok(self.conn.execute_batch("UPDATE counter SET value = 0")?)
    }

    /// [`MemoryDb::transact`], and how many steps SQLite's machine took: what it costs, on any computer.
    pub fn cost<T, E: From<DbError>>(
        &mut self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<(T, u64), E> {
        let steps = Arc::new(AtomicU64::new(0));
        let counter = steps.clone();
        let count = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            false
        };
        self.conn.progress_handler(1, Some(count)).map_err(DbError::from)?;
        let result = self.transact(work);
        self.conn.progress_handler(0, None::<fn() -> bool>).map_err(DbError::from)?;
        Ok((result?, steps.load(Ordering::Relaxed)))
    }

    /// Compiles a statement, to see that it can be.
    pub fn prepare(&self, sql: &str) -> Result<(), DbError> {
        self.conn.prepare(sql).map(drop).map_err(DbError::from)
    }
}
