//! Ref heads: what each ref of a remote was last seen to be.

use gristmill_model::{CommitId, GitRef, ObjectId, ProjectId, Timestamp};

use crate::error::DbError;
use crate::statements::statements;
use crate::tx::{Row, Tx};
use crate::verify::Faults;
use crate::{params, sum};

statements! {
    NEXT_MOVE = "UPDATE counter SET value = value + 1 WHERE name = 'move' RETURNING value";
    GET = "SELECT ref, tip, object, seq, seen_ms, sum, project_id FROM ref_head WHERE project_id = $1 AND ref = $2";
    LIST = "SELECT ref, tip, object, seq, seen_ms, sum, project_id FROM ref_head WHERE project_id = $1 ORDER BY ref";
    UNBUILT = "SELECT ref, tip, object, seq, seen_ms, sum, project_id FROM ref_head WHERE project_id = $1 AND tip IS NOT NULL AND NOT EXISTS (SELECT 1 FROM run WHERE run.project_id = $1 AND run.pipeline = $2 AND run.ref = ref_head.ref AND run.commit_id = ref_head.tip AND run.is_release = FALSE) ORDER BY ref";
    PAGE = "SELECT ref, tip, object, seq, seen_ms, sum, project_id FROM ref_head WHERE (project_id, ref) > (substr($1, 1, 26), substr($1, 28)) ORDER BY project_id, ref LIMIT $2";
    PUT = "INSERT INTO ref_head (project_id, ref, tip, object, seq, seen_ms, sum) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (project_id, ref) DO UPDATE SET tip = excluded.tip, object = excluded.object, seq = excluded.seq, seen_ms = excluded.seen_ms, sum = excluded.sum";
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
    let head = Head {
        git_ref: row.get(0)?,
        tip: row.get(1)?,
        object: row.get(2)?,
        seq: row.get(3)?,
        seen: row.get(4)?,
    };
    sum::check(
        "ref_head",
        params![row.get::<ProjectId>(6)?, &head.git_ref, head.tip, head.object, head.seq, head.seen],
        row.get(5)?,
    )?;
    Ok(head)
}

/// Reads all of them, which compares their checksums. They are found by `<project> <ref>`; an id has 26 letters.
pub(crate) fn verify(tx: &mut Tx<'_>, faults: &mut Faults) -> Result<(), DbError> {
    faults.go_through(tx, PAGE, |row| Ok(format!("{} {}", row.get::<ProjectId>(6)?, read(row)?.git_ref)))
}

/// The next number in the order of moves.
pub fn next_move(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    let value = tx.query_one(NEXT_MOVE, params![], |row| row.get(0))?;
    value.ok_or(DbError::Sql("the counter of moves is missing".to_owned()))
}

/// What a ref was last seen to be.
pub fn get(tx: &mut Tx<'_>, project: ProjectId, git_ref: &GitRef) -> Result<Option<Head>, DbError> {
    let found = tx.query_one(GET, params![project, git_ref], read)?;
    match found {
        Some(other) if other.git_ref != *git_ref => Err(sum::damaged("ref_head")),
        found => Ok(found),
    }
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
    let sum = sum::of(params![project, git_ref, tip, object, seq, now]);
    tx.execute(PUT, params![project, git_ref, tip, object, seq, now, sum])?;
    Ok(seq)
}
