//! Which data folders have the mirror of which project, so that a job is rather done where its mirror is.

use std::time::Duration;

use gristmill_model::{FolderId, JobId, ProjectId, Timestamp};

use crate::error::DbError;
use crate::job::{PRIORITY_HOOK, PRIORITY_POLL};
use crate::statements::statements;
use crate::tx::Tx;
use crate::{boot, params};

/// How long a job is left to those who have its mirror.
pub const LEFT: Duration = Duration::from_secs(2);
/// Jobs that are looked at from the front of the queue: beyond them everybody is busy, and nothing is left to anybody.
const FRONT: i64 = 64;

statements! {
    HAVE = "INSERT INTO mirror (project_id, folder, used_ms) VALUES ($1, $2, $3) ON CONFLICT (project_id, folder) DO UPDATE SET used_ms = excluded.used_ms";
    FORGET = "DELETE FROM mirror WHERE used_ms < $1";
    ELSEWHERE = "SELECT id FROM (SELECT id, project_id, coalesce(ready_ms, not_before_ms) AS since_ms FROM job WHERE state = 'ready' AND run_id IS NOT NULL AND kind <> $7 AND priority = $1 AND not_before_ms <= $2 ORDER BY not_before_ms, id LIMIT $3) AS front WHERE since_ms > $4 AND NOT EXISTS (SELECT 1 FROM mirror WHERE mirror.project_id = front.project_id AND mirror.folder = $5) AND EXISTS (SELECT 1 FROM mirror JOIN boot ON boot.folder = mirror.folder WHERE mirror.project_id = front.project_id AND boot.seen_ms > $6 AND boot.works AND NOT boot.draining)";
}

/// The mirror of a project is in that folder.
pub fn have(tx: &mut Tx<'_>, project: ProjectId, folder: FolderId) -> Result<(), DbError> {
    let now = tx.now();
    tx.execute(HAVE, params![project, folder, now]).map(drop)
}

/// Jobs at the front of the queue that this folder leaves to others for now: they have been ready for a moment only,
/// and their project's mirror is not here but with a program that is up and works. Jobs of the kind `anywhere` need no
/// mirror.
pub fn elsewhere(tx: &mut Tx<'_>, folder: FolderId, anywhere: &str) -> Result<Vec<JobId>, DbError> {
    let now = tx.now();
    let (since, up) = (now.minus(LEFT), now.minus(boot::UP));
    let mut jobs = Vec::new();
    for priority in [PRIORITY_HOOK, PRIORITY_POLL] {
        let values = params![priority, now, FRONT, since, folder, up, anywhere];
        jobs.extend(tx.query(ELSEWHERE, values, |row| row.get::<JobId>(0))?);
    }
    Ok(jobs)
}

/// Forgets mirrors that were last used before `before`; how many.
pub fn expire(tx: &mut Tx<'_>, before: Timestamp) -> Result<usize, DbError> {
    tx.execute(FORGET, params![before])
}
