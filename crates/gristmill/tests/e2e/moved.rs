//! A project moves to another forge: what lets us in at one is never shown to the other.

use std::collections::BTreeSet;

use gristmill_testkit::forge::{Family, Fault, Part};
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, Project, Server, wait_for};
use gristmill_testkit::{FakeForge, TestRepo};

use crate::world::{BINARY, KEY, MAIN, PROJECT, list};

/// A forge that only this token opens, with one commit.
fn forge(token: &str, content: &str) -> (FakeForge, std::sync::Arc<TestRepo>, String) {
    let forge = FakeForge::start(Family::Github);
    let repo = forge.create_bare(PROJECT);
    forge.require_token(Some(token));
    let commit = repo.commit_unreferenced(&[], &Changes::new().file("file.txt", content));
    (forge, repo, commit)
}

fn project(forge: &FakeForge, token: &str) -> Project {
    Project::new(PROJECT, &forge.clone_url(PROJECT), "a secret")
        .poll("1s")
        .with(&format!("token = {{ env = \"{token}\" }}"))
        .with("statuses = false")
        .pipeline("branches = [\"main\"]")
}

/// All that was shown to the forge.
fn shown(forge: &FakeForge) -> BTreeSet<String> {
    forge.requests().into_iter().filter_map(|request| request.authorization).collect()
}

#[test]
fn a_run_of_the_old_address_is_not_given_the_new_token() {
    let (old, _old_repo, first) = forge("token-of-the-old", "one");
    let (new, _new_repo, second) = forge("token-of-the-new", "two");
    let mut server = Server::new(BINARY);
    server.set_env("OLD_TOKEN", "token-of-the-old");
    server.set_env("NEW_TOKEN", "token-of-the-new");
    server.set_projects([project(&old, "OLD_TOKEN").pipeline("delay = \"2s\"")]);
    server.start();
    old.push(PROJECT, MAIN, Some(&first));
    let run_of = |server: &Server, commit: &str| {
        list(server, &["run", "list"]).into_iter().find(|run| run["commit"] == commit)
    };
    assert!(wait_for(PATIENCE, || run_of(&server, &first)).is_some(), "{}", server.log());
    // It cannot be brought before the project has moved.
    old.set_fault_of(Part::Git, Fault::Status(503));
    new.push(PROJECT, MAIN, Some(&second));
    server.set_projects([project(&new, "NEW_TOKEN")]);

    let failed = || run_of(&server, &first).filter(|run| run["state"] == "failed");
    let Some(failed) = wait_for(PATIENCE, failed) else { panic!("{}", server.log()) };
    let reason = failed["reason"].as_str().expect("a reason");
    assert!(reason.contains("at another server") && reason.contains("project trigger acme/shop"), "{reason}");
    let published = || server.store().versions_of(KEY).pop().filter(|version| version.commit == second);
    assert!(wait_for(PATIENCE, published).is_some(), "{}", server.log());
    server.wait_until_idle();
    let (at_old, at_new) = (shown(&old), shown(&new));
    assert_eq!((at_old.len(), at_new.len()), (1, 1), "{at_old:?} {at_new:?}");
    assert!(at_old.is_disjoint(&at_new), "{at_old:?} {at_new:?}");
}
