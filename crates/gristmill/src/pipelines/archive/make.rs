//! The step `archive`: the zip or tar of a tree, made once per tree and recipe.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use gristmill_archive::Format;
use gristmill_db::job::{self, Finish};
use gristmill_db::step::{self as steps, Begin};
use gristmill_db::{artifact, blob, job as jobs};
use gristmill_model::{Digest, PublicReason};
use gristmill_storage::Blob;
use serde::{Deserialize, Serialize};

use super::assemble::{Assembly, assemble};
use super::fetch::{self, Fetched};
use super::recipe;
use super::tar::tar_tree;
use super::zip::{Previous, Zipped, zip_tree};
use crate::fail;
use crate::worker::step::{Ending, Step, StepError, Subject, ending};

/// What the step made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made {
    /// The archive.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The index of its members, which lets the next archive take them over.
    pub index: Digest,
    /// How many members it has.
    pub entries: u64,
    /// Which recipe made it.
    pub recipe: String,
    /// The key of the step.
    pub step: Digest,
}

/// Runs the step.
pub async fn run(step: &Step) -> Result<Ending, StepError> {
    let subject = step.subject().await?;
    let fetched = fetched(step).await?;
    let format = super::format(&subject.pipeline);
    let mut recipe = super::recipe_of(&subject.pipeline);
    if fetched.filtered.is_some() {
        recipe += "+filtered";
    }
    let key = recipe::step_key(&subject, &fetched, &recipe);
    let (job, attempt, run) = (step.lease.job, step.lease.attempt, step.lease.run);
    let begun = step.app.db.transact(move |tx| {
        if !job::still_mine(tx, job, attempt)? {
            return Err(StepError::retry("the lease is lost"));
        }
        Ok(steps::begin(tx, key, job, run)?)
    });
    let begun = begun.await?;
    fail::point("archive.begun");
    match begun {
        Begin::Hit(outcome) if is_whole(step, &outcome).await? => {
            step.log.line(&format!("tree {} has its archive already", fetched.tree));
            Ok(ending(Finish::Succeeded { outcome, cached: true, expand: None }))
        }
        Begin::Hit(_) => {
            step.log.line("the archive of this tree is gone from the storage: it is made anew");
            step.app.db.transact(move |tx| steps::forget(tx, key)).await?;
            Ok(ending(at_once("the archive of this tree is gone from the storage")))
        }
        Begin::Wait(other) => {
            step.log.line(&format!("job {other} is making the same archive; waiting for it"));
            // Asked again in the transaction that blocks: the other may have ended meanwhile.
            Ok(Arc::new(move |tx| match steps::begin(tx, key, job, run)? {
                Begin::Wait(other) => Ok(Finish::WaitFor { job: other }),
                _ => Ok(at_once("the job that made the same archive has ended")),
            }))
        }
        Begin::Make => {
            let zipped = make(step, &subject, &fetched, (format, &recipe)).await?;
            let made = Made {
                digest: zipped.archive.digest,
                size: zipped.archive.size,
                index: zipped.index.digest,
                entries: zipped.entries,
                recipe,
                step: key,
            };
            step.log.line(&describe(&zipped));
            Ok(record(key, job, run, made, zipped))
        }
    }
}

fn at_once(reason: &str) -> Finish {
    Finish::Deferred { reason: reason.to_owned(), wait: Duration::ZERO }
}

/// Whether the storage has what the step made: somebody may have lost a disk.
async fn is_whole(step: &Step, outcome: &str) -> Result<bool, StepError> {
    let Ok(made) = serde_json::from_str::<Made>(outcome) else { return Ok(false) };
    for digest in [made.digest, made.index] {
        if !step.app.storage.contains(&digest).await.map_err(storage_error)? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn fetched(step: &Step) -> Result<Fetched, StepError> {
    let run = step.lease.run.ok_or_else(|| StepError::fail("the job belongs to no run"))?;
    let outcome = step.app.db.read(move |tx| jobs::run_outcome(tx, run, super::FETCH)).await?;
    outcome
        .and_then(|outcome| serde_json::from_str(&outcome).ok())
        .ok_or_else(|| StepError::fail("the fetch of this run left no result"))
}

async fn make(
    step: &Step,
    subject: &Subject,
    fetched: &Fetched,
    (format, recipe): (Format, &str),
) -> Result<Zipped, StepError> {
    let previous = match format {
        Format::Zip => previous(step, subject, recipe).await?,
        // Nothing of a tar can be taken over: its members have no form of their own within it.
        _ => None,
    };
    // The commit was fetched by the job before; here again only where the mirror had to be made anew.
    let brought = fetch::bring(step, subject).await?;
    if let Some(tree) = brought.tree.filter(|tree| *tree != fetched.tree) {
        let reason = format!(
            "the forge gave {} out with the tree {}, and now with {tree}",
            fetched.commit, fetched.tree
        );
        return Err(StepError::fail(format!("{reason}; build it again")).told(PublicReason::Filtered));
    }
    fetch::fill(step, subject, &brought).await?;
    let mirror = &brought.mirror;
    let assembled = assemble(step, subject, &brought, fetched).await;
    let assembly = fetch::mend(mirror, assembled).await?;
    let staged = step.app.storage.stage().await.map_err(storage_error)?;
    let (this, mirrors) = (step.clone(), assembly.mirrors.clone());
    let bytes_max = step.app.live().config.worker.archive_bytes_max;
    let zipping = tokio::task::spawn_blocking(move || {
        let is_stopped = || this.is_stopped();
        let Assembly { source, planned, .. } = &assembly;
        match format {
            Format::Zip => zip_tree(source, planned, previous.as_ref(), staged, bytes_max, &is_stopped),
            _ => tar_tree(source, planned, format, staged, bytes_max, &is_stopped),
        }
    });
    let mut written = fetch::mend(mirror, zipping.await.map_err(StepError::retry)?).await;
    for mirror in &mirrors {
        written = fetch::mend(mirror, written).await;
    }
    let written = written?;
    let archive = written.staged.commit().await.map_err(storage_error)?;
    fail::point("archive.stored");
    let index = step.app.storage.put_bytes(written.index).await.map_err(storage_error)?;
    keep(step, [archive, index]).await?;
    Ok(Zipped { archive, index, entries: written.entries, reused: written.reused })
}

/// Records the blobs: from then on the collector, which takes only what was recorded long ago, leaves them
/// alone. Bytes that were there already may have been deleted just before: then they are stored again.
async fn keep(step: &Step, blobs: [Blob; 2]) -> Result<(), StepError> {
    let recorded = step.app.db.transact(move |tx| {
        blobs
            .iter()
            .try_for_each(|stored| blob::add(tx, stored.digest, stored.size).map_err(StepError::retry))
    });
    recorded.await?;
    let [archive, index] = blobs.map(|stored| stored.digest);
    let storage = &step.app.storage;
    let there = tokio::try_join!(storage.contains(&archive), storage.contains(&index));
    match there.map_err(storage_error)? {
        (true, true) => Ok(()),
        _ => Err(StepError::retry("equal bytes were just deleted; they are stored again")),
    }
}

/// The newest archive of the pipeline made by the same recipe. Without one, or where it cannot be read,
/// every member is compressed anew: slower, never different.
async fn previous(step: &Step, subject: &Subject, recipe: &str) -> Result<Option<Previous>, StepError> {
    let (project, pipeline, recipe) = (subject.run.project, subject.run.pipeline.clone(), recipe.to_owned());
    let newest = step.app.db.read(move |tx| artifact::newest(tx, project, &pipeline, &recipe)).await?;
    let Some(newest) = newest else { return Ok(None) };
    let Some(index) = newest.index else { return Ok(None) };
    let storage = &step.app.storage;
    let opened = async {
        let index = storage.open_blob(&index).await?;
        let bytes = index.read_range(0..index.len()).await?;
        Ok::<_, gristmill_storage::StorageError>((bytes, storage.open_blob(&newest.digest).await?))
    };
    match opened.await {
        Ok((index, archive)) => match Previous::new(&index, archive) {
            Ok(previous) => Ok(Some(previous)),
            Err(fault) => {
                step.log.line(&format!("the archive before cannot be taken over: {fault}"));
                Ok(None)
            }
        },
        Err(error) => {
            step.log.line(&format!("the archive before cannot be read: {error}"));
            Ok(None)
        }
    }
}

fn record(
    key: Digest,
    job: gristmill_model::JobId,
    run: Option<gristmill_model::RunId>,
    made: Made,
    zipped: Zipped,
) -> Ending {
    let outcome = serde_json::to_string(&made).expect("plain data");
    Arc::new(move |tx| {
        for stored in [&zipped.archive, &zipped.index] {
            blob::confirm(tx, stored.digest).map_err(StepError::retry)?;
        }
        let blobs = [zipped.archive.digest, zipped.index.digest];
        if !steps::made(tx, key, job, run, &outcome, &blobs)? {
            return Err(StepError::retry("another job has made the same archive meanwhile"));
        }
        Ok(Finish::Succeeded { outcome: outcome.clone(), cached: false, expand: None })
    })
}

fn describe(zipped: &Zipped) -> String {
    let mut text =
        format!("{} members, {} bytes, {}", zipped.entries, zipped.archive.size, zipped.archive.digest);
    if zipped.reused > 0 {
        write!(text, "; {} taken over from the archive before", zipped.reused).expect("a String takes all");
    }
    text
}

fn storage_error(error: gristmill_storage::StorageError) -> StepError {
    StepError::when(error.is_transient(), error).told(PublicReason::StorageFailed)
}
