//! Backups, from outside: whatever the engines, what comes back is what was there.

mod refused;

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use gristmill_testkit::Postgres;
use gristmill_testkit::server::{PATIENCE, Project, Server, wait_for};
use serde_json::Value;

use crate::world::{BINARY, KEY, MAIN, PROJECT, World, list, project};

/// Where rows are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Engine {
    Sqlite,
    Postgres,
}

/// Has a server keep its rows there; false where there is no PostgreSQL.
fn keep_in(server: &mut Server, engine: Engine, test: &str) -> bool {
    if engine == Engine::Sqlite {
        return true;
    }
    let Some(postgres) = Postgres::shared(test) else { return false };
    server.use_postgres(&postgres.create_database(), "");
    true
}

fn world(engine: Engine, test: &str) -> Option<World> {
    let mut world = World::prepare(|project| project);
    keep_in(&mut world.server, engine, test).then(|| {
        world.server.start();
        world
    })
}

/// A machine with the same configuration, but for the place of the rows, and nothing else.
fn machine(world: &World, engine: Engine, test: &str) -> Option<Server> {
    let mut server = Server::new(BINARY);
    server.set_projects([project(&world.github, PROJECT)]);
    keep_in(&mut server, engine, test).then_some(server)
}

/// Waits until this many runs are over and no delivery waits.
fn wait_for_runs(server: &Server, count: usize) {
    let done = wait_for(PATIENCE, || {
        let runs = list(server, &["run", "list", "--limit", "1000"]);
        let deliveries = list(server, &["delivery", "list", "--limit", "1000"]);
        let over = runs.iter().all(|run| run["state"] == "succeeded");
        let handled = deliveries.iter().all(|one| one["state"] != "received");
        (runs.len() == count && over && handled).then_some(())
    });
    assert!(done.is_some(), "{:#?}\n{}", list(server, &["run", "list"]), server.log());
}

fn lists(server: &Server) -> [Vec<Value>; 3] {
    [
        list(server, &["run", "list", "--limit", "1000"]),
        list(server, &["delivery", "list", "--limit", "1000"]),
        list(server, &["project", "list"]),
    ]
}

fn get(server: &Server, path: &str) -> Vec<u8> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let mut response = agent.get(server.url(path)).call().expect("an answer");
    assert_eq!(response.status().as_u16(), 200, "{path}");
    response.body_mut().with_config().limit(u64::MAX).read_to_vec().expect("a body")
}

/// All that readers can have of these names.
fn downloads(server: &Server, paths: &[String]) -> Vec<Vec<u8>> {
    paths.iter().map(|path| get(server, path)).collect()
}

fn path(file: &Path) -> &str {
    file.to_str().expect("UTF-8")
}

fn backup(server: &Server, more: &[&str]) -> (PathBuf, Value) {
    let file = server.folder().join(format!("backup-{}.tar", more.len()));
    let summary = server.cli_json(&[&["backup", path(&file)], more].concat());
    (file, summary)
}

fn failed(output: &Output, parts: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

/// Three versions of two keys, and a commit that no name led to. The paths of all of them.
fn fill(world: &World) -> Vec<String> {
    let commits = ["late", "A", "B", "C"].map(|content| world.text(None, content));
    let [late, a, b, c] = &commits;
    let other = "acme/shop/other/acme_shop.zip";
    let late_push = world.github.push(PROJECT, MAIN, Some(late));
    world.push(MAIN, a);
    wait_for_runs(&world.server, 1);
    world.server.accept(PROJECT, &late_push);
    wait_for_runs(&world.server, 2);
    world.push(MAIN, b);
    wait_for_runs(&world.server, 3);
    world.push("refs/heads/other", c);
    wait_for_runs(&world.server, 4);
    let mut paths = vec![format!("/archive/{KEY}"), format!("/archive/{other}")];
    let of_commits = [(KEY, late), (KEY, a), (KEY, b), (other, c)];
    paths.extend(of_commits.map(|(key, commit)| format!("/archive/{key}@{commit}")));
    paths
}

#[test]
fn what_was_backed_up_comes_back_on_either_engine() {
    let test = "what_was_backed_up_comes_back_on_either_engine";
    for (from, to) in [
        (Engine::Sqlite, Engine::Sqlite),
        (Engine::Sqlite, Engine::Postgres),
        (Engine::Postgres, Engine::Sqlite),
    ] {
        let Some(world) = world(from, test) else { return };
        let paths = fill(&world);
        let (file, summary) = backup(&world.server, &[]);
        assert_eq!(summary["runs"], 4, "{summary}");
        assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
        let Some(mut restored) = machine(&world, to, test) else { return };
        let summary = restored.cli_json(&["restore", path(&file)]);
        assert_eq!(summary["keys"]["verified"], 2, "{from:?} {to:?} {summary}");
        assert_eq!((&summary["runs"], &summary["keys"]["wrong"]), (&4.into(), &0.into()), "{summary}");
        assert!(summary["deliveries"].as_u64().is_some_and(|count| count >= 4), "{summary}");
        restored.start();
        assert_eq!(lists(&restored), lists(&world.server), "{from:?} {to:?}");
        assert_eq!(downloads(&restored, &paths), downloads(&world.server, &paths), "{from:?} {to:?}");
        for key in [KEY, "acme/shop/other/acme_shop.zip"] {
            assert_eq!(restored.store().public(key), world.server.store().public(key), "{key}");
        }
        // It goes on where it was: the next push is a version of its own, later than all others.
        let next = world.text(None, "next");
        let push = world.github.push(PROJECT, MAIN, Some(&next));
        restored.accept(PROJECT, &push);
        wait_for_runs(&restored, 5);
        let bytes = get(&restored, &format!("/archive/{KEY}"));
        crate::world::assert_equals_git(&world.repo, &next, &bytes);
    }
}

#[test]
fn what_was_moved_is_there_and_where_it_was() {
    let test = "what_was_moved_is_there_and_where_it_was";
    let Some(mut world) = world(Engine::Sqlite, test) else { return };
    let paths = fill(&world);
    let (before, bytes) = (lists(&world.server), downloads(&world.server, &paths));
    let Some(mut postgres) = machine(&world, Engine::Postgres, test) else { return };
    // The target's configuration takes its password from the environment of whoever moves.
    postgres.cli(&["config", "validate"]);
    let url = std::fs::read_to_string(postgres.config());
    let refused = world.server.cli(&["move", "--to", path(&postgres.config())]);
    failed(&refused, &["a server works on", "stop it first"]);
    world.server.stop();
    let Some(server) = Postgres::shared(test) else { return };
    let password = server.url("x").split([':', '@']).nth(2).expect("a password").to_owned();
    world.server.set_env("DATABASE_PASSWORD", &password);
    let summary = world.server.cli_json(&["move", "--to", path(&postgres.config())]);
    assert_eq!((&summary["runs"], &summary["keys"]["verified"]), (&4.into(), &2.into()), "{summary} {url:?}");
    postgres.start();
    assert_eq!(lists(&postgres), before);
    assert_eq!(downloads(&postgres, &paths), bytes);
    postgres.stop();
    // And back, to a file.
    let Some(mut back) = machine(&world, Engine::Sqlite, test) else { return };
    back.set_projects([project(&world.github, PROJECT)]);
    let summary = postgres.cli_json(&["move", "--to", path(&back.config())]);
    assert_eq!(summary["keys"]["verified"], 2, "{summary}");
    failed(&postgres.cli(&["move", "--to", path(&back.config())]), &["the database is in use"]);
    back.start();
    assert_eq!(lists(&back), before);
    assert_eq!(downloads(&back, &paths), bytes);
    world.server.start();
    assert_eq!(lists(&world.server), before, "where it was, it still is");
}

#[test]
fn what_was_accepted_before_a_backup_began_is_in_it() {
    let test = "what_was_accepted_before_a_backup_began_is_in_it";
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let Some(mut world) = world(engine, test) else { return };
        world.server.expect_leftovers();
        let (accepted, is_over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let commit = world.text(None, "one");
        world.push(MAIN, &commit);
        let (file, before) = std::thread::scope(|scope| {
            for sender in 0..3 {
                let (world, accepted, is_over) = (&world, &accepted, &is_over);
                scope.spawn(move || {
                    for n in 0.. {
                        if is_over.load(Ordering::SeqCst) {
                            break;
                        }
                        let ping = world.github.ping(PROJECT).with_id(&format!("{sender}-{n}"));
                        let id = world.server.accept(PROJECT, [&ping]).remove(0);
                        accepted.lock().expect("no sender panics").push(id);
                    }
                });
            }
            let many = || (accepted.lock().expect("no sender panics").len() >= 50).then_some(());
            assert!(wait_for(PATIENCE, many).is_some());
            let before = accepted.lock().expect("no sender panics").clone();
            let file = world.server.folder().join("loaded.tar");
            let output = world.server.cli(&["backup", path(&file)]);
            is_over.store(true, Ordering::SeqCst);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            (file, before)
        });
        let Some(mut restored) = machine(&world, Engine::Sqlite, test) else { return };
        restored.cli_json(&["restore", path(&file)]);
        let there = restored.store().query("SELECT id FROM delivery");
        let lost: Vec<&String> = before.iter().filter(|id| !there.contains(id)).collect();
        assert!(lost.is_empty(), "{engine:?}: {} of {} are lost", lost.len(), before.len());
        assert_eq!(restored.store().number("SELECT count(*) FROM job WHERE state = 'leased'"), 0);
        // What was under way goes on.
        restored.start();
        restored.wait_until_idle();
        assert_eq!(restored.store().number("SELECT count(*) FROM run WHERE state = 'succeeded'"), 1);
        restored.stop();
    }
}

#[test]
fn a_restore_that_was_killed_says_so_and_is_begun_again() {
    let world = World::start(|project| project);
    let paths = fill(&world);
    let (file, _) = backup(&world.server, &[]);
    let mut restored = machine(&world, Engine::Sqlite, "").expect("SQLite is always there");
    for point in gristmill::fail::RESTORE_POINTS {
        restored.set_env("GRISTMILL_FAILPOINT", point);
        let killed = restored.cli(&["restore", path(&file)]);
        assert_eq!(killed.status.signal(), Some(9), "{point}");
    }
    restored.remove_env("GRISTMILL_FAILPOINT");
    failed(&restored.cli(&["serve"]), &["a restore into this database was interrupted", "gristmill restore"]);
    failed(
        &restored.cli(&["backup", path(&world.server.folder().join("other.tar"))]),
        &["a restore into this database was interrupted"],
    );
    let (ping, other) = (world.github.ping(PROJECT), world.server.folder().join("newer.tar"));
    world.server.accept(PROJECT, [&ping]);
    world.server.cli_text(&["backup", path(&other)]);
    failed(
        &restored.cli(&["restore", path(&other)]),
        &["another restore into this database was interrupted"],
    );
    let summary = restored.cli_json(&["restore", path(&file)]);
    assert_eq!(summary["keys"]["verified"], 2, "{summary}");
    restored.start();
    assert_eq!(downloads(&restored, &paths), downloads(&world.server, &paths));
}

#[test]
fn a_blob_that_is_missing_stops_a_backup_unless_it_may_be() {
    let world = World::start(|project| project);
    fill(&world);
    // Of the version that no reader sees any more.
    let digest = world.server.store().versions_of(KEY)[0].digest.clone();
    let blob = world.server.data().join("storage/blobs/sha256").join(&digest[..2]).join(&digest);
    std::fs::remove_file(&blob).expect("it is there");
    let file = world.server.folder().join("a.tar");
    failed(
        &world.server.cli(&["backup", path(&file)]),
        &["1 blobs that rows refer to are missing", "--skip-missing"],
    );
    assert!(!file.exists());
    let (file, summary) = backup(&world.server, &["--skip-missing"]);
    assert_eq!(summary["missing"], 1, "{summary}");
    let restored = machine(&world, Engine::Sqlite, "").expect("SQLite is always there");
    let summary = restored.cli_json(&["restore", path(&file)]);
    assert_eq!((&summary["missing"], &summary["keys"]["verified"]), (&1.into(), &2.into()), "{summary}");
}

#[test]
fn rows_alone_are_restored_where_the_bucket_is_and_moves_go_on_after_it() {
    let mut world = World::start(|project| project);
    fill(&world);
    let (file, summary) = backup(&world.server, &["--without-blobs"]);
    assert_eq!(summary["blobs"], 0, "{summary}");
    // The bucket goes on after the backup.
    let later = world.text(None, "later");
    world.push_and_wait(MAIN, &later);
    world.server.stop();
    let mut restored = machine(&world, Engine::Sqlite, "").expect("SQLite is always there");
    failed(
        &restored.cli(&["restore", path(&file)]),
        &["blobs that rows refer to are missing", "was not changed"],
    );
    std::fs::remove_dir_all(restored.data()).expect("nothing but the schema was in it");
    std::fs::create_dir(restored.data()).expect("a folder");
    std::fs::rename(world.server.data().join("storage"), restored.data().join("storage")).expect("it moves");
    let summary = restored.cli_json(&["restore", path(&file)]);
    assert_eq!(
        (&summary["keys"]["verified"], &summary["keys"]["later"]),
        (&1.into(), &1.into()),
        "{summary}"
    );
    restored.start();
    let next = world.text(None, "next");
    restored.accept(PROJECT, &world.github.push(PROJECT, MAIN, Some(&next)));
    restored.wait_until_idle();
    let bytes = restored.store().public(KEY).expect("published");
    crate::world::assert_equals_git(&world.repo, &next, &bytes);
}

#[test]
fn the_servers_key_is_in_a_backup_only_where_it_was_asked_for() {
    let mut server = Server::new(BINARY);
    let ssh = || Project::new("acme/ssh", "ssh://git@github.com/acme/ssh.git", "a secret of sixteen bytes");
    server.set_projects([ssh()]);
    server.start();
    server.expect_leftovers();
    let key = std::fs::read(server.data().join("server.key")).expect("it was made");
    let (plain, with_key) = (backup(&server, &[]), backup(&server, &["--with-key"]));
    assert_eq!((&plain.1["has_key"], &with_key.1["has_key"]), (&false.into(), &true.into()));
    let holds = |file: &Path| {
        let bytes = std::fs::read(file).expect("the backup");
        memchr::memmem::find(&bytes, key.trim_ascii()).is_some()
    };
    assert!(!holds(&plain.0) && holds(&with_key.0));
    for (file, has_key) in [(plain.0, false), (with_key.0, true)] {
        let mut restored = Server::new(BINARY);
        restored.set_projects([ssh()]);
        let output = restored.cli(&["restore", path(&file)]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        assert_eq!(told.contains("sealed with the server's key, which is not here"), !has_key, "{told}");
        let there = std::fs::read(restored.data().join("server.key")).ok();
        assert_eq!(there, has_key.then(|| key.clone()));
    }
}
