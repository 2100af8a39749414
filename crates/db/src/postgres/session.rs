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
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long one statement may take: a server that hangs must not hold the program.
const STATEMENT_MAX: Duration = Duration::from_secs(20);
/// What every session begins with. A transaction whose program froze ends by itself and stands in nobody's way; a
/// commit is answered once it is on the disk, whatever the server's own setting.
const SETTINGS: &str = "SET application_name = 'gristmill'; SET statement_timeout = '15s'; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '10s'; SET client_min_messages = 'warning'; SELECT set_config('synchronous_commit', 'on', false) FROM pg_settings WHERE name = 'synchronous_commit' AND setting IN ('off', 'local')";
/// The server's time of day. Not the transaction's: that stands still while a transaction waits.
const NOW: &str = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";
/// Tells all programs on the same database that there is work.
const NOTIFY: &str = "NOTIFY gristmill";

/// One connection to the server, with its prepared statements.
pub(crate) struct Session {
    /// Drives the connection, only while a call waits for it.
    runtime: Option<Runtime>,
    client: Client,
    statements: HashMap<String, Statement>,
    /// An answer did not come in time: what comes next on this connection may belong to another question.
    is_lost: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        // The plain drop waits, which is forbidden where a session may be dropped.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Session {
    pub(crate) fn open(url: &PostgresUrl) -> Result<Session, DbError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| DbError::Unreachable(error.to_string()))?;
        let connecting = async { tokio::time::timeout(CONNECT_MAX, url.connect()).await };
        let (client, connection) = runtime
            .block_on(connecting)
            .map_err(|_| DbError::Unreachable(format!("no answer within {} s", CONNECT_MAX.as_secs())))?
            .map_err(|error| error::of(&error))?;
        runtime.spawn(async move {
            // Its error is told to whoever waits for an answer.
            let _ = connection.await;
        });
        let mut session =
            Session { runtime: Some(runtime), client, statements: HashMap::new(), is_lost: false };
        session.batch(SETTINGS)?;
        Ok(session)
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
        if self.is_lost {
            return Err(DbError::Unreachable("the connection is lost".to_owned()));
        }
        let runtime = self.runtime.as_ref().expect("it is there until the session is dropped");
        let client = &self.client;
        let answered = runtime.block_on(async { tokio::time::timeout(STATEMENT_MAX, call(client)).await });
        match answered {
            Ok(answer) => answer.map_err(|error| error::of(&error)),
            Err(_) => {
                self.is_lost = true;
                Err(DbError::Unreachable(format!("no answer within {} s", STATEMENT_MAX.as_secs())))
            }
        }
    }

    /// Runs statements that have no parameters and no answer.
    pub(crate) fn batch(&mut self, sql: &str) -> Result<(), DbError> {
        self.wait(async |client| client.batch_execute(sql).await)
    }

    /// Begins a transaction; the server's time then. One trip to the server.
    pub(crate) fn begin(&mut self, how: &str) -> Result<Timestamp, DbError> {
        let now = self.prepare(NOW)?;
        self.wait(async |client| {
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
        committed.map_err(|error| match error {
            DbError::Unreachable(_) => {
                self.is_lost = true;
                DbError::Unsure
            }
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
