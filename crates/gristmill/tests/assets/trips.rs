//! How often the bucket is asked.

use std::time::Duration;

use gristmill_testkit::faults::{Fault, Operation, Proxy, Rule};
use gristmill_testkit::s3::Kind;
use gristmill_testkit::server::{PATIENCE, wait_for};

use crate::world::{At, World};

#[test]
fn a_commit_that_is_there_is_found_with_two_calls() {
    let Some(mut world) = World::new(At::Server(Kind::S3sFs), "trips::found") else { return };
    world.check(&[]).ended(0);
    world.build(&[("a.zip", "a"), ("b.zip", "b")]);
    world.upload(&[]).ended(0);
    let proxy = Proxy::start(&world.server.unwrap().endpoint);
    world.set("AWS_ENDPOINT_URL", &proxy.endpoint());
    world.check(&[]).ended(0).has("2 artifact(s) found");
    let mut calls: Vec<Operation> = proxy.take_seen().iter().map(|seen| seen.operation).collect();
    calls.sort();
    assert_eq!(calls, [Operation::GetObject, Operation::ListObjectsV2]);
    // Not there at all: two for the commit, two for the code.
    world.commit("lambdas/a/m.py", "other");
    world.check(&[]).ended(0).has("No package found");
    assert_eq!(proxy.take_seen().len(), 4);
}

#[test]
fn the_servers_check_what_arrives() {
    let Some(mut world) = World::new(At::Server(Kind::S3sFs), "trips::checksums") else { return };
    world.check(&[]).ended(0);
    world.build(&[("small", "a"), ("large", &"0123456789".repeat(4_000_000))]);
    let proxy = Proxy::start(&world.server.unwrap().endpoint);
    world.set("AWS_ENDPOINT_URL", &proxy.endpoint());
    world.upload(&[]).ended(0);
    let seen = proxy.take_seen();
    let is_sent = |operation| matches!(operation, Operation::PutObject | Operation::UploadPart);
    let sent: Vec<_> = seen.iter().filter(|seen| is_sent(seen.operation)).collect();
    assert!(sent.len() > 6, "{}", sent.len());
    for one in sent {
        let has = one.headers.iter().any(|(name, _)| name == "x-amz-checksum-sha256");
        assert!(has, "{:?} {}", one.operation, one.key);
    }
    world.check(&[]).ended(0).has("2 artifact(s) found");
}

/// The manifest is asked for and the objects are listed at once: another job's upload may begin in between.
#[test]
fn an_upload_that_begins_between_the_two_calls_is_not_found() {
    let Some(mut world) = World::new(At::Server(Kind::S3sFs), "trips::between") else { return };
    world.check(&[]).ended(0);
    let proxy = Proxy::start(&world.server.unwrap().endpoint);
    world.set("AWS_ENDPOINT_URL", &proxy.endpoint());
    proxy.rule(Rule::new(Fault::Delay(Duration::from_secs(3))).on(Operation::ListObjectsV2).times(1));
    let head = world.head();
    let mut check = world.command(&world.path("check"), &["--exit-code"]).spawn().unwrap();
    // The list is on its way, and the manifest was asked for.
    let asked = wait_for(PATIENCE, || (proxy.count(Operation::GetObject) > 0).then_some(()));
    assert!(asked.is_some());
    let manifest = format!(
        r#"{{"format": "gristmill-asset-set/1", "state": "uploading", "commit": "{head}", "origin": "build", "writer": "w", "begun_ms": 1, "files": []}}"#
    );
    world.write(&format!(".gristmill/sets/{head}.json"), &manifest, &[]);
    world.write(&format!("artifacts/{head}/a.zip"), "a", &[]);
    assert_eq!(check.wait().unwrap().code(), Some(0));
    assert!(world.flag(".found").is_none());
}

/// The server has made the object, and its answer is lost; asked again, it knows of no such upload any more.
#[test]
fn a_large_file_whose_last_answer_is_lost_is_there() {
    for kind in [Kind::Moto, Kind::S3sFs, Kind::Radosgw] {
        let Some(mut world) = World::new(At::Server(kind), "trips::lost") else { continue };
        world.check(&[]).ended(0);
        world.build(&[("large", &"0123456789".repeat(2_000_000))]);
        let proxy = Proxy::start(&world.server.unwrap().endpoint);
        world.set("AWS_ENDPOINT_URL", &proxy.endpoint());
        proxy.rule(Rule::new(Fault::ResetAfter).on(Operation::CompleteMultipartUpload).times(1));
        world.upload(&[]).ended(0).has("1 package(s) uploaded");
        let calls = proxy.take_seen();
        let sent = calls.iter().filter(|seen| seen.operation == Operation::UploadPart).count();
        assert_eq!(sent, 2, "{kind:?}: nothing is sent twice");
        world.check(&[]).ended(0).has("1 artifact(s) found");
        world.asset(&["get", "--into", world.path("back").to_str().unwrap()]).ended(0);
    }
}
