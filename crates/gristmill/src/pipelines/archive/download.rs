//! The source of a project with `fetch = "download"`: the forge's own archive of a commit, put into the mirror.
//!
//! A forge's archive need not be the commit's tree: `export-ignore` leaves files out, `export-subst` and line ends change
//! them, submodules are empty folders. So the tree that the content makes is reckoned anew, by git, and compared with
//! the one that the forge tells. Another one is refused, or, where the project allows it, archived for what it is:
//! under its own tree's id, and marked.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Seek as _, Write as _};

use gristmill_archive::Limits;
use gristmill_forge::api::{Packed, Tree};
use gristmill_git::{FetchLimits, GitError, ImportStream, Mirror};
use gristmill_model::{CommitId, Download, PublicReason, Timestamp, TreeId};
use serde::{Deserialize, Serialize};

use super::assemble::git_error;
use super::fetch::{self, Brought, object_error};
use super::unpack::{self, Unpacked};
use crate::forges::content::{self, DownloadLimits};
use crate::worker::step::{Step, StepError, Subject};

/// What is recorded where nothing tells the commit's own tree.
const UNKNOWN: &str = "unknown";

/// What the message of the commit that stands in says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// In whose place it stands.
    commit: CommitId,
    /// The commit's tree, as the forge tells it.
    tree: Option<TreeId>,
    /// What in the content speaks for a filter.
    suspects: BTreeSet<String>,
}

/// Brings the run's commit into the project's mirror; asks nobody where it is there. A mirror that turns out damaged is
/// made anew for the next attempt.
pub(super) async fn bring(step: &Step, subject: &Subject, download: Download) -> Result<Brought, StepError> {
    let mirror = fetch::mirror(&step.app, subject.run.project).await?;
    let brought = bring_into(&mirror, step, subject, download).await;
    fetch::mend(&mirror, brought).await
}

async fn bring_into(
    mirror: &Mirror,
    step: &Step,
    subject: &Subject,
    download: Download,
) -> Result<Brought, StepError> {
    let commit = subject.run.commit;
    if let Some(brought) = here(mirror, commit, download)? {
        return Ok(brought);
    }
    let limits = fetch::limits(step);
    let import = match mirror.import(limits).await {
        Ok(import) => import,
        Err(GitError::Locked { .. }) => return Err(fetch::in_use()),
        Err(error) => return Err(git_error(error)),
    };
    // Another job may have brought it while this one waited.
    if let Some(brought) = here(mirror, commit, download)? {
        return Ok(brought);
    }
    let told = content::tree(&step.app, &subject.spec, commit).await;
    let told = told.map_err(|error| error.into_step_error(&step.app))?;
    let (packed, stream) = (import.file().map_err(git_error)?, import.stream().map_err(git_error)?);
    let (this, spec) = (step.clone(), subject.spec.clone());
    let work = move || {
        let bounds = DownloadLimits { bytes_max: download.bytes_max, time_max: limits.time_max };
        let (packed, (bytes, how)) = load(&this, packed, |file| {
            content::download(&this.app, &spec, commit, bounds, file, &this.stop_flag())
                .map_err(|error| error.into_step_error(&this.app))
        })?;
        let (unpacked, stream) = read(&this, (packed, how), stream, commit, limits)?;
        Ok::<_, StepError>((unpacked, stream, bytes))
    };
    let (unpacked, stream, bytes) = tokio::task::spawn_blocking(work).await.map_err(StepError::retry)??;
    let Unpacked { committed_s, files, suspects, root_modes } = unpacked;
    let tree = match told.tree {
        Tree::Id(tree) => Some(tree),
        Tree::Root(root) => Some(root.id(|name| root_modes.get(name.as_bytes()).copied())),
        Tree::NotTold => None,
    };
    step.log.line(&format!("the forge's archive of {commit}: {bytes} bytes, {files} files"));
    let note = serde_json::to_string(&Note { commit, tree, suspects }).expect("plain data");
    let packed_s = i64::try_from(committed_s.unwrap_or(0)).unwrap_or(0);
    let committed = told.committed.unwrap_or(Timestamp(packed_s.saturating_mul(1000)));
    let stand_in = import.finish(stream, commit, committed, &note).await.map_err(git_error)?;
    judged(mirror, stand_in, commit, download)?
}

/// Has the file written, and goes back to its beginning.
fn load<T>(
    step: &Step,
    mut file: File,
    write: impl FnOnce(&mut File) -> Result<T, StepError>,
) -> Result<(File, T), StepError> {
    let written = write(&mut file)?;
    file.flush().and_then(|()| file.rewind()).map_err(StepError::retry)?;
    if step.is_stopped() { Err(unpack::stopped()) } else { Ok((file, written)) }
}

fn read(
    step: &Step,
    (file, packed): (File, Packed),
    mut stream: ImportStream,
    commit: CommitId,
    limits: FetchLimits,
) -> Result<(Unpacked, ImportStream), StepError> {
    let limits = Limits {
        bytes_total_max: limits.mirror_bytes_max,
        file_bytes_max: step.app.live().config.worker.archive_bytes_max,
        // The bytes are bounded as they are.
        ratio_max: u64::MAX,
        path_bytes_max: PATH_BYTES_MAX,
        ..Limits::default()
    };
    let unpacked = unpack::unpack(file, packed, commit, &limits, &mut stream, &|| step.is_stopped())?;
    Ok((unpacked, stream))
}

/// Linux takes no longer paths; git would.
const PATH_BYTES_MAX: usize = 4096;

/// The commit, where it is in the mirror and may be used. One that may not is brought again: what the forge gives
/// may have changed since.
fn here(mirror: &Mirror, commit: CommitId, download: Download) -> Result<Option<Brought>, StepError> {
    let Some(stand_in) = mirror.imported(commit).map_err(git_error)? else { return Ok(None) };
    match judged(mirror, stand_in, commit, download) {
        Ok(Ok(brought)) => Ok(Some(brought)),
        Ok(Err(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What was brought, or why it is refused. The outer error is the mirror's.
fn judged(
    mirror: &Mirror,
    stand_in: CommitId,
    commit: CommitId,
    download: Download,
) -> Result<Result<Brought, StepError>, StepError> {
    let objects = mirror.objects().map_err(git_error)?;
    let mut text = Vec::new();
    objects.commit_text(stand_in, &mut text).map_err(|error| object_error(&error))?;
    let tree = objects.commit(stand_in).map_err(|error| object_error(&error))?.tree;
    let Some(note) = Note::read(&text).filter(|note| note.commit == commit) else {
        return Ok(Err(StepError::retry("what the mirror has of the commit is of another version")));
    };
    Ok(note.judge(tree, download.allow_filtered).map(|filtered| Brought {
        mirror: mirror.clone(),
        commit,
        at: stand_in,
        tree: Some(tree),
        how: match &filtered {
            None => "downloaded, its tree compared".to_owned(),
            Some(told) if told == UNKNOWN => "downloaded, not compared: its forge tells no tree".to_owned(),
            Some(told) => format!("downloaded and filtered: the commit's own tree is {told}"),
        },
        filtered,
    }))
}

impl Note {
    /// Out of a commit as git stores it.
    fn read(text: &[u8]) -> Option<Note> {
        let at = text.windows(2).position(|two| two == b"\n\n")?;
        serde_json::from_slice(&text[at + 2..]).ok()
    }

    /// What the archive is marked with, where it is not known to hold the commit's tree.
    fn judge(&self, found: TreeId, allow_filtered: bool) -> Result<Option<String>, StepError> {
        let what = match self.tree {
            Some(tree) if tree == found => return Ok(None),
            Some(tree) if allow_filtered => return Ok(Some(tree.to_string())),
            None if allow_filtered => return Ok(Some(UNKNOWN.to_owned())),
            Some(tree) => format!("the forge's archive holds the tree {found}, and the commit's is {tree}"),
            None => "the forge does not tell the commit's tree, so its archive cannot be compared".to_owned(),
        };
        let usual = "`export-ignore` or `export-subst` in .gitattributes, line ends, git-lfs, or submodules";
        let suspects: Vec<&str> = self.suspects.iter().map(String::as_str).collect();
        let why = if suspects.is_empty() { usual.to_owned() } else { suspects.join(", ") };
        Err(StepError::fail(format!(
            "{what}; what filters it is probably {why}. Fetch it by git, or set `allow_filtered = true` to take what the forge gives"
        ))
        .told(PublicReason::Filtered))
    }
}

/// The commits under which the mirror has these, each beside the one that is meant.
pub(super) fn stand_ins(
    mirror: &Mirror,
    commits: &BTreeSet<CommitId>,
) -> Result<Vec<(CommitId, CommitId)>, StepError> {
    let find =
        |commit: &CommitId| Ok((*commit, mirror.imported(*commit).map_err(git_error)?.unwrap_or(*commit)));
    commits.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use gristmill_model::ObjectId;

    use super::*;

    fn tree(byte: u8) -> TreeId {
        TreeId(ObjectId::Sha1([byte; 20]))
    }

    #[test]
    fn another_tree_than_the_one_that_is_told_is_refused_or_marked() {
        let told = tree(1).to_string();
        for (tells, found, allow, expected) in [
            (Some(tree(1)), tree(1), false, Ok(None)),
            (Some(tree(1)), tree(1), true, Ok(None)),
            (Some(tree(1)), tree(2), true, Ok(Some(told.clone()))),
            (None, tree(2), true, Ok(Some("unknown".to_owned()))),
            (Some(tree(1)), tree(2), false, Err("and the commit's is 0101")),
            (None, tree(2), false, Err("does not tell the commit's tree")),
        ] {
            let commit = CommitId(ObjectId::Sha1([9; 20]));
            for suspects in [BTreeSet::new(), BTreeSet::from(["a suspect".to_owned()])] {
                let is_named = !suspects.is_empty();
                let note = Note { commit, tree: tells, suspects };
                match (note.judge(found, allow), &expected) {
                    (Ok(marked), Ok(expected)) => assert_eq!(marked, *expected),
                    (Err(StepError::Fail { reason, public }), Err(expected)) => {
                        assert_eq!(public, Some(PublicReason::Filtered));
                        assert!(reason.contains(expected), "{reason}");
                        assert_eq!(reason.contains("probably a suspect."), is_named, "{reason}");
                        assert_eq!(reason.contains("git-lfs, or submodules."), !is_named, "{reason}");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_note_is_read_out_of_the_commit_that_holds_it() {
        let commit = CommitId(ObjectId::Sha1([9; 20]));
        let note = Note { commit, tree: Some(tree(1)), suspects: BTreeSet::from(["x".to_owned()]) };
        let text = format!("tree 00\ncommitter G <> 1 +0000\n\n{}", serde_json::to_string(&note).unwrap());
        assert_eq!(Note::read(text.as_bytes()), Some(note));
        assert_eq!(Note::read(b"tree 00\n\nanother message\n"), None);
        assert_eq!(Note::read(b"tree 00"), None);
    }
}
