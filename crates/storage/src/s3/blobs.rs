//! Blobs: `<prefix>/.gristmill/blobs/sha256/ab/<hex>`.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::operation::copy_object::CopyObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::MetadataDirective;
use gristmill_model::{Digest, Timestamp};
use sha2::{Digest as _, Sha256};

use super::fault::Fault;
use super::parts::{Parts, Written};
use super::{S3Storage, Source, beside, now_ms, plan};
use crate::error::StorageError;
use crate::object::{Blob, BlobEntry};
use crate::staged::Copied;
use crate::storage::blocking;

/// A blob that is stored again and is older than this is made young again, for the collector to see.
const RENEW_AFTER: Duration = Duration::from_secs(3600);
/// How often a download goes on after a failure.
const DOWNLOAD_TRIES_MAX: u32 = 4;
/// The most of a listing that the server sends at once.
const PAGE_MAX: usize = 1000;
/// The most versions of one blob that are deleted: there are more only by other hands.
const VERSIONS_MAX: usize = 100;

/// A blob as the bucket has it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) source: Source,
    version_id: Option<String>,
    modified: Timestamp,
}

pub(super) fn timestamp(time: Option<&aws_smithy_types::DateTime>) -> Timestamp {
    Timestamp(time.and_then(|time| time.to_millis().ok()).unwrap_or(0))
}

pub(super) fn size(length: Option<i64>) -> u64 {
    length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0)
}

impl S3Storage {
    /// What the bucket has of a blob.
    pub(super) async fn look(&self, digest: &Digest) -> Result<Option<Seen>, Fault> {
        let head =
            call!(self.line, head_object).key(self.names.blob(digest)).send().await.map_err(Fault::from);
        let head = match head {
            Err(fault) if fault.is_absent() => {
                self.forget(digest);
                return Ok(None);
            }
            head => head?,
        };
        let etag = head.e_tag.ok_or_else(|| Fault::wrong("the object has no ETag"))?;
        let source = Source { etag, size: size(head.content_length) };
        self.remember(digest, source.clone());
        let modified = timestamp(head.last_modified.as_ref());
        Ok(Some(Seen { source, version_id: head.version_id, modified }))
    }

    /// Whether a blob is there.
    pub(crate) async fn contains(&self, digest: &Digest) -> Result<bool, StorageError> {
        let seen = self.look(digest).await;
        Ok(seen.map_err(|fault| fault.told(format_args!("looking for blob {digest}")))?.is_some())
    }

    /// A new unfinished file, to be given to [`S3Storage::commit`] or [`S3Storage::discard`].
    pub(crate) fn stage(&self) -> Result<(String, File), StorageError> {
        self.cache.stage().map_err(|error| StorageError::from_io("making a temporary file", error))
    }

    /// Takes an unfinished file away.
    pub(crate) fn discard(&self, name: &str) {
        self.cache.discard(name);
    }

    /// Makes a staged file a blob: in the bucket when this returns.
    pub(crate) async fn commit(
        self: &Arc<S3Storage>,
        name: &str,
        file: File,
        blob: Blob,
        copied: Option<Arc<Copied>>,
    ) -> Result<Blob, StorageError> {
        let failed = |fault: Fault| fault.told(format_args!("storing blob {}", blob.digest));
        let file = Arc::new(file);
        match self.look(&blob.digest).await.map_err(failed)? {
            Some(seen) if seen.source.size == blob.size => {
                self.renew(&blob.digest, seen).await.map_err(failed)?;
            }
            seen => self.send(&file, blob, copied, seen.is_none()).await?,
        }
        let name = name.to_owned();
        // Without a copy here it is read from the bucket.
        let _ = beside(self, move |storage| storage.cache.keep(&name, &file, &blob.digest)).await;
        Ok(blob)
    }

    /// Makes a blob young again where it is old: a collector may be about to take it.
    async fn renew(self: &Arc<S3Storage>, digest: &Digest, seen: Seen) -> Result<(), Fault> {
        let after_ms = i64::try_from(RENEW_AFTER.as_millis()).unwrap_or(i64::MAX);
        if now_ms() - seen.modified.0 < after_ms {
            return Ok(());
        }
        let name = self.names.blob(digest);
        let whole_max = self.settings.copy_bytes_max;
        let written = if seen.source.size > whole_max {
            let parts = plan::LIMITS.copy_all(seen.source.size, whole_max);
            let parts = Parts::copies(&name, parts, (&name, Some(&seen.source.etag)));
            self.line.multipart(parts).await?
        } else {
            let call = sealed!(self.line, call!(self.line, copy_object))
                .set_expected_source_bucket_owner(self.line.owner.clone())
                .key(&name)
                .copy_source(self.line.copy_source(&name))
                .copy_source_if_match(&seen.source.etag)
                .metadata_directive(MetadataDirective::Replace)
                .customize()
                .config_override(self.line.patience.for_bytes(seen.source.size));
            Written::of_copy(&call.send().await?)
        };
        self.forget(digest);
        // The version before would lie there for ever.
        if let (Some(old), Some(new)) = (seen.version_id, written.version_id)
            && old != new
            && old != "null"
        {
            call!(self.line, delete_object).key(&name).version_id(old).send().await?;
        }
        Ok(())
    }

    /// Opens a blob: the copy on this machine, downloaded and compared first where there is none.
    pub(crate) async fn open_blob(
        self: &Arc<S3Storage>,
        digest: &Digest,
    ) -> Result<(File, u64), StorageError> {
        let digest = *digest;
        let failed = move |error| StorageError::from_io(format!("reading the copy of blob {digest}"), error);
        let copy = || beside(self, move |storage| storage.cache.get(&digest));
        if let Some(copy) = copy().await.map_err(failed)? {
            return Ok(copy);
        }
        let _lane = self.cache.lane(&digest).await;
        if let Some(copy) = copy().await.map_err(failed)? {
            return Ok(copy);
        }
        let (name, file) = beside(self, |storage| storage.cache.stage()).await.map_err(failed)?;
        let file = Arc::new(file);
        let outcome = self.download(&digest, &file).await;
        let size = match outcome {
            Ok(size) => size,
            Err(error) => {
                self.cache.discard(&name);
                return Err(error);
            }
        };
        let this = Arc::clone(&file);
        beside(self, move |storage| storage.cache.keep(&name, &this, &digest)).await.map_err(failed)?;
        let file = file.try_clone().map_err(failed)?;
        Ok((file, size))
    }

    /// Writes a blob into a file; how many bytes.
    async fn download(&self, digest: &Digest, file: &Arc<File>) -> Result<u64, StorageError> {
        let doing = || format!("downloading blob {digest}");
        let name = self.names.blob(digest);
        let mut reading = Reading::new(self, &name);
        let mut hasher = Sha256::new();
        loop {
            let piece = match reading.next().await {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(fault) if fault.is_absent() => return Err(StorageError::BlobMissing { digest: *digest }),
                Err(fault) => return Err(fault.told(doing())),
            };
            hasher.update(&piece);
            let file = Arc::clone(file);
            let written = blocking(move || (&*file).write_all(&piece)).await;
            written.map_err(|error| StorageError::from_io(doing(), error))?;
        }
        let found = Digest::from_bytes(hasher.finalize().into());
        if found != *digest {
            return Err(StorageError::Damaged {
                what: format!("blob {digest} holds other bytes ({found}); delete it and make it again"),
            });
        }
        Ok(reading.at)
    }

    /// Hashes an object as the bucket sends it; `None` where it is not there.
    pub(super) async fn hash(&self, name: &str) -> Result<Option<Digest>, Fault> {
        let mut reading = Reading::new(self, name);
        let mut hasher = Sha256::new();
        loop {
            match reading.next().await {
                Ok(Some(piece)) => hasher.update(&piece),
                Ok(None) => return Ok(Some(Digest::from_bytes(hasher.finalize().into()))),
                Err(fault) if fault.is_absent() => return Ok(None),
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Takes a blob away with all its versions; says whether it was there.
    pub(crate) async fn delete_blob(&self, digest: &Digest) -> Result<bool, StorageError> {
        self.cache.forget(digest);
        let failed = |fault: Fault| fault.told(format_args!("deleting blob {digest}"));
        for times in 0..VERSIONS_MAX {
            let Some(seen) = self.look(digest).await.map_err(failed)? else { return Ok(times > 0) };
            let call = call!(self.line, delete_object).key(self.names.blob(digest));
            let deleted = call.set_version_id(seen.version_id.clone()).send().await;
            deleted.map_err(|error| failed(error.into()))?;
            if seen.version_id.is_none() {
                self.forget(digest);
                return Ok(true);
            }
        }
        Ok(true)
    }

    /// At most `limit` blobs after `after`, by digest.
    pub(crate) async fn list_blobs(
        &self,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<BlobEntry>, StorageError> {
        let mut page = Vec::new();
        let mut from = after.map(|digest| self.names.blob(digest));
        while page.len() < limit {
            let most = i32::try_from((limit - page.len()).min(PAGE_MAX)).unwrap_or(1);
            let call = call!(self.line, list_objects_v2).prefix(self.names.blobs()).max_keys(most);
            let listed = call.set_start_after(from.take()).send().await;
            let listed = listed.map_err(|error| Fault::from(error).told("listing blobs"))?;
            let is_last = !listed.is_truncated.unwrap_or(false);
            let objects = listed.contents.unwrap_or_default();
            from = objects.last().and_then(|object| object.key.clone());
            // What has no digest for a name is none of ours; `verify` tells of it.
            let entries = objects.iter().filter_map(|object| {
                let digest = self.names.digest(object.key.as_deref()?)?;
                let touched = timestamp(object.last_modified.as_ref());
                Some(BlobEntry { blob: Blob { digest, size: size(object.size) }, touched })
            });
            page.extend(entries);
            if is_last || from.is_none() {
                break;
            }
        }
        Ok(page)
    }
}

impl Written {
    pub(super) fn of_copy(output: &CopyObjectOutput) -> Written {
        let etag = output.copy_object_result.as_ref().and_then(|result| result.e_tag.clone());
        Written { etag, version_id: output.version_id.clone(), sent_per_second: None }
    }
}

/// An object being read, piece by piece. After a failure it goes on where it was.
struct Reading<'a> {
    storage: &'a S3Storage,
    name: &'a str,
    body: Option<ByteStream>,
    /// The object as it was first seen: what comes later must be the same.
    etag: Option<String>,
    at: u64,
    until: u64,
    failures: u32,
}

impl<'a> Reading<'a> {
    fn new(storage: &'a S3Storage, name: &'a str) -> Reading<'a> {
        Reading { storage, name, body: None, etag: None, at: 0, until: 0, failures: 0 }
    }

    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Result<Option<bytes::Bytes>, Fault> {
        loop {
            match self.try_next().await {
                Err(fault) if fault.may_pass() && self.failures + 1 < DOWNLOAD_TRIES_MAX => {
                    self.failures += 1;
                    self.body = None;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<bytes::Bytes>, Fault> {
        let body = match &mut self.body {
            Some(body) => body,
            None => {
                let call =
                    call!(self.storage.line, get_object).key(self.name).set_if_match(self.etag.clone());
                let range = (self.at > 0).then(|| format!("bytes={}-", self.at));
                let got = call.set_range(range).send().await?;
                self.until = self.at + size(got.content_length);
                self.etag = got.e_tag;
                self.body.insert(got.body)
            }
        };
        match body.next().await {
            Some(Ok(piece)) => {
                self.at += piece.len() as u64;
                Ok(Some(piece))
            }
            Some(Err(error)) => Err(Fault::cut_off(&error)),
            None if self.at == self.until => Ok(None),
            None => Err(Fault::cut_off(&"it ended too early")),
        }
    }
}
