//! What each call says besides what it does: whose bucket it must be, and how what it writes is encrypted.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use gristmill_model::{Digest, ObjectKey};
use gristmill_storage::{
    Blob, CopiedRange, Opening, ProjectError, PublicObject, S3Settings, Sse, Storage, StorageError,
    create_bucket,
};
use gristmill_testkit::Wire;
use gristmill_testkit::faults::{Fault, Operation, Proxy, Rule, Seen};
use gristmill_testkit::s3::{Kind, Server};
use gristmill_testkit::wire::answer;

use crate::bucket::{noise, url};
use crate::servers::settings;

const MIB: usize = 1 << 20;
const OWNER: &str = "123456789012";
const KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

fn key() -> ObjectKey {
    "k".parse().unwrap()
}

fn version(seq: i64, blob: Blob) -> PublicObject {
    let (digest, size, content_type) = (blob.digest, blob.size, "application/zip".to_owned());
    let metadata = [("commit".to_owned(), format!("c{seq}"))].into();
    PublicObject { seq, digest, size, content_type, metadata }
}

async fn store(storage: &Storage, bytes: &[u8], base: Option<(Blob, u64)>) -> Blob {
    let mut staged = storage.stage().await.unwrap();
    staged.write_all(bytes).unwrap();
    if let Some((base, len)) = base {
        staged.say_copied(base.digest, vec![CopiedRange { to: 0, from: 0, len }]);
    }
    staged.commit().await.unwrap()
}

async fn show(storage: &Storage, seq: i64, blob: Blob) {
    assert!(storage.project(&key(), &version(seq, blob)).await.unwrap().changed);
}

/// Everything that is done with a bucket.
async fn cycle(bucket: &str, settings: &S3Settings, proxy: &Proxy) {
    create_bucket(bucket, settings).await.unwrap();
    let storage = Storage::open(&url(bucket), settings, Opening::Anew).await.unwrap();
    let small = store(&storage, b"small", None).await;
    let large = noise(1, 24 * MIB);
    let base = store(&storage, &large, None).await;
    let longer = [&large[..], b"more"].concat();
    let copied = store(&storage, &longer, Some((base, large.len() as u64))).await;
    for (seq, blob) in (1..).zip([small, copied]) {
        show(&storage, seq, blob).await;
    }
    assert_eq!(storage.current(&key(), true).await.unwrap(), Some(version(2, copied)));
    assert_eq!(storage.versions(&key(), None, 9).await.unwrap().len(), 2);
    let mut findings = Vec::new();
    storage.verify(true, |finding| findings.push(finding)).await.unwrap();
    assert_eq!(findings, []);
    assert_eq!(storage.list_blobs(None, 9).await.unwrap().len(), 3);
    assert!(storage.delete_version(&key(), 1, None).await.unwrap());
    assert!(storage.withdraw(&key()).await.unwrap());
    storage.purge_key(&key()).await.unwrap();
    // An upload that fails is taken back.
    proxy.rule(Rule::new(Fault::Status(403)).on(Operation::UploadPart));
    storage.put_bytes(noise(2, 24 * MIB)).await.unwrap_err();
    proxy.heal();
    for blob in [small, base, copied] {
        assert!(storage.delete_blob(&blob.digest).await.unwrap());
    }
    storage.answer().await.unwrap();
}

fn header<'a>(seen: &'a Seen, wanted: &str) -> Option<&'a str> {
    let name = format!("x-amz-{wanted}");
    seen.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
}

/// Every call by what S3's reference says that it takes.
fn judge(seen: &[Seen], owner: Option<&str>, sse: (Option<&str>, Option<&str>)) {
    use Operation::{
        AbortMultipartUpload, CompleteMultipartUpload, CopyObject, CreateBucket, CreateMultipartUpload,
        DeleteObject, GetBucketVersioning, GetObject, HeadBucket, HeadObject, ListMultipartUploads,
        ListObjectVersions, ListObjectsV2, Other, PutBucketVersioning, PutObject, UploadPart, UploadPartCopy,
    };
    for call in seen {
        let operation = call.operation;
        let shown = format!("{operation:?} {}: {:?}", call.target, call.headers);
        // Unfinished uploads are looked for at public keys too.
        if operation == ListMultipartUploads {
            assert!(call.target.contains("prefix=p%2F") && !call.target.contains(".gristmill"), "{shown}");
        }
        // A bucket that is made has no owner yet.
        let expected = owner.filter(|_| operation != CreateBucket);
        assert_eq!(header(call, "expected-bucket-owner"), expected, "{shown}");
        let is_copy = matches!(operation, CopyObject | UploadPartCopy);
        assert_eq!(header(call, "source-expected-bucket-owner"), owner.filter(|_| is_copy), "{shown}");
        let makes = matches!(operation, PutObject | CopyObject | CreateMultipartUpload);
        assert_eq!(header(call, "server-side-encryption"), sse.0.filter(|_| makes), "{shown}");
        assert_eq!(header(call, "server-side-encryption-aws-kms-key-id"), sse.1.filter(|_| makes), "{shown}");
    }
    let done: BTreeSet<Operation> = seen.iter().map(|seen| seen.operation).collect();
    let all = [
        AbortMultipartUpload,
        CompleteMultipartUpload,
        CopyObject,
        CreateBucket,
        CreateMultipartUpload,
        DeleteObject,
        GetBucketVersioning,
        GetObject,
        HeadBucket,
        HeadObject,
        ListMultipartUploads,
        ListObjectVersions,
        ListObjectsV2,
        Other,
        PutBucketVersioning,
        PutObject,
        UploadPart,
        UploadPartCopy,
    ];
    // The other one closes the bucket to the public.
    assert_eq!(done, BTreeSet::from(all), "a call that is not looked at, or none of a kind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_says_whose_the_bucket_is_and_how_it_is_encrypted() {
    let Some(server) = Server::shared(Kind::Moto, "headers::each_call") else { return };
    let kms = |key: Option<&str>| Some(Sse::Kms(key.map(str::to_owned)));
    for (number, owner, sse, expected) in [
        (0, None, None, (None, None)),
        (1, Some(OWNER), Some(Sse::Aes256), (Some("AES256"), None)),
        (2, Some(OWNER), kms(None), (Some("aws:kms"), None)),
        (3, None, kms(Some(KEY)), (Some("aws:kms"), Some(KEY))),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let proxy = Proxy::start(&server.endpoint);
        let settings = S3Settings {
            expected_bucket_owner: owner.map(str::to_owned),
            sse,
            ..settings(server, &proxy.endpoint(), folder.path(), "cache")
        };
        cycle(&format!("headers-{number}"), &settings, &proxy).await;
        judge(&proxy.take_seen(), owner, expected);
    }
}

/// A server with a bucket that is another account's: calls that expect `OWNER` are refused, as S3 does it.
fn of_another(is_readable: bool) -> Wire {
    Wire::start(move |head: &str, _: &[u8]| {
        let is_expected = head.to_lowercase().contains("x-amz-expected-bucket-owner");
        answer(if is_expected || !is_readable { "403 Forbidden" } else { "200 OK" }, &[], b"")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_of_another_account_is_refused_for_good() {
    let Some(server) = Server::shared(Kind::Moto, "headers::a_bucket_of_another") else { return };
    let folder = tempfile::tempdir().unwrap();
    let open = async |wire: &Wire, owner: Option<&str>, cache: &Path| {
        let endpoint = format!("http://{}", wire.address());
        let settings = S3Settings {
            expected_bucket_owner: owner.map(str::to_owned),
            cache: cache.to_owned(),
            ..settings(server, &endpoint, folder.path(), "")
        };
        Storage::open(&url("bucket"), &settings, Opening::Anew).await.unwrap_err()
    };
    let theirs = of_another(true);
    match open(&theirs, Some(OWNER), &folder.path().join("a")).await {
        error @ StorageError::Bucket { .. } => {
            let said = error.to_string();
            assert!(!error.is_transient(), "{said}");
            assert!(said.contains("another account") && said.contains("`expected_bucket_owner`"), "{said}");
            assert!(said.contains(OWNER) && said.contains("check the bucket's name"), "{said}");
        }
        error => panic!("{error:?}"),
    }
    // Nothing but HEAD of the bucket itself was asked there.
    assert!(theirs.requests().iter().all(|head| head.starts_with("HEAD /bucket")), "{:?}", theirs.requests());
    // Where everything is denied that says nothing of the owner, and may be given later.
    for owner in [Some(OWNER), None] {
        let error = open(&of_another(false), owner, &folder.path().join("b")).await;
        assert!(error.is_transient() && error.to_string().contains("access is denied"), "{error}");
    }
}

/// A server that runs asks for the bucket now and then; it says then what it would say at a start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_changes_hands_is_noticed() {
    let Some(server) = Server::shared(Kind::Moto, "headers::a_bucket_that_changes_hands") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (proxy, bucket) = (Proxy::start(&server.endpoint), server.bucket(true));
    let settings = S3Settings {
        expected_bucket_owner: Some(OWNER.to_owned()),
        ..settings(server, &proxy.endpoint(), folder.path(), "cache")
    };
    let storage = Storage::open(&url(&bucket), &settings, Opening::Anew).await.unwrap();
    proxy.take_seen();
    let denied = Rule::new(Fault::Status(403)).on(Operation::HeadBucket);
    let passes = Rule::new(Fault::Pass).on(Operation::HeadBucket).times(1);
    // Refused, not without the owner, refused again with it.
    proxy.rule(denied.clone().times(1));
    proxy.rule(passes.clone());
    proxy.rule(denied.clone());
    let error = storage.answer().await.unwrap_err();
    assert!(matches!(&error, StorageError::Bucket { .. }) && error.to_string().contains(OWNER), "{error}");
    let owners: Vec<bool> =
        proxy.take_seen().iter().map(|seen| header(seen, "expected-bucket-owner").is_some()).collect();
    assert_eq!(owners[..3], [true, false, true]);
    // Rights that came meanwhile are no other owner.
    proxy.heal();
    proxy.rule(denied.times(1));
    let error = storage.answer().await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("access is denied"), "{error}");
    storage.answer().await.unwrap();
}

/// S3 has no word for why a HEAD with an expired session is a bad request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_without_a_word_may_be_an_expired_session() {
    let Some(server) = Server::shared(Kind::Moto, "headers::a_bad_request") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (proxy, bucket) = (Proxy::start(&server.endpoint), server.bucket(true));
    let settings = settings(server, &proxy.endpoint(), folder.path(), "cache");
    let storage = Storage::open(&url(&bucket), &settings, Opening::Anew).await.unwrap();
    proxy.rule(Rule::new(Fault::Status(400)).on(Operation::HeadObject).times(1));
    let error = storage.contains(&Digest::of(b"x")).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("may have expired"), "{error}");
}

/// As if S3 copied no more than 10 MiB as one.
async fn over(kind: Kind) {
    let Some(server) = Server::shared(kind, &format!("headers::large_copies::{}", kind.name())) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (proxy, bucket) = (Proxy::start(&server.endpoint), server.bucket(kind.has_versions()));
    let most = 10 * MIB;
    let settings = S3Settings {
        copy_bytes_max: most as u64,
        sse: (kind == Kind::Moto).then_some(Sse::Aes256),
        ..settings(server, &proxy.endpoint(), folder.path(), "cache")
    };
    let storage = Storage::open(&url(&bucket), &settings, Opening::Anew).await.unwrap();
    for (seq, size, parts) in [(1, most, 0), (2, most + 1, 2), (3, 3 * most, 3), (4, 3 * most + 1, 4)] {
        let bytes = noise(seq, size);
        let blob = store(&storage, &bytes, None).await;
        proxy.take_seen();
        let object = version(i64::try_from(seq).unwrap(), blob);
        // s3s-fs keeps the checksum of the object before.
        let key = if kind == Kind::S3sFs { format!("k{seq}").parse().unwrap() } else { key() };
        let projected = storage.project(&key, &object).await.unwrap();
        let seen = proxy.take_seen();
        let calls = |wanted| seen.iter().filter(|seen| seen.operation == wanted).collect::<Vec<_>>();
        let (whole, copies) = (calls(Operation::CopyObject), calls(Operation::UploadPartCopy));
        assert_eq!((whole.len(), copies.len()), (usize::from(parts == 0), parts), "{kind:?} {size}");
        let mut ranges: Vec<&str> =
            copies.iter().filter_map(|call| header(call, "copy-source-range")).collect();
        ranges.sort_unstable();
        ranges.dedup();
        assert_eq!(ranges.len(), parts, "{ranges:?}");
        // It is what was published, with its metadata, type and place, and is not copied again.
        assert_eq!(storage.current(&key, true).await.unwrap(), Some(object.clone()), "{kind:?} {size}");
        let again = storage.project(&key, &object).await.unwrap();
        assert_eq!((again.version_id, again.changed), (projected.version_id, false));
    }
    if kind.has_versions() {
        let older = version(3, store(&storage, &noise(3, 3 * most), None).await);
        let outcome = storage.project(&key(), &older).await;
        assert!(matches!(outcome, Err(ProjectError::Older { seq: 3, current: 4, .. })), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_for_one_copy_is_copied_in_parts_by_moto() {
    over(Kind::Moto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_for_one_copy_is_copied_in_parts_by_s3s_fs() {
    over(Kind::S3sFs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_for_one_copy_is_copied_in_parts_by_radosgw() {
    over(Kind::Radosgw).await;
}
