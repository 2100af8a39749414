//! [`Cache`]: a folder on this machine for files on their way to the bucket, and for copies of blobs.
//!
//! Several processes may share it. Unfinished files lie in the folder of a session, whose lock ends with its process;
//! a copy gets its name only when all of it is there and its SHA-256 is right. Which copy was used last is told by
//! its time of change. Whoever takes a copy away leaves open files alone: readers keep theirs.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;

use gristmill_model::Digest;
use rustix::fd::OwnedFd;
use rustix::fs::FlockOperation;

use crate::file::disk;
use crate::file::session::Session;

/// After taking copies away, this part of the bound is free at least: not each new copy takes one away.
const FREE_PART: u64 = 10;

/// Blobs are downloaded by one task each; so many may be downloaded at once.
const LANES: usize = 16;

#[derive(Debug)]
pub(super) struct Cache {
    session: Session,
    blobs: OwnedFd,
    bytes_max: u64,
    /// The bytes in the folder when it was last looked through, and those added since by this process.
    used: Mutex<u64>,
    lanes: [tokio::sync::Mutex<()>; LANES],
}

impl Cache {
    /// Opens the cache, making what is missing and removing what dead processes left unfinished.
    pub(super) fn open(folder: &Path, bytes_max: u64) -> io::Result<Cache> {
        std::fs::create_dir_all(folder)?;
        let top = disk::open_root(folder)?;
        disk::set_mode(&top, disk::MODE_TMP_DIR)?;
        let make = |name: &str| {
            disk::make_dir(&top, name, disk::MODE_TMP_DIR)?;
            disk::open_dir(&top, name)
        };
        let (blobs, session) = (make("sha256")?, Session::open(make("tmp")?)?);
        let lanes = [(); LANES].map(|()| tokio::sync::Mutex::new(()));
        let cache = Cache { session, blobs, bytes_max, used: Mutex::new(0), lanes };
        cache.make_room()?;
        Ok(cache)
    }

    /// A new unfinished file, to be given to [`Cache::keep`] or [`Cache::discard`].
    pub(super) fn stage(&self) -> io::Result<(String, File)> {
        let name = self.session.new_name();
        let file = disk::create_file(self.session.dir(), &name)?;
        Ok((name, file))
    }

    /// Takes an unfinished file away, as far as that works; the next open does the rest.
    pub(super) fn discard(&self, name: &str) {
        let _ = disk::remove_file(self.session.dir(), name);
    }

    /// Makes a finished file, whose digest was computed, the copy of a blob.
    pub(super) fn keep(&self, name: &str, file: &File, digest: &Digest) -> io::Result<()> {
        disk::set_mode(file, disk::MODE_READ_ONLY)?;
        // Without this a power loss could leave the name with other bytes.
        disk::sync_file(file)?;
        disk::rename(self.session.dir(), name, &self.blobs, &digest.to_hex())?;
        let size = disk::size(&disk::stat_open(file)?);
        let full = {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            *used += size;
            *used > self.bytes_max
        };
        if full { self.make_room() } else { Ok(()) }
    }

    /// The copy of a blob, which counts as just used.
    pub(super) fn get(&self, digest: &Digest) -> io::Result<Option<(File, u64)>> {
        let Some(file) = disk::if_there(disk::open_file(&self.blobs, &digest.to_hex()))? else {
            return Ok(None);
        };
        disk::touch(&file, None)?;
        let size = disk::size(&disk::stat_open(&file)?);
        Ok(Some((file, size)))
    }

    /// Takes a copy away.
    pub(super) fn forget(&self, digest: &Digest) {
        let _ = disk::remove_file(&self.blobs, &digest.to_hex());
    }

    /// The right to download a blob: whoever comes second finds the copy.
    pub(super) async fn lane(&self, digest: &Digest) -> tokio::sync::MutexGuard<'_, ()> {
        self.lanes[usize::from(digest.as_bytes()[0]) % LANES].lock().await
    }

    /// The room on the file system.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.blobs)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Takes copies away, those unused for longest first, where there are more than may be.
    fn make_room(&self) -> io::Result<()> {
        let gate = disk::open_dir(&self.blobs, ".")?;
        disk::lock(&gate, FlockOperation::LockExclusive)?;
        let mut copies = Vec::new();
        let mut used = 0;
        for entry in disk::entries(&self.blobs)? {
            let (name, _) = entry?;
            if let Some(stat) = disk::stat(&self.blobs, &name)? {
                used += disk::size(&stat);
                copies.push((disk::modified_ns(&stat), disk::size(&stat), name));
            }
        }
        if used > self.bytes_max {
            copies.sort_unstable();
            let low = self.bytes_max - self.bytes_max / FREE_PART;
            for (_, size, name) in copies {
                if used <= low {
                    break;
                }
                disk::remove_file(&self.blobs, &name)?;
                used -= size;
            }
        }
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = used;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn put(cache: &Cache, text: &str) -> Digest {
        let (name, mut file) = cache.stage().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let digest = Digest::of(text.as_bytes());
        cache.keep(&name, &file, &digest).unwrap();
        digest
    }

    fn age(folder: &Path, digest: &Digest, seconds: u64) {
        let file = File::open(folder.join("sha256").join(digest.to_hex())).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        file.set_modified(time).unwrap();
    }

    #[test]
    fn unused_longest_goes_first_and_readers_keep_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 10).unwrap();
        let (a, b) = (put(&cache, "aaaa"), put(&cache, "bbbb"));
        age(folder.path(), &a, 100);
        age(folder.path(), &b, 200);
        let (mut reader, size) = cache.get(&a).unwrap().unwrap();
        assert_eq!(size, 4);
        // `a` was just used; 12 bytes are too many, 9 the most that may stay.
        let c = put(&cache, "cccc");
        assert!(cache.get(&b).unwrap().is_none());
        assert!(cache.get(&a).unwrap().is_some() && cache.get(&c).unwrap().is_some());
        cache.forget(&a);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "aaaa");
    }

    #[test]
    fn what_is_larger_than_all_room_does_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 10).unwrap();
        let large = put(&cache, "a long text");
        assert!(cache.get(&large).unwrap().is_none());
    }

    #[test]
    fn leftovers_of_dead_processes_go_and_a_smaller_bound_counts_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 100).unwrap();
        let (a, b) = (put(&cache, "aaaa"), put(&cache, "bbbb"));
        age(folder.path(), &a, 100);
        let dead = folder.path().join("tmp/0-dead");
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join("0"), "x").unwrap();
        let (staged, _) = cache.stage().unwrap();
        let other = Cache::open(folder.path(), 5).unwrap();
        assert!(!dead.exists());
        assert!(
            folder.path().join("tmp").join(cache.session_name()).join(staged).exists(),
            "the living keep theirs"
        );
        assert!(other.get(&a).unwrap().is_none() && other.get(&b).unwrap().is_some());
    }

    impl Cache {
        fn session_name(&self) -> String {
            self.session.name().to_owned()
        }
    }
}
