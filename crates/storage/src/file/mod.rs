//! [`FileStorage`]: a storage in a local folder. Everything here blocks.

mod blobs;
pub(crate) mod disk;
pub(crate) mod probe;
mod project;
mod records;
pub(crate) mod session;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trace;
mod tree;
mod verify;

use std::io;
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::FlockOperation;

use crate::error::StorageError;
use probe::FolderCapabilities;
use session::Session;

/// A storage in a local folder, shared by any number of threads and processes of one machine.
#[derive(Debug)]
pub(crate) struct FileStorage {
    capabilities: FolderCapabilities,
    /// `blobs/sha256/`, with its 256 folders.
    blobs: OwnedFd,
    /// `public/`.
    public: OwnedFd,
    /// `versions/`.
    versions: OwnedFd,
    /// On the mount of the blobs and versions.
    session: Session,
    /// On the mount of the public folder, where that is another one.
    public_session: Option<Session>,
}

/// Public folders and files whose first part begins so are the storage's own.
const RESERVED_PREFIX: &str = ".gristmill-";

impl FileStorage {
    /// Opens the storage in `root`, making what is missing, and tries the file system out.
    pub(crate) fn open(root: &Path) -> Result<FileStorage, StorageError> {
        let failed =
            |source| StorageError::from_io(format!("opening the storage in `{}`", root.display()), source);
        let unusable =
            |why: &str| StorageError::Unusable { path: root.display().to_string(), why: why.to_owned() };
        let top = open_or_make_root(root).map_err(failed)?;
        let blobs = make_and_open(&top, "blobs", disk::MODE_PRIVATE_DIR).map_err(failed)?;
        let sha256 = make_and_open(&blobs, "sha256", disk::MODE_PRIVATE_DIR).map_err(failed)?;
        let versions = make_and_open(&top, "versions", disk::MODE_PRIVATE_DIR).map_err(failed)?;
        let public = make_and_open(&top, "public", disk::MODE_PUBLIC_DIR).map_err(failed)?;
        let tmp = make_and_open(&top, "tmp", disk::MODE_TMP_DIR).map_err(failed)?;
        for folder in [&blobs, &versions, &tmp] {
            if probe::on_other_mount(folder, &sha256).map_err(failed)? {
                return Err(unusable(
                    "`blobs`, `versions` and `tmp` must be on one file system; only `public` may be on another",
                ));
            }
        }
        let public_elsewhere = probe::on_other_mount(&tmp, &public).map_err(failed)?;
        let public_tmp = if public_elsewhere {
            Some(make_and_open(&public, ".gristmill-tmp", disk::MODE_TMP_DIR).map_err(failed)?)
        } else {
            None
        };
        let open_session = |parent| {
            Session::open(parent).map_err(|error| match error.raw_os_error() {
                Some(code) if code == rustix::io::Errno::BADF.raw_os_error() => {
                    unusable("its file system cannot lock folders (NFS cannot); use a local one")
                }
                _ => failed(error),
            })
        };
        let session = open_session(tmp)?;
        let public_session = public_tmp.map(open_session).transpose()?;
        for first in 0..=u8::MAX {
            disk::make_dir(&sha256, &format!("{first:02x}"), disk::MODE_PRIVATE_DIR).map_err(failed)?;
        }
        // Always, not only where something was made: whoever made it may have died before this.
        for folder in [&sha256, &blobs, &top] {
            disk::sync_dir(folder).map_err(failed)?;
        }
        let capabilities =
            probe::probe(&session, public_session.as_ref().unwrap_or(&session), &public, public_elsewhere)
                .map_err(failed)?;
        Ok(FileStorage { capabilities, blobs: sha256, public, versions, session, public_session })
    }

    /// What the file system can do.
    pub(crate) fn capabilities(&self) -> FolderCapabilities {
        self.capabilities
    }

    /// The bytes that this process may still write here.
    pub(crate) fn free_bytes(&self) -> Result<u64, StorageError> {
        let stat = rustix::fs::fstatvfs(&self.blobs)
            .map_err(|error| StorageError::from_io("asking how much room is left", error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Where files for the public folder are prepared.
    fn public_session(&self) -> &Session {
        self.public_session.as_ref().unwrap_or(&self.session)
    }

    /// Waits for the right to make and remove names in the public folder. Held until the result is
    /// dropped. Taken after a key's own lock, never before.
    fn lock_tree(&self) -> io::Result<OwnedFd> {
        let gate = disk::open_dir(&self.public, ".")?;
        disk::lock(&gate, FlockOperation::LockExclusive)?;
        Ok(gate)
    }
}

/// Opens the storage's own folder, made with its parents where it is missing.
fn open_or_make_root(root: &Path) -> io::Result<OwnedFd> {
    match disk::open_root(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    std::fs::create_dir_all(root)?;
    let top = disk::open_root(root)?;
    disk::set_mode(&top, disk::MODE_PUBLIC_DIR)?;
    // The parents too may be new; those of long standing cost nothing.
    for above in std::path::absolute(root)?.ancestors().skip(1) {
        if let Ok(above) = disk::open_root(above) {
            disk::sync_dir(above)?;
        }
    }
    Ok(top)
}

fn make_and_open(at: impl AsFd, name: &str, mode: u32) -> io::Result<OwnedFd> {
    disk::make_dir(at.as_fd(), name, mode)?;
    disk::open_dir_following(at, name)
}
