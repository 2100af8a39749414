//! Large objects: parts that are sent or copied, several at once. Each part that is sent has its SHA-256 with it.

use std::fs::File;
use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gristmill_model::Digest;
use tokio::task::JoinSet;

use super::super::fault::Fault;
use super::super::parts::says_its_length;
use super::super::plan::{LIMITS, Part};
use super::super::send::read_part;
use super::super::settings::COPY_BYTES_MAX;
use super::{Plain, client, quoted};
use crate::bucket::{About, Listed, WriteIf};
use crate::storage::blocking;

/// Parts of one object on their way at once.
const PARTS_AT_ONCE: usize = 4;

/// Where parts come from.
#[derive(Clone)]
enum From {
    File(Arc<File>),
    Object(Listed),
}

impl Plain {
    pub(super) async fn put_parts(
        self: &Arc<Plain>,
        key: &str,
        file: &Arc<File>,
        size: u64,
        about: &About,
        condition: &WriteIf,
    ) -> Result<Option<String>, Fault> {
        self.make(key, From::File(Arc::clone(file)), LIMITS.send_all(size), about, condition).await
    }

    pub(super) async fn copy_parts(
        self: &Arc<Plain>,
        from: &Listed,
        to: &str,
        about: &About,
        condition: &WriteIf,
    ) -> Result<Option<String>, Fault> {
        self.make(
            to,
            From::Object(from.clone()),
            LIMITS.copy_all(from.size, COPY_BYTES_MAX),
            about,
            condition,
        )
        .await
    }

    async fn make(
        self: &Arc<Plain>,
        key: &str,
        from: From,
        parts: Vec<Part>,
        about: &About,
        condition: &WriteIf,
    ) -> Result<Option<String>, Fault> {
        let is_sent = matches!(from, From::File(_));
        let create = sealed!(self, call!(self, create_multipart_upload))
            .key(key)
            .content_type(&about.content_type)
            .set_metadata(Some(about.metadata.clone().into_iter().collect()))
            .set_checksum_algorithm(is_sent.then_some(ChecksumAlgorithm::Sha256));
        let upload = create.send().await?.upload_id.ok_or_else(|| Fault::wrong("the upload has no id"))?;
        let size: u64 = parts.iter().map(Part::len).sum();
        let outcome = match self.parts(key, &upload, from, &parts).await {
            Ok(done) => self.complete(key, &upload, done, size, condition).await,
            Err(fault) => Err(fault),
        };
        if outcome.is_err() {
            self.abort(key, &upload).await;
        }
        outcome
    }

    pub(super) async fn abort(&self, key: &str, upload: &str) {
        let _ = call!(self, abort_multipart_upload).key(key).upload_id(upload).send().await;
    }

    async fn complete(
        &self,
        key: &str,
        upload: &str,
        done: Vec<CompletedPart>,
        size: u64,
        condition: &WriteIf,
    ) -> Result<Option<String>, Fault> {
        let complete = call!(self, complete_multipart_upload)
            .key(key)
            .upload_id(upload)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(done)).build())
            .set_if_none_match(condition.absent())
            .set_if_match(condition.is());
        let config = client::for_bytes(&self.settings, size);
        Ok(complete.customize().config_override(config).send().await?.e_tag.map(quoted))
    }

    async fn parts(
        self: &Arc<Plain>,
        key: &str,
        upload: &str,
        from: From,
        parts: &[Part],
    ) -> Result<Vec<CompletedPart>, Fault> {
        let mut under_way: JoinSet<Result<CompletedPart, Fault>> = JoinSet::new();
        let mut done = Vec::with_capacity(parts.len());
        let mut at = 0;
        for (number, part) in (1_i32..).zip(parts) {
            if under_way.len() >= PARTS_AT_ONCE
                && let Some(ended) = under_way.join_next().await
            {
                done.push(ended.map_err(|error| Fault::wrong(error.to_string()))??);
            }
            let (this, to) = (Arc::clone(self), (key.to_owned(), upload.to_owned(), number));
            let range = (at, part.len());
            match from.clone() {
                From::File(file) => under_way.spawn(async move { this.send_part(to, file, range).await }),
                From::Object(from) => under_way.spawn(async move { this.copy_part(to, from, range).await }),
            };
            at += part.len();
        }
        while let Some(ended) = under_way.join_next().await {
            done.push(ended.map_err(|error| Fault::wrong(error.to_string()))??);
        }
        done.sort_by_key(|part| part.part_number);
        Ok(done)
    }

    async fn send_part(
        &self,
        (key, upload, number): (String, String, i32),
        file: Arc<File>,
        (at, len): (u64, u64),
    ) -> Result<CompletedPart, Fault> {
        let _memory = self.memory(len).await;
        let read = blocking(move || {
            let bytes = read_part(&file, at, len)?;
            let digest = Digest::of(&bytes);
            std::io::Result::Ok((bytes, digest))
        });
        let (bytes, digest) = read.await.map_err(|error| Fault::wrong(error.to_string()))?;
        let checksum = STANDARD.encode(digest.as_bytes());
        let sent = call!(self, upload_part)
            .key(key)
            .upload_id(upload)
            .part_number(number)
            .checksum_sha256(&checksum)
            .body(ByteStream::from(bytes))
            .customize()
            .config_override(client::for_bytes(&self.settings, len))
            .send()
            .await?;
        let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag);
        // To be repeated where the server took it as one.
        Ok(part.set_checksum_sha256(sent.checksum_sha256).build())
    }

    async fn copy_part(
        &self,
        (key, upload, number): (String, String, i32),
        from: Listed,
        (at, len): (u64, u64),
    ) -> Result<CompletedPart, Fault> {
        let copied = call!(self, upload_part_copy)
            .set_expected_source_bucket_owner(self.settings.expected_bucket_owner.clone())
            .key(key)
            .upload_id(upload)
            .part_number(number)
            .copy_source(super::super::copy_source(&self.bucket, &from.key))
            .set_copy_source_if_match(from.etag)
            .copy_source_range(format!("bytes={at}-{}", at + len - 1))
            .customize()
            .mutate_request(says_its_length)
            .config_override(client::for_bytes(&self.settings, len))
            .send()
            .await?;
        let result = copied.copy_part_result.ok_or_else(|| Fault::wrong("the copied part has no ETag"))?;
        Ok(CompletedPart::builder().part_number(number).set_e_tag(result.e_tag).build())
    }
}
