//! The step `fetch`: brings exactly the pushed commit into the project's mirror and learns its tree.

use std::time::Duration;

use gristmill_db::job::Finish;
use gristmill_git::{FetchLimits, GitError, Mirror, Wanted};
use gristmill_model::{CommitId, Timestamp, TreeId};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::fail;
use crate::worker::step::{Ending, Step, StepError, ending};

/// What the step learnt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fetched {
    /// The commit; behind an annotated tag, the one it leads to.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// When its committer says it was made.
    pub committed: Timestamp,
}

/// Runs the step.
pub async fn run(step: &Step) -> Result<Ending, StepError> {
    let subject = step.subject().await?;
    let live = step.app.live();
    let remote = step.app.remote(subject.run.project, &subject.spec).map_err(StepError::fail)?;
    let mirror = mirror(&step.app, subject.run.project).await?;
    let wanted = Wanted { git_ref: Some(subject.run.git_ref.clone()), commit: subject.run.commit };
    let limits = FetchLimits {
        time_max: Duration::from_secs(live.config.worker.git_timeout_seconds.unsigned_abs()),
        mirror_bytes_max: live.config.worker.repository_bytes_max,
        ..FetchLimits::default()
    };
    let fetched = mirror.fetch(&remote, &wanted, limits).await.map_err(git_error)?;
    let commit = fetched.commit;
    let objects = mirror.objects().map_err(git_error)?;
    let info = tokio::task::spawn_blocking(move || objects.commit(commit)).await;
    let info =
        info.map_err(StepError::retry)?.map_err(|error| StepError::when(error.is_transient(), &error))?;
    step.log.line(&format!(
        "commit {commit}, tree {}, {:?} of {}",
        info.tree, fetched.reachability, subject.run.git_ref
    ));
    fail::point("fetch.fetched");
    let outcome = Fetched { commit, tree: info.tree, committed: info.committed };
    let outcome = serde_json::to_string(&outcome).expect("plain data");
    Ok(ending(Finish::Succeeded { outcome, cached: false, expand: None }))
}

/// The mirror of a project.
pub(super) async fn mirror(app: &App, project: gristmill_model::ProjectId) -> Result<Mirror, StepError> {
    Mirror::open_or_create(&app.git, app.mirror_folder(project)).await.map_err(git_error)
}

pub(super) fn git_error(error: GitError) -> StepError {
    StepError::when(error.is_transient(), error)
}
