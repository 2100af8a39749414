//! Holders of keys: one at a time writes to a key, and who comes next waits until that one's request is over.

use std::time::Duration;

use gristmill_model::{BootId, FolderId, JobId, ObjectKey, Timestamp};

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::Tx;

statements! {
    HOLDER = "SELECT job_id, attempt, until_ms, hold_ms FROM key_holder WHERE key = $1";
    HOLDERS = "SELECT key, job_id, attempt, until_ms FROM key_holder";
    HOLD = "INSERT INTO key_holder (key, job_id, attempt, until_ms, hold_ms) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (key) DO UPDATE SET job_id = excluded.job_id, attempt = excluded.attempt, until_ms = excluded.until_ms, hold_ms = excluded.hold_ms";
    LET_GO = "DELETE FROM key_holder WHERE key = $1 AND job_id = $2";
    LET_ALL_GO = "DELETE FROM key_holder";
    LET_GO_OF = "DELETE FROM key_holder WHERE EXISTS (SELECT 1 FROM job_attempt JOIN boot ON boot.id = job_attempt.boot_id WHERE job_attempt.job_id = key_holder.job_id AND job_attempt.attempt = key_holder.attempt AND boot.folder = $1 AND boot.id <> $2)";
}

/// Who holds a key: the job, its attempt, and until when by the clock. Taken again, it is another moment.
pub type Holder = (JobId, i64, Timestamp);

/// All holders, for [`crate::watch::Watch`].
pub fn holders(tx: &mut Tx<'_>) -> Result<Vec<(ObjectKey, Holder)>, DbError> {
    tx.query(HOLDERS, params![], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?))))
}

/// Becomes the holder of a key for `hold`, the hard limit of one request to the bucket: `None`. Where
/// another job holds it, how long to wait: the request it may have under way, with the limit that one has, must have
/// ended before anybody else writes to the key. `stood` says how long this process has seen the holder stand: the time of day, which
/// jumps, does not say that a request is over.
pub fn hold(
    tx: &mut Tx<'_>,
    key: &ObjectKey,
    (job, attempt): (JobId, i64),
    hold: Duration,
    stood: impl Fn(&Holder) -> Duration,
) -> Result<Option<Duration>, DbError> {
    let holder: Option<(Holder, i64)> =
        tx.query_one(HOLDER, params![key], |row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?)))?;
    if let Some((holder, its_ms)) = holder
        && (holder.0, holder.1) != (job, attempt)
    {
        let its = Duration::from_millis(u64::try_from(its_ms).unwrap_or(0));
        let left = its.saturating_sub(stood(&holder));
        if !left.is_zero() {
            return Ok(Some(left));
        }
    }
    let hold_ms = i64::try_from(hold.as_millis()).unwrap_or(i64::MAX);
    tx.execute(HOLD, params![key, job, attempt, tx.now().plus(hold), hold_ms])?;
    Ok(None)
}

/// Lets a key go.
pub fn let_go(tx: &mut Tx<'_>, key: &ObjectKey, job: JobId) -> Result<(), DbError> {
    tx.execute(LET_GO, params![key, job]).map(drop)
}

/// Lets all keys go: nobody but this process works on the database, and it holds none yet.
pub fn let_all_go(tx: &mut Tx<'_>) -> Result<(), DbError> {
    tx.execute(LET_ALL_GO, params![]).map(drop)
}

/// Lets the keys go that earlier boots on this data folder held, which this boot alone works on.
pub fn let_go_of_earlier(tx: &mut Tx<'_>, folder: FolderId, mine: BootId) -> Result<(), DbError> {
    tx.execute(LET_GO_OF, params![folder, mine]).map(drop)
}
