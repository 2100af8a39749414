//! How an attempt ends, and what that means for the jobs that wait.

use std::time::Duration;

use gristmill_model::{
    EdgeKind, JobId, JobState, Plan, PlanError, ProjectId, PublicEnd, PublicReason, RunId,
};

use super::lease::{self, Again};
use crate::error::DbError;
use crate::statements::statements;
use crate::tx::Tx;
use crate::{params, run, step};

statements! {
    HELD = "SELECT run_id, project_id, only_one, tries, priority FROM job WHERE id = $1 AND attempt = $2 AND state = 'leased'";
    DONE = "UPDATE job SET state = $2, outcome = $3, reason = $4, finished_ms = $5, boot_id = NULL, lease_until_ms = NULL WHERE id = $1";
    OUT = "SELECT to_id, job_edge.kind FROM job_edge JOIN job ON job.id = to_id WHERE from_id = $1 AND job.state = 'blocked'";
    COUNT_DOWN = "UPDATE job SET deps_left = deps_left - 1, state = CASE WHEN deps_left = 1 THEN 'ready' ELSE 'blocked' END, not_before_ms = CASE WHEN deps_left > 1 THEN not_before_ms WHEN delay_ms > 0 THEN $2 + delay_ms WHEN created_ms > $2 THEN $2 ELSE created_ms END, ready_ms = CASE WHEN deps_left = 1 AND delay_ms = 0 THEN CAST($2 AS BIGINT) ELSE NULL END WHERE id = $1 AND state = 'blocked'";
    END_BLOCKED = "UPDATE job SET state = 'cancelled', reason = $2, finished_ms = $3 WHERE id = $1 AND state = 'blocked' RETURNING run_id";
    BLOCK_ON = "UPDATE job SET deps_left = deps_left + 1 WHERE id = $1";
    WAIT = "UPDATE job SET state = 'blocked', deps_left = 1, delay_ms = 0, boot_id = NULL, lease_until_ms = NULL WHERE id = $1";
    EDGE = "INSERT INTO job_edge (from_id, to_id, kind) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    WAITERS = "SELECT to_id FROM job_edge WHERE from_id = $1 AND kind = 'on_flight'";
    DROP_WAIT = "DELETE FROM job_edge WHERE from_id = $1 AND to_id = $2 AND kind = 'on_flight'";
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub enum Finish {
    /// It did what it was for. `expand` adds jobs that only became known now; whoever waited for this
    /// job waits for them too.
    Succeeded {
        /// What it made, JSON.
        outcome: String,
        /// Whether it was found made.
        cached: bool,
        /// Further jobs.
        expand: Option<Plan>,
    },
    /// There is nothing to do in this run: the rest of it is not done either.
    Skipped {
        /// Why.
        reason: String,
    },
    /// It cannot be done.
    Failed {
        /// Why.
        reason: String,
        /// What everybody may know of that.
        public: Option<PublicReason>,
    },
    /// It could not be done now. Tried again later, a bounded number of times.
    Retry {
        /// Why.
        reason: String,
        /// What everybody may know of that, should it be given up.
        public: Option<PublicReason>,
        /// No sooner than this; otherwise the wait grows with the number of tries.
        after: Option<Duration>,
        /// No later than this.
        within: Option<Duration>,
    },
    /// It is not its turn. Not counted against it.
    Deferred {
        /// Why.
        reason: String,
        /// How long to wait.
        wait: Duration,
    },
    /// Another job makes the same thing: this one goes on when that one has ended. Not counted.
    WaitFor {
        /// That job.
        job: JobId,
    },
}

/// Why an attempt could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// The lease is gone: the job was cancelled, or given to another worker. What was done does not count.
    #[error("the lease on the job is no longer held")]
    Stale,
    /// The expansion cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

struct Held {
    run: Option<RunId>,
    project: Option<ProjectId>,
    only_one: Option<String>,
    tries: i64,
    priority: i64,
}

impl Held {
    fn again(&self, job: JobId, tries: i64, wait: Duration) -> Again<'_> {
        Again {
            job,
            run: self.run,
            only_one: self.only_one.as_deref(),
            tries,
            counted: tries,
            wait,
            public: None,
        }
    }
}

/// Ends an attempt: the job's state, its run's, and the jobs that waited, all in this transaction.
/// Returns the job's new state.
pub fn finish(tx: &mut Tx<'_>, job: JobId, attempt: i64, how: Finish) -> Result<JobState, FinishError> {
    let held = tx.query_one(HELD, params![job, attempt], |row| {
        Ok(Held {
            run: row.get(0)?,
            project: row.get(1)?,
            only_one: row.get(2)?,
            tries: row.get(3)?,
            priority: row.get(4)?,
        })
    })?;
    let held = held.ok_or(FinishError::Stale)?;
    let now = tx.now();
    match how {
        Finish::Succeeded { outcome, cached, expand } => {
            let state = if cached { JobState::Cached } else { JobState::Succeeded };
            if let Some(plan) = expand {
                expand_graph(tx, job, &held, &plan)?;
            }
            lease::end_attempt(tx, job, attempt, state.as_str(), None)?;
            tx.execute(DONE, params![job, state, outcome, None::<&str>, now])?;
            after_end(tx, job, held.run, state, None)?;
            Ok(state)
        }
        Finish::Skipped { reason } => {
            lease::end_attempt(tx, job, attempt, "succeeded", Some(&reason))?;
            tx.execute(DONE, params![job, JobState::Succeeded, None::<&str>, &reason, now])?;
            step::abandoned_by(tx, job)?;
            match held.run {
                Some(run) => {
                    release_waiters(tx, job)?;
                    run::skip(tx, run, &reason)?;
                }
                None => after_end(tx, job, None, JobState::Succeeded, None)?,
            }
            Ok(JobState::Succeeded)
        }
        Finish::Failed { reason, public } => {
            lease::end_attempt(tx, job, attempt, "failed", Some(&reason))?;
            tx.execute(DONE, params![job, JobState::Failed, None::<&str>, &reason, now])?;
            step::abandoned_by(tx, job)?;
            after_end(tx, job, held.run, JobState::Failed, Some((&reason, PublicEnd::at_once(public))))?;
            Ok(JobState::Failed)
        }
        Finish::Retry { reason, public, after, within } => {
            lease::end_attempt(tx, job, attempt, "retry", Some(&reason))?;
            let tries = held.tries + 1;
            let wait = lease::random_backoff(tx, tries).max(after.unwrap_or_default());
            let wait = wait.min(within.unwrap_or(Duration::MAX));
            Ok(lease::again(tx, &Again { public, ..held.again(job, tries, wait) }, &reason)?)
        }
        Finish::Deferred { reason, wait } => {
            lease::end_attempt(tx, job, attempt, "deferred", Some(&reason))?;
            Ok(lease::again(tx, &held.again(job, held.tries, wait), &reason)?)
        }
        Finish::WaitFor { job: other } => {
            lease::end_attempt(tx, job, attempt, "deferred", Some("another job makes it"))?;
            if !lease::is_leased(tx, other)? {
                // It ended, or lost its lease, since it was found making: nobody would wake this one.
                let again = held.again(job, held.tries, Duration::ZERO);
                return Ok(lease::again(tx, &again, "the job it waits for does not run")?);
            }
            tx.execute(WAIT, params![job])?;
            tx.execute(EDGE, params![other, job, "on_flight"])?;
            Ok(JobState::Blocked)
        }
    }
}

/// Adds the jobs of an expansion. Whoever waits for `job` also waits for each of them that nothing
/// else in the expansion waits for.
fn expand_graph(tx: &mut Tx<'_>, job: JobId, held: &Held, plan: &Plan) -> Result<(), FinishError> {
    plan.check()?;
    let ids = super::insert_plan(tx, held.run, held.project, held.priority, plan)?;
    if let Some(run) = held.run {
        run::jobs_added(tx, run, i64::try_from(ids.len()).expect("plans are bounded"))?;
    }
    let waiting = out_edges(tx, job)?;
    let is_last = |index: &usize| !plan.edges.iter().any(|edge| edge.from == *index);
    for last in (0..ids.len()).filter(is_last) {
        for (to, kind) in &waiting {
            tx.execute(EDGE, params![ids[last], *to, *kind])?;
            tx.execute(BLOCK_ON, params![*to])?;
        }
    }
    Ok(())
}

fn out_edges(tx: &mut Tx<'_>, job: JobId) -> Result<Vec<(JobId, EdgeKind)>, DbError> {
    let edges = tx.query(OUT, params![job], |row| Ok((row.get::<JobId>(0)?, row.get::<String>(1)?)))?;
    let known = |(to, kind): (JobId, String)| match kind.as_str() {
        "on_success" => Some((to, EdgeKind::OnSuccess)),
        "on_finish" => Some((to, EdgeKind::OnFinish)),
        _ => None, // on_flight: see `release_waiters`
    };
    Ok(edges.into_iter().filter_map(known).collect())
}

/// A job is over: those that waited for it go on or are cancelled, and with the last one its run ends.
pub(crate) fn after_end(
    tx: &mut Tx<'_>,
    job: JobId,
    run: Option<RunId>,
    state: JobState,
    reason: Option<(&str, PublicEnd)>,
) -> Result<(), DbError> {
    if let (Some(run), Some((reason, public))) = (run, reason) {
        run::note(tx, run, reason, public)?;
    }
    release_waiters(tx, job)?;
    let now = tx.now();
    let mut over = 1;
    let mut ended = vec![(job, state.is_success())];
    while let Some((from, success)) = ended.pop() {
        for (to, kind) in out_edges(tx, from)? {
            if success || kind == EdgeKind::OnFinish {
                tx.execute(COUNT_DOWN, params![to, now])?;
            } else if tx
                .query_one(END_BLOCKED, params![to, "a job it needs did not succeed", now], |_| Ok(()))?
                .is_some()
            {
                over += 1;
                ended.push((to, false));
            }
        }
    }
    if let Some(run) = run {
        run::jobs_over(tx, run, over)?;
    }
    tx.wake_workers();
    Ok(())
}

/// Lets the jobs go on that waited for `job` to make a step for them: it has made it, or never will.
/// They may belong to other runs.
pub(crate) fn release_waiters(tx: &mut Tx<'_>, job: JobId) -> Result<(), DbError> {
    let now = tx.now();
    let waiters = tx.query(WAITERS, params![job], |row| row.get::<JobId>(0))?;
    for waiter in &waiters {
        tx.execute(DROP_WAIT, params![job, *waiter])?;
        tx.execute(COUNT_DOWN, params![*waiter, now])?;
    }
    if !waiters.is_empty() {
        tx.wake_workers();
    }
    Ok(())
}
