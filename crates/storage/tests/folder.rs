//! The local folder as other programs and planted files meet it.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use gristmill_model::ObjectKey;
use gristmill_storage::{ProjectError, PublicObject, Storage, StorageError};

struct Folder {
    _parent: tempfile::TempDir,
    root: PathBuf,
    storage: Storage,
}

fn folder() -> Folder {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("made/with/parents");
    let storage = Storage::open_folder(&root).unwrap();
    Folder { _parent: parent, root, storage }
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

impl Folder {
    async fn project(&self, name: &str, seq: i64, text: &str) -> Result<bool, ProjectError> {
        let blob = self.storage.put_bytes(text.to_owned()).await.unwrap();
        let object = PublicObject {
            seq,
            digest: blob.digest,
            size: blob.size,
            content_type: "text/plain".to_owned(),
            metadata: BTreeMap::new(),
        };
        Ok(self.storage.project(&key(name), &object).await?.changed)
    }

    fn public(&self, name: &str) -> PathBuf {
        self.root.join("public").join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.public(name)).unwrap()
    }

    fn versions_on_record(&self) -> usize {
        std::fs::read_dir(self.root.join("versions")).unwrap().count()
    }

    async fn assert_sound(&self) {
        let mut found = Vec::new();
        self.storage.verify(true, |finding| found.push(finding)).await.unwrap();
        assert_eq!(found, []);
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

#[tokio::test]
async fn plain_tree_that_any_web_server_can_serve() {
    let folder = folder();
    folder.project("acme/shop/main.zip", 1, "one").await.unwrap();
    assert_eq!(folder.read("acme/shop/main.zip"), "one");
    for (path, expected) in [
        ("", 0o755),
        ("public", 0o755),
        ("public/acme", 0o755),
        ("public/acme/shop", 0o755),
        ("public/acme/shop/main.zip", 0o444),
        ("blobs", 0o750),
        ("blobs/sha256", 0o750),
        ("blobs/sha256/00", 0o750),
        ("blobs/sha256/ff", 0o750),
        ("versions", 0o750),
        ("tmp", 0o700),
    ] {
        assert_eq!(mode(&folder.root.join(path)), expected, "{path}");
    }
    assert_eq!(std::fs::read_dir(folder.root.join("public")).unwrap().count(), 1, "nothing but keys");
    assert_eq!(folder.storage.capabilities().folder().unwrap().name_bytes_max, 255);
    let free = folder.storage.free_bytes().await.unwrap();
    let told = rustix::fs::statvfs(&folder.root).unwrap();
    assert!(free > 0 && free <= told.f_blocks * told.f_frsize);
}

#[tokio::test]
async fn what_the_operator_made_keeps_its_modes() {
    let parent = tempfile::tempdir().unwrap();
    let elsewhere = parent.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    rustix::fs::chmod(&elsewhere, rustix::fs::Mode::from_raw_mode(0o2770)).unwrap();
    let root = parent.path().join("root");
    std::fs::create_dir(&root).unwrap();
    rustix::fs::chmod(&root, rustix::fs::Mode::from_raw_mode(0o711)).unwrap();
    symlink(&elsewhere, root.join("public")).unwrap();
    let storage = Storage::open_folder(&root).unwrap();
    let folder = Folder { _parent: parent, root, storage };
    folder.project("k", 1, "one").await.unwrap();
    assert_eq!(std::fs::read_to_string(elsewhere.join("k")).unwrap(), "one");
    assert_eq!((mode(&elsewhere), mode(&folder.root)), (0o2770, 0o711));
}

#[test]
fn file_in_place_of_the_folder_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Storage::open_folder(file.path()).unwrap_err();
    assert!(matches!(error, StorageError::Io { .. }) && !error.is_transient());
    let expected = format!("opening the storage in `{}`", file.path().display());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[tokio::test]
async fn key_below_another_key_is_refused_before_anything_changes() {
    let folder = folder();
    folder.project("a", 1, "one").await.unwrap();
    for name in ["a/b", "a/b/c"] {
        match folder.project(name, 1, "two").await {
            Err(ProjectError::FileAndFolder { key, existing }) => {
                assert_eq!((key.as_str(), existing.as_str()), (name, "a"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(folder.read("a"), "one");
    assert_eq!(folder.versions_on_record(), 1);
    assert!(folder.storage.withdraw(&key("a")).await.unwrap());
    assert!(folder.project("a/b", 1, "two").await.unwrap());
    assert_eq!(folder.storage.current(&key("a"), false).await.unwrap(), None);
    assert!(!folder.storage.withdraw(&key("a")).await.unwrap());
    assert!(folder.storage.delete_version(&key("a"), 1, None).await.unwrap());
    assert_eq!(folder.read("a/b"), "two");
    folder.assert_sound().await;
}

#[tokio::test]
async fn key_above_another_key_is_refused_naming_it() {
    let folder = folder();
    folder.project("a/b/c", 1, "one").await.unwrap();
    folder.project("z", 1, "one").await.unwrap();
    for name in ["a", "a/b"] {
        match folder.project(name, 1, "two").await {
            Err(error @ ProjectError::FileAndFolder { .. }) => {
                let text = format!("`{name}` cannot be published beside `a/b/c`");
                assert!(error.to_string().starts_with(&text), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(folder.versions_on_record(), 2);
    folder.storage.withdraw(&key("a/b/c")).await.unwrap();
    assert!(!folder.public("a").exists(), "emptied folders go");
    assert!(folder.public("z").exists());
    folder.project("a", 1, "two").await.unwrap();
    assert_eq!(folder.read("a"), "two");
    folder.storage.withdraw(&key("a/b/c")).await.unwrap();
    folder.assert_sound().await;
}

#[tokio::test]
async fn withdrawing_leaves_folders_that_hold_other_keys() {
    let folder = folder();
    folder.project("a/b/c", 1, "one").await.unwrap();
    folder.project("a/d", 1, "one").await.unwrap();
    folder.storage.withdraw(&key("a/b/c")).await.unwrap();
    assert!(!folder.public("a/b").exists());
    assert_eq!(folder.read("a/d"), "one");
}

#[tokio::test]
async fn names_of_255_bytes_work_and_of_256_are_refused() {
    let folder = folder();
    let (longest, too_long) = ("é".repeat(127) + "x", "é".repeat(128));
    assert_eq!((longest.len(), too_long.len()), (255, 256));
    folder.project(&format!("{longest}/{longest}"), 1, "one").await.unwrap();
    for name in [too_long.clone(), format!("a/{too_long}/b")] {
        match folder.project(&name, 1, "two").await {
            Err(ProjectError::NameTooLong { part, bytes: 256, bytes_max: 255, .. }) => {
                assert_eq!(part, "é".repeat(40) + "…");
            }
            other => panic!("{other:?}"),
        }
    }
    let deep = vec!["d"; 512].join("/");
    folder.project(&deep, 1, "deep").await.unwrap();
    folder.storage.withdraw(&key(&deep)).await.unwrap();
    assert_eq!(std::fs::read_dir(folder.root.join("public")).unwrap().count(), 1);
}

#[tokio::test]
async fn names_that_the_storage_keeps_for_itself_are_refused() {
    let folder = folder();
    for name in [".gristmill-tmp/k", ".Gristmill-x"] {
        let outcome = folder.project(name, 1, "one").await;
        assert!(matches!(outcome, Err(ProjectError::NameRefused { .. })), "{outcome:?}");
    }
    folder.project(".gristmill", 1, "one").await.unwrap();
    folder.project("a/.gristmill-tmp", 1, "one").await.unwrap();
    folder.assert_sound().await;
}

#[tokio::test]
async fn symlink_planted_in_public_is_never_followed() {
    let folder = folder();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("victim"), "untouched").unwrap();
    symlink(outside.path(), folder.public("folder")).unwrap();
    symlink(outside.path().join("victim"), folder.public("file")).unwrap();
    symlink("/nonexistent", folder.public("dangling")).unwrap();
    for (name, path) in [
        ("folder/victim", "folder"),
        ("folder/new", "folder"),
        ("folder", "folder"),
        ("file", "file"),
        ("dangling", "dangling"),
    ] {
        match folder.project(name, 1, "attack").await {
            Err(ProjectError::Blocked { path: told, what: "a symbolic link", .. }) => assert_eq!(told, path),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(folder.versions_on_record(), 0);
    // Planted in the place of a published folder and file.
    folder.project("a/victim", 1, "one").await.unwrap();
    std::fs::remove_dir_all(folder.public("a")).unwrap();
    symlink(outside.path(), folder.public("a")).unwrap();
    let outcome = folder.project("a/victim", 2, "attack").await;
    assert!(matches!(outcome, Err(ProjectError::Blocked { .. })), "{outcome:?}");
    let outcome = folder.storage.withdraw(&key("a/victim")).await;
    assert!(matches!(outcome, Err(ProjectError::Blocked { .. })), "{outcome:?}");
    let outcome = folder.storage.current(&key("a/victim"), false).await;
    assert!(matches!(outcome, Err(ProjectError::Blocked { .. })), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(outside.path().join("victim")).unwrap(), "untouched");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn file_that_no_key_put_there_is_not_overwritten() {
    let folder = folder();
    std::fs::write(folder.public("robots.txt"), "mine").unwrap();
    std::os::unix::net::UnixListener::bind(folder.public("socket")).unwrap();
    for (name, expected) in
        [("robots.txt", "a file"), ("socket", "a special file"), ("socket/x", "a special file")]
    {
        match folder.project(name, 1, "one").await {
            Err(ProjectError::Blocked { what, .. }) => assert_eq!(what, expected),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(folder.read("robots.txt"), "mine");
}

#[tokio::test]
async fn reader_that_has_the_old_version_open_keeps_it() {
    let folder = folder();
    folder.project("k", 1, "one").await.unwrap();
    let open = std::fs::File::open(folder.public("k")).unwrap();
    folder.project("k", 2, "two").await.unwrap();
    assert_eq!(std::io::read_to_string(open).unwrap(), "one");
    assert_eq!(folder.read("k"), "two");
}

#[tokio::test]
async fn folders_and_keys_racing_for_one_name() {
    let folder = folder();
    let mut racers = tokio::task::JoinSet::new();
    for name in ["n", "n/a", "n/b/c"] {
        let storage = folder.storage.clone();
        racers.spawn(async move {
            let blob = storage.put_bytes(name).await.unwrap();
            for seq in 0..40 {
                let object = PublicObject {
                    seq,
                    digest: blob.digest,
                    size: blob.size,
                    content_type: String::new(),
                    metadata: BTreeMap::new(),
                };
                match storage.project(&key(name), &object).await {
                    Ok(_) => {
                        assert_eq!(storage.current(&key(name), true).await.unwrap(), Some(object));
                        storage.withdraw(&key(name)).await.unwrap();
                    }
                    Err(ProjectError::FileAndFolder { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    while let Some(outcome) = racers.join_next().await {
        outcome.unwrap();
    }
    folder.assert_sound().await;
    assert_eq!(std::fs::read_dir(folder.root.join("public")).unwrap().count(), 0);
}
