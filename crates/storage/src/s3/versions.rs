//! The versions of a public key, which are the bucket's own; in a bucket without versions there is the last one only.
//!
//! The bucket keeps them for its readers. Nothing of ours depends on them but the right to take them away.

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use gristmill_model::ObjectKey;

use super::S3Storage;
use super::fault::Fault;
use super::project::{NO_VERSION, Shown};
use crate::error::ProjectError;
use crate::object::PublicObject;

/// Where a listing of versions goes on.
#[derive(Clone, Default, Debug)]
struct Marker {
    key: Option<String>,
    version: Option<String>,
}

/// The versions of one key in a page of a listing, the newest first.
#[derive(Default, Debug)]
struct Page {
    versions: Vec<String>,
    deletions: Vec<String>,
    next: Option<Marker>,
}

fn page_of(name: &str, listed: ListObjectVersionsOutput) -> Page {
    let id = |id: Option<String>| id.unwrap_or_else(|| NO_VERSION.to_owned());
    let versions = listed.versions.unwrap_or_default();
    let deletions = listed.delete_markers.unwrap_or_default();
    // Longer names that begin with this one come after all of its versions.
    let passed = versions.iter().any(|version| version.key.as_deref() != Some(name))
        || deletions.iter().any(|deletion| deletion.key.as_deref() != Some(name));
    let marker = Marker { key: listed.next_key_marker, version: listed.next_version_id_marker };
    let goes_on = listed.is_truncated.unwrap_or(false) && !passed && marker.key.is_some();
    let versions = versions.into_iter().filter(|version| version.key.as_deref() == Some(name));
    let deletions = deletions.into_iter().filter(|deletion| deletion.key.as_deref() == Some(name));
    Page {
        versions: versions.map(|version| id(version.version_id)).collect(),
        deletions: deletions.map(|deletion| id(deletion.version_id)).collect(),
        next: goes_on.then_some(marker),
    }
}

impl S3Storage {
    async fn version_page(&self, name: &str, from: Marker) -> Result<Page, Fault> {
        if !self.capabilities.versions {
            let shown = self.head(name, None).await?;
            let versions = shown.map(|_| NO_VERSION.to_owned()).into_iter().collect();
            return Ok(Page { versions, ..Page::default() });
        }
        let call = call!(self.line, list_object_versions).prefix(name);
        let call = call.set_key_marker(from.key).set_version_id_marker(from.version);
        Ok(page_of(name, call.send().await?))
    }

    async fn shown_version(&self, name: &str, id: &str) -> Result<Option<Shown>, Fault> {
        let id = (id != NO_VERSION || self.capabilities.versions).then_some(id);
        Ok(self.head(name, id).await?.ok())
    }

    /// The last version of ours of a name, deleted or not.
    pub(super) async fn latest(&self, name: &str) -> Result<Option<PublicObject>, Fault> {
        let mut from = Some(Marker::default());
        while let Some(marker) = from {
            let page = self.version_page(name, marker).await?;
            for id in page.versions {
                if let Some(object) = self.shown_version(name, &id).await?.and_then(|shown| shown.object) {
                    return Ok(Some(object));
                }
            }
            from = page.next;
        }
        Ok(None)
    }

    /// At most `limit` versions, the newest first, older than `before`. One call for each version.
    pub(crate) async fn versions(
        &self,
        key: &ObjectKey,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<PublicObject>, ProjectError> {
        let name = self.names.public(key)?;
        let failed = |fault: Fault| fault.told(format_args!("reading the versions of `{key}`"));
        let mut found: Vec<PublicObject> = Vec::new();
        let mut from = Some(Marker::default()).filter(|_| limit > 0);
        while let Some(marker) = from {
            let page = self.version_page(&name, marker).await.map_err(failed)?;
            for id in page.versions {
                let shown = self.shown_version(&name, &id).await.map_err(failed)?;
                let Some(object) = shown.and_then(|shown| shown.object) else { continue };
                // The same version twice: a copy that was made again after an answer that got lost.
                let is_again = found.last().is_some_and(|last| last.seq <= object.seq);
                if !is_again && before.is_none_or(|before| object.seq < before) {
                    found.push(object);
                }
                if found.len() >= limit {
                    return Ok(found);
                }
            }
            from = page.next;
        }
        Ok(found)
    }

    /// Takes a version away for good; says whether it was there. `id` is what projecting it gave; without it the
    /// version is looked for. With the last version of a withdrawn key what is left of the key goes too.
    pub(crate) async fn delete_version(
        &self,
        key: &ObjectKey,
        seq: i64,
        id: Option<&str>,
    ) -> Result<bool, ProjectError> {
        let name = self.names.public(key)?;
        let failed = |fault: Fault| fault.told(format_args!("deleting a version of `{key}`"));
        let shown = self.head(&name, None).await.map_err(failed)?;
        if let Ok(Shown { object: Some(object), .. }) = &shown
            && object.seq == seq
        {
            return Err(ProjectError::InUse { key: key.clone(), seq });
        }
        if !self.capabilities.versions {
            return Ok(false);
        }
        let ids = match id {
            Some(id) => self
                .is_version(&name, id, seq)
                .await
                .map_err(failed)?
                .then(|| id.to_owned())
                .into_iter()
                .collect(),
            None => self.ids(&name, seq).await.map_err(failed)?,
        };
        for id in &ids {
            self.delete(&name, id).await.map_err(failed)?;
        }
        if shown.is_err() {
            self.forget_withdrawn(&name).await.map_err(failed)?;
        }
        Ok(!ids.is_empty())
    }

    async fn is_version(&self, name: &str, id: &str, seq: i64) -> Result<bool, Fault> {
        let shown = match self.shown_version(name, id).await {
            // An id that is none of this server's.
            Err(fault) if fault.is_bad_request() => return Ok(false),
            shown => shown?,
        };
        Ok(shown.and_then(|shown| shown.object).is_some_and(|object| object.seq == seq))
    }

    /// All versions with this number.
    async fn ids(&self, name: &str, seq: i64) -> Result<Vec<String>, Fault> {
        let mut ids = Vec::new();
        let mut from = Some(Marker::default());
        while let Some(marker) = from {
            let page = self.version_page(name, marker).await?;
            for id in page.versions {
                match self.shown_version(name, &id).await?.and_then(|shown| shown.object) {
                    Some(object) if object.seq == seq => ids.push(id),
                    // Older ones only from here on.
                    Some(object) if object.seq < seq => return Ok(ids),
                    _ => {}
                }
            }
            from = page.next;
        }
        Ok(ids)
    }

    /// Deletes every version of a withdrawn key, and what says that it was withdrawn.
    pub(crate) async fn delete_versions(&self, key: &ObjectKey) -> Result<(), ProjectError> {
        let name = self.names.public(key)?;
        let failed = |fault: Fault| fault.told(format_args!("deleting the versions of `{key}`"));
        if !self.capabilities.versions {
            return Ok(());
        }
        loop {
            // Always the first page: what was deleted is not in it any more.
            let page = self.version_page(&name, Marker::default()).await.map_err(failed)?;
            // As long as there are versions, a delete marker hides them from readers.
            let deletions = page.deletions.iter().filter(|_| page.next.is_none());
            for id in page.versions.iter().chain(deletions) {
                self.delete(&name, id).await.map_err(failed)?;
            }
            if page.versions.is_empty() && page.deletions.is_empty() {
                return Ok(());
            }
        }
    }

    /// Deletes one version of a name, or one of its delete markers.
    pub(super) async fn delete(&self, name: &str, id: &str) -> Result<(), Fault> {
        call!(self.line, delete_object).key(name).version_id(id).send().await?;
        Ok(())
    }

    /// Deletes the delete markers of a name without versions.
    async fn forget_withdrawn(&self, name: &str) -> Result<(), Fault> {
        loop {
            let page = self.version_page(name, Marker::default()).await?;
            if !page.versions.is_empty() || page.deletions.is_empty() {
                return Ok(());
            }
            for id in &page.deletions {
                self.delete(name, id).await?;
            }
        }
    }

    /// Takes the key away from readers: with a delete marker, where the bucket has versions. Says whether there was
    /// anything to do.
    pub(crate) async fn withdraw(&self, key: &ObjectKey) -> Result<bool, ProjectError> {
        let name = self.names.public(key)?;
        let failed = |fault: Fault| fault.told(format_args!("withdrawing `{key}`"));
        if self.head(&name, None).await.map_err(failed)?.is_err() {
            return Ok(false);
        }
        let deleted = call!(self.line, delete_object).key(&name).send().await;
        deleted.map_err(|error| failed(error.into()))?;
        Ok(true)
    }
}
