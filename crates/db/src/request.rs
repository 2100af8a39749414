//! Build requests: a person, a schedule or another part of the program asks for the tips of some
//! refs to be built although they did not move, or for a commit that nobody else tells of. The next look at
//! the remote carries them out.

use gristmill_model::{CommitId, GitRef, ProjectId};

use crate::error::DbError;
use crate::statements::statements;
use crate::tx::Tx;
use crate::{job, params};

statements! {
    INSERT = "INSERT INTO build_request (id, project_id, pipeline, ref, commit_id, is_release, cause, cause_id, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    WAITING = "SELECT id, pipeline, ref, commit_id, is_release, cause, cause_id FROM build_request WHERE project_id = $1 ORDER BY id";
    DELETE = "DELETE FROM build_request WHERE id = $1";
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BuildRequest {
    /// Of which pipeline; all, where not said.
    pub pipeline: Option<String>,
    /// Of which ref; all that are wanted, where not said.
    pub git_ref: Option<GitRef>,
    /// Of which commit of that ref, where it has no run yet; the tip in any case, where not said.
    pub commit: Option<CommitId>,
    /// Whether a release of the forge is what is built, where it has no run yet.
    pub is_release: bool,
    /// manual, schedule or missed.
    pub cause: String,
    /// Who or which.
    pub cause_id: Option<String>,
}

/// Records a request and asks for a look.
pub fn add(tx: &mut Tx<'_>, project: ProjectId, request: &BuildRequest) -> Result<String, DbError> {
    let now = tx.now();
    let id = gristmill_model::RunId::new(tx.id_time(), tx.random()).to_string();
    let BuildRequest { pipeline, git_ref, commit, is_release, cause, cause_id } = request;
    tx.execute(
        INSERT,
        params![
            &id,
            project,
            pipeline.as_deref(),
            git_ref.as_ref(),
            *commit,
            *is_release,
            cause,
            cause_id.as_deref(),
            now
        ],
    )?;
    job::ask_for_look(tx, project, job::PRIORITY_HOOK)?;
    Ok(id)
}

/// The requests that wait, and removes them: the caller carries them out in the same transaction.
pub fn take(tx: &mut Tx<'_>, project: ProjectId) -> Result<Vec<BuildRequest>, DbError> {
    let waiting = tx.query(WAITING, params![project], |row| {
        let request = BuildRequest {
            pipeline: row.get(1)?,
            git_ref: row.get(2)?,
            commit: row.get(3)?,
            is_release: row.get(4)?,
            cause: row.get(5)?,
            cause_id: row.get(6)?,
        };
        Ok((row.get::<String>(0)?, request))
    })?;
    let mut requests = Vec::with_capacity(waiting.len());
    for (id, request) in waiting {
        tx.execute(DELETE, params![id])?;
        requests.push(request);
    }
    Ok(requests)
}
