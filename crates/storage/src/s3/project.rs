//! Public keys: a server-side copy of a blob, with the version in the metadata.
//!
//! Each round looks at the key first, then copies on the condition that the key is still what it was, where the
//! bucket was found to honour that. After an answer that leaves open what happened the next round looks again, so
//! that a copy that did happen is not made a second time.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::types::{ChecksumMode, MetadataDirective};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gristmill_model::{Digest, ObjectKey};
use tokio::time::Instant;

use super::blobs::size;
use super::client::{COPIED_PER_SECOND_MIN, copy_max};
use super::fault::Fault;
use super::parts::{Parts, Written};
use super::{S3Storage, Source, meta, plan};
use crate::bucket::WriteIf;
use crate::error::{ProjectError, StorageError};
use crate::object::{Projected, PublicObject};
use crate::storage::Capabilities;

/// What one projection may take, besides the time by the object's size.
const PROJECT_BASE: Duration = Duration::from_secs(20);
/// Looks and copies of one projection.
const ROUNDS_MAX: u32 = 5;
/// The pause before the second round; it doubles.
const PAUSE: Duration = Duration::from_millis(150);

/// A bucket without versions names its only one so.
pub(super) const NO_VERSION: &str = "null";

/// A public key as the bucket has it.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) etag: Option<String>,
    pub(super) version_id: String,
    /// What it says it is; `None` where it is none of ours.
    pub(super) object: Option<PublicObject>,
    /// The digest of its bytes, where the server keeps it.
    pub(super) digest: Option<Digest>,
}

/// What the rounds so far have done to the key.
#[derive(Clone, Copy, Default)]
struct Tries {
    /// A copy was begun.
    began: bool,
    /// One has no answer: it may still happen.
    unsure: bool,
}

/// What became of one round.
enum Round {
    Done(Projected),
    Again(StorageError),
    /// The same without a pause.
    Look(StorageError),
}

/// How long [`S3Storage::project`] takes at most, with whatever it began at the server.
pub(crate) fn project_max(size: u64) -> Duration {
    PROJECT_BASE + Duration::from_secs(3 * (size / COPIED_PER_SECOND_MIN))
}

/// What a round says does not say what becomes of a copy before it.
fn unsure(key: &ObjectKey, error: &ProjectError) -> ProjectError {
    let why = format!("a copy had no answer and may still happen; then: {error}");
    StorageError::Server { doing: format!("publishing `{key}`"), why, may_pass: true }.into()
}

impl S3Storage {
    /// What the bucket has under a name, or a version of it. `Ok(Err(deleted))` where there is nothing, and whether that is
    /// because it was deleted.
    pub(super) async fn head(&self, name: &str, version: Option<&str>) -> Result<Result<Shown, bool>, Fault> {
        let call = call!(self.line, head_object).key(name).checksum_mode(ChecksumMode::Enabled);
        let head = match call.set_version_id(version.map(str::to_owned)).send().await.map_err(Fault::from) {
            Err(fault) if fault.is_absent() => return Ok(Err(fault.delete_marker)),
            head => head?,
        };
        let object = meta::read(head.metadata(), size(head.content_length), head.content_type());
        // A checksum of checksums ends in the number of parts and is none of the bytes.
        let digest = head.checksum_sha256().and_then(|text| STANDARD.decode(text).ok());
        let digest = digest.and_then(|bytes| Digest::from_slice(&bytes));
        let version_id = head.version_id.unwrap_or_else(|| NO_VERSION.to_owned());
        Ok(Ok(Shown { etag: head.e_tag, version_id, object, digest }))
    }

    /// Makes `key` hold a version. No copy begins that could end after the time that the caller holds the key for.
    pub(crate) async fn project(
        self: &Arc<S3Storage>,
        key: &ObjectKey,
        object: &PublicObject,
        time: Duration,
    ) -> Result<Projected, ProjectError> {
        let name = self.names.public(key)?;
        if object.seq < 0 {
            return Err(ProjectError::NegativeSeq { key: key.clone(), seq: object.seq });
        }
        let until = Instant::now() + time;
        let (mut pause, mut tries) = (PAUSE, Tries::default());
        let mut last = None;
        for _ in 0..ROUNDS_MAX {
            let time_left = until.saturating_duration_since(Instant::now());
            if time_left < copy_max(object.size) {
                break;
            }
            let round = self.round(key, &name, object, &mut tries, time_left).await;
            match round.map_err(|error| if tries.unsure { unsure(key, &error) } else { error })? {
                Round::Done(projected) => return Ok(projected),
                Round::Again(error) => last = Some(error),
                Round::Look(error) => {
                    last = Some(error);
                    continue;
                }
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        let late = || StorageError::Server {
            doing: format!("publishing `{key}`"),
            why: "no answer came in time; what the key holds is looked at before it is written again"
                .to_owned(),
            may_pass: true,
        };
        Err(last.unwrap_or_else(late).into())
    }

    async fn round(
        self: &Arc<S3Storage>,
        key: &ObjectKey,
        name: &str,
        object: &PublicObject,
        tries: &mut Tries,
        time_left: Duration,
    ) -> Result<Round, ProjectError> {
        let doing = || format!("publishing `{key}`");
        let failed = |fault: Fault| match fault.may_pass() {
            true => Ok(Round::Again(fault.told(doing()))),
            false => Err(ProjectError::from(fault.told(doing()))),
        };
        let looks = async { tokio::join!(self.head(name, None), self.source(&object.digest)) };
        let look_max = time_left.saturating_sub(copy_max(object.size));
        let Ok((shown, source)) = tokio::time::timeout(look_max, looks).await else {
            let why = "no answer came in time; check the network and the endpoint".to_owned();
            return Ok(Round::Again(StorageError::Server { doing: doing(), why, may_pass: true }));
        };
        let shown = match shown {
            Ok(shown) => shown,
            Err(fault) => return failed(fault),
        };
        if let Some(version_id) = self.judge(key, name, object, &shown).await? {
            return Ok(Round::Done(self.projected(version_id, *tries)));
        }
        let source = match source {
            Ok(Some(source)) => source,
            Ok(None) => return Err(StorageError::BlobMissing { digest: object.digest }.into()),
            Err(fault) => return failed(fault),
        };
        if source.size != object.size {
            let (digest, expected, actual) = (object.digest, object.size, source.size);
            return Err(ProjectError::SizeDiffers { key: key.clone(), digest, expected, actual });
        }
        tries.began = true;
        match self.place(name, object, &source, shown.as_ref().ok()).await {
            Ok(Written { version_id: None, .. }) if self.capabilities.versions => {
                // The next round looks what the server called it.
                let why = "the server does not say which version a copy made".to_owned();
                Ok(Round::Look(StorageError::Server { doing: doing(), why, may_pass: true }))
            }
            Ok(written) => {
                let version_id = written.version_id.unwrap_or_else(|| NO_VERSION.to_owned());
                Ok(Round::Done(self.projected(version_id, *tries)))
            }
            Err(fault) => {
                // The blob may be gone or made anew: the next round asks.
                self.forget(&object.digest);
                tries.unsure |= fault.may_pass();
                if fault.is_absent() && !fault.is_no_bucket() {
                    return Ok(Round::Again(StorageError::BlobMissing { digest: object.digest }));
                }
                failed(fault)
            }
        }
    }

    /// What is late is refused where the bucket keeps conditions.
    fn projected(&self, version_id: String, tries: Tries) -> Projected {
        let is_safe = Capabilities::Bucket(self.capabilities).ends_with_its_caller();
        Projected { version_id, changed: tries.began, may_go_on: tries.unsure && !is_safe }
    }

    /// The blob to copy, as last seen or as it is.
    async fn source(&self, digest: &Digest) -> Result<Option<Source>, Fault> {
        match self.remembered(digest) {
            Some(source) => Ok(Some(source)),
            None => Ok(self.look(digest).await?.map(|seen| seen.source)),
        }
    }

    /// Refuses a version that comes too late or would change one that is there. The version's id where the key
    /// holds it already.
    async fn judge(
        &self,
        key: &ObjectKey,
        name: &str,
        object: &PublicObject,
        shown: &Result<Shown, bool>,
    ) -> Result<Option<String>, ProjectError> {
        let seq = object.seq;
        let held = match shown {
            Ok(Shown { object: None, .. }) if self.capabilities.versions => return Ok(None),
            Ok(Shown { object: None, .. }) => {
                let what = "an object";
                return Err(ProjectError::Blocked { key: key.clone(), path: name.to_owned(), what });
            }
            Ok(shown) => shown.object.clone(),
            Err(false) if !self.capabilities.versions || self.capabilities.tells_deletions => {
                return Ok(None);
            }
            // It was withdrawn, or may have been: its versions still say how far it came.
            Err(_) => self
                .latest(name)
                .await
                .map_err(|fault| fault.told(format_args!("reading the versions of `{key}`")))?,
        };
        let Some(held) = held else { return Ok(None) };
        if held.seq > seq {
            return Err(ProjectError::Older { key: key.clone(), seq, current: held.seq });
        }
        if held.seq == seq && held.digest != object.digest {
            return Err(ProjectError::Taken { key: key.clone(), seq, recorded: held.digest });
        }
        let Ok(shown) = shown else { return Ok(None) };
        let is_whole = held.size == object.size && shown.digest.is_none_or(|digest| digest == object.digest);
        Ok((held.seq == seq && is_whole).then(|| shown.version_id.clone()))
    }

    /// Copies the blob to the key.
    async fn place(
        self: &Arc<S3Storage>,
        name: &str,
        object: &PublicObject,
        source: &Source,
        shown: Option<&Shown>,
    ) -> Result<Written, Fault> {
        let blob = self.names.blob(&object.digest);
        let can = self.capabilities;
        let condition = |absent: bool, is: bool| match shown.map(|shown| shown.etag.clone()) {
            None if absent => WriteIf::Absent,
            Some(Some(etag)) if is => WriteIf::Is(etag),
            _ => WriteIf::Always,
        };
        let whole_max = self.settings.copy_bytes_max;
        if object.size > whole_max {
            let parts = plan::LIMITS.copy_all(object.size, whole_max);
            let copied = self.line.multipart(Parts {
                condition: condition(can.complete_if_absent, can.complete_if_match),
                content_type: Some(object.content_type.clone()),
                metadata: Some(meta::write(object)),
                ..Parts::copies(name, parts, (&blob, Some(&source.etag)))
            });
            let copied = tokio::time::timeout(copy_max(object.size), copied).await;
            return copied.unwrap_or_else(|_| Err(Fault::cut_off(&"the copy took too long")));
        }
        let condition = condition(can.copy_if_absent, can.copy_if_match);
        let copy = sealed!(self.line, call!(self.line, copy_object))
            .set_expected_source_bucket_owner(self.line.owner.clone())
            .key(name)
            .copy_source(self.line.copy_source(&blob))
            .copy_source_if_match(&source.etag)
            .metadata_directive(MetadataDirective::Replace)
            .set_metadata(Some(meta::write(object)))
            .content_type(&object.content_type)
            .set_if_none_match(condition.absent())
            .set_if_match(condition.is());
        let config = self.line.patience.once(copy_max(object.size));
        Ok(Written::of_copy(&copy.customize().config_override(config).send().await?))
    }

    /// The version that readers get, `None` where they get nothing.
    pub(crate) async fn current(
        &self,
        key: &ObjectKey,
        deep: bool,
    ) -> Result<Option<PublicObject>, ProjectError> {
        let name = self.names.public(key)?;
        let failed = |fault: Fault| fault.told(format_args!("reading `{key}`"));
        let Ok(shown) = self.head(&name, None).await.map_err(failed)? else { return Ok(None) };
        let damaged = |why: &str| StorageError::Damaged { what: format!("`{key}` {why}; project it again") };
        let Some(object) = shown.object else {
            return Err(damaged("holds something that no version put there").into());
        };
        let found = if deep { self.hash(&name).await.map_err(failed)? } else { shown.digest };
        if found.is_some_and(|found| found != object.digest) {
            return Err(damaged("holds other bytes than its version").into());
        }
        Ok(Some(object))
    }
}
