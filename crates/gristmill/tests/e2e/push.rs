//! From a push to what readers get.

use gristmill_testkit::forge::Delivery;
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::Server;

use crate::world::{BINARY, KEY, MAIN, PROJECT, SECRET, World, assert_equals_git, project};

#[test]
fn mistake_12_an_equal_tree_makes_a_new_version_of_the_same_bytes() {
    let world = World::start(|project| project);
    let first = world.text(None, "one");
    let other = world.text(Some(&first), "two");
    let back = world.text(Some(&other), "one");
    let blobs = || world.server.store().number("SELECT count(*) FROM blob");
    world.push_and_wait(MAIN, &first);
    let first_bytes = world.server.store().public(KEY).expect("published");
    world.push_and_wait(MAIN, &other);
    let before = blobs();
    world.push_and_wait(MAIN, &back);
    world.assert_public(KEY, &back);
    assert_eq!(world.server.store().public(KEY).expect("published"), first_bytes);
    assert_eq!(blobs(), before, "no new blob");
    let versions = world.server.store().versions_of(KEY);
    let commits: Vec<&str> = versions.iter().map(|version| version.commit.as_str()).collect();
    assert_eq!(commits, [&first, &other, &back]);
    assert_eq!(versions[0].digest, versions[2].digest);
    assert_ne!(versions[0].digest, versions[1].digest);
    let archived = world.server.store().query(
        "SELECT j.state FROM job j JOIN run r ON r.id = j.run_id WHERE j.kind LIKE '%archive%' AND j.kind NOT LIKE '%publish%' ORDER BY r.id",
    );
    assert_eq!(archived.last().map(String::as_str), Some("cached"), "{archived:?}");
}

#[test]
fn mistake_09_the_commit_is_recorded_with_the_archive() {
    let world = World::start(|project| project);
    let commit = world.text(None, "one");
    world.push_and_wait(MAIN, &commit);
    let tree = world.repo.resolve(&format!("{commit}^{{tree}}")).expect("a tree");
    let run = world.run_of(&commit);
    assert_eq!(run["state"], "succeeded");
    assert_eq!(run["cause"], "delivery");
    let shown = world.server.cli_json(&["run", "show", run["id"].as_str().expect("an id")]);
    assert_eq!(shown["artifacts"][0]["commit"], commit);
    assert_eq!(shown["artifacts"][0]["tree"], tree);
    assert_eq!(shown["publications"][0]["state"], "published");
    let metadata = world.server.store().query("SELECT metadata FROM publication");
    let metadata: serde_json::Value = serde_json::from_str(&metadata[0]).expect("JSON");
    assert_eq!(metadata["commit"], commit);
    assert_eq!(metadata["tree"], tree);
    assert_eq!(metadata["ref"], MAIN);
    assert_eq!(metadata["project"], PROJECT);
    assert_eq!(metadata["run"], run["id"]);
    let digest = world.server.store().versions_of(KEY)[0].digest.clone();
    assert_eq!(metadata["sha256"], digest);
}

/// How the hooks of two pushes to one branch arrive.
type Arrival = fn(a: &Delivery, b: &Delivery) -> Vec<Delivery>;

const ARRIVALS: [(&str, Arrival); 5] = [
    ("in-order", |a, b| vec![a.clone(), b.clone()]),
    ("swapped", |a, b| vec![b.clone(), a.clone()]),
    ("replayed", |a, b| [a, b, a, a, a, a, a].map(Clone::clone).to_vec()),
    ("doubled", |a, b| {
        let again = |one: &Delivery| one.with_id(&format!("again-{}", one.id));
        vec![b.clone(), again(b), a.clone(), again(a), again(a)]
    }),
    ("only-a", |a, _| vec![a.clone()]),
];

#[test]
fn mistake_03_two_pushes_at_once_give_both_archives_and_the_name_follows_the_remote() {
    let world = World::start(|project| project);
    let base = world.text(None, "base");
    let mut commits = Vec::new();
    // All refs move before any hook arrives: every hook of an A is late.
    let mut hooks = Vec::new();
    for (name, arrive) in ARRIVALS {
        let git_ref = format!("refs/heads/{name}");
        let (a, b) = (world.text(Some(&base), &format!("{name} A")), world.text(Some(&base), "B"));
        let first = world.github.push(PROJECT, &git_ref, Some(&a)).remove(0);
        let second = world.github.push(PROJECT, &git_ref, Some(&b)).remove(0);
        hooks.extend(arrive(&first, &second));
        commits.push((format!("acme/shop/{name}/acme_shop.zip"), a, b));
    }
    let server = &world.server;
    std::thread::scope(|scope| {
        for hook in &hooks {
            scope.spawn(move || server.accept(PROJECT, [hook]));
        }
    });
    world.server.wait_until_idle();
    for (key, a, b) in &commits {
        world.assert_public(key, b);
        world.assert_archived(key, a);
        let versions = world.server.store().versions_of(key);
        assert_eq!(versions.len(), 1, "{key}: A was never the tip that was seen: {versions:?}");
    }
    let runs = world.runs();
    assert_eq!(runs.len(), 2 * ARRIVALS.len(), "each commit is built once: {runs:#?}");
    assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{runs:#?}");
}

#[test]
fn mistake_03_a_hook_that_comes_late_moves_no_name_back() {
    let world = World::start(|project| project);
    let (a, b) = (world.text(None, "A"), world.text(None, "B"));
    let late = world.github.push(PROJECT, MAIN, Some(&a));
    world.push_and_wait(MAIN, &b);
    world.server.accept(PROJECT, &late);
    world.server.wait_until_idle();
    world.assert_public(KEY, &b);
    world.assert_archived(KEY, &a);
    for _ in 0..5 {
        world.server.accept(PROJECT, &late);
    }
    world.server.wait_until_idle();
    world.assert_public(KEY, &b);
    assert_eq!(world.runs().len(), 2);
}

#[test]
fn a_force_push_back_to_an_ancestor_is_a_move_forward() {
    let world = World::start(|project| project);
    let a = world.text(None, "A");
    let b = world.text(Some(&a), "B");
    world.push_and_wait(MAIN, &a);
    let to_b = world.github.push(PROJECT, MAIN, Some(&b));
    world.server.accept(PROJECT, &to_b);
    world.server.wait_until_idle();
    world.push_and_wait(MAIN, &a);
    world.assert_public(KEY, &a);
    let commits = |world: &World| -> Vec<String> {
        world.server.store().versions_of(KEY).into_iter().map(|version| version.commit).collect()
    };
    assert_eq!(commits(&world), [a.clone(), b.clone(), a.clone()], "three moves");
    // The hook of B once more, as a new delivery: B is built already, and is not the tip.
    world.server.accept(PROJECT, [&to_b[0].with_id("B-again")]);
    world.server.wait_until_idle();
    world.assert_public(KEY, &a);
    assert_eq!(commits(&world), [a.clone(), b, a]);
}

#[test]
fn mistake_04_rule_5_tags_annotated_tags_and_releases_are_built() {
    let shape = "branches = [\"main\"]\ntags = [\"v*\"]\nreleases = true";
    let world = World::start(|project| project.pipeline(shape));
    let commit = world.text(None, "one");
    world.push_and_wait(MAIN, &commit);
    world.push_and_wait("refs/tags/v1", &commit);
    world.assert_public("acme/shop/tags/v1/acme_shop.zip", &commit);
    let other = world.text(Some(&commit), "two");
    let tag = world.repo.annotated_tag("v2", &other);
    world.repo.delete_ref("refs/tags/v2");
    world.push_and_wait("refs/tags/v2", &tag);
    world.assert_public("acme/shop/tags/v2/acme_shop.zip", &other);
    // Only `published` is a release; the others are recorded.
    let created = world.github.release(PROJECT, "v1", "created");
    world.server.accept(PROJECT, [&created]);
    world.server.wait_until_idle();
    let key = "acme/shop/release/tags/v1/acme_shop_release.zip";
    assert_eq!(world.server.store().public(key), None);
    world.server.accept(PROJECT, [&world.github.release(PROJECT, "v1", "published")]);
    world.server.wait_until_idle();
    world.assert_public(key, &commit);
    assert_eq!(world.runs().len(), 4, "main, v1, v2, the release of v1");
}

#[test]
fn mistake_05_rule_5_ping_pull_request_and_delete_build_nothing_and_are_recorded() {
    let world = World::start(|project| project);
    let commit = world.text(None, "one");
    world.push_and_wait(MAIN, &commit);
    world.push_and_wait("refs/heads/old", &commit);
    let runs = world.runs().len();
    let pull = serde_json::json!({ "action": "opened", "number": 1, "pull_request": {},
        "repository": { "id": world.github.repository_id(PROJECT), "full_name": PROJECT } });
    let mut deliveries = vec![
        world.github.ping(PROJECT),
        world.github.delivery(PROJECT, "pull_request", &pull),
        world.github.delivery(PROJECT, "an_event_of_next_year", &pull),
    ];
    deliveries.extend(world.github.push(PROJECT, "refs/heads/old", None));
    let ids = world.server.accept(PROJECT, &deliveries);
    world.server.wait_until_idle();
    assert_eq!(world.runs().len(), runs);
    let mut recorded = Vec::new();
    for id in &ids {
        let shown = world.server.cli_json(&["delivery", "show", id]);
        let events = shown["events"].as_array().expect("events");
        assert!(!events.is_empty(), "{shown:#}");
        recorded
            .push(format!("{} {} {}", shown["event"], shown["state"], events[0]["kind"]).replace('"', ""));
        if shown["state"] == "ignored" {
            assert!(shown["reason"].as_str().is_some_and(|reason| reason.len() > 10), "{shown:#}");
        }
    }
    assert_eq!(
        recorded,
        [
            "ping handled ping",
            "pull_request ignored ignored",
            "an_event_of_next_year ignored ignored",
            "push handled delete",
            "delete handled delete",
        ]
    );
    // What was published of the branch stays.
    world.assert_public("acme/shop/old/acme_shop.zip", &commit);
}

#[test]
fn mistake_06_every_ref_of_a_push_is_built_though_one_hook_arrives() {
    let world = World::start(|project| project);
    let mut hooks = Vec::new();
    let mut pushed = Vec::new();
    for name in ["one", "two", "deep/three"] {
        let commit = world.text(None, name);
        hooks.extend(world.github.push(PROJECT, &format!("refs/heads/{name}"), Some(&commit)));
        pushed.push((format!("acme/shop/{name}/acme_shop.zip"), commit));
    }
    world.server.accept(PROJECT, &hooks[..1]);
    world.server.wait_until_idle();
    for (key, commit) in &pushed {
        world.assert_public(key, commit);
    }
}

#[test]
fn mistake_11_two_projects_with_one_repository_name_keep_apart() {
    let World { mut server, github, repo } = World::prepare(|project| project);
    let other = github.create("elsewhere/shop", SECRET);
    server.set_projects([project(&github, PROJECT), project(&github, "elsewhere/shop")]);
    server.start();
    let here = repo.commit_unreferenced(&[], &Changes::new().file("where", "here"));
    let there = other.commit_unreferenced(&[], &Changes::new().file("where", "there"));
    server.accept(PROJECT, &github.push(PROJECT, MAIN, Some(&here)));
    server.accept("elsewhere/shop", &github.push("elsewhere/shop", MAIN, Some(&there)));
    server.wait_until_idle();
    let read = |key: &str| server.store().public(key).expect("published");
    assert_equals_git(&repo, &here, &read(KEY));
    assert_equals_git(&other, &there, &read("elsewhere/shop/main/elsewhere_shop.zip"));
    // One key for both is refused before anything is built.
    let mut both = Server::new(BINARY);
    let shared = |name| project(&github, name).pipeline("key = \"{repo}/{branch}.zip\"");
    both.set_projects([shared(PROJECT), shared("elsewhere/shop")]);
    let refused = both.cli(&["config", "validate"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}
