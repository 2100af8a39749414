//! `run …`.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::bail;
use clap::Subcommand;
use gristmill_db::job::{self, Attempt, Job};
use gristmill_db::publication::{self, Publication};
use gristmill_db::run::{self, Run, Stopped};
use gristmill_db::{Db, artifact, project};
use gristmill_model::{Clock as _, JobId, ProjectName, PublicReason, RunId};
use serde_json::{Value, json};

use super::{Context, age, find_project, output, read, transact};
use crate::clock::{SystemClock, rfc3339};
use crate::logs::Logs;
use crate::runs;

/// The most jobs and attempts that are shown of a run.
const SHOWN_MAX: i64 = 1000;
/// How often a log that is followed is looked at.
const FOLLOW: Duration = Duration::from_millis(200);

#[derive(Subcommand)]
pub(super) enum Command {
    /// Runs, newest first
    List {
        /// Of one project
        #[arg(long)]
        project: Option<ProjectName>,
        /// Those before this one
        #[arg(long, value_name = "ID")]
        before: Option<RunId>,
        /// How many
        #[arg(long, default_value_t = 50)]
        limit: u16,
    },
    /// One run, its jobs and their attempts
    Show {
        /// Its id
        id: RunId,
    },
    /// What the jobs of a run wrote
    Logs {
        /// Its id
        id: RunId,
        /// Go on until the run is over
        #[arg(short, long)]
        follow: bool,
    },
    /// Stop a run: from this moment nothing it does counts
    Cancel {
        /// Its id
        id: RunId,
    },
    /// Make a run for the same commit again, with the newest settings
    Retry {
        /// Its id
        id: RunId,
    },
}

pub(super) fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let db = context.db()?;
    match command {
        Command::List { project, before, limit } => list(context, &db, project, before, limit)?,
        Command::Show { id } => show(context, &db, id)?,
        Command::Logs { id, follow } => logs(context, &db, id, follow)?,
        Command::Cancel { id } => cancel(&db, id)?,
        Command::Retry { id } => {
            let new = transact(&db, move |tx| runs::retry(tx, id))?;
            println!("{new}");
            eprintln!(
                "run {new} is queued; a running server takes it up at once, else `gristmill sync` does"
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(
    context: &Context,
    db: &Db,
    project: Option<ProjectName>,
    before: Option<RunId>,
    limit: u16,
) -> anyhow::Result<()> {
    let before = before.map_or("~".to_owned(), |id| id.to_string());
    let found = read(db, |tx| {
        let only = project.as_ref().map(|name| find_project(tx, name)).transpose()?.map(|project| project.id);
        let mut named = Vec::new();
        for run in run::list(tx, only, &before, i64::from(limit))? {
            let name = project::by_id(tx, run.project)?.map(|project| project.name.to_string());
            named.push((run, name.unwrap_or_default()));
        }
        Ok(named)
    })?;
    let now = SystemClock.now();
    let row = |(run, name): &(Run, String)| {
        vec![
            run.id.to_string(),
            run.state.to_string(),
            format!("{name}/{}", run.pipeline),
            run.git_ref.to_string(),
            run.commit.short(),
            run.cause.clone(),
            age(now, run.created),
            run.reason.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    let json = found.iter().map(|(run, name)| describe(run, name)).collect();
    let columns = ["id", "state", "pipeline", "ref", "commit", "cause", "age", "reason"];
    output::list(context.format, &columns, &rows, json);
    Ok(())
}

fn describe(run: &Run, project: &str) -> Value {
    json!({
        "id": run.id,
        "project": project,
        "pipeline": run.pipeline,
        "ref": run.git_ref,
        "commit": run.commit,
        "move": run.seq,
        "release": run.is_release,
        "cause": run.cause,
        "cause_id": run.cause_id,
        "state": run.state,
        "reason": run.reason,
        "created": rfc3339(run.created),
        "started": run.started.map(rfc3339),
        "finished": run.finished.map(rfc3339),
    })
}

/// A run with all that belongs to it.
struct Whole {
    run: Run,
    project: String,
    jobs: Vec<(Job, Vec<Attempt>)>,
    artifacts: Vec<artifact::Artifact>,
    publications: Vec<Publication>,
}

fn whole(db: &Db, id: RunId) -> anyhow::Result<Whole> {
    read(db, |tx| {
        let Some(run) = run::by_id(tx, id)? else {
            bail!("there is no run {id}; `gristmill run list` shows them")
        };
        let project =
            project::by_id(tx, run.project)?.map(|project| project.name.to_string()).unwrap_or_default();
        let mut jobs = Vec::new();
        for job in job::of_run(tx, id, SHOWN_MAX)? {
            let attempts = job::attempts(tx, job.id, SHOWN_MAX)?;
            jobs.push((job, attempts));
        }
        let artifacts = artifact::of_run(tx, id)?;
        let publications = publication::of_run(tx, id)?;
        Ok(Whole { run, project, jobs, artifacts, publications })
    })
}

fn show(context: &Context, db: &Db, id: RunId) -> anyhow::Result<()> {
    let Whole { run, project, jobs, artifacts, publications } = whole(db, id)?;
    let mut json = describe(&run, &project);
    json["jobs"] = jobs.iter().map(describe_job).collect();
    json["artifacts"] = artifacts.iter().map(|one| json!({ "key": one.key, "commit": one.commit, "tree": one.tree, "digest": one.digest, "size": one.size, "media_type": one.media_type, "recipe": one.recipe })).collect();
    json["publications"] = publications.iter().map(|one| json!({ "key": one.key, "version": one.seq, "state": one.state, "digest": one.digest, "published": one.published.map(rfc3339) })).collect();
    let cause = [Some(run.cause.as_str()), run.cause_id.as_deref()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ");
    let fields = [
        ("id", run.id.to_string()),
        ("state", run.state.to_string()),
        ("reason", run.reason.clone().unwrap_or_default()),
        ("project", project),
        ("pipeline", run.pipeline.clone()),
        ("ref", run.git_ref.to_string()),
        ("commit", run.commit.to_string()),
        ("move", run.seq.map_or("none: the commit was not the tip".to_owned(), |seq| seq.to_string())),
        ("cause", cause),
        ("created", rfc3339(run.created)),
        ("finished", run.finished.map(rfc3339).unwrap_or_default()),
    ];
    output::show(context.format, &fields, &json);
    if context.format == output::Format::Json {
        return Ok(());
    }
    for publication in &publications {
        println!(
            "{}  {} version {} ({})",
            publication.state, publication.key, publication.seq, publication.digest
        );
    }
    for artifact in &artifacts {
        println!(
            "artifact  {}@{} {} bytes {}",
            artifact.key, artifact.commit, artifact.size, artifact.digest
        );
    }
    println!();
    let row = |(job, attempts): &(Job, Vec<Attempt>)| {
        let last = attempts.first().and_then(|attempt| attempt.reason.clone());
        let reason = job.reason.clone().or(last).unwrap_or_default();
        vec![job.id.to_string(), job.kind.clone(), job.state.to_string(), job.attempt.to_string(), reason]
    };
    let rows: Vec<Vec<String>> = jobs.iter().map(row).collect();
    print!("{}", output::table(&["job", "kind", "state", "attempts", "reason"], &rows));
    Ok(())
}

fn describe_job((job, attempts): &(Job, Vec<Attempt>)) -> Value {
    let attempt = |one: &Attempt| json!({ "attempt": one.attempt, "boot": one.boot, "started": rfc3339(one.started), "ended": one.ended.map(rfc3339), "result": one.result, "reason": one.reason });
    json!({
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "reason": job.reason,
        "outcome": job.outcome.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok()),
        "attempts": attempts.iter().map(attempt).collect::<Vec<_>>(),
    })
}

fn cancel(db: &Db, id: RunId) -> anyhow::Result<()> {
    match transact(db, move |tx| {
        Ok(run::cancel(tx, id, "cancelled by a person", Some(PublicReason::CancelledByPerson))?)
    })? {
        Stopped::Now => println!("run {id} is cancelled"),
        Stopped::WasOver(state) => bail!("run {id} was already over: {state}"),
        Stopped::Publishing => bail!("run {id} is already publishing: it cannot be taken back"),
        Stopped::Unknown => bail!("there is no run {id}; `gristmill run list` shows them"),
    }
    Ok(())
}

fn logs(context: &Context, db: &Db, id: RunId, follow: bool) -> anyhow::Result<()> {
    let logs = Logs::of(db, context.config()?.data_dir.join("logs"))?;
    let mut offsets: Vec<(JobId, u64)> = Vec::new();
    // Nobody sends: this only waits, as a thread may not sleep without a reason to wake.
    let (_sender, never) = mpsc::channel::<()>();
    loop {
        // Asked before reading: what is written until the end is read after it.
        let is_over = whole(db, id)?.run.state.is_over();
        for job in read(db, |tx| Ok(job::of_run(tx, id, SHOWN_MAX)?))? {
            if !offsets.iter().any(|(known, _)| *known == job.id) {
                offsets.push((job.id, 0));
            }
        }
        for (job, offset) in &mut offsets {
            loop {
                let bytes = logs.read(*job, *offset)?;
                if bytes.is_empty() {
                    break;
                }
                *offset += bytes.len() as u64;
                std::io::stdout().write_all(&bytes)?;
            }
        }
        if is_over || !follow {
            return Ok(());
        }
        let _ = never.recv_timeout(FOLLOW);
    }
}
