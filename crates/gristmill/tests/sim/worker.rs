//! Workers: they lease, keep, lose and end jobs.

use std::time::Duration;

use gristmill_db::job::{self, Beat, Finish, FinishError, Lease, Place, Rescue};
use gristmill_db::publication::{self, Holder};
use gristmill_db::watch::Watch;
use gristmill_db::{DbError, Tx, params};
use gristmill_model::{BootId, JobId, JobState, ObjectKey, ProjectId, RunId, Timestamp};

use crate::sabotage::Sabotage;
use crate::steps::State;
use crate::world::{Done, Event, Fault, Held, World, fault};

/// The jobs a worker runs at once.
const SLOTS: usize = 3;
const HEARTBEAT_MS: i64 = 5_000;
/// How late an idle worker finds what is due by time alone.
const ASK_MS: i64 = 60_000;
/// A lease without a heartbeat.
const LEASE_MS: i64 = 20_000;

/// One worker process, or the place where the next one starts.
#[derive(Debug)]
pub struct Worker {
    pub boot: BootId,
    pub is_alive: bool,
    pub frozen_until: i64,
    pub tasks: Vec<u64>,
    pub asks: bool,
    pub ticks: bool,
    /// Since when it has watched the others.
    pub up_since: i64,
    pub leases: Watch<JobId, Beat>,
    pub holders: Watch<ObjectKey, Holder>,
    next_tick: i64,
    now: i64,
}

impl Worker {
    pub fn is_up(&self) -> bool {
        self.is_alive && self.frozen_until <= self.now
    }
}

/// A step under way in a worker.
#[derive(Debug)]
pub struct Task {
    pub worker: usize,
    pub boot: BootId,
    pub lease: Lease,
    pub state: State,
}

/// What became of a transaction that proves its lease.
pub enum Did<T> {
    Yes(T),
    /// It was refused, or nobody knows: the same again.
    Unknown,
    /// The lease is lost.
    Stale,
}

/// Why such a transaction is taken back.
pub enum Refused {
    Stale,
    Fault(Fault),
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Fault {
        match refused {
            Refused::Stale => Fault("a lease is lost".to_owned()),
            Refused::Fault(fault) => fault,
        }
    }
}

impl From<DbError> for Refused {
    fn from(error: DbError) -> Refused {
        Refused::Fault(error.into())
    }
}

impl From<FinishError> for Refused {
    fn from(error: FinishError) -> Refused {
        match error {
            FinishError::Stale => Refused::Stale,
            other => Refused::Fault(other.into()),
        }
    }
}

const LEASED_OF: &str =
    "SELECT count(*) FROM job WHERE state = 'leased' AND run_id IS NOT NULL AND project_id = $1";
const NO_LIMIT: &str = "UPDATE project SET jobs_max = $1";
const LEASED: &str = "SELECT 1 FROM job WHERE state = 'leased' LIMIT 1";

impl World {
    pub fn add_worker(&mut self) {
        let boot = self.new_boot();
        let now = self.now();
        self.workers.push(Worker {
            boot,
            is_alive: true,
            frozen_until: 0,
            tasks: Vec::new(),
            asks: false,
            ticks: false,
            up_since: now,
            leases: Watch::default(),
            holders: Watch::default(),
            next_tick: 0,
            now,
        });
        self.wake(self.workers.len() - 1);
    }

    pub fn new_boot(&mut self) -> BootId {
        BootId::new(Timestamp(self.now()), u128::from(self.rng.next()))
    }

    /// Keeps what [`Worker::is_up`] compares with in step with the clock.
    pub fn tell_time(&mut self) {
        let now = self.now();
        self.workers.iter_mut().for_each(|worker| worker.now = now);
    }

    /// Somebody has made work: whoever has room asks for it.
    pub fn wake_all(&mut self) {
        for index in 0..self.workers.len() {
            self.wake(index);
        }
    }

    pub fn wake(&mut self, index: usize) {
        let worker = &mut self.workers[index];
        if worker.is_alive && !worker.asks && worker.tasks.len() < SLOTS {
            worker.asks = true;
            self.soon(0, 120, Event::Lease(index));
        }
        if self.workers[index].is_alive && !self.workers[index].ticks {
            self.workers[index].ticks = true;
            self.tick_later(index);
        }
    }

    fn tick_later(&mut self, index: usize) {
        let moment = self.now() + HEARTBEAT_MS;
        self.workers[index].next_tick = moment;
        self.at(moment, Event::Tick(index));
    }

    /// Where the worker is frozen: the event comes when it thaws.
    fn is_frozen(&mut self, index: usize, event: Event) -> Option<Event> {
        let until = self.workers[index].frozen_until;
        if until <= self.now() {
            return Some(event);
        }
        let late = self.rng.between(0, 50);
        self.at(until + late, event);
        None
    }

    pub fn lease(&mut self, index: usize) -> Done {
        if self.is_frozen(index, Event::Lease(index)).is_none() {
            return Ok(());
        }
        self.workers[index].asks = false;
        let worker = &self.workers[index];
        let room = SLOTS.saturating_sub(worker.tasks.len());
        if !worker.is_alive || room == 0 {
            return Ok(());
        }
        let boot = worker.boot;
        // Some workers keep places for looks.
        let is_split = index % 2 == 1;
        let beyond = self.does(Sabotage::BeyondLimit);
        let (leases, due) = self.tx(|tx| {
            if beyond {
                tx.execute(NO_LIMIT, params![100_i64])?;
            }
            let leases = if is_split {
                let mut leases = job::lease_for(tx, boot, Place::Alone, 1.min(room), &[])?;
                leases.extend(job::lease_for(tx, boot, Place::Run, room - leases.len(), &[])?);
                leases
            } else {
                job::lease(tx, boot, room)?
            };
            let due = if leases.is_empty() { job::next_due(tx)? } else { None };
            Ok::<_, DbError>((leases, due))
        })?;
        for lease in &leases {
            self.check_lease(index, lease)?;
        }
        if let Some(due) = due.map(|due| due.0 - self.offset).filter(|due| *due > self.now()) {
            self.workers[index].asks = true;
            // A worker asks now and then by itself; the clock may have been set meanwhile.
            self.at(due.min(self.now() + ASK_MS), Event::Lease(index));
        }
        if !leases.is_empty() && self.fails(3) {
            self.count("leases whose answer was lost");
            return Ok(());
        }
        for lease in leases {
            self.start(index, lease);
        }
        Ok(())
    }

    fn start(&mut self, index: usize, lease: Lease) {
        let number = self.number();
        let state = State::first(&lease);
        self.note(|| format!("worker {index} starts {} {} #{}", lease.kind, lease.job, lease.attempt));
        let task = Task { worker: index, boot: self.workers[index].boot, lease, state };
        self.workers[index].tasks.push(number);
        self.tasks.insert(number, task);
        self.soon(1, 150, Event::Task(number));
    }

    fn check_lease(&mut self, index: usize, lease: &Lease) -> Done {
        self.count("leases");
        let now = self.now();
        if let Some(held) = self.truth.held.get(&lease.job)
            && held.until > now
        {
            return fault(format!("job {} was leased while worker {} held it", lease.job, held.worker));
        }
        if lease.kind == "look" {
            let twice = |held: &Held| held.run.is_none() && held.project == lease.project && held.until > now;
            if self.truth.held.values().any(twice) {
                return fault("two looks at one remote at once");
            }
        }
        if let (Some(run), Some(project)) = (lease.run, lease.project) {
            let leased = self.tx(|tx| tx.query_one(LEASED_OF, params![project], |row| row.get::<i64>(0)))?;
            let limit = self.truth.limits[&project];
            if leased.unwrap_or(0) > limit {
                return fault(format!("{leased:?} jobs of a project at once, at most {limit} are allowed"));
            }
            self.check_fan_in(run, &lease.kind)?;
        }
        let held = Held {
            attempt: lease.attempt,
            worker: index,
            project: lease.project,
            run: lease.run,
            until: now + LEASE_MS,
        };
        self.truth.held.insert(lease.job, held);
        Ok(())
    }

    fn check_fan_in(&mut self, run: RunId, kind: &str) -> Done {
        let Some(fan) = self.truth.fans.get(&run) else { return Ok(()) };
        if kind == "join" && fan.over < fan.jobs {
            return fault(format!("a fan-in went on after {} of {} jobs", fan.over, fan.jobs));
        }
        Ok(())
    }

    /// Heartbeat and rescue.
    pub fn tick(&mut self, index: usize) -> Done {
        if self.is_frozen(index, Event::Tick(index)).is_none() {
            return Ok(());
        }
        // One that an earlier process in this place was to have comes too early.
        if !self.workers[index].is_alive || self.now() < self.workers[index].next_tick {
            return Ok(());
        }
        let boot = self.workers[index].boot;
        let rescues = !self.does(Sabotage::NoRescue);
        let by_clock = self.does(Sabotage::RescueByClock);
        let now = World::span(self.now());
        let mut watch = std::mem::take(&mut self.workers[index].leases);
        let mut holders = std::mem::take(&mut self.workers[index].holders);
        let ticked = self.tx(|tx| {
            let kept = job::heartbeat(tx, boot)?;
            let all = job::leases(tx)?;
            let overdue: Vec<_> = all.iter().filter(|(_, (_, until))| *until < tx.now()).copied().collect();
            let silent = watch.look(all, now, job::LEASE);
            holders.look(publication::holders(tx)?, now, job::LEASE);
            let which = Rescue::Silent(if by_clock { overdue } else { silent });
            let rescued = if rescues { job::rescue(tx, &which, 100)? } else { 0 };
            let any = tx.query_one(LEASED, params![], |_| Ok(()))?.is_some();
            Ok::<_, DbError>((kept, rescued, any))
        });
        self.workers[index].leases = watch;
        self.workers[index].holders = holders;
        let (kept, rescued, any) = ticked?;
        for _ in 0..rescued {
            self.count("jobs of lost workers back");
        }
        self.keep(index, &kept)?;
        if any || self.faults {
            self.tick_later(index);
        } else {
            self.workers[index].ticks = false;
        }
        Ok(())
    }

    fn keep(&mut self, index: usize, kept: &[(JobId, i64)]) -> Done {
        let until = self.now() + LEASE_MS;
        let mut unknown = Vec::new();
        for (job, attempt) in kept {
            if let Some(held) = self.truth.held.get_mut(job)
                && held.attempt == *attempt
            {
                held.until = until;
            }
            let is_mine = |number: &u64| {
                self.tasks
                    .get(number)
                    .is_some_and(|task| (task.lease.job, task.lease.attempt) == (*job, *attempt))
            };
            if !self.workers[index].tasks.iter().any(is_mine) {
                unknown.push((*job, *attempt));
            }
        }
        for number in self.workers[index].tasks.clone() {
            let lease = &self.tasks[&number].lease;
            if !kept.contains(&(lease.job, lease.attempt)) && self.rng.chance(50) {
                self.forget(number);
            }
        }
        // Leased without its knowing: the answer was lost.
        for (job, attempt) in unknown {
            self.count("leases given back");
            self.tx(|tx| job::release(tx, job, attempt))?;
            self.let_go(job, attempt);
        }
        Ok(())
    }

    /// The lease ends.
    pub fn let_go(&mut self, job: JobId, attempt: i64) {
        if self.truth.held.get(&job).is_some_and(|held| held.attempt == attempt) {
            self.truth.held.remove(&job);
        }
    }

    /// The step is over for the worker, whatever became of the job.
    pub fn forget(&mut self, number: u64) {
        if let Some(task) = self.tasks.remove(&number) {
            self.workers[task.worker].tasks.retain(|other| *other != number);
            if self.workers[task.worker].boot == task.boot {
                self.wake(task.worker);
            }
        }
    }

    /// Runs a transaction for a step: it proves the lease, and may be refused or answered in vain.
    pub fn commit<T>(
        &mut self,
        task: &Task,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, Refused>,
        record: impl FnOnce(&mut World, &T) -> Done,
    ) -> Result<Did<T>, Fault> {
        if self.fails(2) {
            self.count("transactions refused");
            return Ok(Did::Unknown);
        }
        let (job, attempt) = (task.lease.job, task.lease.attempt);
        let proves = !self.does(Sabotage::IgnoreLease);
        let result = self.db.transact(|tx| {
            if proves && !job::still_mine(tx, job, attempt)? {
                return Err(Refused::Stale);
            }
            work(tx)
        });
        match result {
            Err(Refused::Stale) => {
                self.count("zombies fenced");
                Ok(Did::Stale)
            }
            Err(Refused::Fault(fault)) => Err(fault),
            Ok(value) => {
                if let Some(run) = task.lease.run
                    && self.truth.runs.get(&run).is_some_and(|fact| fact.is_stopped)
                {
                    return fault(format!("run {run} was stopped, and its {} job wrote", task.lease.kind));
                }
                record(self, &value)?;
                if self.fails(3) {
                    self.count("answers to workers lost");
                    return Ok(Did::Unknown);
                }
                Ok(Did::Yes(value))
            }
        }
    }

    /// What the outside learns from the end of an attempt.
    pub fn record_end(&mut self, task: &Task, how: &Finish, state: JobState) -> Done {
        let job = task.lease.job;
        self.let_go(job, task.lease.attempt);
        self.note(|| format!("{} {job} ends {state}: {how:?}", task.lease.kind));
        match how {
            Finish::Retry { .. } => {
                self.count("retries");
                *self.truth.bad_ends.entry(job).or_default() += 1;
            }
            Finish::Deferred { .. } => self.count("deferred"),
            Finish::WaitFor { .. } => self.count("waits for another job"),
            Finish::Succeeded { cached: true, .. } => self.count("hits"),
            _ => {}
        }
        if state == JobState::Dead {
            self.count("dead letters");
            self.excuse(task.lease.run, "given up");
        }
        if state.is_over()
            && task.lease.kind == "work"
            && let Some(run) = task.lease.run
        {
            self.truth.fans.entry(run).or_default().over += 1;
        }
        Ok(())
    }

    /// The run need not have an artifact.
    pub fn excuse(&mut self, run: Option<RunId>, why: &'static str) {
        if let Some(fact) = run.and_then(|run| self.truth.runs.get_mut(&run)) {
            fact.excuse = Some(why);
        }
    }

    /// Steps of the project's jobs end with its leases, in the history outside.
    pub fn stop_run(&mut self, run: RunId, why: &'static str) {
        if let Some(fact) = self.truth.runs.get_mut(&run) {
            fact.is_stopped = true;
            fact.excuse = Some(why);
        }
        self.truth.held.retain(|_, held| held.run != Some(run));
    }

    /// Reading the limit that holds now.
    pub fn note_limit(&mut self, project: ProjectId, limit: i64) {
        self.truth.limits.insert(project, limit);
    }

    /// How long a span is, for the functions under test.
    pub fn span(ms: i64) -> Duration {
        Duration::from_millis(u64::try_from(ms).unwrap())
    }
}
