//! Blobs: `blobs/sha256/ab/<hex>`.

use std::fs::File;
use std::io;

use gristmill_model::{Digest, Timestamp, hex};
use rustix::fd::OwnedFd;
use sha2::{Digest as _, Sha256};

use super::{FileStorage, disk};
use crate::error::StorageError;
use crate::object::{Blob, BlobEntry};

/// How much is hashed at once; large enough that calls do not count.
const HASH_CHUNK_BYTES: usize = 256 * 1024;

/// Hashes what is written into it.
struct Hashing(Sha256);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The folder and the file name of a blob.
fn place(digest: &Digest) -> (String, String) {
    let name = digest.to_hex();
    (name[..2].to_owned(), name)
}

/// The digest that a file's name tells, if it lies in the right folder.
pub(super) fn digest_of_name(folder: &str, name: &str) -> Option<Digest> {
    let digest = Digest::from_slice(&hex::decode(name)?)?;
    name.starts_with(folder).then_some(digest)
}

/// Hashes what is left of a file.
pub(super) fn hash_file(mut file: &File) -> io::Result<Digest> {
    let mut hashing = io::BufWriter::with_capacity(HASH_CHUNK_BYTES, Hashing(Sha256::new()));
    io::copy(&mut file, &mut hashing)?;
    let Hashing(hasher) = hashing.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(Digest::from_bytes(hasher.finalize().into()))
}

impl FileStorage {
    /// A new unfinished file, to be given to [`FileStorage::commit`] or [`FileStorage::discard`].
    pub(crate) fn stage(&self) -> Result<(String, File), StorageError> {
        let name = self.session.new_name();
        let file = disk::create_file(self.session.dir(), &name)
            .map_err(|error| StorageError::from_io("making a temporary file", error))?;
        Ok((name, file))
    }

    /// Takes an unfinished file away, as far as that works; the next open does the rest.
    pub(crate) fn discard(&self, name: &str) {
        let _ = disk::remove_file(self.session.dir(), name);
    }

    /// Makes an unfinished file a blob: durable when this returns. Where the blob is there already
    /// it is kept, and what was staged is taken away.
    pub(crate) fn commit(&self, name: &str, file: &File, blob: Blob) -> Result<Blob, StorageError> {
        self.commit_file(name, file, blob)
            .map_err(|error| StorageError::from_io(format!("storing blob {}", blob.digest), error))?;
        Ok(blob)
    }

    fn commit_file(&self, name: &str, file: &File, blob: Blob) -> io::Result<()> {
        let (folder, file_name) = place(&blob.digest);
        let folder = disk::open_dir(&self.blobs, &folder)?;
        if !self.keep_old(&folder, &file_name, blob.size)? {
            disk::set_mode(file, disk::MODE_READ_ONLY)?;
            disk::sync_file(file)?;
            if disk::rename_new(self.session.dir(), name, &folder, &file_name)? {
                return disk::sync_dir(&folder);
            }
            // Somebody else stored the same bytes just now, or what is there has another size: a
            // disk that lost power under another program. Ours are right.
            if !self.keep_old(&folder, &file_name, blob.size)? {
                disk::rename(self.session.dir(), name, &folder, &file_name)?;
                return disk::sync_dir(&folder);
            }
        }
        disk::remove_file(self.session.dir(), name)?;
        // Whoever stored it may have died before this.
        disk::sync_dir(&folder)
    }

    /// Whether a blob of this name and size is there; it then counts as just stored. Its bytes were
    /// synced before it got its name.
    fn keep_old(&self, folder: &OwnedFd, name: &str, size: u64) -> io::Result<bool> {
        let Some(file) = disk::if_there(disk::open_file(folder, name))? else { return Ok(false) };
        if disk::size(&disk::stat_open(&file)?) != size {
            return Ok(false);
        }
        disk::touch(&file, None)?;
        Ok(true)
    }

    /// Opens a blob for reading.
    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<(File, u64), StorageError> {
        let (folder, name) = place(digest);
        let open = || {
            let file = disk::open_file(disk::open_dir(&self.blobs, &folder)?, &name)?;
            let size = disk::size(&disk::stat_open(&file)?);
            Ok((file, size))
        };
        let opened = disk::if_there(open());
        let opened =
            opened.map_err(|error| StorageError::from_io(format!("opening blob {digest}"), error))?;
        opened.ok_or(StorageError::BlobMissing { digest: *digest })
    }

    /// The folder and name of a blob, for links to it.
    pub(super) fn blob_place(&self, digest: &Digest) -> io::Result<(OwnedFd, String)> {
        let (folder, name) = place(digest);
        Ok((disk::open_dir(&self.blobs, &folder)?, name))
    }

    /// What a blob's file is, `None` where there is none.
    pub(super) fn stat_blob(&self, digest: &Digest) -> io::Result<Option<disk::Stat>> {
        let (folder, name) = self.blob_place(digest)?;
        disk::stat(folder, &name)
    }

    /// Whether a blob is there.
    pub(crate) fn contains(&self, digest: &Digest) -> Result<bool, StorageError> {
        let stat = self
            .stat_blob(digest)
            .map_err(|error| StorageError::from_io(format!("looking for blob {digest}"), error))?;
        Ok(stat.is_some())
    }

    /// Takes a blob away; says whether it was there.
    pub(crate) fn delete_blob(&self, digest: &Digest) -> Result<bool, StorageError> {
        let delete = || {
            let (folder, name) = self.blob_place(digest)?;
            let was_there = disk::remove_file(&folder, &name)?;
            disk::sync_dir(&folder)?;
            Ok(was_there)
        };
        delete().map_err(|error| StorageError::from_io(format!("deleting blob {digest}"), error))
    }

    /// At most `limit` blobs after `after`, by digest. Reads one of 256 folders at a time.
    pub(crate) fn list_blobs(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<BlobEntry>, StorageError> {
        let mut page = Vec::new();
        let first = after.map_or(0, |digest| digest.as_bytes()[0]);
        for byte in first..=u8::MAX {
            if page.len() >= limit {
                break;
            }
            self.list_folder(byte, after, limit, &mut page)
                .map_err(|error| StorageError::from_io("listing blobs", error))?;
        }
        Ok(page)
    }

    fn list_folder(
        &self,
        byte: u8,
        after: Option<&Digest>,
        limit: usize,
        page: &mut Vec<BlobEntry>,
    ) -> io::Result<()> {
        let folder_name = format!("{byte:02x}");
        let folder = disk::open_dir(&self.blobs, &folder_name)?;
        let mut digests = Vec::new();
        for entry in disk::entries(&folder)? {
            let (name, _) = entry?;
            // What has no digest for a name is none of ours; `verify` tells of it.
            digests.extend(digest_of_name(&folder_name, &name).filter(|digest| Some(digest) > after));
        }
        digests.sort_unstable();
        for digest in digests {
            if page.len() >= limit {
                break;
            }
            // Deleted since: not there.
            if let Some(stat) = disk::stat(&folder, &digest.to_hex())? {
                page.push(BlobEntry {
                    blob: Blob { digest, size: disk::size(&stat) },
                    touched: Timestamp(disk::modified_ns(&stat) / 1_000_000),
                });
            }
        }
        Ok(())
    }
}
