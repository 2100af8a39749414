//! An archive into a folder.

use std::io::{Read, Seek};
use std::path::Path;

use crate::fault::{ExtractError, LinkFault};
use crate::format::Format;
use crate::limits::Limits;
use crate::read::{ArchiveEntry, Kind, ZipReader};
use crate::sink::{Sink, Summary};
use crate::tar::{Packing, TarReader};

/// Extracts an archive of a known format, see [`extract_zip`] and [`extract_tar`]. One that is of another
/// format is refused.
pub fn extract<R: Read + Seek>(
    format: Format,
    reader: R,
    destination: &Path,
    limits: &Limits,
) -> Result<Summary, ExtractError> {
    match format {
        Format::Zip => extract_zip(reader, destination, limits),
        Format::Tar => extract_tar(reader, Packing::None, destination, limits),
        Format::TarGz => extract_tar(reader, Packing::Gzip, destination, limits),
        Format::TarZst => extract_tar(reader, Packing::Zstd, destination, limits),
    }
}

/// Extracts a tar file that nobody vouches for, from where the reader stands to its end, by the rules of
/// [`extract_zip`]. Refused are hard links, devices, sparse files and whatever else git does not know; what
/// else is refused is said at [`TarReader`]'s faults, [`crate::TarFault`] and [`crate::TarEntryFault`].
pub fn extract_tar<R: Read>(
    reader: R,
    packing: Packing,
    destination: &Path,
    limits: &Limits,
) -> Result<Summary, ExtractError> {
    let mut tar = TarReader::new(reader, packing, limits)?;
    let mut sink = Sink::new(destination, limits)?;
    while let Some(entry) = tar.next_entry()? {
        match entry.kind() {
            Kind::File | Kind::Executable => {
                let mut file = sink.file(entry.name(), entry.kind() == Kind::Executable)?;
                tar.pieces(|piece| file.write(piece))?;
            }
            Kind::Symlink => sink.symlink(entry.name(), entry.target())?,
            Kind::Directory => sink.directory(entry.name())?,
        }
    }
    sink.finish()
}

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
