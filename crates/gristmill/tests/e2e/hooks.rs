//! Who is let in, and what the others are told.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use gristmill_testkit::forge::{Delivery, Fault, sign};
use gristmill_testkit::server::Server;

use crate::world::{KEY, MAIN, PROJECT, SECRET, World, project};

/// Sends a request as it stands, and returns the whole answer without its date.
pub(crate) fn raw(server: &Server, path: &str, headers: &[(&str, &str)], body: &[u8]) -> String {
    let address = server.address().expect("a running server");
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nHost: mill\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(&[head.as_bytes(), b"\r\n", body].concat()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
        .lines()
        .filter(|line| !line.to_ascii_lowercase().starts_with("date:"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn mistake_01_mistake_10_rule_2_whoever_has_no_secret_is_told_the_same_to_the_byte() {
    let mut world = World::prepare(|project| project);
    let silent = world.github.create("acme/silent", SECRET);
    let commit = world.text(None, "one");
    drop(silent);
    world.server.set_projects([
        project(&world.github, PROJECT),
        project(&world.github, "acme/silent").without_secret(),
    ]);
    world.server.start();
    let push = world.github.push(PROJECT, MAIN, Some(&commit)).remove(0);
    let common = [
        ("X-GitHub-Event", "push"),
        ("X-GitHub-Delivery", push.id.as_str()),
        ("Content-Type", "application/json"),
    ];
    let ask = |path: &str, signature: Option<(&str, &str)>| {
        let headers: Vec<(&str, &str)> = common.into_iter().chain(signature).collect();
        raw(&world.server, path, &headers, &push.body)
    };
    let (wrong, empty) = (sign("another secret", &push.body), sign("", &push.body));
    let name = "X-Hub-Signature-256";
    let wrong_answer = ask("/hooks/acme/shop", Some((name, &wrong)));
    assert!(wrong_answer.starts_with("HTTP/1.1 401 "), "mistake 10: {wrong_answer}");
    assert!(!wrong_answer.contains(&push.signature["sha256=".len()..]), "no expected signature");
    let refused = [
        ("mistake 1: the key \"\"", ask("/hooks/acme/shop", Some((name, &empty)))),
        ("mistake 2: from this machine without a signature", ask("/hooks/acme/shop", None)),
        ("an empty signature", ask("/hooks/acme/shop", Some((name, "")))),
        (
            "sha1 only",
            ask(
                "/hooks/acme/shop",
                Some(("X-Hub-Signature", "sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709")),
            ),
        ),
        ("another forge's header", ask("/hooks/acme/shop", Some(("X-Gitlab-Token", SECRET)))),
        ("an unknown project", ask("/hooks/acme/unknown", Some((name, &push.signature)))),
        ("an unknown project, wrong", ask("/hooks/acme/unknown", Some((name, &wrong)))),
        ("a project without a webhook", ask("/hooks/acme/silent", Some((name, &push.signature)))),
        ("a project without a webhook, the key \"\"", ask("/hooks/acme/silent", Some((name, &empty)))),
    ];
    for (what, answer) in refused {
        assert_eq!(answer, wrong_answer, "{what}");
    }
    assert_eq!(world.server.store().number("SELECT count(*) FROM delivery"), 0, "nothing is stored");
    let good = ask("/hooks/acme/shop", Some((name, &push.signature)));
    assert!(good.starts_with("HTTP/1.1 202 "), "{good}");
    world.server.wait_until_idle();
}

#[test]
fn rule_1_header_names_are_taken_in_any_case() {
    let world = World::start(|project| project);
    let commit = world.text(None, "one");
    let push = world.github.push(PROJECT, MAIN, Some(&commit)).remove(0);
    let headers = [
        ("x-GITHUB-event", "push"),
        ("x-github-DELIVERY", push.id.as_str()),
        ("X-HUB-signature-256", push.signature.as_str()),
    ];
    let answer = raw(&world.server, "/hooks/acme/shop", &headers, &push.body);
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    world.server.wait_until_idle();
    world.assert_public(KEY, &commit);
}

#[test]
fn rule_4_the_raw_bytes_are_verified_first_and_what_cannot_be_read_is_recorded() {
    let mut world = World::prepare(|project| project);
    world.server.set_settings("body_max = \"64KiB\"\n");
    world.server.start();
    let broken = world.github.ping(PROJECT).with_body("{ this is not JSON");
    assert_eq!(world.server.send(PROJECT, &broken).expect("an answer").status, 401);
    let signed = broken.signed_with(SECRET);
    let id = world.server.accept(PROJECT, [&signed]).remove(0);
    world.server.wait_until_idle();
    let shown = world.server.cli_json(&["delivery", "show", &id]);
    assert_eq!(shown["state"], "ignored");
    assert!(shown["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{shown:#}");
    // The limit: one byte more is refused before it is verified.
    let of = |length: usize| world.github.ping(PROJECT).with_body(vec![b' '; length]).signed_with(SECRET);
    let status = |delivery: &Delivery| world.server.send(PROJECT, delivery).expect("an answer").status;
    assert_eq!(status(&of(64 * 1024)), 202);
    assert_eq!(status(&of(64 * 1024 + 1)), 413);
    world.server.wait_until_idle();
}

#[test]
fn rule_6_the_same_delivery_again_gets_the_first_answer_and_another_body_a_conflict() {
    let world = World::start(|project| project);
    let commit = world.text(None, "one");
    let push = world.github.push(PROJECT, MAIN, Some(&commit)).remove(0);
    let send = |delivery: &Delivery| world.server.send(PROJECT, delivery).expect("an answer");
    let first = send(&push);
    assert_eq!(first.status, 202);
    world.server.wait_until_idle();
    for _ in 0..5 {
        assert_eq!(send(&push), first);
    }
    world.server.wait_until_idle();
    assert_eq!(world.runs().len(), 1);
    let mut other = push.body.clone();
    other.push(b' ');
    let conflict = send(&push.with_body(other).signed_with(SECRET));
    assert_eq!(conflict.status, 409);
    world.server.wait_for_log("audit: another body came under the id of a stored delivery");
    assert_eq!(send(&push), first, "the first delivery stays");
    assert_eq!(world.server.store().number("SELECT count(*) FROM delivery"), 1);
}

#[test]
fn a_person_who_replays_a_delivery_builds_again() {
    let world = World::start(|project| project);
    let commit = world.text(None, "one");
    let push = world.github.push(PROJECT, MAIN, Some(&commit));
    let id = world.server.accept(PROJECT, &push[..1]).remove(0);
    world.server.wait_until_idle();
    world.server.cli_text(&["delivery", "replay", &id]);
    world.server.wait_until_idle();
    let runs = world.runs();
    assert_eq!(runs.len(), 2);
    assert!(runs.iter().all(|run| run["commit"] == commit && run["state"] == "succeeded"), "{runs:#?}");
    assert_eq!(world.server.cli_json(&["delivery", "show", &id])["replays"], 1);
    world.assert_public(KEY, &commit);
    let unknown = world.server.cli(&["delivery", "replay", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]);
    assert_eq!(unknown.status.code(), Some(1));
}

#[test]
fn mistake_02_mistake_14_rule_7_the_payload_chooses_neither_repository_nor_address() {
    let world = World::start(|project| project);
    let trap = TcpListener::bind("127.0.0.1:0").expect("a port");
    trap.set_nonblocking(true).expect("a socket");
    let there = format!("http://{}/x", trap.local_addr().expect("bound"));
    let commit = world.text(None, "one");
    let push = world.github.push(PROJECT, MAIN, Some(&commit)).remove(0);
    let mut payload: serde_json::Value = serde_json::from_slice(&push.body).expect("JSON");
    let repository = payload["repository"].as_object_mut().expect("an object");
    for name in ["clone_url", "git_url", "ssh_url", "url", "html_url", "archive_url"] {
        repository.insert(name.to_owned(), there.clone().into());
    }
    world.server.accept(PROJECT, [&world.github.delivery(PROJECT, "push", &payload)]);
    world.server.wait_until_idle();
    world.assert_public(KEY, &commit);
    // Another repository's push, signed with this one's secret.
    payload["repository"]["full_name"] = "acme/secret-plans".into();
    payload["repository"]["id"] = 4711.into();
    let id = world.server.accept(PROJECT, [&world.github.delivery(PROJECT, "push", &payload)]).remove(0);
    world.server.wait_until_idle();
    let shown = world.server.cli_json(&["delivery", "show", &id]);
    assert_eq!(shown["state"], "ignored", "{shown:#}");
    assert_eq!(world.runs().len(), 1);
    assert!(trap.accept().is_err(), "nobody was asked but the configured remote");
}

#[test]
fn rule_7_a_name_that_was_deleted_and_made_again_is_noticed() {
    let world = World::start(|project| project);
    let commit = world.text(None, "one");
    world.push_and_wait(MAIN, &commit);
    let again = world.github.create(PROJECT, SECRET);
    let other =
        again.commit_unreferenced(&[], &gristmill_testkit::repo::Changes::new().file("x", "stranger"));
    let push = world.github.push(PROJECT, MAIN, Some(&other));
    let ids = world.server.accept(PROJECT, &push);
    world.server.wait_until_idle();
    let shown = world.server.cli_json(&["delivery", "show", &ids[0]]);
    assert_eq!(shown["state"], "ignored");
    let reason = shown["reason"].as_str().expect("a reason");
    assert!(reason.contains("repository_id"), "says what to do: {reason}");
}

#[test]
fn rule_9_an_answer_comes_at_once_while_the_forge_hangs() {
    let mut world = World::start(|project| project);
    world.github.set_fault(Fault::Hang);
    let commit = world.text(None, "one");
    let begun = Instant::now();
    world.push(MAIN, &commit);
    world.push("refs/heads/other", &commit);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    world.server.expect_leftovers();
}
