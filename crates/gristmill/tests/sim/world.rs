//! The world of one history: the clock, the queue of what happens next, the database under test, and
//! what stands outside of it: remotes, senders, workers, a bucket, people.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gristmill_db::job::FinishError;
use gristmill_db::publication::Publication;
use gristmill_db::{DbError, DirectDb, Tx};
use gristmill_model::{
    BootId, CommitId, Digest, GitRef, JobId, ManualClock, ProjectId, ProjectSpec, RunId, Timestamp,
};

use crate::bucket::Bucket;
use crate::forge::Sent;
use crate::remote::Remote;
use crate::rng::{Rng, splitmix};
use crate::sabotage::Sabotage;
use crate::worker::{Task, Worker};

/// When every history begins.
const START_MS: i64 = 1_700_000_000_000;

/// A promise was broken, or the program failed: the history ends here.
#[derive(Debug)]
pub struct Fault(pub String);

impl From<DbError> for Fault {
    fn from(error: DbError) -> Fault {
        Fault(format!("the database refused: {error}"))
    }
}

impl From<FinishError> for Fault {
    fn from(error: FinishError) -> Fault {
        Fault(format!("a job could not be ended: {error}"))
    }
}

/// What a handler returns.
pub type Done = Result<(), Fault>;

/// Breaks off with a broken promise.
pub fn fault<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault(text.into()))
}

/// What happens at some moment.
#[derive(Debug)]
pub enum Event {
    /// Somebody pushes.
    Push,
    /// A delivery arrives at the server.
    Deliver(usize),
    /// A worker asks for jobs.
    Lease(usize),
    /// A worker's heartbeat, and its look for orphans.
    Tick(usize),
    /// A step goes on.
    Task(u64),
    /// A worker dies, freezes or stops.
    Trouble,
    /// A worker starts.
    Start(usize),
    /// Somebody clicks something.
    People,
    /// Collection and retention.
    Collect,
    /// The collector deletes objects.
    DeleteObjects(Vec<Digest>),
    /// The collector forgets objects that are deleted.
    ForgetObjects(Vec<Digest>),
    /// Polls and schedules.
    Poll,
    /// The configuration is imported.
    Import,
    /// Thirty seconds ago the holder of this lease died.
    Orphan(usize, JobId, i64, BootId),
    /// A PUT reaches the bucket.
    Land(Box<Publication>),
    /// The bucket does not answer for a while.
    Outage,
    /// Counts and states are compared.
    Audit,
    /// Somebody sets the clock.
    Jump,
    /// The programs look at the clock.
    Clock,
}

/// A project as the outside knows it.
#[derive(Debug)]
pub struct Project {
    pub id: ProjectId,
    pub remote: Remote,
    pub spec: ProjectSpec,
    pub is_active: bool,
    /// How often a person had a delivery handled again.
    pub replays: usize,
}

/// What the outside knows of a run.
#[derive(Clone, Debug)]
pub struct RunFact {
    pub project: usize,
    pub git_ref: GitRef,
    pub commit: CommitId,
    pub rev: i64,
    /// Why it need not have an artifact.
    pub excuse: Option<&'static str>,
    /// Nothing it does counts any more.
    pub is_stopped: bool,
}

/// A lease as the outside knows it.
#[derive(Clone, Debug)]
pub struct Held {
    pub attempt: i64,
    pub worker: usize,
    pub project: Option<ProjectId>,
    pub run: Option<RunId>,
    pub until: i64,
}

/// An artifact that was recorded.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub project: usize,
    pub git_ref: GitRef,
    pub commit: CommitId,
}

/// The jobs of a fan-out: how many there are, how many are over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fan {
    pub jobs: usize,
    pub over: usize,
}

/// The history kept outside of the database.
#[derive(Debug, Default)]
pub struct Truth {
    pub runs: BTreeMap<RunId, RunFact>,
    pub held: BTreeMap<JobId, Held>,
    pub recipes: BTreeMap<(ProjectId, i64), i64>,
    pub limits: BTreeMap<ProjectId, i64>,
    pub artifacts: Vec<Recorded>,
    /// Tips that a look saw and applied: project, ref, commit.
    pub looked: BTreeSet<(usize, GitRef, CommitId)>,
    /// Who makes a step, who made it and when.
    pub makers: BTreeMap<Digest, (JobId, i64)>,
    pub made: BTreeMap<Digest, i64>,
    pub collected_at: i64,
    pub fans: BTreeMap<RunId, Fan>,
    /// Runs by the move that they build: project, ref, move, release.
    pub moves: BTreeMap<(usize, GitRef, i64, bool), usize>,
    pub bad_ends: BTreeMap<JobId, i64>,
}

/// One history.
pub struct World {
    pub rng: Rng,
    pub clock: Arc<ManualClock>,
    pub db: Rc<DirectDb>,
    pub sabotage: Option<Sabotage>,
    pub faults: bool,
    /// One server only, whose start takes all leases back.
    pub is_single: bool,
    /// New refs are recorded, not built.
    pub is_record: bool,
    pub projects: Vec<Project>,
    pub sent: Vec<Sent>,
    pub workers: Vec<Worker>,
    pub tasks: BTreeMap<u64, Task>,
    pub bucket: Bucket,
    pub truth: Truth,
    /// The collector is at its objects.
    pub is_deleting: bool,
    pub counts: BTreeMap<&'static str, u64>,
    pub trace: Option<RefCell<Vec<String>>>,
    /// True time, in which all of the history happens; the clock is set to something else now and then.
    time: i64,
    /// What the clock shows beyond true time.
    pub offset: i64,
    /// What the clock showed when it was looked at last, and when that was.
    pub told: (i64, i64),
    queue: BinaryHeap<Reverse<(i64, u64)>>,
    events: BTreeMap<u64, Event>,
    numbers: u64,
}

/// A database that many histories are run on, one after the other.
pub struct Stage {
    pub clock: Arc<ManualClock>,
    pub db: Rc<DirectDb>,
    random: Arc<AtomicU64>,
}

impl Stage {
    pub fn new() -> Stage {
        let clock = Arc::new(ManualClock::at(Timestamp(START_MS)));
        let random = Arc::new(AtomicU64::new(0));
        let source = random.clone();
        let random_bits = move || {
            let mut state = source.load(Ordering::Relaxed);
            let bits = u128::from(splitmix(&mut state)) << 64 | u128::from(splitmix(&mut state));
            source.store(state, Ordering::Relaxed);
            bits
        };
        let db = DirectDb::in_memory(clock.clone(), Arc::new(random_bits)).expect("an empty database");
        Stage { clock, db: Rc::new(db), random }
    }

    /// An empty world at the beginning of time.
    pub fn world(&self, seed: u64, sabotage: Option<Sabotage>) -> World {
        self.clock.set(Timestamp(START_MS));
        self.random.store(!seed, Ordering::Relaxed);
        self.db.clear().expect("tables can be emptied");
        World {
            rng: Rng::new(seed),
            clock: self.clock.clone(),
            db: self.db.clone(),
            sabotage,
            faults: true,
            is_single: false,
            is_record: false,
            projects: Vec::new(),
            sent: Vec::new(),
            workers: Vec::new(),
            tasks: BTreeMap::new(),
            bucket: Bucket::default(),
            truth: Truth::default(),
            is_deleting: false,
            counts: BTreeMap::new(),
            trace: None,
            time: START_MS,
            offset: 0,
            told: (START_MS, START_MS),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            numbers: 0,
        }
    }
}

impl World {
    pub fn now(&self) -> i64 {
        self.time
    }

    /// What the clock shows.
    pub fn shown(&self) -> i64 {
        self.time + self.offset
    }

    /// Somebody sets the clock.
    pub fn set_clock(&mut self, offset: i64) {
        self.offset = offset;
        self.clock.set(Timestamp(self.shown()));
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// A line for whoever looks at one history.
    pub fn note(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            trace.borrow_mut().push(format!("{:>8} {}", self.now() - START_MS, line()));
        }
    }

    pub fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub fn at(&mut self, moment: i64, event: Event) {
        let number = self.number();
        self.queue.push(Reverse((moment, number)));
        self.events.insert(number, event);
    }

    /// Something happens between `low` and `high` milliseconds from now.
    pub fn soon(&mut self, low: i64, high: i64, event: Event) {
        let moment = self.now() + self.rng.between(low, high);
        self.at(moment, event);
    }

    /// The next thing that happens; the clock goes there.
    pub fn next(&mut self) -> Option<Event> {
        let Reverse((moment, number)) = self.queue.pop()?;
        if moment > self.now() {
            self.time = moment;
            self.clock.set(Timestamp(self.shown()));
        }
        self.events.remove(&number)
    }

    /// A transaction of somebody who holds no lease.
    pub fn tx<T, E: From<DbError>>(
        &mut self,
        work: impl FnOnce(&mut Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.db.transact(work)
    }

    pub fn does(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    /// True in `percent` of the cases, while faults happen at all.
    pub fn fails(&mut self, percent: u64) -> bool {
        self.faults && self.rng.chance(percent)
    }

    pub fn project_index(&self, id: ProjectId) -> usize {
        self.projects.iter().position(|project| project.id == id).expect("projects are never purged here")
    }
}
