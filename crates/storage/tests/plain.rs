//! `Bucket`: plain objects, in a folder and over servers of S3 that others wrote.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use gristmill_model::{Digest, Timestamp};
use gristmill_storage::{
    About, Body, Bucket, BucketAccess, BucketCredentials, BucketKeys, Listed, StorageUrl, Write, WriteIf,
};
use gristmill_testkit::s3::{Kind, Server};
use gristmill_testkit::wire::{ROOT, Wire, answer};

/// What a place does not do.
#[derive(Default)]
struct Lacks {
    metadata: bool,
    /// `If-None-Match` and `If-Match` of puts, in some of its releases.
    conditions: bool,
    /// `If-None-Match` of copies.
    copy_conditions: bool,
}

fn access(server: &Server) -> BucketAccess {
    BucketAccess {
        region: Some(server.region.clone()),
        endpoint: Some(server.endpoint.clone()),
        path_style: true,
        credentials: BucketCredentials::Keys(BucketKeys {
            id: server.access_key.clone(),
            secret: server.secret_key.clone(),
            token: None,
        }),
        ..BucketAccess::default()
    }
}

fn about(commit: &str) -> About {
    let metadata = BTreeMap::from([("commit-hash".to_owned(), commit.to_owned())]);
    About { content_type: "application/zip".to_owned(), metadata }
}

fn bytes(text: &str) -> Body {
    Body::Bytes(text.as_bytes().to_vec().into())
}

async fn read(bucket: &Bucket, key: &str) -> Option<String> {
    let found = bucket.get(key).await.unwrap()?;
    Some(String::from_utf8(found.0.to_vec()).unwrap())
}

async fn put(bucket: &Bucket, key: &str, text: &str, condition: WriteIf) -> Write {
    bucket.put(key, bytes(text), &about("c1"), condition).await.unwrap()
}

async fn writes_and_conditions(bucket: &Bucket, lacks: &Lacks) {
    assert_eq!(bucket.list("a/").await.unwrap(), []);
    assert_eq!(read(bucket, "a/one.zip").await, None);
    assert_eq!(bucket.head("a/one.zip").await.unwrap(), None);
    let Write::Done(Some(_)) = put(bucket, "a/one.zip", "one", WriteIf::Absent).await else {
        panic!("no ETag")
    };
    let head = bucket.head("a/one.zip").await.unwrap().unwrap();
    assert_eq!(head.size, 3);
    assert_eq!(bucket.get("a/one.zip").await.unwrap().unwrap().1, head.etag);
    if !lacks.metadata {
        assert_eq!(head.content_type.as_deref(), Some("application/zip"));
        assert_eq!(head.metadata, about("c1").metadata);
    }
    let again = put(bucket, "a/one.zip", "two", WriteIf::Absent).await;
    assert!(again == Write::Refused || lacks.conditions, "{again:?}");
    let Write::Done(Some(etag)) = put(bucket, "a/one.zip", "three", WriteIf::Always).await else { panic!() };
    let other = put(bucket, "a/one.zip", "four", WriteIf::Is(head.etag)).await;
    assert!(other == Write::Refused || lacks.conditions, "{other:?}");
    let etag =
        if other == Write::Refused { etag } else { bucket.head("a/one.zip").await.unwrap().unwrap().etag };
    assert!(matches!(put(bucket, "a/one.zip", "five", WriteIf::Is(etag)).await, Write::Done(Some(_))));
    assert_eq!(read(bucket, "a/one.zip").await.as_deref(), Some("five"));
}

async fn copies(bucket: &Bucket, lacks: &Lacks) {
    put(bucket, "b/odd name+é.zip", "source", WriteIf::Always).await;
    let listed = bucket.list("b/").await.unwrap();
    let from = listed.first().unwrap().clone();
    assert_eq!((from.key.as_str(), from.size), ("b/odd name+é.zip", 6));
    let copied = bucket.copy(&from, "b/copy.zip", &about("c2"), WriteIf::Absent).await.unwrap();
    let Write::Done(Some(etag)) = copied else { panic!("{copied:?}") };
    assert_eq!(read(bucket, "b/copy.zip").await.as_deref(), Some("source"));
    let head = bucket.head("b/copy.zip").await.unwrap().unwrap();
    assert_eq!(head.etag, etag);
    if !lacks.metadata {
        assert_eq!(head.metadata, about("c2").metadata, "what was copied from is c1's");
    }
    let again = bucket.copy(&from, "b/copy.zip", &about("c3"), WriteIf::Absent).await.unwrap();
    assert!(again == Write::Refused || lacks.copy_conditions, "{again:?}");
    let gone = Listed { key: "b/gone.zip".to_owned(), ..from };
    assert_eq!(bucket.copy(&gone, "b/x.zip", &about("c2"), WriteIf::Always).await.unwrap(), Write::Refused);
}

async fn large(bucket: &Bucket) {
    let content: Vec<u8> =
        (0..40_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content).unwrap();
    let body = Body::File(Arc::new(file), content.len() as u64, Digest::of(&content));
    let written = bucket.put("c/large.bin", body, &about("c1"), WriteIf::Absent).await.unwrap();
    assert!(matches!(written, Write::Done(Some(_))), "{written:?}");
    let to: Arc<File> = Arc::new(tempfile::tempfile().unwrap());
    let got = bucket.download("c/large.bin", Arc::clone(&to)).await.unwrap();
    assert_eq!(got, Some((content.len() as u64, Digest::of(&content))));
    (&*to).seek(SeekFrom::Start(0)).unwrap();
    assert!(std::io::Read::bytes(&*to).take(1000).map(Result::unwrap).eq(content[..1000].iter().copied()));
    assert_eq!(bucket.download("c/gone.bin", to).await.unwrap(), None);
}

async fn lists_and_deletions(bucket: &Bucket) {
    let mut under_way = tokio::task::JoinSet::new();
    for number in 0..1050 {
        let bucket = bucket.clone();
        under_way.spawn(async move { put(&bucket, &format!("d/{number:04}"), "x", WriteIf::Always).await });
    }
    under_way.join_all().await;
    put(bucket, "dd/x", "x", WriteIf::Always).await;
    let listed = bucket.list("d/").await.unwrap();
    assert_eq!(listed.len(), 1050, "more than one page of a thousand");
    assert!(listed.is_sorted_by_key(|one| one.key.clone()) && listed.iter().all(|one| one.modified.0 > 0));
    bucket.delete("d/0000").await.unwrap();
    bucket.delete("d/0000").await.unwrap();
    assert_eq!(bucket.list("d/").await.unwrap().len(), 1049);
    assert_eq!(bucket.clear_unfinished("", Timestamp(0)).await.unwrap(), 0);
}

async fn suite(bucket: Bucket, lacks: Lacks) {
    writes_and_conditions(&bucket, &lacks).await;
    copies(&bucket, &lacks).await;
    large(&bucket).await;
    lists_and_deletions(&bucket).await;
}

async fn over(kind: Kind, lacks: Lacks) {
    let Some(server) = Server::shared(kind, &format!("plain::{}", kind.name())) else { return };
    let url: StorageUrl = format!("s3://{}", server.bucket(false)).parse().unwrap();
    suite(Bucket::open(&url, &access(server)).await, lacks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder() {
    let folder = tempfile::tempdir().unwrap();
    let url: StorageUrl = format!("file:{}", folder.path().join("new").display()).parse().unwrap();
    let bucket = Bucket::open(&url, &BucketAccess::default()).await;
    suite(bucket.clone(), Lacks { metadata: true, ..Lacks::default() }).await;
    for key in ["../x", "a//b", "/a", "a/./b", ""] {
        assert!(bucket.put(key, bytes("x"), &about("c"), WriteIf::Always).await.is_err(), "{key}");
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    let unfinished = folder.path().join("new/.gristmill/tmp/1-2-3");
    std::fs::write(&unfinished, "x").unwrap();
    assert_eq!(bucket.clear_unfinished("", Timestamp(i64::MAX)).await.unwrap(), 1);
    assert!(!unfinished.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moto() {
    over(Kind::Moto, Lacks { copy_conditions: true, ..Lacks::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3s_fs() {
    over(Kind::S3sFs, Lacks { copy_conditions: true, ..Lacks::default() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn radosgw() {
    over(Kind::Radosgw, Lacks { conditions: true, copy_conditions: true, ..Lacks::default() }).await;
}

#[tokio::test]
async fn what_is_refused_says_what_to_do() {
    let Some(server) = Server::shared(Kind::S3sFs, "plain::refused") else { return };
    let url: StorageUrl = "s3://no-such-bucket".parse().unwrap();
    let error = Bucket::open(&url, &access(server)).await.list("").await.unwrap_err().to_string();
    assert!(error.contains("there is no such bucket; make it, or correct its name"), "{error}");
    let mut wrong = access(server);
    let BucketCredentials::Keys(keys) = &mut wrong.credentials else { panic!() };
    keys.secret = "another-secret".to_owned();
    assert!(!format!("{wrong:?}").contains("another-secret"));
    let error = Bucket::open(&url, &wrong).await.list("").await.unwrap_err().to_string();
    assert!(error.contains("does not take these credentials"), "{error}");
    assert!(!error.contains("another-secret"), "{error}");
}

const EMPTY: &str = "<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>";

/// A bucket by keys that nobody looks at.
async fn anybodys(endpoint: String, more: BucketAccess) -> Bucket {
    let keys = BucketKeys { id: "id".to_owned(), secret: "secret".to_owned(), token: None };
    let credentials = BucketCredentials::Keys(keys);
    let access = BucketAccess { endpoint: Some(endpoint), path_style: true, credentials, ..more };
    Bucket::open(&"s3://some-bucket".parse().unwrap(), &access).await
}

/// As S3 does it: the region for which a request was signed decides.
fn elsewhere(region: &'static str) -> Wire {
    Wire::start(move |head, _| {
        if head.contains("/eu-west-2/s3/aws4_request") {
            return answer("200 OK", &[], EMPTY.as_bytes());
        }
        let body = "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>";
        answer("301 Moved Permanently", &[("x-amz-bucket-region", region)], body.as_bytes())
    })
}

#[tokio::test]
async fn a_bucket_in_another_region_is_asked_there() {
    let server = elsewhere("eu-west-2");
    let bucket = anybodys(format!("http://{}", server.address()), BucketAccess::default()).await;
    assert_eq!(bucket.list("").await.unwrap(), []);
    assert_eq!(server.requests().len(), 2);
    assert_eq!(bucket.list("").await.unwrap(), []);
    assert_eq!(server.requests().len(), 3, "it is known then");
    // As MinIO does it, and S3 at some addresses.
    let server = Wire::start(move |head, _| {
        if head.contains("/eu-west-2/s3/aws4_request") {
            return answer("200 OK", &[], EMPTY.as_bytes());
        }
        let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; \
                    the region is wrong; expecting 'eu-west-2'.</Message></Error>";
        answer("400 Bad Request", &[], body.as_bytes())
    });
    let bucket = anybodys(format!("http://{}", server.address()), BucketAccess::default()).await;
    assert_eq!(bucket.list("").await.unwrap(), []);
    // What becomes a part of a host's name is looked at.
    for (region, calls) in [("eu-west-2.example.org/", 1), ("EU", 1), ("eu-west-3", 2)] {
        let server = elsewhere(region);
        let bucket = anybodys(format!("http://{}", server.address()), BucketAccess::default()).await;
        let error = bucket.list("").await.unwrap_err().to_string();
        assert!(error.contains("the bucket is in another region; set AWS_REGION to it"), "{error}");
        assert_eq!(server.requests().len(), calls, "{region}");
    }
}

#[tokio::test]
async fn certificates_that_are_named_are_trusted() {
    let server = Wire::start_tls(|_, _| answer("200 OK", &[], EMPTY.as_bytes()));
    let endpoint = format!("https://{}", server.address());
    let given = BucketAccess { certificates: Some(ROOT.into()), ..BucketAccess::default() };
    assert_eq!(anybodys(endpoint.clone(), given).await.list("").await.unwrap(), []);
    let error = anybodys(endpoint, BucketAccess::default()).await.list("").await.unwrap_err().to_string();
    assert!(error.contains("check endpoint, network and credentials"), "{error}");
}

#[tokio::test]
async fn unfinished_uploads_are_found_on_all_pages() {
    let upload = |key: &str, day: &str| {
        format!(
            "<Upload><Key>{key}</Key><UploadId>of-{key}</UploadId><Initiated>{day}T00:00:00.000Z</Initiated></Upload>"
        )
    };
    let page = |uploads: String, next: &str| {
        let more = if next.is_empty() { "false" } else { "true" };
        format!(
            "<ListMultipartUploadsResult><IsTruncated>{more}</IsTruncated><NextKeyMarker>{next}</NextKeyMarker>\
             <NextUploadIdMarker>of-{next}</NextUploadIdMarker>{uploads}</ListMultipartUploadsResult>"
        )
    };
    let first = page(upload("a/1", "2020-01-01") + &upload("a/2", "2030-01-01"), "a2");
    let second = page(upload("a/3", "2020-01-01"), "");
    let server = Wire::start(move |head, _| match head.lines().next().unwrap() {
        line if line.starts_with("DELETE ") => answer("204 No Content", &[], b""),
        line if line.contains("key-marker=a2") => answer("200 OK", &[], second.as_bytes()),
        _ => answer("200 OK", &[], first.as_bytes()),
    });
    let bucket = anybodys(format!("http://{}", server.address()), BucketAccess::default()).await;
    // Of 2025.
    let cleared = bucket.clear_unfinished("a/", Timestamp(1_750_000_000_000)).await.unwrap();
    let requests = server.requests();
    let is_gone =
        |key: &str| requests.iter().any(|head| head.starts_with(&format!("DELETE /some-bucket/{key}?")));
    assert_eq!(
        (cleared, is_gone("a/1"), is_gone("a/2"), is_gone("a/3")),
        (2, true, false, true),
        "{requests:#?}"
    );
}

/// A server that has no room, or cannot put parts together, is told of, and not sent the same again and again.
#[tokio::test]
async fn parts_that_fail_each_time_are_an_error() {
    for refused in ["PUT ", "POST /some-bucket/c/large.bin?uploadId"] {
        let server = Wire::start(move |head, _| match head.lines().next().unwrap() {
            line if line.starts_with(refused) => answer("507 Insufficient Storage", &[], b""),
            line if line.starts_with("PUT ") => answer("200 OK", &[("etag", "\"part\"")], b""),
            line if line.contains("?uploads") => {
                let body =
                    "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>";
                answer("200 OK", &[], body.as_bytes())
            }
            line if line.starts_with("DELETE ") => answer("204 No Content", &[], b""),
            _ => answer("404 Not Found", &[], b""),
        });
        let bucket = anybodys(format!("http://{}", server.address()), BucketAccess::default()).await;
        let file = tempfile::tempfile().unwrap();
        file.set_len(20_000_000).unwrap();
        let body = Body::File(Arc::new(file), 20_000_000, Digest::of(b"whatever"));
        let put = bucket.put("c/large.bin", body, &about("c1"), WriteIf::Absent).await;
        let error = put.unwrap_err().to_string();
        assert!(error.contains("storing s3://some-bucket/c/large.bin") && error.contains("507"), "{error}");
        let requests = server.requests();
        let begun = requests.iter().filter(|head| head.contains("?uploads")).count();
        assert_eq!(begun, 1, "{requests:#?}");
        assert!(requests.iter().any(|head| head.starts_with("DELETE ")), "it was taken back");
    }
}
