//! What jobs wrote, in pieces, on a database that any program may be asked through.

use gristmill_model::{JobId, Timestamp};

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::Tx;

/// The longest piece.
const PIECE_BYTES_MAX: usize = 64 << 10;
/// The most pieces that one read brings.
const PIECES_MAX: i64 = 16;

statements! {
    LAST = "SELECT at + length(bytes) FROM job_log WHERE job_id = $1 ORDER BY at DESC LIMIT 1";
    PUT = "INSERT INTO job_log (job_id, at, bytes) VALUES ($1, $2, $3) ON CONFLICT (job_id, at) DO UPDATE SET bytes = excluded.bytes";
    READ = "SELECT at, bytes FROM job_log WHERE job_id = $1 AND at >= coalesce((SELECT max(at) FROM job_log AS other WHERE other.job_id = $1 AND other.at <= $2), 0) ORDER BY at LIMIT $3";
    DELETE = "DELETE FROM job_log WHERE job_id = $1";
    OLD = "SELECT DISTINCT job_id FROM job_log WHERE job_id < $1 ORDER BY job_id LIMIT $2";
}

/// How long the log of a job is.
pub fn length(tx: &mut Tx<'_>, job: JobId) -> Result<i64, DbError> {
    Ok(tx.query_one(LAST, params![job], |row| row.get(0))?.unwrap_or(0))
}

/// Writes what comes behind the first `at` bytes. The same again, or more of it, changes nothing but what is new. In a
/// transaction that proves the lease: one job, one writer.
pub fn put(tx: &mut Tx<'_>, job: JobId, at: i64, bytes: &[u8]) -> Result<(), DbError> {
    let mut at = at;
    for piece in bytes.chunks(PIECE_BYTES_MAX) {
        tx.execute(PUT, params![job, at, piece])?;
        at += i64::try_from(piece.len()).expect("a short piece");
    }
    Ok(())
}

/// What the log holds behind the first `offset` bytes, at most a MiB; empty where there is nothing yet.
pub fn read(tx: &mut Tx<'_>, job: JobId, offset: i64) -> Result<Vec<u8>, DbError> {
    let pieces = tx.query(READ, params![job, offset, PIECES_MAX], |row| {
        Ok((row.get::<i64>(0)?, row.get::<Vec<u8>>(1)?))
    })?;
    let mut found = Vec::new();
    for (at, bytes) in pieces {
        let before = usize::try_from(offset.saturating_sub(at)).unwrap_or(0);
        found.extend_from_slice(bytes.get(before..).unwrap_or_default());
    }
    Ok(found)
}

/// Deletes the log of a job.
pub(crate) fn delete(tx: &mut Tx<'_>, job: JobId) -> Result<(), DbError> {
    tx.execute(DELETE, params![job]).map(drop)
}

/// Deletes the logs of up to `max` jobs that were made before `before`; of how many.
pub fn expire(tx: &mut Tx<'_>, before: Timestamp, max: i64) -> Result<usize, DbError> {
    // Ids begin with the moment they were made.
    let old = tx.query(OLD, params![JobId::new(before, 0), max], |row| row.get::<JobId>(0))?;
    old.iter().try_for_each(|job| delete(tx, *job))?;
    Ok(old.len())
}
