//! [`Tx`]: one transaction, on either engine.

use std::sync::atomic::{AtomicI64, Ordering};

use gristmill_model::Timestamp;

use crate::error::DbError;
use crate::pool::Random;
use crate::value::{FromColumn, Param, Value};
use crate::{postgres, sqlite};

/// One row of an answer.
pub struct Row<'r, 's>(Columns<'r, 's>);

enum Columns<'r, 's> {
    Sqlite(&'r rusqlite::Row<'s>),
    Postgres(&'r tokio_postgres::Row),
}

impl Row<'_, '_> {
    /// The column at `index`.
    pub fn get<T: FromColumn>(&self, index: usize) -> Result<T, DbError> {
        T::from_column(self.value(index)?).map_err(|fault| DbError::Row { column: index, fault })
    }
}

impl<'r> Row<'r, '_> {
    /// The column at `index`, whatever it holds.
    pub(crate) fn value(&self, index: usize) -> Result<Value<'r>, DbError> {
        match self.0 {
            Columns::Sqlite(row) => Ok(sqlite::value(row.get_ref(index)?)),
            Columns::Postgres(row) => row.try_get(index).map_err(|error| postgres::error::of(&error)),
        }
    }
}

/// Where ids get what is in them: moments and random bits.
pub(crate) struct Source {
    random: Random,
    newest: AtomicI64,
}

impl Source {
    pub(crate) fn new(random: Random) -> Source {
        Source { random, newest: AtomicI64::new(0) }
    }

    pub(crate) fn bits(&self) -> u128 {
        (self.random)()
    }

    /// As if no id had been made yet.
    pub(crate) fn forget(&self) {
        self.newest.store(0, Ordering::Relaxed);
    }

    fn id_time(&self, now: Timestamp) -> Timestamp {
        let next = |newest: i64| if now.0 >= newest { now.0 } else { newest + 1 };
        let before =
            self.newest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |newest| Some(next(newest)));
        Timestamp(next(before.unwrap_or(0)))
    }

    fn newest_id(&self, least: Timestamp) -> Timestamp {
        Timestamp(self.newest.fetch_max(least.0, Ordering::Relaxed).max(least.0))
    }
}

/// What a transaction runs on.
pub(crate) enum Conn<'c> {
    Sqlite(&'c rusqlite::Connection),
    Postgres(&'c mut postgres::Session),
}

/// One transaction. Everything in it becomes durable together, or not at all.
pub struct Tx<'c> {
    pub(crate) conn: Conn<'c>,
    pub(crate) now: Timestamp,
    source: &'c Source,
    pub(crate) wake: bool,
    /// The first statement that failed. PostgreSQL keeps nothing of such a transaction, whatever the closure makes of it.
    pub(crate) fault: Option<DbError>,
}

impl<'c> Tx<'c> {
    pub(crate) fn new(conn: Conn<'c>, now: Timestamp, source: &'c Source) -> Tx<'c> {
        Tx { conn, now, source, wake: false, fault: None }
    }
}

impl Tx<'_> {
    /// The moment the transaction began.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// 128 random bits.
    pub fn random(&self) -> u128 {
        self.source.bits()
    }

    /// The moment for an id: [`Tx::now`], unless the clock was set back. Ids say what is newer than what.
    pub fn id_time(&self) -> Timestamp {
        self.source.id_time(self.now)
    }

    /// No id from now on is older than this; the newest one's moment.
    pub(crate) fn newest_id(&self, least: Timestamp) -> Timestamp {
        self.source.newest_id(least)
    }

    /// After this transaction somebody may have work: idle workers are woken when it is durable.
    pub fn wake_workers(&mut self) {
        self.wake = true;
    }

    /// Runs a statement; the number of rows it changed.
    pub fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<usize, DbError> {
        self.execute_made(sql, params)
    }

    /// [`Tx::execute`] for a statement that is put together from names of the database's own catalogue.
    pub(crate) fn execute_made(&mut self, sql: &str, params: &[Param<'_>]) -> Result<usize, DbError> {
        let ran = match &mut self.conn {
            Conn::Sqlite(conn) => sqlite::execute(conn, sql, params),
            Conn::Postgres(session) => session.execute(sql, params),
        };
        self.noted(ran)
    }

    /// Runs a query; every row through `read`.
    pub fn query<T>(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
        read: impl FnMut(&Row<'_, '_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        self.query_made(sql, params, read)
    }

    /// [`Tx::query`] for a statement that is put together from names of the database's own catalogue.
    pub(crate) fn query_made<T>(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        mut read: impl FnMut(&Row<'_, '_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        let found = match &mut self.conn {
            Conn::Sqlite(conn) => sqlite::query(conn, sql, params, |row| read(&Row(Columns::Sqlite(row)))),
            Conn::Postgres(session) => session
                .query(sql, params)
                .and_then(|rows| rows.iter().map(|row| read(&Row(Columns::Postgres(row)))).collect()),
        };
        self.noted(found)
    }

    /// Runs a query for at most one row.
    pub fn query_one<T>(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
        read: impl FnMut(&Row<'_, '_>) -> Result<T, DbError>,
    ) -> Result<Option<T>, DbError> {
        Ok(self.query(sql, params, read)?.into_iter().next())
    }

    /// Whether the rows are a server's.
    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.conn, Conn::Postgres(_))
    }

    /// Runs statements that have no parameters and no answer, on PostgreSQL.
    pub(crate) fn batch_on_postgres(&mut self, sql: &str) -> Result<(), DbError> {
        let ran = match &mut self.conn {
            Conn::Sqlite(_) => Ok(()),
            Conn::Postgres(session) => session.batch(sql),
        };
        self.noted(ran)
    }

    fn noted<T>(&mut self, outcome: Result<T, DbError>) -> Result<T, DbError> {
        if let Err(error) = &outcome {
            self.fault.get_or_insert_with(|| error.clone());
        }
        outcome
    }
}
