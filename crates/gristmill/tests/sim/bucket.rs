//! A bucket that checks what is done to it: it keeps every version, and refuses silently nothing.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_db::publication::Publication;
use gristmill_model::{CommitId, Digest, ObjectKey};

/// What readers saw under a key at some time.
#[derive(Clone, Debug)]
pub struct Shown {
    pub at: i64,
    pub seq: i64,
    pub digest: Digest,
    pub commit: CommitId,
    /// Retention deleted it.
    pub deleted: bool,
}

/// Blobs and public keys.
#[derive(Debug, Default)]
pub struct Bucket {
    pub blobs: BTreeSet<Digest>,
    pub keys: BTreeMap<ObjectKey, Vec<Shown>>,
    /// Nothing is answered before this moment.
    pub down_until: i64,
}

impl Bucket {
    /// What a HEAD of the key tells.
    pub fn head(&self, key: &ObjectKey) -> Option<&Shown> {
        self.keys.get(key)?.last()
    }

    /// A PUT lands. What is wrong with it, if anything.
    pub fn put(&mut self, now: i64, what: &Publication) -> Result<(), String> {
        let Publication { key, seq, digest, .. } = what;
        let fault = match self.head(key) {
            Some(top) if top.seq == *seq && top.digest == *digest => {
                Some(format!("version {seq} was published twice"))
            }
            Some(top) if top.seq == *seq => Some(format!("the bytes of version {seq} changed")),
            Some(top) if top.seq > *seq => Some(format!("version {} was followed by {seq}", top.seq)),
            _ if !self.blobs.contains(digest) => Some(format!("version {seq} has no bytes: {digest}")),
            _ => None,
        };
        let shown = Shown { at: now, seq: *seq, digest: *digest, commit: what.commit, deleted: false };
        self.keys.entry(key.clone()).or_default().push(shown);
        match fault {
            Some(fault) => Err(format!("{key}: {fault}")),
            None => Ok(()),
        }
    }

    /// Retention takes a version away.
    pub fn delete_version(&mut self, key: &ObjectKey, seq: i64) -> Result<(), String> {
        let versions = self.keys.entry(key.clone()).or_default();
        if versions.last().is_some_and(|top| top.seq == seq) {
            return Err(format!("{key}: retention deleted version {seq}, which readers see"));
        }
        versions.iter_mut().filter(|shown| shown.seq == seq).for_each(|shown| shown.deleted = true);
        Ok(())
    }
}
