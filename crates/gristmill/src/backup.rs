//! Backups: all rows as of one moment, and the blobs that they refer to, in one file; and the way back.
//!
//! A backup is a tar file, so that people can look into it, with members in this order:
//!
//! ```text
//! gristmill-backup.json            format, program, schema, tables and their columns
//! rows/<table>/<n>.jsonl           a row a line, an array of its columns; bytes as base64
//! server.key                       only where it was asked for
//! blobs/sha256/<hex>               in the order of their digests
//! manifest.json                    how many of everything, and the SHA-256 of each member before the blobs
//! ```
//!
//! No name in it ever becomes a path: tables are compared with those of the database, digests are parsed. What reads it
//! takes only what [`export`] would have written, block by block.
//!
//! Nothing accepted before a backup began is missing: the snapshot is taken after that. No blob of the snapshot is
//! deleted before it is copied: a hold, taken before the snapshot, keeps the collector from marking any.

mod blobs;
mod container;
mod export;
mod load;
mod manifest;
mod moving;
mod progress;
mod public;
mod restore;
mod verify;

use gristmill_db::Db;
use gristmill_storage::{Opening, Storage, StorageUrl};
use tokio::runtime::Handle;

use crate::config::Config;

pub use export::{BackupOptions, BackupSummary, backup};
pub use moving::{MoveSummary, move_to};
pub use progress::Progress;
pub(crate) use public::read_page as newest_of_keys;
pub use public::{KeysSummary, difference};
pub(crate) use restore::read;
pub use restore::{RestoreSummary, refuse_unfinished, restore};

/// Rows and blobs of one installation, for code outside the async runtime.
struct Place {
    db: Db,
    storage: Storage,
    handle: Handle,
}

/// Opens the storage as it is configured. Blocks.
fn open_storage(config: &Config, handle: &Handle) -> anyhow::Result<Storage> {
    use anyhow::Context as _;
    let url: StorageUrl = config.storage.as_str().parse()?;
    handle
        .block_on(Storage::open(&url, &config.s3, Opening::ToServe))
        .with_context(|| format!("the storage {} cannot be opened", config.storage.as_str()))
}
