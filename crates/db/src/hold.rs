//! Holders of keys: one at a time writes to a key, and who comes next waits until that one's request is over.

use std::time::Duration;

use gristmill_model::{JobId, ObjectKey, Timestamp};

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::Tx;

statements! {
    HOLDER = "SELECT job_id, attempt, until_ms FROM key_holder WHERE key = $1";
    HOLDERS = "SELECT key, job_id, attempt, until_ms FROM key_holder";
    HOLD = "INSERT INTO key_holder (key, job_id, attempt, until_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (key) DO UPDATE SET job_id = excluded.job_id, attempt = excluded.attempt, until_ms = excluded.until_ms";
    LET_GO = "DELETE FROM key_holder WHERE key = $1 AND job_id = $2";
    LET_ALL_GO = "DELETE FROM key_holder";
}

/// Who holds a key: the job, its attempt, and until when by the clock. Taken again, it is another moment.
pub type Holder = (JobId, i64, Timestamp);

/// All holders, for [`crate::watch::Watch`].
pub fn holders(tx: &mut Tx<'_>) -> Result<Vec<(ObjectKey, Holder)>, DbError> {
    tx.query(HOLDERS, params![], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?))))
}

/// Becomes the holder of a key for `hold`, the hard limit of one request to the bucket: `None`. Where
/// another job holds it, how long to wait: the request it may have under way must have ended before anybody
/// else writes to the key. `stood` says how long this process has seen the holder stand: the time of day, which
/// jumps, does not say that a request is over.
pub fn hold(
    tx: &mut Tx<'_>,
    key: &ObjectKey,
    (job, attempt): (JobId, i64),
    hold: Duration,
    stood: impl Fn(&Holder) -> Duration,
) -> Result<Option<Duration>, DbError> {
    let now = tx.now();
    let holder: Option<Holder> =
        tx.query_one(HOLDER, params![key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if let Some(holder) = holder
        && (holder.0, holder.1) != (job, attempt)
    {
        let left = hold.saturating_sub(stood(&holder));
        if !left.is_zero() {
            return Ok(Some(left));
        }
    }
    tx.execute(HOLD, params![key, job, attempt, now.plus(hold)])?;
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
