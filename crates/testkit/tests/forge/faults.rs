//! How the fakes misbehave, and what they write down.

use gristmill_testkit::forge::{Family, Fault, Part};
use gristmill_testkit::repo::Changes;

use crate::api::{NAME, ask, private};

const WHO: &str = "Authorization: Bearer token-of-an-administrator";

#[test]
fn the_api_misbehaves_as_it_is_told_and_git_does_not() {
    let forge = private(Family::Github);
    let elsewhere = private(Family::Generic);
    let url = format!("{}/repos/acme/shop", forge.api_url());
    forge.set_fault_of(Part::Api, Fault::Times(2, Box::new(Fault::Status(503))));
    let statuses: Vec<u16> = (0..3).map(|_| ask("GET", &url, WHO, None).status).collect();
    assert_eq!(statuses, [503, 503, 200]);
    forge.set_fault_of(Part::Api, Fault::Redirect(format!("http://{}", elsewhere.address())));
    let sent = ask("GET", &url, WHO, None);
    assert_eq!(
        (sent.status, sent.header("location")),
        (302, format!("http://{}/repos/acme/shop", elsewhere.address()).as_str())
    );
    ask("GET", sent.header("location"), WHO, None);
    let seen = elsewhere.requests();
    assert_eq!(
        seen[0].authorization.as_deref(),
        Some("Bearer token-of-an-administrator"),
        "what was sent is recorded"
    );
    forge.set_fault_of(Part::Api, Fault::Body(200, "{".to_owned()));
    assert_eq!(ask("GET", &url, WHO, None).bytes, b"{");
    let refs = format!("{}/info/refs?service=git-upload-pack", forge.clone_url(NAME));
    let basic = "Authorization: Basic eDp0b2tlbi1vZi1hbi1hZG1pbmlzdHJhdG9y";
    assert_eq!(ask("GET", &refs, basic, None).status, 200, "git is as it was");
}

#[test]
fn a_download_breaks_off() {
    let forge = private(Family::Gitea);
    forge.repository_handle(NAME).commit("main", &Changes::new().file("a", "1".repeat(5_000)));
    forge.set_fault_of(Part::Downloads, Fault::Cut(10));
    let agent: ureq::Agent = ureq::Agent::new_with_defaults();
    let page = format!("http://{}/acme/shop/archive/main.zip", forge.address());
    let mut answer =
        agent.get(&page).header("Authorization", "token token-of-an-administrator").call().expect("a head");
    assert!(answer.body_mut().read_to_vec().is_err());
}

#[test]
fn everything_that_came_is_written_down() {
    let forge = private(Family::Gitlab);
    let body = serde_json::json!({ "url": "http://127.0.0.1:1/", "token": "canary" });
    ask("POST", &format!("{}/projects/acme%2Fshop/hooks?x=1", forge.api_url()), WHO, Some(body));
    let seen = forge.requests().pop().expect("a request");
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("POST", "/api/v4/projects/acme%2Fshop/hooks?x=1")
    );
    assert!(seen.headers.contains(&("user-agent".to_owned(), "test".to_owned())));
    assert!(String::from_utf8_lossy(&seen.body).contains("canary"));
}
