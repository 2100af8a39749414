//! Azure DevOps' API.

use gristmill_testkit::FakeForge;
use gristmill_testkit::forge::{Family, Grant};
use gristmill_testkit::repo::Changes;
use serde_json::{Value, json};

use crate::api::{ADMIN, Got, NAME, ask, clone, members, private};

/// No user and the token of `api`.
const WHO: &str = "Authorization: Basic OnRva2VuLW9mLWFuLWFkbWluaXN0cmF0b3I=";
/// No user and `reads`.
const READS: &str = "Authorization: Basic OnJlYWRz";
const REPOSITORY: &str = "/acme/_apis/git/repositories/shop";
const HOOKS: &str = "/_apis/hooks/subscriptions";

fn call(forge: &FakeForge, method: &str, path: &str, body: Option<Value>) -> Got {
    let joint = if path.contains('?') { '&' } else { '?' };
    ask(method, &format!("{}{path}{joint}api-version=7.1", forge.api_url()), WHO, body)
}

fn subscription(forge: &FakeForge) -> Value {
    let repository = call(forge, "GET", REPOSITORY, None).body;
    json!({
        "publisherId": "tfs",
        "eventType": "git.push",
        "resourceVersion": "1.0",
        "consumerId": "webHooks",
        "consumerActionId": "httpRequest",
        "publisherInputs": { "projectId": repository["project"]["id"], "repository": repository["id"], "branch": "" },
        "consumerInputs": { "url": "http://127.0.0.1:1/", "basicAuthUsername": "mill", "basicAuthPassword": "hush" },
    })
}

#[test]
fn who_asks_decides_what_is_seen() {
    let forge = private(Family::AzureDevops);
    forge.add_token("reads", Grant::Read, &[]);
    let at = |path: &str| format!("{}{path}", forge.api_url());
    for (path, who, status) in [
        (REPOSITORY, WHO, 200),
        (REPOSITORY, "", 203),
        (REPOSITORY, "Authorization: Basic Ondyb25n", 401),
        (REPOSITORY, "Authorization: Bearer token-of-an-administrator", 401),
        ("/acme/_apis/git/repositories/none", WHO, 404),
        (HOOKS, READS, 403),
    ] {
        assert_eq!(ask("GET", &at(path), who, None).status, status, "{path} {who}");
    }
    let found = call(&forge, "GET", REPOSITORY, None).body;
    assert_eq!((&found["name"], &found["remoteUrl"]), (&json!("shop"), &json!(forge.clone_url(NAME))));
    let by_id = call(
        &forge,
        "GET",
        &format!("/_apis/git/repositories/{}", found["id"].as_str().expect("an id")),
        None,
    );
    assert_eq!(by_id.body["project"]["name"], "acme");
    assert_eq!(call(&forge, "GET", "/_apis/projects/acme", None).body["id"], found["project"]["id"]);
    let folder = tempfile::tempdir().expect("a folder");
    forge.repository_handle(NAME).commit("main", &Changes::new());
    assert!(forge.clone_url(NAME).ends_with("/contoso/acme/_git/shop"));
    let url = forge.clone_url(NAME).replace("http://", &format!("http://any:{ADMIN}@"));
    assert!(clone(&url, &folder.path().join("good")).status.success());
}

#[test]
fn subscriptions_hide_their_passwords_and_send_them() {
    let forge = private(Family::AzureDevops);
    let body = subscription(&forge);
    let unversioned = ask("POST", &format!("{}{HOOKS}", forge.api_url()), WHO, Some(body.clone()));
    assert_eq!(
        (unversioned.status, &unversioned.body["typeKey"]),
        (400, &json!("VssVersionNotSpecifiedException"))
    );
    let made = call(&forge, "POST", HOOKS, Some(body.clone()));
    assert_eq!((made.status, &made.body["consumerInputs"]["basicAuthPassword"]), (200, &json!("********")));
    let one = format!("{HOOKS}/{}", made.body["id"].as_str().expect("an id"));
    let mut changed = made.body.clone();
    changed["consumerInputs"]["url"] = "http://127.0.0.1:1/b".into();
    assert_eq!(call(&forge, "PUT", &one, Some(changed)).status, 200);
    assert_eq!(forge.hooks(NAME)[0].secret.as_deref(), Some("hush"), "stars are no password");

    let commit = forge.repository_handle(NAME).commit_unreferenced(&[], &Changes::new());
    let sent = forge.push_all(NAME, &[("refs/heads/main", Some(&commit)), ("refs/heads/b", Some(&commit))]);
    let payload: Value = serde_json::from_slice(&sent[0].body).expect("JSON");
    assert_eq!((sent.len(), payload["resource"]["refUpdates"].as_array().map(Vec::len)), (1, Some(2)));
    assert_eq!((&payload["id"], &payload["subscriptionId"]), (&json!(sent[0].id), &made.body["id"]));
    assert_eq!(sent[0].signature, "Basic bWlsbDpodXNo", "mill:hush");
    let told = call(&forge, "GET", &format!("{one}/notifications"), None).body;
    assert_eq!((&told["count"], &told["value"][0]["result"]), (&json!(1), &json!("failed")));
    let mut other = body;
    other["publisherInputs"]["repository"] = "none".into();
    assert_eq!(call(&forge, "POST", HOOKS, Some(other)).status, 400);
    assert_eq!(call(&forge, "GET", HOOKS, None).body["count"], 1);
    assert_eq!(call(&forge, "DELETE", &one, None).status, 204);
    assert_eq!(call(&forge, "GET", &one, None).status, 404);
}

#[test]
fn headers_that_are_asked_for_are_sent() {
    let forge = private(Family::AzureDevops);
    let receiver = FakeForge::start(Family::Generic);
    let mut body = subscription(&forge);
    body["consumerInputs"] =
        json!({ "url": format!("http://{}/", receiver.address()), "httpHeaders": "X-Ours: hush\nX-More: b" });
    call(&forge, "POST", HOOKS, Some(body));
    forge.send_by_itself(true);
    let commit = forge.repository_handle(NAME).commit_unreferenced(&[], &Changes::new());
    forge.push(NAME, "refs/heads/main", Some(&commit));
    let seen = receiver.requests().pop().expect("a webhook");
    assert_eq!(seen.authorization, None);
    assert!(seen.headers.contains(&("x-ours".to_owned(), "hush".to_owned())));
}

#[test]
fn refs_commits_statuses_and_downloads() {
    let forge = private(Family::AzureDevops);
    let repo = forge.repository_handle(NAME);
    let commit = repo.commit("main", &Changes::new().file("a", "1"));
    let tag = repo.annotated_tag("v1", &commit);
    repo.set_ref("refs/heads/b", &commit);
    let get = |path: &str| call(&forge, "GET", &format!("{REPOSITORY}{path}"), None);
    let tags = get("/refs?filter=tags/&peelTags=true").body;
    assert_eq!(tags["value"], json!([{ "name": "refs/tags/v1", "objectId": tag, "peeledObjectId": commit }]));
    let first = get("/refs?filter=heads/&$top=1");
    let more =
        format!("/refs?filter=heads/&$top=1&continuationToken={}", first.header("x-ms-continuationtoken"));
    let second = get(&more);
    assert_eq!(
        (&second.body["value"][0]["name"], second.header("x-ms-continuationtoken")),
        (&json!("refs/heads/main"), "")
    );
    let told = get(&format!("/commits/{commit}")).body;
    assert_eq!(told["treeId"].as_str(), repo.resolve(&format!("{commit}^{{tree}}")).as_deref());

    let path = format!("{REPOSITORY}/commits/{commit}/statuses");
    let status = |state: &str| json!({ "state": state, "description": "x", "targetUrl": "http://127.0.0.1/", "context": { "name": "archive", "genre": "gristmill" } });
    assert_eq!(call(&forge, "POST", &path, Some(status("succeeded"))).status, 201);
    assert_eq!(call(&forge, "POST", &path, Some(status("success"))).status, 400);
    assert_eq!(call(&forge, "GET", &path, None).body["value"][0]["context"]["genre"], "gristmill");
    assert_eq!(forge.statuses(NAME).len(), 1);

    let zip = get(&format!(
        "/items?path=/&versionDescriptor.version={commit}&versionDescriptor.versionType=commit&$format=zip"
    ));
    assert_eq!(members(&zip.bytes, true), ["a"]);
    let modes = |zip: &[u8]| {
        let at = zip.windows(4).position(|four| four == b"PK\x01\x02").expect("a record of the directory");
        (zip[at + 5], zip[at + 38..at + 42].iter().any(|byte| *byte != 0))
    };
    assert_eq!(modes(&zip.bytes).0, 0, "without being asked for, nothing of Unix");
    assert!(!modes(&zip.bytes).1);
    assert_eq!(get("/items?path=/&versionDescriptor[version]=none&$format=zip").status, 404);
}
