//! Roles: taken with keys, and with a web identity.

use gristmill_testkit::FakeAws;
use gristmill_testkit::faults::Proxy;
use gristmill_testkit::s3::Kind;

use crate::world::{At, World};

/// The key ids by which objects were asked for.
fn key_ids(proxy: &Proxy) -> Vec<String> {
    let of = |value: &str| {
        value.split("Credential=").nth(1).unwrap_or_default().split('/').next().map(str::to_owned)
    };
    let seen = proxy.take_seen();
    let s3 = seen.iter().filter(|seen| !seen.bucket.is_empty());
    let headers = s3.flat_map(|seen| seen.headers.iter());
    let mut ids: Vec<String> =
        headers.filter(|(name, _)| name == "authorization").filter_map(|(_, value)| of(value)).collect();
    ids.sort();
    ids.dedup();
    ids
}

#[test]
fn a_role_is_taken_with_keys_or_with_a_token() {
    let Some(mut world) = World::new(At::Server(Kind::Moto), "role") else { return };
    let proxy = Proxy::start(&world.server.unwrap().endpoint);
    world.set("AWS_ENDPOINT_URL", &proxy.endpoint());
    world.check(&[]).ended(0).has("using credentials in environment variables");
    assert_eq!(key_ids(&proxy), [world.server.unwrap().access_key.clone()]);
    let role = "arn:aws:iam::123456789012:role/assets";
    world.set("AWS_ROLE", role);
    world.check(&[]).ended(0).has(&format!("Getting S3 client using assumed role: {role}"));
    let [id] = &key_ids(&proxy)[..] else { panic!("one key") };
    assert!(id.starts_with("ASIA"), "{id} is none of a session");
    // As CI systems give tokens of OpenID Connect: no keys at all.
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        world.unset(name);
    }
    world.set("AWS_WEB_IDENTITY_TOKEN_FILE", world.path("token").to_str().unwrap());
    world.check(&[]).ended(1);
    std::fs::write(world.path("token"), "a.b.c").unwrap();
    world.check(&[]).ended(0).has("with a web identity");
    let [id] = &key_ids(&proxy)[..] else { panic!("one key") };
    assert!(id.starts_with("ASIA"), "{id} is none of a session");
    // By AWS's own variables.
    world.unset("AWS_ROLE");
    world.set("AWS_ROLE_ARN", role);
    world.check(&[]).ended(0);
}

#[test]
fn a_session_that_ends_is_renewed() {
    let Some(mut world) = World::new(At::Server(Kind::Moto), "role::renewed") else { return };
    let (proxy, aws) = (Proxy::start(&world.server.unwrap().endpoint), FakeAws::start());
    world.set("AWS_ENDPOINT_URL", &proxy.endpoint());
    world.set("AWS_ENDPOINT_URL_STS", &aws.endpoint());
    world.set("AWS_ROLE", "arn:aws:iam::123456789012:role/assets");
    world.check(&[]).ended(0);
    let [first] = &aws.grants()[..] else { panic!("one session is enough while it lasts") };
    let asked = |name: &str| first.asked.get(name).map(String::as_str);
    assert_eq!(
        (asked("RoleSessionName"), asked("DurationSeconds")),
        (Some("s3-asset-manager"), Some("1200"))
    );
    proxy.take_seen();
    aws.end_at_once(2);
    world.build(&[("a.zip", "a"), ("b.zip", "b")]);
    world.upload(&[]).ended(0).has("2 package(s) uploaded");
    let given: Vec<String> = aws.grants()[1..].iter().map(|grant| grant.access_key.clone()).collect();
    assert!(given.len() >= 3, "{given:?}");
    let mut used = key_ids(&proxy);
    used.retain(|id| *id != world.server.unwrap().access_key);
    assert!(used.len() >= 2 && used.iter().all(|id| given.contains(id)), "{used:?} of {given:?}");
    assert!(used.contains(given.last().unwrap()), "the last is used");
}
