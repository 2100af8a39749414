//! Walking a tree: every path of a commit, in git's order, with everything refused that git would not have written.

use gix_object::{Kind, TreeRef};
use gristmill_model::{BlobId, CommitId, ObjectId, TreeId};

use crate::error::ObjectError;
use crate::objects::{Objects, from_gix};

/// What stands in a tree under one name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A file.
    File {
        /// Its content.
        blob: BlobId,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link.
    Symlink {
        /// A blob with the link's target.
        blob: BlobId,
    },
    /// A folder; its entries follow.
    Folder {
        /// Its content.
        tree: TreeId,
    },
    /// A submodule: the commit of another repository, which is not in the mirror.
    Submodule {
        /// The commit.
        commit: CommitId,
    },
}

/// An entry's mode as git shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryMode {
    /// 100644
    File,
    /// 100755
    Executable,
    /// 120000
    Symlink,
    /// 040000
    Folder,
    /// 160000
    Submodule,
}

impl EntryMode {
    /// As git reads modes: of a file's bits only the owner's execute bit counts, because old versions wrote others.
    fn from_bits(bits: u16) -> Option<EntryMode> {
        match (bits & 0o170_000, bits & 0o100 != 0) {
            (0o100_000, false) => Some(EntryMode::File),
            (0o100_000, true) => Some(EntryMode::Executable),
            (0o120_000, _) => Some(EntryMode::Symlink),
            (0o040_000, _) => Some(EntryMode::Folder),
            (0o160_000, _) => Some(EntryMode::Submodule),
            _ => None,
        }
    }

    /// The six digits of `git ls-tree`.
    pub const fn as_str(self) -> &'static str {
        match self {
            EntryMode::File => "100644",
            EntryMode::Executable => "100755",
            EntryMode::Symlink => "120000",
            EntryMode::Folder => "040000",
            EntryMode::Submodule => "160000",
        }
    }
}

impl Entry {
    fn new(mode: EntryMode, id: ObjectId) -> Entry {
        match mode {
            EntryMode::File => Entry::File { blob: BlobId(id), executable: false },
            EntryMode::Executable => Entry::File { blob: BlobId(id), executable: true },
            EntryMode::Symlink => Entry::Symlink { blob: BlobId(id) },
            EntryMode::Folder => Entry::Folder { tree: TreeId(id) },
            EntryMode::Submodule => Entry::Submodule { commit: CommitId(id) },
        }
    }

    /// Its mode.
    pub fn mode(&self) -> EntryMode {
        match self {
            Entry::File { executable: false, .. } => EntryMode::File,
            Entry::File { executable: true, .. } => EntryMode::Executable,
            Entry::Symlink { .. } => EntryMode::Symlink,
            Entry::Folder { .. } => EntryMode::Folder,
            Entry::Submodule { .. } => EntryMode::Submodule,
        }
    }

    /// What it names.
    pub fn id(&self) -> ObjectId {
        match self {
            Entry::File { blob, .. } | Entry::Symlink { blob } => blob.0,
            Entry::Folder { tree } => tree.0,
            Entry::Submodule { commit } => commit.0,
        }
    }
}

/// Bounds for a walk. A few hundred bytes of objects can describe a tree of billions of paths.
#[derive(Clone, Copy, Debug)]
pub struct WalkLimits {
    /// How many entries, folders included.
    pub entries_max: u64,
    /// How many folders within one another; the root is not counted.
    pub levels_max: u64,
    /// How long a path may be, in bytes.
    pub path_bytes_max: u64,
}

impl Default for WalkLimits {
    /// Two million entries, 200 levels, 4096 bytes (`PATH_MAX` on Linux).
    fn default() -> WalkLimits {
        WalkLimits { entries_max: 2_000_000, levels_max: 200, path_bytes_max: 4096 }
    }
}

struct Walk<'a, V> {
    objects: &'a Objects,
    root: TreeId,
    limits: WalkLimits,
    entries: u64,
    path: Vec<u8>,
    /// Buffers of trees that were left, to be used again.
    buffers: Vec<Vec<u8>>,
    visit: V,
}

impl Objects {
    /// Calls `visit` with each path below `tree` and what stands there, in the order of `git ls-tree -r -t`: a
    /// folder comes before what it contains. Paths have no `/` at either end. An error of `visit` ends the walk.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Malformed`] for names that are empty, `.`, `..` or `.git` in any case, or contain `/`; for
    /// entries out of order or twice; for unknown modes. [`ObjectError::TreeTooLarge`] beyond the limits. And as
    /// [`Objects::commit`].
    pub fn walk<E: From<ObjectError>>(
        &self,
        tree: TreeId,
        limits: WalkLimits,
        visit: impl FnMut(&[u8], Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let (path, buffers) = (Vec::new(), Vec::new());
        Walk { objects: self, root: tree, limits, entries: 0, path, buffers, visit }.tree(tree, 0)
    }
}

impl Objects {
    /// What stands in one folder, in git's order, with the same checks.
    ///
    /// # Errors
    ///
    /// As [`Objects::walk`].
    pub fn entries(&self, tree: TreeId) -> Result<Vec<(Vec<u8>, Entry)>, ObjectError> {
        let mut buffer = Vec::new();
        let data = self.read(tree.0, Kind::Tree, &mut buffer)?;
        let parsed =
            TreeRef::from_bytes(data, self.hash_kind()).map_err(|_| malformed(tree, "it is cut off"))?;
        check_tree(tree, &parsed)?;
        let entry = |found: &gix_object::tree::EntryRef<'_>| {
            let mode = EntryMode::from_bits(found.mode.value());
            let mode = mode.ok_or_else(|| malformed(tree, "an unknown mode"))?;
            Ok((found.filename.to_vec(), Entry::new(mode, from_gix(found.oid))))
        };
        parsed.entries.iter().map(entry).collect()
    }
}

impl<V> Walk<'_, V> {
    fn tree<E>(&mut self, id: TreeId, level: u64) -> Result<(), E>
    where
        E: From<ObjectError>,
        V: FnMut(&[u8], Entry) -> Result<(), E>,
    {
        self.check("levels", level, self.limits.levels_max)?;
        let mut buffer = self.buffers.pop().unwrap_or_default();
        let data = self.objects.read(id.0, Kind::Tree, &mut buffer)?;
        let tree = TreeRef::from_bytes(data, self.objects.hash_kind())
            .map_err(|_| malformed(id, "it is cut off"))?;
        check_tree(id, &tree)?;
        for found in &tree.entries {
            let mode =
                EntryMode::from_bits(found.mode.value()).ok_or_else(|| malformed(id, "an unknown mode"))?;
            let entry = Entry::new(mode, from_gix(found.oid));
            let parent_bytes = self.path.len();
            if parent_bytes > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(found.filename);
            self.entries += 1;
            self.check("entries", self.entries, self.limits.entries_max)?;
            let path_bytes = u64::try_from(self.path.len()).unwrap_or(u64::MAX);
            self.check("bytes in a path", path_bytes, self.limits.path_bytes_max)?;
            (self.visit)(&self.path, entry)?;
            if let Entry::Folder { tree } = entry {
                self.tree(tree, level + 1)?;
            }
            self.path.truncate(parent_bytes);
        }
        self.buffers.push(buffer);
        Ok(())
    }

    fn check(&self, what: &'static str, found: u64, max: u64) -> Result<(), ObjectError> {
        if found > max { Err(ObjectError::TreeTooLarge { id: self.root.0, what, max }) } else { Ok(()) }
    }
}

fn malformed(id: TreeId, why: &str) -> ObjectError {
    ObjectError::Malformed { id: id.0, why: why.to_owned() }
}

/// What git promises of the trees it writes, and what unpacking one relies on.
fn check_tree(id: TreeId, tree: &TreeRef<'_>) -> Result<(), ObjectError> {
    for (n, entry) in tree.entries.iter().enumerate() {
        let name: &[u8] = entry.filename;
        if let Some(why) = name_fault(name) {
            return Err(malformed(id, why));
        }
        let Some(next) = tree.entries.get(n + 1) else { continue };
        let order =
            gix_object::tree::name_order(name, entry.mode.is_tree(), next.filename, next.mode.is_tree());
        if order.is_ge() {
            return Err(malformed(id, "its entries are out of order or twice there"));
        }
    }
    // A folder sorts as if its name ended in `/`, so a file of the same name need not be its neighbour.
    let folders = tree.entries.iter().filter(|entry| entry.mode.is_tree());
    if folders.into_iter().any(|folder| tree.bisect_entry(folder.filename, false).is_some()) {
        return Err(malformed(id, "a name is both a folder and something else"));
    }
    Ok(())
}

fn name_fault(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("an empty name"),
        b"." | b".." => Some("a name that means another folder"),
        _ if name.contains(&b'/') => Some("a name with a slash"),
        _ if name.eq_ignore_ascii_case(b".git") => Some("a `.git` entry, which git never writes"),
        _ => None,
    }
}
