//! The files of a package folder: which they are, and their digests.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use gristmill_model::{AssetFile, Digest, hex};
use md5::Md5;
use sha2::{Digest as _, Sha256};

use super::media;

/// Threads that hash.
const THREADS_MAX: usize = 8;
const BUFFER_BYTES: usize = 256 << 10;
/// Folders within folders.
const LEVELS_MAX: usize = 64;

/// What changes with a file's bytes: device, inode, size, and when it was written and changed, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp([i128; 5]);

impl Stamp {
    /// Of an open file.
    ///
    /// # Errors
    ///
    /// Where the system does not tell it.
    pub fn of(file: &File) -> std::io::Result<Stamp> {
        let told = file.metadata()?;
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Ok(Stamp([
            i128::from(told.dev()),
            i128::from(told.ino()),
            i128::from(told.size()),
            nanos(told.mtime(), told.mtime_nsec()),
            nanos(told.ctime(), told.ctime_nsec()),
        ]))
    }
}

/// A file to be kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Local {
    /// Where it is.
    pub path: PathBuf,
    /// What is said of it.
    pub about: AssetFile,
    /// Its state when it was hashed.
    pub stamp: Stamp,
}

/// The files that are not hidden, sorted by name: those directly in the folder, or with `recursive` also those in its
/// folders that are not hidden.
///
/// # Errors
///
/// Where the folder cannot be read, or a name cannot be a key.
pub fn list(folder: &Path, recursive: bool) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    walk(folder, "", if recursive { LEVELS_MAX } else { 0 }, &mut found)?;
    found.sort();
    Ok(found)
}

fn walk(
    folder: &Path,
    prefix: &str,
    levels: usize,
    found: &mut Vec<(String, PathBuf)>,
) -> anyhow::Result<()> {
    let doing = || format!("reading {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(doing)? {
        let entry = entry.with_context(doing)?;
        let path = entry.path();
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let name = name.to_str().filter(|name| !name.contains(char::is_control));
        // Links to files count as the files; links to folders are not followed, as they may lead in circles.
        let is_file = path.is_file();
        let is_folder = levels > 0 && entry.file_type().with_context(doing)?.is_dir();
        match name {
            Some(name) if is_file => found.push((format!("{prefix}{name}"), path)),
            Some(name) if is_folder => walk(&path, &format!("{prefix}{name}/"), levels - 1, found)?,
            None if is_file || is_folder => anyhow::bail!(
                "the name {path:?} cannot be a key: it is not UTF-8 or has a control character; rename it"
            ),
            _ => {}
        }
    }
    Ok(())
}

/// Hashes the files, several at once.
///
/// # Errors
///
/// Where one cannot be read.
pub fn hash(files: Vec<(String, PathBuf)>) -> anyhow::Result<Vec<Local>> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(vec![None; files.len()]);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    std::thread::scope(|scope| {
        let work = || -> anyhow::Result<()> {
            let mut buffer = vec![0; BUFFER_BYTES];
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some((name, path)) = files.get(at) else { return Ok(()) };
                let (size, digest, stamp) =
                    hash_one(path, &mut buffer).with_context(|| format!("reading {}", path.display()))?;
                let media_type = media::of(name).to_owned();
                let about =
                    AssetFile { path: name.clone(), size, digest: Some(digest), media_type, etag: None };
                done.lock().expect("no thread panics with it")[at] =
                    Some(Local { path: path.clone(), about, stamp });
            }
        };
        let threads: Vec<_> = (0..threads.min(files.len()).max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
    })?;
    let done = done.into_inner().expect("no thread panicked with it");
    Ok(done.into_iter().flatten().collect())
}

fn hash_one(path: &Path, buffer: &mut [u8]) -> std::io::Result<(u64, Digest, Stamp)> {
    let mut file = File::open(path)?;
    let stamp = Stamp::of(&file)?;
    let (mut hasher, mut size) = (Sha256::new(), 0);
    loop {
        let read = file.read(buffer)?;
        if read == 0 {
            return Ok((size, Digest::from_bytes(hasher.finalize().into()), stamp));
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}

/// The MD5 of a file, in hexadecimal.
///
/// # Errors
///
/// Where it cannot be read.
pub fn md5(path: &Path) -> std::io::Result<String> {
    let (mut file, mut hasher, mut buffer) = (File::open(path)?, Md5::new(), vec![0; BUFFER_BYTES]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_those_that_are_not_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["sub/deep", ".hidden"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["b.zip", "a.zip", ".commit-hash", "sub/c.txt", "sub/.x", "sub/deep/d", ".hidden/e"] {
            std::fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink("a.zip", at("link.zip")).unwrap();
        std::os::unix::fs::symlink("..", at("sub/up")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("broken")).unwrap();
        let names = |recursive| -> Vec<String> {
            list(folder.path(), recursive).unwrap().into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(false), ["a.zip", "b.zip", "link.zip"]);
        assert_eq!(names(true), ["a.zip", "b.zip", "link.zip", "sub/c.txt", "sub/deep/d"]);
        let hashed = hash(list(folder.path(), true).unwrap()).unwrap();
        assert_eq!(hashed.len(), 5);
        assert_eq!(hashed[3].about.digest, Some(Digest::of(b"sub/c.txt")));
        assert_eq!(
            (hashed[3].about.size, hashed[3].about.media_type.as_str()),
            (9, "text/plain; charset=utf-8")
        );
        std::fs::write(at("new\nline"), "").unwrap();
        assert!(list(folder.path(), false).unwrap_err().to_string().contains("rename it"));
    }
}
