//! Large files: which are here, and a way in for those that are not.
//!
//! The program git-lfs is not used: it goes round a proxy where a server leads it to an address of this machine, so it
//! cannot be kept from private addresses by one. Whoever must be sure of that asks servers himself and puts what came here.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::error::GitError;
use crate::leftovers;
use crate::lfs::LfsPointer;
use crate::lfs_held::{LfsLimits, LfsObjects, checked, place, wanted};
use crate::mirror::Mirror;
use crate::program::Git;
use crate::protocol::Protocol;
use crate::remote::Remote;

/// How a file that is coming is named.
const UNFINISHED: &str = "incoming";

/// What a server is shown in the header `Authorization`. Its `Debug` hides it.
pub struct Authorization(String);

impl Authorization {
    /// The header's value, which is secret.
    pub fn value(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorization(…)")
    }
}

impl Git {
    /// What the server of an http or https address is shown, HTTP's Basic scheme; `None` where it wants nothing.
    ///
    /// # Errors
    ///
    /// [`GitError::Helper`] where the helper fails.
    pub async fn authorization(&self, remote: &Remote) -> Result<Option<Authorization>, GitError> {
        if !matches!(remote.url.protocol(), Protocol::Https | Protocol::Http) {
            return Ok(None);
        }
        let credentials = self.access(Some(remote)).await?.credentials;
        Ok(credentials.map(|credentials| Authorization(credentials.basic())))
    }
}

/// A large file that is coming. Dropped before [`LfsIncoming::keep`], it leaves nothing.
#[derive(Debug)]
pub struct LfsIncoming {
    file: NamedTempFile,
    place: PathBuf,
    pointer: LfsPointer,
    hash: Sha256,
    bytes: u64,
}

impl Write for LfsIncoming {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let written = self.file.write(piece)?;
        self.hash.update(&piece[..written]);
        self.bytes += u64::try_from(written).unwrap_or(u64::MAX);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl LfsIncoming {
    /// Puts it in place, if it is what its pointer says.
    ///
    /// # Errors
    ///
    /// [`GitError::LfsObject`] where it is something else, [`GitError::Io`].
    pub fn keep(self, remote: &Remote) -> Result<(), GitError> {
        let is_it =
            self.bytes == self.pointer.size && self.hash.finalize()[..] == self.pointer.oid.as_bytes()[..];
        if !is_it {
            let (oid, remote) = (self.pointer.oid.to_string(), remote.url.to_string());
            let detail = "what came is something else than its pointer says".to_owned();
            return Err(GitError::LfsObject { oid, remote, detail });
        }
        let kept = self.file.persist(&self.place);
        kept.map(drop).map_err(|error| GitError::io("put in place", &self.place, error.error))
    }
}

impl Mirror {
    /// Which of the large files are here and what their pointers say, and which are missing. Nobody is asked.
    ///
    /// # Errors
    ///
    /// [`GitError::TooLarge`] beyond the limits, [`GitError::LfsObject`] for a pointer whose size is
    /// not that of the file, [`GitError::Io`].
    pub async fn held_lfs(
        &self,
        remote: &Remote,
        pointers: &[LfsPointer],
        limits: LfsLimits,
    ) -> Result<(LfsObjects, Vec<LfsPointer>), GitError> {
        let remote = remote.url.to_string();
        let wanted = wanted(pointers, &remote, limits)?;
        let (files, missing) = checked(&self.lfs_dir()?, wanted, &remote).await?;
        Ok((LfsObjects { files }, missing.into_iter().collect()))
    }

    /// A way in for a large file.
    ///
    /// # Errors
    ///
    /// [`GitError::Io`].
    pub fn put_lfs(&self, pointer: LfsPointer) -> Result<LfsIncoming, GitError> {
        let storage = self.lfs_dir()?;
        let place = place(&storage, pointer);
        let make = || {
            leftovers::remove(&storage, UNFINISHED)?;
            fs::create_dir_all(place.parent().unwrap_or(&storage))?;
            tempfile::Builder::new().prefix(&leftovers::prefix(UNFINISHED)).tempfile_in(&storage)
        };
        let file = make().map_err(|error| GitError::io("make a file in", &storage, error))?;
        Ok(LfsIncoming { file, place, pointer, hash: Sha256::new(), bytes: 0 })
    }

    fn lfs_dir(&self) -> Result<PathBuf, GitError> {
        let dir = self.dir().canonicalize().map_err(|error| GitError::io("find", self.dir(), error))?;
        let storage = dir.join("lfs");
        fs::create_dir_all(&storage).map_err(|error| GitError::io("make", &storage, error))?;
        Ok(storage)
    }
}
