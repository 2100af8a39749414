//! [`S3Storage`]: a storage in a bucket of S3 or a compatible server.
//!
//! ```text
//! <prefix>/<key>                                what readers see
//! <prefix>/.gristmill/blobs/sha256/ab/<hex>     the bytes
//! <prefix>/.gristmill/probe/<run>/…             objects that the probe at the start makes and removes
//! ```
//!
//! There are no records of versions: a public object's metadata says which version it is, the bucket's own versions
//! are its history, and the database knows them all.

/// Begins a call on the bucket, which must belong to the expected account.
macro_rules! call {
    ($line:expr, $name:ident) => {
        $line.client.$name().bucket(&$line.bucket).set_expected_bucket_owner($line.owner.clone())
    };
}

/// Adds how the server is to encrypt what a call writes.
macro_rules! sealed {
    ($line:expr, $call:expr) => {{
        let (algorithm, key) = crate::s3::settings::Sse::said($line.sse.as_ref());
        $call.set_server_side_encryption(algorithm).set_ssekms_key_id(key)
    }};
}

mod admin;
mod blobs;
mod cache;
mod client;
mod credentials;
mod fault;
mod line;
mod memory;
mod meta;
mod names;
mod pace;
mod parts;
pub(crate) mod plain;
mod plan;
pub(crate) mod probe;
mod project;
mod send;
pub(crate) mod settings;
mod verify;
mod versions;

use std::collections::HashMap;
use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gristmill_model::Digest;

use crate::error::StorageError;
use crate::storage::{Opening, blocking};
use cache::Cache;
use line::Line;
use memory::Memory;
use names::Names;
use pace::Pace;
use probe::BucketCapabilities;
use settings::S3Settings;

pub use admin::{create_bucket, policy};
pub(crate) use meta::as_shown;
pub(crate) use project::project_max;

/// The most blobs whose ETag is remembered.
const ETAGS_MAX: usize = 4096;

#[derive(Debug)]
pub(crate) struct S3Storage {
    line: Arc<Line>,
    names: Names,
    settings: S3Settings,
    capabilities: BucketCapabilities,
    cache: Cache,
    /// ETag and size of blobs as they were last seen, to copy from without asking again. Never believed: the copy is
    /// made on the condition that they are still so.
    etags: Mutex<HashMap<Digest, Source>>,
    /// Whether this server copies parts right: see `send`.
    copies: AtomicU8,
    /// Whether it copies them fast.
    pace: Mutex<Pace>,
}

/// A blob as it can be copied.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Source {
    etag: String,
    size: u64,
}

impl S3Storage {
    /// Opens the storage: opens the cache, finds the bucket and tries out what it can do, as far as `how` asks for it.
    pub(crate) async fn open(
        (bucket, prefix): (&str, &str),
        settings: &S3Settings,
        how: Opening,
    ) -> Result<S3Storage, StorageError> {
        let (folder, bytes_max) = (settings.cache.clone(), settings.cache_bytes_max);
        let cache = blocking(move || Cache::open(&folder, bytes_max)).await;
        let cache = cache.map_err(|error| {
            StorageError::from_io(format!("opening the cache `{}`", settings.cache.display()), error)
        })?;
        let mut storage = S3Storage {
            line: Arc::new(client::line(bucket, settings).await),
            names: Names::new(prefix),
            settings: settings.clone(),
            capabilities: BucketCapabilities::default(),
            cache,
            etags: Mutex::new(HashMap::new()),
            copies: AtomicU8::new(send::UNTRIED),
            pace: Mutex::default(),
        };
        let (of, file) = ((bucket.to_owned(), prefix.to_owned()), settings.clone());
        let memory = blocking(move || Memory::read((&of.0, &of.1), &file)).await;
        storage.capabilities = match storage.recall(memory, how).await? {
            Some(remembered) => remembered,
            None => storage.try_out((bucket, prefix)).await?,
        };
        Ok(storage)
    }

    /// What is remembered of the bucket, where that counts. A bucket that does not answer is taken to be as it was;
    /// one that is not there is none.
    async fn recall(
        &self,
        memory: Option<Memory>,
        how: Opening,
    ) -> Result<Option<BucketCapabilities>, StorageError> {
        let Some(memory) = memory else { return Ok(None) };
        let told = memory.capabilities;
        match how {
            Opening::Anew => Ok(None),
            Opening::Briefly => Ok(Some(told)),
            Opening::ToServe => match self.find_bucket().await {
                Ok(()) if !memory.is_fresh(now_ms()) => Ok(None),
                Ok(()) => {
                    let versions = self.has_versions(told.versions).await;
                    Ok(Some(told).filter(|told| versions.ok() == Some(told.versions)))
                }
                Err(error) if error.is_transient() => Ok(Some(told)),
                Err(error) => Err(error),
            },
        }
    }

    async fn try_out(&self, of: (&str, &str)) -> Result<BucketCapabilities, StorageError> {
        let capabilities = self.probe().await?;
        self.abort_abandoned().await;
        let memory = Memory::new(of, &self.settings, now_ms(), capabilities);
        let settings = self.settings.clone();
        blocking(move || memory.write(&settings)).await;
        Ok(capabilities)
    }

    /// Whether the bucket answers; one call, made once.
    pub(crate) async fn answer(&self) -> Result<(), StorageError> {
        let config = self.line.patience.once(self.settings.request_timeout);
        let asked = call!(self.line, head_bucket).customize().config_override(config).send().await;
        match asked.map_err(fault::Fault::from) {
            Ok(_) => Ok(()),
            Err(fault) if fault.is_denied() && self.is_of_others().await => {
                Err(StorageError::Bucket { bucket: self.line.bucket.clone(), why: self.of_others() })
            }
            Err(fault) => Err(fault.told(format_args!("looking for the bucket `{}`", self.line.bucket))),
        }
    }

    pub(crate) fn capabilities(&self) -> &BucketCapabilities {
        &self.capabilities
    }

    /// The room for files on their way; the bucket's own is not bounded.
    pub(crate) fn free_bytes(&self) -> Result<u64, StorageError> {
        let free = self.cache.free_bytes();
        free.map_err(|error| StorageError::from_io("asking how much room is left for the cache", error))
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, digest: &Digest, source: Source) {
        let mut etags = self.etags.lock().unwrap_or_else(PoisonError::into_inner);
        if etags.len() >= ETAGS_MAX {
            etags.clear();
        }
        etags.insert(*digest, source);
    }

    fn remembered(&self, digest: &Digest) -> Option<Source> {
        self.etags.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    fn forget(&self, digest: &Digest) {
        self.etags.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }
}

/// The time of day, in milliseconds, to compare with what the server says of its objects.
#[expect(clippy::disallowed_methods, reason = "compared with the server's clock, which no test turns either")]
fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// Runs what blocks, with the storage.
async fn beside<T: Send + 'static>(
    storage: &Arc<S3Storage>,
    work: impl FnOnce(&S3Storage) -> T + Send + 'static,
) -> T {
    let storage = Arc::clone(storage);
    blocking(move || work(&storage)).await
}
