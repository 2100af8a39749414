//! A file system that forgets, on demand, what was not synced: for tests that "accepted" means "durable".
//!
//! `kill -9` alone cannot show a missing `fsync`: the kernel still holds what the process wrote. A server whose
//! data lies on a [`LossFs`] is killed and then [`LossFs::crash`] takes from it every byte and every name that
//! no `fsync` had made durable, as a power loss may. What is promised must still be there.
//!
//! Everything is in memory, served through `/dev/fuse`; mounting needs Linux and `CAP_SYS_ADMIN`
//! ([`LossFs::available`] says why not). Programs use it as any other file system, with these limits:
//! - `O_TMPFILE`, `fallocate`, extended attributes and `copy_file_range` are refused as unsupported, which the
//!   C library and careful programs fall back from. Locks (`flock`, `fcntl`) and shared mappings work.
//! - `sync` and `syncfs` make nothing durable (the kernel does not pass them on); `fsync` and `fdatasync` do.
//! - A write to a file opened with `O_SYNC` or `O_DSYNC` syncs the whole file.
//! - The process that serves the mount must not map its files into memory: it could wait for itself for ever. To
//!   look into an SQLite database with a write-ahead log from that process, set `PRAGMA locking_mode=exclusive`
//!   first, or serve the mount from the `lossfs` program instead.
//! - If that process is killed, its mount stays, dead, until the next [`LossFs::mount`] anywhere on the machine
//!   clears it away.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::os::unix::process::CommandExt;
//! use std::process::Command;
//! use gristmill_lossfs::{Killer, LossFs, Rules};
//!
//! let mut lossfs = LossFs::mount("/tmp/data", Rules { torn: true, journal: true, ..Rules::default() })?;
//! let data = lossfs.path().to_owned();
//! Killer::new(1).run(
//!     300,
//!     |_| Command::new("server").arg(&data).process_group(0).spawn(),
//!     |round| {
//!         lossfs.crash(round.seed).map_err(std::io::Error::other)?;
//!         // Compare what is left with what the server had acknowledged.
//!         Ok(())
//!     },
//! )?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Killer`] chooses the moments. The `lossfs` program offers the same to scripts, over a socket.

mod attr;
mod content;
pub mod control;
mod crash;
mod directory;
mod fuse;
mod killer;
#[cfg(test)]
mod model_tests;
mod mount;
mod rng;
mod sync;
mod tree;

pub use crash::CrashReport;
pub use killer::{Killer, Round, Summary};
pub use mount::{Error, LossFs};
pub use rng::Rng;
pub use tree::Rules;

/// What has happened on a [`LossFs`] since it was mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// `fsync` and `fdatasync` of files, and synchronous writes.
    pub file_syncs: u64,
    /// `fsync` of directories.
    pub directory_syncs: u64,
    /// Bytes written to files.
    pub bytes_written: u64,
    /// Names set or removed; a rename is two.
    pub name_changes: u64,
    /// Calls of [`LossFs::crash`].
    pub crashes: u64,
    /// Sum of [`CrashReport::pages_dropped`].
    pub pages_dropped: u64,
    /// Sum of [`CrashReport::names_dropped`].
    pub names_dropped: u64,
}
