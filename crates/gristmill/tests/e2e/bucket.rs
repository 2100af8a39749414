//! The whole program over a bucket: what readers find there, what goes, and what is said where something is missing.

use std::path::Path;
use std::process::Command;

use gristmill_testkit::faults::{Operation, Proxy};
use gristmill_testkit::repo::Changes;
use gristmill_testkit::s3::{self, Kind, boto3};
use gristmill_testkit::server::{Project, Server, sha256};
use serde_json::Value;

use crate::world::{KEY, MAIN, PROJECT, World, assert_equals_git};

/// A world whose storage is a bucket, by way of a proxy.
pub(crate) struct Place {
    /// Goes first: it leaves no work behind while the bucket is there.
    pub(crate) world: World,
    pub(crate) proxy: Proxy,
    pub(crate) s3: &'static s3::Server,
    pub(crate) bucket: String,
}

/// Sets the storage of a server.
pub(crate) fn use_bucket(server: &mut Server, s3: &s3::Server, endpoint: &str, bucket: &str, more: &str) {
    let settings = bucket_settings(server, s3, endpoint, bucket, more);
    server.set_settings(&settings);
}

/// The settings of a storage, with credentials in the server's folder.
pub(crate) fn bucket_settings(
    server: &Server,
    s3: &s3::Server,
    endpoint: &str,
    bucket: &str,
    more: &str,
) -> String {
    let (id, secret) = (&s3.access_key, &s3.secret_key);
    let credentials = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    std::fs::write(server.folder().join("credentials"), credentials).expect("written");
    format!(
        "[storage]\nurl = \"s3://{bucket}/mill\"\nendpoint = \"{endpoint}\"\nregion = \"{}\"\n\
         credentials_file = \"credentials\"\n{more}",
        s3.region
    )
}

impl Place {
    /// Before the start. `None` where that server of S3 is not installed.
    pub(crate) fn prepare(
        kind: Kind,
        test: &str,
        more: &str,
        shape: impl FnOnce(Project) -> Project,
    ) -> Option<Place> {
        let s3 = s3::Server::shared(kind, &format!("{test}::{}", kind.name()))?;
        let bucket = s3.bucket(true);
        let proxy = Proxy::start(&s3.endpoint);
        let mut world = World::prepare(shape);
        use_bucket(&mut world.server, s3, &proxy.endpoint(), &bucket, more);
        Some(Place { world, proxy, s3, bucket })
    }

    /// What a reader gets of a key with Amazon's own client: the newest, and the digests of all versions by their ids.
    fn read(&self, python: &Path, key: &str) -> (Value, Vec<u8>) {
        const READ: &str = r#"
import boto3, hashlib, json, sys
from botocore.config import Config
endpoint, access, secret, bucket, key, path = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=access,
    aws_secret_access_key=secret, config=Config(s3={"addressing_style": "path"}))
assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
got = s3.get_object(Bucket=bucket, Key=key)
open(path, "wb").write(got["Body"].read())
ids = [v["VersionId"] for v in s3.list_object_versions(Bucket=bucket, Prefix=key)["Versions"] if v["Key"] == key]
digest = lambda id: hashlib.sha256(s3.get_object(Bucket=bucket, Key=key, VersionId=id)["Body"].read()).hexdigest()
print(json.dumps({"version": got["VersionId"], "type": got["ContentType"], "metadata": got["Metadata"],
    "versions": [[id, digest(id)] for id in ids]}))
"#;
        let file = self.world.server.folder().join("read");
        let mut command = Command::new(python);
        command.args(["-c", READ, &self.s3.endpoint, &self.s3.access_key, &self.s3.secret_key]);
        let output = command.args([&self.bucket, &format!("mill/{key}")]).arg(&file).output();
        let output = output.expect("Python starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (serde_json::from_slice(&output.stdout).expect("JSON"), std::fs::read(file).expect("written"))
    }

    /// The versions of a key, newest first: the bucket's name of each and the commit that readers are told.
    pub(crate) fn versions(&self, key: &str) -> Vec<(String, String)> {
        let client = self.s3.client();
        let inner = |text: &str, tag: &str| {
            let rest = text.split_once(&format!("<{tag}>"))?.1;
            Some(rest.split_once(&format!("</{tag}>"))?.0.to_owned())
        };
        let encoded = format!("mill/{key}").replace('/', "%2F");
        let (mut found, mut after) = (Vec::new(), [String::new(), String::new()]);
        loop {
            // In the order in which a signature wants them.
            let target = format!("/{}?{}prefix={encoded}{}&versions=", self.bucket, after[0], after[1]);
            let page = client.expect(200, "GET", &target, &[], b"").expect("a list").text();
            for version in page.split("<Version>").skip(1) {
                assert_eq!(inner(version, "Key"), Some(format!("mill/{key}")));
                found.push(inner(version, "VersionId").expect("versioned"));
            }
            if inner(&page, "IsTruncated").as_deref() != Some("true") {
                break;
            }
            let next = inner(&page, "NextVersionIdMarker").expect("where it goes on");
            after = [format!("key-marker={encoded}&"), format!("&version-id-marker={next}")];
        }
        let told = |id: String| {
            let target = format!("/{}/mill/{key}?versionId={id}", self.bucket);
            let reply = client.expect(200, "HEAD", &target, &[], b"").expect("it is there");
            let commit = reply.header("x-amz-meta-commit").expect("a commit").to_owned();
            (id, commit)
        };
        found.into_iter().map(told).collect()
    }

    /// The names of all blobs in the bucket.
    pub(crate) fn blobs(&self) -> Vec<String> {
        let target = format!("/{}?list-type=2&prefix=mill%2F.gristmill%2Fblobs%2F", self.bucket);
        let listed = self.s3.client().expect(200, "GET", &target, &[], b"").expect("a list").text();
        let keys = listed.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        keys.map(|(key, _)| key.rsplit_once('/').expect("a path").1.to_owned()).collect()
    }
}

fn from_push_to_versions(kind: Kind) {
    let test = "bucket::from_push_to_versions";
    let Some(python) = boto3(test) else { return };
    let keep = |project: Project| project.pipeline("keep = { versions = 1, days = 1 }");
    let Some(mut place) = Place::prepare(kind, test, "", keep) else { return };
    place.world.server.start();
    let one = place.world.text(None, "one");
    place.world.push_and_wait(MAIN, &one);
    let (found, bytes) = place.read(&python, KEY);
    assert_equals_git(&place.world.repo, &one, &bytes);
    assert_eq!(
        (&found["type"], &found["metadata"]["commit"]),
        (&"application/zip".into(), &one.clone().into())
    );
    assert_eq!(found["metadata"]["sha256"], sha256(&bytes));
    assert_eq!(found["metadata"]["ref"], MAIN);
    let store = place.world.server.store();
    let ids = store.query("SELECT version_id FROM publication ORDER BY seq");
    assert_eq!(found["version"], *ids[0]);

    // Two pushes that are looked at together: the first is overtaken, and has its archive nevertheless.
    let (two, three) = (place.world.text(Some(&one), "two"), place.world.text(None, "three"));
    let mut deliveries = place.world.github.push(PROJECT, MAIN, Some(&two));
    deliveries.extend(place.world.github.push(PROJECT, MAIN, Some(&three)));
    place.world.server.accept(PROJECT, &deliveries);
    place.world.server.wait_until_idle();
    let (found, newest) = place.read(&python, KEY);
    assert_equals_git(&place.world.repo, &three, &newest);
    let versions = found["versions"].as_array().expect("a list");
    let published: Vec<Vec<String>> = ["version_id", "lower(hex(digest))"]
        .map(|column| store.query(&format!("SELECT {column} FROM publication ORDER BY seq DESC")))
        .into();
    let expected = published[0].iter().zip(&published[1]).map(|(id, digest)| serde_json::json!([id, digest]));
    assert_eq!(*versions, expected.collect::<Vec<_>>());
    assert_eq!(found["version"], versions[0][0]);
    let download = |commit: &str| {
        let url = place.world.server.url(&format!("/archive/{KEY}@{commit}"));
        let body = ureq::get(url).call().expect("an answer").body_mut().read_to_vec();
        assert_equals_git(&place.world.repo, commit, &body.expect("all of it"));
    };
    for commit in [&one, &two, &three] {
        download(commit);
    }
    collect(&mut place, versions.len());
    let (found, bytes) = place.read(&python, KEY);
    assert_eq!(bytes, newest);
    assert_eq!(found["versions"].as_array().expect("a list").len(), 1);
}

/// After days, old versions are gone. The blobs stay: the bucket says that they are of today.
fn collect(place: &mut Place, versions: usize) {
    let server = &mut place.world.server;
    server.stop();
    let store = server.store();
    for (column, table) in [("created_ms", "artifact"), ("used_ms", "step"), ("since_ms", "blob")] {
        store.execute(&format!("UPDATE {table} SET {column} = {column} - 345600000"));
    }
    assert_eq!(server.cli_json(&["gc", "--apply"])["versions"], versions - 1);
    let mut known = store.query("SELECT lower(hex(digest)) FROM blob");
    let mut found = place.blobs();
    known.sort();
    found.sort();
    assert_eq!(found, known);
}

#[test]
fn from_push_to_versions_over_moto() {
    from_push_to_versions(Kind::Moto);
}

#[test]
fn from_push_to_versions_over_radosgw() {
    from_push_to_versions(Kind::Radosgw);
}

#[test]
fn a_bucket_that_is_missing_is_made_when_asked_for() {
    for kind in [Kind::Moto, Kind::Radosgw] {
        let Some(mut place) = Place::prepare(kind, "bucket::missing", "", |project| project) else {
            continue;
        };
        let bucket = format!("absent-{}", kind.name());
        let endpoint = place.proxy.endpoint();
        use_bucket(&mut place.world.server, place.s3, &endpoint, &bucket, "");
        let server = &mut place.world.server;
        for command in [&["serve"][..], &["doctor"]] {
            let output = server.cli(command);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert!(!output.status.success() && said.contains("doctor --create-bucket"), "{said}");
        }
        let said = server.cli_text(&["doctor", "--create-bucket"]);
        assert!(said.contains("versioned"), "{said}");
        let policy: Value = serde_json::from_str(&server.cli_text(&["doctor", "--policy"])).expect("JSON");
        assert_eq!(policy["Statement"][1]["Resource"], format!("arn:aws:s3:::{bucket}/mill/*"));
        server.start();
        place.bucket = bucket;
        let commit = place.world.commit(None, &Changes::new().file("a", "b"));
        place.world.push_and_wait(MAIN, &commit);
        assert_eq!(place.blobs().len(), 2, "archive and index");
        // Short commands believe what was found out before.
        place.proxy.take_seen();
        place.world.server.cli_text(&["project", "list"]);
        assert_eq!(place.proxy.seen(), [], "{kind:?}");
        place.world.server.cli_text(&["gc"]);
        let others = place.proxy.seen().into_iter().filter(|seen| seen.operation != Operation::ListObjectsV2);
        assert_eq!(others.collect::<Vec<_>>(), [], "{kind:?}");
    }
}
