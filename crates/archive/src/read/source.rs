//! The archive as a file: buffered reads at offsets, mostly ascending.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use crate::fault::ExtractError;

const BUFFER_BYTES: usize = 128 << 10;

#[derive(Debug)]
pub(super) struct Source<R> {
    inner: BufReader<R>,
    position: u64,
    len: u64,
}

impl<R: Read + Seek> Source<R> {
    pub(super) fn new(mut reader: R) -> Result<Self, ExtractError> {
        let len = reader.seek(SeekFrom::End(0)).map_err(ExtractError::Read)?;
        Ok(Self { inner: BufReader::with_capacity(BUFFER_BYTES, reader), position: len, len })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Goes to an offset; inside the buffer where possible.
    pub(super) fn seek(&mut self, offset: u64) -> Result<(), ExtractError> {
        let distance = i128::from(offset) - i128::from(self.position);
        match i64::try_from(distance) {
            Ok(distance) => self.inner.seek_relative(distance),
            Err(_) => self.inner.seek(SeekFrom::Start(offset)).map(|_| ()),
        }
        .map_err(ExtractError::Read)?;
        self.position = offset;
        Ok(())
    }

    /// Fills `buffer` from here.
    pub(super) fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), ExtractError> {
        self.inner.read_exact(buffer).map_err(ExtractError::Read)?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    /// The bytes at an offset. The caller has checked that the file is so long.
    pub(super) fn read_at(&mut self, offset: u64, count: usize) -> Result<Vec<u8>, ExtractError> {
        self.seek(offset)?;
        let mut bytes = vec![0; count];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Up to `limit` of the next bytes, at least one; [`Source::consume`] moves on.
    pub(super) fn peek(&mut self, limit: u64) -> Result<&[u8], ExtractError> {
        let bytes = self.inner.fill_buf().map_err(ExtractError::Read)?;
        if bytes.is_empty() {
            return Err(ExtractError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(&bytes[..bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX))])
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.position += count as u64;
    }
}
