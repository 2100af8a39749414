//! What is synced, and in which order.

use super::super::{FileStorage, trace};
use super::*;

impl Fixture {
    /// The steps since the last call; a file in `tmp/` is `T`, the key's versions `V`.
    fn steps(&self, name: &str) -> Vec<String> {
        let root = format!("{}/", self.root.display());
        let shown = |step: String| {
            let step = step.replace(&root, "").replace(&self.versions_path(name), "V");
            match step.split_once(" tmp/") {
                Some((verb, _)) => format!("{verb} T"),
                None => step,
            }
        };
        trace::take().into_iter().map(shown).collect()
    }
}

#[test]
fn blob_is_synced_before_it_has_its_name_and_the_name_before_it_counts() {
    let fixture = fixture();
    fixture.steps("");
    fixture.put("bytes");
    let path = fixture.blob_path("bytes");
    let name = path.strip_prefix(&fixture.root).unwrap().display().to_string();
    let folder = name.rsplit_once('/').unwrap().0.to_owned();
    let synced = format!("sync {folder}");
    assert_eq!(fixture.steps(""), ["sync T".to_owned(), format!("rename to {name}"), synced.clone()]);
    fixture.put("bytes");
    assert_eq!(fixture.steps(""), [synced], "whoever stored it first may have died before this");
}

#[test]
fn project_record_first_then_the_file_then_the_folder() {
    let fixture = fixture();
    let (one, two) = (fixture.put("one"), fixture.put("two"));
    fixture.steps("");
    fixture.storage.project(&key("a/b/k"), &version(1, one)).unwrap();
    let record = |seq| format!("rename to V/000000000000000000{seq}.json");
    let first: &[&str] = &[
        "sync versions",
        "sync T",
        &record(1),
        "sync V",
        "rename to public/a",
        "sync public",
        "rename to public/a/b",
        "sync public/a",
        "rename to public/a/b/k",
        "sync public/a/b",
    ];
    assert_eq!(fixture.steps("a/b/k"), first);
    fixture.storage.project(&key("a/b/k"), &version(2, two)).unwrap();
    let next: &[&str] = &["sync T", &record(2), "sync V", "rename to public/a/b/k", "sync public/a/b"];
    assert_eq!(fixture.steps("a/b/k"), next);
    fixture.storage.project(&key("a/b/k"), &version(2, two)).unwrap();
    assert_eq!(fixture.steps("a/b/k"), ["sync public/a/b", "sync versions", "sync V"]);
    fixture.storage.project(&key("a/b/k"), &version(3, two)).unwrap();
    let same_bytes: &[&str] = &["sync public/a/b", "sync T", &record(3), "sync V"];
    assert_eq!(fixture.steps("a/b/k"), same_bytes);
    std::fs::remove_file(fixture.public("a/b/k")).unwrap();
    fixture.storage.project(&key("a/b/k"), &version(3, two)).unwrap();
    let repaired: &[&str] = &[
        "sync versions",
        "sync V",
        "sync public",
        "sync public/a",
        "rename to public/a/b/k",
        "sync public/a/b",
    ];
    assert_eq!(fixture.steps("a/b/k"), repaired, "folders that are there are synced for a new name");
}

#[test]
fn copy_is_synced_before_readers_see_it() {
    let mut fixture = fixture();
    fixture.storage.capabilities.hard_links = false;
    let one = fixture.put("one");
    fixture.steps("");
    fixture.storage.project(&key("k"), &version(1, one)).unwrap();
    let expected: &[&str] = &[
        "sync T",
        "sync versions",
        "sync T",
        "rename to V/0000000000000000001.json",
        "sync V",
        "rename to public/k",
        "sync public",
    ];
    assert_eq!(fixture.steps("k"), expected);
}

#[test]
fn withdrawal_is_noted_before_the_file_goes() {
    let fixture = fixture();
    let one = fixture.publish("a/k", 1, "one");
    fixture.steps("");
    fixture.storage.withdraw(&key("a/k")).unwrap();
    assert_eq!(fixture.steps("a/k"), ["sync T", "rename to V/withdrawn.json", "sync V", "sync public/a"]);
    fixture.storage.project(&key("a/k"), &one).unwrap();
    let back: &[&str] = &[
        "sync versions",
        "sync V",
        "rename to public/a",
        "sync public",
        "rename to public/a/k",
        "sync public/a",
        "sync V",
    ];
    assert_eq!(fixture.steps("a/k"), back, "the last is the note's removal");
}

#[test]
fn deletions_are_synced() {
    let fixture = fixture();
    fixture.publish("k", 1, "one");
    fixture.publish("k", 2, "two");
    fixture.steps("");
    fixture.storage.delete_version(&key("k"), 1).unwrap();
    assert_eq!(fixture.steps("k"), ["sync V"]);
    let blob = fixture.put("gone");
    fixture.steps("");
    fixture.storage.delete_blob(&blob.digest).unwrap();
    let folder = format!("sync blobs/sha256/{}", &blob.digest.to_hex()[..2]);
    assert_eq!(fixture.steps("k"), [folder]);
}

#[test]
fn open_syncs_what_blobs_lie_in() {
    let fixture = fixture();
    let opened = fixture.steps("");
    let above: Vec<String> =
        fixture.root.ancestors().skip(1).map(|path| format!("sync {}", path.display())).collect();
    assert_eq!(opened[..above.len()], above, "a new folder's parents");
    let root = format!("sync {}", fixture.root.display());
    let within = ["sync blobs/sha256".to_owned(), "sync blobs".to_owned(), root, "sync T".to_owned()];
    assert_eq!(opened[above.len()..], within);
    drop(FileStorage::open(&fixture.root).unwrap());
    assert_eq!(fixture.steps(""), within);
}
