//! [`Session`]: one connection, used by one thread at a time.

use std::collections::HashMap;
use std::time::Duration;

use gristmill_model::Timestamp;
use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::error;
use super::url::PostgresUrl;
use crate::error::DbError;
use crate::value::Param;

/// How long connecting may take, with TLS and authentication.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How long the beginning of a transaction may take. A connection that is dead without having said so is found out
/// here, where trying another one costs nothing.
const BEGIN_MAX: Duration = Duration::from_secs(2);
/// How long one statement may take: a server that hangs must not hold the program. More than the server allows it.
const STATEMENT_MAX: Duration = Duration::from_secs(12);
/// How long a step of a migration may take.
const MIGRATION_MAX: Duration = Duration::from_secs(3600);
/// What every session begins with. A transaction whose program froze ends by itself and stands in nobody's way; a
/// commit is answered once it is on the disk, whatever the server's own setting.
const SETTINGS: &str = "SET application_name = 'gristmill'; SET statement_timeout = '10s'; SET lock_timeout = '4s'; SET idle_in_transaction_session_timeout = '5s'; SET client_min_messages = 'warning'; SELECT set_config('synchronous_commit', 'on', false) FROM pg_settings WHERE name = 'synchronous_commit' AND setting IN ('off', 'local')";
/// The server's time of day. Not the transaction's: that stands still while a transaction waits.
const NOW: &str = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";
const ENCODING: &str = "SHOW server_encoding";
/// Tells all programs on the same database that there is work.
const NOTIFY: &str = "NOTIFY gristmill";

/// One connection to the server, with its prepared statements.
pub(crate) struct Session {
    /// Drives the connection, only while a call waits for it.
    runtime: Driver,
    client: Client,
    /// How long one statement may take.
    patience: Duration,
    statements: HashMap<String, Statement>,
    /// An answer did not come in time: what comes next on this connection may belong to another question.
    is_lost: bool,
}

/// A runtime that ends without being waited for: the plain drop waits, for a name that nobody looks up any more too,
/// and is forbidden where a session may be dropped.
struct Driver(Option<Runtime>);

impl Driver {
    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Session {
    pub(crate) fn open(url: &PostgresUrl) -> Result<Session, DbError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = Driver(Some(runtime.map_err(|error| DbError::Unreachable(error.to_string()))?));
        let connecting = async { tokio::time::timeout(CONNECT_MAX, url.connect()).await };
        let connected = runtime
            .runtime()
            .block_on(connecting)
            .map_err(|_| DbError::Unreachable(format!("no answer within {} s", CONNECT_MAX.as_secs())))?;
        let (client, connection) = connected.map_err(|error| error::of(&error))?;
        runtime.runtime().spawn(async move {
            // Its error is told to whoever waits for an answer.
            let _ = connection.await;
        });
        let (statements, is_lost) = (HashMap::new(), false);
        let mut session = Session { runtime, client, patience: STATEMENT_MAX, statements, is_lost };
        session.batch(SETTINGS)?;
        session.check_encoding()?;
        Ok(session)
    }

    /// Texts are Unicode, and some databases take only a part of it.
    fn check_encoding(&mut self) -> Result<(), DbError> {
        let rows = self.query(ENCODING, &[])?;
        let encoding: String = rows.first().map_or_else(String::new, |row| row.get(0));
        if encoding == "UTF8" {
            return Ok(());
        }
        Err(DbError::Refused(format!(
            "the database has the encoding {encoding}, and UTF8 is needed: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )))
    }

    /// For a migration: it may take as long as it takes, and wait for whoever is at it.
    pub(crate) fn begin_migration(&mut self) -> Result<(), DbError> {
        self.patience = MIGRATION_MAX;
        // The lock comes first, and what was done meanwhile must be seen after it.
        self.batch("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
    }

    /// The end of a migration.
    pub(crate) fn end_migration(&mut self, keep: bool) -> Result<(), DbError> {
        let ended = self.batch(if keep { "COMMIT" } else { "ROLLBACK" });
        self.patience = STATEMENT_MAX;
        ended
    }

    /// Whether another transaction may begin on it.
    pub(crate) fn is_usable(&self) -> bool {
        !self.is_lost && !self.client.is_closed()
    }

    /// Waits for answers, bounded in time.
    fn wait<T>(
        &mut self,
        call: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, DbError> {
        self.wait_for(self.patience, call)
    }

    fn wait_for<T>(
        &mut self,
        patience: Duration,
        call: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, DbError> {
        if self.is_lost {
            return Err(DbError::Unreachable("the connection is lost".to_owned()));
        }
        let client = &self.client;
        let answering = async { tokio::time::timeout(patience, call(client)).await };
        match self.runtime.runtime().block_on(answering) {
            Ok(answer) => answer.map_err(|error| error::of(&error)),
            Err(_) => {
                self.is_lost = true;
                Err(DbError::Unreachable(format!("no answer within {} s", patience.as_secs())))
            }
        }
    }

    /// Runs statements that have no parameters and no answer.
    pub(crate) fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        self.wait(async |client| client.batch_execute(sql).await)
    }

    /// Begins a transaction; the server's time then. One trip to the server.
    pub(crate) fn begin(&mut self, how: &str) -> Result<Timestamp, DbError> {
        let begun = self.try_begin(how);
        // Half begun, the next one could not begin.
        self.is_lost |= begun.is_err();
        begun
    }

    fn try_begin(&mut self, how: &str) -> Result<Timestamp, DbError> {
        let now = self.prepare(NOW)?;
        self.wait_for(BEGIN_MAX, async |client| {
            let (begun, row) = tokio::join!(client.batch_execute(how), client.query_one(&now, &[]));
            begun?;
            row?.try_get(0).map(Timestamp)
        })
    }

    /// Makes a transaction durable; with `wake`, others are told of it.
    ///
    /// # Errors
    /// [`DbError::Busy`] where it has to be run again; [`DbError::Unsure`] where the connection broke meanwhile.
    pub(crate) fn commit(&mut self, wake: bool) -> Result<(), DbError> {
        let committed = self.wait(async |client| {
            if !wake {
                return client.batch_execute("COMMIT").await;
            }
            // One trip; where the first failed, the second takes everything back, and says so by the first's error.
            let (told, committed) =
                tokio::join!(client.batch_execute(NOTIFY), client.batch_execute("COMMIT"));
            told.and(committed)
        });
        // Only a transaction that was put out of order is surely over.
        self.is_lost |= !matches!(committed, Ok(()) | Err(DbError::Busy));
        committed.map_err(|error| match error {
            DbError::Unreachable(_) => DbError::Unsure,
            error => error,
        })
    }

    /// Takes a transaction back. Where that fails the connection is of no more use, and the server does it.
    pub(crate) fn roll_back(&mut self) {
        if self.batch("ROLLBACK").is_err() {
            self.is_lost = true;
        }
    }

    /// The statement, prepared once in this session.
    pub(crate) fn prepare(&mut self, sql: &str) -> Result<Statement, DbError> {
        if let Some(known) = self.statements.get(sql) {
            return Ok(known.clone());
        }
        let statement = self.wait(async |client| client.prepare(sql).await)?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Runs a statement; the number of rows it changed.
    pub(crate) fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<usize, DbError> {
        let statement = self.prepare(sql)?;
        let params = bound(&statement, params);
        let changed = self.wait(async |client| client.execute(&statement, &params).await)?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    /// Runs a query; all its rows.
    pub(crate) fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, DbError> {
        let statement = self.prepare(sql)?;
        let params = bound(&statement, params);
        self.wait(async |client| client.query(&statement, &params).await)
    }
}

/// As many parameters as the statement has.
fn bound<'p>(statement: &Statement, params: &'p [Param<'_>]) -> Vec<&'p (dyn ToSql + Sync)> {
    params[..statement.params().len()].iter().map(|param| param as &(dyn ToSql + Sync)).collect()
}
