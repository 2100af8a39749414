//! What the forges were told of runs, as statuses of their commits. It stands with the run itself, so that what
//! is left to tell follows from the run's state and nothing else, whatever becomes of the process in between.
//!
//! One process tells, one after the other. Of the runs of one commit in one pipeline only the newest is told of: they
//! all speak under one name.

use gristmill_model::{RunId, Timestamp};

use crate::error::DbError;
use crate::params;
use crate::run::{self, Run};
use crate::statements::statements;
use crate::tx::Tx;

statements! {
    UNTOLD = "SELECT id, told, tell_tries FROM run WHERE (told IS NULL OR (told = 'pending' AND finished_ms IS NOT NULL)) AND tell_after_ms <= $1 AND id > $2 ORDER BY id LIMIT $3";
    IS_UNTOLD = "SELECT 1 FROM run WHERE (told IS NULL OR (told = 'pending' AND finished_ms IS NOT NULL)) AND tell_after_ms <= $1 LIMIT 1";
    NEWER = "SELECT 1 FROM run WHERE project_id = $1 AND pipeline = $2 AND commit_id = $3 AND id > $4 LIMIT 1";
    SET = "UPDATE run SET told = $2, tell_tries = 0, tell_after_ms = 0 WHERE id = $1";
    LATER = "UPDATE run SET tell_tries = tell_tries + 1, tell_after_ms = $2 WHERE id = $1";
}

/// A run that the forge is to be told of.
#[derive(Clone, Debug)]
pub struct Untold {
    /// The run as it is now.
    pub run: Run,
    /// Whether the forge knows already that it waits or runs.
    pub is_pending: bool,
    /// Whether a later run speaks for the commit.
    pub is_outdated: bool,
    /// How often telling it failed.
    pub tries: i64,
}

/// What the forge was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// That it waits or runs. What becomes of it is told later.
    Pending,
    /// How it ended.
    Over,
    /// Nothing more: there is nobody to tell, or telling was given up.
    Never,
}

impl Told {
    const fn word(self) -> &'static str {
        match self {
            Told::Pending => "pending",
            Told::Over => "over",
            Told::Never => "never",
        }
    }
}

/// Whether there is anything to tell.
pub fn is_due(tx: &mut Tx<'_>) -> Result<bool, DbError> {
    let now = tx.now();
    Ok(tx.query_one(IS_UNTOLD, params![now], |_| Ok(()))?.is_some())
}

/// Runs that are to be told of now, the oldest first, those behind `after`.
pub fn due(tx: &mut Tx<'_>, after: Option<RunId>, limit: i64) -> Result<Vec<Untold>, DbError> {
    let now = tx.now();
    let after = after.map_or(String::new(), |id| id.to_string());
    let rows = tx.query(UNTOLD, params![now, after, limit], |row| {
        Ok((row.get::<RunId>(0)?, row.get::<Option<String>>(1)?, row.get::<i64>(2)?))
    })?;
    let mut found = Vec::with_capacity(rows.len());
    for (id, told, tries) in rows {
        let Some(run) = run::by_id(tx, id)? else { continue };
        let newer = tx.query_one(NEWER, params![run.project, &run.pipeline, run.commit, id], |_| Ok(()))?;
        found.push(Untold { run, is_pending: told.is_some(), is_outdated: newer.is_some(), tries });
    }
    Ok(found)
}

/// Records what the forge was told.
pub fn record(tx: &mut Tx<'_>, run: RunId, told: Told) -> Result<(), DbError> {
    tx.execute(SET, params![run, told.word()]).map(drop)
}

/// Telling failed; it is tried again, not before `after`.
pub fn later(tx: &mut Tx<'_>, run: RunId, after: Timestamp) -> Result<(), DbError> {
    tx.execute(LATER, params![run, after]).map(drop)
}
