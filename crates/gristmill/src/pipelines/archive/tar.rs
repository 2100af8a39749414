//! The tar of a tree: each blob read and written in git's order.

use std::cell::Cell;
use std::io::{self, Write};
use std::rc::Rc;

use gristmill_archive::{ArchiveWriter, Compressor, FileEntry, Format};
use gristmill_storage::Staged;

use super::source::{Member, Planned, Source, write_error};
use super::zip::{Written, too_large};
use crate::worker::step::StepError;

/// Writes the archive of these members into `staged`.
pub(super) fn tar_tree(
    source: &Source,
    planned: &[Planned],
    format: Format,
    staged: Staged,
    bytes_max: u64,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Written, StepError> {
    let bytes = Rc::new(Cell::new(0));
    let counted = Counted { inner: staged, bytes: bytes.clone() };
    let mut tar = ArchiveWriter::new(format, counted).map_err(write_error)?;
    let mut compressor = Compressor::new();
    let mut buffer = Vec::new();
    for one in planned {
        if is_stopped() {
            return Err(StepError::retry("the program stops, or the run was cancelled"));
        }
        match &one.member {
            Member::Folder => tar.directory(&one.name).map_err(write_error)?,
            Member::Symlink(at) => {
                source.blob(*at, &mut buffer)?;
                tar.symlink(&one.name, &buffer).map_err(write_error)?;
            }
            Member::File { content, .. } | Member::OwnGit(content) => {
                if matches!(one.member, Member::OwnGit(_)) {
                    tar.take_own_git();
                }
                let entry = FileEntry { name: &one.name, mode: one.mode(), key: None };
                if source.is_large(content)? {
                    source.streamed(content, |size, reader| tar.streamed(&entry, size, reader))?;
                } else {
                    source.read(&one.name, content, &mut buffer)?;
                    tar.file(&entry, &buffer, &mut compressor).map_err(write_error)?;
                }
            }
        }
        if bytes.get() > bytes_max {
            return Err(too_large(bytes_max));
        }
    }
    let finished = tar.finish().map_err(write_error)?;
    if bytes.get() > bytes_max {
        return Err(too_large(bytes_max));
    }
    Ok(Written {
        index: finished.index.encode(),
        entries: finished.entries,
        staged: finished.inner.inner,
        reused: 0,
    })
}

/// Counts what goes into the storage.
struct Counted {
    inner: Staged,
    bytes: Rc<Cell<u64>>,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.bytes.set(self.bytes.get() + written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
