//! Where the content of an archive's members comes from: blobs as they are, or as git's attributes make them.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use gristmill_archive::attributes::{self, Commit, Eol, PathAttributes};
use gristmill_archive::{FileMode, IN_MEMORY_MAX, WriteError};
use gristmill_git::{LfsObjects, LfsPointer, ObjectError, Objects};
use gristmill_model::{BlobId, CommitId, Digest, PublicReason};

use crate::worker::step::StepError;

/// The largest content that is converted, before and after: both are in memory at once, in each thread.
const CONVERTED_BYTES_MAX: usize = 128 << 20;
/// To how many digits ids are cut in what `export-subst` expands. Git takes more the more objects a repository has,
/// so its answer changes as the repository grows; this one is what `{short_commit}` of keys is too.
const ABBREV: usize = 12;
/// Stands for the rules of conversion. It rises with every change of what they make of a content.
pub(super) const CONVERSION_VERSION: u32 = 1;
/// How many bytes of a name an error shows.
const SHOWN_CHARS_MAX: usize = 120;

/// What stands in the archive, in order.
pub(super) struct Planned {
    pub(super) name: Vec<u8>,
    pub(super) member: Member,
}

/// One member.
pub(super) enum Member {
    /// A file.
    File {
        /// Its content.
        content: Content,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link to what the blob says.
    Symlink(At),
    /// A folder without anything in it.
    Folder,
    /// A file of the repository's own `.git`. These come last.
    OwnGit(Content),
}

impl Planned {
    /// The content, of a file of whatever kind.
    pub(super) fn content(&self) -> Option<&Content> {
        match &self.member {
            Member::File { content, .. } | Member::OwnGit(content) => Some(content),
            Member::Symlink(_) | Member::Folder => None,
        }
    }

    /// The mode that its file has.
    pub(super) fn mode(&self) -> FileMode {
        match &self.member {
            Member::File { executable: true, .. } => FileMode::Executable,
            _ => FileMode::Regular,
        }
    }
}

/// A blob, and in which of a [`Source`]'s repositories it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct At {
    pub(super) store: usize,
    pub(super) blob: BlobId,
}

/// What a file's content follows from.
pub(super) enum Content {
    /// A blob.
    Blob(At),
    /// A blob, as git's attributes make it.
    Converted(At, Arc<Conversion>),
    /// What a pointer of git-lfs stands for.
    Large(LfsPointer, Arc<LfsObjects>),
    /// A file of ours, and its length in bytes.
    Local(PathBuf, u64),
}

/// What git's attributes do to some of the files of a commit.
pub(super) struct Conversion {
    pub(super) attributes: PathAttributes,
    /// Of what `export-subst` tells; `None` where nothing has that attribute.
    pub(super) commit: Option<Arc<CommitText>>,
}

/// A commit, for `export-subst`.
pub(super) struct CommitText {
    pub(super) id: String,
    pub(super) object: Vec<u8>,
    /// What `%D` says.
    pub(super) decoration: String,
}

impl CommitText {
    pub(super) fn read(
        objects: &Objects,
        commit: CommitId,
        decoration: String,
    ) -> Result<CommitText, ObjectError> {
        let mut object = Vec::new();
        objects.commit_text(commit, &mut object)?;
        Ok(CommitText { id: commit.to_string(), object, decoration })
    }
}

impl Content {
    /// What a member's raw bytes follow from: the object format, which shows in the length of the blob's id, the
    /// blob, and the conversion. The format version is part of the recipe, which the archive before shares. `None`
    /// where it is never taken over.
    pub(super) fn member_key(&self) -> Option<Vec<u8>> {
        match self {
            Content::Blob(at) => Some([b"r", at.blob.0.as_bytes()].concat()),
            Content::Converted(at, conversion) => {
                Some([b"c".as_slice(), conversion.digest(at.blob).as_bytes()].concat())
            }
            Content::Large(pointer, _) => Some([b"l".as_slice(), pointer.oid.as_bytes()].concat()),
            Content::Local(..) => None,
        }
    }
}

impl Conversion {
    fn digest(&self, blob: BlobId) -> Digest {
        let PathAttributes { export_ignore: _, export_subst, eol, ident, encoding } = &self.attributes;
        let eol: &[u8] = match eol {
            Eol::AsIs => b"",
            Eol::CrLf => b"crlf",
            Eol::AutoCrLf => b"auto",
        };
        let commit = self.commit.as_ref().filter(|_| *export_subst);
        Digest::of_parts([
            blob.0.as_bytes(),
            eol,
            &[u8::from(*ident)],
            encoding.as_deref().unwrap_or_default().as_bytes(),
            commit.map_or(b"".as_slice(), |commit| commit.id.as_bytes()),
            commit.map_or(b"".as_slice(), |commit| commit.decoration.as_bytes()),
        ])
    }
}

/// Reads contents. Clone one for each thread.
#[derive(Clone, Default)]
pub(super) struct Source {
    /// The project's own repository, then those of its submodules.
    stores: Vec<Objects>,
}

impl Source {
    /// Adds a repository; what its blobs are asked for by.
    pub(super) fn add(&mut self, objects: Objects) -> usize {
        self.stores.push(objects);
        self.stores.len() - 1
    }

    fn size(&self, at: At) -> Result<u64, StepError> {
        self.stores[at.store].blob_size(at.blob).map_err(object_error)
    }

    /// Reads a blob into `buffer`, which is emptied first.
    pub(super) fn blob(&self, at: At, buffer: &mut Vec<u8>) -> Result<(), StepError> {
        self.stores[at.store].blob(at.blob, buffer).map_err(object_error)
    }

    /// Whether the content goes through [`Source::streamed`]: it is too large for memory.
    pub(super) fn is_large(&self, content: &Content) -> Result<bool, StepError> {
        match content {
            Content::Blob(at) => Ok(self.size(*at)? > IN_MEMORY_MAX),
            Content::Converted(..) => Ok(false),
            Content::Large(pointer, _) => Ok(pointer.size > IN_MEMORY_MAX),
            Content::Local(_, size) => Ok(*size > IN_MEMORY_MAX),
        }
    }

    /// Reads a content into `buffer`, which is emptied first. The name is for errors.
    pub(super) fn read(&self, name: &[u8], content: &Content, buffer: &mut Vec<u8>) -> Result<(), StepError> {
        match content {
            Content::Blob(at) => self.blob(*at, buffer),
            Content::Local(..) | Content::Large(..) => {
                buffer.clear();
                let (mut file, _) = open(content)?;
                file.read_to_end(buffer).map(drop).map_err(StepError::retry)
            }
            Content::Converted(at, conversion) => {
                let fault = |what: &dyn std::fmt::Display| {
                    StepError::fail(format!("{}: {what}; or use attributes = \"raw\"", shown(name)))
                        .told(PublicReason::AttributesRefused)
                };
                if self.size(*at)? > CONVERTED_BYTES_MAX as u64 {
                    let what = format!(
                        "git's attributes change it, and it is larger than {CONVERTED_BYTES_MAX} bytes"
                    );
                    return Err(fault(&what));
                }
                self.blob(*at, buffer)?;
                convert(buffer, at.blob, conversion).map_err(|error| fault(&error))
            }
        }
    }

    /// Has a content that is too large for memory written from its size and a reader; its bytes.
    pub(super) fn streamed(
        &self,
        content: &Content,
        write: impl FnOnce(u64, &mut dyn Read) -> Result<(), WriteError>,
    ) -> Result<u64, StepError> {
        let (Content::Blob(At { store, blob }) | Content::Converted(At { store, blob }, _)) = *content else {
            let (mut file, size) = open(content)?;
            write(size, &mut file).map_err(write_error)?;
            return Ok(size);
        };
        let size = self.size(At { store, blob })?;
        let (mut reader, mut writer) = io::pipe().map_err(StepError::retry)?;
        std::thread::scope(|scope| {
            let objects = self.stores[store].clone();
            let copying = scope.spawn(move || objects.copy_blob(blob, &mut writer));
            let written = write(size, &mut reader);
            // Closed before the other end is waited for: after an error nobody reads it empty.
            drop(reader);
            let copied = copying.join().expect("copying does not panic");
            written.map_err(write_error)?;
            copied.map_err(object_error)
        })
    }
}

/// A file that is no blob, and its length.
fn open(content: &Content) -> Result<(File, u64), StepError> {
    match content {
        Content::Local(path, size) => Ok((File::open(path).map_err(StepError::retry)?, *size)),
        Content::Large(pointer, objects) => {
            let file = objects.open(pointer.oid).map_err(StepError::retry)?;
            let file = file.ok_or_else(|| StepError::retry(format!("large file {} is gone", pointer.oid)))?;
            Ok((file, pointer.size))
        }
        Content::Blob(_) | Content::Converted(..) => unreachable!("blobs are read from their repository"),
    }
}

/// What git's attributes make of a blob, in place.
fn convert(buffer: &mut Vec<u8>, blob: BlobId, conversion: &Conversion) -> Result<(), String> {
    let text = conversion.commit.as_deref();
    let commit = text
        .map(|text| Commit::new(&text.id, &text.object, ABBREV, &text.decoration))
        .transpose()
        .map_err(|error| error.to_string())?;
    let id = blob.0.to_string();
    let converted =
        attributes::apply(buffer, &conversion.attributes, &id, commit.as_ref(), CONVERTED_BYTES_MAX)
            .map_err(|error| error.to_string())?;
    if let std::borrow::Cow::Owned(converted) = converted {
        *buffer = converted;
    }
    Ok(())
}

/// A name as an error may show it.
pub(super) fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let plain = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().take(SHOWN_CHARS_MAX).map(plain).collect()
}

pub(super) fn object_error(error: ObjectError) -> StepError {
    super::fetch::object_error(&error)
}

pub(super) fn write_error(error: WriteError) -> StepError {
    match error {
        WriteError::Io(error) => StepError::retry(format!("the archive cannot be written: {error}")),
        other => {
            StepError::fail(format!("the tree cannot be archived: {other}")).told(PublicReason::TreeRefused)
        }
    }
}
