//! What people ask for: a run again, a project gone.

use anyhow::{Context, bail};
use gristmill_db::run::{self, NewRun};
use gristmill_db::{DbError, Tx, project, publication};
use gristmill_model::{ProjectId, RunId};

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

/// Takes a project's public keys away and deletes all that is known of it; how many keys. Its mirror goes
/// too; its blobs go with the next collection, where nothing else needs them. After a crash in the
/// middle the same command goes on.
pub async fn purge(app: &App, id: ProjectId) -> anyhow::Result<usize> {
    const PAGE: i64 = 100;
    let mut withdrawn = 0;
    loop {
        let keys = app.db.read(move |tx| publication::keys_of(tx, id, PAGE)).await?;
        if keys.is_empty() {
            break;
        }
        for key in keys {
            app.storage.withdraw(&key).await?;
            for version in app.storage.versions(&key, None, usize::MAX).await? {
                app.storage.delete_version(&key, version.seq).await?;
            }
            app.db.transact(move |tx| publication::delete_key(tx, &key)).await?;
            withdrawn += 1;
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
