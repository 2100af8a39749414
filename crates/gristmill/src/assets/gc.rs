//! `asset gc`: removes sets that are neither young nor named by a ref, and what killed writers left.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use gristmill_model::asset::ASSET_SET_FORMAT;
use gristmill_model::{AssetOrigin, AssetSet, AssetState, Clock as _, Timestamp};
use gristmill_storage::{About, Body, StorageError, Write, WriteIf};

use super::check::writer_name;
use super::entries::{self, Entry};
use super::sets::{AT_ONCE, COMMIT_HASH, Sets, Target};
use super::{Tell, Tone};
use crate::clock::SystemClock;

/// After so long an upload that did not end is one that was killed.
const UNFINISHED: Duration = Duration::from_secs(24 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gc {
    /// Whatever was written in so many days.
    pub keep_days: u64,
    /// The sets of these commits, and of the cache what they were made with.
    pub keep_commits: BTreeSet<String>,
    /// Removes; else only says what would go.
    pub apply: bool,
}

/// Sets, files and bytes together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sum {
    /// How many sets.
    pub sets: usize,
    /// Their files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Sum {
    fn add(&mut self, entry: &Entry) {
        self.sets += 1;
        self.files += entry.objects.len();
        self.bytes += entry.bytes();
    }
}

/// What was found and what became of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Commits' sets.
    pub commits: Sum,
    /// The cache's.
    pub cache: Sum,
    /// Commits' sets that came from the cache: builds that were saved.
    pub from_cache: usize,
    /// Sets that go, or went, by the keys they begin with.
    pub removed: Vec<String>,
    /// All of these together.
    pub gone: Sum,
    /// Unfinished uploads of parts, or unfinished files, that were cleared.
    pub unfinished: usize,
}

impl Gc {
    /// Collects.
    ///
    /// # Errors
    ///
    /// Where the bucket cannot be asked. What was removed until then is; the rest is found the next time.
    pub async fn run(&self, sets: &Sets, tell: Tell<'_>) -> anyhow::Result<Report> {
        let mut entries = entries::list(sets).await?;
        entries::read_manifests(sets, &mut entries).await?;
        let before =
            SystemClock.now().minus(DAY.saturating_mul(u32::try_from(self.keep_days).unwrap_or(u32::MAX)));
        let unfinished = SystemClock.now().minus(UNFINISHED);
        let mut report = Report::default();
        let kept_code = self.kept_code(&entries, before);
        let mut going = Vec::new();
        for entry in &entries {
            let is_commit = matches!(entry.target, Target::Commit(_));
            let sum = if is_commit { &mut report.commits } else { &mut report.cache };
            sum.add(entry);
            let is_from_cache = entry.manifest.as_ref().is_some_and(|set| set.origin == AssetOrigin::Cache);
            report.from_cache += usize::from(is_commit && is_from_cache);
            let is_kept = match &entry.target {
                Target::Commit(commit) => self.keep_commits.contains(commit),
                Target::Code(hash) => kept_code.contains(hash),
            };
            if !is_kept && entry.newest < before && entry.newest < unfinished {
                report.gone.add(entry);
                report.removed.push(sets.shown(sets.prefix(&entry.target).trim_end_matches('/')));
                going.push(entry);
            }
        }
        for (number, entry) in going.into_iter().enumerate() {
            let verb = if self.apply { "Removing" } else { "Would remove" };
            let (files, bytes) = (entry.objects.len(), entry.bytes());
            tell(
                Tone::File(number),
                &format!("{verb} {}, {files} file(s), {bytes} bytes", report.removed[number]),
            );
            if self.apply {
                remove(sets, entry).await?;
            }
        }
        if self.apply {
            for prefix in [sets.keys.artifacts(), sets.keys.cache()] {
                report.unfinished += sets.bucket.clear_unfinished(&prefix, unfinished).await?;
            }
        }
        Ok(report)
    }

    /// The code of what is kept.
    fn kept_code(&self, entries: &[Entry], before: Timestamp) -> BTreeSet<String> {
        let kept = entries.iter().filter(|entry| match &entry.target {
            Target::Commit(commit) => entry.newest >= before || self.keep_commits.contains(commit),
            Target::Code(_) => false,
        });
        kept.filter_map(|entry| entry.manifest.as_ref()?.code_hash.clone()).collect()
    }
}

/// Removes a set as it was read. It does not count any more from the beginning on, wherever this ends. What says so stays
/// until a later run finds nothing beside it: whoever writes the set anew meanwhile goes on from there.
async fn remove(sets: &Sets, entry: &Entry) -> Result<(), StorageError> {
    let manifest = sets.manifest(&entry.target);
    let is_removing = entry.manifest.as_ref().is_some_and(|set| set.state == AssetState::Removing);
    if is_removing && entry.objects.is_empty() {
        return sets.bucket.delete(&manifest).await;
    }
    let condition = entry.etag.clone().map_or(WriteIf::Absent, WriteIf::Is);
    let about = About { content_type: "application/json".to_owned(), ..About::default() };
    let body = Body::Bytes(removing(sets, entry).await?.to_json().into_bytes().into());
    if sets.bucket.put(&manifest, body, &about, condition).await? == Write::Refused {
        // Somebody has written it since.
        return Ok(());
    }
    let deletions = stream::iter(&entry.objects).map(|object| sets.bucket.delete(&object.key));
    let mut deletions = deletions.buffer_unordered(AT_ONCE);
    while let Some(done) = deletions.next().await {
        done?;
    }
    Ok(())
}

/// What the manifest says while a set is removed. Of the original's no more is known than what stands with its objects.
async fn removing(sets: &Sets, entry: &Entry) -> Result<AssetSet, StorageError> {
    let (state, writer) = (AssetState::Removing, writer_name());
    if let Some(set) = &entry.manifest {
        return Ok(AssetSet { state, writer, ..set.clone() });
    }
    let told = match (&entry.target, entry.objects.first()) {
        (Target::Commit(commit), _) => Some(commit.clone()),
        (Target::Code(_), Some(object)) => {
            sets.bucket.head(&object.key).await?.and_then(|mut head| head.metadata.remove(COMMIT_HASH))
        }
        (Target::Code(_), None) => None,
    };
    let commit = told.and_then(|told| told.parse().ok());
    Ok(AssetSet {
        format: ASSET_SET_FORMAT.to_owned(),
        state,
        commit: commit.unwrap_or_else(|| "f".repeat(40).parse().expect("an id that no commit has")),
        code_hash: None,
        origin: AssetOrigin::Build,
        writer,
        begun_ms: SystemClock.now(),
        completed_ms: None,
        files: Vec::new(),
    })
}
