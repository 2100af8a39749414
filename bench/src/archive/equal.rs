//! Whether archives hold what they should: compared with git's objects, and with what `git archive` makes once
//! both are extracted by `unzip`, which is neither's own code.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// What lies under a path.
#[derive(PartialEq, Eq, Debug)]
enum Found {
    Folder,
    Link(std::path::PathBuf),
    File { executable: bool, content: Vec<u8> },
}

/// Compares our archive with `git ls-tree` and `git cat-file`: how many members are equal.
pub(super) fn with_objects(repository: &Path, commit: &str, archive: &Path) -> Result<usize> {
    gristmill::check::against_git(repository, commit, &fs::read(archive)?)
}

/// Extracts both in `dir` and compares names, kinds, the executable bit, contents and targets of links:
/// how many names are equal.
pub(super) fn extracted(dir: &Path, ours: &Path, theirs: &Path) -> Result<usize> {
    let ours = extract(ours, &dir.join("ours"))?;
    let theirs = extract(theirs, &dir.join("theirs"))?;
    for (name, found) in &ours {
        let other = theirs.get(name).with_context(|| format!("{name:?} is not in git's archive"))?;
        ensure!(found == other, "{name:?} is another in git's archive");
    }
    let missing = theirs.keys().find(|name| !ours.contains_key(*name));
    ensure!(missing.is_none(), "{missing:?} is not in our archive");
    Ok(ours.len())
}

type Tree = BTreeMap<std::path::PathBuf, Found>;

fn extract(archive: &Path, to: &Path) -> Result<Tree> {
    let status = Command::new("unzip").arg("-qq").arg(archive).arg("-d").arg(to).status();
    let status = status.context("cannot start unzip: install it")?;
    ensure!(status.success(), "unzip of {} failed: {status}", archive.display());
    let mut tree = Tree::new();
    read(to, to, &mut tree)?;
    fs::remove_dir_all(to)?;
    Ok(tree)
}

fn read(top: &Path, folder: &Path, tree: &mut Tree) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let metadata = path.symlink_metadata()?;
        let found = if metadata.is_dir() {
            read(top, &path, tree)?;
            Found::Folder
        } else if metadata.is_symlink() {
            Found::Link(fs::read_link(&path)?)
        } else {
            let executable = metadata.permissions().mode() & 0o100 != 0;
            Found::File { executable, content: fs::read(&path)? }
        };
        tree.insert(path.strip_prefix(top)?.to_owned(), found);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_archive::{Compressor, FileEntry, FileMode, ZipWriter, compress};

    fn zip(path: &Path, members: &[(&str, FileMode, &str)]) {
        let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
        let mut compressor = Compressor::new();
        for (name, mode, content) in members {
            let entry = FileEntry { name: name.as_bytes(), mode: *mode, key: None };
            zip.member(&entry, &compress(content.as_bytes(), &mut compressor)).unwrap();
        }
        zip.symlink(b"z/link", b"../a").unwrap();
        zip.finish().unwrap();
    }

    #[test]
    fn any_difference_is_found() {
        use FileMode::{Executable, Regular};
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = ["one.zip", "other.zip"].map(|name| dir.path().join(name));
        let members = [("a", Regular, "text"), ("b/c", Executable, "script")];
        zip(&one, &members);
        zip(&other, &members);
        // Two files, a link, two folders.
        assert_eq!(extracted(dir.path(), &one, &other).unwrap(), 5);
        let mut others = vec![
            vec![members[0], ("b/c", Regular, "script")],
            vec![("a", Regular, "Text"), members[1]],
            vec![members[0]],
        ];
        others.push([&members[..], &[("d", Regular, "")]].concat());
        for members in others {
            zip(&other, &members);
            extracted(dir.path(), &one, &other).unwrap_err();
        }
    }
}
