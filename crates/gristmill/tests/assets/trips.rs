//! How often the bucket is asked.

use gristmill_testkit::faults::{Operation, Proxy};
use gristmill_testkit::s3::Kind;

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
