//! File systems that are full, elsewhere or poor. They need root (to mount); where that is not
//! possible a test says so and does nothing.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]
#![expect(clippy::print_stdout, reason = "a skipped test says why")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use gristmill_model::{Digest, ObjectKey};
use gristmill_storage::{Blob, ProjectError, PublicObject, Storage, StorageError};

/// A mount that goes when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(arguments: &[&str], at: &Path) -> Option<Mount> {
        std::fs::create_dir_all(at).unwrap();
        let output = match Command::new("mount").args(arguments).arg(at).output() {
            Ok(output) if output.status.success() => return Some(Mount(at.to_owned())),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        println!("skipped: cannot mount {arguments:?}: {}", output.trim());
        None
    }

    fn tmpfs(options: &str, at: &Path) -> Option<Mount> {
        Mount::new(&["-t", "tmpfs", "-o", options, "tmpfs"], at)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a failed test may still have files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn open(root: &Path) -> Storage {
    Storage::open_folder(root).unwrap()
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

fn version(seq: i64, blob: Blob) -> PublicObject {
    PublicObject {
        seq,
        digest: blob.digest,
        size: blob.size,
        content_type: "text/plain".to_owned(),
        metadata: BTreeMap::new(),
    }
}

async fn assert_sound(storage: &Storage) {
    let mut found = Vec::new();
    storage.verify(true, |finding| found.push(finding)).await.unwrap();
    assert_eq!(found, []);
}

fn files_below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

/// Fills the file system to the last byte.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [64 * 1024, 4096, 1] {
        while file.write(&vec![0; size]).is_ok() {}
    }
}

#[tokio::test]
async fn disk_full_is_transient_leaves_nothing_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::tmpfs("size=2m", folder.path()) else { return };
    let root = folder.path().join("storage");
    let storage = open(&root);
    let one = storage.put_bytes("one").await.unwrap();
    storage.project(&key("k"), &version(1, one)).await.unwrap();
    let two = storage.put_bytes("two").await.unwrap();
    let before = files_below(&root);

    let mut staged = storage.stage().await.unwrap();
    let error = staged.write_all(&vec![1; 4 << 20]).unwrap_err();
    let error = StorageError::from_io("writing", error);
    assert!(matches!(error, StorageError::Full { .. }) && error.is_transient(), "{error}");
    assert!(matches!(staged.commit().await, Err(StorageError::Io { .. })), "it cannot be finished");
    assert_eq!(files_below(&root), before);

    fill(&folder.path().join("filler"));
    let error = storage.put_bytes(vec![2; 5000]).await.unwrap_err();
    assert!(matches!(error, StorageError::Full { .. }), "{error}");
    let error = storage.project(&key("k"), &version(2, two)).await.unwrap_err();
    assert!(matches!(error, ProjectError::Storage(StorageError::Full { .. })), "{error}");
    assert!(error.is_transient());
    let error = storage.project(&key("new/k"), &version(1, two)).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(files_below(&root), before);
    assert_eq!(storage.current(&key("k"), true).await.unwrap(), Some(version(1, one)));
    assert_sound(&storage).await;
    assert_eq!(storage.free_bytes().await.unwrap(), 0);

    std::fs::remove_file(folder.path().join("filler")).unwrap();
    assert!(storage.free_bytes().await.unwrap() > 1 << 20);
    let big = storage.put_bytes(vec![2; 5000]).await.unwrap();
    assert_eq!(big.digest, Digest::of(&[2; 5000]));
    storage.project(&key("k"), &version(2, two)).await.unwrap();
    storage.project(&key("new/k"), &version(1, two)).await.unwrap();
    assert_sound(&storage).await;
}

#[tokio::test]
async fn public_folder_on_another_mount_holds_copies() {
    let folder = tempfile::tempdir().unwrap();
    let public = folder.path().join("public");
    let Some(_mount) = Mount::tmpfs("size=1m", &public) else { return };
    let storage = open(folder.path());
    let capabilities = storage.capabilities().folder().unwrap();
    assert!(capabilities.public_elsewhere && !capabilities.hard_links, "{capabilities}");
    let one = storage.put_bytes("one").await.unwrap();
    let two = storage.put_bytes("two").await.unwrap();
    for (seq, blob) in [(1, one), (2, two), (3, one)] {
        assert!(storage.project(&key("a/k"), &version(seq, blob)).await.unwrap().changed);
        assert!(!storage.project(&key("a/k"), &version(seq, blob)).await.unwrap().changed);
        assert_eq!(storage.current(&key("a/k"), true).await.unwrap(), Some(version(seq, blob)));
    }
    assert_eq!(std::fs::read_to_string(public.join("a/k")).unwrap(), "one");
    assert_sound(&storage).await;

    // Full there, and not here: the copy fails half way.
    let before = files_below(&public);
    let big = storage.put_bytes(vec![3; 2 << 20]).await.unwrap();
    for name in ["a/k", "b/k"] {
        let error = storage.project(&key(name), &version(4, big)).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
    }
    assert_eq!(files_below(&public), before);
    assert!(!public.join("b").exists());
    assert_eq!(storage.current(&key("a/k"), true).await.unwrap(), Some(version(3, one)));
    storage.withdraw(&key("a/k")).await.unwrap();
    assert_sound(&storage).await;
}

#[tokio::test]
async fn mount_inside_the_public_folder_is_refused_and_undone() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path());
    let blob = storage.put_bytes("one").await.unwrap();
    let Some(_mount) = Mount::tmpfs("size=1m", &folder.path().join("public/inner")) else { return };
    let before = files_below(folder.path());
    for name in ["inner/k", "inner/deep/k"] {
        let error = storage.project(&key(name), &version(1, blob)).await.unwrap_err();
        assert!(error.to_string().contains("something is mounted inside `public`"), "{error}");
        assert!(!error.is_transient());
        assert!(storage.versions(&key(name), None, 9).await.unwrap().is_empty());
    }
    let error = storage.project(&key("inner"), &version(1, blob)).await.unwrap_err();
    assert!(!error.is_transient(), "{error}");
    assert_eq!(files_below(folder.path()), before);
    assert_eq!(std::fs::read_dir(folder.path().join("versions")).unwrap().count(), 0);
    storage.project(&key("beside/k"), &version(1, blob)).await.unwrap();
    assert_sound(&storage).await;
}

#[test]
fn blobs_on_another_mount_are_refused_with_what_to_do() {
    for part in ["tmp", "versions", "blobs/sha256"] {
        let folder = tempfile::tempdir().unwrap();
        let Some(_mount) = Mount::tmpfs("size=1m", &folder.path().join(part)) else { return };
        let error = Storage::open_folder(folder.path()).unwrap_err();
        assert!(matches!(error, StorageError::Unusable { .. }), "{part}: {error}");
        assert!(error.to_string().contains("must be on one file system"), "{error}");
    }
}

/// The same device bound a second time: only a rename tells that it is another mount.
#[tokio::test]
async fn bound_public_folder_holds_copies() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let root = folder.path().join("root");
    let source = elsewhere.display().to_string();
    let Some(_mount) = Mount::new(&["--bind", &source], &root.join("public")) else { return };
    let storage = open(&root);
    assert!(
        storage.capabilities().folder().unwrap().public_elsewhere
            && !storage.capabilities().folder().unwrap().hard_links
    );
    let one = storage.put_bytes("one").await.unwrap();
    storage.project(&key("a/k"), &version(1, one)).await.unwrap();
    assert_eq!(std::fs::read_to_string(elsewhere.join("a/k")).unwrap(), "one");
    assert_sound(&storage).await;
}

/// No hard links, no case, no modes, all at once.
#[tokio::test]
async fn vfat_works_with_copies_and_refuses_keys_that_differ_only_in_case() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("image");
    std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    match Command::new("mkfs.vfat").arg(&image).output() {
        Ok(output) if output.status.success() => {}
        other => {
            println!("skipped: cannot make a vfat image: {other:?}");
            return;
        }
    }
    let image = image.display().to_string();
    let options = "loop,iocharset=utf8,shortname=mixed";
    let at = folder.path().join("mounted");
    let Some(_mount) = Mount::new(&["-t", "vfat", "-o", options, &image], &at) else { return };
    let storage = open(&at.join("storage"));
    let capabilities = storage.capabilities().folder().unwrap();
    assert!(capabilities.case_folding && !capabilities.hard_links && !capabilities.modes, "{capabilities}");
    let one = storage.put_bytes("one").await.unwrap();
    let two = storage.put_bytes("two").await.unwrap();
    for (seq, blob) in [(1, one), (2, two)] {
        storage.project(&key("Acme/Shop.zip"), &version(seq, blob)).await.unwrap();
        assert_eq!(storage.current(&key("Acme/Shop.zip"), true).await.unwrap(), Some(version(seq, blob)));
    }
    for name in ["Acme/shop.zip", "acme/Shop.zip", "ACME"] {
        match storage.project(&key(name), &version(1, one)).await {
            Err(ProjectError::SameName { existing, .. }) => assert_eq!(existing, "Acme/Shop.zip"),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_sound(&storage).await;
}
