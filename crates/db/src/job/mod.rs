//! Jobs: the queue and its rules.
//!
//! The row is the truth. A worker *leases* a ready job and gets a fencing token, the attempt number;
//! every write it does later carries the token and is refused once the lease is no longer its own.

mod finish;
mod lease;
mod queue;

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_model::{BootId, EdgeKind, JobId, JobState, Plan, ProjectId, RunId, Timestamp};

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::{Row, Tx};

pub use finish::{Finish, FinishError, finish};
pub(crate) use lease::is_leased;
pub use lease::{
    Beat, LEASE, Lease, Rescue, heartbeat, lease, lease_for, leases, release, rescue, still_mine,
};
pub(crate) use queue::priorities;
pub use queue::{Place, next_due, raise};

statements! {
    INSERT = "INSERT INTO job (id, run_id, project_id, kind, payload, only_one, state, deps_left, delay_ms, not_before_ms, priority, attempt, tries, created_ms) VALUES ($1, $2, $3, $4, $5, NULL, $6, $7, $8, $9, $10, 0, 0, $11)";
    INSERT_LOOK = "INSERT INTO job (id, run_id, project_id, kind, payload, only_one, state, deps_left, delay_ms, not_before_ms, priority, attempt, tries, created_ms) VALUES ($1, NULL, $2, 'look', '{}', $3, 'ready', 0, 0, $4, $5, 0, 0, $4) ON CONFLICT (only_one) WHERE state = 'ready' AND only_one IS NOT NULL DO UPDATE SET not_before_ms = CASE WHEN job.not_before_ms > $6 THEN $6 ELSE job.not_before_ms END, priority = CASE WHEN job.priority > $5 THEN $5 ELSE job.priority END WHERE job.not_before_ms > $6 OR job.priority > $5";
    INSERT_EDGE = "INSERT INTO job_edge (from_id, to_id, kind) VALUES ($1, $2, $3)";
    SHOW = "SELECT id, run_id, project_id, kind, payload, state, attempt, tries, not_before_ms, outcome, reason, created_ms, finished_ms, deps_left, losses FROM job WHERE id = $1";
    OF_RUN = "SELECT id, run_id, project_id, kind, payload, state, attempt, tries, not_before_ms, outcome, reason, created_ms, finished_ms, deps_left, losses FROM job WHERE run_id = $1 ORDER BY id LIMIT $2";
    NEEDED = "SELECT job.kind, job.outcome FROM job_edge JOIN job ON job.id = from_id WHERE to_id = $1 AND job.outcome IS NOT NULL ORDER BY job.id";
    RUN_OUTCOME = "SELECT outcome FROM job WHERE run_id = $1 AND kind = $2 AND outcome IS NOT NULL ORDER BY id LIMIT 1";
    OPEN_OF_RUN = "SELECT id, state, attempt FROM job WHERE run_id = $1 AND state IN ('blocked', 'ready', 'leased')";
    CANCEL = "UPDATE job SET state = $2, reason = $3, finished_ms = $4, boot_id = NULL, lease_until_ms = NULL WHERE id = $1";
    ATTEMPTS = "SELECT attempt, boot_id, started_ms, ended_ms, result, reason FROM job_attempt WHERE job_id = $1 ORDER BY attempt DESC LIMIT $2";
    COUNTS = "SELECT state, count(*) FROM job WHERE state IN ('blocked', 'ready', 'leased', 'dead') GROUP BY state";
    IDS_OF_RUN = "SELECT id FROM job WHERE run_id = $1";
    EXPIRED = "SELECT id FROM job WHERE run_id IS NULL AND state NOT IN ('ready', 'leased', 'blocked') AND finished_ms < $1 LIMIT $2";
    DELETE_ATTEMPTS = "DELETE FROM job_attempt WHERE job_id = $1";
    DELETE_EDGES = "DELETE FROM job_edge WHERE from_id = $1 OR to_id = $1";
    DELETE = "DELETE FROM job WHERE id = $1";
    UNSEEN = "SELECT id FROM project WHERE state = 'active' AND (EXISTS (SELECT 1 FROM delivery WHERE delivery.project_id = project.id AND delivery.state = 'received') OR EXISTS (SELECT 1 FROM build_request WHERE build_request.project_id = project.id)) AND NOT EXISTS (SELECT 1 FROM job WHERE job.state = 'ready' AND job.only_one = 'look:' || project.id) AND NOT EXISTS (SELECT 1 FROM job WHERE job.state = 'leased' AND job.only_one = 'look:' || project.id) LIMIT $1";
}

/// Statements of the whole module, for the test that prepares them.
pub(crate) fn all_statements() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    STATEMENTS.iter().chain(lease::STATEMENTS).chain(finish::STATEMENTS).chain(queue::STATEMENTS)
}

/// A hook, a person or a schedule waits for it.
pub const PRIORITY_HOOK: i64 = 10;
/// Nobody waits for it: others go first, for a while (see [`raise`]).
pub const PRIORITY_POLL: i64 = 20;

/// A look that failed is not repeated before this, however many hooks ask for it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its run, where it has one.
    pub run: Option<RunId>,
    /// Its project, where it has one.
    pub project: Option<ProjectId>,
    /// Which step runs it.
    pub kind: String,
    /// The step's settings, JSON.
    pub payload: String,
    /// Its state.
    pub state: JobState,
    /// How often it was leased.
    pub attempt: i64,
    /// How many of those ended badly, not counting those whose worker was lost.
    pub tries: i64,
    /// When it may be leased.
    pub not_before: Timestamp,
    /// What it made, JSON.
    pub outcome: Option<String>,
    /// Why it did not.
    pub reason: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was over.
    pub finished: Option<Timestamp>,
    /// How many jobs it waits for.
    pub deps_left: i64,
    /// How many attempts were lost with their worker.
    pub losses: i64,
}

pub(crate) fn read(row: &Row<'_, '_>) -> Result<Job, DbError> {
    Ok(Job {
        id: row.get(0)?,
        run: row.get(1)?,
        project: row.get(2)?,
        kind: row.get(3)?,
        payload: row.get(4)?,
        state: row.get(5)?,
        attempt: row.get(6)?,
        tries: row.get(7)?,
        not_before: row.get(8)?,
        outcome: row.get(9)?,
        reason: row.get(10)?,
        created: row.get(11)?,
        finished: row.get(12)?,
        deps_left: row.get(13)?,
        losses: row.get(14)?,
    })
}

/// Inserts the jobs of a plan and the edges between them; their ids, in the plan's order.
pub fn insert_plan(
    tx: &mut Tx<'_>,
    run: Option<RunId>,
    project: Option<ProjectId>,
    priority: i64,
    plan: &Plan,
) -> Result<Vec<JobId>, DbError> {
    let now = tx.now();
    let edges = distinct_edges(plan);
    let mut waits = vec![0_i64; plan.jobs.len()];
    for (_, to) in edges.keys() {
        waits[*to] += 1;
    }
    let mut ids = Vec::with_capacity(plan.jobs.len());
    // Ids of one plan rise in its order, which is the order in which listings show them.
    let first = tx.random() & !0xffff;
    for ((job, waits), n) in plan.jobs.iter().zip(waits).zip(0..) {
        let id = JobId::new(tx.id_time(), first + n);
        let state = if waits == 0 { JobState::Ready } else { JobState::Blocked };
        let delay_ms = i64::try_from(job.delay.as_millis()).unwrap_or(i64::MAX);
        let not_before = now.plus(job.delay);
        tx.execute(
            INSERT,
            params![
                id,
                run,
                project,
                &job.kind,
                &job.payload,
                state,
                waits,
                delay_ms,
                not_before,
                priority,
                now
            ],
        )?;
        ids.push(id);
    }
    for ((from, to), kind) in edges {
        tx.execute(INSERT_EDGE, params![ids[from], ids[to], kind])?;
    }
    tx.wake_workers();
    Ok(ids)
}

/// The edges of a plan, each pair of jobs once: of two kinds between the same jobs the stricter counts.
fn distinct_edges(plan: &Plan) -> BTreeMap<(usize, usize), EdgeKind> {
    let mut edges = BTreeMap::new();
    for edge in &plan.edges {
        let kind = edges.entry((edge.from, edge.to)).or_insert(edge.kind);
        if edge.kind == EdgeKind::OnSuccess {
            *kind = EdgeKind::OnSuccess;
        }
    }
    edges
}

/// Sees to it that the project's remote will be looked at: hints add up to one look. At most one
/// look waits, at most one runs; one that is running may have asked the remote already, so that a
/// hint which comes meanwhile makes another one wait.
pub fn ask_for_look(tx: &mut Tx<'_>, project: ProjectId, priority: i64) -> Result<(), DbError> {
    let now = tx.now();
    let id = JobId::new(tx.id_time(), tx.random());
    let only_one = look_of(project);
    let changed =
        tx.execute(INSERT_LOOK, params![id, project, only_one, now, priority, now.plus(LOOK_AGAIN)])?;
    if changed > 0 {
        tx.wake_workers();
    }
    Ok(())
}

fn look_of(project: ProjectId) -> String {
    format!("look:{project}")
}

/// One job.
pub fn by_id(tx: &mut Tx<'_>, id: JobId) -> Result<Option<Job>, DbError> {
    tx.query_one(SHOW, params![id], read)
}

/// The jobs of a run, in the order in which they were made.
pub fn of_run(tx: &mut Tx<'_>, run: RunId, limit: i64) -> Result<Vec<Job>, DbError> {
    tx.query(OF_RUN, params![run, limit], read)
}

/// What the jobs that this one waited for made: kind and outcome.
pub fn needed_outcomes(tx: &mut Tx<'_>, id: JobId) -> Result<Vec<(String, String)>, DbError> {
    tx.query(NEEDED, params![id], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// What the run's job of that kind made.
pub fn run_outcome(tx: &mut Tx<'_>, run: RunId, kind: &str) -> Result<Option<String>, DbError> {
    tx.query_one(RUN_OUTCOME, params![run, kind], |row| row.get(0))
}

/// One lease of a job, and how it ended.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its number, the fencing token.
    pub attempt: i64,
    /// Which start of which program held it.
    pub boot: BootId,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// succeeded, cached, failed, retry, deferred, lost, released, cancelled.
    pub result: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// The attempts of a job, newest first.
pub fn attempts(tx: &mut Tx<'_>, id: JobId, limit: i64) -> Result<Vec<Attempt>, DbError> {
    tx.query(ATTEMPTS, params![id, limit], |row| {
        Ok(Attempt {
            attempt: row.get(0)?,
            boot: row.get(1)?,
            started: row.get(2)?,
            ended: row.get(3)?,
            result: row.get(4)?,
            reason: row.get(5)?,
        })
    })
}

/// Asks for a look wherever deliveries or requests wait without one, because the one they had was given
/// up; how many. Now and then, so that what was accepted is never forgotten.
pub fn look_where_waiting(tx: &mut Tx<'_>, limit: i64) -> Result<usize, DbError> {
    let projects = tx.query(UNSEEN, params![limit], |row| row.get::<ProjectId>(0))?;
    for project in &projects {
        ask_for_look(tx, *project, PRIORITY_POLL)?;
    }
    Ok(projects.len())
}

/// How many jobs are in each state that is not an end, and how many are dead.
pub fn counts(tx: &mut Tx<'_>) -> Result<Vec<(JobState, i64)>, DbError> {
    tx.query(COUNTS, params![], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Ends all jobs of a run that are not over. Leases end with them.
pub(crate) fn cancel_all(tx: &mut Tx<'_>, run: RunId, state: JobState, reason: &str) -> Result<(), DbError> {
    let open = tx.query(OPEN_OF_RUN, params![run], |row| {
        Ok((row.get::<JobId>(0)?, row.get::<JobState>(1)?, row.get::<i64>(2)?))
    })?;
    let now = tx.now();
    for (id, was, attempt) in open {
        tx.execute(CANCEL, params![id, state, reason, now])?;
        if was == JobState::Leased {
            lease::end_attempt(tx, id, attempt, "cancelled", Some(reason))?;
        }
        // A step it was making is made by whoever waits for it, in another run perhaps.
        crate::step::abandoned_by(tx, id)?;
        finish::release_waiters(tx, id)?;
    }
    Ok(())
}

/// Deletes up to `max` jobs outside runs (looks) that were over before `before`; how many.
pub fn expire(tx: &mut Tx<'_>, before: Timestamp, max: i64) -> Result<usize, DbError> {
    let expired = tx.query(EXPIRED, params![before, max], |row| row.get::<JobId>(0))?;
    for id in &expired {
        delete(tx, *id)?;
    }
    Ok(expired.len())
}

/// Deletes the jobs of a run that is over.
pub(crate) fn delete_of_run(tx: &mut Tx<'_>, run: RunId) -> Result<(), DbError> {
    for id in tx.query(IDS_OF_RUN, params![run], |row| row.get::<JobId>(0))? {
        delete(tx, id)?;
    }
    Ok(())
}

fn delete(tx: &mut Tx<'_>, id: JobId) -> Result<(), DbError> {
    for sql in [DELETE_ATTEMPTS, DELETE_EDGES, DELETE] {
        tx.execute(sql, params![id])?;
    }
    crate::job_log::delete(tx, id)
}
