//! What keeps an installation sound over months: keys that show what they should, mirrors without
//! thousands of packs, retention and collection, ssh keys that were replaced long ago.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use gristmill_db::{deploy_key, project};
use gristmill_git::{GitError, Mirror};
use gristmill_model::Timestamp;

use crate::app::App;
use crate::clock::rfc3339;
use crate::pipelines::archive::SUBMODULES;
use crate::{collect, keys, steady};

/// How long joining the packs of one mirror may take.
const MAINTAIN_MAX: Duration = Duration::from_secs(600);
/// How long the mirror of a submodule is kept that nobody uses.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The duty of following the retention rules, which one program at a time has.
pub(crate) const COLLECT: &str = "collect";
/// Projects read at once.
const PAGE: i64 = 100;

/// Projects keys again that somebody changed or took away.
pub(crate) async fn check_keys(app: App) -> anyhow::Result<()> {
    let report = collect::check_keys(&app, true).await?;
    for (key, fault) in &report.named {
        match fault {
            None => tracing::warn!(%key, "a key did not show what it should; it does again"),
            Some(fault) => {
                tracing::error!(%key, fault, "a key does not show what it should and cannot be repaired");
            }
        }
    }
    Ok(())
}

/// Deletes what the retention rules let go.
pub(crate) async fn collect(app: App) -> anyhow::Result<()> {
    if let Some(until) = steady::spares(&app).await? {
        let until = rfc3339(until);
        tracing::warn!(until, "nothing is deleted by its age for now, because the clock went ahead");
        return Ok(());
    }
    let report = collect::run(&app).await?;
    if report != collect::Report::default() {
        tracing::info!(%report, "the retention rules were followed");
    }
    Ok(())
}

/// Drops ssh keys that were replaced long enough ago by keys that are let in.
pub(crate) async fn drop_replaced_keys(app: App) -> anyhow::Result<()> {
    let overlap = i64::try_from(keys::OVERLAP.as_millis()).expect("some days");
    let before = Timestamp(app.clock.now().0 - overlap);
    if !app.db.read(move |tx| deploy_key::any_replaced(tx, before)).await? {
        return Ok(());
    }
    if steady::spares(&app).await?.is_some() {
        return Ok(());
    }
    for id in app.db.transact(move |tx| deploy_key::remove_replaced(tx, before)).await? {
        tracing::info!(project.id = %id, "the ssh key that was replaced is dropped");
    }
    Ok(())
}

/// Joins the packs of mirrors that have many: each fetch brings one.
pub(crate) async fn maintain_mirrors(app: App) -> anyhow::Result<()> {
    let mut after = String::new();
    let is_spared = steady::spares(&app).await?.is_some();
    loop {
        let from = after.clone();
        let page = app.db.read(move |tx| project::list(tx, &from, PAGE)).await?;
        let Some(last) = page.last() else { break };
        after = last.name.to_string();
        for project in page.iter().filter(|project| project.active) {
            let own = app.mirror_folder(project.id);
            if !is_spared {
                remove_unused(&app, &own).await;
            }
            for folder in [own.clone()].into_iter().chain(submodules(&own)) {
                if let Err(error) = maintain(&app, folder).await {
                    tracing::warn!(%error, project.name = %project.name, "the packs of a mirror could not be joined");
                }
            }
        }
    }
    if !is_spared {
        remove_unused(&app, &app.mirrors).await;
    }
    for folder in submodules(&app.mirrors) {
        if let Err(error) = maintain(&app, folder).await {
            tracing::warn!(%error, "the packs of a submodule's mirror could not be joined");
        }
    }
    Ok(())
}

/// Removes mirrors of submodules that no archive was made with for long.
async fn remove_unused(app: &App, above: &Path) {
    let before = UNIX_EPOCH + Duration::from_millis(app.clock.now().0.unsigned_abs()).saturating_sub(UNUSED);
    for folder in submodules(above) {
        match Mirror::remove_unused(&folder, before).await {
            Ok(true) => {
                tracing::info!(git.mirror = %folder.display(), "the mirror of a submodule that nobody used for 30 days is removed");
            }
            Ok(false) | Err(GitError::Locked { .. }) => {}
            Err(error) => tracing::warn!(%error, "an unused mirror of a submodule could not be removed"),
        }
    }
}

/// The mirrors of submodules below a folder.
fn submodules(above: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(above.join(SUBMODULES)).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

async fn maintain(app: &App, folder: PathBuf) -> Result<(), GitError> {
    if !folder.exists() {
        return Ok(());
    }
    match Mirror::open_or_create(&app.git, folder).await?.maintain(MAINTAIN_MAX).await {
        // Somebody fetches: another time.
        Err(GitError::Locked { .. }) => Ok(()),
        other => other.map(drop),
    }
}
