//! [`Staged`]: bytes on their way to becoming a blob.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use gristmill_model::Digest;
use sha2::{Digest as _, Sha256};

use crate::error::StorageError;
use crate::file::FileStorage;
use crate::object::{Blob, CopiedRange};
use crate::s3::S3Storage;
use crate::storage::blocking;

/// How much is gathered before it is hashed and written; large enough that calls do not count.
const BUFFER_BYTES: usize = 256 * 1024;

/// Where a staged file becomes a blob.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    File(Arc<FileStorage>),
    S3(Arc<S3Storage>),
}

/// What of a staged file is said to be another blob's.
#[derive(Clone, Debug)]
pub(crate) struct Copied {
    pub(crate) base: Digest,
    pub(crate) ranges: Vec<CopiedRange>,
}

/// A file being written that becomes a blob with [`Staged::commit`]; dropped before, it is gone.
///
/// Writing blocks: write from a blocking thread. An error while writing says nothing about what
/// reached the file; drop the whole.
#[derive(Debug)]
pub struct Staged {
    place: Place,
    name: String,
    file: File,
    buffer: Vec<u8>,
    hasher: Sha256,
    written: u64,
    broken: bool,
    copied: Option<Arc<Copied>>,
}

impl Staged {
    pub(crate) fn new(place: Place) -> Result<Staged, StorageError> {
        let (name, file) = match &place {
            Place::File(storage) => storage.stage()?,
            Place::S3(storage) => storage.stage()?,
        };
        let (buffer, hasher) = (Vec::with_capacity(BUFFER_BYTES), Sha256::new());
        Ok(Staged { place, name, file, buffer, hasher, written: 0, broken: false, copied: None })
    }

    /// Says that these ranges of what is written are those of another blob. A storage that is far away then has them
    /// copied there, where that is worth it, instead of sending them. What is not so is found out and sent.
    pub fn say_copied(&mut self, base: Digest, ranges: Vec<CopiedRange>) {
        self.copied = Some(Arc::new(Copied { base, ranges }));
    }

    /// How many bytes were written so far.
    pub fn size(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Makes what was written a blob, durable when this returns. Equal bytes that are stored
    /// already stay as they are.
    ///
    /// # Errors
    /// [`StorageError::Full`] where there is no room; nothing is left behind.
    pub async fn commit(mut self) -> Result<Blob, StorageError> {
        let storage = match self.place.clone() {
            Place::File(storage) => {
                let commit = move || {
                    let blob = self.finish()?;
                    storage.commit(&self.name, &self.file, blob)
                };
                return blocking(commit).await;
            }
            Place::S3(storage) => storage,
        };
        let (staged, blob, file) = blocking(move || {
            let blob = self.finish()?;
            let failed = |error| StorageError::from_io("opening a temporary file", error);
            let file = self.file.try_clone().map_err(failed)?;
            Ok::<_, StorageError>((self, blob, file))
        })
        .await?;
        // `staged` lives on: dropped in the middle, it takes the file away.
        storage.commit(&staged.name, file, blob, staged.copied.clone()).await
    }

    /// Writes what is left and names it.
    fn finish(&mut self) -> Result<Blob, StorageError> {
        self.flush().map_err(|error| StorageError::from_io("writing a blob", error))?;
        let digest = Digest::from_bytes(std::mem::take(&mut self.hasher).finalize().into());
        Ok(Blob { digest, size: self.written })
    }

    fn write_out(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed; this file cannot be finished"));
        }
        if let Err(error) = self.file.write_all(bytes) {
            self.broken = true;
            return Err(error);
        }
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            self.write_out(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.write_out(&buffer);
        buffer.clear();
        self.buffer = buffer;
        outcome
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a commit there is nothing under the name.
        match &self.place {
            Place::File(storage) => storage.discard(&self.name),
            Place::S3(storage) => storage.discard(&self.name),
        }
    }
}
