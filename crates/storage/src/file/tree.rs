//! The public folder: a plain tree in which every file is a key.
//!
//! A key cannot be a file and a folder at once, so `a` and `a/b` exclude one another; the second is
//! refused. Emptied folders go with the last key in them, so that a key of their name may come.
//! Names are made and removed under one lock for the whole tree ([`FileStorage::lock_tree`]);
//! a file that is there is replaced under its key's lock alone.

use std::io;

use gristmill_model::ObjectKey;
use rustix::fd::{AsFd, OwnedFd};

use super::disk::{self, FileType};
use super::{FileStorage, RESERVED_PREFIX};
use crate::error::{ProjectError, StorageError};

/// How much of a part that is too long an error repeats.
const SHOWN_CHARS_MAX: usize = 40;

fn failed(key: &ObjectKey, source: io::Error) -> ProjectError {
    StorageError::from_io(format!("looking for `{key}` in the public folder"), source).into()
}

/// The key up to its part number `index`, that part included.
fn prefix(key: &ObjectKey, index: usize) -> String {
    key.as_str().split('/').take(index + 1).collect::<Vec<_>>().join("/")
}

fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        _ => "a special file",
    }
}

impl FileStorage {
    /// Refuses keys that this file system cannot hold.
    pub(super) fn check_name(&self, key: &ObjectKey) -> Result<(), ProjectError> {
        let bytes_max = self.capabilities.name_bytes_max;
        let refused = |part: &str, why| ProjectError::NameRefused {
            key: key.clone(),
            part: part.chars().take(SHOWN_CHARS_MAX).collect(),
            why,
        };
        for (index, part) in key.as_str().split('/').enumerate() {
            if part.len() > bytes_max {
                let shown = part.chars().take(SHOWN_CHARS_MAX).collect::<String>() + "…";
                return Err(ProjectError::NameTooLong {
                    key: key.clone(),
                    part: shown,
                    bytes: part.len(),
                    bytes_max,
                });
            }
            if index == 0 && part.to_ascii_lowercase().starts_with(RESERVED_PREFIX) {
                return Err(refused(part, "the storage keeps such names for itself"));
            }
            if self.capabilities.case_folding && part.ends_with(['.', ' ']) {
                return Err(refused(part, "this file system drops a dot or a space at the end of a name"));
            }
        }
        Ok(())
    }

    /// What readers find under `key`: a file, or nothing. Everything that stands in the key's way
    /// is an error; folders with nothing in them do not.
    pub(super) fn find(&self, key: &ObjectKey) -> Result<Option<disk::Stat>, ProjectError> {
        let io = |error| failed(key, error);
        let last = key.as_str().split('/').count() - 1;
        let mut dir = disk::open_dir(&self.public, ".").map_err(io)?;
        for (index, part) in key.as_str().split('/').enumerate() {
            if self.capabilities.case_folding {
                refuse_same_name(&dir, key, index, part)?;
            }
            let Some(stat) = disk::stat(&dir, part).map_err(io)? else { return Ok(None) };
            let blocked = || ProjectError::Blocked {
                key: key.clone(),
                path: prefix(key, index),
                what: describe(disk::kind(&stat)),
            };
            match (disk::kind(&stat), index == last) {
                (FileType::RegularFile, true) => return Ok(Some(stat)),
                (FileType::RegularFile, false) => {
                    return Err(ProjectError::FileAndFolder {
                        key: key.clone(),
                        existing: prefix(key, index),
                    });
                }
                (FileType::Directory, _) => dir = disk::open_dir(&dir, part).map_err(io)?,
                _ => return Err(blocked()),
            }
        }
        match first_file(&dir, key.as_str()).map_err(io)? {
            Some(existing) => Err(ProjectError::FileAndFolder { key: key.clone(), existing }),
            None => Ok(None),
        }
    }

    /// Opens the folder that holds `key`'s file.
    pub(super) fn open_parent(&self, key: &ObjectKey) -> io::Result<OwnedFd> {
        self.open_folder(key, key.as_str().split('/').count() - 1)
    }

    /// Opens the folder that the first `depth` parts of `key` name.
    fn open_folder(&self, key: &ObjectKey, depth: usize) -> io::Result<OwnedFd> {
        let mut dir = disk::open_dir(&self.public, ".")?;
        for part in key.as_str().split('/').take(depth) {
            dir = disk::open_dir(&dir, part)?;
        }
        Ok(dir)
    }

    /// Opens the folder that shall hold `key`'s file, making what is missing, all of it durable.
    /// Needs the lock on the tree, and [`FileStorage::find`] to have found nothing in the way.
    pub(super) fn make_parent(&self, key: &ObjectKey) -> io::Result<OwnedFd> {
        let mut dir = disk::open_dir(&self.public, ".")?;
        let (folders, name) = key.as_str().rsplit_once('/').unwrap_or(("", key.as_str()));
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            if disk::stat(&dir, part)?.is_none() {
                self.make_public_dir(&dir, part)?;
            }
            // Also where it was there: whoever made it may have died before this.
            disk::sync_dir(&dir)?;
            dir = disk::open_dir(&dir, part)?;
        }
        if disk::stat(&dir, name)?.is_some_and(|stat| disk::kind(&stat) == FileType::Directory) {
            remove_empty_tree(&dir, name)?;
        }
        Ok(dir)
    }

    /// Made aside and moved into place, so that readers never meet a folder that the umask closed.
    fn make_public_dir(&self, at: &OwnedFd, name: &str) -> io::Result<()> {
        let session = self.public_session();
        let temporary = session.new_name();
        disk::make_dir(session.dir(), &temporary, disk::MODE_PUBLIC_DIR)?;
        disk::rename(session.dir(), &temporary, at, name).inspect_err(|_| {
            // Where this fails too, the next open removes it.
            let _ = disk::remove_empty_dir(session.dir(), &temporary);
        })
    }

    /// Removes the folders above `key` that hold nothing, from the deepest on. Needs the lock on
    /// the tree.
    pub(super) fn prune_parents(&self, key: &ObjectKey) -> io::Result<()> {
        let parts: Vec<&str> = key.as_str().split('/').collect();
        for depth in (1..parts.len()).rev() {
            let above = match self.open_folder(key, depth - 1) {
                Ok(above) => above,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => continue, // another key
                Err(error) => return Err(error),
            };
            if !disk::remove_empty_dir(&above, parts[depth - 1])? {
                break;
            }
        }
        Ok(())
    }
}

/// On a file system that ignores case: refuses a part that is there in another spelling. Names that
/// the file system takes for one by rules of its own are found by asking it.
fn refuse_same_name(dir: &OwnedFd, key: &ObjectKey, index: usize, part: &str) -> Result<(), ProjectError> {
    let io = |error| failed(key, error);
    let folded = part.to_lowercase();
    let mut similar = None;
    for entry in disk::entries(dir).map_err(io)? {
        let (name, _) = entry.map_err(io)?;
        if name == part {
            return Ok(());
        }
        if name.to_lowercase() == folded {
            similar = Some(name);
        }
    }
    if similar.is_none() && disk::stat(dir, part).map_err(io)?.is_none() {
        return Ok(());
    }
    let name = similar.unwrap_or_else(|| part.to_owned());
    let above = if index == 0 { String::new() } else { prefix(key, index - 1) + "/" };
    let mut existing = above + &name;
    // A folder is no key: name one in it.
    if let Ok(folder) = disk::open_dir(dir, &name) {
        existing = first_file(&folder, &existing).map_err(io)?.unwrap_or(existing);
    }
    Err(ProjectError::SameName { key: key.clone(), existing })
}

/// The first thing below `dir` that is no folder, as a path beginning with `path`.
fn first_file(dir: &OwnedFd, path: &str) -> io::Result<Option<String>> {
    for entry in disk::entries_with_kind(dir)? {
        let (name, kind) = entry?;
        let path = format!("{path}/{name}");
        if kind != FileType::Directory {
            return Ok(Some(path));
        }
        if let Some(file) = first_file(&disk::open_dir(dir, &name)?, &path)? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Removes a folder that holds nothing but such folders.
fn remove_empty_tree(at: impl AsFd, name: &str) -> io::Result<()> {
    let dir = disk::open_dir(at.as_fd(), name)?;
    let names: Vec<_> = disk::entries(&dir)?.collect::<io::Result<_>>()?;
    for (inner, _) in names {
        remove_empty_tree(&dir, &inner)?;
    }
    if disk::remove_empty_dir(at, name)? {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::DirectoryNotEmpty, "somebody else put a file there"))
}
