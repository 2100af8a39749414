//! A member's content, in pieces, never more than its header says.

use std::io::{Read, Seek};

use flate2::{Decompress, FlushDecompress, Status};

use super::ArchiveEntry;
use super::source::Source;
use crate::fault::ExtractError;
use crate::member::{ContentFault, Method};

const PIECE_BYTES: usize = 64 << 10;

/// The decompressor and its buffer, used again for each member.
pub(super) struct Inflater {
    decoder: Decompress,
    piece: Vec<u8>,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { decoder: Decompress::new(false), piece: vec![0; PIECE_BYTES] }
    }
}

/// Counts and sums what goes through, and stops what is too much.
struct Checked<'e, F> {
    entry: &'e ArchiveEntry,
    hasher: crc32fast::Hasher,
    bytes: u64,
    sink: F,
}

impl<F: FnMut(&[u8]) -> Result<(), ExtractError>> Checked<'_, F> {
    fn put(&mut self, piece: &[u8]) -> Result<(), ExtractError> {
        self.bytes += piece.len() as u64;
        if self.bytes > self.entry.info.size {
            return Err(self.size_fault());
        }
        self.hasher.update(piece);
        (self.sink)(piece)
    }

    fn finish(self) -> Result<(), ExtractError> {
        if self.bytes != self.entry.info.size {
            return Err(self.size_fault());
        }
        let (expected, found) = (self.entry.info.crc32, self.hasher.finalize());
        if found != expected {
            return Err(ExtractError::member(&self.entry.name, ContentFault::Crc { expected, found }));
        }
        Ok(())
    }

    fn size_fault(&self) -> ExtractError {
        let fault = ContentFault::Size { expected: self.entry.info.size, found: self.bytes };
        ExtractError::member(&self.entry.name, fault)
    }
}

/// Hands the content of a member to `sink`, piece by piece, and checks its length and checksum at the end.
pub(super) fn copy<R: Read + Seek>(
    source: &mut Source<R>,
    entry: &ArchiveEntry,
    inflater: &mut Inflater,
    sink: impl FnMut(&[u8]) -> Result<(), ExtractError>,
) -> Result<(), ExtractError> {
    source.seek(entry.data_offset)?;
    let mut out = Checked { entry, hasher: crc32fast::Hasher::new(), bytes: 0, sink };
    match entry.info.method {
        Method::Stored => {
            let mut left = entry.info.compressed;
            while left > 0 {
                let piece = source.peek(left)?;
                out.put(piece)?;
                let count = piece.len();
                source.consume(count);
                left -= count as u64;
            }
        }
        Method::Deflated => inflate(source, entry, inflater, &mut out)?,
    }
    out.finish()
}

fn inflate<R: Read + Seek, F: FnMut(&[u8]) -> Result<(), ExtractError>>(
    source: &mut Source<R>,
    entry: &ArchiveEntry,
    inflater: &mut Inflater,
    out: &mut Checked<'_, F>,
) -> Result<(), ExtractError> {
    let Inflater { decoder, piece } = inflater;
    let bad = || ExtractError::member(&entry.name, ContentFault::BadDeflate);
    decoder.reset(false);
    loop {
        let left = entry.info.compressed - decoder.total_in();
        let input = if left == 0 { &[] } else { source.peek(left)? };
        let (read_before, made_before) = (decoder.total_in(), decoder.total_out());
        let status = decoder.decompress(input, piece, FlushDecompress::None).map_err(|_| bad())?;
        let read = (decoder.total_in() - read_before) as usize;
        let made = (decoder.total_out() - made_before) as usize;
        source.consume(read);
        out.put(&piece[..made])?;
        if status == Status::StreamEnd {
            // Bytes behind the end of the stream would be hidden.
            return if decoder.total_in() == entry.info.compressed { Ok(()) } else { Err(bad()) };
        }
        if read == 0 && made == 0 {
            return Err(bad());
        }
    }
}
