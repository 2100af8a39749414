//! [`Tx`]: one transaction, on either engine.

use gristmill_model::Timestamp;

use crate::error::DbError;
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

/// What a transaction runs on.
pub(crate) enum Conn<'c> {
    Sqlite(&'c rusqlite::Connection),
    Postgres(&'c mut postgres::Session),
}

/// One transaction. Everything in it becomes durable together, or not at all.
pub struct Tx<'c> {
    pub(crate) conn: Conn<'c>,
    pub(crate) now: Timestamp,
    pub(crate) random: &'c (dyn Fn() -> u128 + Send + Sync),
    pub(crate) wake: bool,
    /// The first statement that failed. PostgreSQL keeps nothing of such a transaction, whatever the closure makes of it.
    pub(crate) fault: Option<DbError>,
}

impl<'c> Tx<'c> {
    pub(crate) fn new(
        conn: Conn<'c>,
        now: Timestamp,
        random: &'c (dyn Fn() -> u128 + Send + Sync),
    ) -> Tx<'c> {
        Tx { conn, now, random, wake: false, fault: None }
    }
}

impl Tx<'_> {
    /// The moment the transaction began.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// 128 random bits.
    pub fn random(&self) -> u128 {
        (self.random)()
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
