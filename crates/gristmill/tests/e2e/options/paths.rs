//! `paths`: pushes that touch nothing that the pipeline is made from.

use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, Project, wait_for};

use crate::world::{KEY, MAIN, PROJECT, SECRET, World};

const PATHS: &str = "paths = [\"api/**\", \"!**/*.md\"]";

fn world() -> World {
    World::start(|project| project.pipeline(PATHS))
}

impl World {
    fn touch(&self, parent: Option<&str>, path: &str, content: &str) -> String {
        self.commit(parent, &Changes::new().file(path, content))
    }

    /// Changes the project's settings, and waits until the server has taken up this revision of them.
    fn set(&mut self, rev: i64, shape: impl FnOnce(Project) -> Project) {
        self.server.set_projects([shape(crate::world::project(&self.github, PROJECT))]);
        let rev_of_settings = || self.server.store().number("SELECT max(rev) FROM project_spec");
        assert!(wait_for(PATIENCE, || (rev_of_settings() >= rev).then_some(())).is_some());
    }

    /// Asserts that a commit was built, or that its run was left out with the reason.
    fn assert_built(&self, commit: &str, is_built: bool, what: &str) {
        let run = self.run_of(commit);
        let state = if is_built { "succeeded" } else { "skipped" };
        assert_eq!(run["state"], state, "{what}: {run:#}");
        if !is_built {
            let reason = run["reason"].as_str().expect("a reason");
            assert!(reason.starts_with("nothing that `paths` names differs from "), "{reason}");
        }
    }

    /// The commits that the key has held, in order.
    fn shown(&self) -> Vec<String> {
        self.server.store().versions_of(KEY).into_iter().map(|version| version.commit).collect()
    }
}

#[test]
fn a_push_that_touches_none_of_the_paths_builds_and_publishes_nothing() {
    let world = world();
    let mut parent = None;
    let mut built = Vec::new();
    for (path, is_built) in [
        ("web/first", true), // The first of a ref is built.
        ("web/a", false),
        ("api/readme.md", false),
        ("api/a", true),
        ("apis/a", false),
        ("api/deep/b", true),
        ("README.md", false),
        ("web/b", false),
    ] {
        let commit = world.touch(parent.as_deref(), path, "x");
        world.push_and_wait(MAIN, &commit);
        world.assert_built(&commit, is_built, path);
        if is_built {
            built.push(commit.clone());
        }
        parent = Some(commit);
    }
    assert_eq!(world.shown(), built);
    world.assert_public(KEY, built.last().expect("one"));
    let shown = world.server.cli_json(&["project", "plan", PROJECT, "--ref", MAIN]);
    assert_eq!(shown[0]["runs"][0]["paths"], serde_json::json!(["api/**", "!**/*.md"]));
    // Removing, moving away, and changing the mode touch too.
    let last = parent.expect("one");
    let gone = world.commit(Some(&last), &Changes::new().remove("api/a"));
    let mode = world.commit(Some(&gone), &Changes::new().executable("api/deep/b", "x"));
    for commit in [&gone, &mode] {
        world.push_and_wait(MAIN, commit);
        world.assert_built(commit, true, "removed, or another mode");
    }
}

#[test]
fn what_touches_counts_from_what_was_built_last_however_many_pushes_lie_between() {
    let world = world();
    let first = world.touch(None, "api/a", "1");
    world.push_and_wait(MAIN, &first);
    // One look sees three pushes at once; the one that touches is not the tip.
    let touching = world.touch(Some(&first), "api/a", "2");
    let between = world.touch(Some(&touching), "web/a", "1");
    let tip = world.touch(Some(&between), "web/a", "2");
    let mut hooks = world.github.push(PROJECT, MAIN, Some(&touching));
    hooks.extend(world.github.push(PROJECT, MAIN, Some(&between)));
    hooks.extend(world.github.push(PROJECT, MAIN, Some(&tip)));
    world.server.accept(PROJECT, &hooks);
    world.server.wait_until_idle();
    assert_eq!(world.shown().last(), Some(&tip), "what touched is in the tip");
    world.assert_public(KEY, &tip);
    world.assert_archived(KEY, &touching);
    // Forced back to what was there first: other than what is shown.
    let back = world.touch(Some(&first), "web/c", "1");
    world.push_and_wait(MAIN, &back);
    world.assert_built(&back, true, "a force-push that takes a change away");
    // And to something that differs from it in nothing that counts.
    let aside = world.touch(Some(&first), "web/d", "1");
    world.push_and_wait(MAIN, &aside);
    world.assert_built(&aside, false, "a force-push that takes nothing away");
    assert_eq!(world.shown().last(), Some(&back));
}

#[test]
fn a_push_that_takes_back_what_is_not_published_yet_is_built() {
    let world = World::start(|project| project.pipeline(PATHS).pipeline("delay = \"2s\""));
    let first = world.touch(None, "api/a", "1");
    world.push_and_wait(MAIN, &first);
    // Both runs wait; the second differs from what is shown in nothing that counts, but not from the first.
    let touching = world.touch(Some(&first), "api/a", "2");
    let back = world.touch(Some(&touching), "api/a", "1");
    let runs = world.runs().len();
    world.push(MAIN, &touching);
    let made = wait_for(PATIENCE, || (world.runs().len() > runs).then_some(()));
    assert!(made.is_some());
    world.push_and_wait(MAIN, &back);
    assert_eq!(world.shown().last(), Some(&back), "{:#?}", world.runs());
    world.assert_built(&back, true, "taken back");
    world.assert_archived(KEY, &touching);
}

#[test]
fn a_merge_is_compared_by_its_tree() {
    let world = world();
    let first = world.touch(None, "api/a", "1");
    world.push_and_wait(MAIN, &first);
    let side = world.touch(Some(&first), "api/b", "1");
    let ours = world.touch(Some(&first), "web/a", "1");
    world.push_and_wait(MAIN, &ours);
    world.assert_built(&ours, false, "beside the paths");
    let merge = world.repo.commit_unreferenced(&[ours, side], &Changes::new().file("api/b", "1"));
    world.push_and_wait(MAIN, &merge);
    world.assert_built(&merge, true, "the merge brings what touches");
}

#[test]
fn what_a_person_asks_for_and_what_other_settings_would_change_is_built() {
    let mut world = world();
    let first = world.touch(None, "api/a", "1");
    world.push_and_wait(MAIN, &first);
    let beside = world.touch(Some(&first), "web/a", "1");
    world.push_and_wait(MAIN, &beside);
    world.assert_built(&beside, false, "beside the paths");
    let skipped = world.run_of(&beside)["id"].as_str().expect("an id").to_owned();
    world.server.cli_text(&["run", "retry", &skipped]);
    world.server.wait_until_idle();
    world.assert_built(&beside, true, "retried");
    assert_eq!(world.shown(), [first, beside.clone()]);
    // The name is at this commit already: asked for, it is built, and there is nothing to move.
    world.server.cli_text(&["project", "trigger", PROJECT]);
    world.server.wait_until_idle();
    world.assert_built(&beside, true, "triggered");
    let again = world.touch(Some(&beside), "web/b", "1");
    let hooks = world.github.push(PROJECT, MAIN, Some(&again));
    let ids = world.server.accept(PROJECT, &hooks);
    world.server.wait_until_idle();
    world.assert_built(&again, false, "beside the paths");
    world.server.cli_text(&["delivery", "replay", &ids[0]]);
    world.server.wait_until_idle();
    world.assert_built(&again, true, "replayed");
    // Another key has nothing yet.
    world.set(2, |project| project.pipeline(PATHS).pipeline("key = \"other/{branch}.zip\""));
    let other = world.touch(Some(&again), "web/c", "1");
    world.push_and_wait(MAIN, &other);
    world.assert_built(&other, true, "under another key");
    world.assert_public("other/main.zip", &other);
}

#[test]
fn another_repository_is_built_whatever_it_touches() {
    let mut world = world();
    let first = world.touch(None, "api/a", "1");
    world.push_and_wait(MAIN, &first);
    // By another name its keys are others. The payload has the old one still: the look finds the commit.
    world.set(2, |project| project.pipeline(PATHS).with("repository = \"acme/store\""));
    let renamed = world.touch(Some(&first), "web/a", "1");
    world.push_and_wait(MAIN, &renamed);
    world.assert_built(&renamed, true, "under another name");
    world.assert_public("acme/store/main/acme_store.zip", &renamed);
    // From another address, with the same at the paths.
    let there = world.github.create("acme/mirror", SECRET);
    let moved = there.commit_unreferenced(&[], &Changes::new().file("api/a", "1").file("web/b", "1"));
    let project = Project::new(PROJECT, &world.github.clone_url("acme/mirror"), SECRET);
    world.set(3, |_| project.pipeline(PATHS).with("repository = \"acme/store\""));
    let hooks = world.github.push("acme/mirror", MAIN, Some(&moved));
    world.server.accept(PROJECT, &hooks);
    world.server.wait_until_idle();
    world.assert_built(&moved, true, "from another address");
    // And with the same settings it is left out again.
    let beside = there.commit_unreferenced(&[moved], &Changes::new().file("web/b", "2"));
    let hooks = world.github.push("acme/mirror", MAIN, Some(&beside));
    world.server.accept(PROJECT, &hooks);
    world.server.wait_until_idle();
    world.assert_built(&beside, false, "beside the paths");
}

#[test]
fn the_newest_move_wins_a_shared_key_whatever_it_touches() {
    let shared = "branches = [\"*\"]\nkey = \"shared.zip\"\nallow_shared_key = true";
    let world = World::start(|project| project.pipeline(PATHS).pipeline(shared));
    let first = world.touch(None, "api/a", "1");
    world.push_and_wait(MAIN, &first);
    let other = world.touch(Some(&first), "api/a", "2");
    world.push_and_wait("refs/heads/dev", &other);
    world.assert_public("shared.zip", &other);
    let beside = world.touch(Some(&first), "web/a", "1");
    world.push_and_wait(MAIN, &beside);
    world.assert_built(&beside, true, "under a shared key");
    world.assert_public("shared.zip", &beside);
}
