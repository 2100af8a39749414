//! The API of Gitea's family.

use gristmill_testkit::forge::{Family, Grant};
use gristmill_testkit::repo::Changes;
use serde_json::{Value, json};

use crate::api::{NAME, ask, members, private, public_key};

const WHO: &str = "Authorization: token token-of-an-administrator";

fn hook(kind: &str, url: &str) -> Value {
    json!({ "type": kind, "active": true, "events": ["push"], "config": { "url": url, "content_type": "json", "secret": "hush" } })
}

#[test]
fn the_three_have_one_api() {
    for (family, kind) in [(Family::Gitea, "gitea"), (Family::Forgejo, "forgejo"), (Family::Gogs, "gogs")] {
        let forge = private(family);
        forge.add_token("reads", Grant::Read, &[]);
        let repo = forge.repository_handle(NAME);
        let commit = repo.commit("main", &Changes::new().file("a", "1"));
        let call = |method: &str, path: &str, body: Option<Value>| {
            ask(method, &format!("{}/repos/acme/shop{path}", forge.api_url()), WHO, body)
        };
        let as_reader = ask(
            "GET",
            &format!("{}/repos/acme/shop/hooks", forge.api_url()),
            "Authorization: token reads",
            None,
        );
        assert_eq!(as_reader.status, 403, "{kind}");
        assert_eq!(
            ask("GET", &format!("{}/repos/acme/shop", forge.api_url()), "", None).status,
            404,
            "{kind}"
        );
        let wrong =
            ask("GET", &format!("{}/repos/acme/shop", forge.api_url()), "Authorization: token wrong", None);
        assert_eq!(wrong.status, 401, "{kind}");
        let found = call("GET", "", None).body;
        assert_eq!(
            (&found["full_name"], &found["id"]),
            (&json!(NAME), &json!(forge.repository_id(NAME))),
            "{kind}"
        );

        for number in 0..4 {
            let made =
                call("POST", "/hooks", Some(hook(kind, &format!("http://127.0.0.1:1/{}", number / 2))));
            assert_eq!((made.status, &made.body["type"]), (201, &json!(kind)), "{kind}: {}", made.body);
            assert!(!made.body.to_string().contains("hush"), "{kind}: the secret is never shown");
        }
        let listed = call("GET", "/hooks?limit=3", None);
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
        let no_type = call("POST", "/hooks", Some(hook("slack?", "http://127.0.0.1:1/")));
        assert_eq!(no_type.status, 422, "{kind}");
        let one = format!("/hooks/{}", listed.body[0]["id"]);
        let changed = call("PATCH", &one, Some(json!({ "active": false, "events": ["push", "create"] })));
        assert_eq!(
            (&changed.body["active"], &changed.body["events"]),
            (&json!(false), &json!(["push", "create"]))
        );
        assert_eq!(forge.hooks(NAME)[0].secret.as_deref(), Some("hush"), "{kind}: what is not said stays");
        assert_eq!(
            (call("DELETE", &one, None).status, call("DELETE", &one, None).status),
            (204, 404),
            "{kind}"
        );

        let key = json!({ "title": "ours", "key": public_key(1), "read_only": true });
        let made = call("POST", "/keys", Some(key.clone()));
        assert_eq!(made.status, 201, "{kind}");
        let again = call("POST", "/keys", Some(key));
        assert_eq!(
            (again.status, &again.body["message"]),
            (422, &json!("This key has already been added to this repository"))
        );
        let named = call("POST", "/keys", Some(json!({ "title": "ours", "key": public_key(2) })));
        assert_eq!(named.body["message"], "A key with the same name already exists");
        assert_eq!(call("DELETE", &format!("/keys/{}", made.body["id"]), None).status, 204, "{kind}");

        let status = json!({ "state": "success", "context": "gristmill", "target_url": "http://127.0.0.1/", "description": "done" });
        let set = call("POST", &format!("/statuses/{commit}"), Some(status));
        assert_eq!(
            set.status,
            if family == Family::Gogs { 404 } else { 201 },
            "{kind}: Gogs knows no statuses"
        );
        for (path, is_zip) in [("main.zip", true), ("main.tar.gz", false)] {
            let got = call("GET", &format!("/archive/{path}"), None);
            assert!(members(&got.bytes, is_zip).contains(&"shop/a".to_owned()), "{kind} {path}");
        }
        let page = format!("http://{}/acme/shop/archive/{commit}.zip", forge.address());
        assert_eq!(members(&ask("GET", &page, WHO, None).bytes, true), ["shop/a"], "{kind}");
        assert_eq!(ask("GET", &page, "", None).status, 404, "{kind}");
        assert_eq!(call("GET", "/branches/main", None).body["commit"]["id"], commit, "{kind}");
        let tree = repo.resolve(&format!("{commit}^{{tree}}"));
        let told = call("GET", &format!("/git/commits/{commit}"), None).body;
        assert_eq!(told["commit"]["tree"]["sha"].as_str(), tree.as_deref(), "{kind}");
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
