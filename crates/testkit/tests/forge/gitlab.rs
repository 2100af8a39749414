//! GitLab's API, as <https://docs.gitlab.com/api/rest/> describes it.

use gristmill_testkit::FakeForge;
use gristmill_testkit::forge::{Family, Fault, Grant, Part};
use gristmill_testkit::repo::Changes;
use serde_json::{Value, json};

use crate::api::{ADMIN, Got, ask, members, public_key};

const WHO: &str = "PRIVATE-TOKEN: token-of-an-administrator";
const NAME: &str = "grp/sub/proj";
const PATH: &str = "/projects/grp%2Fsub%2Fproj";

fn gitlab() -> FakeForge {
    let forge = FakeForge::start(Family::Gitlab);
    forge.create_bare(NAME);
    forge.require_token(Some(ADMIN));
    forge
}

fn call(forge: &FakeForge, method: &str, path: &str, body: Option<Value>) -> Got {
    ask(method, &format!("{}{path}", forge.api_url()), WHO, body)
}

#[test]
fn who_asks_decides_what_is_seen() {
    let forge = gitlab();
    forge.add_token("reads", Grant::Read, &[]);
    let by_number = format!("/projects/{}", forge.repository_id(NAME));
    for (path, who, status, message) in [
        (PATH, WHO, 200, ""),
        (PATH, "Authorization: Bearer token-of-an-administrator", 200, ""),
        (by_number.as_str(), WHO, 200, ""),
        (PATH, "", 404, "404 Project Not Found"),
        (PATH, "PRIVATE-TOKEN: wrong", 401, "401 Unauthorized"),
        ("/projects/grp%2Fnone", WHO, 404, "404 Project Not Found"),
        ("/projects/grp%2Fsub%2Fproj/hooks", "PRIVATE-TOKEN: reads", 403, "403 Forbidden"),
        ("/projects/grp%2Fsub%2Fproj/hooks", "", 401, "401 Unauthorized"),
    ] {
        let got = ask("GET", &format!("{}{path}", forge.api_url()), who, None);
        assert_eq!(
            (got.status, got.body["message"].as_str().unwrap_or("")),
            (status, message),
            "{path} {who}"
        );
    }
    let project = call(&forge, "GET", PATH, None).body;
    assert_eq!((&project["path_with_namespace"], &project["visibility"]), (&json!(NAME), &json!("private")));
    assert_eq!(project["http_url_to_repo"], forge.clone_url(NAME));
}

#[test]
fn hooks_have_flags_and_a_token_that_goes_with_the_address() {
    let forge = gitlab();
    let path = format!("{PATH}/hooks");
    let missing = call(&forge, "POST", &path, Some(json!({ "token": "hush" })));
    assert_eq!((missing.status, &missing.body["error"]), (400, &json!("url is missing")));
    let bad = call(&forge, "POST", &path, Some(json!({ "url": "nowhere" })));
    assert_eq!((bad.status, &bad.body["error"]), (422, &json!("Invalid url given")));
    let body = json!({ "url": "http://127.0.0.1:1/", "token": "hush", "tag_push_events": true, "push_events": true });
    let made = call(&forge, "POST", &path, Some(body.clone()));
    assert_eq!(
        (made.status, &made.body["tag_push_events"], &made.body["releases_events"]),
        (201, &json!(true), &json!(false))
    );
    assert!(!made.body.to_string().contains("hush"), "the token is never shown");
    assert_eq!(call(&forge, "POST", &path, Some(body)).status, 201, "the same twice is two hooks");
    let listed = call(&forge, "GET", &format!("{path}?per_page=1"), None);
    assert_eq!(
        (listed.header("x-next-page"), listed.header("x-total"), listed.header("x-total-pages")),
        ("2", "2", "2")
    );
    let last = call(&forge, "GET", &format!("{path}?per_page=1&page=2"), None);
    assert_eq!((last.header("x-next-page"), last.header("x-prev-page")), ("", "1"));

    let one = format!("{path}/{}", made.body["id"]);
    let same =
        call(&forge, "PUT", &one, Some(json!({ "url": "http://127.0.0.1:1/", "releases_events": true })));
    assert_eq!(same.body["releases_events"], true);
    assert_eq!(forge.hooks(NAME)[0].secret.as_deref(), Some("hush"));
    call(&forge, "PUT", &one, Some(json!({ "url": "http://127.0.0.1:1/other" })));
    assert_eq!(forge.hooks(NAME)[0].secret, None);
    assert_eq!(call(&forge, "DELETE", &one, None).status, 204);
    assert_eq!(call(&forge, "DELETE", &one, None).status, 404);
}

#[test]
fn events_that_failed_are_found_by_their_status_and_sent_again() {
    let forge = gitlab();
    forge.add_hook(NAME, "http://127.0.0.1:1/", Some("hush"));
    let repo = forge.repository_handle(NAME);
    let commit = repo.commit_unreferenced(&[], &Changes::new().file("a", "1"));
    let made = forge.push_all(NAME, &[("refs/heads/main", Some(&commit)), ("refs/tags/v1", Some(&commit))]);
    assert_eq!(made.iter().map(|one| one.event.as_str()).collect::<Vec<_>>(), ["Push Hook", "Tag Push Hook"]);
    made[0].deliver(&format!("http://{}/nobody", forge.address())).expect("an answer");
    let path = format!("{PATH}/hooks/{}/events", forge.hooks(NAME)[0].id);
    let get = |query: &str| call(&forge, "GET", &format!("{path}{query}"), None).body;
    assert_eq!(get("").as_array().map(Vec::len), Some(2));
    assert_eq!(get("?status=client_failure")[0]["response_status"], "404");
    assert_eq!(get("?status=404").as_array().map(Vec::len), Some(1));
    assert_eq!(get("?status=successful"), json!([]));
    let newest = get("")[0].clone();
    assert_eq!(newest["trigger"], "tag_push_hooks");
    assert_eq!(newest["request_headers"]["X-Gitlab-Token"], "[REDACTED]");
    assert_eq!(newest["request_headers"]["Idempotency-Key"], made[1].id);
    assert_eq!(newest["request_data"]["object_kind"], "tag_push");
    assert_eq!(call(&forge, "POST", &format!("{path}/{}/resend", newest["id"]), None).status, 201);
    assert_eq!(forge.take_outbox().pop().map(|one| one.id), Some(made[1].id.clone()));
    let tested = call(&forge, "POST", &path.replace("/events", "/test/push_events"), None);
    assert_eq!((tested.status, forge.take_outbox().len()), (201, 1));
}

#[test]
fn keys_are_shared_statuses_move_and_archives_have_a_top_folder() {
    let forge = gitlab();
    forge.create_bare("grp/other");
    let repo = forge.repository_handle(NAME);
    let commit = repo.commit("main", &Changes::new().file("a", "1"));
    let body = json!({ "title": "ours", "key": public_key(1) });
    let made = call(&forge, "POST", &format!("{PATH}/deploy_keys"), Some(body.clone()));
    assert_eq!((made.status, &made.body["can_push"]), (201, &json!(false)));
    let joined = call(&forge, "POST", "/projects/grp%2Fother/deploy_keys", Some(body));
    assert_eq!((joined.status, &joined.body["id"]), (201, &made.body["id"]));
    let bad = call(&forge, "POST", &format!("{PATH}/deploy_keys"), Some(json!({ "title": "x", "key": "x" })));
    assert_eq!(bad.status, 400);
    assert_eq!(call(&forge, "DELETE", &format!("{PATH}/deploy_keys/{}", made.body["id"]), None).status, 204);
    assert_eq!((forge.keys(NAME).len(), forge.keys("grp/other").len()), (0, 1));

    let path = format!("{PATH}/statuses/{commit}");
    let set = |state: &str| call(&forge, "POST", &path, Some(json!({ "state": state, "name": "gristmill" })));
    assert_eq!((set("pending").status, set("running").status, set("success").status), (201, 201, 201));
    let twice = set("success");
    assert!(
        twice.status == 400
            && twice.body["message"].as_str().is_some_and(|text| text.starts_with("Cannot transition"))
    );
    assert_eq!(set("great").status, 400);
    assert_eq!(forge.statuses(NAME).len(), 3);

    let got = call(&forge, "GET", &format!("{PATH}/repository/archive.zip?sha={commit}"), None);
    assert_eq!(members(&got.bytes, true), [format!("proj-{commit}-{commit}/a")]);
    let got = call(&forge, "GET", &format!("{PATH}/repository/archive.tar.gz?sha=main"), None);
    assert!(members(&got.bytes, false).contains(&format!("proj-main-{commit}/a")));
    assert_eq!(call(&forge, "GET", &format!("{PATH}/repository/archive.zip?sha=none"), None).status, 404);
    let branch = call(&forge, "GET", &format!("{PATH}/repository/branches/main"), None);
    assert_eq!(branch.body["commit"]["id"], commit);
    assert_eq!(call(&forge, "GET", &format!("{PATH}/repository/commits/{commit}"), None).body["id"], commit);
    forge.set_fault_of(Part::Api, Fault::Times(1, Box::new(Fault::Limited(5))));
    assert_eq!(call(&forge, "GET", PATH, None).header("retry-after"), "5");
    assert_eq!(call(&forge, "GET", PATH, None).status, 200);
}
