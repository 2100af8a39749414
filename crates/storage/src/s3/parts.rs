//! Objects made of parts, which are sent or copied several at once.
//!
//! Parts that are sent go with the checksum that the caller chose: see [`Sums`].

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpRequest;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::CrcAlgorithm::Crc64Nvme;
use gristmill_model::Digest;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::client::{PAUSE_FIRST, TRIES_MAX};
use super::fault::Fault;
use super::line::{Hashed, Line};
use super::pace::per_second;
use super::plan::Part;
use super::send::read_part;
use crate::bucket::WriteIf;
use crate::storage::blocking;

/// Parts of one object on their way at once.
const PARTS_AT_ONCE: usize = 4;

/// What of a condition goes into headers.
impl WriteIf {
    /// For `If-None-Match`.
    pub(super) fn absent(&self) -> Option<String> {
        (*self == WriteIf::Absent).then(|| "*".to_owned())
    }

    /// For `If-Match`.
    pub(super) fn is(&self) -> Option<String> {
        if let WriteIf::Is(etag) = self { Some(etag.clone()) } else { None }
    }
}

/// What the server is to compare with the bytes that are sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sums {
    /// Nothing besides the signature.
    None,
    /// The CRC-64/NVME of each part, and in the end this one of the whole.
    Whole(u64),
    /// The SHA-256 of each part.
    Each,
}

impl Sums {
    fn algorithm(self) -> Option<ChecksumAlgorithm> {
        match self {
            Sums::None => None,
            Sums::Whole(_) => Some(ChecksumAlgorithm::Crc64Nvme),
            Sums::Each => Some(ChecksumAlgorithm::Sha256),
        }
    }

    fn whole(self) -> Option<u64> {
        if let Sums::Whole(crc) = self { Some(crc) } else { None }
    }
}

/// An object that is made of parts.
pub(super) struct Parts<'a> {
    pub(super) name: &'a str,
    pub(super) parts: Vec<Part>,
    /// Where sent parts come from.
    pub(super) file: Option<Arc<File>>,
    /// Where copied parts come from: name, and ETag where it is known.
    pub(super) from: Option<(&'a str, Option<&'a str>)>,
    /// Of parts that are sent.
    pub(super) sums: Sums,
    pub(super) condition: WriteIf,
    pub(super) content_type: Option<String>,
    pub(super) metadata: Option<HashMap<String, String>>,
}

impl<'a> Parts<'a> {
    /// An object all of whose parts are sent.
    pub(super) fn of_file(name: &'a str, parts: Vec<Part>, file: &Arc<File>) -> Parts<'a> {
        Parts { file: Some(Arc::clone(file)), from: None, ..Parts::copies(name, parts, ("", None)) }
    }

    /// An object all of whose parts are copied.
    pub(super) fn copies(name: &'a str, parts: Vec<Part>, from: (&'a str, Option<&'a str>)) -> Parts<'a> {
        let (condition, content_type, metadata) = (WriteIf::Always, None, None);
        Parts {
            name,
            parts,
            file: None,
            from: Some(from),
            sums: Sums::None,
            condition,
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
    /// Bytes a second of the part that was sent fastest.
    pub(super) sent_per_second: Option<f64>,
}

/// An upload that was begun. Dropped before its end, as the job's step is when its lease is lost, it is taken back.
struct Begun {
    line: Arc<Line>,
    name: String,
    upload: Option<String>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        let (line, name) = (Arc::clone(&self.line), std::mem::take(&mut self.name));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { line.abort(&name, &upload).await });
        }
    }
}

/// Some servers copy no part for a request without a body that does not say so.
pub(super) fn says_its_length(request: &mut HttpRequest) {
    request.headers_mut().insert("content-length", "0");
}

fn crc_text(crc: u64) -> String {
    STANDARD.encode(crc.to_be_bytes())
}

impl Line {
    /// Makes an object of parts. What was begun is taken back where it fails.
    pub(super) async fn multipart(self: &Arc<Line>, mut parts: Parts<'_>) -> Result<Written, Fault> {
        let create = sealed!(self, call!(self, create_multipart_upload))
            .key(parts.name)
            .set_content_type(parts.content_type.take())
            .set_metadata(parts.metadata.take())
            .set_checksum_algorithm(parts.sums.algorithm())
            .set_checksum_type(parts.sums.whole().map(|_| ChecksumType::FullObject));
        let upload = create.send().await?.upload_id.ok_or_else(|| Fault::wrong("the upload has no id"))?;
        let mut begun =
            Begun { line: Arc::clone(self), name: parts.name.to_owned(), upload: Some(upload.clone()) };
        let outcome = match self.parts(&parts, &upload).await {
            Ok((done, sent_per_second)) => {
                let written = self.complete(&parts, &upload, done).await;
                written.map(|written| Written { sent_per_second, ..written })
            }
            Err(fault) => Err(fault),
        };
        begun.upload = None;
        // After an unsure answer it may have been completed; then there is nothing to abort.
        if outcome.is_err() {
            self.abort(parts.name, &upload).await;
        }
        outcome
    }

    /// Takes an upload back, as far as that works: a start days later does the rest.
    pub(super) async fn abort(&self, name: &str, upload: &str) {
        let _ = call!(self, abort_multipart_upload).key(name).upload_id(upload).send().await;
    }

    async fn complete(
        &self,
        parts: &Parts<'_>,
        upload: &str,
        done: Vec<CompletedPart>,
    ) -> Result<Written, Fault> {
        let size: u64 = parts.parts.iter().map(Part::len).sum();
        let (mut tries, mut pause, mut unsure) = (1, PAUSE_FIRST, None);
        loop {
            match self.complete_once(parts, upload, done.clone(), size).await {
                // To say it twice harms nothing: the upload is gone then.
                Err(fault) if tries < TRIES_MAX && fault.may_pass() && !fault.is_condition() => {
                    tokio::time::sleep(pause).await;
                    (tries, pause) = (tries + 1, pause * 2);
                    unsure = unsure.or(Some(fault).filter(Fault::is_unsure));
                }
                // What it is answered after it may have worked says nothing.
                Err(fault) if !fault.is_condition() => return Err(unsure.unwrap_or(fault)),
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
            .set_checksum_crc64_nvme(parts.sums.whole().map(crc_text))
            .set_checksum_type(parts.sums.whole().map(|_| ChecksumType::FullObject))
            .set_if_none_match(parts.condition.absent())
            .set_if_match(parts.condition.is());
        let config = self.patience.once((self.patience.end)(size));
        let done = complete.customize().config_override(config).send().await?;
        Ok(Written { etag: done.e_tag, version_id: done.version_id, sent_per_second: None })
    }

    /// Sends and copies the parts, several at once. What they are, and how fast the fastest was sent.
    async fn parts(
        self: &Arc<Line>,
        parts: &Parts<'_>,
        upload: &str,
    ) -> Result<(Vec<CompletedPart>, Option<f64>), Fault> {
        let mut under_way: JoinSet<Result<(CompletedPart, Option<f64>), Fault>> = JoinSet::new();
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
                    let (file, sums, to) = (Arc::clone(file), parts.sums, (name, upload, number));
                    under_way.spawn(async move {
                        let (part, took) = this.send_part(to, &file, (at, len), sums).await?;
                        Ok((part, Some(per_second(len, took))))
                    });
                }
                (Part::Copy { from, len }, _, Some((base, etag))) => {
                    let range = (!(from == 0 && parts.parts.len() == 1)).then_some((from, len));
                    let source = (this.copy_source(base), etag.map(str::to_owned));
                    let to = (name, upload, number);
                    under_way.spawn(async move { Ok((this.copy_part(to, source, range, len).await?, None)) });
                }
                _ => return Err(Fault::wrong("a part comes from nowhere")),
            }
            at += part.len();
        }
        while let Some(ended) = under_way.join_next().await {
            done.push(ended.map_err(|error| Fault::wrong(error.to_string()))??);
        }
        done.sort_unstable_by_key(|(part, _)| part.part_number);
        let (done, rates): (Vec<_>, Vec<_>) = done.into_iter().unzip();
        Ok((done, rates.into_iter().flatten().reduce(f64::max)))
    }

    async fn send_part(
        &self,
        (name, upload, number): (String, String, i32),
        file: &Arc<File>,
        (at, len): (u64, u64),
        sums: Sums,
    ) -> Result<(CompletedPart, Duration), Fault> {
        let _memory = self.memory(len).await;
        let file = Arc::clone(file);
        let read = blocking(move || {
            let bytes = read_part(&file, at, len)?;
            let crc = sums.whole().map(|_| crc_text(crc_fast::checksum(Crc64Nvme, &bytes)));
            let digest = (sums == Sums::Each).then(|| Digest::of(&bytes));
            std::io::Result::Ok((bytes, crc, digest))
        });
        let (bytes, crc, digest) = read.await.map_err(|error| Fault::wrong(error.to_string()))?;
        let begun = Instant::now();
        let send = call!(self, upload_part)
            .key(name)
            .upload_id(upload)
            .part_number(number)
            .set_checksum_crc64_nvme(crc)
            .set_checksum_sha256(digest.map(|digest| STANDARD.encode(digest.as_bytes())))
            .body(ByteStream::from(bytes))
            .customize()
            .config_override(self.patience.for_bytes(len));
        let sent = match digest {
            Some(digest) => send.interceptor(Hashed(digest)).send().await?,
            None => send.send().await?,
        };
        // Checksums are to be repeated where the server took them.
        let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag);
        let part = part.set_checksum_sha256(sent.checksum_sha256);
        Ok((part.set_checksum_crc64_nvme(sent.checksum_crc64_nvme).build(), begun.elapsed()))
    }

    async fn copy_part(
        &self,
        (name, upload, number): (String, String, i32),
        (source, etag): (String, Option<String>),
        range: Option<(u64, u64)>,
        len: u64,
    ) -> Result<CompletedPart, Fault> {
        let copied = call!(self, upload_part_copy)
            .set_expected_source_bucket_owner(self.owner.clone())
            .key(name)
            .upload_id(upload)
            .part_number(number)
            .copy_source(source)
            .set_copy_source_if_match(etag)
            .set_copy_source_range(range.map(|(from, len)| format!("bytes={from}-{}", from + len - 1)))
            .customize()
            .mutate_request(says_its_length)
            .config_override(self.patience.for_bytes(len))
            .send()
            .await?;
        let result = copied.copy_part_result.ok_or_else(|| Fault::wrong("the copied part has no ETag"))?;
        let part = CompletedPart::builder().part_number(number).set_e_tag(result.e_tag);
        Ok(part.set_checksum_crc64_nvme(result.checksum_crc64_nvme).build())
    }
}
