//! A tar file whose bytes follow from its members alone.

use std::io::{Read, Write};

use super::header::Header;
use super::pack::Packer;
use super::{BLOCK, padding};
use crate::index::IndexBuilder;
use crate::name::shown;
use crate::names::NameSet;
use crate::output::Output;
use crate::writer::{FileEntry, FileMode, Finished, SYMLINK_BYTES_MAX, WriteError, has_more, take_name};

/// Writes a tar file member by member, in the order of the calls, bare or compressed.
///
/// Files have the mode 0644 or 0755, symbolic links 0777, folders 0755; the owner is 0 without a name, the time
/// 1980-01-01. Names and targets of up to 100 bytes stand in the header, longer names cut in two where a slash
/// allows it; what does not fit, and a size from 8 GiB on, stands in an extended header before it. Two blocks of
/// zeros are the end. Gzip is of level 6 in blocks that two threads make, Zstandard of level 3; how many bytes
/// come at once does not change the result.
///
/// Nothing is taken over from an earlier archive: a bare tar file holds nothing that was costly to make, and in
/// the others members share one compressed stream, which would have to be cut at each of them. So
/// [`FileEntry::key`] is not looked at, and the index is empty.
///
/// After an error of reading or writing the archive is [`WriteError::Broken`]; after a refused name or member
/// it can go on.
#[derive(Debug)]
pub struct TarWriter<W: Write> {
    out: Output<Packer<W>>,
    names: NameSet,
    entries: u64,
    /// A member was begun and not ended.
    is_broken: bool,
    own_git: bool,
}

impl<W: Write> TarWriter<W> {
    /// A bare tar file that begins at the first byte written to `inner`.
    pub fn plain(inner: W) -> Self {
        Self::over(Packer::plain(inner))
    }

    /// A tar file in gzip.
    pub fn gzip(inner: W) -> Self {
        Self::over(Packer::gzip(inner))
    }

    /// A tar file in a Zstandard frame. Fails where there is no memory for the encoder.
    pub fn zstd(inner: W) -> Result<Self, WriteError> {
        Ok(Self::over(Packer::zstd(inner)?))
    }

    fn over(packer: Packer<W>) -> Self {
        Self {
            out: Output::new(packer),
            names: NameSet::default(),
            entries: 0,
            is_broken: false,
            own_git: false,
        }
    }

    /// As [`crate::ZipWriter::take_own_git`].
    pub fn take_own_git(&mut self) {
        self.own_git = true;
    }

    /// Writes a file whose content is in memory.
    pub fn file(&mut self, entry: &FileEntry<'_>, content: &[u8]) -> Result<(), WriteError> {
        let size = content.len() as u64;
        self.begin_file(entry, size)?;
        self.out.put(content)?;
        self.end(size);
        Ok(())
    }

    /// Writes a file of any size from a reader that gives exactly `size` bytes.
    pub fn streamed<R: Read + ?Sized>(
        &mut self,
        entry: &FileEntry<'_>,
        size: u64,
        reader: &mut R,
    ) -> Result<(), WriteError> {
        self.begin_file(entry, size)?;
        let read = self.out.copy(reader, size)?;
        let found = read + u64::from(read == size && has_more(reader)?);
        if found != size {
            return Err(WriteError::Length { name: shown(entry.name), expected: size, found });
        }
        self.end(size);
        Ok(())
    }

    /// Writes a symbolic link. A target that is empty or holds a NUL byte is refused: no header can say it.
    pub fn symlink(&mut self, name: &[u8], target: &[u8]) -> Result<(), WriteError> {
        if target.len() > SYMLINK_BYTES_MAX {
            return Err(WriteError::SymlinkTooLong(shown(name)));
        }
        if target.is_empty() || target.contains(&0) {
            return Err(WriteError::SymlinkTarget(shown(name)));
        }
        self.begin(&Header { name, kind: b'2', mode: 0o777, size: 0, target })?;
        self.end(0);
        Ok(())
    }

    /// Writes a folder of its own, for what git tracks without any file: a submodule. The name has no slash
    /// at its end.
    pub fn directory(&mut self, name: &[u8]) -> Result<(), WriteError> {
        self.begin(&Header { name, kind: b'5', mode: 0o755, size: 0, target: b"" })?;
        self.end(0);
        Ok(())
    }

    /// Writes the end and gives everything back.
    pub fn finish(mut self) -> Result<Finished<W>, WriteError> {
        if self.is_broken {
            return Err(WriteError::Broken);
        }
        self.out.put(&[0; 2 * BLOCK])?;
        let (inner, len) = self.out.into_inner()?.finish()?;
        Ok(Finished { inner, index: IndexBuilder::default().finish(len), entries: self.entries, len })
    }

    fn begin_file(&mut self, entry: &FileEntry<'_>, size: u64) -> Result<(), WriteError> {
        let mode = match entry.mode {
            FileMode::Regular => 0o644,
            FileMode::Executable => 0o755,
        };
        self.begin(&Header { name: entry.name, kind: b'0', mode, size, target: b"" })
    }

    /// Checks everything, then writes the header.
    fn begin(&mut self, header: &Header<'_>) -> Result<(), WriteError> {
        if self.is_broken {
            return Err(WriteError::Broken);
        }
        let is_folder = header.kind == b'5';
        take_name(&mut self.names, header.name, is_folder, self.own_git)?;
        self.is_broken = true;
        let slashed;
        let mut header = *header;
        if is_folder {
            slashed = [header.name, b"/"].concat();
            header.name = &slashed;
        }
        let mut bytes = Vec::with_capacity(BLOCK);
        header.put(&mut bytes);
        self.out.put(&bytes)?;
        Ok(())
    }

    /// Fills the last block.
    fn end(&mut self, size: u64) {
        let buffer = self.out.buffer();
        buffer.resize(buffer.len() + padding(size), 0);
        self.entries += 1;
        self.is_broken = false;
    }
}
