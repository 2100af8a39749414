//! The names already taken in one archive or one folder, files apart from folders.

use std::collections::HashMap;

/// Why a name cannot join the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clash {
    /// The very name is taken.
    Duplicate,
    /// The name differs from a taken one only in what folding takes away.
    Folded,
    /// One name is a file, and a folder of another.
    FileAndFolder,
}

/// What stands at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    /// A file or symbolic link.
    Leaf,
    /// A folder that only follows from the names below it.
    Implied,
    /// A folder that is a member itself.
    Folder,
}

#[derive(Debug)]
struct Taken {
    node: Node,
    /// The name as it was given, where it differs from its key.
    exact: Option<Box<[u8]>>,
}

/// A set of slash-separated names. Every folder of a name in the set is in it as well, so that looking
/// upwards can stop at the first folder that is known.
#[derive(Debug, Default)]
pub(crate) struct NameSet {
    taken: HashMap<Box<[u8]>, Taken>,
}

impl NameSet {
    /// How many names there are, folders that only follow from others included.
    pub(crate) fn len(&self) -> usize {
        self.taken.len()
    }

    /// Adds a name that is compared byte by byte. Nothing changes when it clashes.
    pub(crate) fn add(&mut self, name: &[u8], is_folder: bool) -> Result<usize, Clash> {
        self.add_folded(name, name, is_folder)
    }

    /// Adds `name`, compared by `key`, which has as many components. Nothing changes when it clashes.
    ///
    /// Returns how many folders are new: the name itself where it is a folder, and those above it.
    pub(crate) fn add_folded(&mut self, name: &[u8], key: &[u8], is_folder: bool) -> Result<usize, Clash> {
        if let Some(there) = self.taken.get(key) {
            there.is_exactly(name, key)?;
            return match (there.node, is_folder) {
                (Node::Implied, true) => {
                    self.insert(name, key, Node::Folder);
                    Ok(0)
                }
                (Node::Leaf, false) | (Node::Folder, true) => Err(Clash::Duplicate),
                (Node::Leaf, true) | (Node::Implied | Node::Folder, false) => Err(Clash::FileAndFolder),
            };
        }
        let unknown = self.unknown_folders(name, key)?;
        let mut folder = (name, key);
        for _ in 0..unknown {
            folder = parent(folder.0, folder.1).expect("as many folders as were counted");
            self.insert(folder.0, folder.1, Node::Implied);
        }
        self.insert(name, key, if is_folder { Node::Folder } else { Node::Leaf });
        Ok(unknown + usize::from(is_folder))
    }

    /// How many of the folders of `name`, from the deepest upwards, are not in the set yet.
    fn unknown_folders(&self, name: &[u8], key: &[u8]) -> Result<usize, Clash> {
        let mut unknown = 0;
        let mut folder = (name, key);
        while let Some(above) = parent(folder.0, folder.1) {
            folder = above;
            if let Some(there) = self.taken.get(folder.1) {
                there.is_exactly(folder.0, folder.1)?;
                return if there.node == Node::Leaf { Err(Clash::FileAndFolder) } else { Ok(unknown) };
            }
            unknown += 1;
        }
        Ok(unknown)
    }

    fn insert(&mut self, name: &[u8], key: &[u8], node: Node) {
        let exact = (name != key).then(|| name.into());
        self.taken.insert(key.into(), Taken { node, exact });
    }
}

impl Taken {
    fn is_exactly(&self, name: &[u8], key: &[u8]) -> Result<(), Clash> {
        if self.exact.as_deref().unwrap_or(key) == name { Ok(()) } else { Err(Clash::Folded) }
    }
}

/// The folder of a name, beside the folder of its key; folding may change the length.
fn parent<'a>(name: &'a [u8], key: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let slash = |path: &[u8]| path.iter().rposition(|&byte| byte == b'/');
    Some((&name[..slash(name)?], &key[..slash(key)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &[(&str, bool)], name: (&str, bool), expected: Result<usize, Clash>) {
        let mut names = NameSet::default();
        for (name, is_folder) in given {
            names.add(name.as_bytes(), *is_folder).expect("the names before do not clash");
        }
        let before = names.len();
        assert_eq!(names.add(name.0.as_bytes(), name.1), expected, "{given:?} then {name:?}");
        if expected.is_err() {
            assert_eq!(names.len(), before, "a refused name leaves nothing behind");
        }
    }

    #[test]
    fn a_name_is_taken_once_and_is_a_file_or_a_folder() {
        use Clash::{Duplicate, FileAndFolder};
        check(&[], ("a", false), Ok(0));
        check(&[("a", false)], ("a", false), Err(Duplicate));
        check(&[("a", true)], ("a", true), Err(Duplicate));
        check(&[("a", false)], ("a", true), Err(FileAndFolder));
        check(&[("a", true)], ("a", false), Err(FileAndFolder));
        check(&[("a/b/c", false)], ("a", false), Err(FileAndFolder));
        check(&[("a/b/c", false)], ("a/b", false), Err(FileAndFolder));
        check(&[("a/b/c", false)], ("a/b", true), Ok(0));
        check(&[("a/b/c", false), ("a/b", true)], ("a/b", true), Err(Duplicate));
        check(&[("a", false), ("a-b", false), ("a.b", false)], ("a/x", false), Err(FileAndFolder));
        check(&[("a", false)], ("a/x/y/z", false), Err(FileAndFolder));
        check(&[("a", false)], ("a/x/y/z", true), Err(FileAndFolder));
        check(&[("a", true)], ("a/x/y", false), Ok(1));
        check(&[("a/b", false)], ("a/bc", false), Ok(0));
        check(&[], ("a/b/c", false), Ok(2));
        check(&[], ("a/b/c", true), Ok(3));
        check(&[("a/x", false)], ("a/b/c", true), Ok(2));
        check(&[("ab/c", false)], ("a", false), Ok(0));
    }

    #[test]
    fn folders_known_from_deep_names_are_known_above() {
        let mut names = NameSet::default();
        names.add(b"a/b/c/d", false).expect("first");
        assert_eq!(names.len(), 4);
        names.add(b"a/b/e/f", false).expect("beside");
        assert_eq!(names.len(), 6);
        for folder in [&b"a"[..], b"a/b", b"a/b/c", b"a/b/e"] {
            assert_eq!(names.add(folder, false), Err(Clash::FileAndFolder));
        }
    }

    #[test]
    fn folded_names_clash_also_as_folders() {
        let add = |names: &mut NameSet, name: &str| {
            names.add_folded(name.as_bytes(), name.to_lowercase().as_bytes(), false)
        };
        let mut names = NameSet::default();
        assert_eq!(add(&mut names, "Dir/a"), Ok(1));
        assert_eq!(add(&mut names, "Dir/b"), Ok(0));
        assert_eq!(add(&mut names, "Dir/b"), Err(Clash::Duplicate));
        assert_eq!(add(&mut names, "Dir/B"), Err(Clash::Folded));
        assert_eq!(add(&mut names, "dir/c"), Err(Clash::Folded));
        assert_eq!(add(&mut names, "DIR"), Err(Clash::Folded));
        assert_eq!(add(&mut names, "other"), Ok(0));
    }
}
