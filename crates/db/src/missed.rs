//! Deliveries that never came and that only the forge's API told of. Their ids are kept, so that what they told is
//! acted on once.

use gristmill_model::{PatternName, ProjectId, Timestamp};

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::Tx;

statements! {
    CAME = "SELECT 1 FROM delivery WHERE project_id = $1 AND remote_id = $2";
    FOUND = "SELECT 1 FROM missed_delivery WHERE project_id = $1 AND remote_id = $2";
    NOTE_MISSED = "INSERT INTO missed_delivery (project_id, remote_id, found_ms) VALUES ($1, $2, $3) ON CONFLICT (project_id, remote_id) DO NOTHING";
    CAME_TO_PATTERN = "SELECT 1 FROM delivery JOIN project ON project.id = delivery.project_id WHERE project.pattern = $1 AND delivery.remote_id = $2";
    FOUND_OF_PATTERN = "SELECT 1 FROM missed_delivery JOIN project ON project.id = missed_delivery.project_id WHERE project.pattern = $1 AND missed_delivery.remote_id = $2";
    EXPIRED_MISSED = "SELECT project_id, remote_id FROM missed_delivery WHERE found_ms < $1 LIMIT $2";
    DELETE_MISSED = "DELETE FROM missed_delivery WHERE project_id = $1 AND remote_id = $2";
}

/// Whether a delivery of this id came, or was found before.
pub fn is_known(tx: &mut Tx<'_>, project: ProjectId, remote_id: &str) -> Result<bool, DbError> {
    if tx.query_one(CAME, params![project, remote_id], |_| Ok(()))?.is_some() {
        return Ok(true);
    }
    Ok(tx.query_one(FOUND, params![project, remote_id], |_| Ok(()))?.is_some())
}

/// The same for the projects that a pattern has made, whichever it was for.
pub fn is_known_of_pattern(tx: &mut Tx<'_>, pattern: &PatternName, remote_id: &str) -> Result<bool, DbError> {
    for sql in [CAME_TO_PATTERN, FOUND_OF_PATTERN] {
        if tx.query_one(sql, params![pattern.as_str(), remote_id], |_| Ok(()))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Records that a delivery of this id was found. False where one came or was found before: then nothing may follow
/// from it again.
pub fn note(tx: &mut Tx<'_>, project: ProjectId, remote_id: &str) -> Result<bool, DbError> {
    if is_known(tx, project, remote_id)? {
        return Ok(false);
    }
    let now = tx.now();
    tx.execute(NOTE_MISSED, params![project, remote_id, now])?;
    Ok(true)
}

/// Forgets up to `max` of those found before `before`; how many. Forges keep theirs for days.
pub fn expire(tx: &mut Tx<'_>, before: Timestamp, max: i64) -> Result<usize, DbError> {
    let expired = tx.query(EXPIRED_MISSED, params![before, max], |row| {
        Ok((row.get::<ProjectId>(0)?, row.get::<String>(1)?))
    })?;
    for (project, remote_id) in &expired {
        tx.execute(DELETE_MISSED, params![*project, remote_id])?;
    }
    Ok(expired.len())
}
