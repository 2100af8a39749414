//! Tests that look behind the public face: the order of durable writes, what a death in between
//! leaves, and file systems that this machine may not have.

mod copies;
mod durability;
mod folding;
mod recovery;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use gristmill_model::{Digest, ObjectKey};

use super::FileStorage;
use crate::error::ProjectError;
use crate::object::{Blob, Finding, PublicObject};

/// A storage in a temporary folder.
struct Fixture {
    _folder: tempfile::TempDir,
    root: PathBuf,
    storage: FileStorage,
}

/// In memory where the machine has such a folder: these tests look at what is synced, not at how
/// long a disk takes.
fn fixture() -> Fixture {
    fixture_in(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
}

fn fixture_in(folder: tempfile::TempDir) -> Fixture {
    let root = folder.path().canonicalize().unwrap().join("storage");
    let storage = FileStorage::open(&root).unwrap();
    Fixture { _folder: folder, root, storage }
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

fn version(seq: i64, blob: Blob) -> PublicObject {
    let metadata = BTreeMap::from([("commit".to_owned(), format!("c{seq}"))]);
    PublicObject {
        seq,
        digest: blob.digest,
        size: blob.size,
        content_type: "text/plain".to_owned(),
        metadata,
    }
}

impl Fixture {
    fn put(&self, text: &str) -> Blob {
        let (name, mut file) = self.storage.stage().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let blob = Blob { digest: Digest::of(text.as_bytes()), size: text.len() as u64 };
        self.storage.commit(&name, &file, blob).unwrap()
    }

    fn publish(&self, name: &str, seq: i64, text: &str) -> PublicObject {
        let object = version(seq, self.put(text));
        self.storage.project(&key(name), &object).unwrap();
        object
    }

    fn refused(&self, name: &str) -> ProjectError {
        let object = version(1, self.put("refused"));
        let before = self.listing();
        let error = self.storage.project(&key(name), &object).unwrap_err();
        assert_eq!(self.listing(), before, "{error}");
        error
    }

    fn current(&self, name: &str) -> Option<PublicObject> {
        self.storage.current(&key(name), false).unwrap()
    }

    fn public(&self, name: &str) -> PathBuf {
        self.root.join("public").join(name)
    }

    fn blob_path(&self, text: &str) -> PathBuf {
        let hex = Digest::of(text.as_bytes()).to_hex();
        self.root.join("blobs/sha256").join(&hex[..2]).join(hex)
    }

    /// The folder of a key's versions, below the storage's folder.
    fn versions_path(&self, name: &str) -> String {
        format!("versions/{}", Digest::of(name.as_bytes()).to_hex())
    }

    fn findings(&self, deep: bool) -> Vec<Finding> {
        let mut found = Vec::new();
        let checked = self.storage.verify(deep, &mut |finding| found.push(finding)).unwrap();
        assert_eq!(checked.findings, found.len() as u64);
        found
    }

    /// Everything but the blobs' folders, sorted: paths below the storage's folder.
    fn listing(&self) -> Vec<String> {
        let mut paths = Vec::new();
        list(&self.root, &self.root, &mut paths);
        paths.retain(|path| !path.starts_with("blobs/") && !path.starts_with("tmp/"));
        paths.sort();
        paths
    }

    /// What lies in the session's folder.
    fn unfinished(&self) -> Vec<String> {
        let mut paths = Vec::new();
        list(&self.root.join("tmp"), &self.root.join("tmp"), &mut paths);
        paths.retain(|path| path.contains('/'));
        paths
    }
}

fn list(root: &Path, folder: &Path, paths: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        paths.push(path.strip_prefix(root).unwrap().display().to_string());
        if path.symlink_metadata().unwrap().is_dir() {
            list(root, &path, paths);
        }
    }
}
