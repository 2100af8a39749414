//! Cron schedules: when a pipeline builds its tips again. The expression is read by the program;
//! this table only knows when it is due next.

use gristmill_model::{ProjectId, ProjectSpec, Timestamp};

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::Tx;

statements! {
    KEPT = "SELECT pipeline, cron, next_ms FROM schedule WHERE project_id = $1";
    DELETE = "DELETE FROM schedule WHERE project_id = $1";
    INSERT = "INSERT INTO schedule (project_id, pipeline, cron, next_ms) VALUES ($1, $2, $3, $4)";
    DUE = "SELECT project_id, pipeline, cron, next_ms FROM schedule WHERE next_ms <= $1 ORDER BY next_ms LIMIT $2";
    ADVANCE = "UPDATE schedule SET next_ms = $3 WHERE project_id = $1 AND pipeline = $2 AND cron = $4 AND next_ms = $5";
}

/// A schedule whose time has come.
#[derive(Clone, Debug)]
pub struct Due {
    /// The project.
    pub project: ProjectId,
    /// Its pipeline.
    pub pipeline: String,
    /// The expression.
    pub cron: String,
    /// When it was due. Zero: it is new, and its first time is not known yet.
    pub at: Timestamp,
}

/// Takes the schedules of the settings over. One that did not change keeps its next time.
pub(crate) fn set(tx: &mut Tx<'_>, project: ProjectId, spec: &ProjectSpec) -> Result<(), DbError> {
    let kept = tx.query(KEPT, params![project], |row| {
        Ok((row.get::<String>(0)?, row.get::<String>(1)?, row.get::<Timestamp>(2)?))
    })?;
    tx.execute(DELETE, params![project])?;
    for pipeline in &spec.pipelines {
        let Some(cron) = &pipeline.schedule else { continue };
        let same = kept.iter().find(|(name, text, _)| *name == pipeline.name && text == cron);
        let next = same.map_or(Timestamp(0), |(_, _, next)| *next);
        tx.execute(INSERT, params![project, &pipeline.name, cron, next])?;
    }
    Ok(())
}

pub(crate) fn remove(tx: &mut Tx<'_>, project: ProjectId) -> Result<(), DbError> {
    tx.execute(DELETE, params![project]).map(drop)
}

/// Schedules whose time has come.
pub fn due(tx: &mut Tx<'_>, limit: i64) -> Result<Vec<Due>, DbError> {
    let now = tx.now();
    tx.query(DUE, params![now, limit], |row| {
        Ok(Due { project: row.get(0)?, pipeline: row.get(1)?, cron: row.get(2)?, at: row.get(3)? })
    })
}

/// Sets the next time. False where the schedule is not due as it was: another program has followed it, or it was
/// changed.
pub fn advance(tx: &mut Tx<'_>, due: &Due, next: Timestamp) -> Result<bool, DbError> {
    Ok(tx.execute(ADVANCE, params![due.project, &due.pipeline, next, &due.cron, due.at])? == 1)
}
