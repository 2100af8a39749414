//! `engine`: what the engine itself costs, by jobs that do nothing in graphs of 100.
//!
//! The database is the real one, in a file, each commit synced. Runs are made by several senders, one transaction
//! each; then one worker leases, keeps its leases alive and ends jobs as the server's worker does: as many at once
//! as it has room for, each end a transaction of its own. Processor time is that of this whole process.

use crate::kit::proc;
use crate::kit::report::{self, Bars};
use crate::kit::target::Common;
use anyhow::{Context, Result, ensure};
use gristmill::clock::{SystemClock, system_random};
use gristmill_db::job::{self, Finish, FinishError, Lease, Place};
use gristmill_db::run::NewRun;
use gristmill_db::{Db, DbError, project, run};
use gristmill_model::{
    BootId, EdgeKind, JobId, Plan, PlannedJob, ProjectId, ProjectSpec, RunState, Timestamp,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The most processor time per job.
const CPU_MS_MAX: f64 = 1.0;
/// Jobs of a graph.
const GRAPH_JOBS: usize = 100;
/// Transactions that make runs, at once.
const SENDERS: usize = 8;
/// As the server's worker has it.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Places for work outside runs, as the server's worker has them.
const LOOKS_MAX: usize = 32;
/// As the server's worker has it.
const IDLE_MAX: Duration = Duration::from_millis(500);

/// Arguments of `engine`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// Jobs in all, rounded up to whole graphs of 100.
    #[arg(long, default_value_t = 100_000)]
    jobs: usize,
    /// What the graphs look like.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Graph::Fan, Graph::Chain])]
    graphs: Vec<Graph>,
    /// How many jobs the worker runs at once; the server's default is twice the processors, at most 64.
    #[arg(long, value_delimiter = ',', default_values_t = [4, 64])]
    at_once: Vec<usize>,
}

/// The form of a graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Graph {
    /// One job, then 98 beside each other, then one that waits for all of them.
    Fan,
    /// Ten chains of ten.
    Chain,
}

/// What one part of a measurement took.
#[derive(Clone, Copy)]
struct Took {
    wall: Duration,
    cpu: Duration,
}

/// Runs the benchmark; whether it must fail because a bar was missed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let folder = args.common.folder()?;
    let graphs = args.jobs.div_ceil(GRAPH_JOBS);
    println!("engine: {graphs} graphs of {GRAPH_JOBS} jobs that do nothing, each commit synced");
    report::machine(folder.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut bars = Bars::default();
    println!();
    println!("graph  at once    jobs/s   cpu ms/job: all  (making runs, running them)   wall s");
    let mut worst: f64 = 0.0;
    for &graph in &args.graphs {
        for &at_once in &args.at_once {
            let dir = folder.path().join(format!("{graph:?}-{at_once}"));
            std::fs::create_dir(&dir)?;
            let (made, ran) = runtime.block_on(measure(&dir.join("db"), graph, graphs, at_once))?;
            let jobs = (graphs * GRAPH_JOBS) as f64;
            let ms = |took: Took| took.cpu.as_secs_f64() * 1e3 / jobs;
            let all = ms(made) + ms(ran);
            println!(
                "{:<6} {at_once:>7} {:>9.0} {all:>17.3}  ({:.3}, {:.3}) {:>27.1}",
                format!("{graph:?}").to_lowercase(),
                jobs / ran.wall.as_secs_f64(),
                ms(made),
                ms(ran),
                (made.wall + ran.wall).as_secs_f64(),
            );
            worst = worst.max(all);
        }
    }
    println!();
    bars.check(
        "processor time per job (the dearest line)",
        &format!("{worst:.3} ms"),
        "≤ 1 ms",
        worst <= CPU_MS_MAX,
    );
    Ok(bars.failed(args.common.strict))
}

/// Makes the runs, then runs their jobs; what each took. Fails unless every run succeeded at the first attempt.
async fn measure(
    path: &std::path::Path,
    graph: Graph,
    graphs: usize,
    at_once: usize,
) -> Result<(Took, Took)> {
    let db = Db::open(path, Arc::new(SystemClock), system_random())?;
    let project = import(&db, at_once).await?;
    let made = took(make_runs(&db, project, graph, graphs)).await?;
    let worker = Worker::new(db.clone(), at_once);
    let ran = took(worker.run(graphs * GRAPH_JOBS)).await?;
    check(&db, graphs).await?;
    Ok((made, ran))
}

async fn took(work: impl Future<Output = Result<()>>) -> Result<Took> {
    let (start, before) = (Instant::now(), proc::cpu(std::process::id())?);
    work.await?;
    Ok(Took { wall: start.elapsed(), cpu: proc::cpu(std::process::id())?.since(before).own })
}

async fn import(db: &Db, at_once: usize) -> Result<ProjectId> {
    let spec = ProjectSpec {
        name: "bench/repo".parse()?,
        pattern: None,
        fetch: gristmill_model::FetchBy::default(),
        git: "file:///nowhere".to_owned(),
        forge: "github".to_owned(),
        repository: "bench/repo".parse()?,
        repository_id: None,
        poll_seconds: 0,
        jobs_max: i64::try_from(at_once)?,
        pipelines: Vec::new(),
    };
    let name = spec.name.clone();
    let found = db.transact(move |tx| {
        project::import(tx, std::slice::from_ref(&spec), &[])?;
        project::by_name(tx, &name)
    });
    let found: Result<_, DbError> = found.await;
    Ok(found?.context("the project was imported")?.id)
}

async fn make_runs(db: &Db, project: ProjectId, graph: Graph, graphs: usize) -> Result<()> {
    let plan = Arc::new(graph.plan());
    plan.check()?;
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (db, plan) = (db.clone(), plan.clone());
        senders.spawn(async move {
            for number in (sender..graphs).step_by(SENDERS) {
                let (plan, new) = (plan.clone(), new_run(project, number)?);
                let made: Result<_, DbError> =
                    db.transact(move |tx| run::create(tx, &new, &plan, false)).await;
                made?;
            }
            Ok::<(), anyhow::Error>(())
        });
    }
    while let Some(ended) = senders.join_next().await {
        ended??;
    }
    Ok(())
}

fn new_run(project: ProjectId, number: usize) -> Result<NewRun> {
    Ok(NewRun {
        project,
        pipeline: "nothing".to_owned(),
        spec_rev: 1,
        git_ref: "refs/heads/main".parse()?,
        commit: format!("{:040x}", number + 1).parse()?,
        seq: Some(i64::try_from(number)?),
        is_release: false,
        cause: "delivery".to_owned(),
        cause_id: None,
    })
}

impl Graph {
    fn plan(self) -> Plan {
        let jobs = (0..GRAPH_JOBS).map(|_| PlannedJob::new("nothing", "{}".to_owned())).collect();
        let plan = Plan { jobs, edges: Vec::new() };
        let last = GRAPH_JOBS - 1;
        match self {
            Graph::Fan => (1..last).fold(plan, |plan, middle| {
                plan.edge(0, middle, EdgeKind::OnSuccess).edge(middle, last, EdgeKind::OnSuccess)
            }),
            Graph::Chain => (0..last)
                .filter(|at| at % 10 != 9)
                .fold(plan, |plan, at| plan.edge(at, at + 1, EdgeKind::OnSuccess)),
        }
    }
}

/// The server's worker, with a step that does nothing.
struct Worker {
    db: Db,
    boot: BootId,
    at_once: usize,
    running: HashMap<JobId, i64>,
    tasks: JoinSet<Result<JobId>>,
}

impl Worker {
    fn new(db: Db, at_once: usize) -> Worker {
        let boot = BootId::new(db.clock().now(), db.random());
        Worker { db, boot, at_once, running: HashMap::new(), tasks: JoinSet::new() }
    }

    async fn run(mut self, jobs: usize) -> Result<()> {
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut over = 0;
        while over < jobs {
            self.lease().await?;
            tokio::select! {
                _ = heartbeat.tick() => self.heartbeat().await?,
                Some(ended) = self.tasks.join_next() => {
                    self.running.remove(&ended??);
                    over += 1;
                }
                () = self.db.work_arrived() => self.check_held().await?,
                () = tokio::time::sleep(IDLE_MAX) => {}
            }
        }
        Ok(())
    }

    async fn lease(&mut self) -> Result<()> {
        let room = self.at_once.saturating_sub(self.running.len());
        let is_due = |due: Option<Timestamp>, now| due.is_some_and(|due| due <= now);
        if !self.db.read(move |tx| Ok(is_due(job::next_due(tx)?, tx.now()))).await? {
            return Ok(());
        }
        let boot = self.boot;
        let leased = self.db.transact(move |tx| {
            let mut leases = job::lease_for(tx, boot, Place::Alone, LOOKS_MAX, &[])?;
            leases.extend(job::lease_for(tx, boot, Place::Run, room, &[])?);
            Ok::<_, DbError>(leases)
        });
        for lease in leased.await? {
            self.running.insert(lease.job, lease.attempt);
            self.tasks.spawn(carry_out(self.db.clone(), lease));
        }
        Ok(())
    }

    async fn heartbeat(&self) -> Result<()> {
        let boot = self.boot;
        let held: Result<_, DbError> = self.db.transact(move |tx| job::heartbeat(tx, boot)).await;
        held.map(drop).map_err(Into::into)
    }

    /// Asks whether what runs is still held: a run may have been cancelled.
    async fn check_held(&self) -> Result<()> {
        let mine: Vec<(JobId, i64)> = self.running.iter().map(|(job, attempt)| (*job, *attempt)).collect();
        let asked = self.db.read(move |tx| {
            mine.iter().try_for_each(|(job, attempt)| job::still_mine(tx, *job, *attempt).map(drop))
        });
        Ok(asked.await?)
    }
}

/// Ends the job, as the server does once its step has done its work.
async fn carry_out(db: Db, lease: Lease) -> Result<JobId> {
    let (job, attempt) = (lease.job, lease.attempt);
    let ended = db.transact(move |tx| {
        if !job::still_mine(tx, job, attempt)? {
            return Err(FinishError::Stale);
        }
        let done = Finish::Succeeded { outcome: "{}".to_owned(), cached: false, expand: None };
        job::finish(tx, job, attempt, done)
    });
    ended.await?;
    Ok(job)
}

/// Every run is over and succeeded, and no job needed a second attempt.
async fn check(db: &Db, graphs: usize) -> Result<()> {
    let (runs, left, repeated) = db
        .read(move |tx| {
            let runs = run::list(tx, None, "~", i64::try_from(graphs).unwrap_or(i64::MAX) + 1)?;
            let mut repeated = 0;
            for run in &runs {
                let jobs = job::of_run(tx, run.id, i64::MAX)?;
                repeated += jobs.iter().filter(|job| job.attempt != 1).count();
            }
            Ok((runs, job::counts(tx)?, repeated))
        })
        .await?;
    ensure!(runs.len() == graphs, "{} runs were made, not {graphs}", runs.len());
    ensure!(left.is_empty(), "jobs are left: {left:?}");
    let bad = runs.iter().find(|run| run.state != RunState::Succeeded);
    ensure!(bad.is_none(), "a run did not succeed: {bad:?}");
    ensure!(repeated == 0, "{repeated} jobs were not leased exactly once");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphs_have_a_hundred_jobs() {
        for (graph, edges, free) in [(Graph::Fan, 196, 1), (Graph::Chain, 90, 10)] {
            let plan = graph.plan();
            assert_eq!((plan.jobs.len(), plan.edges.len()), (100, edges));
            assert_eq!(plan.waits().iter().filter(|waits| **waits == 0).count(), free);
            assert_eq!(plan.check(), Ok(()));
        }
    }

    #[tokio::test]
    async fn all_jobs_run_and_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        measure(&dir.path().join("db"), Graph::Fan, 2, 3).await.unwrap();
        measure(&dir.path().join("other"), Graph::Chain, 2, 64).await.unwrap();
    }
}
