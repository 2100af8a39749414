//! [`Writer`]: writes a set so that it is found whole or not at all, whoever else writes it at the same time.
//!
//! 1. The manifest says `uploading`, with every file and its digest, before the first object is written.
//! 2. Objects are written on the condition that there are none. Where there is one, it is looked at: the same bytes are
//!    as good. Others are replaced only where that may be, on the condition that they are still those, and only after the
//!    manifest was read once more and is still ours. Whoever took the set over has written the manifest before any of his
//!    objects, so that whoever sees one of these sees that too.
//! 3. The listing must have every file, with the size and the ETag of what was written.
//! 4. The manifest says `complete`, on the condition that it is still the one from before.

mod error;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use gristmill_model::{AssetFile, AssetSet, AssetState, Clock as _};
use gristmill_storage::{About, Body, Head, Listed, StorageError, Write, WriteIf};

use super::files::{Stamp, md5};
use super::sets::{CODE_HASH, COMMIT_HASH, PACKAGE_HASH, Seen, Sets, Target, package_hash};
use crate::clock::SystemClock;
pub use error::WriteError;
use error::difference;

/// How often something is tried that others change at the same moment.
const TRIES_MAX: usize = 8;

/// Where a file's bytes come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file of this machine, as it was when it was hashed.
    Local(PathBuf, Stamp),
    /// Another object of the bucket.
    Object(Listed),
}

/// How writing begins.
#[derive(Debug)]
pub enum Begun {
    /// It is to be written.
    Write(Arc<Writer>),
    /// It is there, whole, with the same files.
    There,
}

/// What is done with the manifest first.
enum Claim {
    /// The set is there.
    There,
    /// Another job writes the same files: both do.
    Join,
    /// It is written.
    If(WriteIf),
}

/// A set being written.
#[derive(Debug)]
pub struct Writer {
    sets: Sets,
    target: Target,
    set: AssetSet,
    /// The manifest's.
    etag: String,
    /// Objects that are there with other bytes may be replaced.
    may_replace: bool,
    /// Objects of a set that was taken over or replaced, and that are none of this one's, go at the end.
    clears: bool,
    /// What was there at the beginning.
    listed: Vec<Listed>,
    /// What was written: the ETag, and from what.
    written: Mutex<BTreeMap<String, (Option<String>, Source)>>,
}

fn manifest_about() -> About {
    About { content_type: "application/json".to_owned(), ..About::default() }
}

fn manifest_body(set: &AssetSet) -> Body {
    Body::Bytes(set.to_json().into_bytes().into())
}

impl Writer {
    /// Begins to write a set: says so in its manifest. `seen` is what was just seen there.
    ///
    /// # Errors
    ///
    /// [`WriteError::Other`] where it is complete with other files, and not to be replaced.
    pub async fn begin(
        sets: &Sets,
        target: &Target,
        set: AssetSet,
        seen: Option<Seen>,
        force: bool,
    ) -> Result<Begun, WriteError> {
        let mut known = seen;
        for _ in 0..TRIES_MAX {
            let Seen { manifest, objects } = match known.take() {
                Some(seen) => seen,
                None => sets.look(target).await?,
            };
            let mut writer = Writer {
                sets: sets.clone(),
                target: target.clone(),
                set: set.clone(),
                etag: String::new(),
                // Objects without a manifest are the original's. What comes later, or belongs to a set that is not
                // complete, is of jobs like this one, and the manifest says who may go on.
                may_replace: force || manifest.is_some() || objects.is_empty(),
                clears: force || manifest.is_some(),
                listed: objects,
                written: Mutex::default(),
            };
            if !writer.may_replace {
                writer.compare().await?;
            }
            let condition = match writer.claim(manifest, force).await? {
                Claim::There => return Ok(Begun::There),
                Claim::Join => return Ok(Begun::Write(Arc::new(writer))),
                Claim::If(condition) => condition,
            };
            let key = sets.manifest(target);
            let put = sets.bucket.put(&key, manifest_body(&set), &manifest_about(), condition).await?;
            if let Write::Done(etag) = put {
                writer.etag = etag.unwrap_or_default();
                return Ok(Begun::Write(Arc::new(writer)));
            }
        }
        Err(WriteError::Overtaken(sets.shown(&sets.prefix(target))))
    }

    /// How the manifest that is there leads on.
    async fn claim(
        &mut self,
        manifest: Option<(Option<AssetSet>, String)>,
        force: bool,
    ) -> Result<Claim, WriteError> {
        let Some((theirs, etag)) = manifest else { return Ok(Claim::If(WriteIf::Absent)) };
        let Some(theirs) = theirs else {
            let key = self.sets.shown(&self.sets.manifest(&self.target));
            return if force { Ok(Claim::If(WriteIf::Is(etag))) } else { Err(WriteError::Unreadable(key)) };
        };
        let is_same = theirs.has_same_files(&self.set);
        if theirs.state == AssetState::Uploading && is_same {
            (self.set, self.etag) = (theirs, etag);
            return Ok(Claim::Join);
        }
        let counts = theirs.state == AssetState::Complete && (is_same || !force);
        if counts && self.is_whole(&theirs).await? {
            let what = difference(&theirs, &self.set);
            return if is_same { Ok(Claim::There) } else { Err(self.other(&what)) };
        }
        Ok(Claim::If(WriteIf::Is(etag)))
    }

    /// Refuses where an object of the original's has other bytes than a file of the set. Before anything is written: with
    /// a manifest beside it, what was found would be found no more.
    async fn compare(&self) -> Result<(), WriteError> {
        for file in &self.set.files {
            let key = self.key(file);
            if self.was_listed(&key).is_none() {
                continue;
            }
            let head = self.sets.bucket.head(&key).await?;
            if let Some(head) = head
                && !self.sets.is_same(&key, &head, file).await?
            {
                return Err(self.other(&file.path));
            }
        }
        Ok(())
    }

    fn was_listed(&self, key: &str) -> Option<&Listed> {
        let at = self.listed.binary_search_by(|object| object.key.as_str().cmp(key)).ok()?;
        self.listed.get(at)
    }

    async fn is_whole(&self, set: &AssetSet) -> Result<bool, StorageError> {
        let prefix = self.sets.prefix(&self.target);
        let objects = self.sets.bucket.list(&prefix).await?;
        Ok(self.sets.damaged(&prefix, set, &objects).await?.is_empty())
    }

    fn other(&self, what: &str) -> WriteError {
        let place = self.sets.shown(&self.sets.prefix(&self.target));
        WriteError::Other { place, what: what.to_owned() }
    }

    fn overtaken(&self) -> WriteError {
        WriteError::Overtaken(self.sets.shown(&self.sets.prefix(&self.target)))
    }

    /// The set as it stands in the manifest.
    pub fn set(&self) -> &AssetSet {
        &self.set
    }

    fn key(&self, file: &AssetFile) -> String {
        format!("{}{}", self.sets.prefix(&self.target), file.path)
    }

    /// What stands with the objects. A joined set's may have been begun by another commit, in the cache.
    fn about(&self, file: &AssetFile) -> About {
        let mut metadata = BTreeMap::from([(COMMIT_HASH.to_owned(), self.set.commit.to_string())]);
        if let Some(digest) = &file.digest {
            metadata.insert(PACKAGE_HASH.to_owned(), package_hash(digest));
        }
        if let Some(hash) = &self.set.code_hash {
            metadata.insert(CODE_HASH.to_owned(), hash.clone());
        }
        About { content_type: file.media_type.clone(), metadata }
    }

    /// Writes one file. Several may be written at once. What is there then, for copies of it.
    ///
    /// # Errors
    ///
    /// Where other bytes are there, or somebody else took the set over.
    pub async fn place(&self, file: &AssetFile, source: &Source) -> Result<Listed, WriteError> {
        let (key, about) = (self.key(file), self.about(file));
        let mut condition = WriteIf::Absent;
        // What a job before has left is not sent again.
        if self.was_listed(&key).is_some_and(|listed| listed.size == file.size)
            && let Some(head) = self.sets.bucket.head(&key).await?
            && self.is_there(&key, &head, file, source).await?
        {
            return Ok(self.note(file, key, Some(head.etag), source));
        }
        for _ in 0..TRIES_MAX {
            let written = match source {
                Source::Local(path, stamp) => {
                    let failed = |source| WriteError::File { path: path.display().to_string(), source };
                    let open = Arc::new(File::open(path).map_err(failed)?);
                    let digest = file.digest.ok_or_else(|| failed(std::io::ErrorKind::InvalidData.into()))?;
                    let body = Body::File(Arc::clone(&open), file.size, digest);
                    let put = self.sets.bucket.put(&key, body, &about, condition).await?;
                    // Large files are sent in parts, which nobody compares with the digest of the whole.
                    if *stamp != Stamp::of(&open).map_err(failed)? {
                        return Err(failed(std::io::Error::other("it changed while it was uploaded")));
                    }
                    put
                }
                Source::Object(from) => self.sets.bucket.copy(from, &key, &about, condition).await?,
            };
            if let Write::Done(etag) = written {
                return Ok(self.note(file, key, etag, source));
            }
            condition = match self.sets.bucket.head(&key).await? {
                Some(head) if self.is_there(&key, &head, file, source).await? => {
                    return Ok(self.note(file, key, Some(head.etag), source));
                }
                Some(_) if !self.is_ours().await? => return Err(self.overtaken()),
                Some(_) if !self.may_replace => return Err(self.other(&file.path)),
                Some(head) => WriteIf::Is(head.etag),
                None => {
                    if let Source::Object(from) = source
                        && self.sets.bucket.head(&from.key).await?.is_none()
                    {
                        return Err(WriteError::SourceGone(self.sets.shown(&from.key)));
                    }
                    WriteIf::Absent
                }
            };
        }
        Err(self.overtaken())
    }

    /// Whether another job has left the file's bytes there. What stands with an object is a hint: servers that write it
    /// apart from the bytes mix those of two jobs. The bytes' own MD5, which is the ETag of what was not sent in parts nor
    /// encrypted, or the bytes say it.
    async fn is_there(
        &self,
        key: &str,
        head: &Head,
        file: &AssetFile,
        source: &Source,
    ) -> Result<bool, WriteError> {
        if !self.sets.is_same(key, head, file).await? {
            return Ok(false);
        }
        if let Source::Local(path, _) = source {
            let failed = |source| WriteError::File { path: path.display().to_string(), source };
            if head.etag.trim_matches('"') == md5(path).map_err(failed)? {
                return Ok(true);
            }
        }
        Ok(self.sets.has_bytes(key, file).await?)
    }

    fn note(&self, file: &AssetFile, key: String, etag: Option<String>, source: &Source) -> Listed {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(file.path.clone(), (etag.clone(), source.clone()));
        Listed { key, size: file.size, etag, modified: Default::default() }
    }

    /// The set with the ETags of what was written, and the files' sources.
    fn noted(&self) -> (AssetSet, BTreeMap<String, Source>) {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut set = self.set.clone();
        for file in &mut set.files {
            file.etag = written.get(&file.path).and_then(|(etag, _)| etag.clone());
        }
        (set, written.into_iter().map(|(path, (_, source))| (path, source)).collect())
    }

    /// Whether the manifest is still the one that was begun with.
    async fn is_ours(&self) -> Result<bool, StorageError> {
        let got = self.sets.bucket.get(&self.sets.manifest(&self.target)).await?;
        let writer = got.and_then(|(bytes, _)| AssetSet::parse(&bytes)).map(|set| set.writer);
        Ok(writer.as_ref() == Some(&self.set.writer))
    }

    /// Makes sure that all is there, and says so in the manifest.
    ///
    /// # Errors
    ///
    /// [`WriteError::Overtaken`] where somebody else took the set over.
    pub async fn finish(&self) -> Result<AssetSet, WriteError> {
        let mut set = self.settle().await?;
        set.state = AssetState::Complete;
        set.completed_ms = Some(SystemClock.now());
        let key = self.sets.manifest(&self.target);
        let mut etag = self.etag.clone();
        for _ in 0..TRIES_MAX {
            let condition = WriteIf::Is(etag);
            let put = self.sets.bucket.put(&key, manifest_body(&set), &manifest_about(), condition).await?;
            if let Write::Done(_) = put {
                self.clear(&set).await?;
                return Ok(set);
            }
            // Another job with the same files is as good, whether it was first or began after this one.
            let got = self.sets.bucket.get(&key).await?;
            let theirs = got.and_then(|(bytes, etag)| Some((AssetSet::parse(&bytes)?, etag)));
            match theirs.filter(|(theirs, _)| theirs.has_same_files(&set)) {
                Some((theirs, _)) if theirs.state == AssetState::Complete => return Ok(theirs),
                Some((theirs, now)) if theirs.state == AssetState::Uploading => etag = now,
                _ => break,
            }
        }
        Err(self.overtaken())
    }

    /// Takes away what lies beside a set that was taken over: who lists the key must not get a mixture.
    async fn clear(&self, set: &AssetSet) -> Result<(), StorageError> {
        if !self.clears || !self.is_ours().await? {
            return Ok(());
        }
        let prefix = self.sets.prefix(&self.target);
        let files: BTreeSet<&str> = set.files.iter().map(|file| file.path.as_str()).collect();
        for object in self.sets.bucket.list(&prefix).await? {
            let is_ours = object.key.strip_prefix(&prefix).is_some_and(|path| files.contains(path));
            if !is_ours {
                self.sets.bucket.delete(&object.key).await?;
            }
        }
        Ok(())
    }

    /// Compares the listing with what was written, and writes again what others have replaced meanwhile: on servers
    /// whose conditions do not hold at the same moment, an overtaken job's last objects. The set as it is there.
    async fn settle(&self) -> Result<AssetSet, WriteError> {
        let prefix = self.sets.prefix(&self.target);
        for _ in 0..TRIES_MAX {
            let (mut set, sources) = self.noted();
            let objects = self.sets.bucket.list(&prefix).await?;
            let damaged = self.sets.damaged(&prefix, &set, &objects).await?;
            if damaged.is_empty() {
                for file in &mut set.files {
                    let key = format!("{prefix}{}", file.path);
                    let object = objects.iter().find(|object| object.key == key);
                    file.etag = object.and_then(|object| object.etag.clone());
                }
                return Ok(set);
            }
            for file in set.files.iter().filter(|file| damaged.contains(&file.path)) {
                let source = sources.get(&file.path).ok_or_else(|| self.overtaken())?;
                self.place(file, source).await?;
            }
        }
        Err(self.overtaken())
    }
}
