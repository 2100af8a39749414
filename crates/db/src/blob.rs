//! Blobs: which bytes the storage holds, and which of them may go.

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
    MARK = "UPDATE blob SET state = 'deleting', since_ms = $2 WHERE digest = $1 AND state = 'live' AND NOT EXISTS (SELECT 1 FROM step_blob WHERE step_blob.digest = blob.digest) AND NOT EXISTS (SELECT 1 FROM publication WHERE publication.digest = blob.digest)";
    DELETING = "SELECT digest FROM blob WHERE state = 'deleting' ORDER BY since_ms LIMIT $1";
    GONE = "DELETE FROM blob WHERE digest = $1 AND state = 'deleting'";
    KNOWN = "SELECT 1 FROM blob WHERE digest = $1";
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
