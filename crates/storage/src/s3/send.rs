//! Sending: one call for what is small, parts for the rest, some of which the server copies from another blob.
//!
//! Bodies are in memory while they are sent, so that their SHA-256 stands in the signature: any server that checks
//! signatures refuses what arrived otherwise. Where the server was found to check them, checksums of the whole object
//! go along too.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use tokio::task::JoinSet;

use super::fault::Fault;
use super::plan::{LIMITS, Part};
use super::{S3Storage, Source, client};
use crate::error::StorageError;
use crate::object::{Blob, CopiedRange};
use crate::staged::Copied;
use crate::storage::blocking;

/// What is larger is sent in parts.
const PUT_BYTES_MAX: u64 = 16 << 20;
/// What is larger is copied in parts: the limit of S3's CopyObject.
pub(super) const COPY_BYTES_MAX: u64 = 5 << 30;
/// Parts of one object on their way at once.
const PARTS_AT_ONCE: usize = 4;
/// Bytes of parts in memory at once, over all objects, in units of 64 KiB.
pub(super) const MEMORY_UNITS: u32 = (128 << 20 >> 16) as u32;
const MEMORY_UNIT: u64 = 64 << 10;
const READ_BYTES: usize = 1 << 20;

/// Whether this server copies parts right was not seen yet.
pub(super) const UNTRIED: u8 = 0;
const RIGHT: u8 = 1;
const WRONG: u8 = 2;

/// What must hold for a write to count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Condition {
    /// Nothing: the server cannot be asked for it.
    None,
    /// There is no such object.
    Absent,
    /// The object has this ETag.
    Is(String),
}

impl Condition {
    /// For `If-None-Match`.
    pub(super) fn absent(&self) -> Option<String> {
        (*self == Condition::Absent).then(|| "*".to_owned())
    }

    /// For `If-Match`.
    pub(super) fn is(&self) -> Option<String> {
        if let Condition::Is(etag) = self { Some(etag.clone()) } else { None }
    }
}

/// An object that is made of parts.
pub(super) struct Parts<'a> {
    pub(super) name: &'a str,
    pub(super) parts: Vec<Part>,
    /// Where sent parts come from.
    pub(super) file: Option<Arc<File>>,
    /// Where copied parts come from: name and ETag.
    pub(super) from: Option<(&'a str, &'a str)>,
    /// The checksum of the whole, where the server checks it.
    pub(super) crc64: Option<u64>,
    pub(super) condition: Condition,
    pub(super) content_type: Option<String>,
    pub(super) metadata: Option<HashMap<String, String>>,
}

impl<'a> Parts<'a> {
    /// An object all of whose parts are copied.
    pub(super) fn copies(name: &'a str, parts: Vec<Part>, from: (&'a str, &'a str)) -> Parts<'a> {
        let (file, crc64, content_type, metadata) = (None, None, None, None);
        Parts {
            name,
            parts,
            file,
            from: Some(from),
            crc64,
            condition: Condition::None,
            content_type,
            metadata,
        }
    }
}

/// What a write made.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) etag: Option<String>,
    pub(super) version_id: Option<String>,
}

fn crc_text(crc: u64) -> String {
    STANDARD.encode(crc.to_be_bytes())
}

/// The checksum of a file.
fn crc_of(file: &File) -> std::io::Result<u64> {
    let mut digest = crc_fast::Digest::new(Crc64Nvme);
    let mut buffer = vec![0; READ_BYTES];
    let mut at = 0;
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => return Ok(digest.finalize()),
            Ok(read) => {
                digest.update(&buffer[..read]);
                at += read as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn read_part(file: &File, at: u64, len: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).map_err(std::io::Error::other)?];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// Whether a range of one file equals that of another.
fn is_equal(file: &File, base: &File, range: CopiedRange) -> bool {
    let (one, other) = (read_part(file, range.to, range.len), read_part(base, range.from, range.len));
    matches!((one, other), (Ok(one), Ok(other)) if one == other)
}

impl S3Storage {
    /// Sends a blob, and makes sure that it is there whole.
    pub(super) async fn send(
        self: &Arc<S3Storage>,
        file: &Arc<File>,
        blob: Blob,
        copied: Option<Arc<Copied>>,
        is_new: bool,
    ) -> Result<(), StorageError> {
        let doing = || format!("storing blob {}", blob.digest);
        let failed = |fault: Fault| fault.told(doing());
        let can = self.capabilities;
        let name = self.names.blob(&blob.digest);
        if blob.size <= PUT_BYTES_MAX {
            let condition = if is_new && can.put_if_absent { Condition::Absent } else { Condition::None };
            let sent = self.put(&name, file, blob, condition).await;
            return self.settle(blob, sent).await.map_err(failed);
        }
        let this = Arc::clone(file);
        let crc64 = if can.checksum_of_parts { Some(blocking(move || crc_of(&this)).await) } else { None };
        let crc64 = crc64.transpose().map_err(|error| StorageError::from_io(doing(), error))?;
        let condition = if is_new && can.complete_if_absent { Condition::Absent } else { Condition::None };
        let whole = |parts| Parts {
            file: Some(Arc::clone(file)),
            crc64,
            condition: condition.clone(),
            ..Parts::copies(&name, parts, ("", ""))
        };
        if let Some((parts, base, source)) = self.plan(file, blob, copied).await {
            let parts = Parts { from: Some((&base, &source.etag)), ..whole(parts) };
            let sent = self.multipart(parts).await;
            match self.settle(blob, sent).await {
                Ok(()) if self.is_right(&name, blob, crc64.is_some()).await.map_err(failed)? => return Ok(()),
                Ok(()) => {
                    self.delete_blob(&blob.digest).await?;
                }
                // The other blob may be gone meanwhile; all of it is sent then.
                Err(fault) if fault.is_absent() || fault.is_condition() || fault.is_bad_request() => {}
                Err(fault) => return Err(failed(fault)),
            }
        }
        let sent = self.multipart(whole(LIMITS.send_all(blob.size))).await;
        self.settle(blob, sent).await.map_err(failed)
    }

    /// What of a blob the server can copy, from where.
    async fn plan(
        self: &Arc<S3Storage>,
        file: &Arc<File>,
        blob: Blob,
        copied: Option<Arc<Copied>>,
    ) -> Option<(Vec<Part>, String, Source)> {
        let copied = copied.filter(|_| self.capabilities.copies_parts)?;
        if self.copies.load(Ordering::Relaxed) == WRONG {
            return None;
        }
        let seen = self.look(&copied.base).await.ok().flatten()?;
        let (this, file) = (Arc::clone(self), Arc::clone(file));
        let (base, base_size) = (copied.base, seen.source.size);
        let parts = blocking(move || {
            let local = this.cache.get(&copied.base).ok().flatten();
            LIMITS.copy_some(blob.size, base_size, &copied.ranges, |range| {
                local.as_ref().is_some_and(|(base, _)| is_equal(&file, base, range))
            })
        });
        Some((parts.await?, self.names.blob(&base), seen.source))
    }

    /// Whether copied parts made the right object. Where the server has not checked the whole, the first one is read
    /// back: a server that ignores the range of a copy is found out, and not asked for copies again.
    async fn is_right(&self, name: &str, blob: Blob, is_checked: bool) -> Result<bool, Fault> {
        if is_checked || self.copies.load(Ordering::Relaxed) == RIGHT {
            return Ok(true);
        }
        let is_right = self.hash(name).await? == Some(blob.digest);
        self.copies.store(if is_right { RIGHT } else { WRONG }, Ordering::Relaxed);
        Ok(is_right)
    }

    /// After a write: whether the blob is there, however the answer was.
    async fn settle(&self, blob: Blob, sent: Result<Written, Fault>) -> Result<(), Fault> {
        match sent {
            Ok(Written { etag: Some(etag), .. }) => {
                self.remember(&blob.digest, Source { etag, size: blob.size });
                return Ok(());
            }
            // Somebody else stored the same bytes just now, or our own first try did.
            Err(ref fault) if fault.is_condition() || fault.is_unsure() || fault.is_absent() => {}
            Err(fault) => return Err(fault),
            Ok(_) => {}
        }
        let seen = self.look(&blob.digest).await?;
        match (seen, sent) {
            (Some(seen), _) if seen.source.size == blob.size => Ok(()),
            (_, Err(fault)) => Err(fault),
            _ => Err(Fault::wrong("what was just stored is not there")),
        }
    }

    async fn put(
        &self,
        name: &str,
        file: &Arc<File>,
        blob: Blob,
        condition: Condition,
    ) -> Result<Written, Fault> {
        let _memory = self.memory(blob.size).await;
        let file = Arc::clone(file);
        let bytes = blocking(move || read_part(&file, 0, blob.size)).await;
        let bytes = bytes.map_err(|error| Fault::wrong(error.to_string()))?;
        let put = sealed!(self, call!(self, put_object))
            .key(name)
            .body(ByteStream::from(bytes))
            .checksum_sha256(STANDARD.encode(blob.digest.as_bytes()))
            .set_if_none_match(condition.absent())
            .set_if_match(condition.is());
        let config = client::for_bytes(&self.settings, blob.size);
        let put = put.customize().config_override(config).send().await?;
        Ok(Written { etag: put.e_tag, version_id: put.version_id })
    }

    /// Waits for room in memory.
    async fn memory(&self, bytes: u64) -> Option<tokio::sync::SemaphorePermit<'_>> {
        let units = u32::try_from(bytes.div_ceil(MEMORY_UNIT)).unwrap_or(u32::MAX).min(MEMORY_UNITS);
        self.memory.acquire_many(units).await.ok()
    }

    /// Makes an object of parts. What was begun is taken back where it fails.
    pub(super) async fn multipart(self: &Arc<S3Storage>, mut parts: Parts<'_>) -> Result<Written, Fault> {
        let create = sealed!(self, call!(self, create_multipart_upload))
            .key(parts.name)
            .set_content_type(parts.content_type.take())
            .set_metadata(parts.metadata.take())
            .set_checksum_algorithm(parts.crc64.map(|_| ChecksumAlgorithm::Crc64Nvme))
            .set_checksum_type(parts.crc64.map(|_| ChecksumType::FullObject));
        let upload = create.send().await?.upload_id.ok_or_else(|| Fault::wrong("the upload has no id"))?;
        let outcome = match self.parts(&parts, &upload).await {
            Ok(done) => self.complete(&parts, &upload, done).await,
            Err(fault) => Err(fault),
        };
        // After an unsure answer it may have been completed; then there is nothing to abort.
        if outcome.is_err() {
            let _ = call!(self, abort_multipart_upload).key(parts.name).upload_id(upload).send().await;
        }
        outcome
    }

    async fn complete(
        &self,
        parts: &Parts<'_>,
        upload: &str,
        done: Vec<CompletedPart>,
    ) -> Result<Written, Fault> {
        let size: u64 = parts.parts.iter().map(Part::len).sum();
        let mut tries = 1;
        loop {
            match self.complete_once(parts, upload, done.clone(), size).await {
                // To say it twice harms nothing: the upload is gone then.
                Err(fault) if tries < client::TRIES_MAX && fault.may_pass() && !fault.is_condition() => {
                    tries += 1
                }
                outcome => return outcome,
            }
        }
    }

    async fn complete_once(
        &self,
        parts: &Parts<'_>,
        upload: &str,
        done: Vec<CompletedPart>,
        size: u64,
    ) -> Result<Written, Fault> {
        let complete = call!(self, complete_multipart_upload)
            .key(parts.name)
            .upload_id(upload)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(done)).build())
            .set_checksum_crc64_nvme(parts.crc64.map(crc_text))
            .set_checksum_type(parts.crc64.map(|_| ChecksumType::FullObject))
            .set_if_none_match(parts.condition.absent())
            .set_if_match(parts.condition.is());
        let config = client::once(&self.settings, self.copy_max(size));
        let done = complete.customize().config_override(config).send().await?;
        Ok(Written { etag: done.e_tag, version_id: done.version_id })
    }

    /// Sends and copies the parts, several at once.
    async fn parts(
        self: &Arc<S3Storage>,
        parts: &Parts<'_>,
        upload: &str,
    ) -> Result<Vec<CompletedPart>, Fault> {
        let mut under_way: JoinSet<Result<CompletedPart, Fault>> = JoinSet::new();
        let mut done = Vec::with_capacity(parts.parts.len());
        let mut at = 0;
        for (number, part) in (1_i32..).zip(&parts.parts) {
            if under_way.len() >= PARTS_AT_ONCE
                && let Some(ended) = under_way.join_next().await
            {
                done.push(ended.map_err(|error| Fault::wrong(error.to_string()))??);
            }
            let (this, name, upload) = (Arc::clone(self), parts.name.to_owned(), upload.to_owned());
            match (*part, &parts.file, parts.from) {
                (Part::Send(len), Some(file), _) => {
                    let (file, is_summed) = (Arc::clone(file), parts.crc64.is_some());
                    let to = (name, upload, number);
                    under_way.spawn(async move { this.send_part(to, &file, (at, len), is_summed).await });
                }
                (Part::Copy { from, len }, _, Some((base, etag))) => {
                    let range = (!(from == 0 && parts.parts.len() == 1)).then_some((from, len));
                    let source = (this.copy_source(base), etag.to_owned());
                    let to = (name, upload, number);
                    under_way.spawn(async move { this.copy_part(to, source, range, len).await });
                }
                _ => return Err(Fault::wrong("a part comes from nowhere")),
            }
            at += part.len();
        }
        while let Some(ended) = under_way.join_next().await {
            done.push(ended.map_err(|error| Fault::wrong(error.to_string()))??);
        }
        done.sort_unstable_by_key(|part| part.part_number);
        Ok(done)
    }

    async fn send_part(
        &self,
        (name, upload, number): (String, String, i32),
        file: &Arc<File>,
        (at, len): (u64, u64),
        is_summed: bool,
    ) -> Result<CompletedPart, Fault> {
        let _memory = self.memory(len).await;
        let file = Arc::clone(file);
        let read = blocking(move || {
            let bytes = read_part(&file, at, len)?;
            let crc = is_summed.then(|| crc_text(crc_fast::checksum(Crc64Nvme, &bytes)));
            std::io::Result::Ok((bytes, crc))
        });
        let (bytes, crc) = read.await.map_err(|error| Fault::wrong(error.to_string()))?;
        let sent = call!(self, upload_part)
            .key(name)
            .upload_id(upload)
            .part_number(number)
            .set_checksum_crc64_nvme(crc)
            .body(ByteStream::from(bytes))
            .customize()
            .config_override(client::for_bytes(&self.settings, len))
            .send()
            .await?;
        let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag);
        Ok(part.set_checksum_crc64_nvme(sent.checksum_crc64_nvme).build())
    }

    async fn copy_part(
        &self,
        (name, upload, number): (String, String, i32),
        (source, etag): (String, String),
        range: Option<(u64, u64)>,
        len: u64,
    ) -> Result<CompletedPart, Fault> {
        let copied = call!(self, upload_part_copy)
            .set_expected_source_bucket_owner(self.settings.expected_bucket_owner.clone())
            .key(name)
            .upload_id(upload)
            .part_number(number)
            .copy_source(source)
            .copy_source_if_match(etag)
            .set_copy_source_range(range.map(|(from, len)| format!("bytes={from}-{}", from + len - 1)))
            .customize()
            .config_override(client::for_bytes(&self.settings, len))
            .send()
            .await?;
        let result = copied.copy_part_result.ok_or_else(|| Fault::wrong("the copied part has no ETag"))?;
        let part = CompletedPart::builder().part_number(number).set_e_tag(result.e_tag);
        Ok(part.set_checksum_crc64_nvme(result.checksum_crc64_nvme).build())
    }
}
