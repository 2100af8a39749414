//! A forge's archive, read member by member: nothing of it becomes a file here but what git makes of it.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};

use gristmill_archive::{ExtractError, Kind, Limits, Packing, TarReader, check_member_name};
use gristmill_git::ImportStream;
use gristmill_model::{CommitId, PublicReason};

use super::source::shown;
use crate::worker::step::StepError;

/// How many bytes of a `.gitattributes` are looked at for what filters archives.
const ATTRIBUTES_BYTES_MAX: u64 = 1 << 20;
/// What in a `.gitattributes` makes a forge's archive another than the tree.
const SUSPECTS: [(&str, &str); 6] = [
    ("export-ignore", "`export-ignore` in .gitattributes"),
    ("export-subst", "`export-subst` in .gitattributes"),
    ("filter=lfs", "large files of git-lfs"),
    ("eol", "line ends by .gitattributes"),
    ("ident", "`ident` in .gitattributes"),
    ("working-tree-encoding", "`working-tree-encoding` in .gitattributes"),
];

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// The time of the first member, in seconds since 1970: `git archive` writes the committer's.
    pub(super) committed_s: u64,
    /// Files and links.
    pub(super) files: u64,
    /// What speaks for a filter, in words.
    pub(super) suspects: BTreeSet<String>,
}

/// Why it was not read to its end.
#[derive(Debug, thiserror::Error)]
enum UnpackError {
    #[error("a file cannot be written: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Extract(#[from] ExtractError),
    #[error("{0}")]
    Fault(String),
    #[error("the program stops, or the run was cancelled")]
    Stopped,
}

/// The end of a step that is to stop.
pub(super) fn stopped() -> StepError {
    StepError::retry(UnpackError::Stopped)
}

/// Puts the members of a tar file in gzip into the stream, without the one folder that all lie in.
pub(super) fn unpack(
    packed: impl Read,
    wanted: CommitId,
    limits: &Limits,
    stream: &mut ImportStream,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Unpacked, StepError> {
    members(packed, wanted, limits, stream, is_stopped).map_err(|error| {
        let may_pass = matches!(
            error,
            UnpackError::Io(_)
                | UnpackError::Stopped
                | UnpackError::Extract(ExtractError::Read(_) | ExtractError::Write { .. })
        );
        let reason = format!("the forge's archive of {wanted} cannot be taken: {error}");
        let why = (!may_pass).then_some(PublicReason::ForgeArchiveRefused);
        StepError::when(may_pass, reason).told(why)
    })
}

fn members(
    packed: impl Read,
    wanted: CommitId,
    limits: &Limits,
    stream: &mut ImportStream,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Unpacked, UnpackError> {
    let mut tar = TarReader::new(packed, Packing::Gzip, limits)?;
    let mut names = Names::default();
    let mut unpacked = Unpacked::default();
    let mut is_first = true;
    while let Some(entry) = tar.next_entry()? {
        if is_stopped() {
            return Err(UnpackError::Stopped);
        }
        if std::mem::take(&mut is_first) {
            of_commit(tar.comment(), wanted)?;
            unpacked.committed_s = entry.mtime();
        }
        let kind = entry.kind();
        if entry.name().len() > limits.path_bytes_max || entry.target().len() > limits.path_bytes_max {
            let name = shown(entry.name());
            let fault = format!("{name}: its name or target has more than {} bytes", limits.path_bytes_max);
            return Err(UnpackError::Fault(fault));
        }
        let Some(path) = names.take(entry.name(), kind == Kind::Directory).map_err(UnpackError::Fault)?
        else {
            continue;
        };
        match kind {
            Kind::Directory => continue,
            Kind::Symlink => stream.symlink(&path, entry.target())?,
            Kind::File | Kind::Executable => {
                let file_name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                if path == b".gitmodules" {
                    unpacked.suspects.insert("submodules".to_owned());
                }
                let is_read = file_name == b".gitattributes" && entry.size() <= ATTRIBUTES_BYTES_MAX;
                stream.file(&path, kind == Kind::Executable, entry.size(), |out| {
                    if !is_read {
                        return Ok::<(), UnpackError>(tar.copy(out)?);
                    }
                    let mut text = Vec::new();
                    tar.copy(&mut text)?;
                    unpacked.suspects.extend(suspects(&text));
                    Ok(out.write_all(&text)?)
                })?;
            }
        }
        unpacked.files += 1;
    }
    if is_first {
        return Err(UnpackError::Fault("there is nothing in it, not even its folder".to_owned()));
    }
    Ok(unpacked)
}

/// Refuses an archive that says it is of another commit. Not all say.
fn of_commit(comment: Option<&[u8]>, wanted: CommitId) -> Result<(), UnpackError> {
    let told = comment.and_then(|comment| str::from_utf8(comment).ok()?.parse::<CommitId>().ok());
    match told {
        Some(told) if told != wanted => {
            Err(UnpackError::Fault(format!("it says that it is of another commit, {told}")))
        }
        _ => Ok(()),
    }
}

fn suspects(attributes: &[u8]) -> impl Iterator<Item = String> {
    let text = String::from_utf8_lossy(attributes).into_owned();
    SUSPECTS.into_iter().filter(move |(word, _)| text.contains(word)).map(|(_, told)| told.to_owned())
}

/// The names so far, each of which may come once.
#[derive(Debug, Default)]
struct Names {
    /// The folder that all lie in.
    top: Option<Vec<u8>>,
    /// Whether it is a folder, by path below that.
    seen: HashMap<Vec<u8>, bool>,
}

impl Names {
    /// The path below the one top folder; `None` for that itself.
    fn take(&mut self, name: &[u8], is_folder: bool) -> Result<Option<Vec<u8>>, String> {
        let fault = |what: &str| Err(format!("{}: {what}", shown(name)));
        if let Err(error) = check_member_name(name) {
            return fault(&error.to_string());
        }
        let end = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
        let (top, path) = name.split_at(end);
        if self.top.get_or_insert_with(|| top.to_vec()) != top {
            return fault("it does not lie in the one folder that the others lie in");
        }
        let Some((_, path)) = path.split_first() else {
            return if is_folder { Ok(None) } else { fault("a file stands where the one folder should") };
        };
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let above = &path[..at];
            match self.seen.get(above) {
                Some(true) => {}
                Some(false) => return fault("it lies in what is a file elsewhere in the archive"),
                None => drop(self.seen.insert(above.to_vec(), true)),
            }
        }
        match self.seen.insert(path.to_vec(), is_folder) {
            None => Ok(Some(path.to_vec())),
            Some(true) if is_folder => Ok(Some(path.to_vec())),
            Some(_) => fault("the name comes twice"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lies_in_one_folder_and_each_name_comes_once() {
        type Step = (&'static str, bool, Result<Option<&'static str>, &'static str>);
        let cases: [&[Step]; 10] = [
            &[("t", true, Ok(None)), ("t/a", false, Ok(Some("a"))), ("t/d/b", false, Ok(Some("d/b")))],
            &[("t/d", true, Ok(Some("d"))), ("t/d/a", false, Ok(Some("d/a"))), ("t/d", true, Ok(Some("d")))],
            &[("t/a", false, Ok(Some("a"))), ("u/b", false, Err("the one folder"))],
            &[("t", false, Err("a file stands"))],
            &[("t/a", false, Ok(Some("a"))), ("t/a", false, Err("comes twice"))],
            &[("t/a", false, Ok(Some("a"))), ("t/a", true, Err("comes twice"))],
            &[("t/a", false, Ok(Some("a"))), ("t/a/b", false, Err("a file elsewhere"))],
            &[("t/a/b", false, Ok(Some("a/b"))), ("t/a", false, Err("comes twice"))],
            &[("t/../b", false, Err("`.` or `..`")), ("/t/a", false, Err("absolute"))],
            &[("t/.git/config", false, Err("git's own folder")), ("t/a//b", false, Err("empty"))],
        ];
        for case in cases {
            let mut names = Names::default();
            for (name, is_folder, expected) in case {
                let found = names.take(name.as_bytes(), *is_folder);
                match (&found, expected) {
                    (Ok(found), Ok(expected)) => {
                        assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{name}");
                    }
                    (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                    _ => panic!("{name}: {found:?}"),
                }
            }
        }
    }

    #[test]
    fn an_archive_of_another_commit_is_refused() {
        let wanted: CommitId = "1".repeat(40).parse().unwrap();
        for (comment, fits) in [
            (None, true),
            (Some("1".repeat(40)), true),
            (Some("made by a forge".to_owned()), true),
            (Some("2".repeat(40)), false),
        ] {
            let found = of_commit(comment.as_deref().map(str::as_bytes), wanted);
            assert_eq!(found.is_ok(), fits, "{comment:?}");
        }
    }

    #[test]
    fn what_filters_is_found_in_gitattributes() {
        let found: Vec<String> = suspects(b"*.bin filter=lfs -text\n/docs export-ignore\n").collect();
        assert_eq!(found, ["`export-ignore` in .gitattributes", "large files of git-lfs"]);
        assert_eq!(suspects(b"*.rs diff=rust\n").count(), 0);
    }
}
