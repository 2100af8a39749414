//! What these tests run on: SQLite, in memory.

use std::sync::Arc;

use gristmill_db::{Db, DirectDb, Random};
use gristmill_model::{ManualClock, Timestamp};

use crate::bench::{START, random};

/// An empty database.
pub fn open(clock: Arc<ManualClock>, random: Random) -> DirectDb {
    DirectDb::in_memory(clock, random).unwrap()
}

/// Its name, in the names of fixtures.
pub const NAME: &str = "sqlite";

/// Bytes, in SQL.
pub fn bytes(hex: &str) -> String {
    format!("X'{hex}'")
}

/// A database that SQL text makes, opened by this program.
pub fn made_of(sql: &str) -> Option<(Db, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let clock = Arc::new(ManualClock::at(Timestamp(START)));
    Some((Db::open(&path, clock, random()).unwrap(), folder))
}
