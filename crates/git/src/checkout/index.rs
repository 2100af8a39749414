//! Which files differ from the commit: by what git's index notes of each (size and times), as `git status` does it, and
//! by the content where that is not enough.
//!
//! The form of the index is `gitformat-index(5)`: versions 2, 3 and 4. Of its extensions `TREE` is read, which says which
//! tree the index is when nothing was staged.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use gix_object::Kind;
use gristmill_model::{ObjectFormat, ObjectId, TreeId};

use super::{Checkout, CheckoutError};
use crate::error::ObjectError;
use crate::objects::{Objects, from_gix, gix_kind};
use crate::walk::{Entry, WalkLimits};

/// Threads that look at files; more do not help, as the file system is one.
const THREADS_MAX: usize = 4;
/// Entries that one thread looks at, at least.
const ENTRIES_MIN: usize = 500;
/// The largest index that is read.
const INDEX_BYTES_MAX: u64 = 1 << 30;

/// What differs from the commit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changed {
    /// The paths, sorted.
    pub paths: Vec<String>,
    /// Why nothing could be compared, where that is so.
    pub unknown: Option<&'static str>,
}

/// What the index notes of one file.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Noted {
    path: Vec<u8>,
    mode: u32,
    size: u32,
    mtime: (u32, u32),
    id: ObjectId,
    /// It is not in the work tree, by intention.
    is_skipped: bool,
    /// It is one of several versions that were not merged.
    is_conflict: bool,
}

#[derive(Debug, Default)]
struct Index {
    entries: Vec<Noted>,
    /// The tree it is, where nothing was staged since.
    tree: Option<ObjectId>,
    /// A part of it lies in another file.
    is_split: bool,
}

/// Reads bytes one after the other; `None` at their end.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// What stands before the next NUL, which is taken too.
    fn text(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(text)
    }

    /// How many bytes of the path before are left out, in version 4: git's "offset encoding".
    fn varint(&mut self) -> Option<usize> {
        let mut byte = *self.take(1)?.first()?;
        let mut value = usize::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = *self.take(1)?.first()?;
            value = value.checked_add(1)?.checked_mul(128)? + usize::from(byte & 0x7f);
        }
        Some(value)
    }
}

impl Index {
    /// `None` where it is cut off or of an unknown version.
    fn parse(bytes: &[u8], format: ObjectFormat) -> Option<Index> {
        let hash = match format {
            ObjectFormat::Sha1 => 20,
            ObjectFormat::Sha256 => 32,
        };
        let mut rest = Bytes(bytes.get(..bytes.len().checked_sub(hash)?)?);
        if rest.take(4)? != b"DIRC" {
            return None;
        }
        let version = rest.u32().filter(|version| (2..=4).contains(version))?;
        let mut index = Index::default();
        for _ in 0..rest.u32()? {
            let before = index.entries.last().map_or(&[][..], |entry| &entry.path);
            let entry = Noted::parse(&mut rest, version, hash, before)?;
            index.entries.push(entry);
        }
        while let Some(name) = rest.take(4) {
            let length = usize::try_from(rest.u32()?).ok()?;
            let data = rest.take(length)?;
            match name {
                b"TREE" => index.tree = root_tree(data, hash),
                b"link" => index.is_split = true,
                _ => {}
            }
        }
        Some(index)
    }
}

/// The first entry of `TREE`: an empty path, how many entries (negative where it is out of date), the tree.
fn root_tree(data: &[u8], hash: usize) -> Option<ObjectId> {
    let mut data = Bytes(data);
    if !data.text()?.is_empty() {
        return None;
    }
    let line = data.0.iter().position(|byte| *byte == b'\n')?;
    let counts = data.take(line + 1)?;
    if counts.starts_with(b"-") { None } else { ObjectId::from_slice(data.take(hash)?) }
}

impl Noted {
    fn parse(rest: &mut Bytes<'_>, version: u32, hash: usize, before: &[u8]) -> Option<Noted> {
        let start = rest.0.len();
        rest.take(8)?;
        let mtime = (rest.u32()?, rest.u32()?);
        rest.take(8)?;
        let mode = rest.u32()?;
        rest.take(8)?;
        let size = rest.u32()?;
        let id = ObjectId::from_slice(rest.take(hash)?)?;
        let flags = rest.u16()?;
        let more = if flags & 0x4000 != 0 { rest.u16()? } else { 0 };
        let path = if version == 4 {
            let kept = before.len().checked_sub(rest.varint()?)?;
            [&before[..kept], rest.text()?].concat()
        } else {
            let path = rest.text()?.to_vec();
            // One to eight NULs end it, so that entries begin at multiples of eight.
            let length = start - rest.0.len();
            rest.take(length.next_multiple_of(8) - length)?;
            path
        };
        let is_skipped = more & 0x4000 != 0 || flags & 0x8000 != 0;
        Some(Noted { path, mode, size, mtime, id, is_skipped, is_conflict: flags & 0x3000 != 0 })
    }

    const fn kind(&self) -> u32 {
        self.mode & 0o170_000
    }
}

impl Checkout {
    /// The files that `counts` and that are not in the work tree as they are in `tree`, the commit's.
    ///
    /// Sizes and times are compared with those that git noted. A file whose size is the same but not its times is read.
    /// Files that are in no commit are not looked at. Files that git converts (line ends, git-lfs) may be told though
    /// they are unchanged, where their times were changed.
    ///
    /// # Errors
    ///
    /// Where the index or a tree cannot be read.
    pub fn changed(
        &self,
        objects: &Objects,
        tree: TreeId,
        counts: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Changed, CheckoutError> {
        let unknown = |why| Ok(Changed { unknown: Some(why), ..Changed::default() });
        let path = self.git_dir.join("index");
        let failed = |source| CheckoutError::Io { path: path.clone(), source };
        let about = match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return unknown("the repository has no index: nothing was checked out");
            }
            about => about.map_err(failed)?,
        };
        if about.len() > INDEX_BYTES_MAX {
            return unknown("the repository's index is too large");
        }
        let bytes = std::fs::read(&path).map_err(failed)?;
        let Some(index) = Index::parse(&bytes, self.format) else {
            return unknown("the repository's index is of a form that is not read here");
        };
        if index.is_split {
            return unknown("the repository's index is split, which is not read here");
        }
        let mut paths = if index.tree == Some(tree.0) {
            Vec::new()
        } else {
            staged(&index, objects, tree, counts).map_err(|error| CheckoutError::Damaged {
                dir: self.git_dir.clone(),
                why: error.to_string(),
            })?
        };
        let noted_at = (about.mtime(), about.mtime_nsec());
        paths.extend(self.differing(&index.entries, noted_at, counts));
        paths.sort();
        paths.dedup();
        Ok(Changed { paths, unknown: None })
    }

    /// Looks at the files, several threads at once.
    fn differing(
        &self,
        entries: &[Noted],
        noted_at: (i64, i64),
        counts: &(dyn Fn(&str) -> bool + Sync),
    ) -> Vec<String> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let share = entries.len().div_ceil(threads).max(ENTRIES_MIN);
        let look = |share: &[Noted]| -> Vec<String> {
            let counted = share.iter().filter_map(|entry| {
                let path = String::from_utf8_lossy(&entry.path);
                counts(&path).then(|| (entry, path.into_owned()))
            });
            let differs = |(entry, path): (&Noted, String)| self.differs(entry, noted_at).then_some(path);
            counted.filter_map(differs).collect()
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                entries.chunks(share).map(|share| scope.spawn(move || look(share))).collect();
            let found = threads.into_iter().map(|thread| thread.join().expect("it does not panic"));
            found.flatten().collect()
        })
    }

    fn differs(&self, entry: &Noted, noted_at: (i64, i64)) -> bool {
        // Submodules have an index of their own; folders are entries only where all in them is left out.
        if entry.is_skipped || !matches!(entry.kind(), 0o100_000 | 0o120_000) {
            return false;
        }
        if entry.is_conflict {
            return true;
        }
        let path = self.work_tree.join(std::ffi::OsStr::from_bytes(&entry.path));
        let Ok(about) = std::fs::symlink_metadata(&path) else { return true };
        let is_link = entry.kind() == 0o120_000;
        if about.is_symlink() != is_link || !is_link && !about.is_file() {
            return true;
        }
        let is_executable = about.permissions().mode() & 0o100 != 0;
        if self.has_modes && !is_link && is_executable != (entry.mode & 0o100 != 0) {
            return true;
        }
        let mtime = (i64::from(entry.mtime.0), i64::from(entry.mtime.1));
        // A file written at the moment of the index may have been changed once more within that moment.
        let is_settled = mtime < noted_at;
        let is_noted = (about.mtime(), about.mtime_nsec()) == mtime && is_settled;
        #[expect(clippy::cast_possible_truncation, reason = "the index has the lower 32 bits of a size")]
        let has_size = about.len() as u32 == entry.size;
        match (has_size, is_noted) {
            (true, true) => false,
            // Git notes 0 of what it is not sure of.
            (false, _) if entry.size != 0 => true,
            _ => self.content(&path, &about) != Some(entry.id),
        }
    }

    /// The id of a file's content.
    fn content(&self, path: &Path, about: &Metadata) -> Option<ObjectId> {
        let bytes = if about.is_symlink() {
            std::fs::read_link(path).ok()?.into_os_string().as_bytes().to_vec()
        } else {
            std::fs::read(path).ok()?
        };
        let id = gix_object::compute_hash(gix_kind(self.format), Kind::Blob, &bytes).ok()?;
        Some(from_gix(&id))
    }
}

/// The files that are in the index otherwise than in the tree.
fn staged(
    index: &Index,
    objects: &Objects,
    tree: TreeId,
    counts: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Vec<String>, ObjectError> {
    let mut left: HashMap<&[u8], (u32, ObjectId)> =
        index.entries.iter().map(|entry| (entry.path.as_slice(), (entry.mode, entry.id))).collect();
    // What is left out as a folder has no files here.
    let folders: Vec<&[u8]> = index
        .entries
        .iter()
        .filter(|entry| entry.kind() == 0o040_000)
        .map(|entry| entry.path.as_slice())
        .collect();
    let mut paths = Vec::new();
    objects.walk(tree, WalkLimits::default(), |path, entry| {
        if matches!(entry, Entry::Folder { .. }) {
            return Ok::<(), ObjectError>(());
        }
        let mode = u32::from_str_radix(entry.mode().as_str(), 8).unwrap_or(0);
        let is_same = left.remove(path) == Some((mode, entry.id()));
        let is_folded = || folders.iter().any(|folder| path.starts_with(folder));
        if !is_same && !is_folded() {
            paths.push(String::from_utf8_lossy(path).into_owned());
        }
        Ok(())
    })?;
    let added = left.into_iter().filter(|(_, (mode, _))| mode & 0o170_000 != 0o040_000);
    paths.extend(added.map(|(path, _)| String::from_utf8_lossy(path).into_owned()));
    paths.retain(|path| counts(path));
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::Index;
    use gristmill_model::ObjectFormat;

    #[test]
    fn what_is_no_index_is_none() {
        let good = [&b"DIRC\0\0\0\x02\0\0\0\0"[..], &[0; 20]].concat();
        assert!(Index::parse(&good, ObjectFormat::Sha1).is_some_and(|index| index.entries.is_empty()));
        for cut in 0..good.len() {
            assert!(Index::parse(&good[..cut], ObjectFormat::Sha1).is_none(), "{cut}");
        }
        for (at, byte) in [(0, b'X'), (7, 1), (7, 5), (11, 1)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(Index::parse(&bad, ObjectFormat::Sha1).is_none(), "{at}");
        }
    }
}
