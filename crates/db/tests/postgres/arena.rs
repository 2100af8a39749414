//! Several programs on one database, and threads that get into each other's way.

use std::sync::Arc;
use std::sync::Barrier;

use gristmill_db::{Db, DbError, PostgresUrl, Tx, project};
use gristmill_model::{ManualClock, ProjectId, Timestamp};
use gristmill_testkit::Postgres;

use crate::bench::{START, random, spec};

/// Threads that work at once, half of them in each of two programs.
pub const WORKERS: usize = 8;

pub struct Arena {
    pub url: PostgresUrl,
    pub dbs: [Db; 2],
    pub project: ProjectId,
}

impl Arena {
    /// Two programs on a new database with one project that may run `jobs_max` jobs.
    pub fn open(test: &str, jobs_max: i64) -> Option<Arena> {
        let server = Postgres::shared(test)?;
        let url: PostgresUrl = server.create_database().parse().unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp(START)));
        let random = random();
        let dbs = [(); 2].map(|()| Db::connect_by(&url, clock.clone(), random.clone()).unwrap());
        let imported = dbs[0].transact_blocking(move |tx| {
            let spec = spec("acme/a", jobs_max);
            project::import(tx, std::slice::from_ref(&spec), &[])?;
            Ok::<_, DbError>(project::by_name(tx, &spec.name)?.unwrap().id)
        });
        let project = imported.unwrap();
        Some(Arena { url, dbs, project })
    }

    pub fn tx<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Tx<'_>) -> Result<T, DbError> + Send + 'static,
    ) -> T {
        self.dbs[0].transact_blocking(work).unwrap()
    }

    /// Runs `work` in every thread at once, with its number; what each made of it.
    pub fn race<T: Send>(&self, work: impl Fn(usize, &Db) -> T + Sync) -> Vec<T> {
        let start = Barrier::new(WORKERS);
        std::thread::scope(|scope| {
            let racers: Vec<_> = (0..WORKERS)
                .map(|number| {
                    let (start, work, db) = (&start, &work, &self.dbs[number % 2]);
                    scope.spawn(move || {
                        start.wait();
                        work(number, db)
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        })
    }
}
