//! A folder as a bucket: objects are files, without metadata. `.gristmill/tmp/` has unfinished ones, `.gristmill/lock` is
//! held while one is put in its place.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gristmill_model::{Digest, Timestamp};
use rustix::fs::FlockOperation;
use sha2::{Digest as _, Sha256};

use super::{Body, Head, Listed, Write, WriteIf};
use crate::error::StorageError;

/// Folders within one another.
const LEVELS_MAX: usize = 64;
const OURS: &str = ".gristmill";
const BUFFER_BYTES: usize = 1 << 20;

static NEXT: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
}

/// `None` where there is nothing of that name.
fn there<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn etag(about: &Metadata) -> String {
    format!("{}-{}.{}-{}", about.ino(), about.mtime(), about.mtime_nsec(), about.len())
}

fn modified(about: &Metadata) -> Timestamp {
    Timestamp(about.mtime().saturating_mul(1000).saturating_add(about.mtime_nsec() / 1_000_000))
}

impl Folder {
    pub(super) fn new(root: &Path) -> Folder {
        Folder { root: root.to_owned() }
    }

    /// A key's file. A key that leads elsewhere has none.
    fn path(&self, key: &str) -> Result<PathBuf, StorageError> {
        let is_part = |part: &str| !matches!(part, "" | "." | "..");
        if key.split('/').all(is_part) && !key.contains('\0') {
            return Ok(self.root.join(key));
        }
        Err(StorageError::from_io(
            format!("`{}` as a file", key.escape_debug()),
            io::ErrorKind::InvalidFilename.into(),
        ))
    }

    fn run<T>(&self, doing: &str, key: &str, outcome: io::Result<T>) -> Result<T, StorageError> {
        outcome.map_err(|error| {
            StorageError::from_io(format!("{doing} {}", self.root.join(key).display()), error)
        })
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut found = Vec::new();
        let listed = self.walk(folder, 0, &mut |key, about| {
            if key.starts_with(prefix) {
                let (size, modified) = (about.len(), modified(about));
                found.push(Listed { key, size, etag: None, modified });
            }
        });
        self.run("listing", folder, listed)?;
        found.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(found)
    }

    fn walk(&self, folder: &str, level: usize, visit: &mut dyn FnMut(String, &Metadata)) -> io::Result<()> {
        let Some(entries) = there(fs::read_dir(self.root.join(folder)))? else { return Ok(()) };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let key = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if key == format!("{OURS}/tmp") || key == format!("{OURS}/lock") {
                continue;
            }
            // What goes away meanwhile is not there.
            let Some(about) = there(entry.metadata())? else { continue };
            if about.is_dir() && level < LEVELS_MAX {
                self.walk(&key, level + 1, visit)?;
            } else if about.is_file() {
                visit(key, &about);
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<(Bytes, String)>, StorageError> {
        let path = self.path(key)?;
        let read = || -> io::Result<Option<(Bytes, String)>> {
            let Some(mut file) = there(File::open(path))? else { return Ok(None) };
            let etag = etag(&file.metadata()?);
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(Some((bytes.into(), etag)))
        };
        self.run("reading", key, read())
    }

    pub(super) fn head(&self, key: &str) -> Result<Option<Head>, StorageError> {
        let about = self.run("looking at", key, there(fs::metadata(self.path(key)?)))?;
        let head = |about: Metadata| Head {
            size: about.len(),
            etag: etag(&about),
            content_type: None,
            metadata: Default::default(),
        };
        Ok(about.filter(Metadata::is_file).map(head))
    }

    pub(super) fn put(&self, key: &str, body: &Body, condition: &WriteIf) -> Result<Write, StorageError> {
        let path = self.path(key)?;
        let write = |to: &mut File| match body {
            Body::Bytes(bytes) => to.write_all(bytes),
            Body::File(from, size, _) => {
                let mut from: &File = from;
                io::Seek::seek(&mut from, io::SeekFrom::Start(0))?;
                let copied = io::copy(&mut from, to)?;
                if copied == *size { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
            }
        };
        self.run("writing", key, self.place(&path, condition, write))
    }

    pub(super) fn copy(&self, from: &str, to: &str, condition: &WriteIf) -> Result<Write, StorageError> {
        let path = self.path(to)?;
        let Some(mut source) = self.run("reading", from, there(File::open(self.path(from)?)))? else {
            return Ok(Write::Refused);
        };
        let copy = |to: &mut File| io::copy(&mut source, to).map(drop);
        self.run("writing", to, self.place(&path, condition, copy))
    }

    /// Writes a file beside and puts it in its place, where the condition holds.
    fn place(
        &self,
        path: &Path,
        condition: &WriteIf,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<Write> {
        let (pid, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), number);
        let beside = self.root.join(OURS).join("tmp").join(format!("{pid}-{number}-{random:016x}"));
        fs::create_dir_all(beside.parent().unwrap_or(&self.root))?;
        let mut file = File::create_new(&beside)?;
        let placed = write(&mut file).and_then(|()| file.sync_data()).and_then(|()| {
            fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
            let _lock = self.lock()?;
            let there = there(fs::metadata(path))?.map(|about| etag(&about));
            let holds = match condition {
                WriteIf::Always => true,
                WriteIf::Absent => there.is_none(),
                WriteIf::Is(etag) => there.as_ref() == Some(etag),
            };
            if !holds {
                return Ok(None);
            }
            fs::rename(&beside, path)?;
            fs::metadata(path).map(|about| Some(etag(&about)))
        });
        match placed {
            Ok(Some(etag)) => {
                if let Some(folder) = path.parent() {
                    File::open(folder)?.sync_all()?;
                }
                Ok(Write::Done(Some(etag)))
            }
            Ok(None) => fs::remove_file(&beside).map(|()| Write::Refused),
            Err(error) => {
                let _ = fs::remove_file(&beside);
                Err(error)
            }
        }
    }

    /// Held until it is dropped.
    fn lock(&self) -> io::Result<File> {
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.root.join(OURS).join("lock"))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        Ok(lock)
    }

    pub(super) fn download(&self, key: &str, mut to: &File) -> Result<Option<(u64, Digest)>, StorageError> {
        let Some(mut from) = self.run("reading", key, there(File::open(self.path(key)?)))? else {
            return Ok(None);
        };
        let mut copy = || -> io::Result<(u64, Digest)> {
            let (mut hasher, mut buffer, mut size) = (Sha256::new(), vec![0; BUFFER_BYTES], 0);
            loop {
                let read = from.read(&mut buffer)?;
                if read == 0 {
                    return Ok((size, Digest::from_bytes(hasher.finalize().into())));
                }
                hasher.update(&buffer[..read]);
                to.write_all(&buffer[..read])?;
                size += read as u64;
            }
        };
        self.run("reading", key, copy()).map(Some)
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), StorageError> {
        let path = self.path(key)?;
        self.run("deleting", key, there(fs::remove_file(&path)))?;
        // Folders that became empty go too, up to the root.
        let mut folder = path.parent();
        while let Some(empty) = folder.filter(|folder| *folder != self.root) {
            if fs::remove_dir(empty).is_err() {
                break;
            }
            folder = empty.parent();
        }
        Ok(())
    }

    pub(super) fn clear_unfinished(&self, before: Timestamp) -> Result<usize, StorageError> {
        let tmp = format!("{OURS}/tmp");
        let clear = || -> io::Result<usize> {
            let mut cleared = 0;
            let Some(entries) = there(fs::read_dir(self.root.join(&tmp)))? else { return Ok(0) };
            for entry in entries {
                let entry = entry?;
                if there(entry.metadata())?.is_some_and(|about| modified(&about) < before) {
                    fs::remove_file(entry.path())?;
                    cleared += 1;
                }
            }
            Ok(cleared)
        };
        self.run("tidying up", &tmp, clear())
    }
}
