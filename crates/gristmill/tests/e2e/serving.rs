//! What is published, read through the server; and what happens by the clock.

use gristmill_testkit::server::{PATIENCE, Server, wait_for};
use serde_json::Value;

use crate::world::{KEY, MAIN, World, assert_equals_git};

/// The answer to a GET: status, one header, body.
fn get(server: &Server, path: &str, headers: &[(&str, &str)], wanted: &str) -> (u16, String, Vec<u8>) {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let mut request = agent.get(server.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.call().expect("an answer");
    let header = response.headers().get(wanted).map(|value| value.to_str().expect("ASCII").to_owned());
    let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec().expect("a body");
    (response.status().as_u16(), header.unwrap_or_default(), body)
}

#[test]
fn archives_are_read_by_key_by_commit_in_parts_and_as_a_list() {
    let world = World::start(|project| project);
    let (a, b) = (world.text(None, "A"), world.text(None, "B"));
    let late = world.github.push(crate::world::PROJECT, MAIN, Some(&a));
    world.push_and_wait(MAIN, &b);
    world.server.accept(crate::world::PROJECT, &late);
    world.server.wait_until_idle();
    let path = format!("/archive/{KEY}");
    let (status, etag, whole) = get(&world.server, &path, &[], "etag");
    assert_eq!(status, 200);
    assert_equals_git(&world.repo, &b, &whole);
    assert_eq!(get(&world.server, &path, &[], "gristmill-commit").1, b);
    let (status, _, none) = get(&world.server, &path, &[("if-none-match", &etag)], "etag");
    assert_eq!((status, none.len()), (304, 0));
    let (status, range, part) = get(&world.server, &path, &[("range", "bytes=2-9")], "content-range");
    assert_eq!((status, range.as_str()), (206, format!("bytes 2-9/{}", whole.len()).as_str()));
    assert_eq!(part, whole[2..10]);
    // A was overtaken before it was seen: no name led to it, its archive is there.
    let (status, _, overtaken) = get(&world.server, &format!("{path}@{a}"), &[], "etag");
    assert_eq!(status, 200);
    assert_equals_git(&world.repo, &a, &overtaken);
    let (status, _, versions) = get(&world.server, &format!("{path}?versions"), &[], "etag");
    assert_eq!(status, 200);
    let versions: Value = serde_json::from_slice(&versions).expect("JSON");
    assert!(versions.to_string().contains(&b) && !versions.to_string().contains(&a), "{versions:#}");
    let (status, ..) = get(&world.server, "/archive/acme/shop/main/unknown.zip", &[], "etag");
    assert_eq!(status, 404);
}

#[test]
fn a_schedule_whose_time_has_come_builds_once_however_often_it_was_missed() {
    let mut world = World::start(|project| project.pipeline("schedule = \"0 3 1 1 *\""));
    let commit = world.text(None, "one");
    world.push_and_wait(MAIN, &commit);
    let planned = || world.server.store().number("SELECT next_ms FROM schedule");
    assert!(wait_for(PATIENCE, || (planned() > 1).then_some(())).is_some(), "it has a time");
    let next = planned();
    world.server.stop();
    // As if the server had been away for years.
    world.server.store().execute("UPDATE schedule SET next_ms = 1");
    world.server.start();
    let built = wait_for(PATIENCE, || (world.runs().len() == 2).then_some(()));
    assert!(built.is_some(), "{}", world.server.log());
    world.server.wait_until_idle();
    assert_eq!(world.run_of(&commit)["cause"], "schedule");
    assert_eq!(world.run_of(&commit)["cause_id"], "0 3 1 1 *");
    assert_eq!(world.server.store().number("SELECT next_ms FROM schedule"), next);
    assert_eq!(world.runs().len(), 2);
    world.assert_public(KEY, &commit);
}
