//! [`DirectDb`]: a database that runs each transaction where it is called, for tests and the simulator.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gristmill_model::Clock;
use rusqlite::Connection;

use crate::error::DbError;
use crate::pool::Random;
use crate::postgres::{PostgresUrl, Session};
use crate::tx::{Conn, Source, Tx};
use crate::{migrate, sqlite};

/// A database on one connection, which runs each transaction where it is called: for tests and for the
/// simulator, which runs thousands of histories.
pub struct DirectDb {
    engine: Engine,
    clock: Arc<dyn Clock>,
    source: Source,
    woken: Cell<bool>,
}

enum Engine {
    Sqlite(Connection),
    Postgres(Box<RefCell<Session>>),
}

impl DirectDb {
    /// An empty database in memory with the newest schema.
    pub fn in_memory(clock: Arc<dyn Clock>, random: Random) -> Result<DirectDb, DbError> {
        let mut conn = Connection::open_in_memory()?;
        sqlite::keep_statements(&conn)?;
        migrate::sqlite(&mut conn, migrate::known())?;
        Ok(DirectDb {
            engine: Engine::Sqlite(conn),
            clock,
            source: Source::new(random),
            woken: Cell::new(false),
        })
    }

    /// A database of a PostgreSQL server, with the newest schema.
    pub fn on_postgres(
        url: &PostgresUrl,
        clock: Arc<dyn Clock>,
        random: Random,
    ) -> Result<DirectDb, DbError> {
        let mut session = Session::open(url)?;
        migrate::postgres(&mut session, migrate::known())?;
        Ok(DirectDb {
            engine: Engine::Postgres(Box::new(RefCell::new(session))),
            clock,
            source: Source::new(random),
            woken: Cell::new(false),
        })
    }

    /// Runs `work` in a transaction; an `Err` takes its writes back.
    pub fn transact<T, E: From<DbError>>(
        &self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (result, wake) = match &self.engine {
            Engine::Sqlite(conn) => self.on_sqlite(conn, work)?,
            Engine::Postgres(session) => self.on_session(&mut session.borrow_mut(), work)?,
        };
        self.woken.set(self.woken.get() || (wake && result.is_ok()));
        result
    }

    fn on_sqlite<T, E>(
        &self,
        conn: &Connection,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<(Result<T, E>, bool), DbError> {
        let batch = |sql: &str| Ok::<_, DbError>(conn.prepare_cached(sql)?.execute([]).map(drop)?);
        batch("BEGIN IMMEDIATE")?;
        let mut tx = Tx::new(Conn::Sqlite(conn), self.clock.now(), &self.source);
        let result = work(&mut tx);
        let wake = tx.wake;
        batch(if result.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
        Ok((result, wake))
    }

    fn on_session<T, E: From<DbError>>(
        &self,
        session: &mut Session,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<(Result<T, E>, bool), DbError> {
        session.batch("BEGIN ISOLATION LEVEL SERIALIZABLE")?;
        let mut tx = Tx::new(Conn::Postgres(session), self.clock.now(), &self.source);
        let result = work(&mut tx);
        let (wake, fault) = (tx.wake, tx.fault);
        // The server keeps nothing of a transaction in which a statement failed.
        let result = result.and_then(|value| fault.map_or(Ok(value), |fault| Err(fault.into())));
        session.batch(if result.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
        Ok((result, wake))
    }

    /// Whether a transaction made work for somebody since this was asked last.
    pub fn take_woken(&self) -> bool {
        self.woken.replace(false)
    }

    /// As a new process on the same database, which has made no id yet.
    pub fn forget_ids(&self) {
        self.source.forget();
    }

    /// Empties every table, which is much faster than a new database.
    pub fn clear(&self) -> Result<(), DbError> {
        let Engine::Sqlite(conn) = &self.engine else { return Err(only_sqlite("clear")) };
        let mut tables = conn.prepare_cached("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
        let names: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for name in names.iter().filter(|name| !matches!(name.as_str(), "counter" | "schema")) {
            conn.execute_batch(&format!("DELETE FROM {name}"))?;
        }
        self.source.forget();
        Ok(conn.execute_batch("UPDATE counter SET value = 0")?)
    }

    /// [`DirectDb::transact`], and how many steps SQLite's machine took: what it costs, on any computer.
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
        let Engine::Sqlite(conn) = &mut self.engine else { return Err(only_sqlite("cost").into()) };
        conn.progress_handler(1, Some(count)).map_err(DbError::from)?;
        let result = self.transact(work);
        let Engine::Sqlite(conn) = &mut self.engine else { return Err(only_sqlite("cost").into()) };
        conn.progress_handler(0, None::<fn() -> bool>).map_err(DbError::from)?;
        Ok((result?, steps.load(Ordering::Relaxed)))
    }

    /// Compiles a statement, to see that it can be.
    pub fn prepare(&self, sql: &'static str) -> Result<(), DbError> {
        match &self.engine {
            Engine::Sqlite(conn) => conn.prepare(sql).map(drop).map_err(DbError::from),
            Engine::Postgres(session) => session.borrow_mut().prepare(sql).map(drop),
        }
    }
}

fn only_sqlite(what: &str) -> DbError {
    DbError::Sql(format!("`{what}` is for SQLite only"))
}
