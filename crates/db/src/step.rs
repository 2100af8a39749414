//! Content-keyed steps: equal key, equal output, made once.
//!
//! A key is `making` while one job makes it (others wait for that job), then `ready`. A hit pins the
//! step for the run in the same transaction, so that the collector, which condemns what nothing refers
//! to, cannot take it away between "found" and "used". What is `deleting` counts as not there.

use gristmill_model::{Digest, JobId, RunId, StepState, Timestamp};

use crate::error::DbError;
use crate::statements::statements;
use crate::tx::Tx;
use crate::verify::Faults;
use crate::{job, params, sum};

statements! {
    GET = "SELECT state, job_id, outcome, key, sum FROM step WHERE key = $1";
    PAGE = "SELECT key, outcome, sum FROM step WHERE key > $1 AND outcome IS NOT NULL ORDER BY key LIMIT $2";
    CLAIM = "INSERT INTO step (key, state, job_id, used_ms, since_ms) VALUES ($1, 'making', $2, $3, $3) ON CONFLICT (key) DO UPDATE SET state = 'making', job_id = excluded.job_id, outcome = NULL, sum = NULL, used_ms = excluded.used_ms, since_ms = excluded.since_ms";
    USE = "UPDATE step SET state = 'ready', used_ms = $2 WHERE key = $1 AND state IN ('ready', 'condemned')";
    PIN = "INSERT INTO pin (step_key, run_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    MADE = "UPDATE step SET state = 'ready', outcome = $3, used_ms = $4, since_ms = $4, sum = $5 WHERE key = $1 AND job_id = $2 AND state = 'making'";
    ABANDON = "DELETE FROM step WHERE job_id = $1 AND state = 'making'";
    ADD_BLOB = "INSERT INTO step_blob (step_key, digest) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    DROP_BLOBS = "DELETE FROM step_blob WHERE step_key = $1";
    FORGET = "DELETE FROM step WHERE key = $1 AND state <> 'making'";
    CONDEMN = "UPDATE step SET state = 'condemned', since_ms = $1 WHERE key IN (SELECT key FROM step WHERE state = 'ready' AND used_ms < $2 AND NOT EXISTS (SELECT 1 FROM pin WHERE pin.step_key = step.key) AND NOT EXISTS (SELECT 1 FROM artifact WHERE artifact.step_key = step.key) LIMIT $3)";
    PARDON = "UPDATE step SET state = 'ready', since_ms = $1 WHERE state = 'condemned' AND (EXISTS (SELECT 1 FROM pin WHERE pin.step_key = step.key) OR EXISTS (SELECT 1 FROM artifact WHERE artifact.step_key = step.key))";
    TO_DELETE = "SELECT key FROM step WHERE state = 'condemned' AND since_ms < $1 LIMIT $2";
    DELETING = "UPDATE step SET state = 'deleting', since_ms = $2 WHERE key = $1 AND state = 'condemned'";
    GONE = "DELETE FROM step WHERE key = $1 AND state = 'deleting'";
}

/// What a job that wants a step made should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// It is made: this came out. It is pinned for the run.
    Hit(String),
    /// Make it. Others that want it wait for this job.
    Make,
    /// That job is making it: wait for it.
    Wait(JobId),
}

/// Asks for a step, for a leased job. Exactly one job at a time is told to make it.
pub fn begin(tx: &mut Tx<'_>, key: Digest, job: JobId, run: Option<RunId>) -> Result<Begin, DbError> {
    let now = tx.now();
    let found = tx.query_one(GET, params![key], |row| {
        let outcome = row.get::<Option<String>>(2)?;
        if let Some(outcome) = &outcome {
            check(row.get(3)?, outcome, row.get(4)?)?;
        }
        if row.get::<Digest>(3)? != key {
            return Err(sum::damaged("step"));
        }
        Ok((row.get::<StepState>(0)?, row.get::<JobId>(1)?, outcome))
    })?;
    match found {
        Some((StepState::Ready | StepState::Condemned, _, Some(outcome))) => {
            tx.execute(USE, params![key, now])?;
            if let Some(run) = run {
                tx.execute(PIN, params![key, run])?;
            }
            Ok(Begin::Hit(outcome))
        }
        Some((StepState::Making, holder, _)) if holder != job && job::is_leased(tx, holder)? => {
            Ok(Begin::Wait(holder))
        }
        // Nobody made it, its maker is gone, or it is being deleted: its bytes are made anew.
        _ => {
            tx.execute(DROP_BLOBS, params![key])?;
            tx.execute(CLAIM, params![key, job, now])?;
            Ok(Begin::Make)
        }
    }
}

fn check(key: Digest, outcome: &str, stored: Option<i64>) -> Result<(), DbError> {
    sum::check("step", params![key, outcome], stored.ok_or_else(|| sum::damaged("step"))?)
}

/// Compares the checksums of all.
pub(crate) fn verify(tx: &mut Tx<'_>, faults: &mut Faults) -> Result<(), DbError> {
    let mut after = Vec::new();
    loop {
        let page = tx.query(PAGE, params![&after, Faults::PAGE], |row| {
            let (key, outcome) = (row.get::<Digest>(0)?, row.get::<String>(1)?);
            Ok((key, check(key, &outcome, row.get(2)?)))
        })?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = last.as_bytes().to_vec();
        page.into_iter().for_each(|(_, checked)| faults.note(checked));
    }
}

/// Records what a step made, with the blobs it consists of, and pins it for the run. In the same
/// transaction as the end of the job, which proves the lease. False where another job has taken the
/// step over meanwhile (then that one's result counts).
pub fn made(
    tx: &mut Tx<'_>,
    key: Digest,
    job: JobId,
    run: Option<RunId>,
    outcome: &str,
    blobs: &[Digest],
) -> Result<bool, DbError> {
    let now = tx.now();
    if tx.execute(MADE, params![key, job, outcome, now, sum::of(params![key, outcome])])? == 0 {
        return Ok(false);
    }
    for digest in blobs {
        tx.execute(ADD_BLOB, params![key, *digest])?;
    }
    if let Some(run) = run {
        tx.execute(PIN, params![key, run])?;
    }
    Ok(true)
}

/// Forgets a step whose bytes are lost: the next job that asks makes it.
pub fn forget(tx: &mut Tx<'_>, key: Digest) -> Result<(), DbError> {
    tx.execute(DROP_BLOBS, params![key])?;
    tx.execute(FORGET, params![key]).map(drop)
}

/// A job ended without making what it was making: the next one that asks makes it.
pub(crate) fn abandoned_by(tx: &mut Tx<'_>, job: JobId) -> Result<(), DbError> {
    tx.execute(ABANDON, params![job]).map(drop)
}

/// Takes the condemnation of steps back that something refers to again.
pub fn pardon(tx: &mut Tx<'_>) -> Result<(), DbError> {
    let now = tx.now();
    tx.execute(PARDON, params![now]).map(drop)
}

/// Condemns up to `max` steps that nothing refers to and that were not used since `idle_since`; how many.
pub fn condemn(tx: &mut Tx<'_>, idle_since: Timestamp, max: i64) -> Result<usize, DbError> {
    let now = tx.now();
    tx.execute(CONDEMN, params![now, idle_since, max])
}

/// Forgets up to `max` steps condemned before `before`; how many. Their blobs go with the collection
/// of blobs, where no other step or publication holds them.
pub fn delete_condemned(tx: &mut Tx<'_>, before: Timestamp, max: i64) -> Result<usize, DbError> {
    let now = tx.now();
    let keys = tx.query(TO_DELETE, params![before, max], |row| row.get::<Digest>(0))?;
    let mut deleted = 0;
    for key in keys {
        if tx.execute(DELETING, params![key, now])? == 1 {
            tx.execute(DROP_BLOBS, params![key])?;
            deleted += tx.execute(GONE, params![key])?;
        }
    }
    Ok(deleted)
}
