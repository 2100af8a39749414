//! Tar files, bare or compressed: how they are written, and how those that nobody vouches for are read.
//!
//! The format is POSIX's (IEEE Std 1003.1, `pax`, "ustar Interchange Format" and "pax Interchange Format").

mod fault;
mod gzip;
mod header;
mod pack;
mod parse;
mod pax;
mod read;
mod unpack;
mod writer;

pub use fault::{TarEntryFault, TarFault};
pub use read::{TarEntry, TarReader};
pub use unpack::Packing;
pub use writer::TarWriter;

/// Everything in a tar file fills whole blocks of so many bytes.
const BLOCK: usize = 512;

/// How many bytes follow a content of this size up to the end of its last block.
fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}
