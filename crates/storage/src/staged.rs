//! [`Staged`]: bytes on their way to becoming a blob.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use gristmill_model::Digest;
use sha2::{Digest as _, Sha256};

use crate::error::StorageError;
use crate::file::FileStorage;
use crate::object::Blob;
use crate::storage::blocking;

/// How much is gathered before it is hashed and written; large enough that calls do not count.
const BUFFER_BYTES: usize = 256 * 1024;

/// A file being written that becomes a blob with [`Staged::commit`]; dropped before, it is gone.
///
/// Writing blocks: write from a blocking thread. An error while writing says nothing about what
/// reached the file; drop the whole.
#[derive(Debug)]
pub struct Staged {
    storage: Arc<FileStorage>,
    name: String,
    file: File,
    buffer: Vec<u8>,
    hasher: Sha256,
    written: u64,
    broken: bool,
}

impl Staged {
    pub(crate) fn new(storage: Arc<FileStorage>) -> Result<Staged, StorageError> {
        let (name, file) = storage.stage()?;
        let buffer = Vec::with_capacity(BUFFER_BYTES);
        Ok(Staged { storage, name, file, buffer, hasher: Sha256::new(), written: 0, broken: false })
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
    pub async fn commit(self) -> Result<Blob, StorageError> {
        blocking(move || self.commit_blocking()).await
    }

    fn commit_blocking(mut self) -> Result<Blob, StorageError> {
        self.flush().map_err(|error| StorageError::from_io("writing a blob", error))?;
        let digest = Digest::from_bytes(std::mem::take(&mut self.hasher).finalize().into());
        self.storage.commit(&self.name, &self.file, Blob { digest, size: self.written })
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
        self.storage.discard(&self.name);
    }
}
