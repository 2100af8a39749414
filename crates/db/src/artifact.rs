//! Artifacts: what runs made, traced back to the commit.

use gristmill_model::{ArtifactId, CommitId, Digest, GitRef, ObjectKey, ProjectId, RunId, Timestamp, TreeId};

use crate::error::DbError;
use crate::statements::statements;
use crate::tx::{Row, Tx};
use crate::value::Param;
use crate::verify::Faults;
use crate::{params, sum};

statements! {
    INSERT = "INSERT INTO artifact (id, run_id, project_id, pipeline, ref, commit_id, tree_id, recipe, step_key, digest, size, media_type, index_digest, key, created_ms, sum) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    OF_RUN_DELETE = "DELETE FROM artifact WHERE run_id = $1";
    NEWEST = "SELECT id, run_id, project_id, pipeline, ref, commit_id, tree_id, recipe, step_key, digest, size, media_type, index_digest, key, created_ms, sum FROM artifact WHERE project_id = $1 AND pipeline = $2 AND recipe = $3 AND index_digest IS NOT NULL ORDER BY id DESC LIMIT 1";
    OF_COMMIT = "SELECT id, run_id, project_id, pipeline, ref, commit_id, tree_id, recipe, step_key, digest, size, media_type, index_digest, key, created_ms, sum FROM artifact WHERE key = $1 AND commit_id = $2 ORDER BY id DESC LIMIT 1";
    OF_RUN = "SELECT id, run_id, project_id, pipeline, ref, commit_id, tree_id, recipe, step_key, digest, size, media_type, index_digest, key, created_ms, sum FROM artifact WHERE run_id = $1 ORDER BY id LIMIT 100";
    OLD = "SELECT artifact.id FROM artifact WHERE project_id = $1 AND pipeline = $2 AND created_ms < $3 AND NOT EXISTS (SELECT 1 FROM publication WHERE publication.run_id = artifact.run_id) AND NOT EXISTS (SELECT 1 FROM run WHERE run.id = artifact.run_id AND run.state IN ('queued', 'running')) LIMIT $4";
    RENEW = "UPDATE artifact SET sum = $2 WHERE id = $1";
    PAGE = "SELECT id, run_id, project_id, pipeline, ref, commit_id, tree_id, recipe, step_key, digest, size, media_type, index_digest, key, created_ms, sum FROM artifact WHERE id > $1 ORDER BY id LIMIT $2";
    DELETE = "DELETE FROM artifact WHERE id = $1";
}

/// A named result.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Its id.
    pub id: ArtifactId,
    /// The run that made it.
    pub run: RunId,
    /// The project.
    pub project: ProjectId,
    /// The pipeline.
    pub pipeline: String,
    /// The ref that was pushed.
    pub git_ref: GitRef,
    /// The commit.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// What was done to the tree: format, options, versions.
    pub recipe: String,
    /// The content-keyed step that made the bytes.
    pub step: Digest,
    /// The bytes.
    pub digest: Digest,
    /// How many.
    pub size: i64,
    /// Their media type.
    pub media_type: String,
    /// The index beside them that lets the next archive reuse their members.
    pub index: Option<Digest>,
    /// The public key it was made for.
    pub key: ObjectKey,
    /// When.
    pub created: Timestamp,
}

fn read(row: &Row<'_, '_>) -> Result<Artifact, DbError> {
    let artifact = read_unchecked(row)?;
    sum::check("artifact", &columns(&artifact), row.get(15)?)?;
    Ok(artifact)
}

fn read_unchecked(row: &Row<'_, '_>) -> Result<Artifact, DbError> {
    let artifact = Artifact {
        id: row.get(0)?,
        run: row.get(1)?,
        project: row.get(2)?,
        pipeline: row.get(3)?,
        git_ref: row.get(4)?,
        commit: row.get(5)?,
        tree: row.get(6)?,
        recipe: row.get(7)?,
        step: row.get(8)?,
        digest: row.get(9)?,
        size: row.get(10)?,
        media_type: row.get(11)?,
        index: row.get(12)?,
        key: row.get(13)?,
        created: row.get(14)?,
    };
    Ok(artifact)
}

fn columns(artifact: &Artifact) -> Vec<Param<'_>> {
    let Artifact { id, run, project, pipeline, git_ref, commit, tree, recipe, .. } = artifact;
    params![
        *id,
        *run,
        *project,
        pipeline,
        git_ref,
        *commit,
        *tree,
        recipe,
        artifact.step,
        artifact.digest,
        artifact.size,
        &artifact.media_type,
        artifact.index,
        &artifact.key,
        artifact.created
    ]
    .to_vec()
}

/// Writes the checksums anew of rows that were not written by this module.
pub(crate) fn renew(tx: &mut Tx<'_>) -> Result<(), DbError> {
    let mut after = String::new();
    loop {
        let page = tx.query(PAGE, params![&after, Faults::PAGE], read_unchecked)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.id.to_string();
        for row in &page {
            tx.execute(RENEW, params![row.id, sum::of(&columns(row))])?;
        }
    }
}

/// Reads all of them, which compares their checksums.
pub(crate) fn verify(tx: &mut Tx<'_>, faults: &mut Faults) -> Result<(), DbError> {
    faults.go_through(tx, PAGE, |row| read(row).map(|artifact| artifact.id.to_string()))
}

/// Records an artifact; one that the same run recorded before is replaced.
pub fn insert(tx: &mut Tx<'_>, artifact: &Artifact) -> Result<(), DbError> {
    tx.execute(OF_RUN_DELETE, params![artifact.run])?;
    let mut columns = columns(artifact);
    columns.push(sum::of(&columns).into());
    tx.execute(INSERT, &columns).map(drop)
}

/// The newest artifact of a pipeline made by the same recipe: the next one takes over what is equal.
pub fn newest(
    tx: &mut Tx<'_>,
    project: ProjectId,
    pipeline: &str,
    recipe: &str,
) -> Result<Option<Artifact>, DbError> {
    tx.query_one(NEWEST, params![project, pipeline, recipe], read)
}

/// What was made of a commit for a key, moved or not.
pub fn of_commit(tx: &mut Tx<'_>, key: &ObjectKey, commit: CommitId) -> Result<Option<Artifact>, DbError> {
    let found = tx.query_one(OF_COMMIT, params![key, commit], read)?;
    // An index that is damaged leads to another row.
    match found {
        Some(other) if (&other.key, other.commit) != (key, commit) => Err(sum::damaged("artifact")),
        found => Ok(found),
    }
}

/// What a run made.
pub fn of_run(tx: &mut Tx<'_>, run: RunId) -> Result<Vec<Artifact>, DbError> {
    tx.query(OF_RUN, params![run], read)
}

/// Artifacts older than `before` whose run has no version left under a key.
pub fn old(
    tx: &mut Tx<'_>,
    project: ProjectId,
    pipeline: &str,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<ArtifactId>, DbError> {
    tx.query(OLD, params![project, pipeline, before, limit], |row| row.get(0))
}

/// Forgets an artifact; its bytes go with the collection where nothing else needs them.
pub fn delete(tx: &mut Tx<'_>, id: ArtifactId) -> Result<(), DbError> {
    tx.execute(DELETE, params![id]).map(drop)
}
