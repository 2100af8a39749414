//! Checking everything: all blobs, and what each public key shows.
//!
//! That a key is missing is not seen here: which keys there are is known by the database alone, whose checker
//! compares them.

use std::collections::{HashMap, HashSet};

use gristmill_model::{AssetKeys, Digest};

use super::S3Storage;
use super::blobs::size;
use super::fault::Fault;
use super::names::RESERVED;
use super::project::Shown;
use crate::error::StorageError;
use crate::object::{Checked, Finding};

impl S3Storage {
    /// Reports what is wrong, changing nothing. Holds the digests of all blobs in memory.
    pub(crate) async fn verify(
        &self,
        deep: bool,
        report: &mut impl FnMut(Finding),
    ) -> Result<Checked, StorageError> {
        let failed = |fault: Fault| fault.told("checking the storage");
        let mut checked = Checked::default();
        let mut tell = |checked: &mut Checked, finding: Finding| {
            checked.findings += 1;
            report(finding);
        };
        let blobs = self.verify_blobs(deep, &mut checked, &mut tell).await.map_err(failed)?;
        let (mut from, mut sets) = ((None, None), HashMap::new());
        loop {
            let page = self.public_page(from).await.map_err(failed)?;
            checked.versions += page.versions;
            for name in page.current {
                let known = (&blobs, &mut sets);
                self.verify_key(&name, deep, known, &mut checked, &mut tell).await.map_err(failed)?;
            }
            match page.next {
                Some(next) => from = next,
                None => return Ok(checked),
            }
        }
    }

    async fn verify_blobs(
        &self,
        deep: bool,
        checked: &mut Checked,
        tell: &mut impl FnMut(&mut Checked, Finding),
    ) -> Result<HashSet<Digest>, Fault> {
        let mut blobs = HashSet::new();
        let mut token = None;
        loop {
            let call = call!(self.line, list_objects_v2).prefix(self.names.blobs());
            let listed = call.set_continuation_token(token).send().await?;
            for object in listed.contents.unwrap_or_default() {
                let name = object.key.unwrap_or_default();
                let Some(digest) = self.names.digest(&name) else {
                    tell(checked, Finding::StrayBlob { path: name });
                    continue;
                };
                checked.blobs += 1;
                checked.bytes += size(object.size);
                blobs.insert(digest);
                if deep
                    && let Some(found) = self.hash(&name).await?
                    && found != digest
                {
                    tell(checked, Finding::BlobCorrupt { digest, found });
                }
            }
            token = listed.next_continuation_token.filter(|_| listed.is_truncated.unwrap_or(false));
            if token.is_none() {
                return Ok(blobs);
            }
        }
    }

    async fn public_page(
        &self,
        (key, version): (Option<String>, Option<String>),
    ) -> Result<PublicPage, Fault> {
        let mut page = PublicPage::default();
        let is_public = |name: &str| {
            let key = name.strip_prefix(self.names.all()).unwrap_or_default();
            key != RESERVED && !name.starts_with(&self.names.own())
        };
        if self.capabilities.versions {
            let call = call!(self.line, list_object_versions).prefix(self.names.all());
            let listed = call.set_key_marker(key).set_version_id_marker(version).send().await?;
            let versions = listed.versions.unwrap_or_default().into_iter();
            for version in versions.filter(|version| version.key.as_deref().is_some_and(is_public)) {
                page.versions += 1;
                page.current.extend(version.key.filter(|_| version.is_latest.unwrap_or(false)));
            }
            let next = (listed.next_key_marker, listed.next_version_id_marker);
            page.next = Some(next).filter(|next| listed.is_truncated.unwrap_or(false) && next.0.is_some());
        } else {
            let call = call!(self.line, list_objects_v2).prefix(self.names.all()).set_continuation_token(key);
            let listed = call.send().await?;
            let names = listed.contents.unwrap_or_default().into_iter().filter_map(|object| object.key);
            page.current = names.filter(|name| is_public(name)).collect();
            page.versions = page.current.len() as u64;
            let token = listed.next_continuation_token.filter(|_| listed.is_truncated.unwrap_or(false));
            page.next = token.map(|token| (Some(token), None));
        }
        Ok(page)
    }

    async fn verify_key(
        &self,
        name: &str,
        deep: bool,
        (blobs, sets): (&HashSet<Digest>, &mut HashMap<String, bool>),
        checked: &mut Checked,
        tell: &mut impl FnMut(&mut Checked, Finding),
    ) -> Result<(), Fault> {
        // Withdrawn since it was listed.
        let Ok(shown) = self.head(name, None).await? else { return Ok(()) };
        let (Some(key), Shown { object: Some(object), digest, .. }) = (self.names.key(name), shown) else {
            checked.versions -= 1;
            if !self.is_of_assets(name, sets).await? {
                tell(checked, Finding::StrayPublic { path: name.to_owned() });
            }
            return Ok(());
        };
        checked.keys += 1;
        let found = if deep { self.hash(name).await? } else { digest };
        if found.is_some_and(|found| found != object.digest) {
            tell(checked, Finding::KeyDiffers { key: key.clone(), seq: object.seq });
        }
        if !blobs.contains(&object.digest) && self.look(&object.digest).await?.is_none() {
            let (key, seq, digest) = (key.to_string(), object.seq, object.digest);
            tell(checked, Finding::VersionBlobMissing { key, seq, digest });
        }
        Ok(())
    }
}

impl S3Storage {
    /// Whether `gristmill asset upload` has put it there: then its set has a manifest. `sets` remembers which have one.
    async fn is_of_assets(&self, name: &str, sets: &mut HashMap<String, bool>) -> Result<bool, Fault> {
        let keys = AssetKeys::new(self.names.all().trim_end_matches('/'));
        let Some(manifest) = keys.manifest_of(name) else { return Ok(false) };
        if let Some(known) = sets.get(&manifest) {
            return Ok(*known);
        }
        let is_there = self.head(&manifest, None).await?.is_ok();
        sets.insert(manifest, is_there);
        Ok(is_there)
    }
}

/// A page of what is public.
#[derive(Default)]
struct PublicPage {
    versions: u64,
    current: Vec<String>,
    next: Option<(Option<String>, Option<String>)>,
}
