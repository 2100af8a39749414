//! The way out: bytes gathered in one large buffer and counted.

use std::io::{self, Read, Write};

/// Enough that 13 000 members cost some hundred writes.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes into `W` by large pieces, and knows the offset.
#[derive(Debug)]
pub(crate) struct Output<W> {
    inner: W,
    buffer: Vec<u8>,
    /// Bytes that were handed to `inner`.
    flushed: u64,
}

impl<W: Write> Output<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, buffer: Vec::with_capacity(BUFFER_BYTES), flushed: 0 }
    }

    /// The offset of the next byte.
    pub(crate) fn position(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Room for the fixed and small parts of headers; the caller appends.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Appends bytes; large ones go to the writer without a copy.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() < BUFFER_BYTES.saturating_sub(self.buffer.len()) {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush_buffer()?;
        if bytes.len() < BUFFER_BYTES {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.inner.write_all(bytes)?;
        self.flushed += bytes.len() as u64;
        Ok(())
    }

    /// Copies up to `count` bytes from `reader`, straight into the buffer; returns how many there were.
    pub(crate) fn copy<R: Read + ?Sized>(&mut self, reader: &mut R, count: u64) -> io::Result<u64> {
        let mut copied = 0;
        while copied < count {
            if self.buffer.len() >= BUFFER_BYTES {
                self.flush_buffer()?;
            }
            let room = (BUFFER_BYTES - self.buffer.len()) as u64;
            let wanted = room.min(count - copied);
            let got = Read::take(&mut *reader, wanted).read_to_end(&mut self.buffer)? as u64;
            copied += got;
            if got < wanted {
                break;
            }
        }
        Ok(copied)
    }

    fn flush_buffer(&mut self) -> io::Result<()> {
        self.inner.write_all(&self.buffer)?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Hands everything over, flushes the writer and gives it back.
    pub(crate) fn into_inner(mut self) -> io::Result<W> {
        self.flush_buffer()?;
        self.inner.flush()?;
        Ok(self.inner)
    }
}
