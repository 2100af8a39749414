//! What is damaged, missing, shared or somebody else's: it is made good, or left alone.

use std::path::{Path, PathBuf};

use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, wait_for};

use crate::world::{KEY, MAIN, PROJECT, SECRET, World, project};

/// Files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

#[test]
fn rule_7_another_repositorys_payload_teaches_nothing() {
    let world = World::start(|project| project);
    world.github.create("acme/other", SECRET);
    let seed = world.github.push("acme/other", "refs/tags/v1", None);
    // Whatever an organisation's hook tells of another repository, also events that build nothing.
    world.server.accept(PROJECT, &seed);
    world.server.accept(PROJECT, &[world.github.release("acme/other", "v1", "created")]);
    world.server.accept(PROJECT, &[world.github.release("acme/other", "v1", "published")]);
    world.server.wait_until_idle();
    let first = world.text(None, "one");
    let second = world.text(Some(&first), "two");
    // Two pushes at once: the first is known from its hook alone.
    let mut hooks = world.github.push(PROJECT, MAIN, Some(&first));
    hooks.extend(world.github.push(PROJECT, MAIN, Some(&second)));
    world.server.accept(PROJECT, &hooks);
    world.server.wait_until_idle();
    assert_eq!(world.run_of(&first)["state"], "succeeded", "{:#?}", world.runs());
    world.assert_public(KEY, &second);
}

#[test]
fn a_pipeline_that_is_added_later_builds_what_is_there() {
    let mut world = World::start(|project| project.poll("1s"));
    let commit = world.text(None, "one");
    world.push_and_wait(MAIN, &commit);
    let later = "[[project.pipeline]]\nkind = \"archive\"\nname = \"later\"\nbranches = [\"main\"]\nkey = \"later/{branch}.zip\"";
    let both = project(&world.github, PROJECT).poll("1s").pipeline(later);
    world.server.set_projects([both]);
    let there = wait_for(PATIENCE, || world.server.store().public("later/main.zip"));
    assert!(there.is_some(), "{}", world.server.log());
    world.server.wait_until_idle();
    let runs = world.runs();
    assert_eq!(runs.len(), 2, "one for each pipeline, however often the remote is looked at: {runs:#?}");
}

#[test]
fn refs_at_one_commit_share_a_key_that_names_it() {
    let world = World::start(|project| {
        project.pipeline("branches = [\"**\"]").pipeline("key = \"every/{commit}.zip\"")
    });
    let commit = world.text(None, "one");
    world.push_and_wait(MAIN, &commit);
    world.push_and_wait("refs/heads/dev", &commit);
    let runs = world.runs();
    assert_eq!(runs.len(), 2);
    assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:#?}");
    world.assert_public(&format!("every/{commit}.zip"), &commit);
    assert_eq!(world.server.store().versions_of(&format!("every/{commit}.zip")).len(), 1);
}

#[test]
fn a_damaged_mirror_is_made_anew() {
    let world = World::start(|project| project);
    let first = world.commit(None, &Changes::new().file("a.txt", "a".repeat(5000)).file("b.txt", "b"));
    world.push_and_wait(MAIN, &first);
    // Everything the mirror holds is damaged, and nothing of the archive before can be taken over.
    for pack in files(&world.server.data().join("mirrors")) {
        if pack.extension().is_some_and(|ending| ending == "pack") {
            let mut bytes = std::fs::read(&pack).expect("a pack");
            let (from, until) = (20, bytes.len() - 20);
            bytes[from..until].fill(0x55);
            std::fs::set_permissions(&pack, std::os::unix::fs::PermissionsExt::from_mode(0o644))
                .expect("mine");
            std::fs::write(&pack, bytes).expect("written");
        }
    }
    for blob in files(&world.server.data().join("storage/blobs")) {
        std::fs::remove_file(blob).expect("removed");
    }
    let run = world.run_of(&first)["id"].as_str().expect("an id").to_owned();
    world.server.cli_text(&["run", "retry", &run]);
    world.server.wait_until_idle();
    assert_eq!(world.run_of(&first)["state"], "succeeded", "{}", world.server.log());
    world.assert_public(KEY, &first);
}

#[test]
fn a_lost_archive_is_made_anew() {
    let world = World::start(|project| project);
    let first = world.text(None, "one");
    world.push_and_wait(MAIN, &first);
    for blob in files(&world.server.data().join("storage/blobs")) {
        std::fs::remove_file(blob).expect("removed");
    }
    let same_tree = world.text(Some(&first), "one");
    world.push_and_wait(MAIN, &same_tree);
    assert_eq!(world.run_of(&same_tree)["state"], "succeeded", "{}", world.server.log());
    world.assert_public(KEY, &same_tree);
}

#[test]
fn purging_a_project_leaves_the_names_of_others() {
    let mut world = World::prepare(|project| project);
    let other = world.github.create("acme/other", SECRET);
    let shared = |project: gristmill_testkit::server::Project| {
        project
            .pipeline("key = \"shared/latest.zip\"")
            .pipeline("branches = [\"main\"]")
            .pipeline("allow_shared_key = true")
    };
    let both = [shared(project(&world.github, PROJECT)), shared(project(&world.github, "acme/other"))];
    world.server.set_projects(both);
    world.server.start();
    let ours = world.text(None, "ours");
    world.push_and_wait(MAIN, &ours);
    let theirs = other.commit_unreferenced(&[], &Changes::new().file("file.txt", "theirs"));
    world.server.accept("acme/other", &world.github.push("acme/other", MAIN, Some(&theirs)));
    world.server.wait_until_idle();
    world.server.set_projects([shared(project(&world.github, PROJECT))]);
    let disabled = || world.server.cli_text(&["project", "list"]).contains("disabled").then_some(());
    assert!(wait_for(PATIENCE, disabled).is_some(), "{}", world.server.log());
    world.server.cli_text(&["project", "purge", "acme/other", "--yes"]);
    assert!(world.server.store().public("shared/latest.zip").is_some(), "readers have something still");
    assert_eq!(world.server.store().versions_of("shared/latest.zip").len(), 1, "ours");
    let next = world.text(Some(&ours), "next");
    world.push_and_wait(MAIN, &next);
    world.assert_public("shared/latest.zip", &next);
}
