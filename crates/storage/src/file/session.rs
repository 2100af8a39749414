//! [`Session`]: a process's own folder for unfinished files.
//!
//! Several processes may share a storage. Each open storage holds a lock on its session folder for
//! as long as it lives; whoever opens the storage removes the sessions that nobody holds. Making
//! and removing sessions happens under a lock on the parent, so a new session is never seen
//! unlocked, and a slow process's files are never taken for dead: locks go with the process,
//! whatever the clock says.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fd::OwnedFd;
use rustix::fs::FlockOperation;

use super::disk;

/// A folder below `tmp/` that this process alone writes into. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Session {
    parent: OwnedFd,
    name: String,
    dir: OwnedFd,
    next: AtomicU64,
}

impl Session {
    /// Removes the sessions of dead processes in `parent` and makes a new one.
    pub(crate) fn open(parent: OwnedFd) -> io::Result<Session> {
        let gate = disk::open_dir(&parent, ".")?;
        disk::lock(&gate, FlockOperation::LockExclusive)?;
        remove_dead(&parent)?;
        let pid = std::process::id();
        let mut number = 0_u64;
        let name = loop {
            let name = format!("{pid}-{number}");
            if disk::make_dir(&parent, &name, disk::MODE_TMP_DIR)? {
                break name;
            }
            number += 1;
        };
        let dir = disk::open_dir(&parent, &name)?;
        disk::lock(&dir, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Session { parent, name, dir, next: AtomicU64::new(0) })
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// The folder's name in its parent.
    #[cfg(test)]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A name that nothing in the folder has.
    pub(crate) fn new_name(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }

    /// A new file in the folder, gone when dropped unless moved away.
    pub(crate) fn create(&self) -> io::Result<(Temporary<'_>, File)> {
        let temporary = self.reserve();
        let file = disk::create_file(&self.dir, temporary.name())?;
        Ok((temporary, file))
    }

    /// A name in the folder; whatever is made under it is gone when dropped unless moved away.
    pub(crate) fn reserve(&self) -> Temporary<'_> {
        Temporary { session: self, name: self.new_name() }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Where this fails the next open does it.
        let _ = disk::remove_empty_dir(&self.parent, &self.name);
    }
}

/// Removes what sessions without a living holder left in `parent`.
fn remove_dead(parent: &OwnedFd) -> io::Result<()> {
    let names: Vec<_> = disk::entries_with_kind(parent)?.collect::<io::Result<_>>()?;
    for (name, kind) in names {
        if kind != disk::FileType::Directory {
            continue; // not ours
        }
        let Ok(dir) = disk::open_dir(parent, &name) else { continue };
        if disk::lock(&dir, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue; // alive
        }
        let left: Vec<_> = disk::entries_with_kind(&dir)?.collect::<io::Result<_>>()?;
        for (file, kind) in left {
            if kind == disk::FileType::Directory {
                disk::remove_empty_dir(&dir, &file)?;
            } else {
                disk::remove_file(&dir, &file)?;
            }
        }
        disk::remove_empty_dir(parent, &name)?;
    }
    Ok(())
}

/// A name in a session's folder.
#[derive(Debug)]
pub(crate) struct Temporary<'a> {
    session: &'a Session,
    name: String,
}

impl Temporary<'_> {
    /// The name, to be used with [`Session::dir`].
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        // Usually moved away by now. Where removing fails, the next open does it.
        let _ = disk::remove_file(&self.session.dir, &self.name);
    }
}
