//! Reads zip files that nobody vouches for. A parser of our own, since other ones are made to read as much as
//! they can, and this one is made to refuse whatever two programs could read in two ways.
//!
//! Accepted are files in which everything is said twice and agrees: end records, directory, headers and
//! descriptors; whose members fill the file from its first byte to the directory without gap or overlap; and
//! which end with the end record and its comment.

mod central;
mod content;
mod end;
mod extra;
mod fields;
mod local;
mod source;

use std::io::{Read, Seek, Write};

use self::content::Inflater;
use self::source::Source;
use crate::fault::{ContainerFault, ExtractError};
use crate::limits::Limits;
use crate::member::MemberInfo;

/// The directory is held in memory while it is read.
const DIRECTORY_BYTES_MAX: u64 = 128 << 20;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A file.
    File,
    /// A file that its owner may execute.
    Executable,
    /// A symbolic link; its content is the target.
    Symlink,
    /// A folder.
    Directory,
}

/// A member as the archive describes it; its headers agree, its content is not checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveEntry {
    name: Box<[u8]>,
    kind: Kind,
    info: MemberInfo,
    flags: u16,
    header_offset: u64,
    data_offset: u64,
}

impl ArchiveEntry {
    /// The name as it stands there, whatever that is; only extraction judges names. A folder's ends in a slash.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Method, checksum and sizes.
    pub fn info(&self) -> MemberInfo {
        self.info
    }

    /// Where its raw bytes start.
    pub fn data_offset(&self) -> u64 {
        self.data_offset
    }
}

/// An open zip file.
pub struct ZipReader<R> {
    source: Source<R>,
    entries: Vec<ArchiveEntry>,
    inflater: Inflater,
}

impl<R: Read + Seek> ZipReader<R> {
    /// Reads the directory and checks the whole structure. Contents are checked as they are read.
    pub fn open(reader: R, limits: &Limits) -> Result<Self, ExtractError> {
        let mut source = Source::new(reader)?;
        let directory = end::find(&mut source)?;
        if directory.entries > limits.files_max {
            return Err(ExtractError::TooManyFiles { limit: limits.files_max });
        }
        if directory.size > DIRECTORY_BYTES_MAX {
            return Err(ContainerFault::DirectoryTooLarge { limit: DIRECTORY_BYTES_MAX }.into());
        }
        if directory.entries > directory.size / central::CENTRAL_BYTES {
            return Err(ContainerFault::Count.into());
        }
        let bytes = source.read_at(directory.offset, directory.size as usize)?;
        let mut entries = central::read_all(&bytes, directory.entries, limits)?;
        check_total(&entries, source.len(), limits)?;
        entries.sort_by_key(|entry| entry.header_offset);
        local::check_all(&mut source, &mut entries, directory.offset)?;
        Ok(Self { source, entries, inflater: Inflater::new() })
    }

    /// The members, in the order in which they lie in the file.
    pub fn entries(&self) -> &[ArchiveEntry] {
        &self.entries
    }

    /// Writes the content of one of [`ZipReader::entries`] and checks its length and checksum. What was
    /// written before an error is not to be used.
    ///
    /// # Panics
    /// If there is no entry of this number.
    pub fn copy(&mut self, number: usize, out: &mut dyn Write) -> Result<(), ExtractError> {
        self.pieces(number, |piece| {
            out.write_all(piece)
                .map_err(|source| ExtractError::Write { path: "the copy of a member".into(), source })
        })
    }

    pub(crate) fn into_entries(self) -> Vec<ArchiveEntry> {
        self.entries
    }

    /// Hands the content of an entry to `sink`, piece by piece.
    pub(crate) fn pieces(
        &mut self,
        number: usize,
        sink: impl FnMut(&[u8]) -> Result<(), ExtractError>,
    ) -> Result<(), ExtractError> {
        content::copy(&mut self.source, &self.entries[number], &mut self.inflater, sink)
    }
}

/// What the directory promises is within the limits. No content is ever longer than promised, so this holds
/// for the contents too.
fn check_total(entries: &[ArchiveEntry], archive_len: u64, limits: &Limits) -> Result<(), ExtractError> {
    let total = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.info.size));
    if total > limits.bytes_total_max {
        return Err(ExtractError::TotalTooLarge { limit: limits.bytes_total_max });
    }
    if !limits.is_ratio_fine(total, archive_len) {
        return Err(ExtractError::TotalRatio { limit: limits.ratio_max });
    }
    Ok(())
}
