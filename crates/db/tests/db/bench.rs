//! A database in memory with a clock that is turned by hand, and the few rows every test needs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gristmill_db::delivery::{Body, NewDelivery};
use gristmill_db::job::{self, Finish, FinishError, Job, Lease, Rescue};
use gristmill_db::publication::Desire;
use gristmill_db::run::{self, NewRun, Run};
use gristmill_db::{DbError, DirectDb, Random, Tx, project};
use gristmill_model::{
    ArchiveSpec, BootId, Clock, CommitId, Digest, FirstLook, GitRef, JobId, JobState, Keep, ManualClock,
    ObjectId, PipelineKind, PipelineSpec, Plan, PlannedJob, ProjectId, ProjectSpec, RefFilter, RunId,
    Timestamp,
};

/// When every test begins.
pub const START: i64 = 1_000_000;

pub struct Bench {
    pub clock: Arc<ManualClock>,
    pub db: DirectDb,
}

/// Different bits each time, the same in every test.
pub fn random() -> Random {
    let state = AtomicU64::new(1);
    Arc::new(move || {
        let mut mixed = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u128::from(mixed) << 64 | u128::from(mixed ^ (mixed >> 31))
    })
}

pub fn boot(number: u128) -> BootId {
    BootId::new(Timestamp(1), number)
}

pub fn commit(number: u8) -> CommitId {
    CommitId(ObjectId::Sha1([number; 20]))
}

pub fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub fn main_branch() -> GitRef {
    "refs/heads/main".parse().unwrap()
}

pub fn spec(name: &str, jobs_max: i64) -> ProjectSpec {
    let pipeline = PipelineSpec {
        name: "archive".to_owned(),
        refs: RefFilter { branches: vec!["*".parse().unwrap()], tags: Vec::new() },
        releases: false,
        supersede: false,
        delay_seconds: 0,
        schedule: None,
        first_look: FirstLook::Build,
        keep: Keep::default(),
        kind: PipelineKind::Archive(ArchiveSpec {
            format: gristmill_model::ArchiveFormat::Zip,
            key: "{branch}.zip".parse().unwrap(),
            tag_key: None,
            release_key: None,
            allow_shared_key: false,
            options: Default::default(),
        }),
    };
    ProjectSpec {
        name: name.parse().unwrap(),
        pattern: None,
        git: "https://example.org/r".to_owned(),
        fetch: gristmill_model::FetchBy::Git,
        forge: "github".to_owned(),
        repository: "acme/r".parse().unwrap(),
        repository_id: None,
        poll_seconds: 0,
        jobs_max,
        pipelines: vec![pipeline],
    }
}

pub fn succeeded() -> Finish {
    Finish::Succeeded { outcome: "{}".to_owned(), cached: false, expand: None }
}

pub fn failed(reason: &str) -> Finish {
    Finish::Failed { reason: reason.to_owned(), public: None }
}

pub fn retry(reason: &str) -> Finish {
    Finish::Retry { reason: reason.to_owned(), public: None, after: None, within: None }
}

/// One job of each kind, without edges.
pub fn jobs(kinds: &[&str]) -> Plan {
    let jobs = kinds.iter().map(|kind| PlannedJob::new(kind, format!("{{\"of\":\"{kind}\"}}"))).collect();
    Plan { jobs, edges: Vec::new() }
}

/// One job after the other.
pub fn chain(kinds: &[&str]) -> Plan {
    Plan::chain(jobs(kinds).jobs)
}

pub fn delivery(id: &str, body: &str) -> NewDelivery {
    NewDelivery {
        remote_id: id.to_owned(),
        id_stands_for: None,
        event: "push".to_owned(),
        verifier: "hmac".to_owned(),
        body: Body::pack(body.as_bytes()),
    }
}

pub fn desire(project: ProjectId, run: RunId, seq: i64, commit: CommitId, bytes: &str) -> Desire {
    Desire {
        key: "main.zip".parse().unwrap(),
        seq,
        digest: digest(bytes),
        size: 10,
        content_type: "application/zip".to_owned(),
        metadata: BTreeMap::from([("commit".to_owned(), commit.to_string())]),
        project,
        pipeline: "archive".to_owned(),
        git_ref: main_branch(),
        commit,
        run,
        allow_shared_key: false,
    }
}

/// Takes back what whoever watched the leases all the time has seen to stand for too long.
pub fn rescue(tx: &mut Tx<'_>, max: i64) -> Result<usize, DbError> {
    let now = tx.now();
    let over = job::leases(tx)?.into_iter().filter(|(_, (_, until))| *until < now).collect();
    job::rescue(tx, &Rescue::Silent(over), max)
}

impl Bench {
    pub fn new() -> Bench {
        let clock = Arc::new(ManualClock::at(Timestamp(START)));
        let db = crate::engine::open(clock.clone(), random());
        Bench { clock, db }
    }

    /// A bench with one project that may run `jobs_max` jobs.
    pub fn with_project(jobs_max: i64) -> (Bench, ProjectId) {
        let bench = Bench::new();
        let ids = bench.import(&[spec("acme/a", jobs_max)]);
        (bench, ids[0])
    }

    pub fn tx<T>(&self, work: impl FnOnce(&mut Tx<'_>) -> Result<T, DbError>) -> T {
        self.db.transact(work).unwrap()
    }

    pub fn now_ms(&self) -> i64 {
        self.clock.now().0
    }

    pub fn advance(&self, ms: i64) {
        self.clock.advance(Duration::from_millis(u64::try_from(ms).unwrap()));
    }

    pub fn import(&self, specs: &[ProjectSpec]) -> Vec<ProjectId> {
        self.tx(|tx| {
            project::import(tx, specs, &[])?;
            specs.iter().map(|spec| Ok(project::by_name(tx, &spec.name)?.unwrap().id)).collect()
        })
    }

    pub fn new_run(project: ProjectId, number: u8, seq: Option<i64>) -> NewRun {
        NewRun {
            project,
            pipeline: "archive".to_owned(),
            spec_rev: 1,
            git_ref: main_branch(),
            commit: commit(number),
            seq,
            is_release: false,
            cause: "delivery".to_owned(),
            cause_id: Some("d".to_owned()),
        }
    }

    pub fn run(&self, project: ProjectId, plan: &Plan) -> RunId {
        self.tx(|tx| run::create(tx, &Bench::new_run(project, 1, Some(1)), plan, false))
    }

    /// A run that nobody waits for.
    pub fn polled(&self, project: ProjectId, plan: &Plan) -> RunId {
        let new = NewRun { cause: "poll".to_owned(), ..Bench::new_run(project, 1, Some(1)) };
        self.tx(|tx| run::create(tx, &new, plan, false))
    }

    pub fn run_row(&self, id: RunId) -> Run {
        self.tx(|tx| run::by_id(tx, id)).unwrap()
    }

    pub fn job(&self, id: JobId) -> Job {
        self.tx(|tx| job::by_id(tx, id)).unwrap()
    }

    /// The jobs of a run by kind.
    pub fn jobs(&self, run: RunId) -> BTreeMap<String, Job> {
        let jobs = self.tx(|tx| job::of_run(tx, run, 1_000));
        jobs.into_iter().map(|job| (job.kind.clone(), job)).collect()
    }

    /// The states of a run's jobs, by kind: `a:ready b:blocked`.
    pub fn states(&self, run: RunId) -> String {
        let states: Vec<String> =
            self.jobs(run).values().map(|job| format!("{}:{}", job.kind, job.state)).collect();
        states.join(" ")
    }

    pub fn lease(&self, max: usize) -> Vec<Lease> {
        self.tx(|tx| job::lease(tx, boot(1), max))
    }

    /// The kinds of the jobs that are leased, in their order.
    pub fn kinds(&self, max: usize) -> Vec<String> {
        self.lease(max).into_iter().map(|lease| lease.kind).collect()
    }

    pub fn lease_one(&self) -> Lease {
        let mut leases = self.lease(1);
        assert_eq!(leases.len(), 1, "a job is ready");
        leases.remove(0)
    }

    pub fn finish(&self, lease: &Lease, how: Finish) -> JobState {
        self.try_finish(lease, how).unwrap()
    }

    pub fn try_finish(&self, lease: &Lease, how: Finish) -> Result<JobState, FinishError> {
        self.db.transact(|tx| job::finish(tx, lease.job, lease.attempt, how))
    }

    pub fn holds(&self, lease: &Lease) -> bool {
        self.tx(|tx| job::still_mine(tx, lease.job, lease.attempt))
    }
}
