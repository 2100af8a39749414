//! What these tests run on: one PostgreSQL for all, each with a database of its own.

use std::sync::{Arc, OnceLock};

use gristmill_db::{Db, DirectDb, PostgresUrl, Random};
use gristmill_model::{ManualClock, Timestamp};
use gristmill_testkit::Postgres;

use crate::bench::{START, random as bits};

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

/// Its name, in the names of fixtures.
pub const NAME: &str = "postgres";

/// Bytes, in SQL.
pub fn bytes(hex: &str) -> String {
    format!("'\\x{hex}'")
}

/// A database that SQL text makes, opened by this program.
pub fn made_of(sql: &str) -> Option<(Db, ())> {
    let server = Postgres::shared("fixtures on PostgreSQL")?;
    let url = server.create_database();
    server.sql(&url, sql).unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(START)));
    Some((Db::connect_by(&url.parse().unwrap(), clock, bits()).unwrap(), ()))
}
