//! What is of buckets alone, over moto with a proxy before it.

use std::collections::BTreeMap;
use std::io::Write;

use gristmill_model::{Digest, ObjectKey};
use gristmill_storage::{
    Blob, CopiedRange, Finding, ProjectError, PublicObject, S3Settings, Storage, StorageError, StorageUrl,
    create_bucket,
};

use crate::moto::Moto;
use crate::proxy::{Proxy, Trick, call};

const MIB: usize = 1 << 20;

struct Bench {
    moto: Moto,
    proxy: Proxy,
    storage: Storage,
}

impl Bench {
    async fn start(test: &str) -> Option<Bench> {
        let moto = Moto::start(test)?;
        create_bucket("bucket", &moto.settings("made")).await.unwrap();
        let proxy = Proxy::start(moto.url());
        let storage = Storage::open(&url(), &settings(&moto, &proxy)).await.unwrap();
        proxy.calls();
        Some(Bench { moto, proxy, storage })
    }

    /// Another process, with a cache of its own.
    async fn other(&self) -> Storage {
        let settings =
            S3Settings { cache: self.moto.folder().join("other"), ..settings(&self.moto, &self.proxy) };
        let storage = Storage::open(&url(), &settings).await.unwrap();
        self.proxy.calls();
        storage
    }

    async fn put(&self, text: &str) -> Blob {
        let blob = self.storage.put_bytes(text.to_owned()).await.unwrap();
        self.proxy.calls();
        blob
    }
}

fn settings(moto: &Moto, proxy: &Proxy) -> S3Settings {
    S3Settings { endpoint: Some(proxy.url.clone()), ..moto.settings("cache") }
}

fn url() -> StorageUrl {
    "s3://bucket/p".parse().unwrap()
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

fn version(seq: i64, blob: Blob) -> PublicObject {
    let metadata = BTreeMap::from([("ref".to_owned(), "refs/heads/grüße".to_owned())]);
    PublicObject {
        seq,
        digest: blob.digest,
        size: blob.size,
        content_type: "application/zip".to_owned(),
        metadata,
    }
}

/// Bytes that nothing repeats.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_bytes_to_visible_in_eight_round_trips() {
    let Some(bench) = Bench::start("from_bytes_to_visible_in_eight_round_trips").await else { return };
    let archive = bench.storage.put_bytes("archive").await.unwrap();
    let index = bench.storage.put_bytes("index").await.unwrap();
    for blob in [archive, index] {
        assert!(bench.storage.contains(&blob.digest).await.unwrap());
    }
    bench.storage.project(&key("k"), &version(1, archive)).await.unwrap();
    let calls = bench.proxy.kinds();
    assert_eq!(calls, ["HEAD", "PUT", "HEAD", "PUT", "HEAD", "HEAD", "HEAD", "COPY"]);
    // What is there is not sent again, and what is shown is not copied again.
    bench.storage.put_bytes("archive").await.unwrap();
    assert!(!bench.storage.project(&key("k"), &version(1, archive)).await.unwrap().changed);
    assert_eq!(bench.proxy.kinds(), ["HEAD", "HEAD"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_whose_answer_is_lost_is_not_made_twice() {
    let Some(bench) = Bench::start("a_copy_whose_answer_is_lost_is_not_made_twice").await else { return };
    for (seq, trick) in [(1, Trick::LoseAnswer), (2, Trick::CutAfter(20))] {
        let object = version(seq, bench.put(&format!("text {seq}")).await);
        bench.proxy.play("COPY", trick);
        let projected = bench.storage.project(&key("k"), &object).await.unwrap();
        assert!(projected.changed);
        assert_eq!(bench.proxy.kinds().iter().filter(|kind| *kind == "COPY").count(), 1, "{trick:?}");
        let again = bench.storage.project(&key("k"), &object).await.unwrap();
        assert_eq!((again.version_id, again.changed), (projected.version_id, false));
        assert_eq!(bench.storage.current(&key("k"), true).await.unwrap(), Some(object));
        bench.proxy.calls();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_did_not_happen_is_made_again() {
    const ERROR_WITHIN: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: 113\r\n\r\n<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code><Message>We encountered an internal error</Message></Error>";
    const FAILED: &str = "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n";
    const DENIED: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    let Some(bench) = Bench::start("a_copy_that_did_not_happen_is_made_again").await else { return };
    for (seq, answer) in [(1, ERROR_WITHIN), (2, FAILED), (3, DENIED)] {
        let object = version(seq, bench.put(&format!("text {seq}")).await);
        bench.proxy.play("COPY", Trick::Answer(answer));
        assert!(bench.storage.project(&key("k"), &object).await.unwrap().changed, "{answer}");
        assert_eq!(bench.proxy.kinds().iter().filter(|kind| *kind == "COPY").count(), 2, "{answer}");
        assert_eq!(bench.storage.current(&key("k"), false).await.unwrap(), Some(object));
        bench.proxy.calls();
    }
    // Elsewhere the SDK tries again.
    for answer in [FAILED, DENIED] {
        bench.proxy.play("PUT", Trick::Answer(answer));
        bench.proxy.play("HEAD", Trick::Answer(answer));
        let blob = bench.storage.put_bytes(answer).await.unwrap();
        assert!(bench.storage.contains(&blob.digest).await.unwrap());
        bench.proxy.calls();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_is_cut_off_goes_on() {
    let Some(bench) = Bench::start("a_download_that_is_cut_off_goes_on").await else { return };
    let blob = bench.storage.put_bytes(noise(1, MIB)).await.unwrap();
    let other = bench.other().await;
    bench.proxy.play("GET", Trick::CutAfter(300_000));
    let reader = other.open_blob(&blob.digest).await.unwrap();
    assert_eq!(reader.read_range(0..blob.size).await.unwrap(), noise(1, MIB));
    assert_eq!(bench.proxy.kinds(), ["GET", "GET"]);
    // The copy on this machine needs nobody.
    other.open_blob(&blob.digest).await.unwrap();
    assert_eq!(bench.proxy.kinds(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_blob_has_is_copied_there() {
    let Some(bench) = Bench::start("what_an_older_blob_has_is_copied_there").await else { return };
    let old = noise(1, 40 * MIB);
    let base = bench.storage.put_bytes(old.clone()).await.unwrap();
    let sent = |calls: Vec<crate::proxy::Call>| calls.iter().map(|call| call.body_bytes).sum::<usize>();
    assert!(sent(bench.proxy.calls()) >= 40 * MIB);
    // 1 MiB of other bytes in the middle, and the beginning left out: all else moves.
    let new = [&old[100..20 * MIB], &noise(2, MIB), &old[20 * MIB..]].concat();
    let ranges = vec![
        CopiedRange { to: 0, from: 100, len: (20 * MIB - 100) as u64 },
        CopiedRange { to: (21 * MIB - 100) as u64, from: (20 * MIB) as u64, len: (20 * MIB) as u64 },
    ];
    for (ranges, most) in
        [(ranges, 6 * MIB), (vec![CopiedRange { to: 0, from: 0, len: 20 * MIB as u64 }], 90 * MIB)]
    {
        let mut staged = bench.storage.stage().await.unwrap();
        staged.write_all(&new).unwrap();
        staged.say_copied(base.digest, ranges);
        let blob = staged.commit().await.unwrap();
        assert_eq!(blob, Blob { digest: Digest::of(&new), size: new.len() as u64 });
        assert!(sent(bench.proxy.calls()) < most);
        let other = bench.other().await;
        let reader = other.open_blob(&blob.digest).await.unwrap();
        assert!(reader.read_range(0..blob.size).await.unwrap() == new);
        // What is said to be equal and is not, is found out: the second round tells lies.
        assert!(bench.storage.delete_blob(&blob.digest).await.unwrap());
        assert!(other.delete_blob(&blob.digest).await.is_ok());
        bench.proxy.calls();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_say_what_to_do_and_hold_no_credential() {
    let Some(bench) = Bench::start("errors_say_what_to_do_and_hold_no_credential").await else { return };
    const ECHO: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 152\r\n\r\n<Error><Code>SignatureDoesNotMatch</Code><Message>AWS4-HMAC-SHA256 Credential=AKIATEST/x Signature=0123 not-a-secret</Message>                     </Error>";
    for _ in 0..3 {
        bench.proxy.play("GET", Trick::Answer(ECHO));
    }
    let error = bench.storage.list_blobs(None, 1).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(error.is_transient() && text.contains("check the key"), "{text}");
    assert!(!text.contains("AKIATEST") && !text.contains("0123") && !text.contains("not-a-secret"), "{text}");
    let absent: StorageUrl = "s3://no-such-bucket".parse().unwrap();
    match Storage::open(&absent, &bench.moto.settings("absent")).await {
        Err(error @ StorageError::Bucket { .. }) => {
            assert!(!error.is_transient() && error.to_string().contains("doctor --create-bucket"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let nowhere =
        S3Settings { endpoint: Some("http://127.0.0.1:9".to_owned()), ..bench.moto.settings("nowhere") };
    let error = Storage::open(&url(), &nowhere).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("check endpoint"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_somebody_else_at_a_key() {
    let Some(bench) = Bench::start("an_object_of_somebody_else_at_a_key").await else { return };
    assert!(bench.storage.capabilities().bucket().unwrap().versions);
    assert_eq!(call(bench.moto.url(), "PUT", "/bucket/p/k", "theirs"), 200);
    assert!(matches!(
        bench.storage.current(&key("k"), false).await,
        Err(ProjectError::Storage(StorageError::Damaged { .. }))
    ));
    let mut found = Vec::new();
    bench.storage.verify(false, |finding| found.push(finding)).await.unwrap();
    assert_eq!(found, [Finding::StrayPublic { path: "p/k".to_owned() }]);
    let object = version(1, bench.put("ours").await);
    assert!(bench.storage.project(&key("k"), &object).await.unwrap().changed);
    assert_eq!(bench.storage.current(&key("k"), true).await.unwrap(), Some(object.clone()));
    // Somebody writes over it: it is seen, and projecting again repairs it.
    assert_eq!(call(bench.moto.url(), "PUT", "/bucket/p/k", "theirs"), 200);
    assert!(bench.storage.project(&key("k"), &object).await.unwrap().changed);

    assert_eq!(call(bench.moto.url(), "PUT", "/plain", ""), 200);
    assert_eq!(call(bench.moto.url(), "PUT", "/plain/k", "theirs"), 200);
    let plain: StorageUrl = "s3://plain".parse().unwrap();
    let storage = Storage::open(&plain, &bench.moto.settings("plain")).await.unwrap();
    assert!(!storage.capabilities().bucket().unwrap().versions);
    assert!(storage.capabilities().to_string().starts_with("NOT versioned"));
    storage.put_bytes("ours").await.unwrap();
    let outcome = storage.project(&key("k"), &object).await;
    assert!(matches!(outcome, Err(ProjectError::Blocked { .. })), "{outcome:?}");
    let projected = storage.project(&key("other"), &object).await.unwrap();
    assert_eq!(projected.version_id, "null");
    assert_eq!(storage.versions(&key("other"), None, 9).await.unwrap(), [object]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_go_by_their_ids() {
    let Some(bench) = Bench::start("versions_go_by_their_ids").await else { return };
    let mut ids = Vec::new();
    for seq in 1..=3 {
        let object = version(seq, bench.put(&format!("text {seq}")).await);
        ids.push(bench.storage.project(&key("k"), &object).await.unwrap().version_id);
    }
    // An id that names another version takes nothing away.
    assert!(!bench.storage.delete_version(&key("k"), 1, Some(&ids[1])).await.unwrap());
    assert!(!bench.storage.delete_version(&key("k"), 1, Some("no-such-id")).await.unwrap());
    let outcome = bench.storage.delete_version(&key("k"), 3, Some(&ids[2])).await;
    assert!(matches!(outcome, Err(ProjectError::InUse { seq: 3, .. })), "{outcome:?}");
    bench.proxy.calls();
    assert!(bench.storage.delete_version(&key("k"), 1, Some(&ids[0])).await.unwrap());
    assert_eq!(bench.proxy.kinds(), ["HEAD", "HEAD", "DELETE"]);
    let seqs = async || {
        let versions = bench.storage.versions(&key("k"), None, 9).await.unwrap();
        versions.iter().map(|object| object.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs().await, [3, 2]);
    bench.storage.purge_key(&key("k")).await.unwrap();
    assert_eq!(seqs().await, [0; 0]);
    assert_eq!(bench.storage.current(&key("k"), false).await.unwrap(), None);
}
