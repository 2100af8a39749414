//! The S3 servers that tests start are there, apart from each other, and do what the tests of others build on.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use gristmill_testkit::s3::{Kind, Server};
use gristmill_testkit::server::{PATIENCE, pause, wait_for};

/// An object goes in and comes back, through a key that shows whether names are encoded and signed alike.
fn round_trip(kind: Kind) {
    let Some(server) = Server::shared(kind, &format!("s3::round_trip::{}", kind.name())) else { return };
    let (bucket, client) = (server.bucket(false), server.client());
    let target = format!("/{bucket}/folder/a%20b%2Bc.txt");
    client.expect(200, "PUT", &target, &[("x-amz-meta-made-by", "a test")], b"hello").expect("stored");
    let reply = client.expect(200, "GET", &target, &[], b"").expect("there");
    assert_eq!((reply.body.as_slice(), reply.header("x-amz-meta-made-by")), (&b"hello"[..], Some("a test")));
    let listed = client.expect(200, "GET", &format!("/{bucket}?list-type=2&prefix=folder%2F"), &[], b"");
    assert!(listed.as_ref().expect("a list").text().contains("<Key>folder/a b+c.txt</Key>"), "{listed:?}");
    client
        .expect(404, "GET", &format!("/{}/folder/a%20b%2Bc.txt", server.bucket(false)), &[], b"")
        .expect("apart");
}

#[test]
fn moto_keeps_objects() {
    round_trip(Kind::Moto);
}

#[test]
fn s3s_fs_keeps_objects() {
    round_trip(Kind::S3sFs);
}

#[test]
fn radosgw_keeps_objects() {
    round_trip(Kind::Radosgw);
}

#[test]
fn versions_are_kept_where_there_are_any() {
    for kind in Kind::ALL {
        let name = format!("s3::versions_are_kept_where_there_are_any::{}", kind.name());
        let Some(server) = Server::shared(kind, &name) else { continue };
        if !kind.has_versions() {
            assert!(
                server.make_bucket("versioned", true).is_err(),
                "{kind:?} has versions now: say so in the testkit"
            );
            continue;
        }
        let (bucket, client) = (server.bucket(true), server.client());
        let target = format!("/{bucket}/key");
        let ids = [b"one", b"two"].map(|body| {
            let reply = client.expect(200, "PUT", &target, &[], body).expect("stored");
            reply.header("x-amz-version-id").expect("a version").to_owned()
        });
        for (id, body) in ids.iter().zip([b"one", b"two"]) {
            let reply =
                client.expect(200, "GET", &format!("{target}?versionId={id}"), &[], b"").expect("there");
            assert_eq!(reply.body, body, "{kind:?}");
        }
    }
}

#[test]
fn wrong_signatures_are_refused_where_they_are_checked() {
    for (kind, expected) in [(Kind::Moto, 200), (Kind::S3sFs, 403), (Kind::Radosgw, 403)] {
        let name = format!("s3::wrong_signatures_are_refused_where_they_are_checked::{}", kind.name());
        let Some(server) = Server::shared(kind, &name) else { continue };
        let mut client = server.client();
        client.secret_key.push('x');
        client.expect(expected, "GET", "/", &[], b"").expect("an answer");
    }
}

#[test]
fn a_server_ends_with_its_owner() {
    let Some(server) = Server::start(Kind::S3sFs, "s3::a_server_ends_with_its_owner") else { return };
    let client = server.client();
    client.expect(200, "GET", "/", &[], b"").expect("it runs");
    drop(server);
    let error = client.send("GET", "/", &[], b"").expect_err("it is gone");
    assert!(error.to_lowercase().contains("refused"), "{error}");
}

/// The other process of the test below: a test with a server that it shares, and that nothing ever drops.
#[test]
#[ignore = "run by a_server_ends_with_a_test_that_is_killed"]
fn a_test_that_is_killed() {
    let server = Server::shared(Kind::S3sFs, "s3::a_test_that_is_killed").expect("it is installed");
    println!("\n{}", server.endpoint);
    pause(PATIENCE);
}

#[test]
fn a_server_ends_with_a_test_that_is_killed() {
    let Some(_server) = Server::shared(Kind::S3sFs, "s3::a_server_ends_with_a_test_that_is_killed") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "--nocapture", "a_test_that_is_killed"])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("piped above")).lines().map_while(Result::ok);
    let endpoint = lines.into_iter().find(|line| line.starts_with("http://")).expect("an endpoint");
    let address = endpoint.trim_start_matches("http://");
    assert!(std::net::TcpStream::connect(address).is_ok(), "it runs");
    let entries = || std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(entries(), 1, "the server's folder");
    child.kill().expect("a child can be killed");
    child.wait().expect("a child can be reaped");
    let is_gone = || (std::net::TcpStream::connect(address).is_err() && entries() == 0).then_some(());
    assert!(wait_for(PATIENCE, is_gone).is_some(), "the server or its folder is still there");
}
