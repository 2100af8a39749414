//! Brings a database's schema up to date: forwards only, each step once, in its own transaction.

use rusqlite::Connection;

use crate::error::DbError;
use crate::postgres::Session;

/// The steps, oldest first. A released step is never changed.
const STEPS: &[&str] = &[include_str!("../migrations/0001_house.sql")];

const MAKE: &str = "CREATE TABLE IF NOT EXISTS schema (version BIGINT NOT NULL)";
const FOUND: &str = "SELECT coalesce(max(version), 0) FROM schema";
const DONE: &str = "INSERT INTO schema (version) VALUES ($1)";
/// Programs that start at once wait for each other here. Nobody else on the server has this number.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7453920617)";

/// The newest schema that this program knows.
pub(crate) fn known() -> i64 {
    i64::try_from(STEPS.len()).expect("a handful")
}

/// The steps that a database with schema `found` lacks, with their numbers, up to schema `wanted`.
fn missing(found: i64, wanted: i64) -> Result<impl Iterator<Item = (i64, &'static str)>, DbError> {
    let known = known();
    let done = usize::try_from(found).map_err(|_| DbError::Newer { found, known })?;
    if found > known {
        return Err(DbError::Newer { found, known });
    }
    let steps = (1..).zip(STEPS.iter().copied()).skip(done);
    Ok(steps.take_while(move |(version, _)| *version <= wanted))
}

/// A database of this schema without rows, as SQL text.
pub(crate) fn text(schema: i64, is_postgres: bool) -> String {
    let steps = (1..).zip(STEPS).take_while(|(version, _)| *version <= schema);
    let mut text = format!("{MAKE};\n");
    for (version, step) in steps {
        text.push_str(&if is_postgres { for_postgres(step) } else { (*step).to_owned() });
        text.push_str(&format!("\n{};\n", DONE.replace("$1", &i64::to_string(&version))));
    }
    text
}

/// Applies the steps that are missing up to schema `wanted`, to a file.
pub(crate) fn sqlite(conn: &mut Connection, wanted: i64) -> Result<(), DbError> {
    // IMMEDIATE: two programs that start at once must not both apply a step.
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    tx.execute_batch(MAKE)?;
    let found: i64 = tx.query_row(FOUND, [], |row| row.get(0))?;
    for (version, step) in missing(found, wanted)? {
        tx.execute_batch(step)?;
        tx.execute(DONE, [version])?;
    }
    Ok(tx.commit()?)
}

/// The same to a database of a server.
pub(crate) fn postgres(session: &mut Session, wanted: i64) -> Result<(), DbError> {
    session.begin_migration()?;
    let applied = apply(session, wanted);
    let ended = session.end_migration(applied.is_ok());
    applied.and(ended)
}

fn apply(session: &mut Session, wanted: i64) -> Result<(), DbError> {
    session.batch(LOCK)?;
    session.batch(MAKE)?;
    let rows = session.query(FOUND, &[])?;
    let found: i64 =
        rows.first().map_or(Ok(0), |row| row.try_get(0)).map_err(|error| DbError::Sql(error.to_string()))?;
    for (version, step) in missing(found, wanted)? {
        session.batch(&for_postgres(step))?;
        session.execute(DONE, &[version.into()])?;
    }
    Ok(())
}

/// The one thing that a step says differently to PostgreSQL: texts compare by their bytes, as they do in
/// SQLite, and not by the rules of some language.
fn for_postgres(step: &str) -> String {
    let mut said = String::with_capacity(step.len() + 2048);
    for line in step.lines() {
        let (sql, _) = line.split_once("--").unwrap_or((line, ""));
        said.push_str(&sql.replace(" TEXT", " TEXT COLLATE \"C\""));
        said.push('\n');
    }
    said
}
