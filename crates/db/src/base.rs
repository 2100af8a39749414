//! What a run's commit is compared with, where a pipeline builds only what touches certain paths.
//!
//! A run may leave its commit out only where no other commit can be shown instead that differs from it: neither the
//! one that the name holds, nor any that may yet be published for an earlier move.

use gristmill_model::{CommitId, RunState};

use crate::error::DbError;
use crate::params;
use crate::run::Run;
use crate::statements::statements;
use crate::tx::{Row, Tx};

statements! {
    SHOWN_BEFORE_MOVE = "SELECT publication.commit_id, publication.seq, run.spec_rev FROM publication JOIN run ON run.id = publication.run_id WHERE publication.project_id = $1 AND publication.pipeline = $2 AND publication.ref = $3 AND publication.state = 'published' AND publication.seq < $5 AND run.is_release = $4 AND run.seq IS NOT NULL ORDER BY publication.seq DESC LIMIT 1";
    SHOWN_BEFORE_TIME = "SELECT publication.commit_id, publication.seq, run.spec_rev FROM publication JOIN run ON run.id = publication.run_id WHERE publication.project_id = $1 AND publication.pipeline = $2 AND publication.ref = $3 AND publication.state = 'published' AND run.is_release = $4 AND run.seq IS NOT NULL AND publication.created_ms < $5 AND publication.id < $6 ORDER BY publication.seq DESC LIMIT 1";
    BETWEEN = "SELECT DISTINCT commit_id FROM run WHERE project_id = $1 AND pipeline = $2 AND ref = $3 AND is_release = $4 AND seq > $5 AND seq < $6 AND state <> $7 ORDER BY commit_id LIMIT $8";
}

/// The newest version of the ref's name from before a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its commit.
    pub commit: CommitId,
    /// The move that it followed.
    pub seq: i64,
    /// The revision of the settings that it was made by.
    pub spec_rev: i64,
}

fn read(row: &Row<'_, '_>) -> Result<Shown, DbError> {
    Ok(Shown { commit: row.get(0)?, seq: row.get(1)?, spec_rev: row.get(2)? })
}

/// What readers saw of the run's ref, in its pipeline, from the move before its own; where its commit was not the tip,
/// from what was there when the run was made. `None` where nothing was published.
pub fn shown_before(tx: &mut Tx<'_>, run: &Run) -> Result<Option<Shown>, DbError> {
    let (project, pipeline, git_ref) = (run.project, &run.pipeline, &run.git_ref);
    match run.seq {
        Some(seq) => {
            tx.query_one(SHOWN_BEFORE_MOVE, params![project, pipeline, git_ref, run.is_release, seq], read)
        }
        None => tx.query_one(
            SHOWN_BEFORE_TIME,
            params![project, pipeline, git_ref, run.is_release, run.created, run.id],
            read,
        ),
    }
}

/// Commits of moves between what was shown and the run's own, at most `max`: each may be published still, by a run that
/// is not over or by a person who has a failed one made again. Those that were left out are not among them.
pub fn between(tx: &mut Tx<'_>, run: &Run, shown: &Shown, max: i64) -> Result<Vec<CommitId>, DbError> {
    let Some(seq) = run.seq else { return Ok(Vec::new()) };
    let (project, pipeline, git_ref) = (run.project, &run.pipeline, &run.git_ref);
    tx.query(
        BETWEEN,
        params![project, pipeline, git_ref, run.is_release, shown.seq, seq, RunState::Skipped, max],
        |row| row.get(0),
    )
}
