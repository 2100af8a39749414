//! [`Storage`]: the one type that callers use.

use std::io::Write;
use std::sync::Arc;

use gristmill_model::{Digest, ObjectKey};

use crate::error::{ProjectError, StorageError};
use crate::file::FileStorage;
use crate::file::probe::Capabilities;
use crate::object::{Blob, BlobEntry, Checked, Finding, Projected, PublicObject};
use crate::reader::BlobReader;
use crate::staged::Staged;
use crate::url::StorageUrl;

/// How many findings may wait for whoever reads them.
const FINDINGS_WAITING_MAX: usize = 64;

/// Blobs and public keys. Cheap to clone; clones share everything.
///
/// A call that began runs to its end though its future is dropped.
#[derive(Clone, Debug)]
pub struct Storage {
    backend: Backend,
}

#[derive(Clone, Debug)]
enum Backend {
    File(Arc<FileStorage>),
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
    /// Opens the storage, making what is missing. Tries out what it can do, and removes the
    /// unfinished files of processes that died. Blocks for a moment; call it at start.
    ///
    /// # Errors
    /// [`StorageError::Unusable`] says what to change; else what the system refused.
    pub fn open(url: &StorageUrl) -> Result<Storage, StorageError> {
        let StorageUrl::File(root) = url;
        Ok(Storage::of_file(FileStorage::open(root)?))
    }

    pub(crate) fn of_file(storage: FileStorage) -> Storage {
        Storage { backend: Backend::File(Arc::new(storage)) }
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Arc<FileStorage>) -> T + Send + 'static) -> T {
        let Backend::File(storage) = self.backend.clone();
        blocking(move || work(&storage)).await
    }

    /// What the storage can do, as it was found at open.
    pub fn capabilities(&self) -> Capabilities {
        let Backend::File(storage) = &self.backend;
        storage.capabilities()
    }

    /// How many more bytes fit.
    pub async fn free_bytes(&self) -> Result<u64, StorageError> {
        self.run(|storage| storage.free_bytes()).await
    }

    /// Begins a blob: write into it, then commit it.
    pub async fn stage(&self) -> Result<Staged, StorageError> {
        self.run(|storage| Staged::new(Arc::clone(storage))).await
    }

    /// Stores a small blob from memory.
    pub async fn put_bytes(&self, bytes: impl AsRef<[u8]> + Send + 'static) -> Result<Blob, StorageError> {
        let staged = self
            .run(move |storage| {
                let mut staged = Staged::new(Arc::clone(storage))?;
                let written = staged.write_all(bytes.as_ref());
                written.map_err(|error| StorageError::from_io("writing a blob", error))?;
                Ok(staged)
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
        let (file, size) = self.run(move |storage| storage.open_blob(&digest)).await?;
        Ok(BlobReader::new(file, Blob { digest, size }))
    }

    /// Whether a blob is there.
    pub async fn contains(&self, digest: &Digest) -> Result<bool, StorageError> {
        let digest = *digest;
        self.run(move |storage| storage.contains(&digest)).await
    }

    /// Takes a blob away; says whether it was there. That nothing needs it any more is for the
    /// caller to know: neither versions nor writers of the same bytes are asked. Readers of a key
    /// that holds it go on reading.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<bool, StorageError> {
        let digest = *digest;
        self.run(move |storage| storage.delete_blob(&digest)).await
    }

    /// At most `limit` blobs after `after`, by digest; an empty page is the end.
    pub async fn list_blobs(
        &self,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<Vec<BlobEntry>, StorageError> {
        self.run(move |storage| storage.list_blobs(after.as_ref(), limit)).await
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
        let (key, object) = (key.clone(), object.clone());
        self.run(move |storage| storage.project(&key, &object)).await
    }

    /// The version that readers get now, `None` where they get nothing. Compares the record with
    /// the file; `deep` reads all of it.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] where readers get something that is none of the key's versions.
    pub async fn current(&self, key: &ObjectKey, deep: bool) -> Result<Option<PublicObject>, ProjectError> {
        let key = key.clone();
        self.run(move |storage| storage.current(&key, deep)).await
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
        self.run(move |storage| storage.versions(&key, before, limit)).await
    }

    /// Takes a version off the record (its blob stays); says whether it was there. With the last
    /// version of a withdrawn key the key is forgotten.
    ///
    /// # Errors
    /// [`ProjectError::InUse`] for the version that readers get.
    pub async fn delete_version(&self, key: &ObjectKey, seq: i64) -> Result<bool, ProjectError> {
        let key = key.clone();
        self.run(move |storage| storage.delete_version(&key, seq)).await
    }

    /// Takes the key away from readers; says whether there was anything to do. Its versions stay on
    /// record, and it still does not move back: only the same or a later version returns.
    pub async fn withdraw(&self, key: &ObjectKey) -> Result<bool, ProjectError> {
        let key = key.clone();
        self.run(move |storage| storage.withdraw(&key)).await
    }

    /// Checks everything and reports what is wrong, changing nothing; `deep` also reads and hashes
    /// every blob and public file.
    pub async fn verify(&self, deep: bool, mut report: impl FnMut(Finding)) -> Result<Checked, StorageError> {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(FINDINGS_WAITING_MAX);
        let checking = self.run(move |storage| {
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
