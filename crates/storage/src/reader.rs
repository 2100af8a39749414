//! [`BlobReader`]: a blob, open for reading.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use gristmill_model::Digest;

use crate::error::StorageError;
use crate::object::Blob;
use crate::storage::blocking;

/// A blob, open for reading at any place, by several readers at once. It stays readable when the
/// blob is deleted meanwhile.
#[derive(Clone, Debug)]
pub struct BlobReader {
    file: Arc<File>,
    blob: Blob,
}

impl BlobReader {
    pub(crate) fn new(file: File, blob: Blob) -> BlobReader {
        BlobReader { file: Arc::new(file), blob }
    }

    /// The blob's name and size.
    pub fn blob(&self) -> Blob {
        self.blob
    }

    /// The size in bytes.
    pub fn len(&self) -> u64 {
        self.blob.size
    }

    /// Whether the blob holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.blob.size == 0
    }

    /// Reads up to `buffer.len()` bytes from `offset` on; 0 only at the end. Blocks.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    /// Fills `buffer` from `offset` on; `UnexpectedEof` where the blob ends before. Blocks.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// The bytes of `range`, which must lie within the blob. The caller bounds its length.
    pub async fn read_range(&self, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        let reader = self.clone();
        blocking(move || {
            let digest: Digest = reader.blob.digest;
            let failed = |error| StorageError::from_io(format!("reading blob {digest}"), error);
            let length = range.end.checked_sub(range.start).filter(|_| range.end <= reader.blob.size);
            let length = length.and_then(|length| usize::try_from(length).ok());
            let Some(length) = length else {
                return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "the range lies outside")));
            };
            let mut bytes = vec![0; length];
            reader.read_exact_at(&mut bytes, range.start).map_err(failed)?;
            Ok(bytes)
        })
        .await
    }

    /// A file of the bytes, for code that seeks. Its position is shared with no other reader of
    /// this type's methods, but with further files made from the same reader.
    ///
    /// # Errors
    /// Where the process has no file descriptor left.
    pub fn to_file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}
