//! The checker of keys: what the storage shows against what the database says it shows.

use gristmill_db::publication;
use gristmill_model::ObjectKey;
use serde::Serialize;

use crate::app::App;
use crate::pipelines::archive::publish;

/// How many keys are read at once.
const PAGE: i64 = 200;
/// The most keys that are named.
const NAMED_MAX: usize = 100;

/// What a check of the keys found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct KeyReport {
    /// Keys looked at.
    pub keys: u64,
    /// Keys that showed something else than they should.
    pub wrong: u64,
    /// How many of those show the right thing now.
    pub repaired: u64,
    /// The first hundred wrong ones, and why they could not be repaired, where that was tried.
    pub named: Vec<(ObjectKey, Option<String>)>,
}

/// Compares every key with what it should show; with `repair`, projects those that differ again.
pub async fn check_keys(app: &App, repair: bool) -> anyhow::Result<KeyReport> {
    let mut report = KeyReport::default();
    let mut after = String::new();
    loop {
        let from = after.clone();
        let page = app.db.read(move |tx| publication::keys(tx, &from, PAGE)).await?;
        let Some(last) = page.last() else { return Ok(report) };
        after = last.as_str().to_owned();
        for key in page {
            report.keys += 1;
            if !differs(app, &key).await? {
                continue;
            }
            report.wrong += 1;
            let fault = if repair { try_repair(app, &key).await } else { None };
            report.repaired += u64::from(repair && fault.is_none());
            if report.named.len() < NAMED_MAX {
                report.named.push((key, fault));
            }
        }
    }
}

/// Whether readers see something else than the version that is recorded as published last. A key whose
/// next version is being published is left to its job.
async fn differs(app: &App, key: &ObjectKey) -> anyhow::Result<bool> {
    let this = key.clone();
    let top = app.db.read(move |tx| publication::top(tx, &this)).await?;
    let Some(top) = top.filter(|top| top.published.is_some()) else { return Ok(false) };
    let shown = app.storage.current(key, false).await;
    Ok(!matches!(shown, Ok(Some(shown)) if shown.seq >= top.seq))
}

async fn try_repair(app: &App, key: &ObjectKey) -> Option<String> {
    let fault = publish::repair(app, key).await.err()?;
    tracing::error!(%key, error = format!("{fault:#}"), "a key shows the wrong version and cannot be repaired");
    Some(format!("{fault:#}"))
}
