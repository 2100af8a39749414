//! The programs that run for long, servers and workers, and `sync`.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use gristmill_db::boot::{self, Boot, Kind};
use gristmill_db::{delivery, due, run};
use gristmill_storage::Opening;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::{App, DataLock, lock_data};
use crate::boots::{self, Role};
use crate::config::{Config, DatabaseUrl, Surroundings, Watch};
use crate::worker::Worker;
use crate::{http, steady, ticker};

/// How long a second server waits for the data folder: a service manager may start it before the old
/// one has ended.
const LOCK_WAIT: Duration = Duration::from_secs(5);
const LOCK_AGAIN: Duration = Duration::from_millis(100);
/// How often `sync` looks whether all is done.
const DONE_AGAIN: Duration = Duration::from_millis(50);

/// How long the listener of one among several programs stays open once it was asked to stop: whoever distributes
/// requests learns from `readyz` meanwhile that it should send no more.
const LINGER: Duration = Duration::from_secs(3);

/// What a long-running program does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Task {
    /// Accepts webhooks, serves, decides what is in force.
    Serve {
        /// Whether it also works.
        works: bool,
    },
    /// Works beside servers.
    Work {
        /// The most jobs at once, where it is not as configured.
        jobs_max: Option<usize>,
        /// Where it answers whether it is up and ready, if anywhere.
        listen: Option<String>,
    },
}

impl Task {
    fn role(&self) -> Role {
        match self {
            Task::Serve { works } => Role { kind: Kind::Serve, works: *works },
            Task::Work { .. } => Role { kind: Kind::Worker, works: true },
        }
    }

    /// What only several programs on one database can do.
    fn check(&self, config: &Config) -> anyhow::Result<()> {
        let is_shared = matches!(config.database, DatabaseUrl::Postgres(_));
        match self {
            Task::Serve { works: false } if !is_shared => bail!(
                "with SQLite there is one program, which also does the work: leave --no-work out, or set `url` in [database] to a PostgreSQL, where `gristmill worker` does it"
            ),
            Task::Work { .. } if !is_shared => bail!(
                "with SQLite there is one program, `gristmill serve`, which also does the work ([worker] jobs_max): for workers beside it, set `url` in [database] to a PostgreSQL"
            ),
            _ => Ok(()),
        }
    }
}

/// A running server or worker.
pub struct Server {
    /// What its parts share.
    pub app: App,
    /// Where it listens, if anywhere.
    pub address: Option<SocketAddr>,
    /// No new jobs, no new passes.
    stop: watch::Sender<bool>,
    /// No new connections.
    close: watch::Sender<bool>,
    parts: JoinSet<()>,
    _lock: DataLock,
}

impl Server {
    /// Starts a server that does everything: from here on deliveries are accepted.
    pub async fn start(config: Config, around: &Surroundings, watch: Watch) -> anyhow::Result<Server> {
        Server::start_for(&Task::Serve { works: true }, config, around, watch).await
    }

    /// Starts a server or a worker.
    pub async fn start_for(
        task: &Task,
        config: Config,
        around: &Surroundings,
        watch: Watch,
    ) -> anyhow::Result<Server> {
        task.check(&config)?;
        let lock = lock_waiting(&config).await?;
        let (data, role) = (config.data_dir.clone(), task.role());
        let (listen, jobs_max, app) = match task {
            Task::Serve { .. } => {
                let (listen, jobs_max) = (config.server.listen.clone(), config.worker.jobs_max);
                (Some(listen), jobs_max, App::open(config, around).await?)
            }
            Task::Work { jobs_max, listen } => {
                let jobs_max = jobs_max.unwrap_or(config.worker.jobs_max);
                (listen.clone(), jobs_max, open_to_work(config, around).await?)
            }
        };
        let listener = match &listen {
            Some(listen) => Some(bind(listen).await?),
            None => None,
        };
        let address = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        steady::look(&app).await?;
        boots::begin(&app, &data, role).await?;
        let ((stop, stopped), (close, closed)) = (watch::channel(false), watch::channel(false));
        let mut parts = JoinSet::new();
        let is_server = role.kind == Kind::Serve;
        if let Some(listener) = listener {
            let router = if is_server { http::router(app.clone()) } else { http::probes_alone(app.clone()) };
            parts.spawn(http::serve(listener, router, closed));
        }
        if role.works {
            parts.spawn(Worker::new(app.clone(), jobs_max).run(stopped.clone()));
        }
        parts.spawn(ticker::run(app.clone(), around.clone(), watch, is_server, stopped));
        if is_server {
            ticker::look_at_all(&app, false).await?;
        }
        Ok(Server { app, address, stop, close, parts, _lock: lock })
    }

    /// Stops: no new deliveries, running jobs may end for a while, the rest is given back.
    pub async fn stop(mut self) {
        self.app.draining.store(true, Ordering::Relaxed);
        self.stop.send_replace(true);
        if self.app.seat.get().is_some() {
            if let Err(error) = boots::renew(self.app.clone()).await {
                tracing::warn!(%error, "the others could not be told that this program stops");
            }
            if self.address.is_some() {
                tokio::time::sleep(LINGER).await;
            }
        }
        self.close.send_replace(true);
        while let Some(part) = self.parts.join_next().await {
            if let Err(error) = part {
                tracing::error!(%error, "a part of the program ended badly");
            }
        }
        boots::end(&self.app).await;
    }
}

async fn bind(listen: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(listen).await.with_context(|| {
        format!("cannot listen on {listen}; choose another address with server.listen or stop who has it")
    })
}

/// Opens everything without deciding what is in force.
async fn open_to_work(config: Config, around: &Surroundings) -> anyhow::Result<App> {
    let app = App::open_as(config.clone(), around, Opening::ToServe).await?;
    app.check_shown().await?;
    app.follow(config, around).await?;
    Ok(app)
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

/// What is said where it is asked to stop for the second time.
const AT_ONCE: &str = "asked to stop for the second time, so it ended at once: what it was doing is taken up again by its next start, or by others after 20 seconds";

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
    tokio::select! {
        () = server.stop() => {}
        _ = terminate.recv() => bail!(AT_ONCE),
        _ = interrupt.recv() => bail!(AT_ONCE),
    }
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
    let data = config.data_dir.clone();
    let app = match &lock {
        Some(_) => open_to_sync(config, around).await?,
        None => App::open_beside(config, around).await?,
    };
    let began = app.clock.now();
    let (stop, stopped) = watch::channel(false);
    let worker = match &lock {
        Some(_) => {
            steady::look(&app).await?;
            boots::begin(&app, &data, Role { kind: Kind::Sync, works: true }).await?;
            Some(tokio::spawn(Worker::new(app.clone(), jobs_max).run(stopped)))
        }
        None => None,
    };
    ticker::follow_due(app.clone()).await?;
    if lock.is_some() {
        ticker::missed(app.clone()).await?;
    }
    ticker::look_at_all(&app, true).await?;
    let done = tokio::time::timeout(time_max, until_done(&app)).await;
    stop.send_replace(true);
    if let Some(worker) = worker {
        worker.await?;
    }
    if done.is_err() {
        boots::end(&app).await;
    }
    done.context("sync ran out of time; what is left goes on with the next sync or a server")??;
    if lock.is_some() {
        ticker::tell_all(&app).await?;
    }
    boots::end(&app).await;
    report(&app, began).await
}

/// Beside servers on the same database their configuration stays in force, and this only works along.
async fn open_to_sync(config: Config, around: &Surroundings) -> anyhow::Result<App> {
    let app = App::open_beside(config.clone(), around).await?;
    app.check_shown().await?;
    let is_server = |boot: &Boot| boot.kind == Kind::Serve;
    if app.db.read(boot::up).await?.iter().any(is_server) {
        app.follow(config, around).await?;
    } else {
        app.take_up(config, around).await?;
    }
    Ok(app)
}

/// Waits until nothing is ready, running or waiting. Jobs that wait out a failure do not count: a
/// remote that is down must not keep `sync` for hours.
pub async fn until_done(app: &App) -> anyhow::Result<()> {
    loop {
        if !app.db.read(due::work).await? {
            return Ok(());
        }
        if app.outage.is_on() {
            bail!("the storage does not answer; what is left goes on with the next sync or a server");
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
