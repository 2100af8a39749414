//! The fake forge behaves as GitHub's documentation says.

use gristmill_testkit::forge::{Fault, NO_COMMIT, sign};
use gristmill_testkit::repo::Changes;
use gristmill_testkit::{FakeGithub, TestRepo};
use serde_json::Value;

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("a payload is JSON")
}

fn clone(url: &str, into: &std::path::Path) -> std::process::Output {
    std::process::Command::new("git")
        .env("GIT_TERMINAL_PROMPT", "0")
        .args(["-c", "credential.helper=", "clone", "--quiet", "--bare", url])
        .arg(into)
        .output()
        .expect("git starts")
}

#[test]
fn a_push_tells_what_moved() {
    let forge = FakeGithub::start();
    let repo = forge.create("acme/shop", "secret");
    let first = repo.commit_unreferenced(&[], &Changes::new().file("a", "1").file("b/c", "2"));
    let made = forge.push("acme/shop", "refs/heads/main", Some(&first));
    assert_eq!(made.iter().map(|delivery| delivery.event.as_str()).collect::<Vec<_>>(), ["push", "create"]);
    let push = json(&made[0].body);
    assert_eq!(
        (&push["ref"], &push["before"], &push["after"]),
        (&"refs/heads/main".into(), &NO_COMMIT.into(), &first.clone().into())
    );
    assert_eq!(
        (&push["created"], &push["deleted"], &push["forced"]),
        (&true.into(), &false.into(), &false.into())
    );
    assert_eq!(push["repository"]["full_name"], "acme/shop");
    assert_eq!(push["repository"]["id"], forge.repository_id("acme/shop"));
    assert_eq!(push["head_commit"]["added"], serde_json::json!(["a", "b/c"]));
    assert_eq!(push["commits"].as_array().map(Vec::len), Some(1));
    assert!((6_500..9_000).contains(&made[0].body.len()), "{} bytes", made[0].body.len());
    assert_eq!(json(&made[1].body)["ref"], "main");
    assert_eq!(made[0].signature, sign("secret", &made[0].body));
    assert_ne!(made[0].id, made[1].id);
    assert_eq!(made[0].id.len(), 36);

    let second =
        repo.commit_unreferenced(std::slice::from_ref(&first), &Changes::new().file("a", "3").remove("b/c"));
    let made = forge.push("acme/shop", "refs/heads/main", Some(&second));
    assert_eq!(made.len(), 1);
    let push = json(&made[0].body);
    assert_eq!(
        (&push["before"], &push["created"], &push["forced"]),
        (&first.clone().into(), &false.into(), &false.into())
    );
    assert_eq!(push["commits"][0]["modified"], serde_json::json!(["a"]));
    assert_eq!(push["commits"][0]["removed"], serde_json::json!(["b/c"]));

    let back = forge.push("acme/shop", "refs/heads/main", Some(&first));
    assert_eq!(json(&back[0].body)["forced"], true);
    assert!(forge.push("acme/shop", "refs/heads/main", Some(&first)).is_empty());

    let gone = forge.push("acme/shop", "refs/heads/main", None);
    assert_eq!(gone.iter().map(|delivery| delivery.event.as_str()).collect::<Vec<_>>(), ["push", "delete"]);
    let push = json(&gone[0].body);
    assert_eq!(
        (&push["after"], &push["deleted"], &push["head_commit"]),
        (&NO_COMMIT.into(), &true.into(), &Value::Null)
    );
    assert_eq!(repo.resolve("refs/heads/main"), None);
}

#[test]
fn an_annotated_tag_is_pushed_as_its_tag_object() {
    let forge = FakeGithub::start();
    let repo = forge.create("acme/shop", "secret");
    let commit = repo.commit("main", &Changes::new().file("a", "1"));
    let tag = repo.annotated_tag("v1", &commit);
    repo.delete_ref("refs/tags/v1");
    let made = forge.push("acme/shop", "refs/tags/v1", Some(&tag));
    let push = json(&made[0].body);
    assert_eq!((&push["after"], &push["head_commit"]["id"]), (&tag.into(), &commit.into()));
    assert_eq!(
        (&json(&made[1].body)["ref"], &json(&made[1].body)["ref_type"]),
        (&"v1".into(), &"tag".into())
    );
    let release = json(&forge.release("acme/shop", "v1", "published").body);
    assert_eq!((&release["action"], &release["release"]["tag_name"]), (&"published".into(), &"v1".into()));
    assert_eq!(forge.ping("acme/shop").event, "ping");
}

#[test]
fn a_name_that_is_made_again_has_another_id() {
    let forge = FakeGithub::start();
    forge.create("acme/shop", "secret").commit("main", &Changes::new());
    let id = forge.repository_id("acme/shop");
    let again = forge.create("acme/shop", "secret");
    assert_ne!(forge.repository_id("acme/shop"), id);
    assert_eq!(again.resolve("refs/heads/main"), None);
}

#[test]
fn git_clones_from_it_and_meets_its_faults() {
    let forge = FakeGithub::start();
    let repo = forge.create("acme/shop", "secret");
    let commit = repo.commit("main", &Changes::new().file("a", "1"));
    let folder = tempfile::tempdir().expect("a folder");
    let url = forge.clone_url("acme/shop");
    let good = clone(&url, &folder.path().join("good"));
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    let head = std::fs::read_to_string(folder.path().join("good/packed-refs")).expect("cloned refs");
    assert!(head.contains(&commit));

    for (fault, message) in [
        (Fault::Status(503), "error: 503"),
        (Fault::Refuse, "Empty reply"),
        (Fault::Redirect("http://127.0.0.1:9".to_owned()), "127.0.0.1"),
    ] {
        forge.set_fault(fault.clone());
        let failed = clone(&url, &folder.path().join("bad"));
        let stderr = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(!failed.status.success() && stderr.contains(message), "{fault:?}: {stderr}");
    }
    forge.set_fault(Fault::None);
    let missing = clone(&forge.clone_url("acme/none"), &folder.path().join("none"));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("not found"));
    forge.require_token(Some("abc"));
    assert!(!clone(&url, &folder.path().join("locked")).status.success());
    let with_token = url.replace("http://", "http://me:abc@");
    assert!(clone(&with_token, &folder.path().join("open")).status.success());
    let requests = forge.requests();
    assert!(requests.iter().any(|request| request.authorization.as_deref() == Some("Basic bWU6YWJj")));
}

#[test]
fn a_delivery_arrives_as_it_is_signed() {
    let forge = FakeGithub::start();
    forge.create("acme/shop", "secret");
    let ping = forge.ping("acme/shop");
    // The forge itself answers POSTs, with 404 outside its repositories.
    let reply = ping.deliver(&format!("http://{}/hooks/x", forge.address())).expect("an answer");
    assert_eq!(reply.status, 404);
    assert_ne!(ping.signed_with("other").signature, ping.signature);
    assert_eq!(ping.signed_with("secret"), ping);
    assert_eq!(ping.with_id("x").body, ping.body);
    assert_eq!(ping.with_body("x").signature, ping.signature);
    assert!(ping.deliver("http://127.0.0.1:1/").is_err());
}

#[test]
fn large_repositories_are_the_same_for_the_same_seed() {
    let (repo, commit) = TestRepo::large(300, 600_000, 7);
    let (_, again) = TestRepo::large(300, 600_000, 7);
    let (_, other) = TestRepo::large(300, 600_000, 8);
    assert_eq!(commit, again);
    assert_ne!(commit, other);
    let files: Vec<_> = repo.ls_tree(&commit).into_iter().filter(|line| line.mode == "100644").collect();
    assert_eq!(files.len(), 300);
    let bytes: usize = files.iter().map(|file| repo.blob(&file.id).len()).sum();
    assert!((400_000..900_000).contains(&bytes), "{bytes}");
    let changed = repo.change_some("main", 5, 1);
    let after: Vec<_> = repo.ls_tree(&changed).into_iter().filter(|line| line.mode == "100644").collect();
    assert_eq!(after.iter().filter(|line| !files.contains(line)).count(), 5);
    assert_eq!(after.len(), 300);
}
