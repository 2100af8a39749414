//! What these tests run on: one PostgreSQL for all, each with a database of its own.

use std::sync::{Arc, OnceLock};

use gristmill_db::{DirectDb, PostgresUrl, Random};
use gristmill_model::{ManualClock, Timestamp};
use gristmill_testkit::Postgres;

use crate::bench::START;

/// An empty database with the newest schema.
pub fn open(clock: Arc<ManualClock>, random: Random) -> DirectDb {
    // Asked, and said, once: the tests cannot do without a database, and run on SQLite once more where it is missing.
    static SERVER: OnceLock<Option<&'static Postgres>> = OnceLock::new();
    let server = SERVER.get_or_init(|| Postgres::shared("all tests of the database on PostgreSQL"));
    let Some(server) = server else { return DirectDb::in_memory(clock, random).unwrap() };
    let url = server.create_database_from("schema", |url| {
        let clock = Arc::new(ManualClock::at(Timestamp(START)));
        DirectDb::on_postgres(&url.parse().unwrap(), clock, random.clone()).unwrap();
    });
    let url: PostgresUrl = url.parse().unwrap();
    DirectDb::on_postgres(&url, clock, random).unwrap()
}
