//! Leases: taking jobs, keeping them, losing them.

use std::time::Duration;

use gristmill_model::retry::{ATTEMPTS_MAX, backoff};
use gristmill_model::{
    BootId, FolderId, JobId, JobState, ProjectId, PublicEnd, PublicReason, RunId, Timestamp,
};

use super::{finish, queue};
use crate::error::DbError;
use crate::statements::statements;
use crate::tx::Tx;
use crate::{params, run, step};

/// How long a lease lasts without a heartbeat.
pub const LEASE: Duration = Duration::from_secs(20);
/// The longest wait after a worker was lost.
const LOST_WAIT_MAX: Duration = Duration::from_secs(10);

statements! {
    TAKE = "UPDATE job SET state = 'leased', attempt = attempt + 1, boot_id = $2, lease_until_ms = $3 WHERE id = $1 AND state = 'ready' RETURNING attempt";
    BEGIN_ATTEMPT = "INSERT INTO job_attempt (job_id, attempt, boot_id, started_ms) VALUES ($1, $2, $3, $4)";
    END_ATTEMPT = "UPDATE job_attempt SET ended_ms = $3, result = $4, reason = $5 WHERE job_id = $1 AND attempt = $2";
    HEARTBEAT = "UPDATE job SET lease_until_ms = $2 WHERE boot_id = $1 AND state = 'leased' RETURNING id, attempt";
    MINE = "SELECT 1 FROM job WHERE id = $1 AND attempt = $2 AND state = 'leased'";
    ALL_HELD = "SELECT id, attempt, lease_until_ms FROM job WHERE state = 'leased'";
    SILENT = "SELECT id, run_id, only_one, attempt, tries, losses FROM job WHERE id = $1 AND attempt = $2 AND lease_until_ms = $3 AND state = 'leased'";
    OLDER_BOOTS = "SELECT id, run_id, only_one, attempt, tries, losses FROM job WHERE state = 'leased' AND boot_id <> $1 LIMIT $2";
    OF_FOLDER = "SELECT id, run_id, only_one, attempt, tries, losses FROM job WHERE state = 'leased' AND boot_id IN (SELECT id FROM boot WHERE folder = $1 AND id <> $2) LIMIT $3";
    READY_AGAIN = "UPDATE job SET state = 'ready', ready_ms = NULL, boot_id = NULL, lease_until_ms = NULL, not_before_ms = $2, tries = $3 WHERE id = $1";
    END = "UPDATE job SET state = $2, reason = $3, finished_ms = $4, boot_id = NULL, lease_until_ms = NULL, tries = $5 WHERE id = $1";
    OTHER_READY = "SELECT 1 FROM job WHERE only_one = $1 AND state = 'ready' LIMIT 1";
    DELAY_OTHER = "UPDATE job SET not_before_ms = CASE WHEN not_before_ms < $2 THEN $2 ELSE not_before_ms END WHERE only_one = $1 AND state = 'ready'";
    IS_LEASED = "SELECT 1 FROM job WHERE id = $1 AND state = 'leased'";
    LOST = "UPDATE job SET losses = $2 WHERE id = $1";
    RELEASE = "SELECT run_id, only_one, tries FROM job WHERE id = $1 AND attempt = $2 AND state = 'leased'";
}

/// A leased job: the right to work on it, until the lease ends.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The fencing token.
    pub attempt: i64,
    /// Its run.
    pub run: Option<RunId>,
    /// Its project.
    pub project: Option<ProjectId>,
    /// Which step runs it.
    pub kind: String,
    /// The step's settings, JSON.
    pub payload: String,
    /// How many attempts ended badly before, not counting those whose worker was lost.
    pub tries: i64,
}

/// Leases up to `max` jobs, those longest due first, within the limits of their projects.
pub fn lease(tx: &mut Tx<'_>, boot: BootId, max: usize) -> Result<Vec<Lease>, DbError> {
    lease_for(tx, boot, queue::Place::Any, max, &[])
}

/// [`lease`] for places that are kept for some jobs: looks at remotes that do not answer must not hold up
/// runs, nor long builds the looks. `left` are jobs that are left to others.
pub fn lease_for(
    tx: &mut Tx<'_>,
    boot: BootId,
    place: queue::Place,
    max: usize,
    left: &[JobId],
) -> Result<Vec<Lease>, DbError> {
    let now = tx.now();
    let mut leases = queue::next(tx, place, max, left)?;
    for lease in &mut leases {
        lease.attempt = take(tx, lease, boot, now)?;
    }
    Ok(leases)
}

fn take(tx: &mut Tx<'_>, lease: &Lease, boot: BootId, now: Timestamp) -> Result<i64, DbError> {
    let attempt = tx.query_one(TAKE, params![lease.job, boot, now.plus(LEASE)], |row| row.get(0))?;
    let attempt = attempt.ok_or(DbError::Sql("a ready job vanished while it was leased".to_owned()))?;
    tx.execute(BEGIN_ATTEMPT, params![lease.job, attempt, boot, now])?;
    if let Some(run) = lease.run {
        run::started(tx, run)?;
    }
    Ok(attempt)
}

pub(crate) fn end_attempt(
    tx: &mut Tx<'_>,
    job: JobId,
    attempt: i64,
    result: &str,
    reason: Option<&str>,
) -> Result<(), DbError> {
    let now = tx.now();
    tx.execute(END_ATTEMPT, params![job, attempt, now, result, reason]).map(drop)
}

/// Extends all leases of this boot; which they are. A job that the worker runs and that is not among
/// them is lost to it: it must stop.
pub fn heartbeat(tx: &mut Tx<'_>, boot: BootId) -> Result<Vec<(JobId, i64)>, DbError> {
    let until = tx.now().plus(LEASE);
    tx.query(HEARTBEAT, params![boot, until], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Whether the lease still holds. Every write that a step makes asks this in its own transaction.
pub fn still_mine(tx: &mut Tx<'_>, job: JobId, attempt: i64) -> Result<bool, DbError> {
    Ok(tx.query_one(MINE, params![job, attempt], |_| Ok(()))?.is_some())
}

/// Whether some worker holds the job.
pub(crate) fn is_leased(tx: &mut Tx<'_>, job: JobId) -> Result<bool, DbError> {
    Ok(tx.query_one(IS_LEASED, params![job], |_| Ok(()))?.is_some())
}

/// A lease as it stands in the database: the attempt, and the moment that every heartbeat moves.
pub type Beat = (i64, Timestamp);

/// All leases, for [`crate::watch::Watch`].
pub fn leases(tx: &mut Tx<'_>) -> Result<Vec<(JobId, Beat)>, DbError> {
    tx.query(ALL_HELD, params![], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))
}

/// Which leases are taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rescue {
    /// Those that were seen to stand without a heartbeat for [`LEASE`], if they still do. The time of day, which
    /// jumps, does not say that a lease is over.
    Silent(Vec<(JobId, Beat)>),
    /// Those of any other boot: this is the only server, so that nobody holds them any more.
    OtherBoots(BootId),
    /// Those of earlier boots on this data folder, which this boot alone works on. Others work on other folders.
    EarlierBoots(FolderId, BootId),
}

/// Takes up to `max` leases back whose holders are gone; how many. Their jobs are ready again, or dead
/// after too many attempts.
pub fn rescue(tx: &mut Tx<'_>, which: &Rescue, max: i64) -> Result<usize, DbError> {
    type Orphan = (JobId, Option<RunId>, Option<String>, i64, i64, i64);
    let read = |row: &crate::tx::Row<'_, '_>| -> Result<Orphan, DbError> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
    };
    let orphans = match which {
        Rescue::Silent(seen) => {
            let mut orphans = Vec::new();
            for (job, (attempt, until)) in seen.iter().take(usize::try_from(max).unwrap_or(0)) {
                orphans.extend(tx.query_one(SILENT, params![*job, *attempt, *until], read)?);
            }
            orphans
        }
        Rescue::OtherBoots(mine) => tx.query(OLDER_BOOTS, params![*mine, max], read)?,
        Rescue::EarlierBoots(folder, mine) => tx.query(OF_FOLDER, params![*folder, *mine, max], read)?,
    };
    for (job, run, only_one, attempt, tries, before) in &orphans {
        end_attempt(tx, *job, *attempt, "lost", Some("its worker is gone"))?;
        // One worker's death is no sign that the job is bad: it goes on at once. A job that takes its
        // worker down each time slows down and ends; but many deaths in a row are rather the machine's
        // fault, and nothing may rest for long because of them. They are counted apart, so that a job
        // which was lost often and then fails once does not wait as if it had failed often.
        let wait = if *before == 0 { Duration::ZERO } else { random_backoff(tx, *before).min(LOST_WAIT_MAX) };
        let losses = before + 1;
        tx.execute(LOST, params![*job, losses])?;
        let (only_one, tries) = (only_one.as_deref(), *tries);
        let public = Some(PublicReason::WorkerLost);
        let back = Again { job: *job, run: *run, only_one, tries, counted: losses, wait, public };
        again(tx, &back, "its worker was lost too often")?;
    }
    if !orphans.is_empty() {
        tx.wake_workers();
    }
    Ok(orphans.len())
}

pub(crate) fn random_backoff(tx: &Tx<'_>, tries: i64) -> Duration {
    let bits = tx.random();
    backoff(tries, u64::try_from(bits >> 64).expect("the upper half of 128 bits"))
}

/// A job that is to be tried again.
pub(crate) struct Again<'a> {
    pub(crate) job: JobId,
    pub(crate) run: Option<RunId>,
    pub(crate) only_one: Option<&'a str>,
    pub(crate) tries: i64,
    /// How many attempts ended as this one did: too many end the job.
    pub(crate) counted: i64,
    pub(crate) wait: Duration,
    /// What everybody may know of why, should it be given up.
    pub(crate) public: Option<PublicReason>,
}

/// Makes a job ready again, or ends it: dead after too many tries; done where another of its kind
/// waits already, which will do its work.
pub(crate) fn again(tx: &mut Tx<'_>, again: &Again<'_>, reason: &str) -> Result<JobState, DbError> {
    let now = tx.now();
    step::abandoned_by(tx, again.job)?;
    let other = match again.only_one {
        Some(name) => tx.query_one(OTHER_READY, params![name], |_| Ok(()))?,
        None => None,
    };
    if let (Some(_), Some(name)) = (other, again.only_one) {
        let wait = again.wait.min(super::LOOK_AGAIN);
        tx.execute(DELAY_OTHER, params![name, now.plus(wait)])?;
        let state = JobState::Cancelled;
        tx.execute(END, params![again.job, state, "another one waits already", now, again.tries])?;
        finish::release_waiters(tx, again.job)?;
        return Ok(state);
    }
    if again.counted >= ATTEMPTS_MAX {
        let reason = format!("given up after {} attempts: {reason}", again.counted);
        tx.execute(END, params![again.job, JobState::Dead, &reason, now, again.tries])?;
        let attempts = u32::try_from(again.counted).ok();
        let public = PublicEnd { why: again.public, attempts };
        finish::after_end(tx, again.job, again.run, JobState::Dead, Some((&reason, public)))?;
        return Ok(JobState::Dead);
    }
    tx.execute(READY_AGAIN, params![again.job, now.plus(again.wait), again.tries])?;
    finish::release_waiters(tx, again.job)?;
    Ok(JobState::Ready)
}

/// Gives a job back that was not begun or not ended: the worker is stopping. Not counted against it.
pub fn release(tx: &mut Tx<'_>, job: JobId, attempt: i64) -> Result<(), DbError> {
    let held = tx.query_one(RELEASE, params![job, attempt], |row| {
        Ok((row.get::<Option<RunId>>(0)?, row.get::<Option<String>>(1)?, row.get::<i64>(2)?))
    })?;
    let Some((run, only_one, tries)) = held else { return Ok(()) };
    end_attempt(tx, job, attempt, "released", Some("the worker stopped"))?;
    let (only_one, wait) = (only_one.as_deref(), Duration::ZERO);
    let back = Again { job, run, only_one, tries, counted: tries, wait, public: None };
    again(tx, &back, "the worker stopped")?;
    tx.wake_workers();
    Ok(())
}
