//! Gzip whose bytes do not depend on how it was cut or by how many threads it was made.
//!
//! The content is cut into blocks of a fixed size. Each is deflated by an encoder of its own, which knows the
//! last 32 KiB of the block before, and ends on a whole byte. So a block's bytes follow from the content alone,
//! and several blocks can be made at once. Behind one another they are one deflate stream, in one gzip member.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use flate2::{Compress, Compression, FlushCompress, Status};

/// The level of zlib-rs. Part of the format version.
const LEVEL: u32 = 6;

/// Content of one block. Part of the format version.
const BLOCK_BYTES: usize = 512 << 10;

/// How far deflate can look back.
const WINDOW_BYTES: usize = 32 << 10;

/// Blocks that are deflated at once.
const THREADS: usize = 2;

/// Blocks that are on their way, those waiting included: about 2 MiB.
const IN_FLIGHT_MAX: usize = 2 * THREADS;

/// No name, no time, and 255 for an unknown system: the same everywhere (RFC 1952, 2.3.1).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// One block and what the encoder may look back to.
#[derive(Debug)]
struct Job {
    before: Option<Arc<Vec<u8>>>,
    content: Arc<Vec<u8>>,
}

/// A thread that deflates. It ends when its way in is dropped.
#[derive(Debug)]
struct Lane {
    jobs: SyncSender<Job>,
    done: Receiver<io::Result<Vec<u8>>>,
}

/// Compresses what is written to it.
#[derive(Debug)]
pub(super) struct GzipWriter<W> {
    inner: W,
    hasher: crc32fast::Hasher,
    /// Length of the content so far.
    size: u64,
    before: Option<Arc<Vec<u8>>>,
    block: Vec<u8>,
    /// Empty until a second block shows that threads are worth it.
    lanes: Vec<Lane>,
    /// The lanes that hold results to come, oldest first.
    in_flight: VecDeque<usize>,
    next_lane: usize,
    has_header: bool,
}

impl<W: Write> GzipWriter<W> {
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: crc32fast::Hasher::new(),
            size: 0,
            before: None,
            block: Vec::new(),
            lanes: Vec::new(),
            in_flight: VecDeque::new(),
            next_lane: 0,
            has_header: false,
        }
    }

    /// Writes what is left and the end, and gives the writer back.
    pub(super) fn finish(mut self) -> io::Result<W> {
        while !self.in_flight.is_empty() {
            self.collect()?;
        }
        let content = Arc::new(std::mem::take(&mut self.block));
        let last = deflate(&Job { before: self.before.take(), content }, FlushCompress::Finish)?;
        self.put(&last)?;
        let mut trailer = [0; 8];
        trailer[..4].copy_from_slice(&self.hasher.finalize().to_le_bytes());
        // Modulo 2^32, as RFC 1952 wants it.
        trailer[4..].copy_from_slice(&(self.size as u32).to_le_bytes());
        self.inner.write_all(&trailer)?;
        Ok(self.inner)
    }

    /// Hands a full block to the next lane.
    fn dispatch(&mut self) -> io::Result<()> {
        if self.lanes.is_empty() {
            self.lanes = (0..THREADS).map(|_| Lane::start()).collect::<io::Result<_>>()?;
        }
        if self.in_flight.len() == IN_FLIGHT_MAX {
            self.collect()?;
        }
        let content = Arc::new(std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK_BYTES)));
        let job = Job { before: self.before.replace(content.clone()), content };
        self.lanes[self.next_lane].jobs.send(job).map_err(|_| lane_is_gone())?;
        self.in_flight.push_back(self.next_lane);
        self.next_lane = (self.next_lane + 1) % THREADS;
        Ok(())
    }

    /// Writes the oldest block that is under way.
    fn collect(&mut self) -> io::Result<()> {
        let lane = self.in_flight.pop_front().expect("the caller saw that one is under way");
        let packed = self.lanes[lane].done.recv().map_err(|_| lane_is_gone())??;
        self.put(&packed)
    }

    fn put(&mut self, packed: &[u8]) -> io::Result<()> {
        if !std::mem::replace(&mut self.has_header, true) {
            self.inner.write_all(&HEADER)?;
        }
        self.inner.write_all(packed)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full block waits for more: the last one, full or not, is made by `finish`.
        if self.block.len() == BLOCK_BYTES {
            self.dispatch()?;
        }
        let piece = &bytes[..bytes.len().min(BLOCK_BYTES - self.block.len())];
        self.hasher.update(piece);
        self.size += piece.len() as u64;
        self.block.extend_from_slice(piece);
        Ok(piece.len())
    }

    /// Does nothing: where it was called would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lane {
    fn start() -> io::Result<Self> {
        let (jobs, to_do) = sync_channel::<Job>(IN_FLIGHT_MAX);
        let (finished, done) = sync_channel(IN_FLIGHT_MAX);
        thread::Builder::new().name("gzip".into()).spawn(move || {
            for job in to_do {
                if finished.send(deflate(&job, FlushCompress::Sync)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { jobs, done })
    }
}

fn lane_is_gone() -> io::Error {
    io::Error::other("a thread that compresses has ended early")
}

/// Deflates one block.
fn deflate(job: &Job, flush: FlushCompress) -> io::Result<Vec<u8>> {
    let mut encoder = Compress::new(Compression::new(LEVEL), false);
    if let Some(before) = &job.before {
        let window = &before[before.len() - WINDOW_BYTES..];
        encoder.set_dictionary(window).map_err(io::Error::other)?;
    }
    let mut out = Vec::with_capacity(job.content.len() / 2 + 1024);
    loop {
        let read = encoder.total_in() as usize;
        let status = encoder.compress_vec(&job.content[read..], &mut out, flush).map_err(io::Error::other)?;
        // With room left behind the output, a flush is complete.
        let is_all = encoder.total_in() as usize == job.content.len() && out.len() < out.capacity();
        if status == Status::StreamEnd || (is_all && flush == FlushCompress::Sync) {
            return Ok(out);
        }
        out.reserve(64 << 10);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn content(length: usize) -> Vec<u8> {
        // Repeats itself at a distance that only the window across a border can use.
        let mixed = |at: u64| ((at + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ at << 17).wrapping_mul(at | 1);
        (0..length as u64).map(|at| (mixed(at % 30_011) >> 40) as u8).collect()
    }

    fn packed(content: &[u8], piece: usize) -> Vec<u8> {
        let mut writer = GzipWriter::new(Vec::new());
        for piece in content.chunks(piece) {
            writer.write_all(piece).expect("memory can be written");
            writer.flush().expect("does nothing");
        }
        writer.finish().expect("memory can be written")
    }

    #[test]
    fn the_bytes_do_not_depend_on_how_it_is_cut() {
        for length in
            [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES, 11 * BLOCK_BYTES / 2]
        {
            let content = content(length);
            let whole = packed(&content, usize::MAX);
            for piece in [7_919, BLOCK_BYTES, BLOCK_BYTES + 1] {
                assert!(packed(&content, piece) == whole, "{length} in pieces of {piece}");
            }
            let mut back = Vec::new();
            let mut reader = flate2::bufread::GzDecoder::new(&whole[..]);
            reader.read_to_end(&mut back).expect("our own gzip");
            assert!(back == content && reader.into_inner().is_empty(), "{length}");
        }
    }

    #[test]
    fn blocks_look_back_across_their_borders() {
        let content = content(2 * BLOCK_BYTES);
        let (one, two) = (packed(&content[..BLOCK_BYTES], 1 << 20).len(), packed(&content, 1 << 20).len());
        assert!(two - one < one - 20_000, "{one} and {two}: the second block repeats the first one's end");
    }

    #[test]
    fn content_that_cannot_be_compressed_fits() {
        let mut state = 1_u64;
        let noise: Vec<u8> = (0..2 * BLOCK_BYTES + 5)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as u8
            })
            .collect();
        let packed = packed(&noise, 10_000);
        assert!(packed.len() > noise.len() && packed.len() < noise.len() + 1000, "{}", packed.len());
        let mut back = Vec::new();
        flate2::bufread::GzDecoder::new(&packed[..]).read_to_end(&mut back).expect("our own gzip");
        assert!(back == noise);
    }
}
