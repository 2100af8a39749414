//! What a death at a bad moment, a careless operator or a bad disk leaves, and how it is repaired.

use std::os::unix::fs::PermissionsExt;

use super::super::records::Record;
use super::super::{FileStorage, disk};
use super::*;
use crate::error::StorageError;

impl Fixture {
    /// As far as a process gets that dies after the record and before the file.
    fn die_after_record(&self, name: &str, object: &PublicObject) {
        let folder = self.storage.lock_key(&key(name)).unwrap();
        folder.write(&Record::new(&key(name), object), true).unwrap();
    }

    fn overwrite(&self, path: &Path, text: &str) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

#[test]
fn death_between_record_and_file_leaves_the_old_version() {
    let fixture = fixture();
    let one = fixture.publish("k", 1, "one");
    let two = version(2, fixture.put("two"));
    fixture.die_after_record("k", &two);
    assert_eq!(fixture.current("k"), Some(one.clone()));
    assert_eq!(fixture.storage.current(&key("k"), true).unwrap(), Some(one.clone()));
    assert_eq!(fixture.findings(false), [Finding::KeyDiffers { key: key("k"), seq: 2 }]);
    let outcome = fixture.storage.project(&key("k"), &one);
    assert!(matches!(outcome, Err(ProjectError::Older { seq: 1, current: 2, .. })), "{outcome:?}");
    let outcome = fixture.storage.delete_version(&key("k"), 1);
    assert!(matches!(outcome, Err(ProjectError::InUse { seq: 1, .. })), "{outcome:?}");
    assert!(fixture.storage.project(&key("k"), &two).unwrap().changed);
    assert_eq!(fixture.current("k"), Some(two));
    assert_eq!(fixture.findings(true), []);
}

#[test]
fn death_before_the_first_file_leaves_nothing_to_read() {
    let fixture = fixture();
    let one = version(1, fixture.put("one"));
    fixture.die_after_record("a/k", &one);
    assert_eq!(fixture.current("a/k"), None);
    assert_eq!(fixture.findings(false), [Finding::KeyMissing { key: key("a/k"), seq: 1 }]);
    assert!(fixture.storage.project(&key("a/k"), &one).unwrap().changed);
    assert_eq!(fixture.current("a/k"), Some(one));
}

#[test]
fn death_before_a_later_version_with_earlier_bytes() {
    let fixture = fixture();
    let one = version(1, fixture.put("one"));
    fixture.storage.project(&key("k"), &one).unwrap();
    fixture.die_after_record("k", &version(2, fixture.put("two")));
    // The file is the blob already; renaming a link to itself does nothing.
    let three = fixture.publish("k", 3, "one");
    assert_eq!(fixture.current("k"), Some(three));
    assert_eq!(fixture.findings(true), []);
    assert_eq!(fixture.unfinished(), [""; 0]);
}

#[test]
fn public_file_taken_away_or_changed_is_repaired() {
    let fixture = fixture();
    let one = fixture.publish("a/k", 1, "one");
    std::fs::remove_dir_all(fixture.public("a")).unwrap();
    assert_eq!(fixture.findings(false), [Finding::KeyMissing { key: key("a/k"), seq: 1 }]);
    assert!(fixture.storage.project(&key("a/k"), &one).unwrap().changed);
    for other in ["owe", "longer"] {
        std::fs::remove_file(fixture.public("a/k")).unwrap();
        std::fs::write(fixture.public("a/k"), other).unwrap();
        match fixture.storage.current(&key("a/k"), false) {
            Err(ProjectError::Storage(StorageError::Damaged { what })) => {
                assert_eq!(what, "`a/k` holds none of its versions; project version 1 again");
            }
            outcome => panic!("{outcome:?}"),
        }
        assert_eq!(fixture.findings(false), [Finding::KeyDiffers { key: key("a/k"), seq: 1 }]);
        assert!(fixture.storage.project(&key("a/k"), &one).unwrap().changed);
        assert_eq!(fixture.current("a/k"), Some(one.clone()));
    }
    assert_eq!(fixture.findings(true), []);
}

#[test]
fn death_while_withdrawing_is_repaired_by_withdrawing() {
    let fixture = fixture();
    let one = fixture.publish("a/k", 1, "one");
    fixture.storage.lock_key(&key("a/k")).unwrap().set_withdrawn(&key("a/k"), 1).unwrap();
    assert_eq!(fixture.current("a/k"), Some(one), "what readers see");
    assert_eq!(fixture.findings(false), [Finding::KeyNotWithdrawn { key: key("a/k") }]);
    assert!(fixture.storage.withdraw(&key("a/k")).unwrap());
    assert_eq!(fixture.findings(false), []);
    assert!(!fixture.public("a").exists());
}

#[test]
fn blob_with_other_bytes_is_found_only_when_deep() {
    let fixture = fixture();
    fixture.publish("k", 1, "one");
    fixture.overwrite(&fixture.blob_path("one"), "owe");
    assert_eq!(fixture.findings(false), []);
    let corrupt = Finding::BlobCorrupt { digest: Digest::of(b"one"), found: Digest::of(b"owe") };
    assert_eq!(fixture.findings(true), [corrupt, Finding::KeyDiffers { key: key("k"), seq: 1 }]);
}

#[test]
fn blob_cut_short_is_replaced_when_stored_again() {
    let fixture = fixture();
    fixture.put("whole");
    fixture.overwrite(&fixture.blob_path("whole"), "who");
    fixture.put("whole");
    assert_eq!(std::fs::read(fixture.blob_path("whole")).unwrap(), b"whole");
    assert_eq!(fixture.findings(true), []);
    assert_eq!(fixture.unfinished(), [""; 0]);
}

#[test]
fn strays_are_told_of_and_left_alone() {
    let fixture = fixture();
    fixture.publish("a/k", 1, "one");
    std::fs::write(fixture.public("a/robots.txt"), "mine").unwrap();
    std::os::unix::fs::symlink("k", fixture.public("a/link")).unwrap();
    let blobs = fixture.root.join("blobs/sha256");
    std::fs::write(blobs.join("notes"), "").unwrap();
    std::fs::write(blobs.join("ab/notes"), "").unwrap();
    // A digest in another's folder.
    let elsewhere = format!("ab/cd{}", "0".repeat(62));
    std::fs::write(blobs.join(&elsewhere), "").unwrap();
    std::fs::write(fixture.root.join("versions/notes"), "").unwrap();
    let mut found: Vec<String> = fixture.findings(false).iter().map(ToString::to_string).collect();
    found.sort();
    let mut expected = [
        "`a/link` in the public folder belongs to no key; take it away, or leave it if you put it there",
        "`a/robots.txt` in the public folder belongs to no key; take it away, or leave it if you put it there",
        "`blobs/sha256/ab/notes` among the blobs is no blob; take it away",
        &format!("`blobs/sha256/{elsewhere}` among the blobs is no blob; take it away"),
        "`blobs/sha256/notes` among the blobs is no blob; take it away",
        "`versions/notes` is no version record (it is no folder); project the key again, or take the file away",
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
    let listed = fixture.storage.list_blobs(None, 99).unwrap();
    assert_eq!(listed.iter().map(|entry| entry.blob.digest).collect::<Vec<_>>(), [Digest::of(b"one")]);
}

#[test]
fn damaged_record_is_told_of_by_name() {
    let fixture = fixture();
    let one = fixture.publish("k", 1, "one");
    let folder = fixture.root.join(fixture.versions_path("k"));
    let path = folder.join("0000000000000000001.json");
    let good = std::fs::read_to_string(&path).unwrap();
    let renumbered = good.replace("\"seq\": 1", "\"seq\": 2");
    let another = good.replace("\"k\"", "\"other\"");
    for bad in ["", "{}", &renumbered, &another] {
        std::fs::write(&path, bad).unwrap();
        for error in [
            fixture.storage.current(&key("k"), false).unwrap_err(),
            fixture.storage.project(&key("k"), &one).unwrap_err(),
            fixture.storage.versions(&key("k"), None, 1).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.contains("0000000000000000001.json") && text.contains("is damaged"), "{text}");
        }
        assert!(matches!(&fixture.findings(false)[..], [Finding::RecordDamaged { .. }]));
    }
    std::fs::write(&path, good).unwrap();
    std::fs::write(folder.join("withdrawn.json"), "{").unwrap();
    assert!(matches!(&fixture.findings(false)[..], [Finding::RecordDamaged { .. }]));
}

#[test]
fn record_is_readable_by_people() {
    let fixture = fixture();
    fixture.publish("acme/k", 12, "one");
    let path = fixture.root.join(fixture.versions_path("acme/k")).join("0000000000000000012.json");
    let expected = "{\n  \"key\": \"acme/k\",\n  \"seq\": 12,\n  \"digest\": \"sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed\",\n  \"size\": 3,\n  \"content_type\": \"text/plain\",\n  \"metadata\": {\n    \"commit\": \"c12\"\n  }\n}\n";
    assert_eq!(std::fs::read_to_string(path).unwrap(), expected);
}

#[test]
fn unfinished_files_of_dead_processes_go_and_those_of_living_ones_stay() {
    let fixture = fixture();
    let dead = fixture.root.join("tmp/4242-0");
    std::fs::create_dir(&dead).unwrap();
    std::fs::write(dead.join("0"), "half").unwrap();
    std::fs::create_dir(dead.join("1")).unwrap();
    let (name, mut file) = fixture.storage.stage().unwrap();
    file.write_all(b"slow").unwrap();
    let other = FileStorage::open(&fixture.root).unwrap();
    assert!(!dead.exists());
    assert_eq!(fixture.unfinished().len(), 1);
    let blob = Blob { digest: Digest::of(b"slow"), size: 4 };
    fixture.storage.commit(&name, &file, blob).unwrap();
    assert!(other.contains(&blob.digest).unwrap());
    let sessions = || std::fs::read_dir(fixture.root.join("tmp")).unwrap().count();
    assert_eq!(sessions(), 2);
    drop(other);
    assert_eq!(sessions(), 1);
}

#[test]
fn failure_before_the_record_changes_nothing() {
    let fixture = fixture();
    let one = fixture.publish("k", 1, "one");
    let two = version(2, fixture.put("two"));
    // The session's folder is gone: no link can be made.
    let session = fixture.root.join("tmp");
    let aside = fixture.root.join("aside");
    let before = fixture.listing();
    std::fs::rename(&session, &aside).unwrap();
    std::fs::remove_dir(std::fs::read_dir(&aside).unwrap().next().unwrap().unwrap().path()).unwrap();
    fixture.storage.project(&key("k"), &two).unwrap_err();
    fixture.storage.project(&key("new/key"), &two).unwrap_err();
    std::fs::rename(&aside, &session).unwrap();
    assert_eq!(fixture.listing(), before);
    assert_eq!(fixture.current("k"), Some(one));
}

#[test]
fn emptied_folder_is_no_key_and_in_nobodys_way() {
    let fixture = fixture();
    std::fs::create_dir_all(fixture.public("a/b/c")).unwrap();
    std::fs::create_dir_all(fixture.public("a/d")).unwrap();
    let a = fixture.publish("a", 1, "one");
    assert_eq!(fixture.current("a"), Some(a));
    assert!(fixture.public("a").is_file());
}

#[test]
fn lock_on_a_key_that_was_forgotten_meanwhile_is_taken_anew() {
    let fixture = fixture();
    let held = fixture.storage.lock_key(&key("k")).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| fixture.publish("k", 1, "one"));
        let shared = scope.spawn(|| fixture.storage.lock_key_shared(&key("k")).unwrap().is_some());
        // Most often both wait by now; whichever way they come, both must be right.
        for _ in 0..1000 {
            std::thread::yield_now();
        }
        held.remove_if_empty().unwrap();
        let published = waiting.join().unwrap();
        shared.join().unwrap();
        assert_eq!(fixture.current("k"), Some(published));
    });
    assert_eq!(fixture.findings(true), []);
    assert!(disk::stat(&fixture.storage.versions, &Digest::of(b"k").to_hex()).unwrap().is_some());
}
