//! The step `fetch`: brings exactly the pushed commit into the project's mirror and learns its tree.

use std::time::Duration;

use gristmill_db::job::Finish;
use gristmill_git::{FetchLimits, GitError, Mirror, MirrorKind, ObjectError, Objects, Remote, Wanted};
use gristmill_model::{ArchiveOptions, Attributes, CommitId, FetchBy, Timestamp, TreeId};
use serde::{Deserialize, Serialize};

use super::{download, members, paths, public};
use crate::app::App;
use crate::fail;
use crate::reach::{Asks, ReachError};
use crate::worker::step::{Ending, Step, StepError, Subject, ending};

/// How long a fetch waits for others that work on the mirror, before it gives its place up.
pub(super) const LOCK_WAIT_MAX: Duration = Duration::from_millis(500);

/// What the step learnt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fetched {
    /// The commit; behind an annotated tag, the one it leads to.
    pub commit: CommitId,
    /// Its tree.
    pub tree: TreeId,
    /// When its committer says it was made.
    pub committed: Timestamp,
    /// Whether the archive follows from the commit and the ref, not from the tree alone.
    #[serde(default)]
    pub by_commit: bool,
    /// What the forge says is the commit's tree, where it gave another one out; `unknown` where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filtered: Option<String>,
}

/// A commit that is in the project's mirror.
pub(super) struct Brought {
    /// The mirror.
    pub(super) mirror: Mirror,
    /// The commit; behind an annotated tag, the one it leads to.
    pub(super) commit: CommitId,
    /// The commit that the mirror has its content by: another one where it was downloaded.
    pub(super) at: CommitId,
    /// Its tree, where that does not follow from the commit's id.
    pub(super) tree: Option<TreeId>,
    /// [`Fetched::filtered`].
    pub(super) filtered: Option<String>,
    /// How it came, for the log.
    pub(super) how: String,
}

/// Runs the step.
pub async fn run(step: &Step) -> Result<Ending, StepError> {
    let subject = step.subject().await?;
    let brought = bring(step, &subject).await?;
    fail::point("fetch.fetched");
    let (commit, at, mirror) = (brought.commit, brought.at, &brought.mirror);
    let objects = mirror.objects().map_err(git_error)?;
    let options = super::options(&subject.pipeline).clone();
    let info = mend(mirror, objects.commit(at).map_err(|error| object_error(&error))).await?;
    step.log
        .line(&format!("commit {commit}, tree {}, {} of {}", info.tree, brought.how, subject.run.git_ref));
    let untouched = paths::untouched(step, &subject, &brought, info.tree).await;
    if let Some(left_out) = mend(mirror, untouched).await? {
        return Ok(left_out);
    }
    fill(step, &subject, &brought).await?;
    let tree = info.tree;
    let tells = move || tells_of_commit(&objects, tree, &options);
    let tells = tokio::task::spawn_blocking(tells).await.map_err(StepError::retry)?;
    let by_commit = mend(mirror, tells).await?;
    let filtered = brought.filtered.clone();
    let outcome = Fetched { commit, tree: info.tree, committed: info.committed, by_commit, filtered };
    let outcome = serde_json::to_string(&outcome).expect("plain data");
    Ok(ending(Finish::Succeeded { outcome, cached: false, expand: None }))
}

/// Whether the archive of a commit with this tree tells of the commit.
fn tells_of_commit(objects: &Objects, tree: TreeId, options: &ArchiveOptions) -> Result<bool, StepError> {
    match options.attributes {
        _ if options.include_git => Ok(true),
        Attributes::Raw => Ok(false),
        Attributes::Git => Ok(members::tells_of_commit(&members::list(0, objects, tree, options, None)?)),
    }
}

/// Brings the run's commit into the project's mirror, where it stays; asks nobody where it is there. [`fill`] brings the
/// contents of its files, where they did not come along.
pub(super) async fn bring(step: &Step, subject: &Subject) -> Result<Brought, StepError> {
    match subject.spec.fetch.download() {
        Some(download) => download::bring(step, subject, download).await,
        None => by_git(step, subject).await,
    }
}

async fn by_git(step: &Step, subject: &Subject) -> Result<Brought, StepError> {
    let mirror = mirror(&step.app, subject.run.project).await?;
    let mirror = mirror.of_kind(kind(subject));
    let wanted = Wanted { git_ref: Some(subject.run.git_ref.clone()), commit: subject.run.commit };
    let (into, wanted, limits) = (&mirror, &wanted, limits(step));
    let fetched = step.app.reach(subject.run.project, &subject.spec, Asks::IfNeeded, |remote| async move {
        into.fetch(&remote, wanted, limits).await
    });
    match fetched.await {
        Ok(gristmill_git::Fetched { commit, reachability }) => {
            let how = format!("{reachability:?}");
            Ok(Brought { mirror, commit, at: commit, tree: None, filtered: None, how })
        }
        Err(ReachError::Git(GitError::Locked { .. })) => Err(in_use()),
        Err(ReachError::Git(error)) => Err(git_error(error)),
        Err(error) => Err(reach_error(step, error)),
    }
}

/// How much of the history the run needs at least.
pub(super) fn kind(subject: &Subject) -> MirrorKind {
    match subject.spec.fetch {
        FetchBy::Partial => MirrorKind::Partial,
        FetchBy::Git | FetchBy::Download(_) => MirrorKind::Full,
    }
}

/// Brings the contents of the commit's files that a partial mirror lacks; asks nobody where they are there.
pub(super) async fn fill(step: &Step, subject: &Subject, brought: &Brought) -> Result<(), StepError> {
    if kind(subject) == MirrorKind::Full {
        return Ok(());
    }
    if brought.mirror.kind() == MirrorKind::Full {
        step.log.line("the mirror has the whole history: it was full before, or the server knows no filters");
    }
    let (into, commit, limits) = (&brought.mirror, brought.at, limits(step));
    let filled = step.app.reach(subject.run.project, &subject.spec, Asks::IfNeeded, |remote| async move {
        into.fill(&remote, commit, limits).await
    });
    let filled = filled.await.map_err(|error| match error {
        ReachError::Git(error) => super::assemble::git_error(error),
        error => reach_error(step, error),
    });
    match mend(into, filled).await? {
        0 => {}
        count => step.log.line(&format!("the contents of {count} files were not in the mirror and are now")),
    }
    Ok(())
}

/// Another job works on the mirror: waiting for it would hold a place that others can use.
pub(super) fn in_use() -> StepError {
    StepError::NotNow { reason: "the project's mirror is in use".to_owned() }
}

/// The bounds of one fetch.
pub(super) fn limits(step: &Step) -> FetchLimits {
    let worker = &step.app.live().config.worker;
    FetchLimits {
        time_max: Duration::from_secs(worker.git_timeout_seconds.unsigned_abs()),
        lock_wait_max: LOCK_WAIT_MAX,
        mirror_bytes_max: worker.repository_bytes_max,
    }
}

/// Where the project is fetched from, with what lets us in.
pub(super) async fn remote(step: &Step, subject: &Subject) -> Result<Remote, StepError> {
    let found = step.app.remote(subject.run.project, &subject.spec).await;
    found.map_err(|error| reach_error(step, error))
}

fn reach_error(step: &Step, error: ReachError) -> StepError {
    if step.app.seat.get().is_some() && matches!(error, ReachError::Lost(_) | ReachError::NoServerKey) {
        // Others may have the right one.
        let why = "another program may have the server's key that is missing here";
        return StepError::NotNow { reason: format!("{error}; {why}") };
    }
    let why = public::of_reach(&error);
    StepError::when(error.is_transient(), error).told(why)
}

/// Makes a mirror anew that lacks what it should have, unless somebody else did; the job's next attempt fetches into it.
pub(super) async fn mend<T>(mirror: &Mirror, result: Result<T, StepError>) -> Result<T, StepError> {
    if let Err(StepError::Damaged { .. }) = &result {
        mirror.rebuild().await.map_err(git_error)?;
    }
    result
}

pub(super) fn object_error(error: &ObjectError) -> StepError {
    match error {
        ObjectError::Missing(_) | ObjectError::Unreadable { .. } => {
            StepError::Damaged { reason: error.to_string() }
        }
        other => StepError::when(other.is_transient(), other).told(public::of_object(other)),
    }
}

/// The mirror of a project.
pub(super) async fn mirror(app: &App, project: gristmill_model::ProjectId) -> Result<Mirror, StepError> {
    Mirror::open_or_create(&app.git, app.mirror_folder(project)).await.map_err(git_error)
}

pub(super) fn git_error(error: GitError) -> StepError {
    let why = public::of_git(&error);
    StepError::when(error.is_transient(), error).told(why)
}
