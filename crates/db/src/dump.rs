//! All rows, table by table, as values that know no engine: for backups, and for moving to another engine.
//!
//! Which tables and columns there are, the database's own catalogue says: a table that is added is carried without a
//! word here. What is not carried stands in [`LEFT_OUT`], with the reason.

use gristmill_model::BootId;
use serde::{Deserialize, Serialize};

use crate::error::DbError;
use crate::job::{self, Rescue};
use crate::statements::statements;
use crate::tx::Tx;
use crate::value::{Param, Value};
use crate::{blob, migrate, params, publication};

/// Tables whose rows mean nothing elsewhere, and why.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("schema", "a backup says of which schema its rows are"),
    ("key_holder", "who writes to a key at this moment, and until when"),
    ("boot", "which programs are up at this moment"),
    ("duty", "which of them does what one does for all"),
    ("mirror", "which machine has which mirror"),
    ("blob_hold", "who copies blobs at this moment, and until when"),
];
/// Tables that have rows in a new database.
const SEEDED: [&str; 2] = ["schema", "counter"];
/// Rows that a server hands out at once: each may have a webhook's body.
const FETCH_ROWS: usize = 16;
/// The most rows that one statement inserts. With the widest table it stays far below SQLite's 32 766 parameters.
pub const INSERT_ROWS_MAX: usize = 50;
/// Jobs that are given back at once.
const RESCUE_ROWS: i64 = 1000;
/// The setting that stands while rows are there whose keys are not.
const UNFINISHED: &str = "restore";

statements! {
    SCHEMA = "SELECT coalesce(max(version), 0) FROM schema";
    MOVES = "SELECT coalesce(max(value), 0) FROM counter WHERE name = 'move'";
    LEAP = "UPDATE counter SET value = value + $1 WHERE name = 'move'";
    SET = "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    GET = "SELECT value FROM setting WHERE name = $1";
    UNSET = "DELETE FROM setting WHERE name = $1";
}

const OF_SQLITE: &str = "SELECT t.name, c.name, c.type FROM sqlite_schema AS t JOIN pragma_table_info(t.name) AS c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY t.name, c.cid";
const OF_POSTGRES: &str = "SELECT CAST(c.table_name AS TEXT), CAST(c.column_name AS TEXT), CAST(c.data_type AS TEXT) FROM information_schema.columns AS c JOIN information_schema.tables AS t ON t.table_schema = c.table_schema AND t.table_name = c.table_name WHERE t.table_type = 'BASE TABLE' AND t.table_schema = current_schema() ORDER BY CAST(c.table_name AS TEXT) COLLATE \"C\", c.ordinal_position";

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// TEXT.
    Text,
    /// BIGINT.
    Int,
    /// BOOLEAN.
    Bool,
    /// BYTEA.
    Bytes,
}

impl Kind {
    fn of(declared: &str) -> Option<Kind> {
        match declared.to_ascii_uppercase().as_str() {
            "TEXT" => Some(Kind::Text),
            "BIGINT" => Some(Kind::Int),
            "BOOLEAN" => Some(Kind::Bool),
            "BYTEA" => Some(Kind::Bytes),
            _ => None,
        }
    }
}

/// A table and its columns.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns in order, each with what it holds.
    pub columns: Vec<(String, Kind)>,
}

impl Table {
    fn names(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        names.join(", ")
    }
}

/// The newest schema that this program knows.
pub fn schema_known() -> i64 {
    migrate::known()
}

/// A database of a schema without rows, as SQL text, for fixtures.
pub fn schema_text(schema: i64, is_postgres: bool) -> String {
    migrate::text(schema, is_postgres)
}

/// The schema that the database has.
pub fn schema(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    Ok(tx.query_one(SCHEMA, params![], |row| row.get(0))?.unwrap_or(0))
}

/// All tables that there are, by name.
pub fn all_tables(tx: &mut Tx<'_>) -> Result<Vec<Table>, DbError> {
    let catalogue = if tx.is_postgres() { OF_POSTGRES } else { OF_SQLITE };
    let columns = tx.query_made(catalogue, &[], |row| {
        Ok((row.get::<String>(0)?, row.get::<String>(1)?, row.get::<String>(2)?))
    })?;
    let mut tables: Vec<Table> = Vec::new();
    for (table, column, declared) in columns {
        let kind = Kind::of(&declared).ok_or_else(|| {
            DbError::Sql(format!(
                "{table}.{column} is {declared}, which no backup can carry to another engine"
            ))
        })?;
        if tables.last().is_none_or(|last| last.name != table) {
            tables.push(Table { name: table, columns: Vec::new() });
        }
        tables.last_mut().expect("one was pushed").columns.push((column, kind));
    }
    Ok(tables)
}

/// The tables whose rows are carried, by name.
pub fn tables(tx: &mut Tx<'_>) -> Result<Vec<Table>, DbError> {
    let mut tables = all_tables(tx)?;
    tables.retain(|table| LEFT_OUT.iter().all(|(name, _)| *name != table.name));
    Ok(tables)
}

/// All rows of a table, each through `each`, a few of them in memory at a time.
///
/// # Errors
/// [`DbError::Stopped`] may be handed on by `each`.
pub fn rows(
    tx: &mut Tx<'_>,
    table: &Table,
    mut each: impl FnMut(&[Param<'_>]) -> Result<(), DbError>,
) -> Result<(), DbError> {
    let select = format!("SELECT {} FROM \"{}\"", table.names(), table.name);
    let mut read = |row: &crate::Row<'_, '_>| {
        let mut values = Vec::with_capacity(table.columns.len());
        for (index, (_, kind)) in table.columns.iter().enumerate() {
            values.push(param(row.value(index)?, *kind, index)?);
        }
        each(&values)
    };
    if !tx.is_postgres() {
        return tx.query_made(&select, &[], read).map(drop);
    }
    // A cursor of its own for each table: what FETCH hands out is remembered by its text.
    let cursor = format!("dump_{}", table.name);
    tx.batch_on_postgres(&format!("DECLARE \"{cursor}\" NO SCROLL CURSOR FOR {select}"))?;
    let fetch = format!("FETCH {FETCH_ROWS} FROM \"{cursor}\"");
    while tx.query_made(&fetch, &[], &mut read)?.len() == FETCH_ROWS {}
    tx.batch_on_postgres(&format!("CLOSE \"{cursor}\""))
}

fn param<'a>(value: Value<'a>, kind: Kind, column: usize) -> Result<Param<'a>, DbError> {
    Ok(match (value, kind) {
        (Value::Null, _) => Param::Null,
        (Value::Int(number), Kind::Int) => Param::Int(number),
        (Value::Int(number), Kind::Bool) => Param::Bool(number != 0),
        (Value::Bool(truth), Kind::Bool) => Param::Bool(truth),
        (Value::Text(text), Kind::Text) => Param::Text(text.into()),
        (Value::Bytes(bytes), Kind::Bytes) => Param::Bytes(bytes.into()),
        (value, kind) => {
            let fault = format!("{kind:?} was expected, and it holds {value:.20?}");
            return Err(DbError::Row { column, fault });
        }
    })
}

/// Inserts rows, each with a value for every column, at most [`INSERT_ROWS_MAX`] of them. `table` is one of
/// [`tables`]: its names come from the database.
pub fn insert(tx: &mut Tx<'_>, table: &Table, rows: &[Vec<Param<'_>>]) -> Result<(), DbError> {
    if rows.is_empty() {
        return Ok(());
    }
    let width = table.columns.len();
    let tuple = |row: usize| {
        let numbers: Vec<String> = (1..=width).map(|column| format!("${}", row * width + column)).collect();
        format!("({})", numbers.join(", "))
    };
    let tuples: Vec<String> = (0..rows.len()).map(tuple).collect();
    let sql = format!("INSERT INTO \"{}\" ({}) VALUES {}", table.name, table.names(), tuples.join(", "));
    let values: Vec<Param<'_>> = rows.iter().flatten().cloned().collect();
    tx.execute_made(&sql, &values).map(drop)
}

/// The first table that has rows which a new database has not; `None` where there is nothing but the schema.
pub fn first_used(tx: &mut Tx<'_>) -> Result<Option<String>, DbError> {
    for table in all_tables(tx)? {
        if SEEDED.contains(&table.name.as_str()) {
            continue;
        }
        let sql = format!("SELECT 1 FROM \"{}\" LIMIT 1", table.name);
        if !tx.query_made(&sql, &[], |_| Ok(()))?.is_empty() {
            return Ok(Some(table.name));
        }
    }
    let moves: i64 = tx.query_one(MOVES, params![], |row| row.get(0))?.unwrap_or(0);
    Ok((moves > 0).then(|| "counter".to_owned()))
}

/// Takes away what a new database begins with, so that the carried rows take its place.
pub fn make_room(tx: &mut Tx<'_>, table: &Table) -> Result<(), DbError> {
    if SEEDED.contains(&table.name.as_str()) {
        tx.execute_made(&format!("DELETE FROM \"{}\"", table.name), &[])?;
    }
    Ok(())
}

/// What follows from rows having been brought here: nobody works on their jobs any more, the bucket's names of their
/// versions are another bucket's, bytes that nothing refers to were not brought. `backup` is what they were brought
/// from: it stands as unfinished until [`finished`].
pub fn brought(tx: &mut Tx<'_>, boot: BootId, backup: &str) -> Result<(), DbError> {
    publication::forget_version_ids(tx)?;
    blob::forget_unneeded(tx)?;
    while job::rescue(tx, &Rescue::OtherBoots(boot), RESCUE_ROWS)? > 0 {}
    tx.execute(SET, params![UNFINISHED, backup]).map(drop)
}

/// Moves get numbers later than all that may have been given since the backup: what public keys show is later then.
pub fn leap(tx: &mut Tx<'_>, moves: i64) -> Result<(), DbError> {
    tx.execute(LEAP, params![moves]).map(drop)
}

/// From which backup rows were brought here whose keys were not all made: a restore was interrupted.
pub fn unfinished(tx: &mut Tx<'_>) -> Result<Option<String>, DbError> {
    tx.query_one(GET, params![UNFINISHED], |row| row.get(0))
}

/// The keys are there too.
pub fn finished(tx: &mut Tx<'_>) -> Result<(), DbError> {
    tx.execute(UNSET, params![UNFINISHED]).map(drop)
}
