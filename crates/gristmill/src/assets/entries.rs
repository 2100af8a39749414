//! [`Entry`]: a set as a listing of the whole bucket shows it.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use gristmill_model::asset::is_code_hash;
use gristmill_model::{AssetSet, CommitId, Timestamp};
use gristmill_storage::{Listed, StorageError};

use super::sets::{AT_ONCE, Sets, Target};

/// A set as the listing shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Which set.
    pub target: Target,
    /// Objects, without the manifest.
    pub objects: Vec<Listed>,
    /// Whether there is a manifest.
    pub has_manifest: bool,
    /// The manifest, where it was read and is one.
    pub manifest: Option<AssetSet>,
    /// The manifest's, as it was read.
    pub etag: Option<String>,
    /// When something of it was written last, by the storage's clock.
    pub newest: Timestamp,
}

impl Entry {
    /// All bytes together.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.size).sum()
    }
}

/// All sets that there are, those of commits first, without what their manifests say.
///
/// # Errors
///
/// Where the bucket cannot be asked, here and below.
pub async fn list(sets: &Sets) -> Result<Vec<Entry>, StorageError> {
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
            has_manifest: false,
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
        with_manifest.extend(name.and_then(|(is_code, name)| entry(is_code, name, object.modified)));
    }
    for (key, object) in objects {
        found.get_mut(&key).expect("it was made above").objects.push(object);
    }
    for key in with_manifest {
        found.get_mut(&key).expect("it was made above").has_manifest = true;
    }
    Ok(found.into_values().collect())
}

/// Reads the manifests of these sets, a call each.
///
/// # Errors
pub async fn read_manifests(sets: &Sets, entries: &mut [Entry]) -> Result<(), StorageError> {
    let with_manifest = entries.iter_mut().filter(|entry| entry.has_manifest);
    let reads = stream::iter(with_manifest).map(|entry| async move {
        if let Some((bytes, etag)) = sets.bucket.get(&sets.manifest(&entry.target)).await? {
            (entry.manifest, entry.etag) = (AssetSet::parse(&bytes), Some(etag));
        }
        Ok::<_, StorageError>(())
    });
    let mut reads = reads.buffer_unordered(AT_ONCE);
    while let Some(done) = reads.next().await {
        done?;
    }
    Ok(())
}
