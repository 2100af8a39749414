//! A forge's archive, read member by member: nothing of it becomes a file here but what git makes of it.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, Write};

use gristmill_archive::{
    ArchiveEntry, ExtractError, Kind, Limits, Packing, TarReader, ZipReader, check_member_name,
};
use gristmill_forge::api::Packed;
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

/// Where in a zip file everything is a plain file.
const NO_MODES: &str = "executable files and links, which older servers pack as plain files";

/// What was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// The time of the first member, in seconds since 1970: `git archive` writes the committer's ("the commit time as
    /// recorded in the referenced commit object", git-archive(1)), and it is what GitHub ("Downloading source code
    /// archives"), GitLab, Gitea and Gogs (their sources) make them with. Nothing in a zip file, whose times have no zone.
    pub(super) committed_s: Option<u64>,
    /// Files and links.
    pub(super) files: u64,
    /// What speaks for a filter, in words.
    pub(super) suspects: BTreeSet<String>,
    /// The modes of the files and links in the root, as git writes them.
    pub(super) root_modes: HashMap<Vec<u8>, &'static str>,
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

/// Puts the members of an archive into the stream, without the one folder that all lie in where it is a tar file.
pub(super) fn unpack(
    file: File,
    packed: Packed,
    wanted: CommitId,
    limits: &Limits,
    stream: &mut ImportStream,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Unpacked, StepError> {
    let names = Names { is_bare: packed == Packed::Zip, ..Names::default() };
    let mut taker = Taker { names, limits, stream, unpacked: Unpacked::default() };
    let read = match packed {
        Packed::Tar => of_tar(file, wanted, &mut taker, is_stopped),
        Packed::Zip => of_zip(file, &mut taker, is_stopped),
    };
    read.map(|()| taker.unpacked).map_err(|error| {
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

fn of_tar(
    packed: impl Read,
    wanted: CommitId,
    taker: &mut Taker<'_>,
    is_stopped: &dyn Fn() -> bool,
) -> Result<(), UnpackError> {
    let mut tar = TarReader::new(packed, Packing::Gzip, taker.limits)?;
    while let Some(entry) = tar.next_entry()? {
        if is_stopped() {
            return Err(UnpackError::Stopped);
        }
        if taker.unpacked.committed_s.is_none() {
            of_commit(tar.comment(), wanted)?;
            taker.unpacked.committed_s = Some(entry.mtime());
        }
        let member = Member {
            name: entry.name(),
            kind: entry.kind(),
            target: entry.target().to_vec(),
            size: entry.size(),
        };
        taker.take(&member, |out| tar.copy(out))?;
    }
    if taker.unpacked.committed_s.is_none() {
        return Err(UnpackError::Fault("there is nothing in it, not even its folder".to_owned()));
    }
    Ok(())
}

/// What it does not say, its commit and the moment, is known from elsewhere.
fn of_zip(
    packed: impl Read + Seek,
    taker: &mut Taker<'_>,
    is_stopped: &dyn Fn() -> bool,
) -> Result<(), UnpackError> {
    let mut zip = ZipReader::open(packed, taker.limits)?;
    for number in 0..zip.entries().len() {
        if is_stopped() {
            return Err(UnpackError::Stopped);
        }
        let entry = zip.entries()[number].clone();
        let mut target = Vec::new();
        if entry.kind() == Kind::Symlink && entry.info().size <= taker.limits.path_bytes_max as u64 {
            zip.copy(number, &mut target)?;
        }
        let name = entry.name().strip_suffix(b"/").unwrap_or(entry.name());
        // A link's size stands for its target, so that one that is too long is refused as such.
        let member = Member { name, kind: entry.kind(), target, size: entry.info().size };
        taker.take(&member, |out| zip.copy(number, out))?;
    }
    let has_modes = |entry: &ArchiveEntry| matches!(entry.kind(), Kind::Symlink | Kind::Executable);
    if !zip.entries().iter().any(has_modes) {
        taker.unpacked.suspects.insert(NO_MODES.to_owned());
    }
    Ok(())
}

/// A member, whatever it lies in.
struct Member<'a> {
    name: &'a [u8],
    kind: Kind,
    /// Of a link.
    target: Vec<u8>,
    size: u64,
}

/// Puts members into the stream, one by one.
struct Taker<'a> {
    names: Names,
    limits: &'a Limits,
    stream: &'a mut ImportStream,
    unpacked: Unpacked,
}

impl Taker<'_> {
    /// `copy` writes the member's content.
    fn take(
        &mut self,
        member: &Member<'_>,
        mut copy: impl FnMut(&mut dyn Write) -> Result<(), ExtractError>,
    ) -> Result<(), UnpackError> {
        let Member { name, kind, target, size } = member;
        let bytes_max = self.limits.path_bytes_max;
        let is_long_link = *kind == Kind::Symlink && *size > bytes_max as u64;
        if name.len() > bytes_max || target.len() > bytes_max || is_long_link {
            let fault = format!("{}: its name or target has more than {bytes_max} bytes", shown(name));
            return Err(UnpackError::Fault(fault));
        }
        let is_folder = *kind == Kind::Directory;
        let Some(path) = self.names.take(name, is_folder).map_err(UnpackError::Fault)? else {
            return Ok(());
        };
        let mode = match kind {
            Kind::Directory => return Ok(()),
            Kind::Symlink => {
                self.stream.symlink(&path, target)?;
                "120000"
            }
            Kind::File | Kind::Executable => {
                self.file(&path, member, &mut copy)?;
                if *kind == Kind::Executable { "100755" } else { "100644" }
            }
        };
        self.unpacked.files += 1;
        if !path.contains(&b'/') {
            self.unpacked.root_modes.insert(path, mode);
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: &[u8],
        member: &Member<'_>,
        copy: &mut impl FnMut(&mut dyn Write) -> Result<(), ExtractError>,
    ) -> Result<(), UnpackError> {
        let file_name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let suspected = &mut self.unpacked.suspects;
        if path == b".gitmodules" {
            suspected.insert("submodules".to_owned());
        }
        // Who packs zip files does not follow it.
        let is_read =
            !self.names.is_bare && file_name == b".gitattributes" && member.size <= ATTRIBUTES_BYTES_MAX;
        self.stream.file(path, member.kind == Kind::Executable, member.size, |out| {
            if !is_read {
                return Ok::<(), UnpackError>(copy(out)?);
            }
            let mut text = Vec::new();
            copy(&mut text)?;
            suspected.extend(suspects(&text));
            Ok(out.write_all(&text)?)
        })
    }
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
    /// Whether there is no folder that all lie in.
    is_bare: bool,
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
        let mut path = name;
        if !self.is_bare {
            let end = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
            let (top, below) = name.split_at(end);
            if self.top.get_or_insert_with(|| top.to_vec()) != top {
                return fault("it does not lie in the one folder that the others lie in");
            }
            let Some((_, below)) = below.split_first() else {
                return if is_folder { Ok(None) } else { fault("a file stands where the one folder should") };
            };
            path = below;
        }
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
    fn where_there_is_no_folder_all_lies_in_the_root() {
        let mut names = Names { is_bare: true, ..Names::default() };
        for (name, is_folder, expected) in [
            ("a", false, Ok(Some("a"))),
            ("d", true, Ok(Some("d"))),
            ("d/b", false, Ok(Some("d/b"))),
            ("e/c", false, Ok(Some("e/c"))),
            ("a", false, Err("comes twice")),
            ("a/b", false, Err("a file elsewhere")),
            ("../a", false, Err("`.` or `..`")),
            (".git/config", false, Err("git's own folder")),
        ] {
            match (names.take(name.as_bytes(), is_folder), expected) {
                (Ok(found), Ok(expected)) => {
                    assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{name}");
                }
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
                (found, _) => panic!("{name}: {found:?}"),
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
