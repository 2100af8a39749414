//! Brings a database's schema up to date: forwards only, each step once, in its own transaction.

use rusqlite::Connection;

use crate::error::DbError;

/// The steps, oldest first. A released step is never changed.
const STEPS: &[&str] = &[include_str!("../migrations/0001_house.sql")];

/// Applies the steps that are missing.
pub(crate) fn run(conn: &mut Connection) -> Result<(), DbError> {
    let known = i64::try_from(STEPS.len()).expect("a handful");
    // IMMEDIATE: two programs that start at once must not both apply a step.
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    tx.execute_batch("CREATE TABLE IF NOT EXISTS schema (version BIGINT NOT NULL)")?;
    let found: i64 = tx.query_row("SELECT coalesce(max(version), 0) FROM schema", [], |row| row.get(0))?;
    if found > known {
        return Err(DbError::Newer { found, known });
    }
    for version in found + 1..=known {
        tx.execute_batch(STEPS[usize::try_from(version - 1).expect("counts from one")])?;
        tx.execute("INSERT INTO schema (version) VALUES (?1)", [version])?;
    }
    Ok(tx.commit()?)
}
