//! What these tests run on: SQLite, in memory.

use std::sync::Arc;

use gristmill_db::{DirectDb, Random};
use gristmill_model::ManualClock;

/// An empty database.
pub fn open(clock: Arc<ManualClock>, random: Random) -> DirectDb {
    DirectDb::in_memory(clock, random).unwrap()
}
