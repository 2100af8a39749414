//! Bitbucket Cloud's API.

use gristmill_testkit::forge::{Family, Grant};
use gristmill_testkit::repo::Changes;
use serde_json::{Value, json};

use crate::api::{ADMIN, Got, NAME, ask, clone, members, private, public_key};

const WHO: &str = "Authorization: Bearer token-of-an-administrator";

fn call(forge: &gristmill_testkit::FakeForge, method: &str, path: &str, body: Option<Value>) -> Got {
    ask(method, &format!("{}/repositories/acme/shop{path}", forge.api_url()), WHO, body)
}

#[test]
fn hooks_keys_and_who_may() {
    let forge = private(Family::Bitbucket);
    forge.add_token("reads", Grant::Read, &[]);
    let url = format!("{}/repositories/acme/shop", forge.api_url());
    for (path, who, status) in [
        ("", WHO, 200),
        ("", "", 404),
        ("", "Authorization: Bearer wrong", 401),
        ("/hooks", "Authorization: Bearer reads", 403),
        ("/hooks", "", 401),
    ] {
        assert_eq!(ask("GET", &format!("{url}{path}"), who, None).status, status, "{path} {who}");
    }
    let found = call(&forge, "GET", "", None).body;
    assert_eq!((&found["full_name"], &found["is_private"]), (&json!(NAME), &json!(true)));
    let uuid = found["uuid"].as_str().expect("a UUID").replace('{', "%7B").replace('}', "%7D");
    let by_uuid = ask("GET", &format!("{}/repositories/acme/{uuid}", forge.api_url()), WHO, None);
    assert_eq!(by_uuid.body["full_name"], NAME);

    let body = json!({ "description": "ours", "url": "http://127.0.0.1:1/", "active": true, "secret": "hush", "events": ["repo:push"] });
    for _ in 0..3 {
        let made = call(&forge, "POST", "/hooks", Some(body.clone()));
        assert_eq!((made.status, &made.body["secret_set"]), (201, &json!(true)));
        assert!(!made.body.to_string().contains("hush"));
    }
    let first = call(&forge, "GET", "/hooks?pagelen=2", None).body;
    assert_eq!((&first["size"], first["values"].as_array().map(Vec::len)), (&json!(3), Some(2)));
    let second = ask("GET", first["next"].as_str().expect("a further page"), WHO, None).body;
    assert_eq!((second["values"].as_array().map(Vec::len), &second["next"]), (Some(1), &Value::Null));
    let one = first["values"][0]["uuid"].as_str().expect("a UUID").replace('{', "%7B").replace('}', "%7D");
    let changed = json!({ "description": "ours", "url": "http://127.0.0.1:1/b", "active": true, "events": ["repo:push"] });
    assert_eq!(call(&forge, "PUT", &format!("/hooks/{one}"), Some(changed)).body["secret_set"], true);
    assert_eq!(call(&forge, "DELETE", &format!("/hooks/{one}"), None).status, 204);
    assert_eq!(call(&forge, "GET", &format!("/hooks/{one}"), None).status, 404);
    assert_eq!(call(&forge, "POST", "/hooks", Some(json!({ "url": "http://127.0.0.1:1/" }))).status, 400);

    let key = json!({ "label": "ours", "key": public_key(1) });
    let made = call(&forge, "POST", "/deploy-keys", Some(key.clone()));
    assert_eq!((made.status, &made.body["label"]), (200, &json!("ours")));
    let again = call(&forge, "POST", "/deploy-keys", Some(key));
    assert_eq!(
        (again.status, &again.body["key"][0]["message"]),
        (400, &json!("Someone has already added that access key to this repository."))
    );
    assert_eq!(call(&forge, "DELETE", &format!("/deploy-keys/{}", made.body["id"]), None).status, 204);
}

#[test]
fn statuses_refs_downloads_and_pushes() {
    let forge = private(Family::Bitbucket);
    let hook = forge.add_hook(NAME, "http://127.0.0.1:1/", Some("hush"));
    let repo = forge.repository_handle(NAME);
    let commit = repo.commit_unreferenced(&[], &Changes::new().file("a", "1"));
    let made = forge.push_all(NAME, &[("refs/heads/main", Some(&commit)), ("refs/tags/v1", Some(&commit))]);
    assert_eq!(made.len(), 1, "one event for all refs of a push");
    let body: Value = serde_json::from_slice(&made[0].body).expect("JSON");
    assert_eq!(body["push"]["changes"][1]["new"]["name"], "v1");
    assert_eq!(body["push"]["changes"][0]["new"]["target"]["hash"], commit);
    let gone = forge.push(NAME, "refs/tags/v1", None);
    let body: Value = serde_json::from_slice(&gone[0].body).expect("JSON");
    assert_eq!(
        (&body["push"]["changes"][0]["new"], &body["push"]["changes"][0]["closed"]),
        (&Value::Null, &json!(true))
    );
    assert!(made[0].headers().contains(&("X-Hook-UUID", hook.uuid)));
    let names: Vec<String> = (0..400).map(|number| format!("refs/heads/many/{number}")).collect();
    let moves: Vec<(&str, Option<&str>)> =
        names.iter().map(|name| (name.as_str(), Some(commit.as_str()))).collect();
    assert_eq!(forge.push_all(NAME, &moves), [], "more than 256 KB are dropped");

    let path = format!("/commit/{commit}/statuses/build");
    let body = |key: &str, state: &str| json!({ "key": key, "state": state, "url": "http://127.0.0.1/", "description": "x" });
    assert_eq!(call(&forge, "POST", &path, Some(body(&"k".repeat(40), "INPROGRESS"))).status, 201);
    assert_eq!(call(&forge, "POST", &path, Some(body(&"k".repeat(41), "INPROGRESS"))).status, 400);
    assert_eq!(call(&forge, "POST", &path, Some(body(&"k".repeat(40), "SUCCESSFUL"))).status, 201);
    assert_eq!(
        call(&forge, "POST", &path, Some(json!({ "key": "k", "state": "FAILED" }))).status,
        400,
        "a link must be"
    );
    let listed = call(&forge, "GET", &format!("/commit/{commit}/statuses"), None).body;
    assert_eq!(
        (&listed["size"], &listed["values"][0]["state"]),
        (&json!(1), &json!("SUCCESSFUL")),
        "one of each key"
    );
    assert_eq!(call(&forge, "GET", "/refs/branches/main", None).body["target"]["hash"], commit);

    let page = format!("http://{}/acme/shop/get/{commit}.zip", forge.address());
    let top = format!("acme-shop-{}/a", &commit[..12]);
    assert_eq!(members(&ask("GET", &page, WHO, None).bytes, true), [top]);
    assert_eq!(ask("GET", &page, "", None).status, 404);

    let folder = tempfile::tempdir().expect("a folder");
    let url = |user: &str| forge.clone_url(NAME).replace("http://", &format!("http://{user}:{ADMIN}@"));
    assert!(clone(&url("x-token-auth"), &folder.path().join("good")).status.success());
    assert!(!clone(&url("somebody"), &folder.path().join("bad")).status.success(), "the user's name counts");
}
