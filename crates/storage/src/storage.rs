//! [`Storage`]: the one type that callers use.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::{Digest, ObjectKey};

use crate::error::{ProjectError, StorageError};
use crate::file::FileStorage;
use crate::file::probe::FolderCapabilities;
use crate::object::{Blob, BlobEntry, Checked, Finding, Projected, PublicObject};
use crate::reader::BlobReader;
use crate::s3::probe::BucketCapabilities;
use crate::s3::settings::S3Settings;
use crate::s3::{self, S3Storage};
use crate::staged::{Place, Staged};
use crate::url::StorageUrl;

/// How many findings may wait for whoever reads them.
const FINDINGS_WAITING_MAX: usize = 64;

/// How long a folder may take to make a key hold a version.
const FOLDER_PROJECT_MAX: Duration = Duration::from_secs(20);

/// Blobs and public keys. Cheap to clone; clones share everything.
///
/// A call on a folder that began runs to its end though its future is dropped. One on a bucket ends, and what was asked
/// of the server last may still happen.
#[derive(Clone, Debug)]
pub struct Storage {
    place: Place,
}

/// How much is found out about a bucket when it is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// All is tried out.
    Anew,
    /// It must be there, and be as it was when it was tried out last, within a day. One that does not answer now, but
    /// did before, is opened nevertheless.
    ToServe,
    /// Nobody is asked where it was ever tried out.
    Briefly,
}

/// What a storage can do, as it was found at open. `Display` is a line for `doctor`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capabilities {
    /// Of the file system under a folder.
    Folder(FolderCapabilities),
    /// Of a bucket.
    Bucket(BucketCapabilities),
}

impl Capabilities {
    /// Those of the file system; `None` for a bucket.
    pub fn folder(self) -> Option<FolderCapabilities> {
        if let Capabilities::Folder(capabilities) = self { Some(capabilities) } else { None }
    }

    /// Whether nothing that a dead process asked for last can still move a key back: it ended with the process, or is
    /// refused where the key is not what the process saw.
    pub fn ends_with_its_caller(self) -> bool {
        self.bucket().is_none_or(|bucket| {
            let copies = bucket.copy_if_absent && bucket.copy_if_match;
            // Large objects are copied by parts.
            copies && bucket.complete_if_absent && bucket.complete_if_match
        })
    }

    /// Those of the bucket; `None` for a folder.
    pub fn bucket(self) -> Option<BucketCapabilities> {
        if let Capabilities::Bucket(capabilities) = self { Some(capabilities) } else { None }
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Capabilities::Folder(capabilities) => capabilities.fmt(f),
            Capabilities::Bucket(capabilities) => capabilities.fmt(f),
        }
    }
}

/// Runs what blocks on tokio's threads for that.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only when the runtime shuts down before the work began: nobody waits any more.
            Err(_) => std::future::pending().await,
        },
    }
}

impl Storage {
    /// Opens the storage and tries out what it can do. In a folder, makes what is missing and removes the unfinished
    /// files of processes that died. `s3` says how a bucket is reached, `how` what is found out about it.
    ///
    /// # Errors
    /// [`StorageError::Unusable`] and [`StorageError::Bucket`] say what to change; else what was refused.
    pub async fn open(url: &StorageUrl, s3: &S3Settings, how: Opening) -> Result<Storage, StorageError> {
        match url {
            StorageUrl::File(root) => {
                let root = root.clone();
                blocking(move || Storage::open_folder(&root)).await
            }
            StorageUrl::S3 { bucket, prefix } => {
                let storage = S3Storage::open((bucket, prefix), s3, how).await?;
                Ok(Storage { place: Place::S3(Arc::new(storage)) })
            }
        }
    }

    /// Opens the storage in a folder. Blocks for a moment.
    ///
    /// # Errors
    /// As [`Storage::open`].
    pub fn open_folder(root: impl AsRef<Path>) -> Result<Storage, StorageError> {
        Ok(Storage::of_file(FileStorage::open(root.as_ref())?))
    }

    pub(crate) fn of_file(storage: FileStorage) -> Storage {
        Storage { place: Place::File(Arc::new(storage)) }
    }

    /// What the storage can do, as it was found at open.
    pub fn capabilities(&self) -> Capabilities {
        match &self.place {
            Place::File(storage) => Capabilities::Folder(storage.capabilities()),
            Place::S3(storage) => Capabilities::Bucket(*storage.capabilities()),
        }
    }

    /// Whether a bucket answers. A folder is asked by using it.
    ///
    /// # Errors
    /// What it answered, or that it did not.
    pub async fn answer(&self) -> Result<(), StorageError> {
        match &self.place {
            Place::File(_) => Ok(()),
            Place::S3(storage) => storage.answer().await,
        }
    }

    /// How many more bytes fit; for a bucket, into the cache's file system.
    pub async fn free_bytes(&self) -> Result<u64, StorageError> {
        match self.place.clone() {
            Place::File(storage) => blocking(move || storage.free_bytes()).await,
            Place::S3(storage) => blocking(move || storage.free_bytes()).await,
        }
    }

    /// How long [`Storage::project`] may take at most with an object of this size; whatever was begun at a server ends
    /// within it too. Whoever projects has the key to himself for so long.
    pub fn project_max(&self, size: u64) -> Duration {
        match &self.place {
            Place::File(_) => FOLDER_PROJECT_MAX,
            Place::S3(_) => s3::project_max(size),
        }
    }

    /// What readers are told of a version: a bucket has no room for all of long metadata.
    pub fn as_shown(&self, object: &PublicObject) -> PublicObject {
        match &self.place {
            Place::File(_) => object.clone(),
            Place::S3(_) => s3::as_shown(object),
        }
    }

    /// Begins a blob: write into it, then commit it.
    pub async fn stage(&self) -> Result<Staged, StorageError> {
        let place = self.place.clone();
        blocking(move || Staged::new(place)).await
    }

    /// Stores a small blob from memory.
    pub async fn put_bytes(&self, bytes: impl AsRef<[u8]> + Send + 'static) -> Result<Blob, StorageError> {
        let place = self.place.clone();
        let staged = blocking(move || {
            let mut staged = Staged::new(place)?;
            let written = staged.write_all(bytes.as_ref());
            written.map_err(|error| StorageError::from_io("writing a blob", error))?;
            Ok::<_, StorageError>(staged)
        })
        .await?;
        staged.commit().await
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// [`StorageError::BlobMissing`] where there is none.
    pub async fn open_blob(&self, digest: &Digest) -> Result<BlobReader, StorageError> {
        let digest = *digest;
        let (file, size) = match self.place.clone() {
            Place::File(storage) => blocking(move || storage.open_blob(&digest)).await?,
            Place::S3(storage) => storage.open_blob(&digest).await?,
        };
        Ok(BlobReader::new(file, Blob { digest, size }))
    }

    /// Whether a blob is there.
    pub async fn contains(&self, digest: &Digest) -> Result<bool, StorageError> {
        let digest = *digest;
        match self.place.clone() {
            Place::File(storage) => blocking(move || storage.contains(&digest)).await,
            Place::S3(storage) => storage.contains(&digest).await,
        }
    }

    /// Takes a blob away; says whether it was there. That nothing needs it any more is for the
    /// caller to know: neither versions nor writers of the same bytes are asked. Readers of a key
    /// that holds it go on reading.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<bool, StorageError> {
        let digest = *digest;
        match self.place.clone() {
            Place::File(storage) => blocking(move || storage.delete_blob(&digest)).await,
            Place::S3(storage) => storage.delete_blob(&digest).await,
        }
    }

    /// At most `limit` blobs after `after`, by digest; an empty page is the end.
    pub async fn list_blobs(
        &self,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<Vec<BlobEntry>, StorageError> {
        match self.place.clone() {
            Place::File(storage) => blocking(move || storage.list_blobs(after.as_ref(), limit)).await,
            Place::S3(storage) => storage.list_blobs(after.as_ref(), limit).await,
        }
    }

    /// Makes `key` hold a version: readers see the old one or the new one, whole. Durable when this
    /// returns. The same version again changes nothing but repairs what is missing or different, so
    /// after any failure: project again.
    ///
    /// A version's content type and metadata are those of its first projection.
    ///
    /// # Errors
    /// [`ProjectError::Older`] where the key had a later version; the other variants say what is
    /// wrong with the key. Nothing has changed then.
    pub async fn project(&self, key: &ObjectKey, object: &PublicObject) -> Result<Projected, ProjectError> {
        self.project_within(key, object, self.project_max(object.size)).await
    }

    /// The same for who has the key to himself for so long only: at a server nothing is begun that could end later.
    ///
    /// # Errors
    /// As [`Storage::project`].
    pub async fn project_within(
        &self,
        key: &ObjectKey,
        object: &PublicObject,
        time: Duration,
    ) -> Result<Projected, ProjectError> {
        let (key, object) = (key.clone(), object.clone());
        match self.place.clone() {
            Place::File(storage) => blocking(move || storage.project(&key, &object)).await,
            Place::S3(storage) => storage.project(&key, &object, time).await,
        }
    }

    /// The version that readers get now, `None` where they get nothing. Compares the record with
    /// the file; `deep` reads all of it.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] where readers get something that is none of the key's versions.
    pub async fn current(&self, key: &ObjectKey, deep: bool) -> Result<Option<PublicObject>, ProjectError> {
        let key = key.clone();
        match self.place.clone() {
            Place::File(storage) => blocking(move || storage.current(&key, deep)).await,
            Place::S3(storage) => storage.current(&key, deep).await,
        }
    }

    /// At most `limit` versions on record, the newest first; `before` is the last seq of the page
    /// before. An empty page is the end.
    pub async fn versions(
        &self,
        key: &ObjectKey,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<PublicObject>, ProjectError> {
        let key = key.clone();
        match self.place.clone() {
            Place::File(storage) => blocking(move || storage.versions(&key, before, limit)).await,
            Place::S3(storage) => storage.versions(&key, before, limit).await,
        }
    }

    /// Takes a version off the record (its blob stays); says whether it was there. With the last
    /// version of a withdrawn key the key is forgotten. `version_id` is what projecting it gave; without it a bucket is
    /// searched, with one call for each version.
    ///
    /// # Errors
    /// [`ProjectError::InUse`] for the version that readers get.
    pub async fn delete_version(
        &self,
        key: &ObjectKey,
        seq: i64,
        version_id: Option<&str>,
    ) -> Result<bool, ProjectError> {
        let key = key.clone();
        match self.place.clone() {
            Place::File(storage) => blocking(move || storage.delete_version(&key, seq)).await,
            Place::S3(storage) => storage.delete_version(&key, seq, version_id).await,
        }
    }

    /// Takes the key away from readers; says whether there was anything to do. Its versions stay on
    /// record, and it still does not move back: only the same or a later version returns.
    pub async fn withdraw(&self, key: &ObjectKey) -> Result<bool, ProjectError> {
        let key = key.clone();
        match self.place.clone() {
            Place::File(storage) => blocking(move || storage.withdraw(&key)).await,
            Place::S3(storage) => storage.withdraw(&key).await,
        }
    }

    /// Takes the key away from readers and forgets all its versions.
    pub async fn purge_key(&self, key: &ObjectKey) -> Result<(), ProjectError> {
        self.withdraw(key).await?;
        match self.place.clone() {
            Place::S3(storage) => storage.delete_versions(key).await,
            Place::File(_) => {
                for version in self.versions(key, None, usize::MAX).await? {
                    self.delete_version(key, version.seq, None).await?;
                }
                Ok(())
            }
        }
    }

    /// Checks everything and reports what is wrong, changing nothing; `deep` also reads and hashes
    /// every blob and public file.
    pub async fn verify(&self, deep: bool, mut report: impl FnMut(Finding)) -> Result<Checked, StorageError> {
        let storage = match self.place.clone() {
            Place::File(storage) => storage,
            Place::S3(storage) => return storage.verify(deep, &mut report).await,
        };
        let (sender, mut receiver) = tokio::sync::mpsc::channel(FINDINGS_WAITING_MAX);
        let checking = blocking(move || {
            storage.verify(deep, &mut |finding| {
                // Fails only where nobody waits for the outcome any more.
                let _ = sender.blocking_send(finding);
            })
        });
        let mut checking = std::pin::pin!(checking);
        loop {
            tokio::select! {
                biased;
                Some(finding) = receiver.recv() => report(finding),
                outcome = &mut checking => {
                    while let Ok(finding) = receiver.try_recv() {
                        report(finding);
                    }
                    return outcome;
                }
            }
        }
    }
}
