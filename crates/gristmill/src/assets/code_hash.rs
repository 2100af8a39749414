//! The code hash: what a build depends on, as one name.
//!
//! SHA-256 over a first line that names the form and the object format, and then `<mode> <object id>\t<path>\0` for
//! everything that the filter takes in, in the order of `git ls-tree`: files, links and submodules by themselves, a
//! folder that is taken in whole as its tree. Nothing but the commit's trees is read.

use std::path::PathBuf;

use anyhow::Context as _;
use gristmill_git::{Changed, Checkout, Entry, ObjectError, Objects};
use gristmill_model::path_filter::{Progress, Step};
use gristmill_model::{CommitId, ObjectFormat, PathFilter, TreeId, hex};
use sha2::{Digest as _, Sha256};

use super::pyglob;

/// Changes with the form.
const FORM: &str = "gristmill code hash 1";
/// Folders within one another, as for archives.
const LEVELS_MAX: usize = 200;

/// How the code is hashed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Algorithm {
    /// Over the commit's trees.
    #[default]
    Sha256,
    /// As s3-asset-manager does it, over the contents of the work tree.
    Md5,
}

/// What the code is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CodeHash {
    /// Hexadecimal. `None` where the filter takes nothing in: all commits would share it.
    pub hash: Option<String>,
    /// What is taken in and differs from the commit.
    pub changed: Changed,
}

/// What is to be hashed.
#[derive(Clone, Debug)]
pub struct Code {
    /// The repository.
    pub checkout: Checkout,
    /// The commit that is checked out.
    pub commit: CommitId,
    /// Which files.
    pub filter: String,
    /// How.
    pub algorithm: Algorithm,
}

impl Code {
    /// Hashes it.
    ///
    /// # Errors
    ///
    /// Where the filter is none, or trees or files cannot be read.
    pub fn hash(&self) -> anyhow::Result<CodeHash> {
        match self.algorithm {
            Algorithm::Sha256 => self.trees(),
            Algorithm::Md5 => {
                let (hash, files) = pyglob::hash(&PathBuf::from(self.checkout.work_tree()), &self.filter)?;
                Ok(CodeHash { hash: (files > 0).then_some(hash), changed: Changed::default() })
            }
        }
    }

    fn trees(&self) -> anyhow::Result<CodeHash> {
        let filter: PathFilter = self.filter.parse().context("CODE_HASH_FIND_FILTER")?;
        let objects = self.checkout.objects()?;
        let missing = |error: ObjectError| {
            anyhow::Error::from(error).context(
                "the commit's trees cannot be read; a clone without them (`--filter=tree:0`) lacks them, a shallow one does not",
            )
        };
        let tree = objects.commit(self.commit).map_err(missing)?.tree;
        let hash = hash_trees(&objects, tree, &filter).map_err(missing)?;
        let changed = self.checkout.changed(&objects, tree, &|path| filter.contains(path))?;
        Ok(CodeHash { hash, changed })
    }
}

/// The hash of what a filter takes in of a tree; `None` where that is nothing.
///
/// # Errors
///
/// Where a tree cannot be read.
pub fn hash_trees(
    objects: &Objects,
    tree: TreeId,
    filter: &PathFilter,
) -> Result<Option<String>, ObjectError> {
    let mut walk = Walk { objects, filter, hasher: Sha256::new(), entries: 0 };
    let format = match objects.format() {
        ObjectFormat::Sha1 => "sha1",
        ObjectFormat::Sha256 => "sha256",
    };
    walk.hasher.update(format!("{FORM} {format}\n"));
    match filter.root() {
        Step::Out => {}
        Step::In => walk.add(b"", Entry::Folder { tree }),
        Step::Within(progress) => walk.folder(tree, &progress, &mut Vec::new(), 0)?,
    }
    Ok((walk.entries > 0).then(|| hex::encode(&walk.hasher.finalize())))
}

struct Walk<'a> {
    objects: &'a Objects,
    filter: &'a PathFilter,
    hasher: Sha256,
    entries: u64,
}

impl Walk<'_> {
    fn add(&mut self, path: &[u8], entry: Entry) {
        self.hasher.update(entry.mode().as_str());
        self.hasher.update(b" ");
        self.hasher.update(entry.id().to_string());
        self.hasher.update(b"\t");
        self.hasher.update(path);
        self.hasher.update(b"\0");
        self.entries += 1;
    }

    fn folder(
        &mut self,
        tree: TreeId,
        progress: &Progress,
        path: &mut Vec<u8>,
        level: usize,
    ) -> Result<(), ObjectError> {
        if level > LEVELS_MAX {
            return Err(ObjectError::TreeTooLarge { id: tree.0, what: "levels", max: LEVELS_MAX as u64 });
        }
        for (name, entry) in self.objects.entries(tree)? {
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            let step = {
                let name = String::from_utf8_lossy(&name);
                // A filter may name a folder that is a submodule, or lead into one: its commit says all that is in it.
                let is_folder = matches!(entry, Entry::Folder { .. } | Entry::Submodule { .. });
                self.filter.step(progress, &name, is_folder)
            };
            match (step, entry) {
                (Step::Out, _) => {}
                (Step::Within(progress), Entry::Folder { tree }) => {
                    self.folder(tree, &progress, path, level + 1)?;
                }
                (Step::In | Step::Within(_), entry) => self.add(path, entry),
            }
            path.truncate(length);
        }
        Ok(())
    }
}
