//! `serve`, `worker`, `sync`, `demo`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{ConfigWrong, Context, runtime};
use crate::config::{Config, Watch};
use crate::demo;
use crate::serve::{self, Server, Task};

#[derive(Args)]
pub(super) struct ServeArgs {
    /// Accept and serve only; `gristmill worker` does the work (with PostgreSQL)
    #[arg(long)]
    no_work: bool,
}

#[derive(Args)]
pub(super) struct WorkerArgs {
    /// The most jobs that run at once [default: worker.jobs_max of the configuration]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    jobs: Option<u16>,
    /// Answer /healthz and /readyz at this host and port
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
}

#[derive(Args)]
pub(super) struct SyncArgs {
    /// Give up after this many seconds; what is left goes on next time
    #[arg(long, default_value_t = 3600, value_name = "SECONDS")]
    timeout: u64,
}

#[derive(Args)]
pub(super) struct DemoArgs {
    /// A repository to work on a clone of [default: the one around the current folder, else one it makes]
    #[arg(long, value_name = "PATH|URL")]
    repo: Option<String>,
    /// Exit when everything was shown, instead of serving until Ctrl-C
    #[arg(long)]
    once: bool,
}

pub(super) fn serve(context: &Context, args: &ServeArgs) -> anyhow::Result<ExitCode> {
    run(context, &Task::Serve { works: !args.no_work })
}

pub(super) fn worker(context: &Context, args: &WorkerArgs) -> anyhow::Result<ExitCode> {
    run(context, &Task::Work { jobs_max: args.jobs.map(usize::from), listen: args.listen.clone() })
}

fn run(context: &Context, task: &Task) -> anyhow::Result<ExitCode> {
    let (watch, config) = Watch::start(context.file.as_deref(), context.around.clone());
    let config = config.map_err(ConfigWrong)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    raise_file_limit();
    let runtime = runtime()?;
    let ran = runtime.block_on(async {
        let server = Server::start_for(task, config.clone(), &context.around, watch).await?;
        match (task, server.address) {
            (Task::Serve { .. }, Some(address)) => greet(context, &config, address),
            (_, Some(address)) => println!("listening on http://{address}"),
            (_, None) => println!("working"),
        }
        // A pipe that nobody reads is no reason to stop.
        let _ = std::io::stdout().flush();
        serve::run(server).await
    });
    // Threads that compute would be waited for, also where it has to end at once.
    runtime.shutdown_background();
    ran.map(|()| ExitCode::SUCCESS)
}

fn greet(context: &Context, config: &Config, address: std::net::SocketAddr) {
    println!("listening on http://{address}");
    if config.projects.is_empty() {
        let file = Config::file(context.file.as_deref(), &context.around);
        println!("no projects yet; add the first one with");
        println!("  gristmill project add OWNER/REPO --git https://github.com/OWNER/REPO.git");
        println!("it goes into {} and is taken up without a restart", file.display());
    }
}

/// Each connection is an open file; the usual soft limit of 1024 is less than the connections served.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

pub(super) fn sync(context: &Context, args: &SyncArgs) -> anyhow::Result<ExitCode> {
    let config = context.config()?;
    let time_max = Duration::from_secs(args.timeout);
    let synced = runtime()?.block_on(serve::sync(config, &context.around, time_max))?;
    for (project, reason) in &synced.unseen {
        eprintln!("{project}: its remote could not be looked at: {reason}");
    }
    for run in &synced.failed {
        let reason = run.reason.as_deref().unwrap_or("see `gristmill run show`");
        eprintln!("run {} of {} failed: {reason}", run.id, run.git_ref);
    }
    println!("{} runs ended well, {} failed", synced.succeeded, synced.failed.len());
    let all_good = synced.failed.is_empty() && synced.unseen.is_empty();
    Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn demo(context: &Context, args: &DemoArgs) -> anyhow::Result<ExitCode> {
    runtime()?.block_on(demo::run(&context.around, args.repo.as_deref(), args.once))?;
    Ok(ExitCode::SUCCESS)
}
