//! What is of buckets alone, with a proxy before the server.

use std::collections::BTreeMap;
use std::io::Write;

use gristmill_model::{Digest, ObjectKey};
use gristmill_storage::{
    Blob, CopiedRange, Finding, Opening, ProjectError, PublicObject, Storage, StorageError, StorageUrl,
    create_bucket,
};
use gristmill_testkit::faults::{Fault, Operation, Proxy, Rule};
use gristmill_testkit::s3::{Kind, Server};

use crate::servers::settings;

const MIB: usize = 1 << 20;

struct Bench {
    server: &'static Server,
    folder: tempfile::TempDir,
    bucket: String,
    proxy: Proxy,
    storage: Storage,
}

impl Bench {
    async fn start(kind: Kind, test: &str) -> Option<Bench> {
        let server = Server::shared(kind, &format!("bucket::{test}::{}", kind.name()))?;
        let folder = tempfile::tempdir().unwrap();
        let bucket = server.bucket(true);
        let proxy = Proxy::start(&server.endpoint);
        let settings = settings(server, &proxy.endpoint(), folder.path(), "cache");
        let storage = Storage::open(&url(&bucket), &settings, Opening::Anew).await.unwrap();
        proxy.take_seen();
        Some(Bench { server, folder, bucket, proxy, storage })
    }

    /// Another process, with a cache of its own.
    async fn other(&self) -> Storage {
        let cache = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        let cache = cache.file_name().unwrap().to_str().unwrap().to_owned();
        let settings = settings(self.server, &self.proxy.endpoint(), self.folder.path(), &cache);
        let storage = Storage::open(&url(&self.bucket), &settings, Opening::Anew).await.unwrap();
        self.proxy.take_seen();
        storage
    }

    async fn put(&self, text: &str) -> Blob {
        let blob = self.storage.put_bytes(text.to_owned()).await.unwrap();
        self.proxy.take_seen();
        blob
    }

    /// The operations since this was asked last.
    fn calls(&self) -> Vec<Operation> {
        self.proxy.take_seen().into_iter().map(|seen| seen.operation).collect()
    }

    /// How many versions a key has.
    fn version_ids(&self, key: &str) -> usize {
        let target = format!("/{}?prefix={}&versions=", self.bucket, key.replace('/', "%2F"));
        let listed = self.server.client().expect(200, "GET", &target, &[], b"").unwrap();
        listed.text().matches("<VersionId>").count()
    }
}

pub(crate) fn url(bucket: &str) -> StorageUrl {
    format!("s3://{bucket}/p").parse().unwrap()
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
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
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

/// Runs a test over both servers whose buckets have versions, one after the other.
macro_rules! over_both {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            use gristmill_testkit::s3::Kind;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn moto() {
                if let Some(bench) = super::Bench::start(Kind::Moto, stringify!($name)).await {
                    super::$name(bench).await;
                }
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn radosgw() {
                if let Some(bench) = super::Bench::start(Kind::Radosgw, stringify!($name)).await {
                    super::$name(bench).await;
                }
            }
        }
    )*};
}

over_both! {
    from_bytes_to_visible_in_eight_round_trips,
    a_copy_whose_answer_is_lost_is_not_made_twice,
    a_copy_that_did_not_happen_is_made_again,
    what_is_refused_after_a_copy_without_answer_leaves_it_open,
    an_upload_of_parts_survives_any_answer,
    a_download_that_is_cut_off_goes_on,
    what_an_older_blob_has_is_copied_there,
    an_object_of_somebody_else_at_a_key,
    versions_go_by_their_ids,
}

async fn from_bytes_to_visible_in_eight_round_trips(bench: Bench) {
    let archive = bench.storage.put_bytes("archive").await.unwrap();
    let index = bench.storage.put_bytes("index").await.unwrap();
    for blob in [archive, index] {
        assert!(bench.storage.contains(&blob.digest).await.unwrap());
    }
    bench.storage.project(&key("k"), &version(1, archive)).await.unwrap();
    let (head, put) = (Operation::HeadObject, Operation::PutObject);
    let mut expected = vec![head, put, head, put, head, head, head, Operation::CopyObject];
    if bench.server.kind == Kind::Radosgw {
        // It says neither that a key was never there nor which version a copy made.
        expected.insert(7, Operation::ListObjectVersions);
        expected.push(head);
    }
    assert_eq!(bench.calls(), expected);
    // What is there is not sent again, and what is shown is not copied again.
    bench.storage.put_bytes("archive").await.unwrap();
    assert!(!bench.storage.project(&key("k"), &version(1, archive)).await.unwrap().changed);
    assert_eq!(bench.calls(), [head, head]);
}

async fn a_copy_whose_answer_is_lost_is_not_made_twice(bench: Bench) {
    let faults = [
        Fault::ResetAfter,
        Fault::Truncate(20),
        Fault::DoneThenStatus(500),
        Fault::DoneThenStatus(503),
        Fault::DoneThenHang,
    ];
    for (seq, fault) in (1..).zip(faults) {
        let object = version(seq, bench.put(&format!("text {seq}")).await);
        bench.proxy.rule(Rule::new(fault).on(Operation::CopyObject).times(1));
        let projected = bench.storage.project(&key("k"), &object).await.unwrap();
        assert!(projected.changed);
        // It may happen once more and late, where the bucket would not refuse it.
        assert_eq!(projected.may_go_on, !bench.storage.capabilities().ends_with_its_caller(), "{fault:?}");
        assert_eq!(bench.proxy.count(Operation::CopyObject), 1, "{fault:?}");
        let again = bench.storage.project(&key("k"), &object).await.unwrap();
        assert_eq!((again.version_id, again.changed), (projected.version_id, false));
        assert_eq!(bench.storage.current(&key("k"), true).await.unwrap(), Some(object));
        assert_eq!(bench.version_ids("p/k"), usize::try_from(seq).unwrap(), "{fault:?}");
        bench.proxy.take_seen();
    }
}

async fn what_is_refused_after_a_copy_without_answer_leaves_it_open(bench: Bench) {
    bench.storage.project(&key("k"), &version(2, bench.put("two").await)).await.unwrap();
    // Surely refused, and nothing is under way.
    let refused = bench.storage.project(&key("k"), &version(1, bench.put("one").await)).await.unwrap_err();
    assert!(!refused.may_go_on(), "{refused}");
    let three = version(3, bench.put("three").await);
    bench.proxy.rule(Rule::new(Fault::ResetBefore).on(Operation::CopyObject).times(1));
    bench.proxy.rule(Rule::new(Fault::Status(404)).on(Operation::HeadObject).key("/blobs/").times(9));
    let refused = bench.storage.project(&key("k"), &three).await.unwrap_err();
    assert!(refused.may_go_on() && refused.is_transient(), "{refused}");
    bench.proxy.heal();
    assert!(bench.storage.project(&key("k"), &three).await.unwrap().changed);
}

async fn a_copy_that_did_not_happen_is_made_again(bench: Bench) {
    let faults =
        [Fault::ErrorIn200, Fault::Status(503), Fault::Status(403), Fault::ResetBefore, Fault::ResetMidway];
    for (seq, fault) in (1..).zip(faults) {
        let object = version(seq, bench.put(&format!("text {seq}")).await);
        bench.proxy.rule(Rule::new(fault).on(Operation::CopyObject).times(1));
        assert!(bench.storage.project(&key("k"), &object).await.unwrap().changed, "{fault:?}");
        assert!(bench.proxy.count(Operation::CopyObject) <= 2, "{fault:?}");
        assert_eq!(bench.storage.current(&key("k"), false).await.unwrap(), Some(object));
        assert_eq!(bench.version_ids("p/k"), usize::try_from(seq).unwrap(), "{fault:?}");
        bench.proxy.take_seen();
    }
    // Elsewhere the SDK tries again.
    for status in [503, 403] {
        for operation in [Operation::PutObject, Operation::HeadObject] {
            bench.proxy.rule(Rule::new(Fault::Status(status)).on(operation).times(1));
        }
        let blob = bench.storage.put_bytes(format!("text {status}")).await.unwrap();
        assert!(bench.storage.contains(&blob.digest).await.unwrap());
    }
}

async fn an_upload_of_parts_survives_any_answer(bench: Bench) {
    let faults = [
        (Operation::CompleteMultipartUpload, Fault::ErrorIn200),
        (Operation::CompleteMultipartUpload, Fault::ResetAfter),
        (Operation::CompleteMultipartUpload, Fault::Truncate(20)),
        (Operation::CompleteMultipartUpload, Fault::DoneThenStatus(500)),
        (Operation::CompleteMultipartUpload, Fault::Status(503)),
        (Operation::CreateMultipartUpload, Fault::DoneThenStatus(503)),
        (Operation::CreateMultipartUpload, Fault::Truncate(20)),
        (Operation::UploadPart, Fault::ResetMidway),
        (Operation::UploadPart, Fault::DoneThenStatus(500)),
    ];
    for (seed, (operation, fault)) in (1..).zip(faults) {
        let bytes = noise(seed, 17 * MIB);
        bench.proxy.rule(Rule::new(fault).on(operation).times(1));
        // A job tries again what may pass.
        let mut tries = 0;
        let blob = loop {
            tries += 1;
            match bench.storage.put_bytes(bytes.clone()).await {
                Ok(blob) => break blob,
                Err(error) if error.is_transient() && tries < 3 => {}
                Err(error) => panic!("{operation:?} {fault:?}: {error}"),
            }
        };
        bench.proxy.heal();
        let other = bench.other().await;
        let reader = other.open_blob(&blob.digest).await.unwrap();
        assert!(reader.read_range(0..blob.size).await.unwrap() == bytes, "{operation:?} {fault:?}");
    }
    // None is left begun, but those whose beginning was never answered: nobody knows their names.
    let target = format!("/{}?uploads=", bench.bucket);
    let listed = bench.server.client().expect(200, "GET", &target, &[], b"").unwrap();
    assert!(listed.text().matches("<UploadId>").count() <= 2, "{}", listed.text());
}

async fn a_download_that_is_cut_off_goes_on(bench: Bench) {
    let blob = bench.storage.put_bytes(noise(1, MIB)).await.unwrap();
    let other = bench.other().await;
    bench.proxy.rule(Rule::new(Fault::Truncate(300_000)).on(Operation::GetObject).times(1));
    let reader = other.open_blob(&blob.digest).await.unwrap();
    assert_eq!(reader.read_range(0..blob.size).await.unwrap(), noise(1, MIB));
    assert_eq!(bench.calls(), [Operation::GetObject; 2]);
    // The copy on this machine needs nobody.
    other.open_blob(&blob.digest).await.unwrap();
    assert_eq!(bench.calls(), []);
}

async fn what_an_older_blob_has_is_copied_there(bench: Bench) {
    let old = noise(1, 40 * MIB);
    let base = bench.storage.put_bytes(old.clone()).await.unwrap();
    let sent = || bench.proxy.take_seen().iter().map(|seen| seen.body_bytes).sum::<u64>();
    assert!(sent() >= 40 * MIB as u64);
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
        assert!(sent() < most as u64);
        let other = bench.other().await;
        let reader = other.open_blob(&blob.digest).await.unwrap();
        assert!(reader.read_range(0..blob.size).await.unwrap() == new);
        // What is said to be equal and is not, is found out: the second round tells lies.
        assert!(bench.storage.delete_blob(&blob.digest).await.unwrap());
        assert!(other.delete_blob(&blob.digest).await.is_ok());
        bench.proxy.take_seen();
    }
}

/// Answers every request so, whatever it is.
fn always(answer: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Ends with the process: it waits for connections that never come.
    std::thread::spawn(move || {
        for mut connection in listener.incoming().map_while(Result::ok) {
            let _ = std::io::Read::read(&mut connection, &mut [0; 16 * 1024]);
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_say_what_to_do_and_hold_no_credential() {
    const ECHO: &str = "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 131\r\n\r\n<Error><Code>SignatureDoesNotMatch</Code><Message>AWS4-HMAC-SHA256 Credential=AKIATEST/x Signature=0123 not-a-secret</Message></Error>";
    let Some(server) = Server::shared(Kind::Moto, "bucket::errors_say_what_to_do") else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |endpoint: &str| settings(server, endpoint, folder.path(), "cache");
    let error = Storage::open(&url("bucket"), &at(&always(ECHO)), Opening::Anew).await.unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(error.is_transient(), "{text}");
    assert!(!text.contains("AKIATEST") && !text.contains("0123") && !text.contains("not-a-secret"), "{text}");
    assert!(!text.contains(&server.secret_key) && !text.contains(&server.access_key), "{text}");
    match Storage::open(&url("no-such-bucket"), &at(&server.endpoint), Opening::Anew).await {
        Err(error @ StorageError::Bucket { .. }) => {
            assert!(!error.is_transient() && error.to_string().contains("doctor --create-bucket"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    let error = Storage::open(&url("bucket"), &at("http://127.0.0.1:9"), Opening::Anew).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("check endpoint"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_is_made_with_versions() {
    for kind in [Kind::Moto, Kind::Radosgw] {
        let Some(server) = Server::shared(kind, "bucket::a_bucket_is_made_with_versions") else { return };
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(server, &server.endpoint, folder.path(), "cache");
        for times in 0..2 {
            let done = create_bucket("to-be-made", &settings).await.unwrap();
            assert!(done[1].contains("versions"), "{kind:?} {times}: {done:?}");
        }
        let storage = Storage::open(&url("to-be-made"), &settings, Opening::Anew).await.unwrap();
        assert!(storage.capabilities().bucket().unwrap().versions);
    }
}

async fn an_object_of_somebody_else_at_a_key(bench: Bench) {
    let client = bench.server.client();
    let theirs = |target: &str| client.expect(200, "PUT", target, &[], b"theirs").unwrap();
    assert!(bench.storage.capabilities().bucket().unwrap().versions);
    theirs(&format!("/{}/p/k", bench.bucket));
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
    theirs(&format!("/{}/p/k", bench.bucket));
    assert!(bench.storage.project(&key("k"), &object).await.unwrap().changed);

    let plain = bench.server.bucket(false);
    theirs(&format!("/{plain}/k"));
    let settings = settings(bench.server, &bench.server.endpoint, bench.folder.path(), "plain");
    let storage =
        Storage::open(&format!("s3://{plain}").parse().unwrap(), &settings, Opening::Anew).await.unwrap();
    assert!(!storage.capabilities().bucket().unwrap().versions);
    assert!(storage.capabilities().to_string().starts_with("NOT versioned"));
    storage.put_bytes("ours").await.unwrap();
    let outcome = storage.project(&key("k"), &object).await;
    assert!(matches!(outcome, Err(ProjectError::Blocked { .. })), "{outcome:?}");
    let projected = storage.project(&key("other"), &object).await.unwrap();
    assert_eq!(projected.version_id, "null");
    assert_eq!(storage.versions(&key("other"), None, 9).await.unwrap(), [object]);
}

async fn versions_go_by_their_ids(bench: Bench) {
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
    bench.proxy.take_seen();
    assert!(bench.storage.delete_version(&key("k"), 1, Some(&ids[0])).await.unwrap());
    assert_eq!(bench.calls(), [Operation::HeadObject, Operation::HeadObject, Operation::DeleteObject]);
    let seqs = async || {
        let versions = bench.storage.versions(&key("k"), None, 9).await.unwrap();
        versions.iter().map(|object| object.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs().await, [3, 2]);
    bench.storage.purge_key(&key("k")).await.unwrap();
    assert_eq!(seqs().await, [0; 0]);
    assert_eq!(bench.storage.current(&key("k"), false).await.unwrap(), None);
}
