//! `serve`, `sync`, `demo`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::{ConfigWrong, Context, runtime};
use crate::config::{Config, Watch};
use crate::demo;
use crate::serve::{self, Server};

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

pub(super) fn serve(context: &Context) -> anyhow::Result<ExitCode> {
    let (watch, config) = Watch::start(context.file.as_deref(), context.around.clone());
    let config = config.map_err(ConfigWrong)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    raise_file_limit();
    runtime()?.block_on(async {
        let server = Server::start(config.clone(), &context.around, watch).await?;
        greet(context, &config, server.address);
        serve::run(server).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn greet(context: &Context, config: &Config, address: std::net::SocketAddr) {
    println!("listening on http://{address}");
    if config.projects.is_empty() {
        let file = Config::file(context.file.as_deref(), &context.around);
        println!("no projects yet; add the first one with");
        println!("  gristmill project add OWNER/REPO --git https://github.com/OWNER/REPO.git");
        println!("it goes into {} and is taken up without a restart", file.display());
    }
    // A pipe that nobody reads is no reason to stop serving.
    let _ = std::io::stdout().flush();
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
