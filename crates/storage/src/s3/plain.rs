//! [`Plain`]: objects of a bucket under keys that others chose. See [`Bucket`](crate::Bucket).

mod client;
mod http;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, PoisonError, RwLock};

use aws_sdk_s3::operation::copy_object::CopyObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::MetadataDirective;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gristmill_model::{Digest, Timestamp};
use sha2::{Digest as _, Sha256};

pub use http::{Proxies, ProxyAddressError};

use super::blobs::{size, timestamp};
use super::fault::Fault;
use super::line::{Hashed, Line};
use super::parts::{Parts, Sums};
use super::plan::LIMITS;
use super::send::read_part;
use super::settings::COPY_BYTES_MAX;
use crate::bucket::{About, Body, BucketAccess, Head, Listed, Write, WriteIf};
use crate::error::StorageError;
use crate::storage::blocking;

/// What is larger is sent in parts.
const PUT_BYTES_MAX: u64 = 16 << 20;
/// How often a download is begun.
const DOWNLOAD_TRIES_MAX: u32 = 3;

#[derive(Debug)]
pub(crate) struct Plain {
    bucket: String,
    access: BucketAccess,
    /// Another one where the bucket turns out to be in another region.
    line: RwLock<Arc<Line>>,
}

/// Some servers leave the quotation marks out here and there.
fn quoted(etag: String) -> String {
    if etag.starts_with('"') { etag } else { format!("\"{etag}\"") }
}

impl Plain {
    pub(crate) async fn open(bucket: &str, access: &BucketAccess) -> Plain {
        let line = RwLock::new(Arc::new(client::line(bucket, access).await));
        Plain { bucket: bucket.to_owned(), access: access.clone(), line }
    }

    fn line(&self) -> Arc<Line> {
        Arc::clone(&self.line.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// After a call that failed: whether the server says that the bucket is in another region, where it is asked from now
    /// on. Calls that begin a command ask this; what comes after them goes there at once.
    async fn is_elsewhere(&self, fault: &Fault) -> bool {
        let Some(region) = fault.region().filter(|region| Some(*region) != self.access.region.as_deref())
        else {
            return false;
        };
        let access = BucketAccess { region: Some(region.to_owned()), ..self.access.clone() };
        let line = Arc::new(client::line(&self.bucket, &access).await);
        *self.line.write().unwrap_or_else(PoisonError::into_inner) = line;
        true
    }

    fn place(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        let listed = match self.list_once(prefix).await {
            Err(fault) if self.is_elsewhere(&fault).await => self.list_once(prefix).await,
            listed => listed,
        };
        listed.map_err(|fault| fault.told_plainly(format_args!("listing {}", self.place(prefix))))
    }

    async fn list_once(&self, prefix: &str) -> Result<Vec<Listed>, Fault> {
        let (line, mut found) = (self.line(), Vec::<Listed>::new());
        loop {
            let after = found.last().map(|last| last.key.clone());
            let page = call!(line, list_objects_v2).prefix(prefix).set_start_after(after).send().await?;
            let before = found.len();
            for object in page.contents.unwrap_or_default() {
                let Some(key) = object.key else { continue };
                let modified = timestamp(object.last_modified.as_ref());
                found.push(Listed { key, size: size(object.size), etag: object.e_tag.map(quoted), modified });
            }
            if !page.is_truncated.unwrap_or(false) || found.len() == before {
                return Ok(found);
            }
        }
    }

    pub(crate) async fn get(&self, key: &str) -> Result<Option<(Bytes, String)>, StorageError> {
        let got = match self.get_once(key).await {
            Err(fault) if self.is_elsewhere(&fault).await => self.get_once(key).await,
            got => got,
        };
        match got {
            Err(fault) if fault.is_absent() => Ok(None),
            Err(fault) => Err(fault.told_plainly(format_args!("reading {}", self.place(key)))),
            Ok(got) => Ok(Some(got)),
        }
    }

    async fn get_once(&self, key: &str) -> Result<(Bytes, String), Fault> {
        let got = call!(self.line(), get_object).key(key).send().await?;
        let bytes = got.body.collect().await.map_err(|error| Fault::cut_off(&error))?;
        Ok((bytes.into_bytes(), got.e_tag.map(quoted).unwrap_or_default()))
    }

    pub(crate) async fn head(&self, key: &str) -> Result<Option<Head>, StorageError> {
        match call!(self.line(), head_object).key(key).send().await.map_err(Fault::from) {
            Err(fault) if fault.is_absent() => Ok(None),
            Err(fault) => Err(fault.told_plainly(format_args!("looking at {}", self.place(key)))),
            Ok(head) => Ok(Some(Head {
                size: size(head.content_length),
                etag: head.e_tag.map(quoted).unwrap_or_default(),
                content_type: head.content_type,
                metadata: head.metadata.unwrap_or_default().into_iter().collect::<BTreeMap<_, _>>(),
            })),
        }
    }

    pub(crate) async fn put(
        self: &Arc<Plain>,
        key: &str,
        body: Body,
        about: &About,
        condition: WriteIf,
    ) -> Result<Write, StorageError> {
        let in_parts = matches!(&body, Body::File(_, size, _) if *size > PUT_BYTES_MAX);
        let put = |condition: WriteIf| {
            let body = body.clone();
            async move {
                match body {
                    Body::File(file, size, _) if size > PUT_BYTES_MAX => {
                        let parts = LIMITS.send_all(size);
                        let parts = Parts { sums: Sums::Each, ..Parts::of_file(key, parts, &file) };
                        self.put_parts(parts, about, condition).await
                    }
                    body => self.put_whole(key, body, about, &condition).await,
                }
            }
        };
        let outcome = match put(condition.clone()).await {
            Err(fault) if self.is_wrongly_refused(key, &fault, &condition).await? => {
                let plain = WriteIf::Is(condition.is().unwrap_or_default().trim_matches('"').to_owned());
                match put(plain).await {
                    Err(fault) if self.is_wrongly_refused(key, &fault, &condition).await? => {
                        put(WriteIf::Always).await
                    }
                    outcome => outcome,
                }
            }
            outcome => outcome,
        };
        match outcome {
            // What was to be replaced is gone.
            Err(fault) if condition.is().is_some() && fault.is_absent() => Ok(Write::Refused),
            outcome => self.settle(outcome, (key, &condition, in_parts), "storing").await,
        }
    }

    /// Whether `If-Match` was refused though the object is the one that it names: Ceph's gateway compares the ETag with
    /// the quotation marks that belong to it.
    async fn is_wrongly_refused(
        &self,
        key: &str,
        fault: &Fault,
        condition: &WriteIf,
    ) -> Result<bool, StorageError> {
        let (true, Some(etag)) = (fault.is_precondition(), condition.is()) else { return Ok(false) };
        Ok(self.head(key).await?.is_some_and(|head| head.etag == etag))
    }

    /// A condition that did not hold is an outcome and no error. So is an upload of parts whose end was not answered, where
    /// something is there now.
    async fn settle(
        &self,
        outcome: Result<Option<String>, Fault>,
        (key, condition, in_parts): (&str, &WriteIf, bool),
        doing: &str,
    ) -> Result<Write, StorageError> {
        match outcome {
            Ok(etag) => Ok(Write::Done(etag)),
            Err(fault) if fault.is_condition() => Ok(Write::Refused),
            Err(fault) if in_parts && fault.is_unsure() && self.may_have_written(key, condition).await => {
                Ok(Write::Refused)
            }
            Err(fault) => Err(fault.told_plainly(format_args!("{doing} {}", self.place(key)))),
        }
    }

    /// After an upload of parts of which it is not known how it ended: whether there is something now that was not there
    /// before. What it is, the caller has to see.
    async fn may_have_written(&self, key: &str, condition: &WriteIf) -> bool {
        match (self.head(key).await, condition) {
            // What was there before is not known.
            (_, WriteIf::Always) => false,
            (Ok(Some(head)), WriteIf::Is(before)) => *before != head.etag,
            (head, WriteIf::Absent) => matches!(head, Ok(Some(_))),
            _ => false,
        }
    }

    async fn put_whole(
        &self,
        key: &str,
        body: Body,
        about: &About,
        condition: &WriteIf,
    ) -> Result<Option<String>, Fault> {
        let line = self.line();
        let _memory = line.memory(body.size()).await;
        let (bytes, digest) = match body {
            Body::Bytes(bytes) => {
                let digest = Digest::of(&bytes);
                (bytes, digest)
            }
            Body::File(file, size, digest) => {
                let read = blocking(move || read_part(&file, 0, size)).await;
                (read.map_err(|error| Fault::wrong(error.to_string()))?.into(), digest)
            }
        };
        let size = bytes.len() as u64;
        let put = sealed!(line, call!(line, put_object))
            .key(key)
            .body(ByteStream::from(bytes))
            .content_type(&about.content_type)
            .set_metadata(Some(about.metadata.clone().into_iter().collect()))
            .checksum_sha256(STANDARD.encode(digest.as_bytes()))
            .set_if_none_match(condition.absent())
            .set_if_match(condition.is());
        let config = line.patience.for_bytes(size);
        let put = put.customize().config_override(config).interceptor(Hashed(digest));
        Ok(put.send().await?.e_tag.map(quoted))
    }

    async fn put_parts(
        &self,
        parts: Parts<'_>,
        about: &About,
        condition: WriteIf,
    ) -> Result<Option<String>, Fault> {
        let content_type = Some(about.content_type.clone());
        let metadata = Some(about.metadata.clone().into_iter().collect());
        let written = self.line().multipart(Parts { condition, content_type, metadata, ..parts }).await?;
        Ok(written.etag.map(quoted))
    }

    pub(crate) async fn copy(
        self: &Arc<Plain>,
        from: &Listed,
        to: &str,
        about: &About,
        condition: WriteIf,
    ) -> Result<Write, StorageError> {
        let in_parts = from.size > COPY_BYTES_MAX;
        let outcome = if in_parts {
            let parts = LIMITS.copy_all(from.size, COPY_BYTES_MAX);
            let parts = Parts::copies(to, parts, (&from.key, from.etag.as_deref()));
            self.put_parts(parts, about, condition.clone()).await
        } else {
            match self.copy_whole(from, to, about, &condition).await {
                // Some servers know no such condition for copies, and say so.
                Err(fault) if fault.is_unknown_call() && condition != WriteIf::Always => {
                    self.copy_whole(from, to, about, &WriteIf::Always).await
                }
                Err(fault) if self.is_wrongly_refused(to, &fault, &condition).await? => {
                    self.copy_whole(from, to, about, &WriteIf::Always).await
                }
                outcome => outcome,
            }
        };
        match outcome {
            // What was to be copied is gone.
            Err(fault) if fault.is_absent() => Ok(Write::Refused),
            outcome => {
                let doing = format!("copying {} to", self.place(&from.key));
                self.settle(outcome, (to, &condition, in_parts), &doing).await
            }
        }
    }

    async fn copy_whole(
        &self,
        from: &Listed,
        to: &str,
        about: &About,
        condition: &WriteIf,
    ) -> Result<Option<String>, Fault> {
        let line = self.line();
        let copy = sealed!(line, call!(line, copy_object))
            .key(to)
            .copy_source(line.copy_source(&from.key))
            .set_copy_source_if_match(from.etag.clone())
            .metadata_directive(MetadataDirective::Replace)
            .set_metadata(Some(about.metadata.clone().into_iter().collect()))
            .content_type(&about.content_type)
            .set_if_none_match(condition.absent())
            .set_if_match(condition.is());
        let config = line.patience.for_bytes(from.size);
        let copied: CopyObjectOutput = copy.customize().config_override(config).send().await?;
        Ok(copied.copy_object_result.and_then(|result| result.e_tag).map(quoted))
    }

    pub(crate) async fn download(
        &self,
        key: &str,
        to: Arc<File>,
    ) -> Result<Option<(u64, Digest)>, StorageError> {
        let mut tries = 1;
        loop {
            match self.download_once(key, &to).await {
                Err(fault) if fault.is_absent() => return Ok(None),
                Err(fault) if fault.may_pass() && tries < DOWNLOAD_TRIES_MAX => tries += 1,
                Err(fault) => return Err(fault.told_plainly(format_args!("reading {}", self.place(key)))),
                Ok(done) => return Ok(Some(done)),
            }
        }
    }

    async fn download_once(&self, key: &str, to: &Arc<File>) -> Result<(u64, Digest), Fault> {
        let mut got = call!(self.line(), get_object).key(key).send().await?;
        let (until, mut at, mut hasher) = (size(got.content_length), 0, Sha256::new());
        while let Some(piece) = got.body.next().await {
            let piece = piece.map_err(|error| Fault::cut_off(&error))?;
            hasher.update(&piece);
            let (to, from) = (Arc::clone(to), at);
            at += piece.len() as u64;
            let written = blocking(move || to.write_all_at(&piece, from)).await;
            written.map_err(|error| Fault::wrong(error.to_string()))?;
        }
        if at != until {
            return Err(Fault::cut_off(&"it ended too early"));
        }
        Ok((at, Digest::from_bytes(hasher.finalize().into())))
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), StorageError> {
        match call!(self.line(), delete_object).key(key).send().await.map_err(Fault::from) {
            Err(fault) if !fault.is_absent() => {
                Err(fault.told_plainly(format_args!("deleting {}", self.place(key))))
            }
            _ => Ok(()),
        }
    }

    pub(crate) async fn clear_unfinished(
        &self,
        prefix: &str,
        before: Timestamp,
    ) -> Result<usize, StorageError> {
        let line = self.line();
        let (mut cleared, mut after) = (0, (None, None));
        loop {
            let (key, id) = after.clone();
            let call = call!(line, list_multipart_uploads).prefix(prefix);
            let listed = call.set_key_marker(key).set_upload_id_marker(id).send().await.map_err(Fault::from);
            let listed = match listed {
                Ok(listed) => listed,
                // Not every server knows the call; then it has none that could be found.
                Err(fault) if fault.is_unknown_call() => return Ok(cleared),
                Err(fault) => return Err(fault.told_plainly("listing unfinished uploads")),
            };
            for upload in listed.uploads.unwrap_or_default() {
                let is_old = timestamp(upload.initiated.as_ref()) < before;
                if let (Some(key), Some(id), true) = (upload.key, upload.upload_id, is_old) {
                    line.abort(&key, &id).await;
                    cleared += 1;
                }
            }
            let next = (listed.next_key_marker, listed.next_upload_id_marker);
            if !listed.is_truncated.unwrap_or(false) || next == after {
                return Ok(cleared);
            }
            after = next;
        }
    }
}
