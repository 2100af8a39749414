//! The worker: leases ready jobs, keeps the leases alive, runs steps, ends jobs.
//!
//! The row is the truth; what is kept here in memory only says which futures to drop when a lease is lost.

pub mod step;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gristmill_db::job::{self, Finish, FinishError, Lease, Place};
use gristmill_db::{DbError, Tx, mirror};
use gristmill_model::{JobId, JobState, PublicReason};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::app::App;
use crate::fail;
use crate::look;
use crate::outage;
use crate::pipelines::archive;
use step::{Ending, Step, StepError};

/// Looks that run at once, beside the jobs of runs: each mostly waits for a remote, and some remotes never
/// answer.
const LOOKS_MAX: usize = 32;
/// How often leases are extended: a quarter of their length, so that two may fail.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The longest sleep: what is due by time alone is found this late at most.
const IDLE_MAX: Duration = Duration::from_millis(500);
/// How long steps may go on once the program is asked to stop; then their jobs are given back.
const GRACE: Duration = Duration::from_secs(20);
/// How long to wait before a job's end is written again, where the database could not take it.
const END_AGAIN: Duration = Duration::from_millis(500);

struct Running {
    is_look: bool,
    attempt: i64,
    task: AbortHandle,
    stopped: Arc<AtomicBool>,
    /// Its work is over; whether its end still counts is found out where that is written.
    ending: Arc<AtomicBool>,
}

/// A worker in this process.
pub struct Worker {
    app: App,
    jobs_max: usize,
    running: HashMap<JobId, Running>,
    /// Whether jobs may have been leased without the worker having learnt of it: the connection broke meanwhile.
    may_hold_more: bool,
    tasks: JoinSet<(JobId, i64)>,
}

impl Worker {
    /// A worker that runs up to `jobs_max` jobs at once.
    pub fn new(app: App, jobs_max: usize) -> Worker {
        Worker {
            app,
            jobs_max: jobs_max.max(1),
            running: HashMap::new(),
            may_hold_more: false,
            tasks: JoinSet::new(),
        }
    }

    /// Works until `stop` turns true, then lets running steps end for a while and gives the rest back.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !*stop.borrow() {
            self.lease().await;
            tokio::select! {
                _ = stop.changed() => break,
                _ = heartbeat.tick() => self.heartbeat().await,
                Some(ended) = self.tasks.join_next() => self.forget(ended),
                () = self.app.db.work_arrived() => self.drop_lost().await,
                () = tokio::time::sleep(IDLE_MAX) => {}
            }
        }
        self.wind_down().await;
    }

    /// Leases as many jobs as there is room for, and starts them.
    async fn lease(&mut self) {
        let looks = self.running.values().filter(|running| running.is_look).count();
        let runs_room = self.jobs_max.saturating_sub(self.running.len() - looks);
        let looks_room = LOOKS_MAX.saturating_sub(looks);
        if runs_room + looks_room == 0 {
            return;
        }
        // Looking first keeps an idle worker from writing.
        let folder = self.app.seat.get().map(|seat| seat.folder);
        let due = self.app.db.read(move |tx| {
            if job::next_due(tx)?.is_none_or(|due| due > tx.now()) {
                return Ok(None);
            }
            folder.map_or(Ok(Vec::new()), |folder| mirror::elsewhere(tx, folder, archive::PUBLISH)).map(Some)
        });
        let Ok(Some(left)) = due.await else { return };
        let boot = self.app.boot;
        // Fetching needs no storage, and a commit may be gone from its remote later.
        let runs = if self.app.outage.is_on() { Place::Only(archive::FETCH) } else { Place::Run };
        let leased = self.app.db.transact(move |tx| {
            let mut leases = job::lease_for(tx, boot, Place::Alone, looks_room, &[])?;
            leases.extend(job::lease_for(tx, boot, runs, runs_room, &left)?);
            Ok::<_, DbError>(leases)
        });
        match leased.await {
            Ok(leases) => leases.into_iter().for_each(|lease| self.start(lease)),
            Err(error) => {
                self.may_hold_more |= error == DbError::Unsure;
                tracing::warn!(%error, "no jobs could be leased; trying again");
            }
        }
    }

    fn start(&mut self, lease: Lease) {
        let is_look = lease.run.is_none();
        let log = self.app.logs.writer(lease.job, self.app.clock.clone());
        let step = Step::new(self.app.clone(), lease.clone(), log);
        let (stopped, ending) = (step.stop_flag(), step.ending_flag());
        let (job, attempt) = (lease.job, lease.attempt);
        let task = self.tasks.spawn(async move {
            carry_out(step).await;
            (job, attempt)
        });
        self.running.insert(job, Running { is_look, attempt, task, stopped, ending });
    }

    fn forget(&mut self, ended: Result<(JobId, i64), tokio::task::JoinError>) {
        match ended {
            // The job may have been leased anew before its last attempt's task was joined.
            Ok((job, attempt)) => {
                self.running.retain(|this, running| (*this, running.attempt) != (job, attempt));
            }
            // Aborted ones were forgotten when they were aborted. A panic's job is given back with the
            // next heartbeat.
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(%error, "a step panicked; its job is tried again");
                }
                self.running.retain(|_, running| !running.task.is_finished());
            }
        }
    }

    /// Extends the leases; steps whose lease is lost are dropped.
    async fn heartbeat(&mut self) {
        if self.running.is_empty() && !self.may_hold_more {
            return;
        }
        let boot = self.app.boot;
        match self.app.db.transact(move |tx| job::heartbeat(tx, boot)).await {
            Ok(held) => {
                self.keep(&held);
                self.give_back_unknown(held).await;
                self.may_hold_more = false;
            }
            Err(error) => tracing::warn!(%error, "leases could not be extended; trying again"),
        }
    }

    /// Leases of this boot that no task runs: tried again at once. Its step panicked, which counts; or the connection
    /// broke while the lease was committed, and nothing of it was begun.
    async fn give_back_unknown(&self, held: Vec<(JobId, i64)>) {
        let unknown: Vec<(JobId, i64)> =
            held.into_iter().filter(|(job, _)| !self.running.contains_key(job)).collect();
        let never_begun = self.may_hold_more;
        for (job, attempt) in unknown {
            let ended = self.app.db.transact(move |tx| {
                if never_begun {
                    return Ok(job::release(tx, job, attempt)?);
                }
                let reason = "the step ended in an unforeseen way (panic)".to_owned();
                let panicked = Finish::Retry { reason, public: None, after: None, within: None };
                job::finish(tx, job, attempt, panicked).map(drop)
            });
            let ended = ended.await;
            if let Err(error) = ended
                && !matches!(error, FinishError::Stale)
            {
                tracing::warn!(%error, job.id = %job, "a job could not be given back");
            }
        }
    }

    /// Somebody changed jobs: a run may have been cancelled, and its steps end at once.
    async fn drop_lost(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let mine: Vec<(JobId, i64)> =
            self.running.iter().map(|(job, running)| (*job, running.attempt)).collect();
        let held = self.app.db.read(move |tx| still_held(tx, &mine)).await;
        if let Ok(held) = held {
            self.keep(&held);
        }
    }

    fn keep(&mut self, held: &[(JobId, i64)]) {
        self.running.retain(|job, running| {
            let keep = held.contains(&(*job, running.attempt))
                || running.task.is_finished()
                || running.ending.load(Ordering::Relaxed);
            if !keep {
                tracing::info!(job.id = %job, "the lease on a job is lost; its step is stopped");
                running.stopped.store(true, Ordering::Relaxed);
                running.task.abort();
            }
            keep
        });
    }

    async fn wind_down(mut self) {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let ended = tokio::time::timeout(GRACE, async {
            loop {
                tokio::select! {
                    ended = self.tasks.join_next() => match ended {
                        Some(ended) => self.forget(ended),
                        None => return,
                    },
                    // Nobody takes from it what it is ending.
                    _ = heartbeat.tick() => self.heartbeat().await,
                }
            }
        });
        if ended.await.is_ok() {
            return;
        }
        for (job, running) in self.running.drain() {
            running.stopped.store(true, Ordering::Relaxed);
            running.task.abort();
            let attempt = running.attempt;
            let released = self.app.db.transact(move |tx| job::release(tx, job, attempt)).await;
            match released {
                Ok(()) => tracing::info!(job.id = %job, "a running job was given back"),
                Err(error) => tracing::warn!(%error, job.id = %job, "a running job could not be given back"),
            }
        }
    }
}

fn still_held(tx: &mut Tx<'_>, mine: &[(JobId, i64)]) -> Result<Vec<(JobId, i64)>, DbError> {
    let mut held = Vec::with_capacity(mine.len());
    for (job, attempt) in mine {
        if job::still_mine(tx, *job, *attempt)? {
            held.push((*job, *attempt));
        }
    }
    Ok(held)
}

/// Runs a step and ends its job.
async fn carry_out(step: Step) {
    let (job, kind) = (step.lease.job, step.lease.kind.clone());
    let begun = std::time::Instant::now();
    // Looks come by the thousand and mostly find nothing: only what they find is worth a file.
    if step.lease.run.is_some() {
        step.log.line(&format!("{kind}: attempt {}", step.lease.attempt));
    }
    let mut result = tokio::select! {
        result = run(&step) => result,
        () = step.log.keep_written(&step.app.db, job, step.lease.attempt) => unreachable!("it never ends"),
    };
    if let Err(error @ StepError::Retry { public: Some(PublicReason::StorageFailed), .. }) = &result
        && outage::is_away(&step.app).await
    {
        result = Err(StepError::NotNow { reason: format!("the storage is away: {error}") });
    }
    if let Err(error) = &result {
        step.log.line(&format!("{kind}: {error}"));
    }
    step.ending_flag().store(true, Ordering::Relaxed);
    let state = end(&step, result).await;
    let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    match state {
        Some(JobState::Failed | JobState::Dead) => {
            tracing::warn!(job.id = %job, job.kind = kind, duration_ms, "a job failed; `gristmill run show` says why");
        }
        Some(state) => {
            tracing::debug!(job.id = %job, job.kind = kind, job.state = %state, duration_ms, "a job ended");
        }
        None => tracing::info!(job.id = %job, job.kind = kind, "a job was taken away while it ran"),
    }
}

async fn run(step: &Step) -> Result<Ending, StepError> {
    step.check_known().await?;
    match step.lease.kind.as_str() {
        "look" => look::run(step).await,
        archive::FETCH => archive::fetch::run(step).await,
        archive::ARCHIVE => archive::make::run(step).await,
        archive::PUBLISH => archive::publish::run(step).await,
        other => {
            let reason = format!("this version of the program knows no step `{other}`");
            // While several programs are replaced, a newer one knows it.
            let is_alone = step.app.seat.get().is_none();
            Err(if is_alone { StepError::fail(reason) } else { StepError::NotNow { reason } })
        }
    }
}

/// The end of a job is on the disk.
fn recorded(kind: &str) {
    match kind {
        "look" => fail::point("look.applied"),
        archive::ARCHIVE => fail::point("archive.recorded"),
        archive::PUBLISH => fail::point("publish.recorded"),
        _ => {}
    }
}

/// Why the end of a job is not written.
enum EndError {
    /// The ending itself found that the result does not count.
    Refused(StepError),
    /// The lease, the plan or the database.
    Finish(FinishError),
}

impl From<DbError> for EndError {
    fn from(error: DbError) -> EndError {
        EndError::Finish(error.into())
    }
}

/// Writes the end of a job down, however long the database needs to take it, as long as the lease holds.
async fn end(step: &Step, result: Result<Ending, StepError>) -> Option<JobState> {
    let (job, attempt) = (step.lease.job, step.lease.attempt);
    let mut ending = match result {
        Ok(ending) => ending,
        Err(error) => step::ending(error.into_finish(attempt)),
    };
    loop {
        let (this, log, mark) = (ending.clone(), step.log.clone(), step.log.mark());
        let has_mirror = step.has_mirror();
        let ended = step.app.db.transact(move |tx| {
            if !job::still_mine(tx, job, attempt)? {
                return Err(EndError::Finish(FinishError::Stale));
            }
            log.rewind(mark);
            let finish = this(tx).map_err(EndError::Refused)?;
            log.finish(tx, job)?;
            if let (Some((project, folder)), Finish::Succeeded { .. }) = (has_mirror, &finish) {
                mirror::have(tx, project, folder)?;
            }
            job::finish(tx, job, attempt, finish).map_err(EndError::Finish)
        });
        match ended.await {
            Ok(state) => {
                recorded(&step.lease.kind);
                return Some(state);
            }
            Err(EndError::Finish(FinishError::Stale)) => return None,
            Err(EndError::Finish(FinishError::Db(error))) => {
                tracing::warn!(%error, job.id = %job, "the end of a job could not be written; trying again");
                tokio::time::sleep(END_AGAIN).await;
            }
            Err(EndError::Finish(FinishError::Plan(error))) => {
                ending = step::ending(StepError::fail(error).into_finish(attempt));
            }
            Err(EndError::Refused(error)) => {
                step.log.line(&error.to_string());
                ending = step::ending(error.into_finish(attempt));
            }
        }
    }
}
