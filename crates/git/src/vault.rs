//! [`Vault`]: secrets on the disk for as long as one command needs them.
//!
//! Each command gets a folder of its own in our 0700 folder. It goes with the command; what a killed process left
//! goes when the vault is next opened while nobody has anything lent out.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::error::GitError;

/// What folders (and, from older versions, files) with secrets begin with.
const PREFIX: &str = "credential-";

/// The folder where secrets live while they are needed.
#[derive(Debug, Clone)]
pub(crate) struct Vault {
    dir: PathBuf,
}

/// A folder with one command's secrets; it goes when this is dropped.
pub(crate) struct Lent {
    folder: TempDir,
    /// Held shared, so that nobody takes the folder for a dead process's leftover.
    _alive: File,
}

impl Vault {
    /// Takes a private folder and removes secrets that killed processes left there.
    pub(crate) fn open(dir: &Path) -> Result<Vault, GitError> {
        let dir = dir.canonicalize().map_err(|error| GitError::io("find", dir, error))?;
        let vault = Vault { dir };
        let lock = vault.lock_file()?;
        // Refused while any process has something lent out; the next start tries again.
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            vault.clean().map_err(|error| GitError::io("remove old secrets from", &vault.dir, error))?;
        }
        Ok(vault)
    }

    fn clean(&self) -> std::io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn lock_file(&self) -> Result<File, GitError> {
        let path = self.dir.join("vault.lock");
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| GitError::io("open", &path, error))
    }

    /// Makes an empty folder that only this user can look into.
    pub(crate) fn lend(&self) -> Result<Lent, GitError> {
        let alive = self.lock_file()?;
        // Waits only while another process cleans up, which takes milliseconds.
        flock(&alive, FlockOperation::LockShared)
            .map_err(|error| GitError::io("lock", &self.dir, error.into()))?;
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&self.dir)
            .map_err(|error| GitError::io("make a folder for secrets in", &self.dir, error))?;
        Ok(Lent { folder, _alive: alive })
    }
}

impl Lent {
    /// Writes a file that only this user can read. Its name is one of ours.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), GitError> {
        let path = self.path(name);
        File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(content))
            .map_err(|error| GitError::io("write a secret to", &path, error))
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// Where a file of that name lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_go_at_the_start_but_not_what_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path()).unwrap();
        let lent = vault.lend().unwrap();
        lent.write("key", b"secret").unwrap();
        let path = lent.path("key");
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        assert!(lent.write("key", b"again").is_err(), "nothing that is there is written over");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(lent.dir())), (0o600, 0o700));
        fs::write(dir.path().join("credential-left"), "https://old:token@example.org").unwrap();
        fs::create_dir(dir.path().join("credential-folder")).unwrap();
        fs::write(dir.path().join("credential-folder/key"), "old").unwrap();
        fs::write(dir.path().join("other"), "").unwrap();

        Vault::open(dir.path()).unwrap();
        assert!(path.exists(), "in use by a living process");
        drop(lent);
        assert!(!path.exists());
        Vault::open(dir.path()).unwrap();
        assert!(!dir.path().join("credential-left").exists());
        assert!(!dir.path().join("credential-folder").exists());
        assert!(dir.path().join("other").exists());
    }
}
