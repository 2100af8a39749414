//! Publications: what public keys should hold.
//!
//! A row is committed first, as *desired*; then one holder per key projects it to the bucket. A key
//! only moves forward, in the order in which the remote's refs moved.

use std::collections::BTreeMap;

use gristmill_model::{
    CommitId, Digest, GitRef, ObjectKey, ProjectId, PublicationId, PublicationState, RunId, Timestamp,
};

pub use crate::extra::{Extra, more_than, older_than};

use crate::error::DbError;
use crate::statements::statements;
use crate::tx::{Row, Tx};
use crate::value::Param;
use crate::verify::Faults;
use crate::{head, params, sum};

pub use crate::hold::{Holder, hold, holders, let_all_go, let_go, let_go_of_earlier};

statements! {
    TOP = "SELECT id, key, seq, digest, size, content_type, metadata, state, project_id, pipeline, ref, commit_id, run_id, version_id, created_ms, published_ms, sum FROM publication WHERE key = $1 AND state <> 'overtaken' ORDER BY seq DESC LIMIT 1";
    PUBLISHED = "SELECT id, key, seq, digest, size, content_type, metadata, state, project_id, pipeline, ref, commit_id, run_id, version_id, created_ms, published_ms, sum FROM publication WHERE key = $1 AND state = 'published' AND seq < $2 ORDER BY seq DESC LIMIT $3";
    AT = "SELECT id, key, seq, digest, size, content_type, metadata, state, project_id, pipeline, ref, commit_id, run_id, version_id, created_ms, published_ms, sum FROM publication WHERE key = $1 AND seq = $2 AND state = 'published'";
    OF_RUN = "SELECT id, key, seq, digest, size, content_type, metadata, state, project_id, pipeline, ref, commit_id, run_id, version_id, created_ms, published_ms, sum FROM publication WHERE run_id = $1 ORDER BY seq LIMIT 100";
    INSERT = "INSERT INTO publication (id, key, seq, digest, size, content_type, metadata, project_id, pipeline, ref, commit_id, run_id, version_id, created_ms, published_ms, sum, state) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, 'desired')";
    ADOPT = "UPDATE publication SET run_id = $2, sum = $3 WHERE id = $1";
    OVERTAKE = "UPDATE publication SET state = 'overtaken' WHERE key = $1 AND seq < $2 AND state = 'desired'";
    TO_PUBLISH = "SELECT id, key, seq, digest, size, content_type, metadata, state, project_id, pipeline, ref, commit_id, run_id, version_id, created_ms, published_ms, sum FROM publication WHERE key = $1 AND seq = $2 AND state <> 'published'";
    RENEW = "UPDATE publication SET sum = $2 WHERE id = $1";
    PAGE = "SELECT id, key, seq, digest, size, content_type, metadata, state, project_id, pipeline, ref, commit_id, run_id, version_id, created_ms, published_ms, sum FROM publication WHERE id > $1 ORDER BY id LIMIT $2";
    DONE = "UPDATE publication SET state = 'published', version_id = $2, published_ms = $3, sum = $4 WHERE id = $1";
    KEYS = "SELECT DISTINCT key FROM publication WHERE key > $1 AND state <> 'overtaken' ORDER BY key LIMIT $2";
    KEYS_OF = "SELECT DISTINCT key FROM publication WHERE project_id = $1 ORDER BY key LIMIT $2";
    DELETE = "DELETE FROM publication WHERE key = $1 AND seq = $2";
    OF_VERSION = "SELECT id, key, seq, digest, size, content_type, metadata, state, project_id, pipeline, ref, commit_id, run_id, version_id, created_ms, published_ms, sum FROM publication WHERE key = $1 AND seq = $2";
    NAME_VERSION = "UPDATE publication SET version_id = $2, sum = $3 WHERE id = $1";
    SHARED = "SELECT 1 FROM publication WHERE key = $1 AND project_id <> $2 LIMIT 1";
    DELETE_OF = "DELETE FROM publication WHERE key = $1 AND project_id = $2";
}

/// What a public key holds, held, or is about to hold.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Its id.
    pub id: PublicationId,
    /// The key.
    pub key: ObjectKey,
    /// The move it follows; a key's versions are in this order.
    pub seq: i64,
    /// The bytes.
    pub digest: Digest,
    /// How many.
    pub size: i64,
    /// Their media type.
    pub content_type: String,
    /// What readers are told beside the bytes.
    pub metadata: BTreeMap<String, String>,
    /// Its state.
    pub state: PublicationState,
    /// Whose.
    pub project: ProjectId,
    /// From which pipeline.
    pub pipeline: String,
    /// Of which ref.
    pub git_ref: GitRef,
    /// Of which commit.
    pub commit: CommitId,
    /// By which run.
    pub run: RunId,
    /// The bucket's own name of the version.
    pub version_id: Option<String>,
    /// When it was desired.
    pub created: Timestamp,
    /// When readers could see it.
    pub published: Option<Timestamp>,
}

fn read(row: &Row<'_, '_>) -> Result<Publication, DbError> {
    let publication = read_unchecked(row)?;
    sum::check("publication", &columns(&publication), row.get(16)?)?;
    Ok(publication)
}

fn read_unchecked(row: &Row<'_, '_>) -> Result<Publication, DbError> {
    let metadata: String = row.get(6)?;
    let publication = Publication {
        id: row.get(0)?,
        key: row.get(1)?,
        seq: row.get(2)?,
        digest: row.get(3)?,
        size: row.get(4)?,
        content_type: row.get(5)?,
        metadata: serde_json::from_str(&metadata)
            .map_err(|fault| DbError::Row { column: 6, fault: fault.to_string() })?,
        state: row.get(7)?,
        project: row.get(8)?,
        pipeline: row.get(9)?,
        git_ref: row.get(10)?,
        commit: row.get(11)?,
        run: row.get(12)?,
        version_id: row.get(13)?,
        created: row.get(14)?,
        published: row.get(15)?,
    };
    Ok(publication)
}

/// The row of a key: an index that is damaged leads to another one.
fn of_key(key: &ObjectKey) -> impl Fn(&Row<'_, '_>) -> Result<Publication, DbError> {
    move |row| {
        let found = read(row)?;
        if found.key == *key { Ok(found) } else { Err(sum::damaged("publication")) }
    }
}

/// All columns but the state, of whose words none becomes another one by little.
fn columns(row: &Publication) -> Vec<Param<'_>> {
    let metadata = serde_json::to_string(&row.metadata).expect("texts");
    params![
        row.id,
        &row.key,
        row.seq,
        row.digest,
        row.size,
        &row.content_type,
        metadata,
        row.project,
        &row.pipeline,
        &row.git_ref,
        row.commit,
        row.run,
        row.version_id.as_deref(),
        row.created,
        row.published
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
    faults.go_through(tx, PAGE, |row| read(row).map(|row| row.id.to_string()))
}

/// What a run wants a key to hold.
#[derive(Clone, Debug)]
pub struct Desire {
    /// The key.
    pub key: ObjectKey,
    /// The move it follows.
    pub seq: i64,
    /// The bytes.
    pub digest: Digest,
    /// How many.
    pub size: i64,
    /// Their media type.
    pub content_type: String,
    /// What readers are told beside the bytes.
    pub metadata: BTreeMap<String, String>,
    /// Whose.
    pub project: ProjectId,
    /// From which pipeline.
    pub pipeline: String,
    /// Of which ref.
    pub git_ref: GitRef,
    /// Of which commit.
    pub commit: CommitId,
    /// By which run.
    pub run: RunId,
    /// Whether another ref, pipeline or project may publish under the same key.
    pub allow_shared_key: bool,
}

/// What became of a desire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Desired {
    /// The key is to hold it, as version `seq`.
    Committed {
        /// The version.
        seq: i64,
    },
    /// The key already holds it, as version `seq`, from an earlier run of the same move.
    Already {
        /// The version.
        seq: i64,
    },
    /// The key went on to a later move: it never goes back.
    Overtaken {
        /// The later move.
        by: i64,
    },
    /// Another ref, pipeline or project publishes under this key.
    Taken {
        /// Which one, for people.
        by: String,
    },
}

/// Commits what a key is to hold. In a transaction that also proves the lease.
pub fn desire(tx: &mut Tx<'_>, want: &Desire) -> Result<Desired, DbError> {
    let mut seq = want.seq;
    if let Some(top) = top(tx, &want.key)? {
        let same_owner =
            (top.project, &top.pipeline, &top.git_ref) == (want.project, &want.pipeline, &want.git_ref);
        if !same_owner && !want.allow_shared_key {
            let by = format!("pipeline `{}` for {} (run {})", top.pipeline, top.git_ref, top.run);
            return Ok(Desired::Taken { by });
        }
        if top.seq >= seq && (top.commit, top.digest) == (want.commit, want.digest) {
            return already(tx, &top, want.run);
        }
        if top.seq > seq {
            return Ok(Desired::Overtaken { by: top.seq });
        }
        if top.seq == seq {
            // The same move built again came out differently: the settings have changed. A version
            // never changes its bytes, so that this becomes a version, and a move, of its own; unless
            // the ref went on, or a younger run has built the move with newer settings.
            match renumber(tx, want, top.run)? {
                Ok(renumbered) => seq = renumbered,
                Err(by) => return Ok(Desired::Overtaken { by }),
            }
        }
    }
    insert(tx, want, seq)?;
    Ok(Desired::Committed { seq })
}

/// The key is at what is wanted, under the same number or, where it was numbered anew, a later one.
fn already(tx: &mut Tx<'_>, top: &Publication, run: RunId) -> Result<Desired, DbError> {
    if top.state == PublicationState::Published {
        return Ok(Desired::Already { seq: top.seq });
    }
    // Whoever desired it may be over: from now on it is this run's to bring about.
    let sum = sum::of(&columns(&Publication { run, ..top.clone() }));
    tx.execute(ADOPT, params![top.id, run, sum])?;
    Ok(Desired::Committed { seq: top.seq })
}

/// A new number for the tip of a ref, built again; or the move by which it is overtaken.
fn renumber(tx: &mut Tx<'_>, want: &Desire, rival: RunId) -> Result<Result<i64, i64>, DbError> {
    if want.run < rival {
        return Ok(Err(want.seq));
    }
    match head::get(tx, want.project, &want.git_ref)? {
        Some(head) if head.tip == Some(want.commit) => {
            head::moved(tx, want.project, &want.git_ref, head.tip, head.object).map(Ok)
        }
        Some(head) => Ok(Err(head.seq)),
        None => head::next_move(tx).map(Ok),
    }
}

fn insert(tx: &mut Tx<'_>, want: &Desire, seq: i64) -> Result<(), DbError> {
    let now = tx.now();
    let row = Publication {
        id: PublicationId::new(tx.id_time(), tx.random()),
        key: want.key.clone(),
        seq,
        digest: want.digest,
        size: want.size,
        content_type: want.content_type.clone(),
        metadata: want.metadata.clone(),
        state: PublicationState::Desired,
        project: want.project,
        pipeline: want.pipeline.clone(),
        git_ref: want.git_ref.clone(),
        commit: want.commit,
        run: want.run,
        version_id: None,
        created: now,
        published: None,
    };
    let mut columns = columns(&row);
    columns.push(sum::of(&columns).into());
    tx.execute(INSERT, &columns)?;
    tx.execute(OVERTAKE, params![&want.key, seq]).map(drop)
}

/// What the key holds or is about to hold.
pub fn top(tx: &mut Tx<'_>, key: &ObjectKey) -> Result<Option<Publication>, DbError> {
    tx.query_one(TOP, params![key], of_key(key))
}

/// The published versions of a key, newest first, those before version `before`.
pub fn versions(
    tx: &mut Tx<'_>,
    key: &ObjectKey,
    before: i64,
    limit: i64,
) -> Result<Vec<Publication>, DbError> {
    tx.query(PUBLISHED, params![key, before, limit], of_key(key))
}

/// One published version of a key.
pub fn at(tx: &mut Tx<'_>, key: &ObjectKey, seq: i64) -> Result<Option<Publication>, DbError> {
    let found = tx.query_one(AT, params![key, seq], of_key(key))?;
    match found {
        Some(other) if other.seq != seq => Err(sum::damaged("publication")),
        found => Ok(found),
    }
}

/// What a run published.
pub fn of_run(tx: &mut Tx<'_>, run: RunId) -> Result<Vec<Publication>, DbError> {
    tx.query(OF_RUN, params![run], read)
}

/// Keys that hold or are about to hold something, in order, those after `after`.
pub fn keys(tx: &mut Tx<'_>, after: &str, limit: i64) -> Result<Vec<ObjectKey>, DbError> {
    tx.query(KEYS, params![after, limit], |row| row.get(0))
}

/// Keys under which a project publishes or published.
pub fn keys_of(tx: &mut Tx<'_>, project: ProjectId, limit: i64) -> Result<Vec<ObjectKey>, DbError> {
    tx.query(KEYS_OF, params![project, limit], |row| row.get(0))
}

/// Readers see version `seq` of the key, or saw it while a later one was being desired.
pub fn published(
    tx: &mut Tx<'_>,
    key: &ObjectKey,
    seq: i64,
    version_id: Option<&str>,
) -> Result<(), DbError> {
    let now = tx.now();
    for found in tx.query(TO_PUBLISH, params![key, seq], of_key(key))? {
        let version_id = version_id.map(str::to_owned);
        let done = Publication { version_id, published: Some(now), ..found };
        let sum = sum::of(&columns(&done));
        tx.execute(DONE, params![done.id, done.version_id.as_deref(), now, sum])?;
    }
    Ok(())
}

/// Whether another project than this publishes or published under the key.
pub fn is_shared(tx: &mut Tx<'_>, key: &ObjectKey, project: ProjectId) -> Result<bool, DbError> {
    Ok(tx.query_one(SHARED, params![key, project], |_| Ok(()))?.is_some())
}

/// Forgets all versions of a key that a project published.
pub fn delete_of(tx: &mut Tx<'_>, key: &ObjectKey, project: ProjectId) -> Result<(), DbError> {
    tx.execute(DELETE_OF, params![key, project]).map(drop)
}

/// Forgets a version.
pub fn delete(tx: &mut Tx<'_>, key: &ObjectKey, seq: i64) -> Result<(), DbError> {
    tx.execute(DELETE, params![key, seq]).map(drop)
}

/// Forgets the bucket's own names of all versions: the rows were brought to another bucket. How many had one.
pub(crate) fn forget_version_ids(tx: &mut Tx<'_>) -> Result<usize, DbError> {
    let (mut after, mut forgotten) = (String::new(), 0);
    loop {
        let page = tx.query(PAGE, params![&after, Faults::PAGE], read)?;
        let Some(last) = page.last() else { return Ok(forgotten) };
        after = last.id.to_string();
        for row in page.into_iter().filter(|row| row.version_id.is_some()) {
            name_version(tx, row, None)?;
            forgotten += 1;
        }
    }
}

/// Records the bucket's own name of a version that is shown again.
pub fn found(tx: &mut Tx<'_>, key: &ObjectKey, seq: i64, version_id: &str) -> Result<(), DbError> {
    for row in tx.query(OF_VERSION, params![key, seq], of_key(key))? {
        name_version(tx, row, Some(version_id))?;
    }
    Ok(())
}

fn name_version(tx: &mut Tx<'_>, row: Publication, version_id: Option<&str>) -> Result<(), DbError> {
    let named = Publication { version_id: version_id.map(str::to_owned), ..row };
    tx.execute(NAME_VERSION, params![named.id, version_id, sum::of(&columns(&named))]).map(drop)
}
