//! The zip of a tree: read, compressed on two threads, written in git's order; members that the archive
//! before has are copied as they are.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc;

use gristmill_archive::{
    Compressor, FileEntry, Index, IndexError, Located, Member as Raw, ZipWriter, compress,
};
use gristmill_model::PublicReason;
use gristmill_model::public::Bytes;
use gristmill_storage::{Blob, BlobReader, CopiedRange, Staged};

use super::source::{Content, Member, Planned, Source, write_error};
use crate::worker::step::StepError;

/// Threads that read and compress.
const THREADS: usize = 2;
/// Files that a thread does before the other thread's turn comes.
const BATCH_MEMBERS: usize = 64;
/// A thread hands over what it has at this many compressed bytes, though its batch is not done.
const PIECE_BYTES: usize = 4 << 20;
/// Pieces on their way from each thread to the writer; with `PIECE_BYTES` this bounds memory.
const PIECES_AHEAD_MAX: usize = 2;
/// How much of the archive before is read at once.
const READ_AHEAD: usize = 1 << 20;
/// A finished archive in the storage.
pub(super) struct Zipped {
    pub(super) archive: Blob,
    pub(super) index: Blob,
    pub(super) entries: u64,
    pub(super) reused: usize,
}

/// A finished archive, staged.
pub(super) struct Written {
    pub(super) staged: Staged,
    pub(super) index: Vec<u8>,
    pub(super) entries: u64,
    pub(super) reused: usize,
}

/// The archive before, whose members are taken over.
pub(super) struct Previous {
    index: Index,
    archive: BlobReader,
}

impl Previous {
    /// Refuses an index that is damaged or of another archive.
    pub(super) fn new(index: &[u8], archive: BlobReader) -> Result<Previous, IndexError> {
        let index = Index::decode(index)?;
        if index.archive_len() != archive.len() {
            return Err(IndexError::Length);
        }
        Ok(Previous { index, archive })
    }
}

/// Writes the zip of these members into `staged`.
pub(super) fn zip_tree(
    source: &Source,
    planned: &[Planned],
    previous: Option<&Previous>,
    staged: Staged,
    bytes_max: u64,
    is_stopped: &(dyn Fn() -> bool + Sync),
) -> Result<Written, StepError> {
    let missing = to_compress(planned, previous);
    let files = planned.iter().filter(|one| one.content().is_some()).count();
    let reused = files - missing.len();
    let shared = &missing;
    std::thread::scope(|scope| {
        let mut lanes = Vec::with_capacity(THREADS);
        for lane in 0..THREADS.min(missing.len().div_ceil(BATCH_MEMBERS)) {
            let (sender, receiver) = mpsc::sync_channel(PIECES_AHEAD_MAX);
            let source = source.clone();
            scope.spawn(move || compress_lane(&source, shared, lane, &sender));
            lanes.push(receiver);
        }
        let batches = missing.chunks(BATCH_MEMBERS).map(<[Missing<'_>]>::len).collect();
        let mut fresh = Fresh { lanes, batches, batch: 0, current: Vec::new().into_iter() };
        write(source, planned, previous, &mut fresh, staged, bytes_max, is_stopped)
    })
    .map(|finished| Written {
        index: finished.index.encode(),
        entries: finished.entries,
        staged: finished.inner,
        reused,
    })
}

/// A file that the archive before does not have: its name and content.
type Missing<'a> = (&'a [u8], &'a Content);

/// The files that the archive before does not have, in order. Equal files are compressed once each: they
/// are rare, and copying them between threads would cost more than it saves.
fn to_compress<'a>(planned: &'a [Planned], previous: Option<&Previous>) -> Vec<Missing<'a>> {
    let file = |one: &'a Planned| Some((one.name.as_slice(), one.content()?));
    let known = |content: &Content| located(previous, content.member_key().as_deref()).is_some();
    planned.iter().filter_map(file).filter(|(_, content)| !known(content)).collect()
}

/// Where the archive before has a member.
fn located(previous: Option<&Previous>, key: Option<&[u8]>) -> Option<Located> {
    previous?.index.get(key?)
}

type Compressed = Result<Option<Raw<'static>>, StepError>;

/// Reads and compresses every `THREADS`th batch of the list. `None` stands for a file too large for memory.
fn compress_lane(
    source: &Source,
    missing: &[Missing<'_>],
    lane: usize,
    out: &mpsc::SyncSender<Vec<Compressed>>,
) {
    let mut compressor = Compressor::new();
    let mut buffer = Vec::new();
    for batch in missing.chunks(BATCH_MEMBERS).skip(lane).step_by(THREADS) {
        let mut piece = Vec::with_capacity(batch.len());
        let mut bytes = 0;
        for (at, one) in (1..).zip(batch) {
            let member = compress_one(source, *one, &mut buffer, &mut compressor);
            bytes +=
                member.as_ref().map_or(0, |member| member.as_ref().map_or(0, |member| member.data.len()));
            piece.push(member);
            if bytes >= PIECE_BYTES || at == batch.len() {
                bytes = 0;
                // The writer is gone after an error of its own.
                if out.send(std::mem::take(&mut piece)).is_err() {
                    return;
                }
            }
        }
    }
}

fn compress_one(
    source: &Source,
    (name, content): Missing<'_>,
    buffer: &mut Vec<u8>,
    compressor: &mut Compressor,
) -> Compressed {
    if source.is_large(content)? {
        return Ok(None);
    }
    source.read(name, content, buffer)?;
    Ok(Some(compress(buffer, compressor).into_owned()))
}

/// The compressed members in the order of the list, from all lanes.
struct Fresh {
    lanes: Vec<mpsc::Receiver<Vec<Compressed>>>,
    /// How many members of each batch are still to come.
    batches: Vec<usize>,
    batch: usize,
    current: std::vec::IntoIter<Compressed>,
}

impl Fresh {
    fn next(&mut self) -> Compressed {
        loop {
            if let Some(member) = self.current.next() {
                return member;
            }
            if self.batches[self.batch] == 0 {
                self.batch += 1;
            }
            let piece = self.lanes[self.batch % THREADS].recv().expect("each thread sends all its batches");
            self.batches[self.batch] -= piece.len();
            self.current = piece.into_iter();
        }
    }
}

fn write(
    source: &Source,
    planned: &[Planned],
    previous: Option<&Previous>,
    fresh: &mut Fresh,
    staged: Staged,
    bytes_max: u64,
    is_stopped: &(dyn Fn() -> bool + Sync),
) -> Result<gristmill_archive::Finished<Staged>, StepError> {
    let mut zip = ZipWriter::new(staged);
    let mut taken =
        previous.map(|previous| Window { archive: &previous.archive, start: 0, bytes: Vec::new() });
    let mut targets = HashMap::new();
    let mut copied = Vec::new();
    let mut bytes = 0_u64;
    for one in planned {
        if is_stopped() {
            return Err(StepError::retry("the program stops, or the run was cancelled"));
        }
        match &one.member {
            Member::Folder => zip.directory(&one.name).map_err(write_error)?,
            Member::Symlink(at) => {
                let target = match targets.get(at) {
                    Some(target) => target,
                    None => {
                        let mut target = Vec::new();
                        source.blob(*at, &mut target)?;
                        targets.entry(*at).or_insert(target)
                    }
                };
                zip.symlink(&one.name, target).map_err(write_error)?;
            }
            Member::File { content, .. } | Member::OwnGit(content) => {
                if matches!(one.member, Member::OwnGit(_)) {
                    zip.take_own_git();
                }
                let key = content.member_key();
                let entry = FileEntry { name: &one.name, mode: one.mode(), key: key.as_deref() };
                bytes += match (located(previous, key.as_deref()), &mut taken) {
                    (Some(located), Some(window)) => {
                        let (from, len) = (located.offset, located.info.compressed);
                        let to = window.copy(&mut zip, &entry, located)?;
                        copied.push(CopiedRange { to, from, len });
                        len
                    }
                    _ => write_fresh(source, content, &mut zip, &entry, fresh)?,
                };
            }
        }
        if bytes > bytes_max {
            return Err(too_large(bytes_max));
        }
    }
    let mut finished = zip.finish().map_err(write_error)?;
    if let Some(previous) = previous {
        finished.inner.say_copied(previous.archive.blob().digest, copied);
    }
    Ok(finished)
}

fn write_fresh(
    source: &Source,
    content: &Content,
    zip: &mut ZipWriter<Staged>,
    entry: &FileEntry<'_>,
    fresh: &mut Fresh,
) -> Result<u64, StepError> {
    if let Some(member) = fresh.next()? {
        let compressed = member.info().compressed;
        zip.member(entry, &member).map_err(write_error)?;
        return Ok(compressed);
    }
    source.streamed(content, |size, reader| zip.streamed(entry, size, reader))
}

/// A piece of the archive before, in memory: neighbours in the new archive were mostly neighbours in the
/// old one.
struct Window<'a> {
    archive: &'a BlobReader,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    fn copy(
        &mut self,
        zip: &mut ZipWriter<Staged>,
        entry: &FileEntry<'_>,
        located: Located,
    ) -> Result<u64, StepError> {
        let length = located.info.compressed;
        let fits = usize::try_from(length).is_ok_and(|length| length <= READ_AHEAD);
        if !fits {
            let mut reader = At { archive: self.archive, offset: located.offset };
            return zip.member_from(entry, &located.info, &mut reader).map_err(write_error);
        }
        let held = self.start..self.start + self.bytes.len() as u64;
        if located.offset < held.start || located.end() > held.end {
            self.fill(located.offset)?;
        }
        let at = usize::try_from(located.offset - self.start).expect("within the window");
        let until = at + usize::try_from(length).expect("at most the window");
        let mut raw =
            self.bytes.get(at..until).ok_or_else(|| StepError::retry("the archive before is cut off"))?;
        zip.member_from(entry, &located.info, &mut raw).map_err(write_error)
    }

    fn fill(&mut self, offset: u64) -> Result<(), StepError> {
        let left = self.archive.len().saturating_sub(offset);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(READ_AHEAD);
        self.bytes.resize(length, 0);
        self.start = offset;
        self.archive.read_exact_at(&mut self.bytes, offset).map_err(StepError::retry)
    }
}

/// Reads the archive before from a place on.
struct At<'a> {
    archive: &'a BlobReader,
    offset: u64,
}

impl io::Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.archive.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

pub(super) fn too_large(bytes_max: u64) -> StepError {
    StepError::fail(format!("the archive is larger than {bytes_max} bytes; worker.archive_max allows more"))
        .told(PublicReason::ArchiveTooLarge(Bytes(bytes_max)))
}
