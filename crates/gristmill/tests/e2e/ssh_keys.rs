//! Keys that are changed: a project's for ssh, and the server's that seals them.

use std::process::Output;

use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, Server, wait_for};
use serde_json::Value;

use crate::ssh::{keys, public, repository, wait_for_commit};
use crate::sshd::{Sshd, write_secret};
use crate::world::{BINARY, PROJECT};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What a command says that does not work.
fn refused(server: &Server, args: &[&str]) -> String {
    let output = server.cli(args);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}", text(&output));
    text(&output)
}

/// Waits until the key that is the `at`-th has this in `field`.
fn wait_for_key(server: &Server, at: usize, field: &str) {
    let known = || (!keys(server, PROJECT)[at][field].is_null()).then_some(());
    assert!(wait_for(PATIENCE, known).is_some(), "{:?}\n{}", keys(server, PROJECT), server.log());
}

#[test]
fn while_a_key_is_changed_both_are_tried() {
    let Some(sshd) = Sshd::start("while_a_key_is_changed_both_are_tried") else { return };
    let (repo, first) = repository();
    let mut server = Server::start_with(BINARY, [sshd.pinned_project(PROJECT, repo.path())]);
    let old = public(&server, PROJECT);
    sshd.allow(&[&old]);
    wait_for_commit(&server, &repo, &first);

    let told = server.cli_text(&["project", "rotate-key", PROJECT]);
    let new = public(&server, PROJECT);
    assert!(new != old && told.contains(&new) && told.contains("--finish acme/shop"), "{told}");
    let again = refused(&server, &["project", "rotate-key", PROJECT]);
    assert!(again.contains("a rotation is under way"), "{again}");
    // The forge knows the old one alone: it is used, and the refusal remembered.
    let second = repo.commit("main", &Changes::new().file("a", "two"));
    wait_for_commit(&server, &repo, &second);
    wait_for_key(&server, 0, "refused");
    let both = keys(&server, PROJECT);
    assert_eq!((both.len(), &both[1]["state"]), (2, &Value::from("previous")));
    assert_eq!((&both[0]["let_in"], &both[1]["public"]), (&Value::Null, &Value::from(old.clone())));
    let early = refused(&server, &["project", "rotate-key", "--finish", PROJECT]);
    assert!(early.contains("was not let in yet"), "{early}");
    assert!(server.cli_text(&["doctor"]).contains("and not by the newer one"));
    // The forge knows both, then the new one alone.
    sshd.allow(&[&old, &new]);
    wait_for_key(&server, 0, "let_in");
    let finished = server.cli_text(&["project", "rotate-key", "--finish", PROJECT]);
    assert_eq!(finished, "the key before is dropped\n");
    sshd.allow(&[&new]);
    let third = repo.commit("main", &Changes::new().file("a", "three"));
    wait_for_commit(&server, &repo, &third);
    assert_eq!(keys(&server, PROJECT).len(), 1);
    let nothing = server.cli_text(&["project", "rotate-key", "--finish", PROJECT]);
    assert!(nothing.contains("nothing to do"), "{nothing}");
    server.expect_leftovers();
}

/// Starts the program, which must end by itself.
fn serve_refused(server: &Server) -> String {
    refused(server, &["serve"])
}

#[test]
fn without_the_servers_key_nothing_starts_and_nothing_is_written_over() {
    let Some(sshd) = Sshd::start("without_the_servers_key_nothing_starts") else { return };
    let (repo, first) = repository();
    let mut server = Server::start_with(BINARY, [sshd.pinned_project(PROJECT, repo.path())]);
    sshd.allow(&[&public(&server, PROJECT)]);
    wait_for_commit(&server, &repo, &first);
    server.stop();
    let file = server.data().join("server.key");
    let right = std::fs::read_to_string(&file).expect("the key");
    let wrong = "ab".repeat(32);
    for (content, why) in [(None, "is gone"), (Some(wrong.as_str()), "is not the one that sealed them")] {
        match content {
            Some(content) => write_secret(&file, content),
            None => std::fs::remove_file(&file).expect("removed"),
        }
        for error in [serve_refused(&server), refused(&server, &["sync"]), refused(&server, &["doctor"])] {
            for part in ["cannot be opened: acme/shop;", why, "rotate-key --lost"] {
                assert!(error.contains(part), "{error}");
            }
            assert!(!error.contains(right.trim()) && !error.contains(&wrong), "{error}");
        }
        assert_eq!(std::fs::read_to_string(&file).ok().as_deref(), content, "none is made or changed");
    }
    let error = refused(&server, &["project", "rotate-key", PROJECT]);
    assert!(error.contains("cannot be opened: acme/shop;"), "{error}");
    // The right one comes back.
    write_secret(&file, &right);
    server.start();
    let second = repo.commit("main", &Changes::new().file("a", "two"));
    wait_for_commit(&server, &repo, &second);
    // It is lost for good.
    server.stop();
    std::fs::remove_file(&file).expect("removed");
    let lost = public(&server, PROJECT);
    server.cli_text(&["project", "rotate-key", "--lost", PROJECT]);
    let new = public(&server, PROJECT);
    assert!(new != lost && keys(&server, PROJECT).len() == 1);
    assert_ne!(std::fs::read_to_string(&file).expect("a new key"), right);
    sshd.allow(&[&new]);
    server.start();
    let third = repo.commit("main", &Changes::new().file("a", "three"));
    wait_for_commit(&server, &repo, &third);
    server.expect_leftovers();
}

#[test]
fn the_servers_key_is_changed_for_another_while_it_runs() {
    let Some(sshd) = Sshd::start("the_servers_key_is_changed_for_another") else { return };
    let (repo, first) = repository();
    let mut server = Server::new(BINARY);
    let setting = |keys: &str| format!("[server]\nlisten = \"127.0.0.1:0\"\nkey = {keys}\n");
    for (name, key) in [("old.key", "01"), ("new.key", "02")] {
        write_secret(&server.folder().join(name), &key.repeat(32));
    }
    server.set_settings(&setting("{ file = \"old.key\" }"));
    server.set_projects([sshd.pinned_project(PROJECT, repo.path())]);
    server.start();
    let key = public(&server, PROJECT);
    sshd.allow(&[&key]);
    wait_for_commit(&server, &repo, &first);
    assert!(!server.data().join("server.key").exists());
    let sealed = |server: &Server| server.store().query("SELECT hex(sealed) FROM deploy_key");
    let before = sealed(&server);
    // The new one alone is refused, and the one before stays in force.
    server.set_settings(&setting("{ file = \"new.key\" }"));
    server.wait_for_log("none of the keys in `server.key` is the one that sealed them");
    assert_eq!(sealed(&server), before);
    // Both: what the old one sealed is sealed again.
    server.set_settings(&setting("[{ file = \"new.key\" }, { file = \"old.key\" }]"));
    server.wait_for_log("ssh keys are sealed with the newest server key now");
    assert_ne!(sealed(&server), before);
    // Now the old one may go.
    server.set_settings(&setting("{ file = \"new.key\" }"));
    server.crash_and_restart();
    let second = repo.commit("main", &Changes::new().file("a", "two"));
    wait_for_commit(&server, &repo, &second);
    assert_eq!(public(&server, PROJECT), key, "the project's own key is the same");
    server.expect_leftovers();
}

#[test]
fn a_sealed_key_opens_for_its_own_project_only() {
    let Some(sshd) = Sshd::start("a_sealed_key_opens_for_its_own_project_only") else { return };
    let (repo, first) = repository();
    let other = sshd.pinned_project("acme/tool", repo.path());
    let mut server = Server::start_with(BINARY, [sshd.pinned_project(PROJECT, repo.path()), other]);
    sshd.allow(&[&public(&server, PROJECT), &public(&server, "acme/tool")]);
    wait_for_commit(&server, &repo, &first);
    server.stop();
    // Somebody who may write to the database, and wants another project's key to be used for this one.
    server.store().execute(
        "UPDATE deploy_key SET sealed = (SELECT sealed FROM deploy_key JOIN project ON project.id = project_id WHERE name = 'acme/tool') WHERE project_id = (SELECT id FROM project WHERE name = 'acme/shop')",
    );
    server.start();
    server.wait_for_log("was changed since it was sealed, or belongs to another row");
    server.expect_leftovers();
}

#[test]
fn what_is_purged_leaves_no_key() {
    let mut server = Server::new(BINARY);
    server.set_projects([]);
    server.cli_text(&["project", "add", PROJECT, "--git", "git@github.com:acme/shop.git"]);
    assert_eq!(server.store().number("SELECT count(*) FROM deploy_key"), 1);
    server.set_projects([]);
    server.cli_text(&["project", "purge", "--yes", PROJECT]);
    assert_eq!(server.store().number("SELECT count(*) FROM deploy_key"), 0);
}
