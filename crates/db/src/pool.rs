//! [`Db`]: the open database, on SQLite or PostgreSQL.

use std::path::Path;
use std::sync::Arc;

use gristmill_model::Clock;
use tokio::sync::Notify;

use crate::error::DbError;
use crate::migrate;
use crate::postgres::{Postgres, PostgresUrl, ServerClock};
use crate::sqlite::{self, Sqlite};
use crate::tx::{Source, Tx};
use crate::verify;

/// Where random bits come from; seeded in tests and in the simulator.
pub type Random = Arc<dyn Fn() -> u128 + Send + Sync>;

struct Inner {
    engine: Engine,
    clock: Arc<dyn Clock>,
    source: Arc<Source>,
    wake: Arc<Notify>,
}

enum Engine {
    Sqlite(Sqlite),
    Postgres(Arc<Postgres>),
}

/// The open database; clones share it.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

impl Db {
    /// Opens (or makes) the SQLite database at `path`, brings its schema up to date and starts the
    /// thread that writes.
    pub fn open(path: &Path, clock: Arc<dyn Clock>, random: Random) -> Result<Db, DbError> {
        Db::open_at(path, migrate::known(), clock, random)
    }

    /// [`Db::open`], which brings the schema only up to `schema`: for rows of an older one.
    pub fn open_at(path: &Path, schema: i64, clock: Arc<dyn Clock>, random: Random) -> Result<Db, DbError> {
        let wake = Arc::new(Notify::new());
        let waking = wake.clone();
        let source = Arc::new(Source::new(random));
        let sqlite =
            Sqlite::open(path, schema, clock.clone(), source.clone(), Box::new(move || notify(&waking)))?;
        Ok(Db(Arc::new(Inner { engine: Engine::Sqlite(sqlite), clock, source, wake })))
    }

    /// Connects to a database of a PostgreSQL server and brings its schema up to date. Times are the server's,
    /// so that programs on several machines agree on them; `clock` only fills the moment until its first
    /// answer. Blocks.
    ///
    /// # Errors
    /// [`DbError::Unreachable`] where the server does not answer or does not let us in.
    pub fn connect(url: &PostgresUrl, clock: Arc<dyn Clock>, random: Random) -> Result<Db, DbError> {
        Db::connect_at(url, migrate::known(), clock, random)
    }

    /// [`Db::connect`], which brings the schema only up to `schema`: for rows of an older one.
    pub fn connect_at(
        url: &PostgresUrl,
        schema: i64,
        clock: Arc<dyn Clock>,
        random: Random,
    ) -> Result<Db, DbError> {
        let clock = Arc::new(ServerClock::new(clock.now()));
        Db::connect_with(url, schema, clock.clone(), random, Some(clock))
    }

    /// [`Db::connect`] with a clock of one's own, for tests.
    pub fn connect_by(url: &PostgresUrl, clock: Arc<dyn Clock>, random: Random) -> Result<Db, DbError> {
        Db::connect_with(url, migrate::known(), clock, random, None)
    }

    fn connect_with(
        url: &PostgresUrl,
        schema: i64,
        clock: Arc<dyn Clock>,
        random: Random,
        server: Option<Arc<ServerClock>>,
    ) -> Result<Db, DbError> {
        let wake = Arc::new(Notify::new());
        let waking = wake.clone();
        let postgres = Postgres::open(url, schema, server, Box::new(move || notify(&waking)))?;
        let source = Arc::new(Source::new(random));
        Ok(Db(Arc::new(Inner { engine: Engine::Postgres(postgres), clock, source, wake })))
    }

    /// Whether other machines may work on the same rows.
    pub fn is_shared(&self) -> bool {
        matches!(self.0.engine, Engine::Postgres(_))
    }

    /// The clock of its transactions: the one it was opened with, or the server's.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// 128 random bits from the database's source.
    pub fn random(&self) -> u128 {
        self.0.source.bits()
    }

    /// Runs `work` in a transaction and returns when what it wrote is on the disk. An `Err` of the
    /// closure takes its writes back.
    ///
    /// On SQLite transactions that wait at the same time share one sync. On PostgreSQL transactions run beside
    /// each other as if one after the other; one that cannot is run again, by its closure.
    ///
    /// # Errors
    /// Those of `work`, and [`DbError::Unsure`] where the connection broke while the transaction was ended.
    pub async fn transact<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        match &self.0.engine {
            Engine::Sqlite(sqlite) => {
                let (work, answer) = sqlite::package(work);
                sqlite.work.send(work).await.map_err(|_| DbError::Closed)?;
                answer.await.map_err(|_| DbError::Closed)?
            }
            Engine::Postgres(postgres) => {
                let (postgres, inner) = (postgres.clone(), self.0.clone());
                let place = postgres.place().await?;
                tokio::task::spawn_blocking(move || {
                    let _place = place;
                    postgres.transact(&*inner.clock, &inner.source, &work)
                })
                .await
                .map_err(|_| DbError::Panic)?
            }
        }
    }

    /// [`Db::transact`] for threads outside the async runtime.
    pub fn transact_blocking<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        match &self.0.engine {
            Engine::Sqlite(sqlite) => {
                let (work, answer) = sqlite::package(work);
                sqlite.work.blocking_send(work).map_err(|_| DbError::Closed)?;
                answer.blocking_recv().map_err(|_| DbError::Closed)?
            }
            Engine::Postgres(postgres) => postgres.transact(&*self.0.clock, &self.0.source, &work),
        }
    }

    /// Runs a query on a snapshot, beside those who write.
    pub async fn read<T, F>(&self, query: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T, DbError> + Send + 'static,
    {
        let db = self.clone();
        let place = match &self.0.engine {
            Engine::Sqlite(_) => None,
            Engine::Postgres(postgres) => Some(postgres.place().await?),
        };
        let reading = tokio::task::spawn_blocking(move || {
            let _place = place;
            db.read_blocking(query)
        });
        reading.await.map_err(|_| DbError::Panic)?
    }

    /// [`Db::read`] for threads outside the async runtime.
    pub fn read_blocking<T>(&self, query: impl Fn(&mut Tx<'_>) -> Result<T, DbError>) -> Result<T, DbError> {
        match &self.0.engine {
            Engine::Sqlite(sqlite) => sqlite.read(&*self.0.clock, &self.0.source, query),
            Engine::Postgres(postgres) => postgres.read(&*self.0.clock, &self.0.source, &query),
        }
    }

    /// Returns after a transaction made work for somebody: one of this process, or on PostgreSQL of any.
    pub async fn work_arrived(&self) {
        self.0.wake.notified().await;
    }

    /// Wakes whoever waits in [`Db::work_arrived`]; for changes made by other processes.
    pub fn wake(&self) {
        notify(&self.0.wake);
    }

    /// A number that changes when anybody commits, this process or another one. On PostgreSQL it stays: there
    /// those who wait are told by the server.
    pub fn data_version(&self) -> Result<i64, DbError> {
        match &self.0.engine {
            Engine::Sqlite(sqlite) => sqlite.data_version(),
            Engine::Postgres(_) => Ok(0),
        }
    }

    /// Whether the database is sound: the faults of the file, or the settings of the server with which
    /// accepted work could be lost; and the rows that are not what was written there. Reads everything.
    pub fn check(&self) -> Result<Vec<String>, DbError> {
        let mut faults = match &self.0.engine {
            Engine::Sqlite(sqlite) => sqlite.check()?,
            Engine::Postgres(postgres) => postgres.check()?,
        };
        faults.extend(self.read_blocking(verify::rows)?);
        Ok(faults)
    }

    /// The same for all that decides what readers see; for a start.
    pub fn check_shown(&self) -> Result<Vec<String>, DbError> {
        let mut faults = match &self.0.engine {
            Engine::Sqlite(sqlite) => sqlite.check_shown()?,
            Engine::Postgres(_) => Vec::new(),
        };
        if faults.is_empty() {
            faults.extend(self.read_blocking(verify::rows)?);
        }
        Ok(faults)
    }

    /// What would make the database safer.
    pub fn advice(&self) -> Result<Vec<String>, DbError> {
        match &self.0.engine {
            Engine::Sqlite(_) => Ok(Vec::new()),
            Engine::Postgres(postgres) => postgres.advice(),
        }
    }
}

fn notify(wake: &Notify) {
    wake.notify_waiters();
    wake.notify_one();
}
