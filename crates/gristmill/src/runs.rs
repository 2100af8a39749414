//! What people ask for: a run again, a project gone.

use anyhow::{Context, bail};
use gristmill_db::run::{self, NewRun, Stopped};
use gristmill_db::{DbError, Tx, project, publication};
use gristmill_model::{ProjectId, PublicReason, RunId};

use crate::app::App;
use crate::pipelines::{self, Occasion};

/// Makes a run for the same commit again, with the newest settings. It moves the name only where the
/// commit is still the newest move of its key.
pub fn retry(tx: &mut Tx<'_>, id: RunId) -> anyhow::Result<RunId> {
    let old = run::by_id(tx, id)?
        .with_context(|| format!("there is no run {id}; `gristmill run list` shows them"))?;
    if !old.state.is_over() {
        bail!("run {id} is {}; cancel it first, or wait", old.state);
    }
    let project = project::by_id(tx, old.project)?.context("the run's project is gone")?;
    let pipeline = project
        .spec
        .pipeline(&old.pipeline)
        .with_context(|| format!("project `{}` has no pipeline `{}` any more", project.name, old.pipeline))?;
    let occasion = Occasion {
        git_ref: old.git_ref.clone(),
        commit: old.commit,
        seq: old.seq,
        is_release: old.is_release,
    };
    let new = NewRun {
        project: old.project,
        pipeline: old.pipeline.clone(),
        spec_rev: project.rev,
        git_ref: old.git_ref,
        commit: old.commit,
        seq: old.seq,
        is_release: old.is_release,
        cause: "retry".to_owned(),
        cause_id: Some(id.to_string()),
    };
    Ok(run::create(tx, &new, &pipelines::plan(pipeline, &occasion), false)?)
}

/// Stops a project's runs, takes its public keys away and deletes all that is known of it; how many keys.
/// A key under which another project publishes too stays as it is. The mirror goes as well; blobs go with
/// the next collection, where nothing else needs them. After a crash in the middle the same command goes on.
pub async fn purge(app: &App, id: ProjectId) -> anyhow::Result<usize> {
    const PAGE: i64 = 100;
    // First: what still runs could publish again, or be what another project's job waits for.
    while !stop_runs(app, id, PAGE).await? {}
    let mut withdrawn = 0;
    loop {
        let keys = app.db.read(move |tx| publication::keys_of(tx, id, PAGE)).await?;
        if keys.is_empty() {
            break;
        }
        for key in keys {
            let this = key.clone();
            if !app.db.read(move |tx| publication::is_shared(tx, &this, id)).await? {
                app.storage.purge_key(&key).await?;
                withdrawn += 1;
            }
            app.db.transact(move |tx| publication::delete_of(tx, &key, id)).await?;
        }
    }
    app.db.transact(move |tx| project::purge(tx, id)).await.map_err(|error: DbError| error)?;
    let mirror = app.mirror_folder(id);
    match tokio::fs::remove_dir_all(&mirror).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            bail!("the mirror {} cannot be deleted: {error}", mirror.display())
        }
        _ => Ok(withdrawn),
    }
}

/// Stops a page of a project's open runs; whether none is left.
async fn stop_runs(app: &App, id: ProjectId, page: i64) -> anyhow::Result<bool> {
    let stopped = app.db.transact(move |tx| {
        let open = run::open_of(tx, id, page)?;
        let mut publishing = None;
        for run in &open {
            if run::cancel(tx, *run, "the project is purged", Some(PublicReason::Purged))?
                == Stopped::Publishing
            {
                publishing = Some(*run);
            }
        }
        Ok::<_, DbError>((open.is_empty(), publishing))
    });
    let (is_done, publishing) = stopped.await?;
    match publishing {
        Some(run) => bail!("run {run} is publishing at this moment; purge the project when it is over"),
        None => Ok(is_done),
    }
}
