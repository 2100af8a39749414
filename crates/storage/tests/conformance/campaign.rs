//! Many publications through a server of which one call in ten fails, in every way there is.
//!
//! `GRISTMILL_SOAK=1` makes them 500; `GRISTMILL_SOAK_SEED` chooses other faults.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::{Digest, ObjectKey};
use gristmill_storage::{
    Blob, BucketCapabilities, CopiedRange, Opening, PublicObject, S3Settings, Storage, StorageError,
};
use gristmill_testkit::faults::{Fault, Odds, Operation, Proxy};
use gristmill_testkit::s3::{Client, Kind, Server};

use crate::bucket::{noise, url};
use crate::servers::settings;

/// Each has its publications one after the other; the keys are written at once.
const KEYS: usize = 6;
/// A job gives up after 40.
const TRIES_MAX: u32 = 40;
const LARGE: usize = 18 << 20;

fn faults() -> Vec<Fault> {
    let quick = [
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(403),
        Fault::DoneThenStatus(500),
        Fault::DoneThenStatus(503),
        Fault::ResetBefore,
        Fault::ResetMidway,
        Fault::ResetAfter,
        Fault::Truncate(20),
        Fault::ErrorIn200,
        Fault::Delay(Duration::from_millis(500)),
    ];
    // These cost seconds each.
    [quick.as_slice(), &quick, &[Fault::Hang, Fault::DoneThenHang]].concat()
}

/// What one publication puts under its key. One in ten is large, and repeats most of the one before.
fn content(key: usize, seq: usize) -> (Vec<u8>, Vec<CopiedRange>) {
    if seq % 10 != 9 && seq % 10 != 8 {
        return (format!("key {key}, version {seq}").into_bytes(), Vec::new());
    }
    let seed = u64::try_from(key * 1000 + seq / 10).expect("few");
    let mut bytes = noise(seed, LARGE);
    if seq % 10 == 8 {
        return (bytes, Vec::new());
    }
    bytes.splice(LARGE / 2..LARGE / 2, noise(seed + 1_000_000, 100));
    let half = (LARGE / 2) as u64;
    let ranges =
        [CopiedRange { to: 0, from: 0, len: half }, CopiedRange { to: half + 100, from: half, len: half }];
    (bytes, ranges.into())
}

async fn store(
    storage: &Storage,
    bytes: &[u8],
    base: Option<Blob>,
    ranges: &[CopiedRange],
) -> Result<Blob, StorageError> {
    let mut staged = storage.stage().await?;
    staged.write_all(bytes).expect("a local file");
    if let Some(base) = base {
        staged.say_copied(base.digest, ranges.to_vec());
    }
    staged.commit().await
}

/// Publishes as a job does: what may pass is tried again. How many tries it took.
async fn publish(
    storage: &Storage,
    key: &ObjectKey,
    seq: i64,
    (bytes, ranges): (&[u8], &[CopiedRange]),
    base: Option<Blob>,
) -> (Blob, u32) {
    for tries in 1..=TRIES_MAX {
        let outcome = async {
            let blob = store(storage, bytes, base, ranges).await?;
            if !storage.contains(&blob.digest).await? {
                return Err(StorageError::Damaged { what: format!("{} is not there", blob.digest) }.into());
            }
            let metadata = BTreeMap::from([("commit".to_owned(), format!("c{seq}"))]);
            let content_type = "application/zip".to_owned();
            let object = PublicObject { seq, digest: blob.digest, size: blob.size, content_type, metadata };
            storage.project(key, &object).await.map(|_| blob)
        };
        match outcome.await {
            Ok(blob) => return (blob, tries),
            Err(error) if error.is_transient() => {}
            Err(error) => panic!("{key} {seq}: {error}"),
        }
    }
    panic!("{key} {seq}: given up");
}

/// What is in the bucket in the end, read without anything of ours.
struct Readers {
    client: Client,
    bucket: String,
}

impl Readers {
    fn get(&self, name: &str, query: &str) -> gristmill_testkit::s3::Reply {
        self.client.expect(200, "GET", &format!("/{}/p/{name}{query}", self.bucket), &[], b"").unwrap()
    }

    /// The versions of a key by their number: the ids of each.
    fn versions(&self, key: &str, corrupt: &mut u32) -> BTreeMap<i64, Vec<String>> {
        let target = format!("/{}?prefix=p%2F{key}&versions=", self.bucket);
        let listed = self.client.expect(200, "GET", &target, &[], b"").unwrap().text();
        assert!(!listed.contains("<IsTruncated>true"), "more than a page");
        let mut versions: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for rest in listed.split("<VersionId>").skip(1) {
            let id = rest.split_once("</VersionId>").unwrap().0;
            let reply = self.get(key, &format!("?versionId={id}"));
            let seq: i64 = reply.header("x-amz-meta-gristmill-seq").unwrap().parse().unwrap();
            let said = reply.header("x-amz-meta-gristmill-sha256").unwrap();
            let number: usize = key.trim_start_matches("key-").parse().unwrap();
            let (expected, _) = content(number, usize::try_from(seq).unwrap());
            let digest = Digest::of(&expected);
            let blob = format!(".gristmill/blobs/sha256/{}/{said}", &said[..2]);
            let is_right =
                reply.body == expected && digest.to_hex() == said && self.get(&blob, "").body == expected;
            *corrupt += u32::from(!is_right);
            versions.entry(seq).or_default().push(id.to_owned());
        }
        versions
    }
}

/// Whether the bucket keeps a copy from being made over another one.
fn has_conditions(can: &BucketCapabilities) -> bool {
    can.copy_if_absent && can.copy_if_match
}

async fn campaign(kind: Kind) {
    let Some(server) = Server::shared(kind, &format!("campaign::{}", kind.name())) else { return };
    let soak = std::env::var_os("GRISTMILL_SOAK").is_some();
    #[expect(clippy::disallowed_methods, reason = "how a person asks for another campaign")]
    let seed = std::env::var("GRISTMILL_SOAK_SEED").ok().and_then(|text| text.parse().ok());
    let each = if soak { 500_usize.div_ceil(KEYS) } else { 10 };
    let (folder, bucket, proxy) =
        (tempfile::tempdir().unwrap(), server.bucket(true), Proxy::start(&server.endpoint));
    let settings = S3Settings {
        connect_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(3),
        ..settings(server, &proxy.endpoint(), folder.path(), "cache")
    };
    let storage = Storage::open(&url(&bucket), &settings, Opening::Anew).await.unwrap();
    let can = storage.capabilities().bucket().unwrap();
    proxy.take_seen();
    proxy.odds(Some(Odds { seed: seed.unwrap_or(20_240_607), per_thousand: 100, faults: faults() }));
    let storage = Arc::new(storage);
    let mut keys = tokio::task::JoinSet::new();
    for number in 0..KEYS {
        let storage = Arc::clone(&storage);
        keys.spawn(async move {
            let key: ObjectKey = format!("key-{number}").parse().unwrap();
            let (mut again, mut last) = (0, None);
            for seq in 0..each {
                let (bytes, ranges) = content(number, seq);
                let (seq, base) = (i64::try_from(seq).unwrap(), last.filter(|_| !ranges.is_empty()));
                let (blob, tries) = publish(&storage, &key, seq, (&bytes, &ranges), base).await;
                again += tries - 1;
                last = Some(blob);
            }
            again
        });
    }
    let again: u32 = keys.join_all().await.into_iter().sum();
    let seen = proxy.take_seen();
    proxy.heal();
    let readers = Readers { client: server.client(), bucket };
    let (mut right, mut corrupt, mut twice) = (0, 0, 0);
    let unsure: BTreeSet<&str> = seen
        .iter()
        .filter(|seen| seen.operation == Operation::CopyObject && seen.fault != Fault::Pass)
        .map(|seen| seen.key.as_str())
        .collect();
    for number in 0..KEYS {
        let key = format!("key-{number}");
        let versions = readers.versions(&key, &mut corrupt);
        right += versions.len();
        let doubled = versions.values().filter(|ids| ids.len() > 1).count();
        assert!(
            doubled == 0 || !has_conditions(&can) && unsure.contains(format!("p/{key}").as_str()),
            "{key}: {versions:?}"
        );
        twice += doubled;
    }
    let failed = seen.iter().filter(|seen| seen.fault != Fault::Pass).count();
    println!(
        "{}: {right} of {} publications right, {corrupt} corrupt, {twice} twice; {} calls, {failed} failed, {again} steps done again",
        kind.name(),
        each * KEYS,
        seen.len(),
    );
    assert_eq!((right, corrupt), (each * KEYS, 0));
    assert!(failed * 20 > seen.len(), "too few faults");
    let mut found = Vec::new();
    storage.verify(true, |finding| found.push(finding)).await.unwrap();
    assert_eq!(found, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moto() {
    campaign(Kind::Moto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn radosgw() {
    campaign(Kind::Radosgw).await;
}
