//! Several programs on one database: each says that it is up, knows the others, and does for all what one must do
//! alone. On SQLite there is one program, and nothing of this is needed.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use gristmill_db::boot::{self, Boot, Imported, Kind};
use gristmill_db::job::{self, Rescue};
use gristmill_db::{Db, DbError, Tx, duty, publication};
use gristmill_model::{BootId, Digest, FolderId, Timestamp};

use crate::app::App;
use crate::config::Config;
use crate::folders;

/// How long a duty is kept without being renewed.
const DUTY: Duration = Duration::from_secs(60);
/// How often it is renewed while it is done.
const DUTY_RENEW: Duration = Duration::from_secs(15);
/// How long a start is remembered that ended without saying so.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// The most rows one transaction takes back.
const ROWS_MAX: i64 = 100;

/// What a start of the program does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Role {
    /// Its kind.
    pub kind: Kind,
    /// Whether it leases jobs.
    pub works: bool,
}

/// The projects of a configuration, as one number: what of it is imported. What differs between machines, such as
/// folders and addresses, is not in it, nor are secrets.
pub fn digest(config: &Config) -> Digest {
    let all = config.projects.iter().chain(&config.patterns).filter(|project| project.enabled);
    let mut parts: Vec<Vec<u8>> = all
        .map(|project| {
            let (_, spec) = project.spec.to_stored();
            [project.name().as_bytes(), b"\n", spec.as_bytes()].concat()
        })
        .collect();
    // In whichever order they stand in files.
    parts.sort();
    Digest::of_parts(parts.iter().map(Vec::as_slice))
}

/// Begins, as the one program on its data folder: takes back what earlier starts on it left behind.
///
/// # Errors
///
/// Where the folder has no id and none can be made, or the database fails.
pub async fn begin(app: &App, data: &Path, role: Role) -> anyhow::Result<()> {
    let id = app.boot;
    // Else the time of a key's holder must pass, as where another program held it.
    let lets_go = app.storage.capabilities().ends_with_its_caller();
    if !app.db.is_shared() {
        if lets_go {
            app.db.transact(publication::let_all_go).await?;
        }
        return rescue(&app.db, Rescue::OtherBoots(id)).await;
    }
    let folder = folders::id(data, || FolderId::new(app.clock.now(), app.db.random()))
        .with_context(|| format!("the data folder {} has no id, and none can be made", data.display()))?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let now = app.clock.now();
    let boot = Boot {
        id,
        folder,
        kind: role.kind,
        place: format!("{host}:{}", data.display()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        works: role.works,
        config: Some(app.live().digest),
        draining: false,
        started: now,
        seen: now,
    };
    let this = boot.clone();
    app.db.transact(move |tx| say(tx, &this, false, this.config)).await?;
    if lets_go {
        app.db.transact(move |tx| publication::let_go_of_earlier(tx, folder, id)).await?;
    }
    rescue(&app.db, Rescue::EarlierBoots(folder, id)).await?;
    let forgotten = app.db.transact(move |tx| {
        boot::forget_earlier(tx, folder, id)?;
        boot::expire(tx, Timestamp(tx.now().0 - i64::try_from(REMEMBERED.as_millis()).unwrap_or(0)))
    });
    forgotten.await.map_err(|error: DbError| error)?;
    if app.live().config.server.key.is_empty() {
        tracing::warn!(
            "`server.key` is not set: ssh keys are sealed with the one in this data folder, and other programs on this database cannot open them; set the same one for all"
        );
    }
    // Nobody else begins this program.
    let _ = app.seat.set(boot);
    Ok(())
}

async fn rescue(db: &Db, which: Rescue) -> anyhow::Result<()> {
    loop {
        let which = which.clone();
        let rescued = db.transact(move |tx| job::rescue(tx, &which, ROWS_MAX)).await?;
        if rescued == 0 {
            return Ok(());
        }
        tracing::info!(jobs = rescued, "jobs that an earlier start left behind go on");
    }
}

/// Says that a program is up; makes its row where that is not there, or not any more.
fn say(tx: &mut Tx<'_>, boot: &Boot, draining: bool, config: Option<Digest>) -> Result<(), DbError> {
    if !boot::renew(tx, boot.id, draining, config)? {
        boot::begin(tx, boot)?;
        boot::renew(tx, boot.id, draining, config)?;
    }
    Ok(())
}

/// Says that this program is up.
pub async fn renew(app: App) -> anyhow::Result<()> {
    let Some(boot) = app.seat.get().cloned() else { return Ok(()) };
    let (draining, config) = (app.draining.load(Ordering::Relaxed), Some(app.live().digest));
    app.db.transact(move |tx| say(tx, &boot, draining, config)).await?;
    Ok(())
}

/// Ends in good order: others go on with what this program did for all.
pub async fn end(app: &App) {
    let Some(boot) = app.seat.get() else { return };
    let id = boot.id;
    let ended = app.db.transact(move |tx| {
        duty::leave(tx, id)?;
        boot::end(tx, id)
    });
    if let Err(error) = ended.await {
        tracing::warn!(%error, "the others could not be told that this program ends; they find out by its silence");
    }
}

/// The programs on a shared database, and whose configuration is in force.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What was imported last.
    pub in_force: Option<Imported>,
    /// Who is up.
    pub up: Vec<Boot>,
}

impl Standing {
    /// Reads it.
    pub fn read(tx: &mut Tx<'_>) -> Result<Standing, DbError> {
        Ok(Standing { in_force: boot::in_force(tx)?, up: boot::up(tx)? })
    }

    /// Whether these projects are the ones that were imported last.
    pub fn has(&self, config: Digest) -> bool {
        self.in_force.is_none_or(|imported| imported.config == config)
    }

    /// The programs that have others in force.
    pub fn differing(&self) -> impl Iterator<Item = &Boot> {
        self.up.iter().filter(|boot| boot.config.is_some_and(|config| !self.has(config)))
    }

    /// Who imported last, for people, where that one is up.
    pub fn importer(&self) -> Option<&Boot> {
        let by: BootId = self.in_force?.by;
        self.up.iter().find(|boot| boot.id == by)
    }

    /// Whether a program with these projects does what is done for all: where it has older ones than others, they do.
    fn may_serve_all(&self, config: Digest) -> bool {
        let has_it = |boot: &Boot| {
            boot.kind == Kind::Serve && !boot.draining && boot.config.is_some_and(|config| self.has(config))
        };
        self.has(config) || !self.up.iter().any(has_it)
    }
}

/// Does what only one program may do at a time, unless another one does it, or it was done within `period`. Where the
/// right to it is lost meanwhile, it is stopped.
pub async fn alone(
    app: &App,
    name: &'static str,
    period: Duration,
    pass: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    if app.seat.get().is_none() {
        return pass.await;
    }
    let config = app.live().digest;
    if !app.db.read(Standing::read).await?.may_serve_all(config) {
        return Ok(());
    }
    // The next pass may come a moment early.
    do_alone(app, name, period * 9 / 10, pass).await.map(drop)
}

/// The same for a command, now; `None` where a program does it already.
pub async fn alone_now<T>(
    app: &App,
    name: &'static str,
    pass: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<Option<T>> {
    if !app.db.is_shared() {
        return pass.await.map(Some);
    }
    let done = do_alone(app, name, Duration::ZERO, pass).await;
    let id = app.boot;
    app.db.transact(move |tx| duty::leave(tx, id)).await?;
    done
}

async fn do_alone<T>(
    app: &App,
    name: &'static str,
    period: Duration,
    pass: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<Option<T>> {
    let id = app.boot;
    if !app.db.transact(move |tx| duty::take(tx, name, id, DUTY, period)).await? {
        return Ok(None);
    }
    tokio::select! {
        done = pass => done.map(Some),
        lost = keep(&app.db, name, id) => lost.map(|()| None),
    }
}

/// Keeps a duty until it is lost.
async fn keep(db: &Db, name: &'static str, id: BootId) -> anyhow::Result<()> {
    let mut kept = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(DUTY_RENEW).await;
        match db.transact(move |tx| duty::keep(tx, name, id, DUTY)).await {
            Ok(true) => kept = tokio::time::Instant::now(),
            Ok(false) => bail!("another program does `{name}` now; it was stopped here"),
            // Before others may take it.
            Err(error) if kept.elapsed() + DUTY_RENEW * 2 > DUTY => {
                return Err(error).context(format!("`{name}` was stopped, because others may do it now"));
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
