//! Deflate for members too large for memory, with the same output however the reader slices its bytes.

use std::io::{self, Read};

use flate2::{Compress, Compression, FlushCompress, Status};

/// The level of zlib-rs. Part of the format version.
const LEVEL: u32 = 6;

/// The encoder is always fed full pieces of this size: its output may depend on them.
const CHUNK_BYTES: usize = 128 << 10;

/// What came out of [`deflate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deflated {
    pub(crate) crc32: u32,
    /// Bytes read; equal to what was asked for unless the reader ended before.
    pub(crate) size: u64,
    pub(crate) compressed: u64,
}

/// No deflate stream made by [`deflate`] is longer: stored blocks cost 5 bytes for every 16 KiB at worst.
pub(crate) fn compressed_bound(size: u64) -> u64 {
    size.saturating_add(size >> 10).saturating_add(64)
}

/// Deflates up to `size` bytes of `reader` into `sink`.
pub(crate) fn deflate<R: Read + ?Sized>(
    reader: &mut R,
    size: u64,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Deflated> {
    let mut encoder = Compress::new(Compression::new(LEVEL), false);
    let mut hasher = crc32fast::Hasher::new();
    let mut input = Vec::with_capacity(CHUNK_BYTES);
    let mut output = vec![0; CHUNK_BYTES];
    let mut left = size;
    loop {
        input.clear();
        let wanted = left.min(CHUNK_BYTES as u64);
        Read::take(&mut *reader, wanted).read_to_end(&mut input)?;
        left -= input.len() as u64;
        hasher.update(&input);
        let is_last = left == 0 || (input.len() as u64) < wanted;
        encode(&mut encoder, &input, is_last, &mut output, &mut sink)?;
        if is_last {
            break;
        }
    }
    Ok(Deflated { crc32: hasher.finalize(), size: size - left, compressed: encoder.total_out() })
}

/// Feeds one piece; after the last one, the end of the stream.
fn encode(
    encoder: &mut Compress,
    mut input: &[u8],
    is_last: bool,
    output: &mut [u8],
    sink: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let flush = if is_last { FlushCompress::Finish } else { FlushCompress::None };
    loop {
        let (read_before, written_before) = (encoder.total_in(), encoder.total_out());
        let status = encoder.compress(input, output, flush).map_err(io::Error::other)?;
        input = &input[(encoder.total_in() - read_before) as usize..];
        sink(&output[..(encoder.total_out() - written_before) as usize])?;
        let is_done = if is_last { status == Status::StreamEnd } else { input.is_empty() };
        if is_done {
            return Ok(());
        }
    }
}
