//! Cheap questions that are asked again and again: whether there is anything to do.

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::Tx;

statements! {
    POLL = "SELECT 1 FROM project WHERE state = 'active' AND next_look_ms <= $1 LIMIT 1";
    PATIENT = "SELECT 1 FROM job WHERE state = 'ready' AND priority > 10 AND not_before_ms <= $1 LIMIT 1";
    LEASED = "SELECT 1 FROM job WHERE state = 'leased' LIMIT 1";
    READY = "SELECT 1 FROM job WHERE state = 'ready' AND (tries = 0 OR not_before_ms <= $1) LIMIT 1";
}

fn any(tx: &mut Tx<'_>, sql: &'static str) -> Result<bool, DbError> {
    let now = tx.now();
    Ok(tx.query_one(sql, params![now], |_| Ok(()))?.is_some())
}

/// Whether a job that lets others go first is due.
pub fn patient_jobs(tx: &mut Tx<'_>) -> Result<bool, DbError> {
    any(tx, PATIENT)
}

/// Whether a remote is due to be looked at.
pub fn polls(tx: &mut Tx<'_>) -> Result<bool, DbError> {
    any(tx, POLL)
}

/// Whether a job runs, or is ready and does not wait out a failure. When this is false, all that is left
/// waits for a remote or a storage that failed.
pub fn work(tx: &mut Tx<'_>) -> Result<bool, DbError> {
    Ok(any(tx, LEASED)? || any(tx, READY)?)
}
