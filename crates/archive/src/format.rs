//! The formats an archive can have, and one way to write any of them.

use std::fmt;
use std::io::{Read, Write};

use crate::member::{Compressor, compress};
use crate::tar::TarWriter;
use crate::writer::{FileEntry, Finished, WriteError, ZipWriter};
use crate::{FORMAT_VERSION, IN_MEMORY_MAX};

/// Stands for every rule by which the bytes of a tar file follow from its members: headers, modes, the time,
/// and when there are extended headers. Part of the version of all three formats that hold one.
const TAR_VERSION: u32 = 1;

/// What an archive is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// A zip file; the one format whose members can be taken over from the archive before.
    Zip,
    /// A POSIX tar file.
    Tar,
    /// The same in gzip (RFC 1952).
    TarGz,
    /// The same in one Zstandard frame (RFC 8878).
    TarZst,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Zip, Self::Tar, Self::TarGz, Self::TarZst];

    /// The format's name in settings, which is also the extension of its files, without a dot in front.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::TarGz => "tar.gz",
            Self::TarZst => "tar.zst",
        }
    }

    /// The format of this name.
    pub fn from_extension(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.extension() == extension)
    }

    /// What a server calls it. The compressed ones are named for their outer layer (RFC 6713, RFC 8878), since
    /// the compression is part of the file and not of how it is sent.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Zip => "application/zip",
            Self::Tar => "application/x-tar",
            Self::TarGz => "application/gzip",
            Self::TarZst => "application/zstd",
        }
    }

    /// The version of the rules by which bytes follow from members. Together with the format it belongs into
    /// every key under which a finished archive is found again; see [`FORMAT_VERSION`]. It rises with those
    /// rules, also by a new version of a compressor; tests pin the bytes.
    pub fn version(self) -> u32 {
        match self {
            Self::Zip => FORMAT_VERSION,
            Self::Tar | Self::TarGz | Self::TarZst => TAR_VERSION,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}

/// Writes an archive of any format, member by member, in the order of the calls. What it promises of bytes
/// and errors is what [`ZipWriter`] and [`TarWriter`] promise.
#[derive(Debug)]
pub enum ArchiveWriter<W: Write> {
    /// A zip file. Through the writer itself also raw members can be written.
    Zip(ZipWriter<W>),
    /// A tar file, compressed or not.
    Tar(TarWriter<W>),
}

impl<W: Write> ArchiveWriter<W> {
    /// An archive that begins at the first byte written to `inner`.
    pub fn new(format: Format, inner: W) -> Result<Self, WriteError> {
        Ok(match format {
            Format::Zip => Self::Zip(ZipWriter::new(inner)),
            Format::Tar => Self::Tar(TarWriter::plain(inner)),
            Format::TarGz => Self::Tar(TarWriter::gzip(inner)),
            Format::TarZst => Self::Tar(TarWriter::zstd(inner)?),
        })
    }

    /// Writes a file whose content is in memory. The compressor is for zip files; the bytes are those that
    /// [`ArchiveWriter::streamed`] would write.
    pub fn file(
        &mut self,
        entry: &FileEntry<'_>,
        content: &[u8],
        compressor: &mut Compressor,
    ) -> Result<(), WriteError> {
        match self {
            Self::Zip(zip) if content.len() as u64 <= IN_MEMORY_MAX => {
                zip.member(entry, &compress(content, compressor))
            }
            // Compressed on its way instead of into memory.
            Self::Zip(zip) => zip.streamed(entry, content.len() as u64, &mut &content[..]),
            Self::Tar(tar) => tar.file(entry, content),
        }
    }

    /// Writes a file of any size from a reader that gives exactly `size` bytes.
    pub fn streamed<R: Read + ?Sized>(
        &mut self,
        entry: &FileEntry<'_>,
        size: u64,
        reader: &mut R,
    ) -> Result<(), WriteError> {
        match self {
            Self::Zip(zip) => zip.streamed(entry, size, reader),
            Self::Tar(tar) => tar.streamed(entry, size, reader),
        }
    }

    /// Writes a symbolic link.
    pub fn symlink(&mut self, name: &[u8], target: &[u8]) -> Result<(), WriteError> {
        match self {
            Self::Zip(zip) => zip.symlink(name, target),
            Self::Tar(tar) => tar.symlink(name, target),
        }
    }

    /// Writes a folder of its own. The name has no slash at its end.
    pub fn directory(&mut self, name: &[u8]) -> Result<(), WriteError> {
        match self {
            Self::Zip(zip) => zip.directory(name),
            Self::Tar(tar) => tar.directory(name),
        }
    }

    /// As [`ZipWriter::take_own_git`].
    pub fn take_own_git(&mut self) {
        match self {
            Self::Zip(zip) => zip.take_own_git(),
            Self::Tar(tar) => tar.take_own_git(),
        }
    }

    /// Writes the end and gives everything back. The index of a tar file is empty.
    pub fn finish(self) -> Result<Finished<W>, WriteError> {
        match self {
            Self::Zip(zip) => zip.finish(),
            Self::Tar(tar) => tar.finish(),
        }
    }
}
