//! `restore`: a backup of an installation with many runs, and how long it takes to have it back, every key verified.
//!
//! The installation is made by the functions that a server calls: a delivery, a move, a run of three jobs, an archive of
//! its own and a version for each run, under a number of keys. Its bytes are small: it is rows and syncs that cost here.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use gristmill::backup::{BackupOptions, Progress, backup, restore};
use gristmill::clock::{SystemClock, system_random};
use gristmill::config::{Config, Surroundings};
use gristmill_db::artifact::{self, Artifact};
use gristmill_db::delivery::{self, Accepted, Body, NewDelivery};
use gristmill_db::job::{self, Finish};
use gristmill_db::publication::{self, Desire};
use gristmill_db::run::{self, NewRun};
use gristmill_db::{Db, DbError, Tx, blob, head, project, step};
use gristmill_model::{
    ArtifactId, BootId, DeliveryState, Digest, Plan, PlannedJob, ProjectId, ProjectSpec, RunId, RunState,
};
use gristmill_storage::{Opening, Storage};

use crate::kit::report::{self, Bars};
use crate::kit::target::Common;

/// The most seconds for 10 000 runs.
const SECONDS_MAX: f64 = 60.0;
/// Runs made in one transaction.
const AT_ONCE: usize = 50;
/// How many bytes an archive has.
const ARCHIVE_BYTES: usize = 4096;

/// Arguments of `restore`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// Runs, each with a delivery, an archive and a version of a key.
    #[arg(long, default_value_t = 10_000)]
    runs: usize,
    /// Public keys.
    #[arg(long, default_value_t = 1000)]
    keys: usize,
}

/// Runs the benchmark; whether it must fail because a bar was missed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let folder = args.common.folder()?;
    println!("restore: {} runs with deliveries, {} keys, on SQLite and the local disk", args.runs, args.keys);
    report::machine(folder.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (from, around) = config(&folder.path().join("from"))?;
    let (to, _) = config(&folder.path().join("to"))?;
    runtime.block_on(fill(&from, args.runs, args.keys.max(1)))?;
    let file = folder.path().join("backup.tar");
    let (handle, options) = (runtime.handle(), BackupOptions::default());
    let made = backup(&from, &around, handle, &file, options, &mut Progress::none())?;
    println!(
        "backup: {} rows, {} blobs, {} MiB in {:.1} s",
        made.rows,
        made.blobs,
        made.bytes >> 20,
        made.seconds
    );
    let back = restore(&to, &around, handle, &file, &mut Progress::none())?;
    ensure!(back.runs == made.runs && back.deliveries == made.deliveries, "not all of it came back");
    ensure!(back.keys.verified == args.keys.min(args.runs) as u64, "not all keys are there: {:?}", back.keys);
    println!("restore: {} keys verified, in {:.1} s", back.keys.verified, back.seconds);
    let mut bars = Bars::default();
    let seconds = format!("{:.1} s", back.seconds);
    bars.check("restoring it", &seconds, "≤ 60 s for 10 000 runs", back.seconds <= SECONDS_MAX);
    Ok(bars.failed(args.common.strict))
}

fn config(folder: &Path) -> Result<(Config, Surroundings)> {
    std::fs::create_dir(folder)?;
    let file = folder.join("gristmill.toml");
    std::fs::write(&file, "data_dir = \"data\"\n")?;
    std::fs::create_dir(folder.join("data"))?;
    let around = Surroundings::new(folder.to_owned(), |_| None).without_secrets();
    let config = Config::load(Some(&file), &around);
    Ok((config.map_err(|errors| anyhow::anyhow!("{errors}"))?, around))
}

async fn fill(config: &Config, runs: usize, keys: usize) -> Result<()> {
    let db = Db::open(&config.data_dir.join("gristmill.db"), Arc::new(SystemClock), system_random())?;
    let storage = Storage::open(&config.storage.as_str().parse()?, &config.s3, Opening::Anew).await?;
    let project = import(&db).await?;
    let boot = BootId::new(db.clock().now(), db.random());
    for first in (0..runs).step_by(AT_ONCE) {
        let numbers = first..runs.min(first + AT_ONCE);
        let stored = numbers.clone().map(|number| {
            let storage = storage.clone();
            tokio::spawn(async move { storage.put_bytes(archive(number)).await })
        });
        for stored in stored.collect::<Vec<_>>() {
            stored.await??;
        }
        let made: Result<(), DbError> = db
            .transact(move |tx| {
                numbers.clone().try_for_each(|number| make(tx, project, boot, number, number % keys))
            })
            .await;
        made?;
    }
    Ok(())
}

/// Bytes that differ from run to run.
fn archive(number: usize) -> Vec<u8> {
    number.to_be_bytes().repeat(ARCHIVE_BYTES / size_of::<usize>())
}

async fn import(db: &Db) -> Result<ProjectId> {
    let spec = ProjectSpec {
        name: "bench/repo".parse()?,
        pattern: None,
        fetch: gristmill_model::FetchBy::default(),
        git: "file:///nowhere".to_owned(),
        forge: "github".to_owned(),
        repository: "bench/repo".parse()?,
        repository_id: None,
        poll_seconds: 0,
        jobs_max: 1000,
        pipelines: Vec::new(),
    };
    let name = spec.name.clone();
    let found: Result<_, DbError> = db
        .transact(move |tx| {
            project::import(tx, std::slice::from_ref(&spec), &[])?;
            project::by_name(tx, &name)
        })
        .await;
    Ok(found?.context("the project was imported")?.id)
}

/// What one push leaves behind.
fn make(tx: &mut Tx<'_>, project: ProjectId, boot: BootId, number: usize, key: usize) -> Result<(), DbError> {
    let wrong = |what: &str| DbError::Sql(what.to_owned());
    let body =
        format!("{{\"ref\":\"refs/heads/b{key}\",\"number\":{number},\"text\":\"{}\"}}", "x".repeat(2000));
    let new = NewDelivery {
        remote_id: number.to_string(),
        id_stands_for: None,
        event: "push".to_owned(),
        verifier: "hmac-sha256".to_owned(),
        body: Body::pack(body.as_bytes()),
    };
    let Accepted::New(delivery) = delivery::accept(tx, project, &new)? else {
        return Err(wrong("a delivery came twice"));
    };
    delivery::settle(tx, delivery, &[], DeliveryState::Handled, None)?;
    let commit = format!("{:040x}", number + 1).parse().map_err(|_| wrong("no commit"))?;
    let git_ref = format!("refs/heads/b{key}").parse().map_err(|_| wrong("no ref"))?;
    let seq = head::moved(tx, project, &git_ref, Some(commit), None)?;
    let new = NewRun {
        project,
        pipeline: "archive".to_owned(),
        spec_rev: 1,
        git_ref: git_ref.clone(),
        commit,
        seq: Some(seq),
        is_release: false,
        cause: "delivery".to_owned(),
        cause_id: Some(delivery.to_string()),
    };
    let kinds = ["fetch", "archive", "publish"];
    let plan = Plan::chain(kinds.map(|kind| PlannedJob::new(kind, "{}".to_owned())).into());
    let run = run::create(tx, &new, &plan, false)?;
    while run::by_id(tx, run)?.is_some_and(|run| run.state != RunState::Succeeded) {
        for lease in job::lease(tx, boot, 10)? {
            let how = Finish::Succeeded { outcome: "{}".to_owned(), cached: false, expand: None };
            job::finish(tx, lease.job, lease.attempt, how).map_err(|error| wrong(&error.to_string()))?;
        }
    }
    publish(tx, &new, run, number)
}

/// What its jobs leave behind: an archive, its step, and a version of the key.
fn publish(tx: &mut Tx<'_>, new: &NewRun, run: RunId, number: usize) -> Result<(), DbError> {
    let wrong = |what: &str| DbError::Sql(what.to_owned());
    let (project, commit, git_ref) = (new.project, new.commit, new.git_ref.clone());
    let seq = new.seq.unwrap_or(0);
    let key = format!("bench/repo/{}/archive.zip", git_ref.short());
    let digest = Digest::of(&archive(number));
    let job = job::of_run(tx, run, 3)?[1].id;
    let step = Digest::of(&number.to_be_bytes());
    blob::add(tx, digest, ARCHIVE_BYTES as u64).map_err(|error| wrong(&error.to_string()))?;
    step::begin(tx, step, job, Some(run))?;
    step::made(tx, step, job, Some(run), "{}", &[digest])?;
    let want = Desire {
        key: key.parse().map_err(|_| wrong("no key"))?,
        seq,
        digest,
        size: ARCHIVE_BYTES as i64,
        content_type: "application/zip".to_owned(),
        metadata: [("commit".to_owned(), format!("{number}"))].into(),
        project,
        pipeline: "archive".to_owned(),
        git_ref: git_ref.clone(),
        commit,
        run,
        allow_shared_key: false,
    };
    publication::desire(tx, &want)?;
    publication::published(tx, &want.key, seq, Some(&seq.to_string()))?;
    let row = Artifact {
        id: ArtifactId::new(tx.now(), tx.random()),
        run,
        project,
        pipeline: want.pipeline,
        git_ref,
        commit,
        tree: "1".repeat(40).parse().map_err(|_| wrong("no tree"))?,
        recipe: "zip/1".to_owned(),
        step,
        digest,
        size: want.size,
        media_type: want.content_type,
        index: None,
        key: want.key,
        created: tx.now(),
    };
    artifact::insert(tx, &row)
}
