//! The folder that an archive is extracted into. Knows paths and limits, not the archive's format, so that
//! readers of other formats can feed it.
//!
//! Why nothing leaves the tree: everything is made in a fresh folder that only its owner may enter, under
//! paths that [`check_path`] allows. Files are created anew, never opened. Symbolic links are made after
//! everything else and no name is below a link's, so no path that is written through ever holds one.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::iter;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fault::{EntryFault, ExtractError, PathFault};
use crate::limits::Limits;
use crate::names::{Clash, NameSet};
use crate::paths::{check_link, check_path, folded};

/// Targets of symbolic links are kept in memory until the end.
const LINK_BYTES_TOTAL_MAX: u64 = 64 << 20;

/// Names tried for the temporary folder before giving up.
const STAGE_ATTEMPTS_MAX: usize = 1000;

/// Different in every extraction of this process.
static NEXT_STAGE: AtomicU64 = AtomicU64::new(0);

/// What was extracted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Files.
    pub files: u64,
    /// Folders, those that only follow from a path included.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// A symbolic link to be made at the end.
#[derive(Debug)]
struct Link {
    name: Box<[u8]>,
    target: Box<[u8]>,
}

/// A tree being extracted. Dropped before [`Sink::finish`], it leaves nothing.
#[derive(Debug)]
pub(crate) struct Sink<'a> {
    limits: &'a Limits,
    destination: &'a Path,
    stage: Stage,
    names: NameSet,
    links: Vec<Link>,
    link_bytes: u64,
    summary: Summary,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(destination: &'a Path, limits: &'a Limits) -> Result<Self, ExtractError> {
        check_destination(destination)?;
        let numbers = iter::repeat_with(|| NEXT_STAGE.fetch_add(1, Ordering::Relaxed));
        Ok(Self {
            limits,
            destination,
            stage: Stage::beside(destination, numbers.take(STAGE_ATTEMPTS_MAX))?,
            names: NameSet::default(),
            links: Vec::new(),
            link_bytes: 0,
            summary: Summary::default(),
        })
    }

    /// Creates a file and gives its way in.
    pub(crate) fn file<'s>(
        &'s mut self,
        name: &'s [u8],
        is_executable: bool,
    ) -> Result<SinkFile<'s>, ExtractError> {
        self.take_name(name, false)?;
        let path = self.stage.path_of(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(if is_executable { 0o755 } else { 0o644 })
            .open(&path)
            .map_err(ExtractError::write(&path))?;
        self.summary.files += 1;
        Ok(SinkFile { name, path, file, bytes: 0, limits: self.limits, total: &mut self.summary.bytes })
    }

    /// Creates a folder, if it is not there yet.
    pub(crate) fn directory(&mut self, name: &[u8]) -> Result<(), ExtractError> {
        self.take_name(name, true)
    }

    /// Remembers a symbolic link for the end.
    pub(crate) fn symlink(&mut self, name: &[u8], target: &[u8]) -> Result<(), ExtractError> {
        self.take_name(name, false)?;
        check_link(name, target, self.limits).map_err(|fault| ExtractError::member(name, fault))?;
        self.link_bytes += target.len() as u64;
        if self.link_bytes > LINK_BYTES_TOTAL_MAX {
            return Err(ExtractError::TotalTooLarge { limit: LINK_BYTES_TOTAL_MAX });
        }
        self.links.push(Link { name: name.into(), target: target.into() });
        self.summary.symlinks += 1;
        Ok(())
    }

    /// Makes the symbolic links and moves the tree to its destination, all at once.
    pub(crate) fn finish(self) -> Result<Summary, ExtractError> {
        for Link { name, target } in &self.links {
            let path = self.stage.path_of(name);
            symlink(OsStr::from_bytes(target), &path).map_err(ExtractError::write(&path))?;
        }
        fs::rename(&self.stage.tree, self.destination).map_err(|source| match source.kind() {
            io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory => ExtractError::Destination(self.destination.to_owned()),
            _ => ExtractError::write(self.destination)(source),
        })?;
        Ok(self.summary)
    }

    /// Checks a name against the rules and the others, and makes the folders that it needs.
    fn take_name(&mut self, name: &[u8], is_folder: bool) -> Result<(), ExtractError> {
        check_path(name, self.limits).map_err(|fault| ExtractError::member(name, fault))?;
        let new_folders = self.names.add_folded(name, &folded(name), is_folder).map_err(|clash| {
            let fault = match clash {
                Clash::Duplicate => PathFault::Duplicate,
                Clash::Folded => PathFault::CaseClash,
                Clash::FileAndFolder => PathFault::FileAndFolder,
            };
            ExtractError::member(name, fault)
        })?;
        if self.names.len() as u64 > self.limits.files_max {
            return Err(ExtractError::TooManyFiles { limit: self.limits.files_max });
        }
        let mut folders: Vec<&Path> = Path::new(OsStr::from_bytes(name))
            .ancestors()
            .skip(usize::from(!is_folder))
            .take(new_folders)
            .collect();
        while let Some(folder) = folders.pop() {
            let path = self.stage.tree.join(folder);
            make_folder(&path)?;
            self.summary.directories += 1;
        }
        Ok(())
    }
}

/// A file being written, within the limits.
#[derive(Debug)]
pub(crate) struct SinkFile<'s> {
    name: &'s [u8],
    path: PathBuf,
    file: File,
    bytes: u64,
    limits: &'s Limits,
    total: &'s mut u64,
}

impl SinkFile<'_> {
    /// Appends a piece of content.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Result<(), ExtractError> {
        self.bytes += piece.len() as u64;
        *self.total += piece.len() as u64;
        if self.bytes > self.limits.file_bytes_max {
            let fault = EntryFault::TooLarge { limit: self.limits.file_bytes_max };
            return Err(ExtractError::member(self.name, fault));
        }
        if *self.total > self.limits.bytes_total_max {
            return Err(ExtractError::TotalTooLarge { limit: self.limits.bytes_total_max });
        }
        self.file.write_all(piece).map_err(ExtractError::write(&self.path))
    }
}

/// A temporary folder beside the destination, on the same file system, and the tree in it.
#[derive(Debug)]
struct Stage {
    /// Only its owner may enter.
    folder: PathBuf,
    /// Gets the permissions that the process gives to new folders.
    tree: PathBuf,
}

impl Stage {
    /// Makes the folder under the first of `numbers` that is free; others may be left by a killed process.
    fn beside(destination: &Path, numbers: impl Iterator<Item = u64>) -> Result<Self, ExtractError> {
        let parent = match destination.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Err(ExtractError::Destination(destination.to_owned())),
        };
        for number in numbers {
            let folder = parent.join(format!(".extracting-{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => {
                    let stage = Self { tree: folder.join("tree"), folder };
                    make_folder(&stage.tree)?;
                    return Ok(stage);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(ExtractError::write(&folder)(error)),
            }
        }
        Err(ExtractError::write(parent)(io::ErrorKind::AlreadyExists.into()))
    }

    fn path_of(&self, name: &[u8]) -> PathBuf {
        self.tree.join(OsStr::from_bytes(name))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Never follows links. What cannot be removed stays in a folder that names itself temporary.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn make_folder(path: &Path) -> Result<(), ExtractError> {
    DirBuilder::new().mode(0o755).create(path).map_err(ExtractError::write(path))
}

/// The destination does not exist, or is an empty folder (not a link to one).
fn check_destination(destination: &Path) -> Result<(), ExtractError> {
    let is_free = match fs::symlink_metadata(destination) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => destination.file_name().is_some(),
        Err(error) => return Err(ExtractError::write(destination)(error)),
        Ok(metadata) => {
            metadata.is_dir()
                && destination.file_name().is_some()
                && fs::read_dir(destination).map_err(ExtractError::write(destination))?.next().is_none()
        }
    };
    if is_free { Ok(()) } else { Err(ExtractError::Destination(destination.to_owned())) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .expect("readable")
            .map(|entry| entry.expect("readable").file_name().into_string().expect("ASCII"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_stage_lies_beside_the_destination_and_goes_away() {
        let home = tempfile::tempdir().unwrap();
        let me = std::process::id();
        {
            let first = Stage::beside(&home.path().join("out"), 5..).unwrap();
            let second = Stage::beside(&home.path().join("out"), 5..).unwrap();
            assert_eq!(names(home.path()), [format!(".extracting-{me}-5"), format!(".extracting-{me}-6")]);
            assert_eq!(fs::metadata(&first.folder).unwrap().permissions().mode() & 0o777, 0o700);
            assert!(second.tree.is_dir());
            let error = Stage::beside(&home.path().join("out"), 5..7).unwrap_err();
            assert!(matches!(&error, ExtractError::Write { path, .. } if path == home.path()), "{error:?}");
            let third = Stage::beside(&home.path().join("out"), 5..8).unwrap();
            assert_eq!(third.folder, home.path().join(format!(".extracting-{me}-7")));
        }
        assert!(names(home.path()).is_empty());
        let missing = home.path().join("missing");
        let error = Stage::beside(&missing.join("out"), 5..).unwrap_err();
        let expected = missing.join(format!(".extracting-{me}-5"));
        assert!(matches!(&error, ExtractError::Write { path, .. } if *path == expected), "{error:?}");
        let here = Stage::beside(Path::new("out"), 900_000..).unwrap();
        assert_eq!(here.folder, Path::new(".").join(format!(".extracting-{me}-900000")));
        assert!(matches!(Stage::beside(Path::new("/"), 0..), Err(ExtractError::Destination(_))));
    }

    #[test]
    fn a_destination_taken_meanwhile_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("out");
        let limits = Limits::default();
        for is_folder in [true, false] {
            let mut sink = Sink::new(&out, &limits).unwrap();
            sink.directory(b"d").unwrap();
            if is_folder {
                fs::create_dir_all(out.join("theirs")).unwrap();
            } else {
                fs::remove_dir_all(&out).unwrap();
                fs::write(&out, b"theirs").unwrap();
            }
            let error = sink.finish().unwrap_err();
            assert!(matches!(&error, ExtractError::Destination(path) if *path == out), "{error:?}");
            assert_eq!(names(home.path()), ["out"]);
            if is_folder {
                assert_eq!(names(&out), ["theirs"]);
                fs::remove_dir(out.join("theirs")).unwrap();
            }
        }
    }

    #[test]
    fn content_is_counted_piece_by_piece() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("out");
        let limits = Limits { file_bytes_max: 5, bytes_total_max: 8, ..Limits::default() };
        let mut sink = Sink::new(&out, &limits).unwrap();
        let mut file = sink.file(b"a", false).unwrap();
        file.write(b"123").unwrap();
        file.write(b"45").unwrap();
        let error = file.write(b"6").unwrap_err();
        let limit = EntryFault::TooLarge { limit: 5 };
        assert!(matches!(error, ExtractError::Member { fault, .. } if fault == limit));
        let mut sink = Sink::new(&out, &limits).unwrap();
        sink.file(b"a", false).unwrap().write(b"12345").unwrap();
        let mut file = sink.file(b"b", true).unwrap();
        file.write(b"123").unwrap();
        assert!(matches!(file.write(b"4"), Err(ExtractError::TotalTooLarge { limit: 8 })));
    }

    #[test]
    fn targets_of_links_are_bounded_together() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("out");
        let limits = Limits::default();
        let mut sink = Sink::new(&out, &limits).unwrap();
        sink.symlink(b"a", b"1234").unwrap();
        assert_eq!(sink.link_bytes, 4);
        sink.link_bytes = (64 << 20) - 3;
        sink.symlink(b"b", b"123").unwrap();
        let error = sink.symlink(b"c", b"1").unwrap_err();
        assert!(matches!(error, ExtractError::TotalTooLarge { limit: 0x400_0000 }), "{error:?}");
    }
}
