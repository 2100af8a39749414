//! The API of Gitea's family.

use gristmill_testkit::FakeForge;
use gristmill_testkit::forge::{Family, Grant};
use gristmill_testkit::repo::Changes;
use serde_json::{Value, json};

use crate::api::{Got, NAME, ask, members, private, public_key};

const WHO: &str = "Authorization: token token-of-an-administrator";

fn hook(kind: &str, url: &str) -> Value {
    json!({ "type": kind, "active": true, "events": ["push"], "config": { "url": url, "content_type": "json", "secret": "hush" } })
}

const FAMILIES: [(Family, &str); 3] =
    [(Family::Gitea, "gitea"), (Family::Forgejo, "forgejo"), (Family::Gogs, "gogs")];

fn call(forge: &FakeForge, method: &str, path: &str, body: Option<Value>) -> Got {
    ask(method, &format!("{}/repos/acme/shop{path}", forge.api_url()), WHO, body)
}

#[test]
fn who_asks_decides_what_is_seen() {
    for (family, kind) in FAMILIES {
        let forge = private(family);
        forge.add_token("reads", Grant::Read, &[]);
        for (path, who, status) in [
            ("", WHO, 200),
            ("", "", 404),
            ("", "Authorization: token wrong", 401),
            ("/hooks", "Authorization: token reads", 403),
            ("/hooks", "", 401),
            (
                "",
                "Authorization: Bearer token-of-an-administrator",
                if family == Family::Gogs { 401 } else { 200 },
            ),
        ] {
            let got = ask("GET", &format!("{}/repos/acme/shop{path}", forge.api_url()), who, None);
            assert_eq!(got.status, status, "{kind} {path} {who}");
        }
        let found = call(&forge, "GET", "", None).body;
        assert_eq!(
            (&found["full_name"], &found["id"]),
            (&json!(NAME), &json!(forge.repository_id(NAME))),
            "{kind}"
        );
    }
}

#[test]
fn hooks_are_made_changed_listed_and_removed() {
    for (family, kind) in FAMILIES {
        let forge = private(family);
        for number in 0..4 {
            let made = call(
                &forge,
                "POST",
                "/hooks",
                Some(hook(kind, &format!("http://127.0.0.1:1/{}", number / 2))),
            );
            assert_eq!((made.status, &made.body["type"]), (201, &json!(kind)), "{kind}: {}", made.body);
            assert!(!made.body.to_string().contains("hush"), "{kind}: the secret is never shown");
        }
        let listed = call(&forge, "GET", "/hooks?limit=3", None);
        if family == Family::Gogs {
            assert_eq!(listed.body.as_array().map(Vec::len), Some(4), "it knows no pages");
        } else {
            assert_eq!(
                (listed.body.as_array().map(Vec::len), listed.header("x-total-count")),
                (Some(3), "4"),
                "{kind}"
            );
            let second = ask("GET", &listed.next().expect("a further page"), WHO, None);
            assert_eq!(second.body.as_array().map(Vec::len), Some(1), "{kind}");
        }
        for bad in [hook("slack?", "http://127.0.0.1:1/"), hook(kind, "nowhere"), json!({ "type": kind })] {
            assert_eq!(call(&forge, "POST", "/hooks", Some(bad)).status, 422, "{kind}");
        }
        let one = format!("/hooks/{}", listed.body[0]["id"]);
        let changed =
            call(&forge, "PATCH", &one, Some(json!({ "active": false, "events": ["push", "create"] })));
        assert_eq!(
            (&changed.body["active"], &changed.body["events"]),
            (&json!(false), &json!(["push", "create"]))
        );
        assert_eq!(forge.hooks(NAME)[0].secret.as_deref(), Some("hush"), "{kind}: what is not said stays");
        let gone = (call(&forge, "DELETE", &one, None).status, call(&forge, "DELETE", &one, None).status);
        assert_eq!(gone, (204, 404), "{kind}");
    }
}

#[test]
fn keys_statuses_and_downloads() {
    for (family, kind) in FAMILIES {
        let forge = private(family);
        let repo = forge.repository_handle(NAME);
        let commit = repo.commit("main", &Changes::new().file("a", "1"));
        let key = json!({ "title": "ours", "key": public_key(1), "read_only": true });
        let made = call(&forge, "POST", "/keys", Some(key.clone()));
        assert_eq!(made.status, 201, "{kind}");
        let again = call(&forge, "POST", "/keys", Some(key));
        assert_eq!(
            (again.status, &again.body["message"]),
            (422, &json!("This key has already been added to this repository"))
        );
        let named = call(&forge, "POST", "/keys", Some(json!({ "title": "ours", "key": public_key(2) })));
        assert_eq!(named.body["message"], "A key with the same name already exists");
        assert_eq!(call(&forge, "DELETE", &format!("/keys/{}", made.body["id"]), None).status, 204, "{kind}");

        let status = json!({ "state": "success", "context": "gristmill", "target_url": "http://127.0.0.1/", "description": "done" });
        let set = call(&forge, "POST", &format!("/statuses/{commit}"), Some(status));
        assert_eq!(
            set.status,
            if family == Family::Gogs { 404 } else { 201 },
            "{kind}: Gogs knows no statuses"
        );
        for (path, is_zip) in [("main.zip", true), ("main.tar.gz", false)] {
            let got = call(&forge, "GET", &format!("/archive/{path}"), None);
            assert!(members(&got.bytes, is_zip).contains(&"shop/a".to_owned()), "{kind} {path}");
        }
        let page = format!("http://{}/acme/shop/archive/{commit}.zip", forge.address());
        assert_eq!(members(&ask("GET", &page, WHO, None).bytes, true), ["shop/a"], "{kind}");
        assert_eq!(ask("GET", &page, "", None).status, 404, "{kind}");
        assert_eq!(call(&forge, "GET", "/branches/main", None).body["commit"]["id"], commit, "{kind}");
        let tree = repo.resolve(&format!("{commit}^{{tree}}"));
        let told = call(&forge, "GET", &format!("/git/commits/{commit}"), None).body;
        let called = if family == Family::Gogs { Some(commit.as_str()) } else { tree.as_deref() };
        assert_eq!(told["commit"]["tree"]["sha"].as_str(), called, "{kind}: Gogs tells the commit there");
    }
}

#[test]
fn a_hook_that_says_nothing_of_it_is_off() {
    let forge = private(Family::Gitea);
    let mut body = hook("gitea", "http://127.0.0.1:1/");
    body.as_object_mut().expect("an object").remove("active");
    let made = ask("POST", &format!("{}/repos/acme/shop/hooks", forge.api_url()), WHO, Some(body));
    assert_eq!(made.body["active"], false);
    let commit = forge.repository_handle(NAME).commit_unreferenced(&[], &Changes::new());
    assert_eq!(forge.push(NAME, "refs/heads/main", Some(&commit)), []);
}
