//! Bitbucket Data Center's API.

use gristmill_testkit::forge::{Family, Grant};
use gristmill_testkit::repo::Changes;
use serde_json::{Value, json};

use crate::api::{ADMIN, Got, NAME, ask, clone, members, private, public_key};

const WHO: &str = "Authorization: Bearer token-of-an-administrator";

fn call(forge: &gristmill_testkit::FakeForge, method: &str, path: &str, body: Option<Value>) -> Got {
    ask(method, &format!("{}/api/1.0/projects/ACME/repos/shop{path}", forge.api_url()), WHO, body)
}

#[test]
fn hooks_keys_and_who_may() {
    let forge = private(Family::BitbucketServer);
    forge.add_token("reads", Grant::Read, &[]);
    let url = format!("{}/api/latest/projects/acme/repos", forge.api_url());
    for (path, who, status) in [
        ("/shop", WHO, 200),
        ("/shop", "", 401),
        ("/shop", "Authorization: Bearer wrong", 401),
        ("/none", WHO, 404),
        ("/shop/webhooks", "Authorization: Bearer reads", 401),
    ] {
        let got = ask("GET", &format!("{url}{path}"), who, None);
        assert_eq!(got.status, status, "{path} {who}");
        assert_eq!(got.body["errors"].is_array(), status != 200, "{path} {who}");
    }
    let found = call(&forge, "GET", "", None).body;
    assert_eq!((&found["project"]["key"], &found["slug"]), (&json!("ACME"), &json!("shop")));
    assert_eq!(found["links"]["clone"][0]["href"], forge.clone_url(NAME));

    let body = json!({ "name": "ours", "url": "http://127.0.0.1:1/", "active": true, "events": ["repo:refs_changed"], "configuration": { "secret": "hush" } });
    for _ in 0..3 {
        assert_eq!(call(&forge, "POST", "/webhooks", Some(body.clone())).status, 201);
    }
    let first = call(&forge, "GET", "/webhooks?limit=2", None).body;
    assert_eq!(
        (&first["isLastPage"], &first["nextPageStart"], &first["size"]),
        (&json!(false), &json!(2), &json!(2))
    );
    let last = call(&forge, "GET", "/webhooks?limit=2&start=2", None).body;
    assert_eq!((&last["isLastPage"], &last["nextPageStart"]), (&json!(true), &Value::Null));
    let one = format!("/webhooks/{}", last["values"][0]["id"]);
    assert_eq!(call(&forge, "GET", &format!("{one}/latest"), None).status, 204, "nothing was sent yet");
    let tested = call(&forge, "POST", "/webhooks/test?url=http://127.0.0.1:1/", None);
    let ping = forge.take_outbox().pop().expect("a test");
    assert_eq!((tested.status, ping.event.as_str(), ping.signature.as_str()), (200, "diagnostics:ping", ""));
    assert!(ping.headers().iter().all(|(name, _)| *name != "X-Hub-Signature"));
    assert_eq!(call(&forge, "DELETE", &one, None).status, 204);
    assert_eq!(call(&forge, "GET", &one, None).status, 404);
    let bad = call(&forge, "POST", "/webhooks", Some(json!({ "name": "x", "url": "y", "events": ["z"] })));
    assert_eq!((bad.status, &bad.body["errors"][0]["context"]), (400, &json!("url")));

    let keys = format!("{}/keys/1.0/projects/ACME/repos/shop/ssh", forge.api_url());
    let key = json!({ "key": { "text": format!("{} label", public_key(1)) }, "permission": "REPO_READ" });
    let made = ask("POST", &keys, WHO, Some(key.clone()));
    assert_eq!((made.status, &made.body["key"]["label"]), (201, &json!("label")));
    assert_eq!(ask("POST", &keys, WHO, Some(key)).status, 409);
    assert_eq!(ask("DELETE", &format!("{keys}/{}", made.body["key"]["id"]), WHO, None).status, 204);
    assert_eq!(forge.keys(NAME), []);
}

#[test]
fn statuses_refs_downloads_and_pushes() {
    let forge = private(Family::BitbucketServer);
    forge.add_hook(NAME, "http://127.0.0.1:1/", Some("hush"));
    let repo = forge.repository_handle(NAME);
    let commit = repo.commit_unreferenced(&[], &Changes::new().file("a", "1"));
    let made = forge.push_all(NAME, &[("refs/heads/main", Some(&commit)), ("refs/tags/v1", Some(&commit))]);
    let body: Value = serde_json::from_slice(&made[0].body).expect("JSON");
    assert_eq!((made.len(), body["changes"].as_array().map(Vec::len)), (1, Some(2)));
    assert_eq!(
        (&body["changes"][1]["refId"], &body["changes"][1]["type"]),
        (&json!("refs/tags/v1"), &json!("ADD"))
    );
    assert_eq!(body["repository"]["project"]["key"], "ACME");
    let latest = call(&forge, "GET", &format!("/webhooks/{}/latest", forge.hooks(NAME)[0].id), None).body;
    assert_eq!(latest["result"]["outcome"], "FAILURE");

    let status = |state: &str| json!({ "key": "gristmill", "state": state, "url": "http://127.0.0.1/" });
    let path = format!("/commits/{commit}/builds");
    assert_eq!(call(&forge, "POST", &path, Some(status("INPROGRESS"))).status, 204);
    assert_eq!(call(&forge, "POST", &path, Some(status("great"))).status, 400);
    let old = format!("{}/build-status/1.0/commits/{commit}", forge.api_url());
    assert_eq!(ask("POST", &old, WHO, Some(status("SUCCESSFUL"))).status, 204);
    assert_eq!(ask("POST", &old, "", Some(status("SUCCESSFUL"))).status, 401);
    let listed = ask("GET", &old, WHO, None).body;
    assert_eq!(
        (&listed["size"], &listed["values"][0]["state"]),
        (&json!(1), &json!("SUCCESSFUL")),
        "one of each key"
    );
    assert_eq!(call(&forge, "GET", &format!("{path}?key=gristmill"), None).body["state"], "SUCCESSFUL");
    assert_eq!(
        call(&forge, "GET", "/branches?filterText=mai", None).body["values"][0]["latestCommit"],
        commit
    );
    assert_eq!(call(&forge, "GET", "/tags/v1", None).body["latestCommit"], commit);

    let got = call(&forge, "GET", &format!("/archive?at={commit}&format=tar.gz"), None);
    assert_eq!(members(&got.bytes, false), ["a"], "no top folder");
    let got = call(&forge, "GET", &format!("/archive?at={commit}&prefix=top/"), None);
    assert_eq!(members(&got.bytes, true), ["top/a"]);
    assert_eq!(call(&forge, "GET", "/archive?at=none", None).status, 404);

    let folder = tempfile::tempdir().expect("a folder");
    assert!(forge.clone_url(NAME).ends_with("/scm/acme/shop.git"));
    let url = forge.clone_url(NAME).replace("http://", &format!("http://somebody:{ADMIN}@"));
    assert!(clone(&url, &folder.path().join("good")).status.success());
}
