//! Ref heads: what each ref of a remote was last seen to be.

use gristmill_model::{CommitId, GitRef, ObjectId, ProjectId, Timestamp};

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::{Row, Tx};

statements! {
    NEXT_MOVE = "UPDATE counter SET value = value + 1 WHERE name = 'move' RETURNING value";
    GET = "SELECT ref, tip, object, seq, seen_ms FROM ref_head WHERE project_id = $1 AND ref = $2";
    LIST = "SELECT ref, tip, object, seq, seen_ms FROM ref_head WHERE project_id = $1 ORDER BY ref";
    UNBUILT = "SELECT ref, tip, object, seq, seen_ms FROM ref_head WHERE project_id = $1 AND tip IS NOT NULL AND NOT EXISTS (SELECT 1 FROM run WHERE run.project_id = $1 AND run.pipeline = $2 AND run.ref = ref_head.ref AND run.commit_id = ref_head.tip AND run.is_release = FALSE) ORDER BY ref";
    PUT = "INSERT INTO ref_head (project_id, ref, tip, object, seq, seen_ms) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (project_id, ref) DO UPDATE SET tip = excluded.tip, object = excluded.object, seq = excluded.seq, seen_ms = excluded.seen_ms";
}

/// What a ref was last seen to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The ref.
    pub git_ref: GitRef,
    /// The commit; `None`: the ref is gone.
    pub tip: Option<CommitId>,
    /// What the ref names; differs from the commit for annotated tags.
    pub object: Option<ObjectId>,
    /// When the ref came to be this, in the order over all refs in which moves were seen.
    pub seq: i64,
    /// When that was seen.
    pub seen: Timestamp,
}

fn read(row: &Row<'_, '_>) -> Result<Head, DbError> {
    Ok(Head {
        git_ref: row.get(0)?,
        tip: row.get(1)?,
        object: row.get(2)?,
        seq: row.get(3)?,
        seen: row.get(4)?,
    })
}

/// The next number in the order of moves.
pub fn next_move(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    let value = tx.query_one(NEXT_MOVE, params![], |row| row.get(0))?;
    value.ok_or(DbError::Sql("the counter of moves is missing".to_owned()))
}

/// What a ref was last seen to be.
pub fn get(tx: &mut Tx<'_>, project: ProjectId, git_ref: &GitRef) -> Result<Option<Head>, DbError> {
    tx.query_one(GET, params![project, git_ref], read)
}

/// All refs ever seen of a project.
pub fn list(tx: &mut Tx<'_>, project: ProjectId) -> Result<Vec<Head>, DbError> {
    tx.query(LIST, params![project], read)
}

/// Refs whose tip has no run in the pipeline.
pub fn unbuilt(tx: &mut Tx<'_>, project: ProjectId, pipeline: &str) -> Result<Vec<Head>, DbError> {
    tx.query(UNBUILT, params![project, pipeline], read)
}

/// Records a move; its number. The caller compared with the head before: the remote is the judge of
/// what is a move, and looks at one remote never overlap.
pub fn moved(
    tx: &mut Tx<'_>,
    project: ProjectId,
    git_ref: &GitRef,
    tip: Option<CommitId>,
    object: Option<ObjectId>,
) -> Result<i64, DbError> {
    let seq = next_move(tx)?;
    let now = tx.now();
    tx.execute(PUT, params![project, git_ref, tip, object, seq, now])?;
    Ok(seq)
}
