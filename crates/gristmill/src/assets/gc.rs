//! `asset gc`: removes sets that are neither young nor named by a ref, and what killed writers left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use gristmill_model::asset::{ASSET_SET_FORMAT, is_code_hash};
use gristmill_model::{AssetOrigin, AssetSet, AssetState, Clock as _, CommitId, Timestamp};
use gristmill_storage::{About, Body, Listed, StorageError, Write, WriteIf};

use super::check::writer_name;
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

/// A set as the listing shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    target: Target,
    /// Objects, without the manifest.
    objects: Vec<Listed>,
    manifest: Option<AssetSet>,
    /// The manifest's, as it was read.
    etag: Option<String>,
    newest: Timestamp,
}

impl Entry {
    fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.size).sum()
    }
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
        let entries = read(sets).await?;
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

/// All sets that there are.
async fn read(sets: &Sets) -> Result<Vec<Entry>, StorageError> {
    let (artifacts, cache, manifests) = (sets.keys.artifacts(), sets.keys.cache(), sets.keys.manifests());
    let (in_artifacts, in_cache, in_manifests) = tokio::try_join!(
        sets.bucket.list(&artifacts),
        sets.bucket.list(&cache),
        sets.bucket.list(&manifests)
    )?;
    let mut found: BTreeMap<(bool, String), Entry> = BTreeMap::new();
    let mut entry = |is_code: bool, name: &str, modified: Timestamp| -> Option<(bool, String)> {
        let target = if !is_code && name.parse::<CommitId>().is_ok() {
            Target::Commit(name.to_owned())
        } else if is_code && is_code_hash(name) {
            Target::Code(name.to_owned())
        } else {
            // Somebody else's: it is left alone.
            return None;
        };
        let key = (is_code, name.to_owned());
        let entry = found.entry(key.clone()).or_insert_with(|| Entry {
            target,
            objects: Vec::new(),
            manifest: None,
            etag: None,
            newest: modified,
        });
        entry.newest = entry.newest.max(modified);
        Some(key)
    };
    let mut objects = Vec::new();
    for (is_code, prefix, listed) in [(false, &artifacts, in_artifacts), (true, &cache, in_cache)] {
        for object in listed {
            let name = object.key.strip_prefix(prefix.as_str()).and_then(|rest| rest.split_once('/'));
            let key = name.and_then(|(name, _)| entry(is_code, name, object.modified));
            objects.extend(key.map(|key| (key, object)));
        }
    }
    let mut with_manifest = Vec::new();
    for object in in_manifests {
        let name = object.key.strip_prefix(manifests.as_str()).and_then(|name| name.strip_suffix(".json"));
        let name = name.map(|name| name.strip_prefix("cache/").map_or((false, name), |hash| (true, hash)));
        let key = name.and_then(|(is_code, name)| entry(is_code, name, object.modified));
        with_manifest.extend(key.map(|key| (key, object.key)));
    }
    for (key, object) in objects {
        found.get_mut(&key).expect("it was made above").objects.push(object);
    }
    let reads = stream::iter(with_manifest).map(|(key, manifest)| async move {
        let got = sets.bucket.get(&manifest).await?;
        Ok::<_, StorageError>((key, got.map(|(bytes, etag)| (AssetSet::parse(&bytes), etag))))
    });
    let mut reads = reads.buffer_unordered(AT_ONCE);
    while let Some(done) = reads.next().await {
        let (key, set) = done?;
        let entry = found.get_mut(&key).expect("it was made above");
        (entry.manifest, entry.etag) = set.map_or((None, None), |(set, etag)| (set, Some(etag)));
    }
    Ok(found.into_values().collect())
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
