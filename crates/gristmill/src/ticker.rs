//! What happens by time alone: rescued leases, polls, schedules, a changed configuration, other
//! processes' writes, collection. Every pass reads first and writes only where something is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::Context;
use gristmill_db::boot;
use gristmill_db::job::{self, Rescue};
use gristmill_db::request::{self, BuildRequest};
use gristmill_db::schedule::{self, Due};
use gristmill_db::{DbError, due, project, told};
use gristmill_model::Timestamp;
use tokio::sync::{Mutex, watch};

use crate::app::App;
use crate::boots;
use crate::config::{Surroundings, Watch};
use crate::forges::{missed, status};
use crate::{outage, steady, upkeep};

/// How often leases are watched: with the length of a lease this bounds how long a job is orphaned, 24 s. And jobs
/// that let others go first for long enough.
const RESCUE: Duration = Duration::from_secs(2);
/// How often it is looked whether the clock has jumped.
const CLOCK: Duration = Duration::from_secs(60);
/// How often polls and schedules are looked at.
const DUE: Duration = Duration::from_secs(1);
/// How often the configuration is looked at.
const CONFIG: Duration = Duration::from_secs(2);
/// How late this process learns of another one's writes.
const OTHERS: Duration = Duration::from_millis(200);
/// How often deliveries are looked for whose look was given up.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// How often keys are compared with what they should show.
const KEYS: Duration = Duration::from_secs(3600);
/// How often ssh keys are looked for that were replaced.
const REPLACED: Duration = Duration::from_secs(3600);
/// How often it is looked whether the forges are to be told of something.
const TELL: Duration = Duration::from_secs(1);
/// How often deliveries are looked for that never came.
const MISSED: Duration = Duration::from_secs(300);
/// How often it is looked whether a storage that is away is to be asked.
const OUTAGE: Duration = Duration::from_secs(1);
/// How often mirrors are looked at.
const MIRRORS: Duration = Duration::from_secs(600);
/// How often the retention rules are followed.
const COLLECT: Duration = Duration::from_secs(24 * 3600);
/// A start has better things to do first.
const COLLECT_FIRST: Duration = Duration::from_secs(600);
/// The most rows one pass acts on; the next pass goes on.
const ROWS_MAX: i64 = 100;

/// Runs until `stop` turns true. What one does for all is for servers: `is_server`.
pub async fn run(app: App, around: Surroundings, watch: Watch, is_server: bool, stop: watch::Receiver<bool>) {
    let (watch, seen) = (Arc::new(Mutex::new(watch)), Arc::new(AtomicI64::new(-1)));
    let here = async {
        tokio::join!(
            every(RESCUE, stop.clone(), || rescue(app.clone())),
            every(CLOCK, stop.clone(), || clock(app.clone())),
            every(boot::RENEW, stop.clone(), || boots::renew(app.clone())),
            every(OTHERS, stop.clone(), || others(app.clone(), seen.clone())),
            every(CONFIG, stop.clone(), || configuration(
                app.clone(),
                around.clone(),
                watch.clone(),
                is_server
            )),
            every(MIRRORS, stop.clone(), || upkeep::maintain_mirrors(app.clone())),
            // Each program finds out by itself that the storage is away.
            every(OUTAGE, stop.clone(), || outage::ask(app.clone())),
        )
    };
    let for_all = async {
        if is_server {
            serve_all(&app, &stop).await;
        }
    };
    tokio::join!(here, for_all);
}

/// What is for the whole database. Passes that are safe in several servers at once run in each.
async fn serve_all(app: &App, stop: &watch::Receiver<bool>) {
    tokio::join!(
        every(DUE, stop.clone(), || follow_due(app.clone())),
        every(FORGOTTEN, stop.clone(), || forgotten(app.clone())),
        every(KEYS, stop.clone(), || check_keys(app.clone())),
        every(REPLACED, stop.clone(), || upkeep::drop_replaced_keys(app.clone())),
        every(TELL, stop.clone(), || tell(app.clone())),
        every(MISSED, stop.clone(), || missed(app.clone())),
        later(COLLECT_FIRST, stop.clone(), every(COLLECT, stop.clone(), || collect(app.clone()))),
    );
}

/// Calls `pass` again and again; an error in one pass is logged and does not stop the next.
async fn every<F>(period: Duration, mut stop: watch::Receiver<bool>, pass: impl Fn() -> F)
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut timer = tokio::time::interval(period);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !*stop.borrow() {
        tokio::select! {
            _ = stop.changed() => return,
            _ = timer.tick() => {}
        }
        // In a task of its own: a panic ends this pass, not those of all others.
        let failed = match tokio::spawn(pass()).await {
            Ok(ended) => ended.err().map(|error| format!("{error:#}")),
            Err(error) => Some(error.to_string()),
        };
        if let Some(error) = failed {
            tracing::warn!(error, "a pass that runs by time failed; the next one tries again");
        }
    }
}

/// Starts `then` after a while.
async fn later(wait: Duration, mut stop: watch::Receiver<bool>, then: impl Future<Output = ()>) {
    tokio::select! {
        _ = stop.changed() => {}
        () = tokio::time::sleep(wait) => then.await,
    }
}

async fn rescue(app: App) -> anyhow::Result<()> {
    let silent = steady::silent(&app).await?;
    if !silent.is_empty() {
        let silent = Rescue::Silent(silent);
        let rescued = app.db.transact(move |tx| job::rescue(tx, &silent, ROWS_MAX)).await?;
        if rescued > 0 {
            tracing::warn!(jobs = rescued, "leases ran out: their jobs go on elsewhere");
        }
    }
    if app.db.read(due::patient_jobs).await? {
        app.db.transact(|tx| job::raise(tx, ROWS_MAX)).await?;
    }
    Ok(())
}

async fn clock(app: App) -> anyhow::Result<()> {
    steady::look(&app).await
}

/// Asks for a look at every remote that is polled: what was pushed while nobody listened.
pub async fn look_at_all(app: &App, even_unpolled: bool) -> Result<(), DbError> {
    let mut after = String::new();
    loop {
        let from = after.clone();
        let page = app.db.read(move |tx| project::list(tx, &from, ROWS_MAX)).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.name.to_string();
        let wanted = page.iter().filter(|one| one.active && (even_unpolled || one.spec.poll_seconds > 0));
        let ids: Vec<_> = wanted.map(|project| project.id).collect();
        let asked = app
            .db
            .transact(move |tx| ids.iter().try_for_each(|id| job::ask_for_look(tx, *id, job::PRIORITY_POLL)));
        asked.await?;
    }
}

/// Deliveries and requests whose look was given up have another one: what was accepted is never forgotten.
async fn forgotten(app: App) -> anyhow::Result<()> {
    app.db.transact(|tx| job::look_where_waiting(tx, ROWS_MAX)).await?;
    Ok(())
}

async fn tell(app: App) -> anyhow::Result<()> {
    if !app.db.read(told::is_due).await? {
        return Ok(());
    }
    boots::alone(&app, "tell", Duration::ZERO, async { status::tell(&app).await.map(drop) }).await
}

/// Tells the forges all that they take now; what they do not take is told by the next one.
pub async fn tell_all(app: &App) -> anyhow::Result<()> {
    let all = async {
        while status::tell(app).await? > 0 {}
        Ok(())
    };
    boots::alone(app, "tell", Duration::ZERO, all).await
}

/// Looks for deliveries that never came; also once in a `sync`.
pub async fn missed(app: App) -> anyhow::Result<()> {
    boots::alone(&app, "missed", MISSED, missed::look(&app)).await
}

async fn check_keys(app: App) -> anyhow::Result<()> {
    boots::alone(&app, "keys", KEYS, upkeep::check_keys(app.clone())).await
}

async fn collect(app: App) -> anyhow::Result<()> {
    boots::alone(&app, upkeep::COLLECT, COLLECT, upkeep::collect(app.clone())).await
}

/// Asks for the polls and builds whose time has come.
pub async fn follow_due(app: App) -> anyhow::Result<()> {
    let (polls, schedules) = app.db.read(|tx| Ok((due::polls(tx)?, schedule::due(tx, ROWS_MAX)?))).await?;
    if polls {
        app.db.transact(|tx| project::poll_due(tx, ROWS_MAX)).await?;
    }
    for due in schedules {
        if let Err(error) = fire(&app, due.clone()).await {
            tracing::warn!(
                error = format!("{error:#}"),
                pipeline = due.pipeline,
                "a schedule could not be followed"
            );
        }
    }
    Ok(())
}

/// Asks for the build that a schedule wants, once however many times were missed, and sets the next time.
async fn fire(app: &App, due: Due) -> anyhow::Result<()> {
    let next = next_time(&due.cron, app.clock.now())?;
    let fired = app.db.transact(move |tx| {
        // A schedule that is new has no time yet: it only learns it. One that another server has followed meanwhile
        // is not followed twice.
        if schedule::advance(tx, &due, next)? && due.at > Timestamp(0) {
            let cause_id = Some(due.cron.clone());
            let pipeline = Some(due.pipeline.clone());
            let request =
                BuildRequest { pipeline, cause: "schedule".to_owned(), cause_id, ..BuildRequest::default() };
            request::add(tx, due.project, &request)?;
        }
        Ok(())
    });
    fired.await.map_err(|error: DbError| error.into())
}

/// The first time after `now` that the cron expression names, in UTC.
fn next_time(cron: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    let now = chrono::DateTime::from_timestamp_millis(now.0).context("the clock is beyond all calendars")?;
    let next = cron.parse::<croner::Cron>()?.find_next_occurrence(&now, false)?;
    Ok(Timestamp(next.timestamp_millis()))
}

/// Wakes the workers when another process (the command line) has written.
async fn others(app: App, seen: Arc<AtomicI64>) -> anyhow::Result<()> {
    let db = app.db.clone();
    let version = tokio::task::spawn_blocking(move || db.data_version()).await??;
    if seen.swap(version, Ordering::Relaxed) != version {
        app.db.wake();
    }
    Ok(())
}

/// Takes a changed configuration up; one that is wrong is refused, and the old one stays.
async fn configuration(
    app: App,
    around: Surroundings,
    watch: Arc<Mutex<Watch>>,
    imports: bool,
) -> anyhow::Result<()> {
    let mut watch = watch.lock().await;
    let Some(changed) = watch.check() else { return Ok(()) };
    let taken = match changed {
        Ok(config) if imports => app.take_up(config, &around).await,
        Ok(config) => app.follow(config, &around).await,
        Err(errors) => Err(errors.into()),
    };
    match taken {
        Ok(()) => {
            watch.taken();
            tracing::info!("the changed configuration is in force");
            if imports {
                look_at_all(&app, false).await?;
            }
        }
        Err(error) => {
            let error = format!("{error:#}");
            if watch.refused(&error) {
                tracing::error!(error, "the changed configuration is refused; the one before stays in force");
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::rfc3339;

    #[test]
    fn schedules_are_in_utc_and_never_now() {
        let at = |text: &str| {
            let parsed = chrono::DateTime::parse_from_rfc3339(text).unwrap();
            Timestamp(parsed.timestamp_millis())
        };
        let next = |cron: &str, now: &str| rfc3339(next_time(cron, at(now)).unwrap());
        assert_eq!(next("0 3 * * *", "2026-02-28T02:59:59Z"), "2026-02-28T03:00:00.000Z");
        assert_eq!(next("0 3 * * *", "2026-02-28T03:00:00Z"), "2026-03-01T03:00:00.000Z");
        assert_eq!(next("*/15 * * * 1", "2026-11-20T12:00:00Z"), "2026-11-23T00:00:00.000Z");
        assert!(next_time("rubbish", Timestamp(0)).is_err());
    }
}
