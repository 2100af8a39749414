//! GitHub's API, as <https://docs.github.com/en/rest> describes it.

use gristmill_testkit::FakeForge;
use gristmill_testkit::forge::{Door, Family, Fault, Grant, Part};
use gristmill_testkit::repo::Changes;
use serde_json::{Value, json};

use crate::api::{ADMIN, Got, NAME, ask, members, private, public_key};

const WHO: &str = "Authorization: Bearer token-of-an-administrator";

fn call(forge: &FakeForge, method: &str, path: &str, body: Option<Value>) -> Got {
    ask(method, &format!("{}{path}", forge.api_url()), WHO, body)
}

fn hook(url: &str) -> Value {
    json!({ "name": "web", "active": true, "events": ["push", "release"], "config": { "url": url, "content_type": "json", "secret": "hush" } })
}

#[test]
fn who_asks_decides_what_is_seen() {
    let forge = private(Family::Github);
    forge.add_token("reads", Grant::Read, &[]);
    forge.add_token("other", Grant::Admin, &["acme/other"]);
    let at = |path: &str| format!("{}{path}", forge.api_url());
    let enterprise = format!("http://{}/api/v3/repos/acme/shop", forge.address());
    for (method, url, who, status, message) in [
        ("GET", at("/repos/acme/shop"), WHO, 200, ""),
        ("GET", at("/repos/ACME/Shop"), "Authorization: token token-of-an-administrator", 200, ""),
        ("GET", enterprise, WHO, 200, ""),
        ("GET", at("/repos/acme/shop"), "", 404, "Not Found"),
        ("GET", at("/repos/acme/shop"), "Authorization: Bearer wrong", 401, "Bad credentials"),
        ("GET", at("/repos/acme/shop"), "Authorization: Bearer other", 404, "Not Found"),
        ("GET", at("/repos/acme/shop"), "PRIVATE-TOKEN: token-of-an-administrator", 404, "Not Found"),
        ("GET", at("/repos/acme/none"), WHO, 404, "Not Found"),
        ("GET", at("/repos/acme/shop"), "Authorization: Bearer reads", 200, ""),
        (
            "GET",
            at("/repos/acme/shop/hooks"),
            "Authorization: Bearer reads",
            403,
            "Resource not accessible by personal access token",
        ),
        ("GET", at("/repos/acme/shop/hooks"), "", 401, "Requires authentication"),
        ("GET", at("/user"), WHO, 200, ""),
    ] {
        let got = ask(method, &url, who, None);
        assert_eq!(
            (got.status, got.body["message"].as_str().unwrap_or("")),
            (status, message),
            "{url} {who}"
        );
    }
    let repository = call(&forge, "GET", "/repos/acme/shop", None).body;
    assert_eq!(repository["id"], forge.repository_id(NAME));
    assert_eq!(repository["clone_url"], forge.clone_url(NAME));
    assert_eq!(repository["private"], true);
    let by_id = call(&forge, "GET", &format!("/repositories/{}", forge.repository_id(NAME)), None);
    assert_eq!(by_id.body["full_name"], NAME);
}

#[test]
fn hooks_are_made_changed_listed_and_removed() {
    let forge = private(Family::Github);
    let made = call(&forge, "POST", "/repos/acme/shop/hooks", Some(hook("http://127.0.0.1:1/a")));
    assert_eq!(made.status, 201, "{}", made.body);
    let id = made.body["id"].as_u64().expect("a number");
    assert_eq!(made.body["config"]["secret"], "********");
    assert_eq!(forge.hooks(NAME)[0].secret.as_deref(), Some("hush"));
    let ping = forge.take_outbox().pop().expect("a new hook is pinged");
    assert_eq!((ping.event.as_str(), ping.url.as_str()), ("ping", "http://127.0.0.1:1/a"));

    let again = call(&forge, "POST", "/repos/acme/shop/hooks", Some(hook("http://127.0.0.1:1/a")));
    assert_eq!(again.status, 422);
    assert_eq!(again.body["message"], "Validation Failed");
    assert_eq!(again.body["errors"][0]["message"], "Hook already exists on this repository");
    for number in 0..3 {
        let more = hook(&format!("http://127.0.0.1:1/{number}"));
        assert_eq!(call(&forge, "POST", "/repos/acme/shop/hooks", Some(more)).status, 201);
    }
    let first = call(&forge, "GET", "/repos/acme/shop/hooks?per_page=3", None);
    assert_eq!(first.body.as_array().map(Vec::len), Some(3));
    let second = ask("GET", &first.next().expect("a further page"), WHO, None);
    assert_eq!((second.body.as_array().map(Vec::len), second.next()), (Some(1), None));

    let path = format!("/repos/acme/shop/hooks/{id}");
    let config = json!({ "config": { "url": "http://127.0.0.1:1/b", "content_type": "json" }, "add_events": ["create"] });
    let changed = call(&forge, "PATCH", &path, Some(config));
    assert_eq!(changed.body["events"], json!(["push", "release", "create"]));
    assert_eq!(changed.body["config"]["secret"], Value::Null, "a config without a secret takes it away");
    let rotated = json!({ "secret": "another" });
    let config = call(&forge, "PATCH", &format!("{path}/config"), Some(rotated));
    assert_eq!((config.status, &config.body["url"]), (200, &json!("http://127.0.0.1:1/b")));
    assert_eq!(forge.hooks(NAME)[0].secret.as_deref(), Some("another"));
    assert_eq!(call(&forge, "DELETE", &path, None).status, 204);
    assert_eq!(call(&forge, "GET", &path, None).status, 404);
    let bad = call(&forge, "POST", "/repos/acme/shop/hooks", Some(hook("ftp://x")));
    assert_eq!((bad.status, &bad.body["errors"][0]["resource"]), (422, &json!("Hook")));
}

#[test]
fn what_did_not_arrive_is_listed_and_sent_again() {
    let forge = private(Family::Github);
    call(&forge, "POST", "/repos/acme/shop/hooks", Some(hook("http://127.0.0.1:1/")));
    let id = forge.hooks(NAME)[0].id;
    let repo = forge.repository_handle(NAME);
    for number in 0..4 {
        let commit = repo.commit_unreferenced(&[], &Changes::new().file("a", format!("{number}")));
        let made = forge.push(NAME, "refs/heads/main", Some(&commit));
        assert_eq!(made.len(), 1, "`create` is not asked for");
        assert_eq!(made[0].signature, gristmill_testkit::forge::sign("hush", &made[0].body));
    }
    let path = format!("/repos/acme/shop/hooks/{id}/deliveries");
    let first = call(&forge, "GET", &format!("{path}?per_page=3"), None);
    let second = ask("GET", &first.next().expect("a cursor"), WHO, None);
    assert_eq!(second.next(), None);
    let all: Vec<Value> =
        [first.body, second.body].iter().flat_map(|page| page.as_array().expect("a list").clone()).collect();
    let events: Vec<&str> = all.iter().map(|one| one["event"].as_str().expect("a name")).collect();
    assert_eq!(events, ["push", "push", "push", "push", "ping"], "newest first");
    assert!(all.iter().all(|one| one["status"] != "OK" && one["redelivery"] == false), "{all:#?}");

    let wanted = &all[0]["id"];
    let whole = call(&forge, "GET", &format!("{path}/{wanted}"), None).body;
    assert_eq!(whole["request"]["headers"]["X-GitHub-Delivery"], all[0]["guid"]);
    assert_eq!(whole["request"]["payload"]["ref"], "refs/heads/main");
    forge.take_outbox();
    assert_eq!(call(&forge, "POST", &format!("{path}/{wanted}/attempts"), None).status, 202);
    let again = forge.take_outbox().pop().expect("a redelivery");
    assert_eq!(Value::from(again.id.clone()), all[0]["guid"], "the same id again");
    // Anybody who answers will do; here it is the forge's own 404.
    again.deliver(&format!("http://{}/nobody", forge.address())).expect("an answer");
    let newest = call(&forge, "GET", &path, None).body[0].clone();
    assert_eq!((&newest["redelivery"], &newest["status_code"]), (&json!(true), &json!(404)));
    assert_eq!(call(&forge, "POST", &format!("{path}/1/attempts"), None).status, 404);
}

#[test]
fn keys_are_in_use_everywhere() {
    let forge = private(Family::Github);
    forge.create_bare("acme/other");
    let body = |key: &str| json!({ "title": "ours", "key": key, "read_only": true });
    let made =
        call(&forge, "POST", "/repos/acme/shop/keys", Some(body(&format!("{} me@here", public_key(1)))));
    assert_eq!((made.status, &made.body["key"]), (201, &json!(public_key(1))));
    let again = call(&forge, "POST", "/repos/acme/other/keys", Some(body(&public_key(1))));
    assert_eq!((again.status, &again.body["errors"][0]["message"]), (422, &json!("key is already in use")));
    let bad = call(&forge, "POST", "/repos/acme/shop/keys", Some(body("ssh-rsa AAAAC3NzaC1lZDI1NTE5")));
    assert_eq!(bad.status, 422);
    assert_eq!(call(&forge, "GET", "/repos/acme/shop/keys", None).body.as_array().map(Vec::len), Some(1));
    let path = format!("/repos/acme/shop/keys/{}", made.body["id"]);
    assert_eq!(call(&forge, "DELETE", &path, None).status, 204);
    assert_eq!(call(&forge, "DELETE", &path, None).status, 404);
    assert_eq!(forge.keys(NAME), []);
}

#[test]
fn statuses_have_limits() {
    let forge = private(Family::Github);
    forge.add_token("writes", Grant::Write, &[]);
    let commit = forge.repository_handle(NAME).commit("main", &Changes::new().file("a", "1"));
    let path = format!("/repos/acme/shop/statuses/{commit}");
    let body = |length: usize| json!({ "state": "success", "target_url": "http://127.0.0.1/x", "description": "ä".repeat(length), "context": "gristmill" });
    let made =
        ask("POST", &format!("{}{path}", forge.api_url()), "Authorization: Bearer writes", Some(body(140)));
    assert_eq!((made.status, &made.body["context"]), (201, &json!("gristmill")));
    let long = call(&forge, "POST", &path, Some(body(141)));
    assert_eq!(
        (long.status, &long.body["errors"][0]["message"]),
        (422, &json!("description is too long (maximum is 140 characters)"))
    );
    for _ in 1..1_000 {
        assert_eq!(call(&forge, "POST", &path, Some(body(1))).status, 201);
    }
    assert_eq!(call(&forge, "POST", &path, Some(body(1))).status, 422, "a thousand and one");
    assert_eq!(forge.statuses(NAME).len(), 1_000);
    let other = json!({ "state": "pending", "context": "another" });
    assert_eq!(call(&forge, "POST", &path, Some(other)).status, 201);
    let none = format!("/repos/acme/shop/statuses/{}", "1".repeat(40));
    assert_eq!(call(&forge, "POST", &none, Some(body(1))).status, 422);
    let listed = call(&forge, "GET", &format!("/repos/acme/shop/commits/{commit}/statuses"), None);
    assert_eq!(listed.body[0]["context"], "another", "newest first");
}

#[test]
fn downloads_are_elsewhere_and_need_no_token_there() {
    let forge = private(Family::Github);
    let repo = forge.repository_handle(NAME);
    let changes =
        Changes::new().file("kept/a", "1").file("left", "2").file(".gitattributes", "left export-ignore\n");
    let commit = repo.commit("main", &changes);
    let asked = call(&forge, "GET", &format!("/repos/acme/shop/zipball/{commit}"), None);
    assert_eq!(asked.status, 302);
    let location = asked.header("location");
    assert!(location.starts_with(&forge.downloads_url()), "{location}");
    let got = ask("GET", location, "", None);
    let top = format!("acme-shop-{}", &commit[..7]);
    assert_eq!(members(&got.bytes, true), [format!("{top}/.gitattributes"), format!("{top}/kept/a")]);
    let bare = location.split('?').next().expect("an address");
    assert_eq!(ask("GET", bare, WHO, None).status, 404, "the address is what opens it");
    let seen = forge.requests();
    let there: Vec<_> = seen.iter().filter(|request| request.door == Door::Downloads).collect();
    assert_eq!((there[0].authorization.as_deref(), there.len()), (None, 2));
    let tarball = call(&forge, "GET", "/repos/acme/shop/tarball/refs/heads/main", None);
    let got = ask("GET", tarball.header("location"), "", None);
    assert!(members(&got.bytes, false).contains(&format!("{top}/kept/a")));
    assert_eq!(call(&forge, "GET", "/repos/acme/shop/tarball/none", None).status, 404);
}

#[test]
fn refs_and_commits_are_as_git_has_them() {
    let forge = private(Family::Github);
    let repo = forge.repository_handle(NAME);
    let commit = repo.commit("feature/x", &Changes::new().file("a", "1"));
    let tag = repo.annotated_tag("v1", &commit);
    let tree = repo.resolve(&format!("{commit}^{{tree}}")).expect("a tree");
    let get = |path: &str| call(&forge, "GET", &format!("/repos/acme/shop/{path}"), None).body;
    assert_eq!(get("commits/v1")["sha"], commit);
    assert_eq!(get(&format!("commits/{commit}"))["commit"]["tree"]["sha"], tree);
    assert_eq!(get(&format!("git/commits/{commit}"))["tree"]["sha"], tree);
    assert_eq!(
        get("git/ref/tags/v1")["object"],
        json!({ "sha": tag, "type": "tag", "url": get("git/ref/tags/v1")["object"]["url"] })
    );
    assert_eq!(get("git/ref/heads/feature"), get("git/ref/heads/none"));
    assert_eq!(get("git/matching-refs/heads/fea")[0]["ref"], "refs/heads/feature/x");
    assert_eq!(get("branches/feature/x")["commit"]["sha"], commit);
    assert_eq!(get("branches")[0]["name"], "feature/x");
    assert_eq!(get("tags")[0]["commit"]["sha"], commit);
    forge.set_fault_of(Part::Api, Fault::Limited(30));
    let limited = call(&forge, "GET", "/repos/acme/shop", None);
    assert_eq!((limited.status, limited.header("x-ratelimit-remaining")), (403, "0"));
    assert_eq!(limited.header("retry-after"), "30");
}

#[test]
fn many_tags_at_once_are_told_by_nobody() {
    let forge = FakeForge::start(Family::Github);
    let repo = forge.create(NAME, "hush");
    let commit = repo.commit_unreferenced(&[], &Changes::new().file("a", "1"));
    let push = |names: &[&str]| {
        let moves: Vec<(&str, Option<&str>)> =
            names.iter().map(|name| (*name, Some(commit.as_str()))).collect();
        let made = forge.push_all(NAME, &moves);
        made.iter().map(|delivery| delivery.event.clone()).collect::<Vec<_>>()
    };
    assert_eq!(push(&["refs/tags/1", "refs/tags/2", "refs/tags/3"]).len(), 6);
    assert_eq!(
        push(&["refs/tags/4", "refs/tags/5", "refs/tags/6", "refs/tags/7", "refs/heads/a"]),
        ["push", "create"]
    );
    assert_eq!(forge.push_all(NAME, &[("refs/heads/a", None), ("refs/heads/b", Some(&commit))]).len(), 4);
}

#[test]
fn an_agent_must_say_who_it_is() {
    let forge = private(Family::Github);
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).user_agent("").build().into();
    let request = agent.get(format!("{}/repos/acme/shop", forge.api_url()));
    let answer = request.header("Authorization", format!("Bearer {ADMIN}")).call().expect("an answer");
    assert_eq!(answer.status(), 403);
}
