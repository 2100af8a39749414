//! Large files of git-lfs that are here: in `<mirror>/lfs`, named by their SHA-256, and checked against it before each use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::GitError;
use crate::lfs::{LfsOid, LfsPointer};
use crate::limit::Limit;

/// Bounds for large files.
#[derive(Clone, Copy, Debug)]
pub struct LfsLimits {
    /// How many different files.
    pub objects_max: usize,
    /// How large one may be, in bytes.
    pub object_bytes_max: u64,
    /// How large they may be together, in bytes.
    pub bytes_max: u64,
}

impl Default for LfsLimits {
    /// 20 000 files, 5 GiB each, 20 GiB together.
    fn default() -> LfsLimits {
        LfsLimits { objects_max: 20_000, object_bytes_max: 5 << 30, bytes_max: 20 << 30 }
    }
}

/// Large files that are here and are what their pointers say.
#[derive(Clone, Debug)]
pub struct LfsObjects {
    pub(crate) files: BTreeMap<LfsOid, PathBuf>,
}

impl LfsObjects {
    /// Opens a large file for reading; `None` where it was not among the pointers.
    ///
    /// # Errors
    ///
    /// Where the file cannot be opened any more.
    pub fn open(&self, oid: LfsOid) -> io::Result<Option<File>> {
        self.files.get(&oid).map(File::open).transpose()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// What is wanted, each once, within the limits.
pub(crate) fn wanted(
    pointers: &[LfsPointer],
    remote: &str,
    limits: LfsLimits,
) -> Result<BTreeSet<LfsPointer>, GitError> {
    let wanted: BTreeSet<LfsPointer> = pointers.iter().copied().collect();
    let too_large = |what, max| Err(GitError::TooLarge { what, max });
    if wanted.len() > limits.objects_max {
        return too_large(Limit::LargeFiles, limits.objects_max as u64);
    }
    if wanted.iter().any(|pointer| pointer.size > limits.object_bytes_max) {
        return too_large(Limit::LargeFile, limits.object_bytes_max);
    }
    let bytes = wanted.iter().try_fold(0u64, |sum, pointer| sum.checked_add(pointer.size));
    if bytes.is_none_or(|bytes| bytes > limits.bytes_max) {
        return too_large(Limit::LargeFilesTogether, limits.bytes_max);
    }
    let mut oids: Vec<LfsOid> = wanted.iter().map(|pointer| pointer.oid).collect();
    oids.dedup();
    if oids.len() < wanted.len() {
        // One of them lies, and we cannot say which before it is here.
        let detail = "two pointers to it give different sizes".to_owned();
        let oid = wanted.iter().zip(wanted.iter().skip(1)).find(|(a, b)| a.oid == b.oid);
        let oid = oid.map(|(pointer, _)| pointer.oid.to_string()).unwrap_or_default();
        return Err(GitError::LfsObject { oid, remote: remote.to_owned(), detail });
    }
    Ok(wanted)
}

/// Files that are what their pointers say, and pointers without one. Nothing is removed: what is damaged is replaced, in
/// one step, by what is brought for it, and a pointer that lies is no reason to touch a good file.
pub(crate) async fn checked(
    storage: &Path,
    pointers: BTreeSet<LfsPointer>,
    remote: &str,
) -> Result<(BTreeMap<LfsOid, PathBuf>, BTreeSet<LfsPointer>), GitError> {
    let (storage, remote) = (storage.to_owned(), remote.to_owned());
    let check = move || {
        let (mut files, mut missing) = (BTreeMap::new(), BTreeSet::new());
        for pointer in pointers {
            let path = place(&storage, pointer);
            match size(&path, pointer.oid).map_err(|error| GitError::io("read", &path, error))? {
                None => {
                    missing.insert(pointer);
                }
                Some(bytes) if bytes == pointer.size => {
                    files.insert(pointer.oid, path);
                }
                Some(bytes) => {
                    let detail = format!("it has {bytes} bytes, and its pointer says {}", pointer.size);
                    return Err(GitError::LfsObject { oid: pointer.oid.to_string(), remote, detail });
                }
            }
        }
        Ok((files, missing))
    };
    tokio::task::spawn_blocking(check).await.map_err(|error| {
        GitError::io("check large files in", Path::new("a mirror"), io::Error::other(error))
    })?
}

/// Where git-lfs keeps a file.
pub(crate) fn place(storage: &Path, pointer: LfsPointer) -> PathBuf {
    let hex = pointer.oid.to_string();
    storage.join("objects").join(&hex[..2]).join(&hex[2..4]).join(&hex)
}

/// The bytes of a file that is what its name says; `None` where there is none.
fn size(path: &Path, oid: LfsOid) -> io::Result<Option<u64>> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => return Ok(None),
    }
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((hash.finalize()[..] == oid.as_bytes()[..]).then_some(bytes));
        }
        hash.update(&buffer[..count]);
        bytes += count as u64;
    }
}
