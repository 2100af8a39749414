//! The folder that an archive is extracted into. Knows paths and limits, not the archive's format, so that
//! readers of other formats can feed it.
//!
//! Why nothing leaves the tree: everything is made in a fresh folder that only its owner may enter, under
//! paths that [`check_path`] allows. Files are created anew, never opened. Symbolic links are made after
//! everything else and no name is below a link's, so no path that is written through ever holds one.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
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
const STAGE_ATTEMPTS_MAX: u32 = 1000;

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
        Ok(Self {
            limits,
            destination,
            stage: Stage::beside(destination)?,
            names: NameSet::default(),
            links: Vec::new(),
            link_bytes: 0,
            summary: Summary::default(),
        })
    }

    /// Creates a file and gives its way in.
    pub(crate) fn file(
        &mut self,
        name: &'a [u8],
        is_executable: bool,
    ) -> Result<SinkFile<'a, '_>, ExtractError> {
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
            make_folder(&path, 0o755)?;
            self.summary.directories += 1;
        }
        Ok(())
    }
}

/// A file being written, within the limits.
#[derive(Debug)]
pub(crate) struct SinkFile<'a, 's> {
    name: &'a [u8],
    path: PathBuf,
    file: File,
    bytes: u64,
    limits: &'a Limits,
    total: &'s mut u64,
}

impl SinkFile<'_, '_> {
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
    fn beside(destination: &Path) -> Result<Self, ExtractError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let parent = match destination.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Err(ExtractError::Destination(destination.to_owned())),
        };
        let mut attempts = 0;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let folder = parent.join(format!(".extracting-{}-{number}", std::process::id()));
            attempts += 1;
            match make_folder(&folder, 0o700) {
                // Left by a killed process that had the same number.
                Err(ExtractError::Write { source, .. })
                    if source.kind() == io::ErrorKind::AlreadyExists && attempts < STAGE_ATTEMPTS_MAX => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    let stage = Self { tree: folder.join("tree"), folder };
                    make_folder(&stage.tree, 0o755)?;
                    return Ok(stage);
                }
            }
        }
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

fn make_folder(path: &Path, mode: u32) -> Result<(), ExtractError> {
    DirBuilder::new().mode(mode).create(path).map_err(ExtractError::write(path))
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
