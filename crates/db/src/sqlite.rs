//! The SQLite engine: one thread writes, with group commit; a few connections read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gristmill_model::Clock;
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement};
use tokio::sync::{mpsc, oneshot};

use crate::error::DbError;
use crate::migrate;
use crate::tx::{Conn, Source, Tx};
use crate::value::{Param, Value};

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

/// What decides what readers see.
const SHOWN: [&str; 13] = [
    "event",
    "project",
    "project_spec",
    "ref_head",
    "run",
    "job",
    "step",
    "pin",
    "blob",
    "step_blob",
    "artifact",
    "publication",
    "setting",
];

/// A transaction on its way to the writer; given an error instead of a transaction, it only passes it on.
pub(crate) type Work = Box<dyn FnOnce(Result<&mut Tx<'_>, DbError>) -> Ran + Send>;

/// What became of the closure, and how to tell its caller once its transaction's fate is known.
pub(crate) struct Ran {
    keep: bool,
    reply: Box<dyn FnOnce(Result<(), DbError>) + Send>,
}

/// An open file.
pub(crate) struct Sqlite {
    pub(crate) work: mpsc::Sender<Work>,
    readers: Mutex<Vec<Connection>>,
    watcher: Mutex<Option<Connection>>,
    path: PathBuf,
}

impl Sqlite {
    /// Opens (or makes) the file, brings its schema up to date and starts the thread that writes, which calls
    /// `wake` after each transaction that made work for somebody. Up to date is schema `schema`.
    pub(crate) fn open(
        path: &Path,
        schema: i64,
        clock: Arc<dyn Clock>,
        source: Arc<Source>,
        wake: Box<dyn Fn() + Send>,
    ) -> Result<Sqlite, DbError> {
        let mut writer = connect(path)?;
        migrate::sqlite(&mut writer, schema)?;
        sync_folder(path);
        let (work, queue) = mpsc::channel(QUEUE_MAX);
        std::thread::Builder::new()
            .name("database".to_owned())
            .spawn(move || Writer { conn: writer, clock, source, wake }.run(queue))
            .expect("the system can start a thread");
        Ok(Sqlite { work, readers: Mutex::default(), watcher: Mutex::default(), path: path.to_owned() })
    }

    pub(crate) fn read<T>(
        &self,
        clock: &dyn Clock,
        source: &Source,
        query: impl FnOnce(&mut Tx<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let pooled = self.readers().pop();
        let conn = match pooled {
            Some(conn) => conn,
            None => {
                let conn = connect(&self.path)?;
                conn.pragma_update(None, "query_only", true)?;
                conn
            }
        };
        conn.execute_batch("BEGIN")?;
        let result = query(&mut Tx::new(Conn::Sqlite(&conn), clock.now(), source));
        conn.execute_batch("ROLLBACK")?;
        let mut readers = self.readers();
        if readers.len() < READERS_MAX {
            readers.push(conn);
        }
        result
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that changes when anybody commits, this process or another one.
    pub(crate) fn data_version(&self) -> Result<i64, DbError> {
        // Each connection counts for itself: it must be the same one each time.
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let conn = match watcher.take() {
            Some(conn) => conn,
            None => connect(&self.path)?,
        };
        Ok(watcher.insert(conn).pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    /// The faults of the file, as SQLite sees them.
    pub(crate) fn check(&self) -> Result<Vec<String>, DbError> {
        faults(&connect(&self.path)?, "PRAGMA integrity_check(20)")
    }

    /// The same for the tables, with their indexes, that decide what readers see: what was received is most of the file,
    /// and leads to nothing but looks.
    pub(crate) fn check_shown(&self) -> Result<Vec<String>, DbError> {
        let conn = connect(&self.path)?;
        let mut found = Vec::new();
        for table in SHOWN {
            found.extend(faults(&conn, &format!("PRAGMA integrity_check({table})"))?);
        }
        Ok(found)
    }
}

/// Makes a closure ready for the writer, with the way its outcome comes back.
pub(crate) fn package<T, E, F>(work: F) -> (Work, oneshot::Receiver<Result<T, E>>)
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
    source: Arc<Source>,
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
        let mut tx = Tx::new(Conn::Sqlite(&self.conn), self.clock.now(), &self.source);
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

fn faults(conn: &Connection, sql: &str) -> Result<Vec<String>, DbError> {
    let mut statement = conn.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let lines: Vec<String> = rows.collect::<Result<_, _>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

fn connect(path: &Path) -> Result<Connection, DbError> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(BUSY)?;
    // FULL: a commit returns after the write-ahead log is synced. NORMAL could lose what was acknowledged.
    conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -8000; PRAGMA cell_size_check = ON;")?;
    keep_statements(&conn)?;
    Ok(conn)
}

/// Statements are compiled once. Without the "stability guarantee" SQLite compiles a statement again
/// whenever a parameter changes that might choose another partial index: most of the CPU of this crate.
pub(crate) fn keep_statements(conn: &Connection) -> Result<(), DbError> {
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

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Param::Null => ValueRef::Null,
            Param::Int(value) => ValueRef::Integer(*value),
            Param::Bool(value) => ValueRef::Integer(i64::from(*value)),
            Param::Text(value) => ValueRef::Text(value.as_bytes()),
            Param::Bytes(value) => ValueRef::Blob(value),
        }))
    }
}

/// A column as it stands in the file.
pub(crate) fn value(column: ValueRef<'_>) -> Value<'_> {
    match column {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(_) => Value::Other("a fraction"),
        ValueRef::Text(text) => {
            std::str::from_utf8(text).map_or(Value::Other("text that is not UTF-8"), Value::Text)
        }
        ValueRef::Blob(bytes) => Value::Bytes(bytes),
    }
}

/// Runs a statement; the number of rows it changed.
pub(crate) fn execute(conn: &Connection, sql: &str, params: &[Param<'_>]) -> Result<usize, DbError> {
    let mut statement = conn.prepare_cached(sql)?;
    bind(&mut statement, params)?;
    Ok(statement.raw_execute()?)
}

/// Runs a query; every row through `read`.
pub(crate) fn query<T>(
    conn: &Connection,
    sql: &str,
    params: &[Param<'_>],
    mut read: impl FnMut(&rusqlite::Row<'_>) -> Result<T, DbError>,
) -> Result<Vec<T>, DbError> {
    let mut statement = conn.prepare_cached(sql)?;
    bind(&mut statement, params)?;
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// Binds `$n` by its number: SQLite itself would number the names in the order it meets them.
fn bind(statement: &mut Statement<'_>, params: &[Param<'_>]) -> Result<(), DbError> {
    for index in 1..=statement.parameter_count() {
        let number = statement.parameter_name(index).and_then(|name| name.strip_prefix('$')?.parse().ok());
        let position: usize = number.expect("statements number their parameters: $1, $2, …");
        statement.raw_bind_parameter(index, &params[position - 1])?;
    }
    Ok(())
}
