//! What a tar file is wrapped in while it is written.

use std::io::{self, Write};

use super::gzip::GzipWriter;

/// The level of libzstd. Part of the format version.
const ZSTD_LEVEL: i32 = 3;

/// Zstandard is always fed full pieces of this size: its output may depend on them.
const ZSTD_PIECE_BYTES: usize = 128 << 10;

/// Counts what goes through.
#[derive(Debug)]
pub(super) struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The layer between a tar file and where it goes.
pub(super) enum Packer<W: Write> {
    Plain(Counted<W>),
    Gzip(GzipWriter<Counted<W>>),
    Zstd(ZstdWriter<Counted<W>>),
}

impl<W: Write> Packer<W> {
    pub(super) fn plain(inner: W) -> Self {
        Self::Plain(Counted { inner, bytes: 0 })
    }

    pub(super) fn gzip(inner: W) -> Self {
        Self::Gzip(GzipWriter::new(Counted { inner, bytes: 0 }))
    }

    pub(super) fn zstd(inner: W) -> io::Result<Self> {
        Ok(Self::Zstd(ZstdWriter::new(Counted { inner, bytes: 0 })?))
    }

    /// Ends the layer; the writer, flushed, and how many bytes it got.
    pub(super) fn finish(self) -> io::Result<(W, u64)> {
        let mut counted = match self {
            Self::Plain(counted) => counted,
            Self::Gzip(gzip) => gzip.finish()?,
            Self::Zstd(zstd) => zstd.finish()?,
        };
        counted.flush()?;
        Ok((counted.inner, counted.bytes))
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(counted) => counted.write(bytes),
            Self::Gzip(gzip) => gzip.write(bytes),
            Self::Zstd(zstd) => zstd.write(bytes),
        }
    }

    /// Only what is not compressed can be flushed before its end.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(counted) => counted.flush(),
            Self::Gzip(_) | Self::Zstd(_) => Ok(()),
        }
    }
}

impl<W: Write> std::fmt::Debug for Packer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}

/// One Zstandard frame with a checksum at its end, made by one thread.
pub(super) struct ZstdWriter<W: Write> {
    encoder: zstd::stream::write::Encoder<'static, W>,
    piece: Vec<u8>,
}

impl<W: Write> ZstdWriter<W> {
    fn new(inner: W) -> io::Result<Self> {
        let mut encoder = zstd::stream::write::Encoder::new(inner, ZSTD_LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self { encoder, piece: Vec::with_capacity(ZSTD_PIECE_BYTES) })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(ZSTD_PIECE_BYTES - self.piece.len())];
        self.piece.extend_from_slice(piece);
        if self.piece.len() == ZSTD_PIECE_BYTES {
            self.encoder.write_all(&self.piece)?;
            self.piece.clear();
        }
        Ok(piece.len())
    }

    fn finish(mut self) -> io::Result<W> {
        self.encoder.write_all(&self.piece)?;
        self.encoder.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zstandard_bytes_do_not_depend_on_how_it_is_cut() {
        for length in [0, 1, ZSTD_PIECE_BYTES, 3 * ZSTD_PIECE_BYTES + 17] {
            let content: Vec<u8> = (0..length).map(|at| ((at * at) >> 7) as u8).collect();
            let packed = |piece: usize| {
                let mut packer = Packer::zstd(Vec::new()).expect("memory");
                for piece in content.chunks(piece) {
                    packer.write_all(piece).expect("memory can be written");
                    packer.flush().expect("does nothing");
                }
                packer.finish().expect("memory can be written")
            };
            let (whole, bytes) = packed(usize::MAX);
            assert_eq!(bytes, whole.len() as u64);
            assert!(packed(1_009).0 == whole && packed(ZSTD_PIECE_BYTES).0 == whole, "{length}");
            assert!(zstd::stream::decode_all(&whole[..]).expect("our own frame") == content);
        }
    }
}
