//! Large files of git-lfs: which files are pointers, and what they stand for.

use std::sync::Arc;
use std::time::Duration;

use gristmill_git::{GitError, LfsLimits, LfsPointer, ObjectError, Objects};

use super::assemble::{Part, git_error};
use super::fetch::LOCK_WAIT_MAX;
use super::source::{At, Content, Member, Planned, object_error, shown};
use crate::worker::step::{Step, StepError};

/// The attribute's value in `.gitattributes` that a repository with large files has somewhere.
const FILTER: &[u8] = b"filter=lfs";
/// The most files that are pointers.
const POINTERS_MAX: usize = 100_000;

/// A pointer, and which of the planned members it is.
pub(super) type Found = (usize, LfsPointer);

/// The planned files that are pointers. They are told by their content alone, as git-lfs does it when it fetches. With
/// `is_wanted` each must be whole; otherwise they are only counted, and only where a `.gitattributes` names the
/// filter: looking at each small file of a large tree takes longer than archiving what changed in it.
pub(super) fn pointers(
    objects: &Objects,
    planned: &mut [Planned],
    is_wanted: bool,
) -> Result<Vec<Found>, StepError> {
    if !is_wanted && !names_filter(objects, planned)? {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for (number, one) in planned.iter().enumerate() {
        let Some(at) = blob(one) else { continue };
        match objects.lfs_pointer(at.blob) {
            Ok(pointer) => found.extend(pointer.map(|pointer| (number, pointer))),
            Err(ObjectError::Malformed { .. }) if !is_wanted => {}
            Err(ObjectError::Malformed { why, .. }) => {
                let name = shown(&one.name);
                return Err(StepError::fail(format!("{name} begins like a pointer of git-lfs, but {why}")));
            }
            Err(error) => return Err(object_error(error)),
        }
        if found.len() > POINTERS_MAX {
            return Err(StepError::fail(format!("more than {POINTERS_MAX} files are pointers of git-lfs")));
        }
    }
    Ok(found)
}

fn blob(one: &Planned) -> Option<At> {
    match one.content()? {
        Content::Blob(at) | Content::Converted(at, _) => Some(*at),
        Content::Large(..) | Content::Local(..) => None,
    }
}

fn names_filter(objects: &Objects, planned: &[Planned]) -> Result<bool, StepError> {
    let mut buffer = Vec::new();
    for one in planned.iter().filter(|one| one.name.ends_with(b".gitattributes")) {
        let Some(at) = blob(one) else { continue };
        // Git reads no larger ones.
        if objects.blob_size(at.blob).map_err(object_error)? > 100 << 20 {
            continue;
        }
        objects.blob(at.blob, &mut buffer).map_err(object_error)?;
        if buffer.windows(FILTER.len()).any(|window| window == FILTER) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Brings what the pointers stand for, and plans that in their place.
pub(super) async fn bring(
    step: &Step,
    part: &Part<'_>,
    planned: &mut [Planned],
    found: Vec<Found>,
) -> Result<(), StepError> {
    if found.is_empty() {
        return Ok(());
    }
    let worker = &step.app.live().config.worker;
    let limits = LfsLimits {
        time_max: Duration::from_secs(worker.git_timeout_seconds.unsigned_abs()),
        lock_wait_max: LOCK_WAIT_MAX,
        object_bytes_max: worker.archive_bytes_max,
        bytes_max: worker.repository_bytes_max,
        ..LfsLimits::default()
    };
    let pointers: Vec<LfsPointer> = found.iter().map(|(_, pointer)| *pointer).collect();
    let brought = part.mirror.fetch_lfs(part.remote, &pointers, limits).await;
    let objects = brought.map_err(|error| match error {
        GitError::LfsObject { ref detail, .. } if is_absent(detail) => StepError::fail(error),
        error => git_error(error),
    })?;
    step.log.line(&format!("{} large files of git-lfs are here", objects.len()));
    let objects = Arc::new(objects);
    for (number, pointer) in found {
        if let Member::File { content, .. } = &mut planned[number].member {
            *content = Content::Large(pointer, objects.clone());
        }
    }
    Ok(())
}

/// Whether git-lfs said that its server does not have a file: it writes the answer's status in brackets, as the test
/// with the real program shows. Everything else may pass.
fn is_absent(detail: &str) -> bool {
    detail.contains("[404]") || detail.contains("[410]")
}
