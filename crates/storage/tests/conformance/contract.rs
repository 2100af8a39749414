//! What every storage must do, as functions over [`Storage`].

use std::collections::BTreeMap;
use std::io::Write;
use std::pin::Pin;

use gristmill_model::{Digest, ObjectKey};
use gristmill_storage::{
    Blob, Checked, Finding, ProjectError, Projected, PublicObject, Storage, StorageError,
};

/// One thing that every storage must do, given a storage that nobody has used yet.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: for<'a> fn(&'a Storage) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
}

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(crate) const CASES: &[Case] = &[$(Case { name: stringify!($name), run: |storage| Box::pin($name(storage)) }),*];
    };
}

cases! {
    blobs_are_named_by_their_bytes,
    staging_in_pieces_of_any_size,
    dropped_stage_leaves_nothing,
    equal_bytes_are_one_blob,
    missing_blob_is_told,
    positioned_reads,
    listing_blobs_pages_in_order,
    deleted_blob_is_gone_and_may_return,
    key_holds_what_was_projected,
    key_moves_forward_only,
    published_version_never_changes,
    projecting_again_changes_nothing,
    equal_bytes_under_a_new_seq_make_a_version,
    project_needs_its_blob,
    negative_seq_is_refused,
    versions_page_newest_first,
    withdrawn_key_returns_only_forward,
    version_in_use_stays,
    forgotten_key_counts_anew,
    odd_names_work,
    version_without_its_blob_is_found,
    sound_storage_has_no_findings,
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

fn version(seq: i64, blob: Blob) -> PublicObject {
    PublicObject {
        seq,
        digest: blob.digest,
        size: blob.size,
        content_type: "application/zip".to_owned(),
        metadata: BTreeMap::from([("commit".to_owned(), format!("c{seq}"))]),
    }
}

async fn put(storage: &Storage, text: &str) -> Blob {
    storage.put_bytes(text.to_owned()).await.unwrap()
}

async fn publish(storage: &Storage, name: &str, seq: i64, text: &str) -> PublicObject {
    let object = version(seq, put(storage, text).await);
    storage.project(&key(name), &object).await.unwrap();
    object
}

async fn current(storage: &Storage, name: &str) -> Option<PublicObject> {
    let shallow = storage.current(&key(name), false).await.unwrap();
    let deep = storage.current(&key(name), true).await.unwrap();
    assert_eq!(shallow, deep);
    shallow
}

async fn findings(storage: &Storage) -> (Checked, Vec<Finding>) {
    let mut found = Vec::new();
    let checked = storage.verify(true, |finding| found.push(finding)).await.unwrap();
    assert_eq!(checked.findings, found.len() as u64);
    (checked, found)
}

async fn blobs_are_named_by_their_bytes(storage: &Storage) {
    for text in ["", "a", "hello"] {
        let blob = put(storage, text).await;
        assert_eq!(blob, Blob { digest: Digest::of(text.as_bytes()), size: text.len() as u64 });
        assert!(storage.contains(&blob.digest).await.unwrap());
        let reader = storage.open_blob(&blob.digest).await.unwrap();
        assert_eq!(reader.blob(), blob);
        assert_eq!(reader.len(), blob.size);
        assert_eq!(reader.is_empty(), text.is_empty());
        assert_eq!(reader.read_range(0..blob.size).await.unwrap(), text.as_bytes());
    }
}

async fn staging_in_pieces_of_any_size(storage: &Storage) {
    const EDGE: usize = 256 * 1024;
    for pieces in [
        vec![EDGE],
        vec![EDGE - 1, 1, 1],
        vec![EDGE - 1, 2],
        vec![1, EDGE],
        vec![1, EDGE + 1, 1],
        vec![100, EDGE * 3 + 7, 0, 5],
    ] {
        let mut staged = storage.stage().await.unwrap();
        let mut whole = Vec::new();
        for (number, length) in pieces.iter().enumerate() {
            let piece: Vec<u8> = (0..*length).map(|at| (at % 251 + number) as u8).collect();
            assert_eq!(staged.write(&piece).unwrap(), *length);
            whole.extend_from_slice(&piece);
            assert_eq!(staged.size(), whole.len() as u64);
        }
        let blob = staged.commit().await.unwrap();
        assert_eq!(blob, Blob { digest: Digest::of(&whole), size: whole.len() as u64 }, "{pieces:?}");
        let reader = storage.open_blob(&blob.digest).await.unwrap();
        assert!(reader.read_range(0..blob.size).await.unwrap() == whole, "{pieces:?}");
    }
}

async fn dropped_stage_leaves_nothing(storage: &Storage) {
    let mut staged = storage.stage().await.unwrap();
    staged.write_all(b"never committed").unwrap();
    staged.flush().unwrap();
    drop(staged);
    assert!(!storage.contains(&Digest::of(b"never committed")).await.unwrap());
    assert_eq!(storage.list_blobs(None, 10).await.unwrap(), []);
}

async fn equal_bytes_are_one_blob(storage: &Storage) {
    let first = put(storage, "same").await;
    assert_eq!(put(storage, "same").await, first);
    let mut raced = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let storage = storage.clone();
        raced.spawn(async move { storage.put_bytes("raced").await.unwrap() });
    }
    for blob in raced.join_all().await {
        assert_eq!(blob.digest, Digest::of(b"raced"));
    }
    assert_eq!(storage.list_blobs(None, 10).await.unwrap().len(), 2);
}

async fn missing_blob_is_told(storage: &Storage) {
    let absent = Digest::of(b"absent");
    assert!(!storage.contains(&absent).await.unwrap());
    assert!(!storage.delete_blob(&absent).await.unwrap());
    match storage.open_blob(&absent).await {
        Err(StorageError::BlobMissing { digest }) => assert_eq!(digest, absent),
        other => panic!("{other:?}"),
    }
}

async fn positioned_reads(storage: &Storage) {
    let blob = put(storage, "0123456789").await;
    let reader = storage.open_blob(&blob.digest).await.unwrap();
    let mut four = [0; 4];
    assert_eq!(reader.read_at(&mut four, 3).unwrap(), 4);
    assert_eq!(&four, b"3456");
    assert_eq!(reader.read_at(&mut four, 8).unwrap(), 2);
    assert_eq!(reader.read_at(&mut four, 10).unwrap(), 0);
    reader.read_exact_at(&mut four, 6).unwrap();
    assert_eq!(&four, b"6789");
    assert_eq!(reader.read_exact_at(&mut four, 7).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(reader.read_range(2..5).await.unwrap(), b"234");
    assert_eq!(reader.read_range(10..10).await.unwrap(), b"");
    for outside in [0..11, 11..11, 0..u64::MAX, std::ops::Range { start: 5, end: 4 }] {
        assert!(matches!(reader.read_range(outside).await, Err(StorageError::Io { .. })));
    }
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reader.to_file().unwrap(), &mut text).unwrap();
    assert_eq!(text, "0123456789");
}

async fn listing_blobs_pages_in_order(storage: &Storage) {
    let mut expected = Vec::new();
    for number in 0..40 {
        expected.push(put(storage, &"x".repeat(number)).await);
    }
    expected.sort_by_key(|blob| blob.digest);
    for limit in [1, 7, 40, 41] {
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = storage.list_blobs(after, limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some(last.blob.digest);
            listed.extend(page);
        }
        assert_eq!(listed.iter().map(|entry| entry.blob).collect::<Vec<_>>(), expected, "{limit}");
        let year_2020_ms = 1_577_836_800_000;
        let year_2200_ms = 7_258_118_400_000;
        assert!(listed.iter().all(|entry| (year_2020_ms..year_2200_ms).contains(&entry.touched.0)));
    }
}

async fn deleted_blob_is_gone_and_may_return(storage: &Storage) {
    let blob = put(storage, "once").await;
    let reader = storage.open_blob(&blob.digest).await.unwrap();
    assert!(storage.delete_blob(&blob.digest).await.unwrap());
    assert!(!storage.delete_blob(&blob.digest).await.unwrap());
    assert!(!storage.contains(&blob.digest).await.unwrap());
    assert_eq!(reader.read_range(0..4).await.unwrap(), b"once");
    assert_eq!(put(storage, "once").await, blob);
    assert!(storage.contains(&blob.digest).await.unwrap());
}

async fn key_holds_what_was_projected(storage: &Storage) {
    assert_eq!(current(storage, "acme/shop/main.zip").await, None);
    let object = version(3, put(storage, "three").await);
    let projected = storage.project(&key("acme/shop/main.zip"), &object).await.unwrap();
    assert!(projected.changed);
    assert!(!projected.version_id.is_empty());
    assert_eq!(current(storage, "acme/shop/main.zip").await, Some(object));
    assert_eq!(current(storage, "acme/shop").await, None);
    assert_eq!(current(storage, "acme/shop/other.zip").await, None);
    let later = publish(storage, "acme/shop/main.zip", 7, "seven").await;
    assert_eq!(current(storage, "acme/shop/main.zip").await, Some(later));
}

async fn key_moves_forward_only(storage: &Storage) {
    let held = publish(storage, "k", 5, "five").await;
    let late = version(4, put(storage, "four").await);
    match storage.project(&key("k"), &late).await {
        Err(ProjectError::Older { key, seq: 4, current: 5 }) => assert_eq!(key.as_str(), "k"),
        other => panic!("{other:?}"),
    }
    assert_eq!(current(storage, "k").await, Some(held.clone()));
    assert_eq!(storage.versions(&key("k"), None, 9).await.unwrap(), [held]);
    assert_eq!(findings(storage).await.1, []);
}

async fn published_version_never_changes(storage: &Storage) {
    let held = publish(storage, "k", 5, "five").await;
    let other = version(5, put(storage, "other").await);
    match storage.project(&key("k"), &other).await {
        Err(ProjectError::Taken { seq: 5, recorded, .. }) => assert_eq!(recorded, held.digest),
        other => panic!("{other:?}"),
    }
    assert_eq!(current(storage, "k").await, Some(held));
}

async fn projecting_again_changes_nothing(storage: &Storage) {
    let held = publish(storage, "k", 5, "five").await;
    let first = storage.project(&key("k"), &held).await.unwrap();
    assert!(!first.changed);
    let renamed = PublicObject { content_type: "text/plain".to_owned(), ..held.clone() };
    let again = storage.project(&key("k"), &renamed).await.unwrap();
    assert_eq!(again, Projected { version_id: first.version_id, changed: false, may_go_on: false });
    assert_eq!(current(storage, "k").await, Some(held));
}

async fn equal_bytes_under_a_new_seq_make_a_version(storage: &Storage) {
    let first = publish(storage, "k", 1, "same").await;
    let second = version(2, put(storage, "same").await);
    assert!(storage.project(&key("k"), &second).await.unwrap().changed);
    assert_eq!(current(storage, "k").await, Some(second.clone()));
    assert_eq!(storage.versions(&key("k"), None, 9).await.unwrap(), [second, first]);
    let back = publish(storage, "k", 3, "else").await;
    assert_eq!(current(storage, "k").await, Some(back));
    let again = publish(storage, "k", 4, "same").await;
    assert_eq!(current(storage, "k").await, Some(again));
    assert_eq!(findings(storage).await.1, []);
}

async fn project_needs_its_blob(storage: &Storage) {
    let absent = Blob { digest: Digest::of(b"absent"), size: 6 };
    match storage.project(&key("a/k"), &version(1, absent)).await {
        Err(ProjectError::Storage(StorageError::BlobMissing { digest })) => assert_eq!(digest, absent.digest),
        other => panic!("{other:?}"),
    }
    let there = put(storage, "there").await;
    match storage.project(&key("a/k"), &version(1, Blob { size: 6, ..there })).await {
        Err(ProjectError::SizeDiffers { digest, expected: 6, actual: 5, .. }) => {
            assert_eq!(digest, there.digest);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(current(storage, "a/k").await, None);
    assert_eq!(storage.versions(&key("a/k"), None, 9).await.unwrap(), []);
}

async fn negative_seq_is_refused(storage: &Storage) {
    let blob = put(storage, "x").await;
    let outcome = storage.project(&key("k"), &version(-1, blob)).await;
    assert!(matches!(outcome, Err(ProjectError::NegativeSeq { seq: -1, .. })), "{outcome:?}");
    for seq in [0, i64::MAX] {
        let object = version(seq, blob);
        storage.project(&key("k"), &object).await.unwrap();
        assert_eq!(current(storage, "k").await, Some(object));
    }
}

async fn versions_page_newest_first(storage: &Storage) {
    assert_eq!(storage.versions(&key("k"), None, 9).await.unwrap(), []);
    for seq in [1, 2, 5, 10, 100] {
        publish(storage, "k", seq, &format!("text {seq}")).await;
    }
    let seqs = async |before, limit| {
        let page = storage.versions(&key("k"), before, limit).await.unwrap();
        page.iter().map(|object| object.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(None, 2).await, [100, 10]);
    assert_eq!(seqs(Some(10), 2).await, [5, 2]);
    assert_eq!(seqs(Some(2), 2).await, [1]);
    assert_eq!(seqs(Some(1), 2).await, [0; 0]);
    assert_eq!(seqs(None, 0).await, [0; 0]);
    assert_eq!(seqs(Some(6), 9).await, [5, 2, 1]);
}

async fn withdrawn_key_returns_only_forward(storage: &Storage) {
    assert!(!storage.withdraw(&key("a/k")).await.unwrap());
    publish(storage, "a/k", 1, "one").await;
    let two = publish(storage, "a/k", 2, "two").await;
    assert!(storage.withdraw(&key("a/k")).await.unwrap());
    assert!(!storage.withdraw(&key("a/k")).await.unwrap());
    assert_eq!(current(storage, "a/k").await, None);
    assert_eq!(storage.versions(&key("a/k"), None, 9).await.unwrap().len(), 2);
    assert_eq!(findings(storage).await.1, []);
    let late = version(1, put(storage, "one").await);
    let outcome = storage.project(&key("a/k"), &late).await;
    assert!(matches!(outcome, Err(ProjectError::Older { seq: 1, current: 2, .. })), "{outcome:?}");
    assert!(storage.project(&key("a/k"), &two).await.unwrap().changed);
    assert!(!storage.project(&key("a/k"), &two).await.unwrap().changed);
    assert_eq!(current(storage, "a/k").await, Some(two));
    assert!(storage.withdraw(&key("a/k")).await.unwrap());
    let three = publish(storage, "a/k", 3, "three").await;
    assert_eq!(current(storage, "a/k").await, Some(three));
    assert_eq!(findings(storage).await.1, []);
}

async fn version_in_use_stays(storage: &Storage) {
    publish(storage, "k", 1, "one").await;
    let two = publish(storage, "k", 2, "two").await;
    let outcome = storage.delete_version(&key("k"), 2, None).await;
    assert!(matches!(outcome, Err(ProjectError::InUse { seq: 2, .. })), "{outcome:?}");
    assert!(storage.delete_version(&key("k"), 1, None).await.unwrap());
    assert!(!storage.delete_version(&key("k"), 1, None).await.unwrap());
    assert!(!storage.delete_version(&key("other"), 1, None).await.unwrap());
    assert_eq!(storage.versions(&key("k"), None, 9).await.unwrap(), std::slice::from_ref(&two));
    assert_eq!(current(storage, "k").await, Some(two.clone()));
}

async fn forgotten_key_counts_anew(storage: &Storage) {
    publish(storage, "k", 7, "seven").await;
    publish(storage, "k", 8, "eight").await;
    storage.withdraw(&key("k")).await.unwrap();
    assert!(storage.delete_version(&key("k"), 8, None).await.unwrap());
    // Version 8 is off the record and still keeps version 7 from coming back.
    let seven = version(7, put(storage, "seven").await);
    let outcome = storage.project(&key("k"), &seven).await;
    assert!(matches!(outcome, Err(ProjectError::Older { seq: 7, current: 8, .. })), "{outcome:?}");
    assert!(storage.delete_version(&key("k"), 7, None).await.unwrap());
    let anew = publish(storage, "k", 1, "one").await;
    assert_eq!(current(storage, "k").await, Some(anew));
    assert_eq!(findings(storage).await.1, []);
}

async fn odd_names_work(storage: &Storage) {
    let longest = "n".repeat(255);
    let names = [
        "con",
        "CON",
        "con.txt",
        "nul",
        "trailing.",
        "trailing ",
        " leading",
        "-dash",
        "..dots",
        "a:b",
        "a\\b",
        "grüße/日本語/🦀.zip",
        "e\u{301}",
        "\u{e9}",
        "a?b*c",
        "%2e%2e",
        "Aa",
        "aA",
        "#",
        "withdrawn.json",
        longest.as_str(),
    ];
    for (seq, name) in names.iter().enumerate() {
        let object = publish(storage, name, seq as i64, name).await;
        assert_eq!(current(storage, name).await, Some(object), "{name}");
    }
    assert_eq!(findings(storage).await.1, []);
    for name in names {
        assert!(storage.withdraw(&key(name)).await.unwrap(), "{name}");
        assert_eq!(current(storage, name).await, None, "{name}");
    }
}

async fn version_without_its_blob_is_found(storage: &Storage) {
    let held = publish(storage, "k", 4, "four").await;
    storage.delete_blob(&held.digest).await.unwrap();
    let missing = Finding::VersionBlobMissing { key: "k".to_owned(), seq: 4, digest: held.digest };
    assert_eq!(findings(storage).await.1, [missing]);
    assert_eq!(current(storage, "k").await, Some(held), "readers still get it");
    publish(storage, "k", 5, "four").await;
    assert_eq!(findings(storage).await.1, []);
}

async fn sound_storage_has_no_findings(storage: &Storage) {
    assert_eq!(findings(storage).await, (Checked::default(), vec![]));
    publish(storage, "a/b", 1, "12345").await;
    publish(storage, "a/c", 1, "12345").await;
    publish(storage, "a/c", 2, "1234567").await;
    let (checked, found) = findings(storage).await;
    assert_eq!(checked, Checked { blobs: 2, bytes: 12, keys: 2, versions: 3, findings: 0 });
    assert_eq!(found, []);
}
