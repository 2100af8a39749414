//! Retention and collection: what nothing needs any more goes, in the order in which things refer to
//! one another.
//!
//! 1. *Versions* of keys beyond the pipeline's `keep`. The newest version of a key always stays, and so
//!    does the one that readers see.
//! 2. *Artifacts* older than `keep.days` whose run has no version left. Only where `days` is set.
//! 3. *Steps* that were not used for a day and that no artifact and no open run refers to are condemned,
//!    and forgotten when they stayed condemned for as long as the longest run may take.
//! 4. *Blobs* that no step and no version refers to: marked, then deleted, then forgotten. What a crash
//!    left marked is finished first. Files in the storage that the database never heard of go too, once
//!    they are too old for a job that is about to record them.
//! 5. Deliveries, looks, logs, and runs that left nothing, whose time is over.
//!
//! [`plan`] takes the same steps in a transaction that it takes back, so that what it tells is what
//! [`run`] does.

mod blobs;
mod keys;
mod rules;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use gristmill_db::publication::{self, Extra};
use gristmill_db::{DbError, Tx, artifact, delivery, job, job_log, mirror, missed, run, step};
use gristmill_model::Timestamp;
use gristmill_storage::ProjectError;
use serde::Serialize;

use crate::app::App;

pub use keys::{KeyReport, check_keys};
use rules::Rule;

/// How long a step must not have been used before it is condemned.
pub const STEP_IDLE: Duration = Duration::from_secs(24 * 3600);
/// The longest that a run may take: how long condemned steps, and bytes that no row refers to yet, wait.
pub const RUN_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long looks that are over are kept.
const LOOK_KEEP: Duration = Duration::from_secs(24 * 3600);
/// How long it is remembered which machine has a mirror that it does not use.
const MIRROR_KEEP: Duration = Duration::from_secs(30 * 24 * 3600);
const DAY_SECONDS: u64 = 24 * 3600;
/// The most rows one transaction changes: others wait for it.
const PAGE: usize = 200;
/// The most rows of a kind a dry run goes through, because it holds the database meanwhile.
const PLAN_ROWS_MAX: u64 = 10_000;

/// What went, or would go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Report {
    /// Versions of keys.
    pub versions: u64,
    /// Artifacts.
    pub artifacts: u64,
    /// Steps condemned now: they go with a collection a day later, unless they are used again.
    pub steps_condemned: u64,
    /// Steps forgotten.
    pub steps: u64,
    /// Blobs deleted.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Deliveries forgotten. Not planned ahead.
    pub deliveries: u64,
    /// Looks that are over. Not planned ahead.
    pub looks: u64,
    /// Runs that were over and left nothing. Not planned ahead.
    pub runs: u64,
    /// Logs deleted. Not planned ahead.
    pub logs: u64,
    /// Whether there is more than was counted: the figures are the least that would go.
    pub is_partial: bool,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { versions, artifacts, steps, steps_condemned, blobs, bytes, .. } = self;
        let least = if self.is_partial { "at least " } else { "" };
        write!(
            f,
            "{least}{versions} versions, {artifacts} artifacts, {steps} steps ({steps_condemned} more condemned), {blobs} blobs with {bytes} bytes"
        )
    }
}

/// The moments that decide.
#[derive(Clone, Copy)]
struct Moments {
    now: Timestamp,
    /// Steps not used since are condemned.
    idle_since: Timestamp,
    /// What was condemned, or stored without a row, before this goes.
    grace_before: Timestamp,
}

impl Moments {
    fn at(now: Timestamp) -> Moments {
        Moments { now, idle_since: now.minus(STEP_IDLE), grace_before: now.minus(RUN_MAX) }
    }

    fn days_ago(self, days: i64) -> Timestamp {
        let seconds = days.unsigned_abs().saturating_mul(DAY_SECONDS);
        self.now.minus(Duration::from_secs(seconds))
    }
}

/// What a collection would take away now; changes nothing.
pub async fn plan(app: &App) -> anyhow::Result<Report> {
    let moments = Moments::at(app.clock.now());
    let rules = rules::read(app).await?;
    let planned = app.db.transact(move |tx| -> Result<(), Undo> {
        let mut report = Report::default();
        for rule in &rules {
            plan_rule(tx, rule, moments, &mut report)?;
        }
        step::pardon(tx)?;
        report.steps_condemned = count(step::condemn(tx, moments.idle_since, plan_limit())?);
        report.is_partial |= report.steps_condemned >= PLAN_ROWS_MAX;
        report.steps = count(step::delete_condemned(tx, moments.grace_before, plan_limit())?);
        report.is_partial |= report.steps >= PLAN_ROWS_MAX;
        let blobs = blobs::plan(tx, moments)?;
        report.is_partial |= blobs.len() as u64 >= PLAN_ROWS_MAX;
        Err(Undo::Planned(Box::new((report, blobs))))
    });
    match planned.await {
        Ok(()) => unreachable!("the transaction always ends with an error, which takes it back"),
        Err(Undo::Db(error)) => Err(error).context("what would go could not be worked out"),
        Err(Undo::Planned(planned)) => {
            let (mut report, blobs) = *planned;
            blobs::measure(app, &blobs, moments, &mut report).await?;
            Ok(report)
        }
    }
}

/// How a dry run ends: never by keeping what it did.
enum Undo {
    Planned(Box<(Report, Vec<gristmill_model::Digest>)>),
    Db(DbError),
}

impl From<DbError> for Undo {
    fn from(error: DbError) -> Undo {
        Undo::Db(error)
    }
}

fn plan_limit() -> i64 {
    i64::try_from(PLAN_ROWS_MAX).expect("a small number")
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

fn plan_rule(tx: &mut Tx<'_>, rule: &Rule, moments: Moments, report: &mut Report) -> Result<(), DbError> {
    let limit = usize::try_from(PLAN_ROWS_MAX).unwrap_or(usize::MAX);
    let page = rule.extra_versions(tx, moments, limit)?;
    for extra in &page.go {
        publication::delete(tx, &extra.key, extra.seq)?;
    }
    report.versions += count(page.go.len());
    report.is_partial |= !page.is_last;
    let artifacts = rule.old_artifacts(tx, moments, plan_limit())?;
    for id in &artifacts {
        artifact::delete(tx, *id)?;
    }
    report.artifacts += count(artifacts.len());
    report.is_partial |= artifacts.len() >= limit;
    Ok(())
}

/// Takes away what nothing needs any more. Whatever happens meanwhile, it may be run again.
pub async fn run(app: &App) -> anyhow::Result<Report> {
    let moments = Moments::at(app.clock.now());
    let mut report = Report::default();
    blobs::finish_deleting(app, moments, &mut report).await?;
    for rule in rules::read(app).await? {
        report.versions += delete_versions(app, &rule, moments).await?;
        report.artifacts += delete_artifacts(app, &rule, moments).await?;
    }
    let (idle_since, grace_before) = (moments.idle_since, moments.grace_before);
    app.db.transact(step::pardon).await?;
    report.steps_condemned = by_page(app, move |tx, max| step::condemn(tx, idle_since, max)).await?;
    report.steps = by_page(app, move |tx, max| step::delete_condemned(tx, grace_before, max)).await?;
    blobs::delete_unused(app, moments, &mut report).await?;
    blobs::delete_unknown(app, moments, &mut report).await?;
    expire(app, moments, &mut report).await?;
    tracing::info!(
        versions = report.versions,
        artifacts = report.artifacts,
        steps = report.steps,
        blobs = report.blobs,
        bytes = report.bytes,
        "a collection is done"
    );
    Ok(report)
}

/// Deletes versions beyond the rule: first in the storage, then the row, so that a crash between both
/// leaves a row that the next collection finds again.
async fn delete_versions(app: &App, rule: &Rule, moments: Moments) -> anyhow::Result<u64> {
    let mut deleted = 0;
    let mut refused: Vec<Extra> = Vec::new();
    let mut limit = PAGE;
    loop {
        let this = rule.clone();
        let page = app.db.read(move |tx| this.extra_versions(tx, moments, limit)).await?;
        let mut done = Vec::new();
        for extra in page.go {
            if refused.contains(&extra) {
                continue;
            }
            let version_id = extra.version_id.as_deref();
            match app.storage.delete_version(&extra.key, extra.seq, version_id).await {
                Ok(_) => done.push(extra),
                Err(error) => {
                    // The storage still shows it: the key is behind, or somebody changed it.
                    let is_in_use = matches!(error, ProjectError::InUse { .. });
                    tracing::warn!(key = %extra.key, version = extra.seq, %error, is_in_use, "a version stays for now");
                    refused.push(extra);
                }
            }
        }
        if done.is_empty() && page.is_last {
            return Ok(deleted);
        }
        // What stays fills the front of the next page too.
        limit = PAGE + page.stay + refused.len();
        deleted += count(done.len());
        let deleting = app.db.transact(move |tx| {
            done.iter().try_for_each(|extra| publication::delete(tx, &extra.key, extra.seq))
        });
        deleting.await?;
    }
}

async fn delete_artifacts(app: &App, rule: &Rule, moments: Moments) -> Result<u64, DbError> {
    let rule = rule.clone();
    by_page(app, move |tx, max| {
        let old = rule.old_artifacts(tx, moments, max)?;
        old.iter().try_for_each(|id| artifact::delete(tx, *id))?;
        Ok(old.len())
    })
    .await
}

/// Calls `delete` in one transaction after the other, until one deletes less than it may; how many in all.
async fn by_page<F>(app: &App, delete: F) -> Result<u64, DbError>
where
    F: Fn(&mut Tx<'_>, i64) -> Result<usize, DbError> + Clone + Send + 'static,
{
    let max = i64::try_from(PAGE).expect("a small number");
    let mut deleted = 0;
    loop {
        let this = delete.clone();
        let page = app.db.transact(move |tx| this(tx, max)).await?;
        deleted += count(page);
        if page < PAGE {
            return Ok(deleted);
        }
    }
}

/// Deletes what is only history: deliveries, runs that left nothing, looks, logs.
async fn expire(app: &App, moments: Moments, report: &mut Report) -> anyhow::Result<()> {
    let before = moments.days_ago(app.live().config.server.history_keep_days);
    report.deliveries = by_page(app, move |tx, max| delivery::expire(tx, before, max)).await?;
    by_page(app, move |tx, max| missed::expire(tx, before, max)).await?;
    let looks_before = moments.now.minus(LOOK_KEEP);
    report.looks = by_page(app, move |tx, max| job::expire(tx, looks_before, max)).await?;
    report.runs = expire_runs(app, before).await?;
    let logs = app.logs.clone();
    let expired = tokio::task::spawn_blocking(move || logs.expire(before)).await?;
    report.logs = count(expired.context("old logs could not be deleted")?);
    report.logs += by_page(app, move |tx, max| job_log::expire(tx, before, max)).await?;
    let unused = moments.now.minus(MIRROR_KEEP);
    app.db.transact(move |tx| mirror::expire(tx, unused)).await?;
    Ok(())
}

async fn expire_runs(app: &App, before: Timestamp) -> Result<u64, DbError> {
    let max = i64::try_from(PAGE).expect("a small number");
    let (mut deleted, mut after) = (0, None);
    loop {
        // Looked for beside the writer: most runs stay, and all of them are gone through.
        let page = app.db.read(move |tx| run::expired(tx, after, before, max)).await?;
        let Some(last) = page.last().copied() else { return Ok(deleted) };
        after = Some(last);
        deleted += count(app.db.transact(move |tx| run::delete_expired(tx, &page)).await?);
    }
}
