//! The server: everything in one process.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use gristmill_db::{delivery, due, run};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::{App, DataLock, lock_data};
use crate::config::{Config, Surroundings, Watch};
use crate::forges::{missed, status};
use crate::worker::Worker;
use crate::{http, steady, ticker};

/// How long a second server waits for the data folder: a service manager may start it before the old
/// one has ended.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_AGAIN: Duration = Duration::from_millis(100);
/// How often `sync` looks whether all is done.
const DONE_AGAIN: Duration = Duration::from_millis(50);

/// A running server.
pub struct Server {
    /// What its parts share.
    pub app: App,
    /// Where it listens.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    parts: JoinSet<()>,
    _lock: DataLock,
}

impl Server {
    /// Starts a server: from here on deliveries are accepted.
    pub async fn start(config: Config, around: &Surroundings, watch: Watch) -> anyhow::Result<Server> {
        let lock = lock_waiting(&config).await?;
        let listen = config.server.listen.clone();
        let jobs_max = config.worker.jobs_max;
        let app = App::open(config, around).await?;
        let listener = TcpListener::bind(&listen).await.with_context(|| {
            format!("cannot listen on {listen}; choose another address with server.listen or stop who has it")
        })?;
        let address = listener.local_addr()?;
        steady::look(&app).await?;
        ticker::rescue_from_earlier_starts(&app).await?;
        let (stop, stopped) = watch::channel(false);
        let mut parts = JoinSet::new();
        parts.spawn(http::serve(listener, http::router(app.clone()), stopped.clone()));
        parts.spawn(Worker::new(app.clone(), jobs_max).run(stopped.clone()));
        parts.spawn(ticker::run(app.clone(), around.clone(), watch, stopped));
        ticker::look_at_all(&app, false).await?;
        Ok(Server { app, address, stop, parts, _lock: lock })
    }

    /// Stops: no new deliveries, running jobs may end for a while, the rest is given back.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while let Some(part) = self.parts.join_next().await {
            if let Err(error) = part {
                tracing::error!(%error, "a part of the program ended badly");
            }
        }
    }
}

async fn lock_waiting(config: &Config) -> anyhow::Result<DataLock> {
    let tries = LOCK_WAIT.as_millis() / LOCK_AGAIN.as_millis();
    for _ in 0..tries {
        if let Some(lock) = lock_data(&config.data_dir)? {
            return Ok(lock);
        }
        tokio::time::sleep(LOCK_AGAIN).await;
    }
    bail!(
        "another gristmill works on {}; stop it first, or give this one another data_dir",
        config.data_dir.display()
    );
}

/// Runs the server until the process is told to stop.
///
/// # Errors
///
/// Where a part ended by itself: half a server is worse than none, because nobody notices.
pub async fn run(mut server: Server) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let ended = tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("Ctrl-C"),
        Some(part) = server.parts.join_next() => Err(part),
    };
    if let Ok(signal) = &ended {
        tracing::info!(signal, "asked to stop");
    }
    server.stop().await;
    match ended {
        Ok(_) => Ok(()),
        Err(part) => {
            bail!("a part of the program ended by itself ({part:?}); start it again and report this")
        }
    }
}

/// What a `sync` found.
pub struct Synced {
    /// Runs that failed since it began.
    pub failed: Vec<run::Run>,
    /// Runs that ended well since it began.
    pub succeeded: usize,
    /// Projects that could not be looked at, and why.
    pub unseen: Vec<(String, String)>,
}

/// Looks at every source once, does what is due and returns. Where a server runs on the same data, it
/// does the work, and this waits for it.
pub async fn sync(config: Config, around: &Surroundings, time_max: Duration) -> anyhow::Result<Synced> {
    let lock = lock_data(&config.data_dir)?;
    let jobs_max = config.worker.jobs_max;
    let app = match &lock {
        Some(_) => App::open(config, around).await?,
        None => App::open_beside(config, around).await?,
    };
    let began = app.clock.now();
    let (stop, stopped) = watch::channel(false);
    let worker = match &lock {
        Some(_) => {
            steady::look(&app).await?;
            ticker::rescue_from_earlier_starts(&app).await?;
            Some(tokio::spawn(Worker::new(app.clone(), jobs_max).run(stopped)))
        }
        None => None,
    };
    ticker::follow_due(app.clone()).await?;
    if lock.is_some() {
        missed::look(&app).await?;
    }
    ticker::look_at_all(&app, true).await?;
    let done = tokio::time::timeout(time_max, until_done(&app)).await;
    stop.send_replace(true);
    if let Some(worker) = worker {
        worker.await?;
    }
    done.context("sync ran out of time; what is left goes on with the next sync or a server")??;
    // What the forges do not take now is told by the next one.
    while lock.is_some() && status::tell(&app).await? > 0 {}
    report(&app, began).await
}

/// Waits until nothing is ready, running or waiting. Jobs that wait out a failure do not count: a
/// remote that is down must not keep `sync` for hours.
pub async fn until_done(app: &App) -> anyhow::Result<()> {
    loop {
        if !app.db.read(due::work).await? {
            return Ok(());
        }
        tokio::time::sleep(DONE_AGAIN).await;
    }
}

async fn report(app: &App, began: gristmill_model::Timestamp) -> anyhow::Result<Synced> {
    let (runs, projects, waiting) = app
        .db
        .read(|tx| {
            let runs = run::list(tx, None, "~", 1000)?;
            Ok((runs, gristmill_db::project::list(tx, "", 1000)?, delivery::waiting_count(tx)?))
        })
        .await?;
    if waiting > 0 {
        tracing::warn!(deliveries = waiting, "deliveries still wait for their remotes to answer");
    }
    let recent: Vec<_> = runs.into_iter().filter(|run| run.finished.is_some_and(|at| at >= began)).collect();
    let (succeeded, rest): (Vec<_>, Vec<_>) = recent.into_iter().partition(|run| {
        matches!(run.state, gristmill_model::RunState::Succeeded | gristmill_model::RunState::Skipped)
    });
    let failed = rest.into_iter().filter(|run| run.state == gristmill_model::RunState::Failed).collect();
    let unseen = projects
        .into_iter()
        .filter(|project| project.active)
        .filter_map(|project| Some((project.name.to_string(), project.look_error?)))
        .collect();
    Ok(Synced { failed, succeeded: succeeded.len(), unseen })
}
