//! Deliveries that never came and that only the forge's API told of. Their ids are kept, so that what they told is
//! acted on once; those of a pattern's project that was purged stay by the pattern, so that none makes it anew.

use gristmill_model::{PatternName, ProjectId, ProjectName, Timestamp};

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
    PURGED_OF_PATTERN = "SELECT 1 FROM purged_delivery WHERE pattern = $1 AND remote_id = $2";
    PURGED = "SELECT purged_ms FROM purged_project WHERE pattern = $1 AND name = lower($2)";
    NOTE_PURGED = "INSERT INTO purged_project (pattern, name, purged_ms) SELECT pattern, lower(name), CAST($2 AS BIGINT) FROM project WHERE id = $1 AND pattern IS NOT NULL ON CONFLICT (pattern, name) DO UPDATE SET purged_ms = excluded.purged_ms";
    KEEP_CAME = "INSERT INTO purged_delivery (pattern, remote_id, purged_ms) SELECT pattern, remote_id, CAST($2 AS BIGINT) FROM delivery JOIN project ON project.id = delivery.project_id WHERE project.id = $1 AND pattern IS NOT NULL ON CONFLICT (pattern, remote_id) DO NOTHING";
    KEEP_FOUND = "INSERT INTO purged_delivery (pattern, remote_id, purged_ms) SELECT pattern, remote_id, CAST($2 AS BIGINT) FROM missed_delivery JOIN project ON project.id = missed_delivery.project_id WHERE project.id = $1 AND pattern IS NOT NULL ON CONFLICT (pattern, remote_id) DO NOTHING";
    EXPIRED_PURGED_PROJECT = "SELECT pattern, name FROM purged_project WHERE purged_ms < $1 LIMIT $2";
    DELETE_PURGED_PROJECT = "DELETE FROM purged_project WHERE pattern = $1 AND name = $2";
    EXPIRED_PURGED_DELIVERY = "SELECT pattern, remote_id FROM purged_delivery WHERE purged_ms < $1 LIMIT $2";
    DELETE_PURGED_DELIVERY = "DELETE FROM purged_delivery WHERE pattern = $1 AND remote_id = $2";
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

/// The same for the projects that a pattern has made, whichever it was for, those that were purged among them.
pub fn is_known_of_pattern(tx: &mut Tx<'_>, pattern: &PatternName, remote_id: &str) -> Result<bool, DbError> {
    for sql in [CAME_TO_PATTERN, FOUND_OF_PATTERN, PURGED_OF_PATTERN] {
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

/// Keeps by the pattern, before its project is purged, which deliveries the project had, and when it was purged.
pub(crate) fn keep_purged(tx: &mut Tx<'_>, project: ProjectId) -> Result<(), DbError> {
    let now = tx.now();
    for sql in [KEEP_CAME, KEEP_FOUND, NOTE_PURGED] {
        tx.execute(sql, params![project, now])?;
    }
    Ok(())
}

/// When the pattern's project of that name, in any case, was purged last.
pub fn purged(
    tx: &mut Tx<'_>,
    pattern: &PatternName,
    name: &ProjectName,
) -> Result<Option<Timestamp>, DbError> {
    tx.query_one(PURGED, params![pattern.as_str(), name], |row| row.get(0))
}

/// Forgets up to `max` of those found before `before`, and as many of each kind of what was purged before then; how
/// many there were of the kind that had most. Forges keep theirs for days.
pub fn expire(tx: &mut Tx<'_>, before: Timestamp, max: i64) -> Result<usize, DbError> {
    let expired = tx.query(EXPIRED_MISSED, params![before, max], |row| {
        Ok((row.get::<ProjectId>(0)?, row.get::<String>(1)?))
    })?;
    for (project, remote_id) in &expired {
        tx.execute(DELETE_MISSED, params![*project, remote_id])?;
    }
    let mut most = expired.len();
    for (expired, delete) in
        [(EXPIRED_PURGED_PROJECT, DELETE_PURGED_PROJECT), (EXPIRED_PURGED_DELIVERY, DELETE_PURGED_DELIVERY)]
    {
        let purged = tx
            .query(expired, params![before, max], |row| Ok((row.get::<String>(0)?, row.get::<String>(1)?)))?;
        for (pattern, of) in &purged {
            tx.execute(delete, params![pattern, of])?;
        }
        most = most.max(purged.len());
    }
    Ok(most)
}
