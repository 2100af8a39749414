//! A zip file into a folder.

use std::io::{Read, Seek};
use std::path::Path;

use crate::fault::{ExtractError, LinkFault};
use crate::limits::Limits;
use crate::read::{ArchiveEntry, Kind, ZipReader};
use crate::sink::{Sink, Summary};

/// Extracts a zip file that nobody vouches for into `destination`, which must not exist or be an empty
/// folder; the folder above it must exist.
///
/// The tree appears there all at once: it is made in a folder `.extracting-…` beside it and moved at the end.
/// After an error nothing is left. Nothing is synced to the disk.
///
/// Files get 0755 or 0644, less what the process's umask takes away; times, owners and all other modes are
/// dropped. Names that are the same but for their case are refused on every file system; a reader who only
/// wants the contents can use [`ZipReader`], which does not judge names.
pub fn extract_zip<R: Read + Seek>(
    reader: R,
    destination: &Path,
    limits: &Limits,
) -> Result<Summary, ExtractError> {
    let mut zip = ZipReader::open(reader, limits)?;
    let entries = zip.entries().to_vec();
    let mut sink = Sink::new(destination, limits)?;
    for (number, entry) in entries.iter().enumerate() {
        match entry.kind() {
            Kind::File | Kind::Executable => {
                let mut file = sink.file(entry.name(), entry.kind() == Kind::Executable)?;
                zip.pieces(number, |piece| file.write(piece))?;
            }
            Kind::Symlink => {
                let target = target(&mut zip, number, entry, limits)?;
                sink.symlink(entry.name(), &target)?;
            }
            Kind::Directory => {
                sink.directory(entry.name().strip_suffix(b"/").unwrap_or(entry.name()))?;
                zip.pieces(number, |_| Ok(()))?;
            }
        }
    }
    sink.finish()
}

/// A symbolic link's target; one that is too long is not even read.
fn target<R: Read + Seek>(
    zip: &mut ZipReader<R>,
    number: usize,
    entry: &ArchiveEntry,
    limits: &Limits,
) -> Result<Vec<u8>, ExtractError> {
    let limit = limits.path_bytes_max;
    if entry.info().size > limit as u64 {
        return Err(ExtractError::member(entry.name(), LinkFault::TooLong { limit }));
    }
    let mut target = Vec::new();
    zip.pieces(number, |piece| {
        target.extend_from_slice(piece);
        Ok(())
    })?;
    Ok(target)
}

/// The members of a zip file, in the order in which they lie in it. Its structure is checked as for
/// extraction, but neither names nor contents are.
pub fn list<R: Read + Seek>(reader: R, limits: &Limits) -> Result<Vec<ArchiveEntry>, ExtractError> {
    Ok(ZipReader::open(reader, limits)?.into_entries())
}
