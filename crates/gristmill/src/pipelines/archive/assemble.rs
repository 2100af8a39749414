//! What an archive is put together from: the commit's tree, and what the options add to it.

use std::sync::Arc;
use std::time::Duration;

use gristmill_git::{CloneLimits, GitError, Mirror, OwnClone, Remote};
use gristmill_model::{ArchiveOptions, CommitId};
use gristmill_outgoing::Whose;

use super::budget::Budget;
use super::fetch::{self, Brought, Fetched};
use super::outside::Outside;
use super::source::{CommitText, Planned, Source, object_error};
use super::submodules::Gathering;
use super::{large, members, recipe};
use crate::worker::step::{Step, StepError, Subject};

/// What stands in the archive, and where it is read from.
pub(super) struct Assembly {
    pub(super) source: Source,
    pub(super) planned: Vec<Planned>,
    /// The mirrors of submodules that it is read from.
    pub(super) mirrors: Vec<Mirror>,
    /// Its files go with it.
    _own_git: Option<OwnClone>,
}

/// A commit of a repository, to be put into the archive.
pub(super) struct Part<'a> {
    pub(super) mirror: &'a Mirror,
    /// Where it is from, and what lets us in.
    pub(super) remote: &'a Remote,
    pub(super) commit: CommitId,
    /// What `%D` says of it.
    pub(super) decoration: String,
    /// Who says where that is.
    pub(super) whose: Whose,
    /// What may be brought for it besides its commit.
    pub(super) budget: &'a Budget,
}

/// Puts it together.
pub(super) async fn assemble(
    step: &Step,
    subject: &Subject,
    brought: &Brought,
    fetched: &Fetched,
) -> Result<Assembly, StepError> {
    let mirror = &brought.mirror;
    let options = super::options(&subject.pipeline);
    let decoration = recipe::decoration(&subject.run.git_ref);
    let remote = match options.lfs || options.submodules {
        true => fetch::remote(step, subject).await?,
        // Nothing more is fetched, so no key need be opened.
        false => Remote::open(subject.spec.git.parse().map_err(StepError::fail)?),
    };
    let outside = match options.submodules {
        true => Some(Outside::open(step).await?),
        false => None,
    };
    let outside = outside.as_ref();
    let budget = &Budget::of(step, "all large files together");
    let (commit, whose) = (brought.at, Whose::Operators);
    let part = Part { mirror, remote: &remote, commit, decoration, whose, budget };
    let mut source = Source::default();
    let mut planned = members_of(step, options, &part, &mut source).await?;
    let budget = Budget::of(step, "all submodules together, with their large files,");
    let mut gathering =
        Gathering { step, subject, options, own: &remote, outside, budget, mirrors: Vec::new() };
    if options.submodules {
        planned = gathering.gather(&part, planned, &mut source).await?;
    }
    let mirrors = gathering.mirrors;
    let own_git = own_git(step, subject, mirror, fetched).await?;
    planned.extend(own_git.iter().flat_map(members::of_clone));
    Ok(Assembly { source, planned, mirrors, _own_git: own_git })
}

/// The members of one repository's commit.
pub(super) async fn members_of(
    step: &Step,
    options: &ArchiveOptions,
    part: &Part<'_>,
    source: &mut Source,
) -> Result<Vec<Planned>, StepError> {
    let objects = part.mirror.objects().map_err(git_error)?;
    let store = source.add(objects.clone());
    let (commit, decoration, options_of_part) = (part.commit, part.decoration.clone(), options.clone());
    let list = move || {
        let tree = objects.commit(commit).map_err(object_error)?.tree;
        let text = Arc::new(CommitText::read(&objects, commit, decoration).map_err(object_error)?);
        let mut planned = members::list(store, &objects, tree, &options_of_part, Some(&text))?;
        let pointers = large::pointers(&objects, &mut planned, options_of_part.lfs)?;
        Ok::<_, StepError>((planned, pointers))
    };
    let (mut planned, pointers) = tokio::task::spawn_blocking(list).await.map_err(StepError::retry)??;
    if options.lfs {
        large::bring(step, part, &mut planned, pointers).await?;
    } else if !pointers.is_empty() {
        step.log.line(&format!(
            "{} files are pointers of git-lfs and are archived as they are; `lfs = true` brings what they stand for",
            pointers.len()
        ));
    }
    Ok(planned)
}

/// The clone that goes along, where one is wanted.
async fn own_git(
    step: &Step,
    subject: &Subject,
    mirror: &Mirror,
    fetched: &Fetched,
) -> Result<Option<OwnClone>, StepError> {
    if !super::options(&subject.pipeline).include_git {
        return Ok(None);
    }
    let worker = &step.app.live().config.worker;
    let limits = CloneLimits {
        time_max: Duration::from_secs(worker.git_timeout_seconds.unsigned_abs()),
        bytes_max: worker.archive_bytes_max,
    };
    let url = subject.spec.git.parse().map_err(StepError::fail)?;
    let made = mirror.own_clone(&url, &subject.run.git_ref, fetched.commit, limits).await;
    made.map(Some).map_err(git_error)
}

/// What a repository lacks is brought again after it was made anew.
pub(super) fn git_error(error: GitError) -> StepError {
    match error {
        GitError::Damaged { .. } => StepError::Damaged { reason: error.to_string() },
        GitError::Locked { .. } => {
            StepError::NotNow { reason: "a mirror is in use by another job".to_owned() }
        }
        GitError::Object(error) => object_error(error),
        error => fetch::git_error(error),
    }
}
