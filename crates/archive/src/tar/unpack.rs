//! The way in: the bytes of a tar file out of what it is wrapped in, with the ratio watched.

use std::io::{self, BufRead, BufReader, Read};

use super::fault::TarFault;
use crate::fault::ExtractError;
use crate::limits::Limits;

const BUFFER_BYTES: usize = 64 << 10;

/// The decoder may look back 32 MiB and holds as much in memory: enough for every level of `zstd` but
/// `--ultra` and `--long`.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;

/// What a tar file is wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packing {
    /// Nothing.
    None,
    /// One gzip member (RFC 1952).
    Gzip,
    /// One Zstandard frame without a dictionary (RFC 8878).
    Zstd,
}

/// The file itself, counted, so that its own errors can be told from those of a decoder.
struct Raw<R> {
    inner: BufReader<R>,
    bytes: u64,
    has_failed: bool,
}

impl<R: Read> Read for Raw<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Raw<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let filled = self.inner.fill_buf();
        self.has_failed |= filled.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        filled
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.bytes += count as u64;
    }
}

enum Layer<R: Read> {
    None(Raw<R>),
    Gzip(Box<flate2::bufread::GzDecoder<Raw<R>>>),
    Zstd(zstd::stream::read::Decoder<'static, Raw<R>>),
}

/// Gives the bytes of the tar file.
pub(super) struct Unpacker<R: Read> {
    layer: Layer<R>,
    /// Bytes that came out.
    bytes: u64,
    limits: Limits,
}

impl<R: Read> Unpacker<R> {
    pub(super) fn new(reader: R, packing: Packing, limits: &Limits) -> Result<Self, ExtractError> {
        let inner = BufReader::with_capacity(BUFFER_BYTES, reader);
        let raw = Raw { inner, bytes: 0, has_failed: false };
        let layer = match packing {
            Packing::None => Layer::None(raw),
            Packing::Gzip => Layer::Gzip(flate2::bufread::GzDecoder::new(raw).into()),
            Packing::Zstd => Layer::Zstd(zstd_layer(raw).map_err(ExtractError::Read)?),
        };
        Ok(Self { layer, bytes: 0, limits: limits.clone() })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many bytes came out so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Some of the next bytes; none at the end, where the checksums of the layer were right.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ExtractError> {
        loop {
            let read = match &mut self.layer {
                Layer::None(raw) => raw.read(buffer),
                Layer::Gzip(decoder) => decoder.read(buffer),
                Layer::Zstd(decoder) => decoder.read(buffer),
            };
            match read {
                Ok(count) => {
                    self.bytes += count as u64;
                    let limit = self.limits.ratio_max;
                    let is_fine = self.limits.is_ratio_fine(self.bytes, self.raw().bytes);
                    return if is_fine { Ok(count) } else { Err(ExtractError::TotalRatio { limit }) };
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.raw().has_failed => return Err(ExtractError::Read(error)),
                Err(_) => return Err(TarFault::Damaged.into()),
            }
        }
    }

    /// Fills the buffer as far as there are bytes; how many there were.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ExtractError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    /// After the last byte: nothing may stand behind the layer.
    pub(super) fn check_end(&mut self) -> Result<(), ExtractError> {
        let raw = match &mut self.layer {
            Layer::None(raw) => raw,
            Layer::Gzip(decoder) => decoder.get_mut(),
            Layer::Zstd(decoder) => decoder.get_mut(),
        };
        let mut next = [0];
        loop {
            match raw.read(&mut next) {
                Ok(0) => return Ok(()),
                Ok(_) => return Err(TarFault::SecondStream.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ExtractError::Read(error)),
            }
        }
    }

    fn raw(&self) -> &Raw<R> {
        match &self.layer {
            Layer::None(raw) => raw,
            Layer::Gzip(decoder) => decoder.get_ref(),
            Layer::Zstd(decoder) => decoder.get_ref(),
        }
    }
}

fn zstd_layer<R: Read>(raw: Raw<R>) -> io::Result<zstd::stream::read::Decoder<'static, Raw<R>>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(raw)?.single_frame();
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}
