//! The tar of a tree: each blob read and written in git's order.

use std::cell::Cell;
use std::io::{self, Write};
use std::rc::Rc;

use gristmill_archive::{ArchiveWriter, Compressor, FileEntry, FileMode, Format, IN_MEMORY_MAX};
use gristmill_git::{Entry, Objects};
use gristmill_model::TreeId;
use gristmill_storage::Staged;

use super::zip::{Written, list, object_error, streamed, too_large, write_error};
use crate::worker::step::StepError;

/// Writes the archive of `tree` into `staged`.
pub(super) fn tar_tree(
    objects: &Objects,
    tree: TreeId,
    format: Format,
    staged: Staged,
    bytes_max: u64,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Written, StepError> {
    let planned = list(objects, tree)?;
    let bytes = Rc::new(Cell::new(0));
    let counted = Counted { inner: staged, bytes: bytes.clone() };
    let mut tar = ArchiveWriter::new(format, counted).map_err(write_error)?;
    let mut compressor = Compressor::new();
    let mut buffer = Vec::new();
    for one in &planned {
        if is_stopped() {
            return Err(StepError::retry("the program stops, or the run was cancelled"));
        }
        match one.entry {
            Entry::Folder { .. } => {}
            Entry::Submodule { .. } => tar.directory(&one.name).map_err(write_error)?,
            Entry::Symlink { blob } => {
                objects.blob(blob, &mut buffer).map_err(object_error)?;
                tar.symlink(&one.name, &buffer).map_err(write_error)?;
            }
            Entry::File { blob, executable } => {
                let mode = if executable { FileMode::Executable } else { FileMode::Regular };
                let entry = FileEntry { name: &one.name, mode, key: None };
                if objects.blob_size(blob).map_err(object_error)? > IN_MEMORY_MAX {
                    streamed(objects, blob, |size, reader| tar.streamed(&entry, size, reader))?;
                } else {
                    objects.blob(blob, &mut buffer).map_err(object_error)?;
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
