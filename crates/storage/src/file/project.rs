//! Public keys: making them hold a version, reading what they hold, taking them away.
//!
//! The order of durable writes: version record, then the public file. A reader, or a machine that
//! comes back after a power loss, finds the old version or the new one whole. What a failure leaves
//! half done is repaired by projecting again.

use std::fs::File;
use std::io;

use gristmill_model::{Digest, ObjectKey};

use super::blobs::hash_file;
use super::records::{CopyMark, KeyFolder, Record};
use super::session::Temporary;
use super::{FileStorage, disk};
use crate::error::{ProjectError, StorageError};
use crate::object::{Projected, PublicObject};

/// Wraps an input/output error with what was being done to which key.
fn failed(doing: &'static str, key: &ObjectKey) -> impl Fn(io::Error) -> StorageError {
    move |error| match error.kind() {
        io::ErrorKind::InvalidData => StorageError::Damaged { what: error.to_string() },
        io::ErrorKind::CrossesDevices => StorageError::Unusable {
            path: format!("public/{key}"),
            why: "something is mounted inside `public`; mount all of `public` or nothing in it".to_owned(),
        },
        _ => StorageError::from_io(format!("{doing} `{key}`"), error),
    }
}

/// The key's last part: the file's name.
fn name_of(key: &ObjectKey) -> &str {
    key.as_str().rsplit_once('/').map_or(key.as_str(), |(_, name)| name)
}

impl FileStorage {
    /// Makes `key` hold a version.
    pub(crate) fn project(&self, key: &ObjectKey, object: &PublicObject) -> Result<Projected, ProjectError> {
        self.check_name(key)?;
        if object.seq < 0 {
            return Err(ProjectError::NegativeSeq { key: key.clone(), seq: object.seq });
        }
        let folder = self.lock_key(key).map_err(failed("locking", key))?;
        let outcome = self.project_locked(&folder, key, object);
        if outcome.is_err() {
            // A key that never came to be leaves nothing behind.
            let _ = folder.remove_if_empty();
        }
        outcome
    }

    fn project_locked(
        &self,
        folder: &KeyFolder<'_>,
        key: &ObjectKey,
        object: &PublicObject,
    ) -> Result<Projected, ProjectError> {
        let io = failed("publishing", key);
        let latest = self.check_order(folder, key, object)?;
        let (blob, size) = self.open_blob(&object.digest)?;
        if size != object.size {
            return Err(ProjectError::SizeDiffers {
                key: key.clone(),
                digest: object.digest,
                expected: object.size,
                actual: size,
            });
        }
        // Only this key's lock is needed to replace a file. A case-folding file system may find
        // another key's file; there the tree's lock and its check always apply.
        let unlocked = if self.capabilities.case_folding { None } else { self.find(key).ok().flatten() };
        let (found, tree) = match unlocked {
            Some(found) => (Some(found), None),
            None => {
                let tree = self.lock_tree().map_err(&io)?;
                (self.find(key)?, Some(tree))
            }
        };
        if found.is_some() && latest.is_none() {
            return Err(ProjectError::Blocked { key: key.clone(), path: key.to_string(), what: "a file" });
        }
        let held = match (&found, &latest) {
            (Some(found), Some(latest)) => self.holds(found, latest).map_err(&io)?.then_some(latest),
            _ => None,
        };
        let changed = match held {
            Some(held) if held.digest == object.digest => self.record_only(folder, key, object, held),
            _ => self.place(folder, key, object, &blob, found.as_ref(), latest.as_ref()),
        };
        drop(tree);
        Ok(Projected { version_id: object.seq.to_string(), changed: changed.map_err(io)?, may_go_on: false })
    }

    /// Refuses a version that comes too late or would change one that is there; hands out the last
    /// one on record.
    fn check_order(
        &self,
        folder: &KeyFolder<'_>,
        key: &ObjectKey,
        object: &PublicObject,
    ) -> Result<Option<Record>, ProjectError> {
        let io = failed("reading the versions of", key);
        let seq = object.seq;
        if let Some(current) = folder.highest_seq().map_err(&io)?.filter(|highest| *highest > seq) {
            return Err(ProjectError::Older { key: key.clone(), seq, current });
        }
        let Some(latest) = folder.latest_seq().map_err(&io)? else { return Ok(None) };
        let latest = folder.read(latest).map_err(&io)?;
        if latest.seq == seq && latest.digest != object.digest {
            return Err(ProjectError::Taken { key: key.clone(), seq, recorded: latest.digest });
        }
        Ok(Some(latest))
    }

    /// Whether a public file is what a record says, told without reading it.
    fn holds(&self, file: &disk::Stat, record: &Record) -> io::Result<bool> {
        if disk::size(file) != record.size {
            return Ok(false);
        }
        if let Some(mark) = record.copy {
            return Ok(mark == CopyMark::of(file));
        }
        let blob = self.stat_blob(&record.digest)?;
        Ok(blob.is_some_and(|blob| (blob.st_ino, blob.st_dev) == (file.st_ino, file.st_dev)))
    }

    /// The right bytes are in place. Writes the record of a new version; makes sure of an old one,
    /// because whoever put it there may have died before it was durable.
    fn record_only(
        &self,
        folder: &KeyFolder<'_>,
        key: &ObjectKey,
        object: &PublicObject,
        held: &Record,
    ) -> io::Result<bool> {
        disk::sync_dir(self.open_parent(key)?)?;
        let withdrawn = folder.withdrawn()?.is_some();
        if held.seq == object.seq {
            folder.sync()?;
            folder.clear_withdrawn()?;
            return Ok(withdrawn);
        }
        folder.write(&Record { copy: held.copy, ..Record::new(key, object) }, false)?;
        folder.clear_withdrawn()?;
        Ok(true)
    }

    /// Puts the blob under the key: record first, then the file, in one step for readers.
    fn place(
        &self,
        folder: &KeyFolder<'_>,
        key: &ObjectKey,
        object: &PublicObject,
        blob: &File,
        found: Option<&disk::Stat>,
        latest: Option<&Record>,
    ) -> io::Result<bool> {
        let (temporary, copy) = self.link_or_copy(object, blob, found.map(|stat| stat.st_mtime))?;
        let again = latest.filter(|latest| latest.seq == object.seq);
        let record = Record { copy, ..again.cloned().unwrap_or_else(|| Record::new(key, object)) };
        let moved = || {
            if again == Some(&record) {
                folder.sync()?;
            } else {
                folder.write(&record, latest.is_none())?;
            }
            let parent = if found.is_none() { self.make_parent(key)? } else { self.open_parent(key)? };
            disk::rename(self.public_session().dir(), temporary.name(), &parent, name_of(key))?;
            Ok(parent)
        };
        let parent = moved().inspect_err(|_: &io::Error| {
            // As if it had not been tried, as far as that works.
            if again.is_none() {
                let _ = folder.remove(object.seq);
            }
            if found.is_none() {
                let _ = self.prune_parents(key);
            }
        })?;
        disk::sync_dir(parent)?;
        folder.clear_withdrawn()?;
        Ok(true)
    }

    /// A new name for the blob, ready to be moved to the key: a link, or a copy with its mark.
    fn link_or_copy(
        &self,
        object: &PublicObject,
        blob: &File,
        before_s: Option<i64>,
    ) -> io::Result<(Temporary<'_>, Option<CopyMark>)> {
        let session = self.public_session();
        if self.capabilities.hard_links {
            disk::touch(blob, before_s)?;
            let (blobs, name) = self.blob_place(&object.digest)?;
            let temporary = session.reserve();
            match disk::link(blobs, &name, session.dir(), temporary.name()) {
                Ok(()) => return Ok((temporary, None)),
                Err(error) if disk::needs_copy(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let (temporary, mut file) = session.create()?;
        let copied = io::copy(&mut &*blob, &mut file)?;
        if copied != object.size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob changed while it was copied"));
        }
        disk::touch(&file, before_s)?;
        disk::set_mode(&file, disk::MODE_READ_ONLY)?;
        disk::sync_file(&file)?;
        let mark = CopyMark::of(&disk::stat_open(&file)?);
        Ok((temporary, Some(mark)))
    }

    /// Like [`FileStorage::find`], for what is no error where a key is only looked at: another key
    /// took its place since it was withdrawn.
    pub(super) fn find_own(&self, key: &ObjectKey) -> Result<Option<disk::Stat>, ProjectError> {
        match self.find(key) {
            Err(ProjectError::FileAndFolder { .. } | ProjectError::SameName { .. }) => Ok(None),
            found => found,
        }
    }

    /// The version that readers get, `None` where they get nothing.
    pub(crate) fn current(&self, key: &ObjectKey, deep: bool) -> Result<Option<PublicObject>, ProjectError> {
        let io = failed("reading the versions of", key);
        let Some(folder) = self.lock_key_shared(key).map_err(&io)? else { return Ok(None) };
        let Some(latest) = folder.latest_seq().map_err(&io)? else { return Ok(None) };
        let Some(found) = self.find_own(key)? else { return Ok(None) };
        let record = self.current_record(&folder, key, &found, deep).map_err(&io)?;
        let record = record.ok_or_else(|| StorageError::Damaged {
            what: format!("`{key}` holds none of its versions; project version {latest} again"),
        })?;
        Ok(Some(record.into_object()))
    }

    /// The record of what readers get: the last that agrees with the file.
    pub(super) fn current_record(
        &self,
        folder: &KeyFolder<'_>,
        key: &ObjectKey,
        found: &disk::Stat,
        deep: bool,
    ) -> io::Result<Option<Record>> {
        let mut seqs = folder.seqs()?;
        seqs.sort_unstable_by(|a, b| b.cmp(a));
        if !deep {
            for seq in &seqs {
                let record = folder.read(*seq)?;
                if self.holds(found, &record)? {
                    return Ok(Some(record));
                }
            }
        }
        let digest = self.hash_public(key)?;
        for seq in seqs {
            let record = folder.read(seq)?;
            if record.digest == digest {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn hash_public(&self, key: &ObjectKey) -> io::Result<Digest> {
        hash_file(&disk::open_file(self.open_parent(key)?, name_of(key))?)
    }

    /// At most `limit` versions, the newest first, older than `before`.
    pub(crate) fn versions(
        &self,
        key: &ObjectKey,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<PublicObject>, ProjectError> {
        let io = failed("reading the versions of", key);
        let Some(folder) = self.lock_key_shared(key).map_err(&io)? else { return Ok(Vec::new()) };
        let mut seqs = folder.seqs().map_err(&io)?;
        seqs.retain(|seq| before.is_none_or(|before| *seq < before));
        seqs.sort_unstable_by(|a, b| b.cmp(a));
        seqs.truncate(limit);
        let read = seqs.into_iter().map(|seq| Ok(folder.read(seq).map_err(&io)?.into_object()));
        read.collect()
    }

    /// Takes the key away from readers; its versions stay. Says whether there was anything to do.
    pub(crate) fn withdraw(&self, key: &ObjectKey) -> Result<bool, ProjectError> {
        let io = failed("withdrawing", key);
        let Some(folder) = self.lock_existing_key(key).map_err(&io)? else { return Ok(false) };
        let Some(latest) = folder.latest_seq().map_err(&io)? else {
            folder.remove_if_empty().map_err(&io)?;
            return Ok(false);
        };
        let noted = folder.withdrawn().map_err(&io)?.is_some_and(|withdrawn| withdrawn >= latest);
        if !noted {
            folder.set_withdrawn(key, latest).map_err(&io)?;
        }
        let _tree = self.lock_tree().map_err(&io)?;
        let found = self.find_own(key)?.is_some();
        if found {
            let parent = self.open_parent(key).map_err(&io)?;
            disk::remove_file(&parent, name_of(key)).map_err(&io)?;
            disk::sync_dir(parent).map_err(&io)?;
        }
        self.prune_parents(key).map_err(&io)?;
        Ok(found || !noted)
    }

    /// Forgets a version that readers do not get; says whether it was there. With the last version
    /// of a withdrawn key the key itself is forgotten, and its versions may count from 0 again.
    pub(crate) fn delete_version(&self, key: &ObjectKey, seq: i64) -> Result<bool, ProjectError> {
        let io = failed("deleting a version of", key);
        let Some(folder) = self.lock_existing_key(key).map_err(&io)? else { return Ok(false) };
        let seqs = folder.seqs().map_err(&io)?;
        if !seqs.contains(&seq) {
            return Ok(false);
        }
        let withdrawn = folder.withdrawn().map_err(&io)?;
        let latest = seqs.iter().max() == Some(&seq);
        let wanted = latest && withdrawn.is_none_or(|withdrawn| withdrawn < seq);
        let read_now = match self.find_own(key)? {
            Some(found) => self.current_record(&folder, key, &found, false).map_err(&io)?,
            None => None,
        };
        if wanted || read_now.is_some_and(|record| record.seq == seq) {
            return Err(ProjectError::InUse { key: key.clone(), seq });
        }
        folder.remove(seq).map_err(&io)?;
        if seqs.len() == 1 {
            folder.clear_withdrawn().map_err(&io)?;
            folder.remove_if_empty().map_err(&io)?;
        }
        Ok(true)
    }
}
