//! How the bucket is reached: proxies and certificates, as the environment tells other programs of them too.

use gristmill_testkit::wire::{ROOT, Wire, answer};

use crate::world::{At, World};

const EMPTY: &str = "<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>";

fn empty() -> Vec<u8> {
    answer("200 OK", &[], EMPTY.as_bytes())
}

/// A world whose bucket is at a server that only this endpoint leads to.
fn world(endpoint: &str) -> World {
    let mut world = World::new(At::Folder, "").unwrap();
    world.set("PACKAGE_ASSETS_BUCKET", "some-bucket");
    world.set("AWS_ENDPOINT_URL", endpoint);
    world.set("AWS_ACCESS_KEY_ID", "id");
    world.set("AWS_SECRET_ACCESS_KEY", "secret");
    world.set("AWS_MAX_ATTEMPTS", "1");
    world
}

#[test]
fn proxies_are_gone_through() {
    let proxy = Wire::start(|_, _| empty());
    let at = format!("http://{}", proxy.address());
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let mut world = world("http://s3.test");
        world.set(name, &at);
        let before = proxy.requests().len();
        world.asset(&["list"]).ended(0);
        let requests = proxy.requests();
        assert!(requests.len() > before, "{name}");
        assert!(requests.last().unwrap().starts_with("GET http://s3.test/some-bucket"), "{requests:?}");
        world.set("NO_PROXY", "s3.test");
        world.asset(&["list"]).ended(1).has("listing s3://some-bucket/");
        assert_eq!(proxy.requests().len(), requests.len(), "{name}: it was gone around");
    }
    // What is said first counts, and an empty one is none.
    let mut both = world("http://s3.test");
    both.set("http_proxy", "");
    both.set("HTTP_PROXY", &at);
    both.asset(&["list"]).ended(0);
    both.set("http_proxy", "socks5h://somebody:a-password@127.0.0.1:1");
    let done = both.asset(&["list"]);
    done.ended(1).has("http_proxy cannot be used: expected the address of a proxy");
    assert!(!done.lines.concat().contains("a-password"), "{done:#?}");
    // Nobody asks a proxy for what is on this machine.
    let near = Wire::start(|_, _| empty());
    let mut nearby = world(&format!("http://{}", near.address()));
    nearby.set("HTTP_PROXY", "http://127.0.0.1:1");
    nearby.asset(&["list"]).ended(0);
    let refusing = Wire::start(|_, _| answer("403 Forbidden", &[], b""));
    let mut world = world("https://s3.test");
    world.set("HTTPS_PROXY", &format!("http://somebody:a-password@{}", refusing.address()));
    let done = world.asset(&["list"]);
    done.ended(1);
    assert!(!done.lines.concat().contains("a-password"), "{done:#?}");
    assert!(refusing.requests()[0].starts_with("CONNECT s3.test:443"), "{:?}", refusing.requests());
}

#[test]
fn certificates_are_those_of_aws_ca_bundle() {
    let server = Wire::start_tls(|_, _| empty());
    let mut world = world(&format!("https://{}", server.address()));
    world.asset(&["list"]).ended(1);
    let file = world.path("roots.pem");
    let path = file.to_str().unwrap().to_owned();
    world.set("AWS_CA_BUNDLE", &path);
    world.asset(&["list"]).ended(1).has("AWS_CA_BUNDLE: reading");
    for text in ["no certificates", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&file, text).unwrap();
        world.asset(&["list"]).ended(1).has("AWS_CA_BUNDLE").has("not certificates in PEM");
    }
    std::fs::write(&file, ROOT).unwrap();
    world.asset(&["list"]).ended(0);
}
