//! [`Objects`]: a mirror's commits, trees and blobs, read in this process.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gix_object::{Find as _, Kind};
use gix_odb::HeaderExt as _;
use gix_odb::store::init::{Options, Slots};
use gristmill_model::{BlobId, CommitId, ObjectFormat, ObjectId, Timestamp, TreeId};

use crate::access::Access;
use crate::error::{GitError, ObjectError};
use crate::program::{Call, Git};

/// How much unpacked data each reader keeps to resolve deltas from, in bytes. Git itself takes 96 MiB.
const DELTA_CACHE_BYTES: usize = 32 << 20;

/// The largest object that is unpacked in memory; larger ones are copied by [`Objects::copy_blob`].
const OBJECT_BYTES_MAX: usize = 1 << 30;

/// At least so many packs can be known to a reader.
const PACKS_KNOWN_MIN: usize = 512;

/// The longest chain of tags of tags that is followed.
const TAG_DEPTH_MAX: usize = 10;

/// The longest part of a commit's first line that is kept, in characters.
const SUMMARY_CHARS_MAX: usize = 200;

/// Reads the objects of one mirror. Clone one for each thread: the packs are shared, the caches are not.
#[derive(Clone)]
pub struct Objects {
    odb: gix_odb::HandleArc,
    /// `None` for a repository that is not ours: nothing is run in it.
    git: Option<Git>,
    repo: PathBuf,
    format: ObjectFormat,
}

/// What is known of a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitInfo {
    /// Its content.
    pub tree: TreeId,
    /// What it was built on: none for the first, several for a merge.
    pub parents: Vec<CommitId>,
    /// When its committer says it was made; clocks of strangers, so any value may come.
    pub committed: Timestamp,
    /// The first line of its message, without control characters, at most 200 characters.
    pub summary: String,
}

impl Objects {
    pub(crate) fn open(git: &Git, repo: &Path, format: ObjectFormat) -> Result<Objects, GitError> {
        Ok(Objects { git: Some(git.clone()), ..Objects::of_checkout(repo, format)? })
    }

    /// Of a repository that is not ours.
    pub(crate) fn of_checkout(repo: &Path, format: ObjectFormat) -> Result<Objects, GitError> {
        // How many packs a reader can know is fixed when it is opened, and more may come while it reads.
        let slots = Slots::AsNeededByDiskState { multiplier: 2.0, minimum: PACKS_KNOWN_MIN };
        let options = Options { slots, alloc_limit_bytes: Some(OBJECT_BYTES_MAX), ..Options::default() };
        let dir = repo.join("objects");
        let store = gix_odb::Store::at_opts(dir.clone(), gix_kind(format), &mut std::iter::empty(), options)
            .map_err(|error| GitError::io("open", &dir, error))?;
        let odb = Arc::new(store).to_cache_arc().with_pack_cache(|| {
            Box::new(gix_odb::pack::cache::lru::MemoryCappedHashmap::new(DELTA_CACHE_BYTES))
        });
        Ok(Objects { odb, git: None, repo: repo.to_owned(), format })
    }

    /// By which hash the mirror's objects are named.
    pub fn format(&self) -> ObjectFormat {
        self.format
    }

    /// The same for gix.
    pub(crate) fn hash_kind(&self) -> gix_hash::Kind {
        gix_kind(self.format)
    }

    /// Reads a commit.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Missing`], [`ObjectError::Kind`], [`ObjectError::Malformed`],
    /// [`ObjectError::Unreadable`].
    pub fn commit(&self, id: CommitId) -> Result<CommitInfo, ObjectError> {
        let mut buffer = Vec::new();
        let data = self.read(id.0, Kind::Commit, &mut buffer)?;
        let malformed =
            |why: &dyn std::fmt::Display| ObjectError::Malformed { id: id.0, why: why.to_string() };
        let commit =
            gix_object::CommitRef::from_bytes(data, self.hash_kind()).map_err(|error| malformed(&error))?;
        let committed_s = commit.time().map_err(|error| malformed(&error))?.seconds;
        let summary = commit.message.split(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(CommitInfo {
            tree: TreeId(from_gix(&commit.tree())),
            parents: commit.parents().map(|parent| CommitId(from_gix(&parent))).collect(),
            committed: Timestamp(committed_s.saturating_mul(1000)),
            summary: clean_summary(summary),
        })
    }

    /// A commit as git stores it: headers, an empty line, the message. `buffer` is emptied first.
    ///
    /// # Errors
    ///
    /// As [`Objects::commit`].
    pub fn commit_text(&self, id: CommitId, buffer: &mut Vec<u8>) -> Result<(), ObjectError> {
        let bytes = self.read(id.0, Kind::Commit, buffer)?.len();
        buffer.truncate(bytes);
        Ok(())
    }

    /// The commit that an id leads to, through annotated tags.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Kind`] where it leads to a tree or a blob, [`ObjectError::Malformed`] for a chain of more
    /// than ten tags, [`ObjectError::Missing`], [`ObjectError::Unreadable`].
    pub fn peel(&self, id: ObjectId) -> Result<CommitId, ObjectError> {
        let mut current = id;
        let mut buffer = Vec::new();
        for _ in 0..=TAG_DEPTH_MAX {
            let (kind, _) = self.header(current)?;
            match kind {
                Kind::Commit => return Ok(CommitId(current)),
                Kind::Tag => {
                    let data = self.read(current, Kind::Tag, &mut buffer)?;
                    let tag = gix_object::TagRef::from_bytes(data, self.hash_kind())
                        .map_err(|error| ObjectError::Malformed { id: current, why: error.to_string() })?;
                    current = from_gix(&tag.target());
                }
                other => return Err(ObjectError::Kind { id, found: kind_name(other), expected: "commit" }),
            }
        }
        Err(ObjectError::Malformed { id, why: format!("more than {TAG_DEPTH_MAX} tags lie on one another") })
    }

    /// Reads a blob into `buffer`, which is emptied first.
    ///
    /// # Errors
    ///
    /// [`ObjectError::TooLarge`] above 1 GiB (use [`Objects::copy_blob`]), and as [`Objects::commit`].
    pub fn blob(&self, id: BlobId, buffer: &mut Vec<u8>) -> Result<(), ObjectError> {
        let bytes = self.read(id.0, Kind::Blob, buffer)?.len();
        buffer.truncate(bytes);
        Ok(())
    }

    /// A blob's size in bytes, without unpacking it.
    ///
    /// # Errors
    ///
    /// As [`Objects::commit`].
    pub fn blob_size(&self, id: BlobId) -> Result<u64, ObjectError> {
        match self.header(id.0)? {
            (Kind::Blob, bytes) => Ok(bytes),
            (other, _) => Err(ObjectError::Kind { id: id.0, found: kind_name(other), expected: "blob" }),
        }
    }

    /// Copies a blob of any size to `out` by `git cat-file`, in pieces, and says how many bytes it had.
    /// Blocks; for the few blobs that are too large for memory.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Copy`] where `out` takes no more or git ends early, and as [`Objects::commit`].
    pub fn copy_blob(&self, id: BlobId, out: &mut dyn Write) -> Result<u64, ObjectError> {
        let bytes = self.blob_size(id)?;
        let copy_error = |source: io::Error| ObjectError::Copy { id: id.0, source };
        let call = Call { mirror: Some(&self.repo), ..Call::new(Vec::new(), Duration::MAX, 0) };
        let git = self.git.as_ref().ok_or_else(|| copy_error(io::Error::other("no git is run in here")))?;
        let mut command =
            git.command(&call, &Access::default()).map_err(|error| copy_error(io::Error::other(error)))?;
        command.args(["cat-file", "blob", &id.to_string()]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = KilledOnDrop(command.spawn().map_err(copy_error)?);
        let mut stdout = child.0.stdout.take().expect("piped above");
        let copied = io::copy(&mut stdout, out).map_err(copy_error)?;
        let status = child.0.wait().map_err(copy_error)?;
        if status.success() && copied == bytes {
            return Ok(bytes);
        }
        let why = format!("git cat-file gave {copied} of {bytes} bytes ({status})");
        Err(copy_error(io::Error::new(io::ErrorKind::UnexpectedEof, why)))
    }

    /// Whether it is in the mirror. One that is not may have come since this reader was opened: the packs are not
    /// listed anew for each.
    pub(crate) fn has(&self, id: ObjectId) -> Result<bool, ObjectError> {
        Ok(self.odb.exists_without_refresh(&self.to_gix(id)?))
    }

    /// An object's kind and size.
    fn header(&self, id: ObjectId) -> Result<(Kind, u64), ObjectError> {
        let found = self.odb.header(self.to_gix(id)?).map_err(|error| read_error(id, &error))?;
        Ok((found.kind(), found.size()))
    }

    /// An object's bytes, which must be of this kind.
    pub(crate) fn read<'a>(
        &self,
        id: ObjectId,
        expected: Kind,
        buffer: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], ObjectError> {
        let found = self
            .odb
            .try_find(&self.to_gix(id)?, buffer)
            .map_err(|error| self.large_or_unreadable(id, &error))?;
        let found = found.ok_or(ObjectError::Missing(id))?;
        if found.kind == expected {
            Ok(found.data)
        } else {
            Err(ObjectError::Kind { id, found: kind_name(found.kind), expected: kind_name(expected) })
        }
    }

    /// Refuses names of the other format: the database would take their first bytes for a name of its own.
    fn to_gix(&self, id: ObjectId) -> Result<gix_hash::ObjectId, ObjectError> {
        if id.format() != self.format {
            return Err(ObjectError::Format(id));
        }
        gix_hash::ObjectId::try_from(id.as_bytes()).map_err(|_| ObjectError::Format(id))
    }

    fn large_or_unreadable(&self, id: ObjectId, error: &gix_error::Error) -> ObjectError {
        let bytes_max = OBJECT_BYTES_MAX as u64;
        match self.header(id) {
            Ok((_, bytes)) if bytes > bytes_max => ObjectError::TooLarge { id, bytes, bytes_max },
            _ => read_error(id, error),
        }
    }
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Objects({})", self.repo.display())
    }
}

/// A child that does not outlive the call that started it.
struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // Both fail only where it has ended and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read_error(id: ObjectId, error: &gix_error::Error) -> ObjectError {
    if error.is_not_found() {
        ObjectError::Missing(id)
    } else {
        ObjectError::Unreadable { id, detail: error.to_string() }
    }
}

fn clean_summary(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .trim()
        .chars()
        .take(SUMMARY_CHARS_MAX)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Tree => "tree",
        Kind::Blob => "blob",
        Kind::Commit => "commit",
        Kind::Tag => "tag",
    }
}

pub(crate) fn gix_kind(format: ObjectFormat) -> gix_hash::Kind {
    match format {
        ObjectFormat::Sha1 => gix_hash::Kind::Sha1,
        ObjectFormat::Sha256 => gix_hash::Kind::Sha256,
    }
}

pub(crate) fn from_gix(id: &gix_hash::oid) -> ObjectId {
    ObjectId::from_slice(id.as_bytes()).expect("git names have 20 or 32 bytes")
}
