//! Git over ssh: each key opens its own repository, and only to fetch.

use std::path::Path;
use std::process::Command;

use gristmill_testkit::FakeForge;
use gristmill_testkit::forge::Family;
use gristmill_testkit::repo::Changes;
use serde_json::json;

use crate::api::{ADMIN, NAME, ask, git};

/// A new key in a file; its public half.
fn key(file: &Path) -> String {
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(file).output();
    assert!(made.expect("ssh-keygen").status.success());
    std::fs::read_to_string(file.with_extension("pub")).expect("the public half").trim().to_owned()
}

/// How git calls ssh with this key, for this server.
fn command(folder: &Path, known_host: &str) -> String {
    std::fs::write(folder.join("known"), format!("{known_host}\n")).expect("written");
    format!(
        "ssh -F none -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -i {0}/key -o UserKnownHostsFile={0}/known",
        folder.display()
    )
}

#[test]
fn every_family_has_its_own_paths() {
    for family in Family::ALL {
        let forge = FakeForge::start(family);
        let Some(ssh) = forge.ssh("every_family_has_its_own_paths") else { return };
        forge.create_bare(NAME).commit("main", &Changes::new());
        let folder = tempfile::tempdir().expect("a folder");
        forge.add_key(NAME, "ours", &key(&folder.path().join("key")));
        let command = command(folder.path(), &ssh.known_host());
        let env = [("GIT_SSH_COMMAND", command.as_str())];
        let cloned =
            git(&["clone", "--quiet", "--bare", &forge.ssh_url(NAME)], &folder.path().join("good"), &env);
        assert!(cloned.status.success(), "{family:?} {}: {cloned:?}\n{}", forge.ssh_url(NAME), ssh.log());
    }
}

#[test]
fn a_deploy_key_fetches_its_repository_and_nothing_else() {
    let forge = FakeForge::start(Family::Github);
    let Some(ssh) = forge.ssh("a_deploy_key_fetches_its_repository_and_nothing_else") else { return };
    let commit = forge.create_bare(NAME).commit("main", &Changes::new().file("a", "1"));
    forge.create_bare("acme/other").commit("main", &Changes::new());
    forge.require_token(Some(ADMIN));
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let public = key(&at("key"));
    let command = command(folder.path(), &ssh.known_host());
    let env = [("GIT_SSH_COMMAND", command.as_str())];
    let fetch =
        |name: &str, into: &str| git(&["clone", "--quiet", "--bare", &forge.ssh_url(name)], &at(into), &env);
    assert!(!fetch(NAME, "before").status.success(), "nobody knows the key yet");

    let body = json!({ "title": "ours", "key": public, "read_only": true });
    let made = ask(
        "POST",
        &format!("{}/repos/acme/shop/keys", forge.api_url()),
        "Authorization: Bearer token-of-an-administrator",
        Some(body),
    );
    assert_eq!(made.status, 201);
    let good = fetch(NAME, "good");
    assert!(good.status.success(), "{}\n{}", String::from_utf8_lossy(&good.stderr), ssh.log());
    assert!(std::fs::read_to_string(at("good/packed-refs")).expect("refs").contains(&commit));
    let other = fetch("acme/other", "other");
    assert!(String::from_utf8_lossy(&other.stderr).contains("Repository not found"));
    let good = at("good");
    let push = git(
        &["-C", good.to_str().expect("text"), "push", &forge.ssh_url(NAME)],
        Path::new("main:more"),
        &env,
    );
    assert!(String::from_utf8_lossy(&push.stderr).contains("may only fetch"), "{push:?}");

    let path = format!("{}/repos/acme/shop/keys/{}", forge.api_url(), made.body["id"]);
    assert_eq!(ask("DELETE", &path, "Authorization: Bearer token-of-an-administrator", None).status, 204);
    assert!(!fetch(NAME, "after").status.success(), "the key is gone");
}
