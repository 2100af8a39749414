//! Blobs: which bytes the storage holds, and which of them may go.

use std::time::Duration;

use gristmill_model::{Digest, Timestamp};

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::Tx;

statements! {
    GET = "SELECT state FROM blob WHERE digest = $1";
    INSERT = "INSERT INTO blob (digest, size, state, since_ms) VALUES ($1, $2, 'live', $3) ON CONFLICT (digest) DO UPDATE SET since_ms = CASE WHEN blob.state = 'live' THEN excluded.since_ms ELSE blob.since_ms END";
    CONFIRM = "UPDATE blob SET since_ms = $2 WHERE digest = $1 AND state = 'live'";
    UNUSED = "SELECT digest, size FROM blob WHERE state = 'live' AND since_ms < $1 AND NOT EXISTS (SELECT 1 FROM step_blob WHERE step_blob.digest = blob.digest) AND NOT EXISTS (SELECT 1 FROM publication WHERE publication.digest = blob.digest) LIMIT $2";
    MARK = "UPDATE blob SET state = 'deleting', since_ms = $2 WHERE digest = $1 AND state = 'live' AND NOT EXISTS (SELECT 1 FROM step_blob WHERE step_blob.digest = blob.digest) AND NOT EXISTS (SELECT 1 FROM publication WHERE publication.digest = blob.digest) AND NOT EXISTS (SELECT 1 FROM blob_hold WHERE until_ms > $2)";
    DELETING = "SELECT digest FROM blob WHERE state = 'deleting' ORDER BY since_ms LIMIT $1";
    GONE = "DELETE FROM blob WHERE digest = $1 AND state = 'deleting'";
    KNOWN = "SELECT 1 FROM blob WHERE digest = $1";
    NEEDED = "SELECT digest FROM (SELECT digest FROM step_blob UNION SELECT digest FROM publication UNION SELECT digest FROM artifact UNION SELECT index_digest FROM artifact WHERE index_digest IS NOT NULL) AS needed WHERE digest > $1 ORDER BY digest LIMIT $2";
    FORGET_DELETING = "DELETE FROM blob WHERE state = 'deleting'";
    FORGET_UNNEEDED = "DELETE FROM blob WHERE digest IN (SELECT digest FROM blob EXCEPT SELECT digest FROM step_blob EXCEPT SELECT digest FROM publication EXCEPT SELECT digest FROM artifact EXCEPT SELECT index_digest FROM artifact WHERE index_digest IS NOT NULL)";
    HOLD = "INSERT INTO blob_hold (id, until_ms) VALUES ($1, $2)";
    HOLD_ON = "UPDATE blob_hold SET until_ms = $2 WHERE id = $1 AND until_ms > $3";
    LET_GO = "DELETE FROM blob_hold WHERE id = $1 OR until_ms <= $2";
}

/// Why bytes cannot be referred to.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The collector is deleting the same bytes: store them again in a moment.
    #[error("the same bytes are being deleted at this moment; they are stored again shortly")]
    Deleting,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Records bytes that are about to be stored: from then on the collector, which takes only what was
/// recorded long ago, leaves them alone. (Stored first and recorded afterwards, they could be found there
/// already, and be deleted in between.) The transaction that refers to them calls [`confirm`].
pub fn add(tx: &mut Tx<'_>, digest: Digest, size: u64) -> Result<(), BlobError> {
    let state = tx.query_one(GET, params![digest], |row| row.get::<String>(0))?;
    if state.as_deref() == Some("deleting") {
        return Err(BlobError::Deleting);
    }
    let now = tx.now();
    let size = i64::try_from(size).unwrap_or(i64::MAX);
    tx.execute(INSERT, params![digest, size, now])?;
    Ok(())
}

/// Proves that bytes recorded before they were stored are still there, in the transaction that refers to
/// them. An error where the collector took them meanwhile, as it may when the program was asleep for
/// longer than it spares the unused: then they are stored again.
pub fn confirm(tx: &mut Tx<'_>, digest: Digest) -> Result<(), BlobError> {
    let now = tx.now();
    match tx.execute(CONFIRM, params![digest, now])? {
        1 => Ok(()),
        _ => Err(BlobError::Deleting),
    }
}

/// Blobs that nothing refers to and that were stored before `before`.
pub fn unused(tx: &mut Tx<'_>, before: Timestamp, limit: i64) -> Result<Vec<(Digest, i64)>, DbError> {
    tx.query(UNUSED, params![before, limit], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Marks the blobs as going that nothing refers to and that were stored before `before`, up to `limit`;
/// which. [`unused`] and [`mark_deleting`] in one: none of them can be stored again in between.
pub fn collect(tx: &mut Tx<'_>, before: Timestamp, limit: i64) -> Result<Vec<Digest>, DbError> {
    let mut marked = Vec::new();
    for (digest, _) in unused(tx, before, limit)? {
        if mark_deleting(tx, digest)? {
            marked.push(digest);
        }
    }
    Ok(marked)
}

/// Marks a blob as going, if still nothing refers to it. From then on nobody can refer to it.
pub fn mark_deleting(tx: &mut Tx<'_>, digest: Digest) -> Result<bool, DbError> {
    let now = tx.now();
    Ok(tx.execute(MARK, params![digest, now])? == 1)
}

/// Blobs that are going: their objects are to be deleted.
pub fn deleting(tx: &mut Tx<'_>, limit: i64) -> Result<Vec<Digest>, DbError> {
    tx.query(DELETING, params![limit], |row| row.get(0))
}

/// The object is deleted.
pub fn gone(tx: &mut Tx<'_>, digest: Digest) -> Result<(), DbError> {
    tx.execute(GONE, params![digest]).map(drop)
}

/// Whether the database knows these bytes at all; the storage may hold some that no transaction got
/// round to recording.
pub fn is_known(tx: &mut Tx<'_>, digest: Digest) -> Result<bool, DbError> {
    Ok(tx.query_one(KNOWN, params![digest], |_| Ok(()))?.is_some())
}

/// The columns that name blobs by their digests, as `table.column`: whoever adds one adds it here and to the
/// statements above. A test compares the list with the schema.
pub const REFERRING: &[&str] =
    &["artifact.digest", "artifact.index_digest", "publication.digest", "step_blob.digest"];

/// The blobs that rows refer to, in order, those after `after`.
pub fn needed(tx: &mut Tx<'_>, after: Option<Digest>, limit: i64) -> Result<Vec<Digest>, DbError> {
    let after = after.map_or(Vec::new(), |digest| digest.as_bytes().to_vec());
    tx.query(NEEDED, params![&after, limit], |row| row.get(0))
}

/// Forgets the blobs that no row refers to: where rows were brought from elsewhere, their bytes were not.
pub(crate) fn forget_unneeded(tx: &mut Tx<'_>) -> Result<usize, DbError> {
    Ok(tx.execute(FORGET_DELETING, params![])? + tx.execute(FORGET_UNNEEDED, params![])?)
}

/// From now on no blob is marked as going, until [`let_go`] or for so long: for who copies what a snapshot of the rows,
/// taken after this, refers to. Blobs that are going already are none of those.
pub fn hold(tx: &mut Tx<'_>, id: &str, hold: Duration) -> Result<(), DbError> {
    let until = tx.now().plus(hold);
    tx.execute(HOLD, params![id, until]).map(drop)
}

/// Prolongs a [`hold`]; false where it ran out, so that blobs may have gone.
pub fn hold_on(tx: &mut Tx<'_>, id: &str, hold: Duration) -> Result<bool, DbError> {
    let now = tx.now();
    Ok(tx.execute(HOLD_ON, params![id, now.plus(hold), now])? == 1)
}

/// Ends a [`hold`], and forgets those that ran out.
pub fn let_go(tx: &mut Tx<'_>, id: &str) -> Result<(), DbError> {
    let now = tx.now();
    tx.execute(LET_GO, params![id, now]).map(drop)
}
