//! Reads tar files that nobody vouches for. A parser of our own for the same reason as with zip: this one
//! refuses whatever two programs could read in two ways. It reads forwards only, so a stream will do.
//!
//! Accepted are headers of POSIX and of GNU tar with right checksums; before a member at most one extended
//! header, of known keys, each once, and GNU's long names, but not both for one thing; one global header that
//! changes nothing. A size in an extended header must be that of the header, unless it cannot stand there. The
//! space behind contents holds zeros, two blocks of zeros end the file, and only zeros follow.

use std::io::{Read, Write};

use super::fault::{TarEntryFault, TarFault};
use super::header::OCTAL_MAX;
use super::parse::RawHeader;
use super::pax::{EXTENDED_BYTES_MAX, Extended, Globals};
use super::unpack::{Packing, Unpacker};
use super::{BLOCK, padding};
use crate::fault::{EntryFault, ExtractError};
use crate::limits::Limits;
use crate::read::Kind;

/// Zeros behind the end: tape drives wanted files filled up. GNU tar's largest such unit is 1 MiB.
pub(super) const TRAILING_ZEROS_MAX: u64 = 1 << 20;

const PIECE_BYTES: usize = 64 << 10;

/// A member as its headers describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarEntry {
    name: Box<[u8]>,
    kind: Kind,
    size: u64,
    mtime: u64,
    target: Box<[u8]>,
}

impl TarEntry {
    /// The name as it stands there, whatever that is; only extraction judges names. A folder's has lost the
    /// one slash that it may end in.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Length of a file's content in bytes; 0 for others.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The time in its header, in seconds since 1970; 0 where that is no number. `git archive` writes the
    /// commit's there.
    pub fn mtime(&self) -> u64 {
        self.mtime
    }

    /// A symbolic link's target; empty for others.
    pub fn target(&self) -> &[u8] {
        &self.target
    }
}

/// Reads a tar file member by member.
pub struct TarReader<R: Read> {
    source: Unpacker<R>,
    globals: Globals,
    /// The name of the member whose content comes next, for errors.
    name: Box<[u8]>,
    /// Content that was not read yet.
    left: u64,
    /// Zeros that follow it.
    padding: usize,
    entries: u64,
    /// Content of all members so far.
    total: u64,
    is_at_end: bool,
    piece: Vec<u8>,
}

impl<R: Read> TarReader<R> {
    /// Nothing is read yet. Members, their sizes and the ratio are held within the limits.
    pub fn new(reader: R, packing: Packing, limits: &Limits) -> Result<Self, ExtractError> {
        Ok(Self {
            source: Unpacker::new(reader, packing, limits)?,
            globals: Globals::default(),
            name: Box::default(),
            left: 0,
            padding: 0,
            entries: 0,
            total: 0,
            is_at_end: false,
            piece: vec![0; PIECE_BYTES],
        })
    }

    /// The comment of the header that is for all members, once the first member was read. `git archive` writes the
    /// commit's id there (`git get-tar-commit-id` reads it).
    pub fn comment(&self) -> Option<&[u8]> {
        self.globals.comment.as_deref()
    }

    /// The next member, or none at the end, when the whole file was read and found right. Content that was not
    /// copied is passed over.
    pub fn next_entry(&mut self) -> Result<Option<TarEntry>, ExtractError> {
        if self.is_at_end {
            return Ok(None);
        }
        self.pieces(|_| Ok(()))?;
        let mut extended = Extended::default();
        loop {
            let number = self.source.bytes() / BLOCK as u64;
            let block = self.block()?;
            if block == [0; BLOCK] {
                if !extended.is_empty() {
                    return Err(TarFault::Extended("no member follows it").into());
                }
                self.end()?;
                return Ok(None);
            }
            let header = RawHeader::read(&block).ok_or(TarFault::NoHeader { block: number })?;
            match header.kind() {
                b'g' if extended.is_empty() => {
                    let bytes = self.extended(&header)?;
                    self.globals.records(&bytes)?;
                }
                b'g' => return Err(TarFault::Extended("no member follows it").into()),
                b'x' => extended.records(&self.extended(&header)?)?,
                b'L' => extended.gnu(false, &self.extended(&header)?)?,
                b'K' => extended.gnu(true, &self.extended(&header)?)?,
                _ => return self.member(&header, extended).map(Some),
            }
        }
    }

    /// Writes the content of the member that [`TarReader::next_entry`] gave last. What was written before an
    /// error is not to be used. A second time there is nothing left to write.
    pub fn copy(&mut self, out: &mut dyn Write) -> Result<(), ExtractError> {
        self.pieces(|piece| {
            out.write_all(piece)
                .map_err(|source| ExtractError::Write { path: "the copy of a member".into(), source })
        })
    }

    /// Hands the rest of the content to `sink`, piece by piece, and checks what fills the last block.
    pub(crate) fn pieces(
        &mut self,
        mut sink: impl FnMut(&[u8]) -> Result<(), ExtractError>,
    ) -> Result<(), ExtractError> {
        while self.left > 0 {
            let wanted = self.left.min(PIECE_BYTES as u64) as usize;
            let count = self.source.read(&mut self.piece[..wanted])?;
            if count == 0 {
                return Err(TarFault::NoEnd.into());
            }
            self.left -= count as u64;
            sink(&self.piece[..count])?;
        }
        let mut zeros = [0; BLOCK];
        let zeros = &mut zeros[..std::mem::take(&mut self.padding)];
        if self.source.fill(zeros)? < zeros.len() {
            return Err(TarFault::NoEnd.into());
        }
        if zeros.iter().any(|&byte| byte != 0) {
            return Err(ExtractError::member(&self.name, TarEntryFault::Padding));
        }
        Ok(())
    }

    fn block(&mut self) -> Result<[u8; BLOCK], ExtractError> {
        let mut block = [0; BLOCK];
        if self.source.fill(&mut block)? < BLOCK {
            return Err(TarFault::NoEnd.into());
        }
        Ok(block)
    }

    /// What an extended header holds.
    fn extended(&mut self, header: &RawHeader<'_>) -> Result<Vec<u8>, ExtractError> {
        let size = header.size().ok_or(TarFault::Extended("the size is no number"))?;
        if size > EXTENDED_BYTES_MAX {
            return Err(TarFault::ExtendedTooLarge.into());
        }
        self.name = header.name().into();
        (self.left, self.padding) = (size, padding(size));
        let mut bytes = Vec::new();
        self.pieces(|piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    fn member(&mut self, header: &RawHeader<'_>, extended: Extended) -> Result<TarEntry, ExtractError> {
        let Extended { path, target, size, long_name, long_target, .. } = extended;
        let is_named_twice =
            (path.is_some() && long_name.is_some()) || (target.is_some() && long_target.is_some());
        let mut name = path.or(long_name).unwrap_or_else(|| header.name());
        let described = if is_named_twice {
            Err(TarEntryFault::NamedTwice.into())
        } else {
            describe(header, size, &mut name, self.source.limits())
        };
        let (kind, size) = described.map_err(|fault| ExtractError::member(&name, fault))?;
        self.count(size)?;
        let target = match kind {
            Kind::Symlink => target.or(long_target).unwrap_or_else(|| header.target().to_vec()),
            _ => Vec::new(),
        };
        self.name = name.clone().into();
        (self.left, self.padding) = (size, padding(size));
        let mtime = header.mtime().unwrap_or_default();
        Ok(TarEntry { name: name.into(), kind, size, mtime, target: target.into() })
    }

    /// One more member of this size is within the limits.
    fn count(&mut self, size: u64) -> Result<(), ExtractError> {
        let limits = self.source.limits();
        self.entries += 1;
        if self.entries > limits.files_max {
            return Err(ExtractError::TooManyFiles { limit: limits.files_max });
        }
        self.total = self.total.saturating_add(size);
        if self.total > limits.bytes_total_max {
            return Err(ExtractError::TotalTooLarge { limit: limits.bytes_total_max });
        }
        Ok(())
    }

    /// After the first block of zeros: a second one, some more zeros, and nothing else.
    fn end(&mut self) -> Result<(), ExtractError> {
        if self.block()? != [0; BLOCK] {
            return Err(TarFault::NoEnd.into());
        }
        let mut zeros = 0;
        loop {
            let count = self.source.read(&mut self.piece)?;
            zeros += count as u64;
            if zeros > TRAILING_ZEROS_MAX || self.piece[..count].iter().any(|&byte| byte != 0) {
                return Err(TarFault::TrailingBytes.into());
            }
            if count == 0 {
                break;
            }
        }
        self.source.check_end()?;
        self.is_at_end = true;
        Ok(())
    }
}

/// Kind and size. Takes the slash at the end of a folder's name away.
fn describe(
    header: &RawHeader<'_>,
    extended_size: Option<u64>,
    name: &mut Vec<u8>,
    limits: &Limits,
) -> Result<(Kind, u64), EntryFault> {
    let size = header.size().ok_or(TarEntryFault::Number("size"))?;
    let size = match extended_size {
        // Where the header cannot hold it, what stands there instead is not said anywhere.
        Some(extended) if extended > OCTAL_MAX || extended == size => extended,
        Some(_) => return Err(TarEntryFault::SizesDisagree.into()),
        None => size,
    };
    let mode = header.mode().ok_or(TarEntryFault::Number("mode"))?;
    match header.kind() {
        b'0' | 0 if name.ends_with(b"/") => Err(EntryFault::KindMismatch),
        b'0' | 0 if size > limits.file_bytes_max => {
            Err(EntryFault::TooLarge { limit: limits.file_bytes_max })
        }
        b'0' | 0 => Ok((if mode & 0o100 == 0 { Kind::File } else { Kind::Executable }, size)),
        b'2' if size > 0 => Err(TarEntryFault::LinkWithContent.into()),
        b'2' => Ok((Kind::Symlink, 0)),
        b'5' if size > 0 => Err(EntryFault::FolderWithContent),
        b'5' => {
            if name.ends_with(b"/") {
                name.pop();
            }
            Ok((Kind::Directory, 0))
        }
        b'1' => Err(TarEntryFault::HardLink.into()),
        b'3' | b'4' | b'6' => Err(TarEntryFault::Device.into()),
        b'S' => Err(TarEntryFault::Sparse.into()),
        other => Err(TarEntryFault::Type(other).into()),
    }
}
