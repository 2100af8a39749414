//! [`BucketCapabilities`]: what this bucket really does, tried out with small objects at the start.
//!
//! A server's name says little: conditions and checksums came to S3 late, call by call, and compatible servers ignore
//! what they do not know. So each is tried with a condition that does not hold: only who refuses honours it.

use std::fmt;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart,
    MetadataDirective,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gristmill_model::Digest;
use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::{S3Storage, now_ms};
use crate::error::StorageError;

/// Bytes that a probe sends; few, and more than none.
const BYTES: &[u8] = b"gristmill looks what this bucket can do; this object may be deleted\n";
/// An ETag that no object has.
const NO_ETAG: &str = "\"00000000000000000000000000000000\"";
/// Uploads that were begun so long ago are of processes that died.
const ABANDONED_AFTER_MS: i64 = 2 * 24 * 3600 * 1000;

/// What a bucket does. `Display` is a line for `doctor`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BucketCapabilities {
    /// Old versions are kept. Without, CodePipeline cannot use the bucket, and what is replaced or withdrawn is gone.
    pub versions: bool,
    /// `If-None-Match: *` when putting.
    pub put_if_absent: bool,
    /// `If-Match` when putting.
    pub put_if_match: bool,
    /// `If-None-Match: *` at the destination of a copy.
    pub copy_if_absent: bool,
    /// `If-Match` at the destination of a copy.
    pub copy_if_match: bool,
    /// `If-None-Match: *` when completing an upload of parts.
    pub complete_if_absent: bool,
    /// `If-Match` when completing an upload of parts.
    pub complete_if_match: bool,
    /// A body whose SHA-256 is another than was said is refused.
    pub checksum: bool,
    /// So is an upload of parts, by the CRC-64 of the whole.
    pub checksum_of_parts: bool,
    /// Parts can be copied from other objects.
    pub copies_parts: bool,
    /// Who asks for an object that was deleted is told that there was one.
    pub tells_deletions: bool,
}

impl fmt::Display for BucketCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.versions { "versioned" } else { "NOT versioned: CodePipeline cannot use it" })?;
        let all = [
            (self.put_if_absent && self.put_if_match, "conditional put"),
            (self.copy_if_absent && self.copy_if_match, "conditional copy"),
            (self.complete_if_absent && self.complete_if_match, "conditional upload of parts"),
            (self.checksum, "checksums"),
            (self.checksum_of_parts, "checksums of parts"),
            (self.copies_parts, "copies of parts"),
        ];
        let names = |wanted: bool| {
            let names = all.iter().filter(|(is, _)| *is == wanted).map(|(_, name)| *name);
            names.collect::<Vec<_>>().join(", ")
        };
        let (does, lacks) = (names(true), names(false));
        if !does.is_empty() {
            write!(f, "; {does}")?;
        }
        if lacks.is_empty() { Ok(()) } else { write!(f, "; without {lacks}") }
    }
}

/// Whether a call whose condition does not hold was refused for it.
fn refuses<T>(outcome: Result<T, Fault>) -> Result<bool, Fault> {
    match outcome {
        Ok(_) => Ok(false),
        Err(fault) if fault.is_condition() => Ok(true),
        // An answer that cannot be read is none that refuses.
        Err(fault) if fault.is_odd_success() => Ok(false),
        // Who does not know the header may also say so.
        Err(fault) if fault.is_unknown_call() => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// The objects of one probe.
struct Probe<'a> {
    storage: &'a S3Storage,
    /// What is copied from; never written again.
    source: String,
    /// Where puts, copies and uploads of parts are tried.
    put: String,
    copy: String,
    parts: String,
    /// What parts are copied to.
    copied: String,
}

impl S3Storage {
    /// Finds the bucket and tries out what it does.
    pub(super) async fn probe(&self) -> Result<BucketCapabilities, StorageError> {
        self.find_bucket().await?;
        let doing = || format!("trying out the bucket `{}`", self.line.bucket);
        // Several machines may try the bucket out at once.
        let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), now_ms());
        let run = format!("{}-{random:016x}", now_ms());
        let [source, put, copy, parts, copied] =
            ["source", "put", "copy", "parts", "copied"].map(|object| self.names.probe(&run, object));
        let probe = Probe { storage: self, source, put, copy, parts, copied };
        let outcome = probe.run().await;
        let cleared = probe.clear().await;
        let capabilities = outcome.map_err(|fault| fault.told(doing()))?;
        cleared.map_err(|fault| fault.told(doing()))?;
        Ok(capabilities)
    }

    pub(super) async fn find_bucket(&self) -> Result<(), StorageError> {
        let found = call!(self.line, head_bucket).send().await.map_err(Fault::from);
        let unusable = |why: String| StorageError::Bucket { bucket: self.line.bucket.clone(), why };
        match found {
            Ok(_) => Ok(()),
            Err(fault) if fault.is_no_bucket() || fault.is_absent() => Err(unusable(
                "there is no such bucket; `gristmill doctor --create-bucket` makes it".to_owned(),
            )),
            Err(fault) if fault.is_redirect() => Err(unusable(fault.to_string())),
            Err(fault) if fault.is_denied() && self.is_of_others().await => Err(unusable(self.of_others())),
            Err(fault) => Err(fault.told(format_args!("looking for the bucket `{}`", self.line.bucket))),
        }
    }

    /// Whether the bucket is ours to ask and refuses only because `expected_bucket_owner` names another account. S3
    /// answers both with the same 403, so it is asked without that, where nothing of ours goes along; and once more
    /// with it, as rights may just have been given.
    pub(super) async fn is_of_others(&self) -> bool {
        let ask = async |owner: Option<String>| {
            let asked =
                self.line.client.head_bucket().bucket(&self.line.bucket).set_expected_bucket_owner(owner);
            asked.send().await.map_err(Fault::from)
        };
        let owner = self.line.owner.clone();
        owner.is_some() && ask(None).await.is_ok() && ask(owner).await.is_err_and(|fault| fault.is_denied())
    }

    /// What to do then.
    pub(super) fn of_others(&self) -> String {
        let owner = self.line.owner.as_deref().unwrap_or_default();
        format!(
            "it belongs to another account than `expected_bucket_owner` says ({owner}), and nothing is read or written \
             there; check the bucket's name, and correct `expected_bucket_owner` only where you know whose it is"
        )
    }

    /// Whether the bucket has versions; as `else_so`, where it does not say.
    pub(super) async fn has_versions(&self, else_so: bool) -> Result<bool, Fault> {
        match call!(self.line, get_bucket_versioning).send().await.map_err(Fault::from) {
            Ok(told) => Ok(told.status == Some(BucketVersioningStatus::Enabled)),
            // Who may not ask, or cannot, sees it by what a put answers.
            Err(fault) if fault.is_denied() || fault.is_unknown_call() || fault.is_absent() => Ok(else_so),
            Err(fault) if fault.is_odd_success() => Ok(else_so),
            Err(fault) => Err(fault),
        }
    }

    /// Takes uploads back that were never finished, as far as that works: they cost what their parts cost.
    pub(super) async fn abort_abandoned(&self) {
        let before_ms = now_ms() - ABANDONED_AFTER_MS;
        // Large public objects are made of parts too. Without a prefix the bucket may be others' as well: uploads at
        // keys are theirs for all that can be seen.
        let all = if self.names.all().is_empty() { self.names.own() } else { self.names.all().to_owned() };
        let (mut key, mut id) = (None, None);
        loop {
            let call = call!(self.line, list_multipart_uploads).prefix(&all);
            let call = call.set_key_marker(key.take()).set_upload_id_marker(id.take());
            let Ok(listed) = call.send().await else { return };
            for upload in listed.uploads.unwrap_or_default() {
                let is_old = super::blobs::timestamp(upload.initiated.as_ref()).0 < before_ms;
                if let (true, Some(name), Some(id)) = (is_old, upload.key, upload.upload_id) {
                    let _ = call!(self.line, abort_multipart_upload).key(name).upload_id(id).send().await;
                }
            }
            (key, id) = (listed.next_key_marker, listed.next_upload_id_marker);
            if listed.is_truncated != Some(true) || key.is_none() {
                return;
            }
        }
    }
}

impl Probe<'_> {
    async fn run(&self) -> Result<BucketCapabilities, Fault> {
        let (source, put, parts) = tokio::try_join!(
            self.put(&self.source, None, None, BYTES),
            self.put(&self.put, None, None, BYTES),
            self.put(&self.parts, None, None, BYTES),
        )?;
        let etag = source.0.ok_or_else(|| Fault::wrong("a put gives no ETag"))?;
        self.copy(None, None).await?;
        let gave_id = [put.1, parts.1].iter().all(|id| id.as_deref().is_some_and(|id| id != "null"));
        let (versions, puts, copies, parts) = tokio::join!(
            self.storage.has_versions(gave_id),
            async {
                let absent = refuses(self.put(&self.put, Some("*"), None, BYTES).await)?;
                let is = refuses(self.put(&self.put, None, Some(NO_ETAG), BYTES).await)?;
                Ok::<_, Fault>((absent, is, self.checksum().await?))
            },
            async {
                let absent = refuses(self.copy(Some("*"), None).await)?;
                Ok::<_, Fault>((absent, refuses(self.copy(None, Some(NO_ETAG)).await)?))
            },
            self.parts(&etag),
        );
        let (puts, copies, mut all) = (puts?, copies?, parts?);
        all.versions = versions?;
        (all.put_if_absent, all.put_if_match, all.checksum) = puts;
        (all.copy_if_absent, all.copy_if_match) = copies;
        if all.versions {
            call!(self.storage.line, delete_object).key(&self.put).send().await?;
            all.tells_deletions = matches!(self.storage.head(&self.put, None).await?, Err(true));
        }
        Ok(all)
    }

    async fn put(
        &self,
        name: &str,
        if_none_match: Option<&str>,
        if_match: Option<&str>,
        bytes: &'static [u8],
    ) -> Result<(Option<String>, Option<String>), Fault> {
        let storage = self.storage;
        let put = sealed!(storage.line, call!(storage.line, put_object))
            .key(name)
            .body(ByteStream::from_static(bytes))
            .checksum_sha256(STANDARD.encode(Digest::of(BYTES).as_bytes()))
            .set_if_none_match(if_none_match.map(str::to_owned))
            .set_if_match(if_match.map(str::to_owned));
        let put = put.send().await?;
        Ok((put.e_tag, put.version_id))
    }

    async fn copy(&self, if_none_match: Option<&str>, if_match: Option<&str>) -> Result<(), Fault> {
        let storage = self.storage;
        let copy = sealed!(storage.line, call!(storage.line, copy_object))
            .set_expected_source_bucket_owner(storage.line.owner.clone())
            .key(&self.copy)
            .copy_source(storage.line.copy_source(&self.source))
            .metadata_directive(MetadataDirective::Replace)
            .metadata("gristmill-probe", "copied")
            .set_if_none_match(if_none_match.map(str::to_owned))
            .set_if_match(if_match.map(str::to_owned));
        copy.send().await?;
        if if_none_match.is_some() || if_match.is_some() {
            return Ok(());
        }
        let head = call!(storage.line, head_object).key(&self.copy).send().await?;
        let metadata = head.metadata().and_then(|metadata| metadata.get("gristmill-probe"));
        if metadata.map(String::as_str) == Some("copied") {
            return Ok(());
        }
        Err(Fault::wrong("a copy does not take new metadata; without, no version can be told from another"))
    }

    async fn checksum(&self) -> Result<bool, Fault> {
        match self.put(&self.put, None, None, b"other bytes than the checksum says").await {
            Ok(_) => Ok(false),
            Err(fault) if fault.is_bad_request() => Ok(true),
            Err(fault) if fault.is_unknown_call() => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// What concerns uploads of parts: those whose checksum is wrong or whose condition does not hold.
    async fn parts(&self, etag: &str) -> Result<BucketCapabilities, Fault> {
        let mut found = BucketCapabilities::default();
        let (sent, absent, is, copied) = tokio::join!(
            self.upload(Some(0), None, None),
            self.upload(None, Some("*"), None),
            self.upload(None, None, Some(NO_ETAG)),
            self.copies_parts(etag),
        );
        found.checksum_of_parts = matches!(&sent, Err(fault) if fault.is_bad_request() && !fault.is_unsure());
        // The wrong checksum may also be refused because no checksum is known; then a right one is too.
        if found.checksum_of_parts {
            let right = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, BYTES);
            found.checksum_of_parts = self.upload(Some(right), None, None).await.is_ok();
        }
        found.complete_if_absent = refuses(absent)?;
        found.complete_if_match = refuses(is)?;
        found.copies_parts = copied;
        Ok(found)
    }

    /// Whether an object can be made of a part that is copied.
    async fn copies_parts(&self, etag: &str) -> bool {
        let outcome = self.upload_to(&self.copied, None, Some(etag), None, None).await;
        let is_odd = matches!(&outcome, Err(fault) if fault.is_odd_success());
        outcome.is_ok() || is_odd && matches!(self.storage.head(&self.copied, None).await, Ok(Ok(_)))
    }

    async fn upload(
        &self,
        crc: Option<u64>,
        if_none_match: Option<&str>,
        if_match: Option<&str>,
    ) -> Result<(), Fault> {
        self.upload_to(&self.parts, crc, None, if_none_match, if_match).await
    }

    /// One upload of a single part, which is sent or copied.
    async fn upload_to(
        &self,
        to: &str,
        crc: Option<u64>,
        copy_of: Option<&str>,
        if_none_match: Option<&str>,
        if_match: Option<&str>,
    ) -> Result<(), Fault> {
        let storage = self.storage;
        let algorithm = crc.map(|_| ChecksumAlgorithm::Crc64Nvme);
        let kind = crc.map(|_| ChecksumType::FullObject);
        let create = sealed!(storage.line, call!(storage.line, create_multipart_upload)).key(to);
        let create = create.set_checksum_algorithm(algorithm).set_checksum_type(kind.clone());
        let id = create.send().await?.upload_id.ok_or_else(|| Fault::wrong("the upload has no id"))?;
        let part = match copy_of {
            Some(etag) => self.copy_part(to, &id, etag).await,
            None => self.send_part(to, &id, crc.is_some()).await,
        };
        let outcome = match part {
            Err(fault) => Err(fault),
            Ok(part) => {
                let complete = call!(storage.line, complete_multipart_upload)
                    .key(to)
                    .upload_id(&id)
                    .multipart_upload(CompletedMultipartUpload::builder().parts(part).build())
                    .set_checksum_crc64_nvme(crc.map(|crc| STANDARD.encode(crc.to_be_bytes())))
                    .set_checksum_type(kind)
                    .set_if_none_match(if_none_match.map(str::to_owned))
                    .set_if_match(if_match.map(str::to_owned));
                complete.send().await.map(|_| ()).map_err(Fault::from)
            }
        };
        if outcome.is_err() {
            let _ = call!(storage.line, abort_multipart_upload).key(to).upload_id(id).send().await;
        }
        outcome
    }

    async fn send_part(&self, to: &str, id: &str, is_summed: bool) -> Result<CompletedPart, Fault> {
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, BYTES);
        let send = call!(self.storage.line, upload_part).key(to).upload_id(id).part_number(1);
        let send = send.body(ByteStream::from_static(BYTES));
        let send = send.set_checksum_crc64_nvme(is_summed.then(|| STANDARD.encode(crc.to_be_bytes())));
        let sent = send.send().await?;
        let part = CompletedPart::builder().part_number(1).set_e_tag(sent.e_tag);
        Ok(part.set_checksum_crc64_nvme(sent.checksum_crc64_nvme).build())
    }

    async fn copy_part(&self, to: &str, id: &str, etag: &str) -> Result<CompletedPart, Fault> {
        let storage = self.storage;
        let copy = call!(storage.line, upload_part_copy)
            .set_expected_source_bucket_owner(storage.line.owner.clone())
            .key(to)
            .upload_id(id)
            .part_number(1)
            .copy_source(storage.line.copy_source(&self.source))
            .copy_source_if_match(etag)
            .customize()
            .mutate_request(super::parts::says_its_length);
        let etag = copy.send().await?.copy_part_result.and_then(|result| result.e_tag);
        Ok(CompletedPart::builder().part_number(1).set_e_tag(etag).build())
    }

    /// Takes the probe's objects away, with their versions and what says that they were deleted.
    async fn clear(&self) -> Result<(), Fault> {
        let storage = self.storage;
        for name in [&self.source, &self.put, &self.copy, &self.parts, &self.copied] {
            let listed =
                call!(storage.line, list_object_versions).prefix(name).send().await.map_err(Fault::from);
            let Ok(listed) = listed else {
                call!(storage.line, delete_object).key(name).send().await?;
                continue;
            };
            let versions = listed.versions.unwrap_or_default().into_iter();
            let versions = versions.filter_map(|version| version.version_id);
            let deletions = listed.delete_markers.unwrap_or_default().into_iter();
            for id in versions.chain(deletions.filter_map(|deletion| deletion.version_id)) {
                storage.delete(name, &id).await?;
            }
        }
        Ok(())
    }
}
