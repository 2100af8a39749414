//! One member's bytes, compressed.

use std::borrow::Cow;

use libdeflater::{CompressionLvl, Decompressor};

use crate::{IN_MEMORY_MAX, stream};

/// The level of libdeflate. Part of the format version.
const LEVEL: i32 = 6;

/// How the bytes of a member are kept (APPNOTE.TXT 4.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// As they are.
    Stored,
    /// A raw deflate stream (RFC 1951).
    Deflated,
}

impl Method {
    /// The number in the headers.
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Stored => 0,
            Self::Deflated => 8,
        }
    }

    pub(crate) fn from_code(code: u16) -> Option<Self> {
        match code {
            0 => Some(Self::Stored),
            8 => Some(Self::Deflated),
            _ => None,
        }
    }
}

/// What the headers say of a member's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemberInfo {
    /// How the raw bytes are to be read.
    pub method: Method,
    /// CRC-32 of the content.
    pub crc32: u32,
    /// Length of the content in bytes.
    pub size: u64,
    /// Length of the raw bytes as they stand in the archive.
    pub compressed: u64,
}

impl MemberInfo {
    /// Whether the one rule for this size gives such a member: up to [`IN_MEMORY_MAX`] deflated exactly
    /// when that is smaller, above always deflated.
    pub(crate) fn is_canonical(&self) -> bool {
        match self.method {
            Method::Stored => self.compressed == self.size && self.size <= IN_MEMORY_MAX,
            Method::Deflated if self.size <= IN_MEMORY_MAX => self.compressed < self.size,
            Method::Deflated => self.compressed <= stream::compressed_bound(self.size),
        }
    }
}

/// A member ready to be written: the raw bytes and what the headers say of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// How `data` is to be read.
    pub method: Method,
    /// CRC-32 of the content.
    pub crc32: u32,
    /// Length of the content in bytes.
    pub size: u64,
    /// The raw bytes.
    pub data: Cow<'a, [u8]>,
}

impl Member<'_> {
    /// The facts without the bytes.
    pub fn info(&self) -> MemberInfo {
        let compressed = self.data.len() as u64;
        MemberInfo { method: self.method, crc32: self.crc32, size: self.size, compressed }
    }

    /// The same member with bytes of its own, to be sent to another thread or kept.
    pub fn into_owned(self) -> Member<'static> {
        let Self { method, crc32, size, data } = self;
        Member { method, crc32, size, data: Cow::Owned(data.into_owned()) }
    }
}

/// The compressor's tables and its output buffer; one per thread, used again for each member.
pub struct Compressor {
    inner: libdeflater::Compressor,
    buffer: Vec<u8>,
}

impl Compressor {
    /// A compressor at the one level of this format.
    pub fn new() -> Self {
        let level = CompressionLvl::new(LEVEL).expect("libdeflate has this level");
        Self { inner: libdeflater::Compressor::new(level), buffer: Vec::new() }
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

/// Compresses the content of a member by the one rule of this format.
///
/// Up to [`IN_MEMORY_MAX`]: libdeflate level 6 when that is smaller than the content, else stored (so an
/// empty member is stored). Above: zlib-rs level 6, as [`crate::ZipWriter::streamed`] does it, always.
/// The result borrows from `bytes` or from the compressor; see [`Member::into_owned`].
pub fn compress<'a>(bytes: &'a [u8], compressor: &'a mut Compressor) -> Member<'a> {
    let size = bytes.len() as u64;
    if size > IN_MEMORY_MAX {
        return compress_large(bytes);
    }
    let crc32 = crc32fast::hash(bytes);
    let bound = compressor.inner.deflate_compress_bound(bytes.len());
    if compressor.buffer.len() < bound {
        compressor.buffer.resize(bound, 0);
    }
    let compressed = compressor
        .inner
        .deflate_compress(bytes, &mut compressor.buffer)
        .expect("the buffer is as large as libdeflate's own bound");
    if compressed < bytes.len() {
        let data = Cow::Borrowed(&compressor.buffer[..compressed]);
        Member { method: Method::Deflated, crc32, size, data }
    } else {
        Member { method: Method::Stored, crc32, size, data: Cow::Borrowed(bytes) }
    }
}

fn compress_large(bytes: &[u8]) -> Member<'static> {
    let mut data = Vec::new();
    let done = stream::deflate(&mut &bytes[..], bytes.len() as u64, |piece| {
        data.extend_from_slice(piece);
        Ok(())
    })
    .expect("memory can be read and written");
    Member { method: Method::Deflated, crc32: done.crc32, size: done.size, data: Cow::Owned(data) }
}

/// Why the raw bytes of a member are not what they are said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContentFault {
    /// Not a deflate stream, or one that holds more than the size.
    #[error("the bytes are not a deflate stream of that size")]
    BadDeflate,
    /// The content has another length.
    #[error("the content has {found} bytes, {expected} were expected")]
    Size {
        /// What the member said.
        expected: u64,
        /// What there was.
        found: u64,
    },
    /// The content has another checksum.
    #[error("the content's CRC-32 is {found:08x}, {expected:08x} was expected")]
    Crc {
        /// What the member said.
        expected: u32,
        /// What there was.
        found: u32,
    },
}

/// Checks raw bytes that come from elsewhere, such as an earlier archive, against size and checksum, by
/// inflating them (about 1 GB/s of content). A deflated member takes its size in memory.
///
/// Not needed where archive and index were themselves found by their digests: then the raw bytes are what
/// was written with the index, and copying them is as safe as the digests are.
pub fn verify(member: &Member<'_>) -> Result<(), ContentFault> {
    let Member { method, crc32: expected, size, data } = member;
    match method {
        Method::Stored => check_content(data, *size, *expected),
        Method::Deflated => {
            let room = usize::try_from(*size).map_err(|_| ContentFault::BadDeflate)?;
            // More than 1032 to 1 is beyond deflate: do not reserve memory for a lie.
            if room / 1032 > data.len() {
                return Err(ContentFault::BadDeflate);
            }
            let mut content = vec![0; room];
            let found = Decompressor::new()
                .deflate_decompress(data, &mut content)
                .map_err(|_| ContentFault::BadDeflate)?;
            check_content(&content[..found], *size, *expected)
        }
    }
}

fn check_content(content: &[u8], size: u64, crc32: u32) -> Result<(), ContentFault> {
    let found = content.len() as u64;
    if found != size {
        return Err(ContentFault::Size { expected: size, found });
    }
    let found = crc32fast::hash(content);
    if found != crc32 {
        return Err(ContentFault::Crc { expected: crc32, found });
    }
    Ok(())
}
