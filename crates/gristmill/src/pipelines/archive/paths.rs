//! Whether a push touches what a pipeline with `paths` is made from.
//!
//! Judged from git, never from lists in payloads, which are cut off. The commit's tree is compared with those of
//! *all* commits that readers may have before them because of an earlier move: the one that the ref's name holds, and
//! each that has a run behind it. Only where none differs in the pipeline's paths may the commit be left out. So it
//! does not matter how many pushes come together, whether they go back (a force-push, a revert), and which of
//! their runs ends first: what a run that is left out would have shown is what readers have, or get.

use std::collections::BTreeSet;
use std::sync::Arc;

use gristmill_archive::changes::PathFilter;
use gristmill_db::base;
use gristmill_db::job::Finish;
use gristmill_db::run::Run;
use gristmill_db::{DbError, Tx, delivery, project};
use gristmill_git::{Entry, EntryMode, ObjectError, Objects, WalkLimits};
use gristmill_model::{CommitId, ObjectId, PipelineKind, PipelineSpec, ProjectSpec, TreeId};

use super::download;
use super::fetch::{self, Brought};
use super::source::object_error;
use crate::worker::step::{Ending, Step, StepError, Subject};

/// With more commits to compare with, the run builds.
const COMPARED_MAX: i64 = 20;

/// What a run's commit has to be compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing: it builds, and why.
    Builds(&'static str),
    /// It may be left out where it differs from none of these.
    Commits(BTreeSet<CommitId>),
}

/// Reads what a run's commit has to be compared with.
pub fn base(tx: &mut Tx<'_>, run: &Run, pipeline: &PipelineSpec) -> Result<Base, DbError> {
    if is_asked_for(tx, run)? {
        return Ok(Base::Builds("it was asked for"));
    }
    let PipelineKind::Archive(archive) = &pipeline.kind;
    if archive.allow_shared_key {
        return Ok(Base::Builds("others may have published under its key since, and the newest move wins"));
    }
    let Some(shown) = base::shown_before(tx, run)? else {
        return Ok(Base::Builds("nothing of this ref was published before"));
    };
    if !is_made_alike(tx, run, shown.spec_rev)? {
        return Ok(Base::Builds("what was published before was made by other settings"));
    }
    let between = base::between(tx, run, &shown, COMPARED_MAX)?;
    if i64::try_from(between.len()).unwrap_or(i64::MAX) >= COMPARED_MAX {
        return Ok(Base::Builds("many pushes before it are not published yet"));
    }
    Ok(Base::Commits(between.into_iter().chain([shown.commit]).collect()))
}

/// Whether the settings of this revision say the same as the run's of what is made, from where, and under which key.
fn is_made_alike(tx: &mut Tx<'_>, run: &Run, before: i64) -> Result<bool, DbError> {
    let before = project::spec_at(tx, run.project, before)?;
    let now = project::spec_at(tx, run.project, run.spec_rev)?;
    let made = |spec: &ProjectSpec| {
        let kind = spec.pipeline(&run.pipeline)?.kind.clone();
        Some((spec.git.clone(), spec.repository.clone(), kind))
    };
    let (before, now) = (before.as_ref().and_then(made), now.as_ref().and_then(made));
    Ok(before.is_some() && before == now)
}

/// Whether a person or a schedule wants the commit built whatever it touches.
fn is_asked_for(tx: &mut Tx<'_>, run: &Run) -> Result<bool, DbError> {
    match (run.cause.as_str(), run.cause_id.as_deref().map(str::parse)) {
        ("delivery", Some(Ok(id))) => Ok(delivery::by_id(tx, id)?.is_some_and(|one| one.replays > 0)),
        ("delivery" | "missed" | "poll", _) => Ok(false),
        _ => Ok(true),
    }
}

/// The end of a fetch whose commit touches nothing that the pipeline is made from; `None` where it builds.
pub(super) async fn untouched(
    step: &Step,
    subject: &Subject,
    brought: &Brought,
    tree: TreeId,
) -> Result<Option<Ending>, StepError> {
    let paths = &super::options(&subject.pipeline).paths;
    if paths.is_empty() {
        return Ok(None);
    }
    let filter = PathFilter::new(paths.iter().map(String::as_str)).map_err(StepError::fail)?;
    let (run, pipeline) = (subject.run.clone(), subject.pipeline.clone());
    let found = step.app.db.read(move |tx| base(tx, &run, &pipeline)).await?;
    let compared = match found {
        Base::Builds(why) => {
            step.log.line(&format!("built whatever it touches: {why}"));
            return Ok(None);
        }
        Base::Commits(commits) => commits,
    };
    let objects = brought.mirror.objects().map_err(fetch::git_error)?;
    let commits = match subject.spec.fetch.download() {
        Some(_) => download::stand_ins(&brought.mirror, &compared)?,
        None => compared.iter().map(|commit| (*commit, *commit)).collect(),
    };
    let compare = move || first_touched(&objects, tree, &commits, &filter);
    let touched = tokio::task::spawn_blocking(compare).await.map_err(StepError::retry)??;
    if let Some(commit) = touched {
        step.log.line(&format!("it differs from {commit} in what `paths` names"));
        return Ok(None);
    }
    Ok(Some(left_out(subject, compared)))
}

/// Ends the run, where there is still nothing else to compare with.
fn left_out(subject: &Subject, compared: BTreeSet<CommitId>) -> Ending {
    let (run, pipeline) = (subject.run.clone(), subject.pipeline.clone());
    Arc::new(move |tx| match base(tx, &run, &pipeline)? {
        Base::Commits(commits) if commits.is_subset(&compared) => {
            let newest: Vec<String> = compared.iter().map(CommitId::short).collect();
            let reason = format!("nothing that `paths` names differs from {}", newest.join(", "));
            Ok(Finish::Skipped { reason })
        }
        _ => Ok(Finish::Deferred {
            reason: "what it is compared with has changed".to_owned(),
            wait: std::time::Duration::ZERO,
        }),
    })
}

/// The first of the commits that the tree differs from; one that is not in the mirror counts as different. Each has
/// the one beside it that the mirror has its content by.
fn first_touched(
    objects: &Objects,
    tree: TreeId,
    commits: &[(CommitId, CommitId)],
    filter: &PathFilter,
) -> Result<Option<CommitId>, StepError> {
    let after = leaves(objects, tree).map_err(object_error)?;
    let mut seen = BTreeSet::from([tree]);
    for (commit, at) in commits {
        let before = objects.peel(at.0).and_then(|commit| Ok(objects.commit(commit)?.tree));
        let before = match before {
            Ok(before) => before,
            // It was force-pushed away, or the mirror is a new one.
            Err(ObjectError::Missing(_)) => return Ok(Some(*commit)),
            Err(error) => return Err(object_error(error)),
        };
        if !seen.insert(before) {
            continue;
        }
        let before = leaves(objects, before).map_err(object_error)?;
        if filter.is_touched(pairs(&before), pairs(&after)) {
            return Ok(Some(*commit));
        }
    }
    Ok(None)
}

/// A path, and what stands there.
type Leaf = (Vec<u8>, (EntryMode, ObjectId));

fn pairs(leaves: &[Leaf]) -> impl Iterator<Item = (&[u8], &(EntryMode, ObjectId))> {
    leaves.iter().map(|(path, what)| (path.as_slice(), what))
}

/// All but the folders, in the order of the paths' bytes: git's own order without them.
fn leaves(objects: &Objects, tree: TreeId) -> Result<Vec<Leaf>, ObjectError> {
    let mut leaves = Vec::new();
    objects.walk(tree, WalkLimits::default(), |path, entry| {
        if !matches!(entry, Entry::Folder { .. }) {
            leaves.push((path.to_owned(), (entry.mode(), entry.id())));
        }
        Ok::<(), ObjectError>(())
    })?;
    Ok(leaves)
}
