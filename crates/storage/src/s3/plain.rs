//! [`Plain`]: objects of a bucket under keys that others chose. See [`Bucket`](crate::Bucket).

mod client;
mod parts;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::copy_object::CopyObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::MetadataDirective;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gristmill_model::{Digest, Timestamp};
use sha2::{Digest as _, Sha256};

use super::blobs::{size, timestamp};
use super::fault::Fault;
use super::send::{MEMORY_UNITS, read_part};
use super::settings::COPY_BYTES_MAX;
use crate::bucket::{About, Body, BucketAccess, Head, Listed, Write, WriteIf};
use crate::error::StorageError;
use crate::storage::blocking;

/// What is larger is sent in parts.
const PUT_BYTES_MAX: u64 = 16 << 20;
/// How often a download is begun.
const DOWNLOAD_TRIES_MAX: u32 = 3;
const MEMORY_UNIT: u64 = 64 << 10;

#[derive(Debug)]
pub(crate) struct Plain {
    client: Client,
    bucket: String,
    settings: BucketAccess,
    /// Room for bodies in memory.
    memory: tokio::sync::Semaphore,
}

/// What of a condition goes into headers.
impl WriteIf {
    fn absent(&self) -> Option<String> {
        (*self == WriteIf::Absent).then(|| "*".to_owned())
    }

    fn is(&self) -> Option<String> {
        if let WriteIf::Is(etag) = self { Some(etag.clone()) } else { None }
    }
}

/// Signs a body by the digest that is known of it, which need not be reckoned a second time.
#[derive(Debug)]
struct Hashed(Digest);

impl Intercept for Hashed {
    fn name(&self) -> &'static str {
        "the body's digest is known"
    }

    fn modify_before_signing(
        &self,
        _context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(self.0.to_hex()));
        Ok(())
    }
}

/// Some servers leave the quotation marks out here and there.
fn quoted(etag: String) -> String {
    if etag.starts_with('"') { etag } else { format!("\"{etag}\"") }
}

impl Plain {
    pub(crate) async fn open(bucket: &str, access: &BucketAccess) -> Plain {
        Plain {
            client: client::client(access).await,
            bucket: bucket.to_owned(),
            settings: access.clone(),
            memory: tokio::sync::Semaphore::new(MEMORY_UNITS as usize),
        }
    }

    fn place(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }

    async fn memory(&self, bytes: u64) -> Option<tokio::sync::SemaphorePermit<'_>> {
        let units = u32::try_from(bytes.div_ceil(MEMORY_UNIT)).unwrap_or(u32::MAX).min(MEMORY_UNITS);
        self.memory.acquire_many(units).await.ok()
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        let mut found: Vec<Listed> = Vec::new();
        loop {
            let after = found.last().map(|last| last.key.clone());
            let call = call!(self, list_objects_v2).prefix(prefix).set_start_after(after);
            let page = call.send().await.map_err(|error| {
                Fault::from(error).told_plainly(format_args!("listing {}", self.place(prefix)))
            })?;
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
        let told = |fault: Fault| fault.told_plainly(format_args!("reading {}", self.place(key)));
        match call!(self, get_object).key(key).send().await.map_err(Fault::from) {
            Err(fault) if fault.is_absent() => Ok(None),
            Err(fault) => Err(told(fault)),
            Ok(got) => {
                let bytes = got.body.collect().await.map_err(|error| told(Fault::cut_off(&error)))?;
                Ok(Some((bytes.into_bytes(), got.e_tag.map(quoted).unwrap_or_default())))
            }
        }
    }

    pub(crate) async fn head(&self, key: &str) -> Result<Option<Head>, StorageError> {
        match call!(self, head_object).key(key).send().await.map_err(Fault::from) {
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
        let put = |condition: WriteIf| {
            let body = body.clone();
            async move {
                match body {
                    Body::File(file, size, _) if size > PUT_BYTES_MAX => {
                        self.put_parts(key, &file, size, about, &condition).await
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
        self.settle(outcome, format_args!("storing {}", self.place(key)))
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

    /// A condition that did not hold is an outcome and no error.
    fn settle(
        &self,
        outcome: Result<Option<String>, Fault>,
        doing: impl std::fmt::Display,
    ) -> Result<Write, StorageError> {
        match outcome {
            Ok(etag) => Ok(Write::Done(etag)),
            Err(fault) if fault.is_condition() => Ok(Write::Refused),
            Err(fault) => Err(fault.told_plainly(doing)),
        }
    }

    async fn put_whole(
        &self,
        key: &str,
        body: Body,
        about: &About,
        condition: &WriteIf,
    ) -> Result<Option<String>, Fault> {
        let _memory = self.memory(body.size()).await;
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
        let put = sealed!(self, call!(self, put_object))
            .key(key)
            .body(ByteStream::from(bytes))
            .content_type(&about.content_type)
            .set_metadata(Some(about.metadata.clone().into_iter().collect()))
            .checksum_sha256(STANDARD.encode(digest.as_bytes()))
            .set_if_none_match(condition.absent())
            .set_if_match(condition.is());
        let config = client::for_bytes(&self.settings, size);
        let put = put.customize().config_override(config).interceptor(Hashed(digest));
        Ok(put.send().await?.e_tag.map(quoted))
    }

    pub(crate) async fn copy(
        self: &Arc<Plain>,
        from: &Listed,
        to: &str,
        about: &About,
        condition: WriteIf,
    ) -> Result<Write, StorageError> {
        let doing = || format!("copying {} to {}", self.place(&from.key), self.place(to));
        let outcome = if from.size > COPY_BYTES_MAX {
            self.copy_parts(from, to, about, &condition).await
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
            outcome => self.settle(outcome, doing()),
        }
    }

    async fn copy_whole(
        &self,
        from: &Listed,
        to: &str,
        about: &About,
        condition: &WriteIf,
    ) -> Result<Option<String>, Fault> {
        let copy = sealed!(self, call!(self, copy_object))
            .set_expected_source_bucket_owner(self.settings.expected_bucket_owner.clone())
            .key(to)
            .copy_source(super::copy_source(&self.bucket, &from.key))
            .set_copy_source_if_match(from.etag.clone())
            .metadata_directive(MetadataDirective::Replace)
            .set_metadata(Some(about.metadata.clone().into_iter().collect()))
            .content_type(&about.content_type)
            .set_if_none_match(condition.absent())
            .set_if_match(condition.is());
        let config = client::for_bytes(&self.settings, from.size);
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
        let mut got = call!(self, get_object).key(key).send().await?;
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
        match call!(self, delete_object).key(key).send().await.map_err(Fault::from) {
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
        let listed = call!(self, list_multipart_uploads).prefix(prefix).send().await.map_err(Fault::from);
        let uploads = match listed {
            Ok(listed) => listed.uploads.unwrap_or_default(),
            // Not every server knows the call; then it has none that could be found.
            Err(fault) if fault.is_unknown_call() => return Ok(0),
            Err(fault) => return Err(fault.told_plainly("listing unfinished uploads")),
        };
        let mut cleared = 0;
        for upload in uploads {
            let is_old = timestamp(upload.initiated.as_ref()) < before;
            if let (Some(key), Some(id), true) = (upload.key, upload.upload_id, is_old) {
                self.abort(&key, &id).await;
                cleared += 1;
            }
        }
        Ok(cleared)
    }
}
