//! Rows into a database that has none, in one transaction.

use std::sync::Arc;

use anyhow::{bail, ensure};
use gristmill_db::dump::{self, INSERT_ROWS_MAX, Table};
use gristmill_db::{Db, DbError, Param, Tx};
use gristmill_model::BootId;

use super::manifest::Header;
use super::verify::Verified;

/// How far moves are numbered ahead of a backup without blobs: its bucket may show moves that were seen since. More than
/// anybody pushes between two backups.
const MOVES_AHEAD: i64 = 1_000_000;

/// What stands in the database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Nothing but the schema.
    Empty,
    /// The rows of this backup, brought by a restore that was interrupted.
    Brought,
}

/// An error of the transaction.
#[derive(Debug)]
enum LoadError {
    Db(DbError),
    Other(anyhow::Error),
}

impl From<DbError> for LoadError {
    fn from(error: DbError) -> LoadError {
        LoadError::Db(error)
    }
}

/// Whether the rows can be brought here.
pub(super) fn examine(tx: &mut Tx<'_>, header: &Header, id: &str) -> anyhow::Result<State> {
    if let Some(other) = dump::unfinished(tx)? {
        if other == id {
            return Ok(State::Brought);
        }
        bail!(
            "another restore into this database was interrupted, from a backup whose content is {other}; finish that one, or begin with a new database"
        );
    }
    if let Some(table) = dump::first_used(tx)? {
        bail!(
            "the database is in use: it has rows in `{table}`. A backup is restored into a new one: move this one away, or configure another"
        );
    }
    let schema = dump::schema(tx)?;
    ensure!(
        schema == header.schema,
        "the database has no rows, but schema {schema} already, and the backup's rows are of schema {}; begin with a database that was never opened",
        header.schema
    );
    ensure!(
        dump::tables(tx)? == header.tables,
        "the backup has other tables or columns than schema {} has; it was made by another program",
        header.schema
    );
    Ok(State::Empty)
}

/// Brings the rows, all or none. Blocks.
pub(super) fn load(db: &Db, backup: &Arc<Verified>) -> anyhow::Result<()> {
    let (backup, boot) = (backup.clone(), BootId::new(db.clock().now(), db.random()));
    let loaded = db.transact_blocking(move |tx| {
        let id = backup.id.to_string();
        // Looked at again: in the transaction nobody comes in between.
        if examine(tx, &backup.header, &id).map_err(other)? == State::Brought {
            return Ok(());
        }
        insert_all(tx, &backup)?;
        if !backup.header.blobs {
            dump::leap(tx, MOVES_AHEAD)?;
        }
        Ok(dump::brought(tx, boot, &id)?)
    });
    loaded.map_err(|error| match error {
        LoadError::Db(error) => error.into(),
        LoadError::Other(error) => error,
    })
}

/// Where a statement failed, that is the error, so that the database can judge it.
fn other(error: anyhow::Error) -> LoadError {
    match error.downcast::<DbError>() {
        Ok(error) => LoadError::Db(error),
        Err(error) => LoadError::Other(error),
    }
}

fn insert_all(tx: &mut Tx<'_>, backup: &Verified) -> Result<(), LoadError> {
    let tables: &[Table] = &backup.header.tables;
    for table in tables {
        dump::make_room(tx, table)?;
    }
    let mut waiting: Vec<Vec<Param<'static>>> = Vec::with_capacity(INSERT_ROWS_MAX);
    let mut of = 0;
    let brought = backup.rows(|index, row| {
        if index != of || waiting.len() == INSERT_ROWS_MAX {
            insert(tx, &tables[of], &mut waiting)?;
            of = index;
        }
        waiting.push(row);
        Ok(())
    });
    brought.map_err(other)?;
    Ok(insert(tx, &tables[of], &mut waiting)?)
}

/// Full statements, or one row each: so only two forms of each are prepared.
fn insert(tx: &mut Tx<'_>, table: &Table, rows: &mut Vec<Vec<Param<'static>>>) -> Result<(), DbError> {
    if rows.len() == INSERT_ROWS_MAX {
        dump::insert(tx, table, rows)?;
    } else {
        rows.chunks(1).try_for_each(|row| dump::insert(tx, table, row))?;
    }
    rows.clear();
    Ok(())
}
