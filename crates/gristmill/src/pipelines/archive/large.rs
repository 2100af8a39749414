//! Large files of git-lfs: which files are pointers, and what they stand for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gristmill_git::{Authorization, LfsLimits, LfsPointer, ObjectError, Objects, Protocol};
use gristmill_model::PublicReason;

use super::assemble::{Part, git_error};
use super::door::Door;
use super::lfs_http::Server;
use super::source::{At, Content, Member, Planned, object_error, shown};
use crate::worker::step::{Step, StepError};

/// The attribute's value in `.gitattributes` that a repository with large files has somewhere.
const FILTER: &[u8] = b"filter=lfs";
/// The most files that are pointers.
const POINTERS_MAX: usize = 100_000;
/// How long an ssh server may think about where its large files are.
const AUTHENTICATE_MAX: Duration = Duration::from_secs(60);

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
                let what = format!("{name} begins like a pointer of git-lfs, but {why}");
                return Err(StepError::fail(what).told(PublicReason::LargeFilePointer));
            }
            Err(error) => return Err(object_error(error)),
        }
        if found.len() > POINTERS_MAX {
            let max = u32::try_from(POINTERS_MAX).expect("a small number");
            let what = format!("more than {POINTERS_MAX} files are pointers of git-lfs");
            return Err(StepError::fail(what).told(PublicReason::LargeFilesTooMany(max)));
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
        object_bytes_max: worker.archive_bytes_max,
        bytes_max: part.budget.bytes(),
        ..LfsLimits::default()
    };
    let pointers: Vec<LfsPointer> = found.iter().map(|(_, pointer)| *pointer).collect();
    let (mut objects, missing) =
        part.mirror.held_lfs(part.remote, &pointers, limits).await.map_err(git_error)?;
    let sizes: BTreeMap<_, _> = pointers.iter().map(|pointer| (pointer.oid, pointer.size)).collect();
    part.budget.take(sizes.values().sum())?;
    if !missing.is_empty() {
        download(step, part, missing).await?;
        let (brought, missing) =
            part.mirror.held_lfs(part.remote, &pointers, limits).await.map_err(git_error)?;
        if let Some(pointer) = missing.first() {
            let what = format!("the large file {} went away as soon as it was here", pointer.oid);
            return Err(StepError::retry(what));
        }
        objects = brought;
    }
    step.log.line(&format!("{} large files of git-lfs are here", objects.len()));
    let objects = Arc::new(objects);
    for (number, pointer) in found {
        if let Member::File { content, .. } = &mut planned[number].member {
            *content = Content::Large(pointer, objects.clone());
        }
    }
    Ok(())
}

/// Asks the server ourselves, because git-lfs would go wherever that leads.
async fn download(step: &Step, part: &Part<'_>, missing: Vec<LfsPointer>) -> Result<(), StepError> {
    let end = part.budget.end();
    let door = door(step, part, part.budget.time()?).await?;
    let (step, mirror, remote) = (step.clone(), part.mirror.clone(), part.remote.clone());
    let bring = move || {
        let (step, mirror, remote) = (&step, &mirror, &remote);
        Server { step, mirror, remote, door, end }.bring(&missing)
    };
    tokio::task::spawn_blocking(bring).await.map_err(StepError::retry)?
}

/// Where the files are asked for.
async fn door(step: &Step, part: &Part<'_>, time_max: Duration) -> Result<Door, StepError> {
    let url = &part.remote.url;
    let refused = |why| {
        StepError::fail(format!("large files of {url} cannot be had: {why}"))
            .told(PublicReason::LargeFileRefused)
    };
    let git = &step.app.git;
    match url.protocol() {
        Protocol::Https | Protocol::Http => {
            let authorization = git.authorization(part.remote).await.map_err(git_error)?;
            let authorization = authorization.as_ref().map(Authorization::value);
            Door::http(url, part.whose, authorization).map_err(refused)
        }
        Protocol::Ssh => {
            let answer = git.lfs_authenticate(part.remote, time_max.min(AUTHENTICATE_MAX)).await;
            Door::ssh(url, &answer.map_err(git_error)?).map_err(refused)
        }
        Protocol::File | Protocol::Git => Err(refused("they come by https or ssh only")),
    }
}
