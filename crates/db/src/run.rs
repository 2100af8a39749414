//! Runs: the work for one commit in one pipeline.

use gristmill_model::{
    CommitId, GitRef, JobState, Plan, ProjectId, PublicEnd, PublicReason, RunId, RunState, Timestamp,
};

use crate::error::DbError;
use crate::statements::statements;
use crate::tx::{Row, Tx};
use crate::verify::Faults;
use crate::{job, params, sum};

statements! {
    INSERT = "INSERT INTO run (id, project_id, pipeline, spec_rev, ref, commit_id, seq, is_release, cause, cause_id, state, jobs_left, created_ms, sum) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'queued', $11, $12, $13)";
    EXISTS = "SELECT 1 FROM run WHERE project_id = $1 AND pipeline = $2 AND ref = $3 AND commit_id = $4 AND is_release = $5 LIMIT 1";
    OPEN = "SELECT id FROM run WHERE project_id = $1 AND pipeline = $2 AND ref = $3 AND state IN ('queued', 'running') AND is_release = $4 AND id <> $5";
    OPEN_OF = "SELECT id FROM run WHERE project_id = $1 AND state IN ('queued', 'running') LIMIT $2";
    SHOW = "SELECT id, project_id, pipeline, spec_rev, ref, commit_id, seq, is_release, cause, cause_id, state, reason, public_reason, jobs_left, created_ms, started_ms, finished_ms, sum FROM run WHERE id = $1";
    LIST = "SELECT id, project_id, pipeline, spec_rev, ref, commit_id, seq, is_release, cause, cause_id, state, reason, public_reason, jobs_left, created_ms, started_ms, finished_ms, sum FROM run WHERE (CAST($1 AS TEXT) IS NULL OR project_id = $1) AND id < $2 ORDER BY id DESC LIMIT $3";
    PAGE = "SELECT id, project_id, pipeline, spec_rev, ref, commit_id, seq, is_release, cause, cause_id, state, reason, public_reason, jobs_left, created_ms, started_ms, finished_ms, sum FROM run WHERE id > $1 ORDER BY id LIMIT $2";
    START = "UPDATE run SET state = 'running', started_ms = $2 WHERE id = $1 AND state = 'queued'";
    ADD_JOBS = "UPDATE run SET jobs_left = jobs_left + $2 WHERE id = $1";
    COUNT_DOWN = "UPDATE run SET jobs_left = jobs_left - $2 WHERE id = $1 RETURNING jobs_left";
    NOTE = "UPDATE run SET reason = $2, public_reason = $3 WHERE id = $1 AND reason IS NULL";
    WORST = "SELECT count(*) FROM job WHERE run_id = $1 AND state IN ('failed', 'dead')";
    END = "UPDATE run SET state = $2, finished_ms = $3 WHERE id = $1 AND state IN ('queued', 'running')";
    STOP = "UPDATE run SET state = $2, reason = $3, public_reason = $4, finished_ms = $5, jobs_left = 0 WHERE id = $1 AND state IN ('queued', 'running')";
    UNPIN = "DELETE FROM pin WHERE run_id = $1";
    EXPIRED = "SELECT id FROM run WHERE id > $1 AND id < $2 AND finished_ms < $3 AND NOT EXISTS (SELECT 1 FROM artifact WHERE artifact.run_id = run.id) AND NOT EXISTS (SELECT 1 FROM publication WHERE publication.run_id = run.id) AND NOT EXISTS (SELECT 1 FROM ref_head WHERE ref_head.project_id = run.project_id AND ref_head.ref = run.ref AND ref_head.tip = run.commit_id) ORDER BY id LIMIT $4";
    DELETE = "DELETE FROM run WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM artifact WHERE artifact.run_id = run.id) AND NOT EXISTS (SELECT 1 FROM publication WHERE publication.run_id = run.id) AND NOT EXISTS (SELECT 1 FROM ref_head WHERE ref_head.project_id = run.project_id AND ref_head.ref = run.ref AND ref_head.tip = run.commit_id)";
    OPEN_COUNT = "SELECT count(*) FROM run WHERE state IN ('queued', 'running')";
    DESIRED = "SELECT count(*) FROM publication WHERE run_id = $1 AND state = 'desired'";
}

/// A run that is to be.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// Whose.
    pub project: ProjectId,
    /// In which pipeline.
    pub pipeline: String,
    /// At which revision of the settings.
    pub spec_rev: i64,
    /// Of which ref.
    pub git_ref: GitRef,
    /// Of which commit.
    pub commit: CommitId,
    /// The move that made the commit the tip; `None` where it is not (or no longer) the tip.
    pub seq: Option<i64>,
    /// Whether a release of the forge asked for it.
    pub is_release: bool,
    /// delivery, missed, poll, schedule, manual or retry.
    pub cause: String,
    /// Which.
    pub cause_id: Option<String>,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Whose.
    pub project: ProjectId,
    /// In which pipeline.
    pub pipeline: String,
    /// At which revision of the settings.
    pub spec_rev: i64,
    /// Of which ref.
    pub git_ref: GitRef,
    /// Of which commit.
    pub commit: CommitId,
    /// The move that made the commit the tip.
    pub seq: Option<i64>,
    /// Whether a release of the forge asked for it.
    pub is_release: bool,
    /// delivery, missed, poll, schedule, manual or retry.
    pub cause: String,
    /// Which.
    pub cause_id: Option<String>,
    /// Its state.
    pub state: RunState,
    /// Why, where it did not succeed.
    pub reason: Option<String>,
    /// What everybody may know of that; empty where that is nothing.
    pub public: PublicEnd,
    /// Jobs that are not over.
    pub jobs_left: i64,
    /// When it was made.
    pub created: Timestamp,
    /// When its first job started.
    pub started: Option<Timestamp>,
    /// When it was over.
    pub finished: Option<Timestamp>,
}

fn read(row: &Row<'_, '_>) -> Result<Run, DbError> {
    let run = Run {
        id: row.get(0)?,
        project: row.get(1)?,
        pipeline: row.get(2)?,
        spec_rev: row.get(3)?,
        git_ref: row.get(4)?,
        commit: row.get(5)?,
        seq: row.get(6)?,
        is_release: row.get(7)?,
        cause: row.get(8)?,
        cause_id: row.get(9)?,
        state: row.get(10)?,
        reason: row.get(11)?,
        // What a later version of the program has written is nothing that this one may tell.
        public: row.get::<Option<String>>(12)?.and_then(|text| text.parse().ok()).unwrap_or_default(),
        jobs_left: row.get(13)?,
        created: row.get(14)?,
        started: row.get(15)?,
        finished: row.get(16)?,
    };
    let Run { id, project, pipeline, spec_rev, git_ref, commit, seq, is_release, cause, cause_id, .. } = &run;
    let cause_id = cause_id.as_deref();
    let fixed = params![
        *id,
        *project,
        pipeline,
        *spec_rev,
        git_ref,
        *commit,
        *seq,
        *is_release,
        cause,
        cause_id,
        run.created
    ];
    sum::check("run", fixed, row.get(17)?)?;
    Ok(run)
}

/// Reads all of them, which compares their checksums.
pub(crate) fn verify(tx: &mut Tx<'_>, faults: &mut Faults) -> Result<(), DbError> {
    faults.go_through(tx, PAGE, |row| read(row).map(|run| run.id.to_string()))
}

/// Makes a run with the jobs of its plan. With `supersede`, older runs of the same ref end.
pub fn create(tx: &mut Tx<'_>, new: &NewRun, plan: &Plan, supersede: bool) -> Result<RunId, DbError> {
    debug_assert_eq!(plan.check(), Ok(()), "plans are checked where they are made");
    let now = tx.now();
    let id = RunId::new(tx.id_time(), tx.random());
    let jobs = i64::try_from(plan.jobs.len()).expect("plans are bounded");
    let NewRun { project, pipeline, spec_rev, git_ref, commit, seq, is_release, cause, cause_id } = new;
    let cause_id = cause_id.as_deref();
    let fixed =
        params![id, *project, pipeline, *spec_rev, git_ref, *commit, *seq, *is_release, cause, cause_id, now];
    let sum = sum::of(fixed);
    tx.execute(
        INSERT,
        params![
            id,
            new.project,
            &new.pipeline,
            new.spec_rev,
            &new.git_ref,
            new.commit,
            new.seq,
            new.is_release,
            &new.cause,
            new.cause_id.as_deref(),
            jobs,
            now,
            sum
        ],
    )?;
    let priority = if new.cause == "poll" { job::PRIORITY_POLL } else { job::PRIORITY_HOOK };
    job::insert_plan(tx, Some(id), Some(new.project), priority, plan)?;
    if supersede && new.seq.is_some() {
        let older =
            tx.query(OPEN, params![new.project, &new.pipeline, &new.git_ref, new.is_release, id], |row| {
                row.get::<RunId>(0)
            })?;
        for run in older {
            stop(tx, run, RunState::Superseded, &format!("run {id} took its place"), None)?;
        }
    }
    if jobs == 0 {
        tx.execute(END, params![id, RunState::Skipped, now])?;
    }
    Ok(id)
}

/// Whether the pipeline has a run for this commit of this ref, over or not.
pub fn exists(
    tx: &mut Tx<'_>,
    project: ProjectId,
    pipeline: &str,
    git_ref: &GitRef,
    commit: CommitId,
    is_release: bool,
) -> Result<bool, DbError> {
    let found = tx.query_one(EXISTS, params![project, pipeline, git_ref, commit, is_release], |_| Ok(()))?;
    Ok(found.is_some())
}

/// One run.
pub fn by_id(tx: &mut Tx<'_>, id: RunId) -> Result<Option<Run>, DbError> {
    let found = tx.query_one(SHOW, params![id], read)?;
    match found {
        Some(other) if other.id != id => Err(sum::damaged("run")),
        found => Ok(found),
    }
}

/// Runs, newest first, those before `before`.
pub fn list(
    tx: &mut Tx<'_>,
    project: Option<ProjectId>,
    before: &str,
    limit: i64,
) -> Result<Vec<Run>, DbError> {
    tx.query(LIST, params![project, before, limit], read)
}

/// Runs of a project that are not over.
pub fn open_of(tx: &mut Tx<'_>, project: ProjectId, limit: i64) -> Result<Vec<RunId>, DbError> {
    tx.query(OPEN_OF, params![project, limit], |row| row.get(0))
}

/// How many runs are not over.
pub fn open_count(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    Ok(tx.query_one(OPEN_COUNT, params![], |row| row.get(0))?.unwrap_or(0))
}

/// Runs behind `after` that ended before `before` and left nothing: no artifact, no version of a key, and
/// not the memory of what was made of a ref's tip, which would be built again without it.
pub fn expired(
    tx: &mut Tx<'_>,
    after: Option<RunId>,
    before: Timestamp,
    max: i64,
) -> Result<Vec<RunId>, DbError> {
    // Ids begin with the moment they were made, which bounds what is looked through.
    let from = after.map_or(String::new(), |id| id.to_string());
    let until = RunId::new(before, 0);
    tx.query(EXPIRED, params![from, until, before, max], |row| row.get(0))
}

/// Deletes runs that [`expired`] named, where that still holds; how many.
pub fn delete_expired(tx: &mut Tx<'_>, ids: &[RunId]) -> Result<usize, DbError> {
    let mut deleted = 0;
    for id in ids {
        if tx.execute(DELETE, params![*id])? == 1 {
            tx.execute(UNPIN, params![*id])?;
            job::delete_of_run(tx, *id)?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// A job of the run has started.
pub(crate) fn started(tx: &mut Tx<'_>, id: RunId) -> Result<(), DbError> {
    let now = tx.now();
    tx.execute(START, params![id, now]).map(drop)
}

/// Jobs were added to a run that is not over.
pub(crate) fn jobs_added(tx: &mut Tx<'_>, id: RunId, jobs: i64) -> Result<(), DbError> {
    tx.execute(ADD_JOBS, params![id, jobs]).map(drop)
}

/// The first reason for which something in the run went wrong stays.
pub(crate) fn note(tx: &mut Tx<'_>, id: RunId, reason: &str, public: PublicEnd) -> Result<(), DbError> {
    tx.execute(NOTE, params![id, reason, stored(public)]).map(drop)
}

/// `jobs` more jobs of the run are over. With the last one the run is.
pub(crate) fn jobs_over(tx: &mut Tx<'_>, id: RunId, jobs: i64) -> Result<(), DbError> {
    let left = tx.query_one(COUNT_DOWN, params![id, jobs], |row| row.get::<i64>(0))?;
    if left == Some(0) {
        let bad = tx.query_one(WORST, params![id], |row| row.get::<i64>(0))?.unwrap_or(0);
        end(tx, id, if bad == 0 { RunState::Succeeded } else { RunState::Failed })?;
    }
    Ok(())
}

fn end(tx: &mut Tx<'_>, id: RunId, state: RunState) -> Result<(), DbError> {
    let now = tx.now();
    tx.execute(END, params![id, state, now])?;
    tx.execute(UNPIN, params![id]).map(drop)
}

/// Why a run was not stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It is stopped: nothing it does counts from now on.
    Now,
    /// It was over already.
    WasOver(RunState),
    /// It is committed to being published; readers may see it at any moment.
    Publishing,
    /// There is no such run.
    Unknown,
}

fn stored(public: PublicEnd) -> Option<String> {
    Some(public.to_string()).filter(|text| !text.is_empty())
}

/// Cancels a run for a person. True at once: workers that still run its jobs have lost their leases,
/// and nothing they do counts.
pub fn cancel(
    tx: &mut Tx<'_>,
    id: RunId,
    reason: &str,
    public: Option<PublicReason>,
) -> Result<Stopped, DbError> {
    stop(tx, id, RunState::Cancelled, reason, public)
}

/// Ends a run before its jobs do.
pub(crate) fn stop(
    tx: &mut Tx<'_>,
    id: RunId,
    state: RunState,
    reason: &str,
    public: Option<PublicReason>,
) -> Result<Stopped, DbError> {
    let Some(run) = by_id(tx, id)? else { return Ok(Stopped::Unknown) };
    if run.state.is_over() {
        return Ok(Stopped::WasOver(run.state));
    }
    if state != RunState::Skipped && tx.query_one(DESIRED, params![id], |row| row.get::<i64>(0))? != Some(0) {
        return Ok(Stopped::Publishing);
    }
    let now = tx.now();
    tx.execute(STOP, params![id, state, reason, stored(PublicEnd::at_once(public)), now])?;
    tx.execute(UNPIN, params![id])?;
    job::cancel_all(tx, id, JobState::Cancelled, reason)?;
    tx.wake_workers();
    Ok(Stopped::Now)
}

/// The run's job found that there is nothing to do: the rest is not done either.
pub(crate) fn skip(tx: &mut Tx<'_>, id: RunId, reason: &str) -> Result<(), DbError> {
    stop(tx, id, RunState::Skipped, reason, None).map(drop)
}
