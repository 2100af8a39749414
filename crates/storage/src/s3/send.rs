//! Sending: one call for what is small, parts for the rest, some of which the server copies from another blob.
//!
//! Bodies are in memory while they are sent, so that their SHA-256 stands in the signature: any server that checks
//! signatures refuses what arrived otherwise. Where the server was found to check them, checksums of the whole object
//! go along too.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use tokio::time::Instant;

use super::fault::Fault;
use super::line::Hashed;
use super::parts::{Parts, Sums, Written};
use super::plan::{LIMITS, Part};
use super::{S3Storage, Source};
use crate::bucket::WriteIf;
use crate::error::StorageError;
use crate::object::{Blob, CopiedRange};
use crate::staged::Copied;
use crate::storage::blocking;

/// What is larger is sent in parts.
const PUT_BYTES_MAX: u64 = 16 << 20;
const READ_BYTES: usize = 1 << 20;

/// Whether this server copies parts right was not seen yet.
pub(super) const UNTRIED: u8 = 0;
const RIGHT: u8 = 1;
const WRONG: u8 = 2;

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

pub(super) fn read_part(file: &File, at: u64, len: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).map_err(std::io::Error::other)?];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// Whether a range of one file equals that of another.
fn is_equal(file: &File, base: &File, range: CopiedRange) -> bool {
    let mut done = 0;
    while done < range.len {
        let len = (range.len - done).min(READ_BYTES as u64);
        let (one, other) = (read_part(file, range.to + done, len), read_part(base, range.from + done, len));
        if !matches!((one, other), (Ok(one), Ok(other)) if one == other) {
            return false;
        }
        done += len;
    }
    true
}

/// Whether all that is to be copied is what the file has.
fn are_equal(file: &File, base: &File, parts: &[Part]) -> bool {
    let mut to = 0;
    parts.iter().all(|part| {
        let at = to;
        to += part.len();
        match *part {
            Part::Send(_) => true,
            Part::Copy { from, len } => is_equal(file, base, CopiedRange { to: at, from, len }),
        }
    })
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
            let condition = if is_new && can.put_if_absent { WriteIf::Absent } else { WriteIf::Always };
            let sent = self.put(&name, file, blob, condition).await;
            return self.settle(blob, sent).await.map_err(failed);
        }
        let this = Arc::clone(file);
        let crc64 = if can.checksum_of_parts { Some(blocking(move || crc_of(&this)).await) } else { None };
        let crc64 = crc64.transpose().map_err(|error| StorageError::from_io(doing(), error))?;
        let condition = if is_new && can.complete_if_absent { WriteIf::Absent } else { WriteIf::Always };
        let sums = crc64.map_or(Sums::None, Sums::Whole);
        let whole =
            |parts| Parts { sums, condition: condition.clone(), ..Parts::of_file(&name, parts, file) };
        if let Some((parts, base, source)) = self.plan(file, blob, copied).await {
            let parts = Parts { from: Some((&base, Some(&source.etag))), ..whole(parts) };
            let begun = Instant::now();
            let sent = self.line.multipart(parts).await;
            if let Ok(written) = &sent {
                self.pace().copied(blob.size, begun.elapsed(), written.sent_per_second, Instant::now());
            }
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
        let begun = Instant::now();
        let sent = self.line.multipart(whole(LIMITS.send_all(blob.size))).await;
        if sent.is_ok() {
            self.pace().sent(blob.size, begun.elapsed());
        }
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
        if self.copies.load(Ordering::Relaxed) == WRONG || !self.pace().is_worth_copying(Instant::now()) {
            return None;
        }
        let seen = self.look(&copied.base).await.ok().flatten()?;
        let (this, file) = (Arc::clone(self), Arc::clone(file));
        let (base, base_size) = (copied.base, seen.source.size);
        let parts = blocking(move || {
            // Without a copy here nobody could say that the ranges are right.
            let (local, _) = this.cache.get(&copied.base).ok().flatten()?;
            let equal = |range| is_equal(&file, &local, range);
            let parts = LIMITS.copy_some(blob.size, base_size, &copied.ranges, equal)?;
            are_equal(&file, &local, &parts).then_some(parts)
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
        condition: WriteIf,
    ) -> Result<Written, Fault> {
        let _memory = self.line.memory(blob.size).await;
        let file = Arc::clone(file);
        let bytes = blocking(move || read_part(&file, 0, blob.size)).await;
        let bytes = bytes.map_err(|error| Fault::wrong(error.to_string()))?;
        let put = sealed!(self.line, call!(self.line, put_object))
            .key(name)
            .body(ByteStream::from(bytes))
            .checksum_sha256(STANDARD.encode(blob.digest.as_bytes()))
            .set_if_none_match(condition.absent())
            .set_if_match(condition.is());
        let config = self.line.patience.for_bytes(blob.size);
        let put = put.customize().config_override(config).interceptor(Hashed(blob.digest)).send().await?;
        Ok(Written { etag: put.e_tag, version_id: put.version_id, sent_per_second: None })
    }
}
