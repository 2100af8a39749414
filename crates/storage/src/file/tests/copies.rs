//! Where a blob cannot have another name: public files are copies.

use std::os::unix::fs::MetadataExt;

use super::*;

fn without_links() -> Fixture {
    let mut fixture = fixture();
    assert!(fixture.storage.capabilities().hard_links);
    fixture.storage.capabilities.hard_links = false;
    fixture
}

fn inode(path: &Path) -> u64 {
    path.metadata().unwrap().ino()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

#[test]
fn public_file_is_a_link_to_the_blob() {
    let fixture = fixture();
    fixture.publish("k", 1, "one");
    assert_eq!(inode(&fixture.public("k")), inode(&fixture.blob_path("one")));
    assert_eq!(mode(&fixture.public("k")), 0o444);
}

#[test]
fn copy_without_hard_links_is_known_without_reading_it() {
    let fixture = without_links();
    let one = fixture.publish("k", 1, "one");
    assert_ne!(inode(&fixture.public("k")), inode(&fixture.blob_path("one")));
    assert_eq!(mode(&fixture.public("k")), 0o444);
    assert_eq!(std::fs::read(fixture.public("k")).unwrap(), b"one");
    assert_eq!(fixture.current("k"), Some(one.clone()));
    assert!(!fixture.storage.project(&key("k"), &one).unwrap().changed);
    let kept = inode(&fixture.public("k"));
    let again = fixture.publish("k", 2, "one");
    assert_eq!(inode(&fixture.public("k")), kept, "equal bytes are not copied again");
    assert_eq!(fixture.current("k"), Some(again.clone()));
    assert!(!fixture.storage.project(&key("k"), &again).unwrap().changed);
    // Equal sizes: only the mark tells them apart.
    let two = fixture.publish("k", 3, "two");
    assert_eq!(fixture.current("k"), Some(two));
    assert_eq!(std::fs::read(fixture.public("k")).unwrap(), b"two");
    assert_eq!(fixture.findings(true), []);
    assert_eq!(fixture.unfinished(), [""; 0]);
}

#[test]
fn copy_changed_in_place_is_found_and_made_again() {
    let fixture = without_links();
    let one = fixture.publish("k", 1, "one");
    let path = fixture.public("k");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "owe").unwrap();
    assert_eq!(fixture.findings(false), [Finding::KeyDiffers { key: key("k"), seq: 1 }]);
    assert!(fixture.storage.project(&key("k"), &one).unwrap().changed);
    assert_eq!(std::fs::read(&path).unwrap(), b"one");
    assert!(!fixture.storage.project(&key("k"), &one).unwrap().changed, "the record has the new mark");
    assert_eq!(fixture.findings(true), []);
}

#[test]
fn copy_whose_mark_is_lost_is_known_by_its_bytes() {
    let fixture = without_links();
    fixture.publish("k", 1, "one");
    let two = fixture.publish("k", 2, "two");
    // Another inode and time, as after a restore from a backup.
    std::fs::remove_file(fixture.public("k")).unwrap();
    std::fs::write(fixture.public("k"), "two").unwrap();
    assert_eq!(fixture.current("k"), Some(two.clone()));
    assert_eq!(fixture.findings(true), []);
    assert!(fixture.storage.project(&key("k"), &two).unwrap().changed);
    assert!(!fixture.storage.project(&key("k"), &two).unwrap().changed);
}

#[test]
fn links_made_where_a_copy_was() {
    let mut fixture = without_links();
    let one = fixture.publish("k", 1, "one");
    std::fs::remove_file(fixture.public("k")).unwrap();
    fixture.storage.capabilities.hard_links = true;
    assert!(fixture.storage.project(&key("k"), &one).unwrap().changed);
    assert_eq!(inode(&fixture.public("k")), inode(&fixture.blob_path("one")));
    assert!(!fixture.storage.project(&key("k"), &one).unwrap().changed);
}

/// ext4 allows 65 000 names a file, btrfs 65 535, others more.
#[test]
fn too_many_links_emlink_falls_back_to_a_copy() {
    const NAMES_MAX: usize = 66_000;
    let fixture = fixture_in(tempfile::tempdir().unwrap());
    let blob = fixture.put("popular");
    let path = fixture.blob_path("popular");
    let names = tempfile::tempdir_in(&fixture.root).unwrap();
    let full = (0..NAMES_MAX)
        .find_map(|number| std::fs::hard_link(&path, names.path().join(number.to_string())).err());
    let Some(full) = full else {
        println!("skipped: this file system allows more than {NAMES_MAX} names for a file");
        return;
    };
    assert_eq!(full.kind(), std::io::ErrorKind::TooManyLinks);
    let object = version(1, blob);
    assert!(fixture.storage.project(&key("k"), &object).unwrap().changed);
    assert_ne!(inode(&fixture.public("k")), inode(&path));
    assert_eq!(std::fs::read(fixture.public("k")).unwrap(), b"popular");
    assert_eq!(fixture.current("k"), Some(object.clone()));
    assert!(!fixture.storage.project(&key("k"), &object).unwrap().changed);
}

/// Web servers compare whole seconds: after a move back to an older blob a reader's
/// `If-Modified-Since` must still miss, and so must nginx's ETag of seconds and size.
#[test]
fn each_version_shows_a_later_second() {
    for links in [true, false] {
        let mut fixture = fixture();
        fixture.storage.capabilities.hard_links = links;
        let mut last_s = 0;
        for (seq, text) in ["one", "two", "one", "two", "one"].into_iter().enumerate() {
            fixture.publish("k", seq as i64, text);
            let shown_s = fixture.public("k").metadata().unwrap().mtime();
            assert!(shown_s > last_s, "links {links}, version {seq}: {shown_s} after {last_s}");
            last_s = shown_s;
        }
        // Another key that shows the same blob does not turn its time back.
        fixture.publish("other", 1, "one");
        assert!(fixture.public("k").metadata().unwrap().mtime() >= last_s);
        fixture.put("one");
        assert!(fixture.public("k").metadata().unwrap().mtime() >= last_s);
    }
}

#[test]
fn storing_again_makes_a_blob_young() {
    let fixture = fixture();
    let blob = fixture.put("old");
    let file = std::fs::File::open(fixture.blob_path("old")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_500)).unwrap();
    let touched = || fixture.storage.list_blobs(None, 9).unwrap()[0].touched.0;
    assert_eq!(touched(), 1_500);
    fixture.put("old");
    assert!(touched() > 1_577_836_800_000, "after 2020");
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    fixture.storage.project(&key("k"), &version(1, blob)).unwrap();
    assert!(touched() > 1_577_836_800_000, "projecting counts too");
}
