//! Cancelling, retrying, limits, configuration, stopping.

use std::time::{Duration, Instant};

use gristmill_testkit::forge::Fault;
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, Server, wait_for};
use serde_json::Value;

use crate::remote::descendants;
use crate::world::{BINARY, KEY, MAIN, PROJECT, SECRET, World, project};

fn id(run: &Value) -> &str {
    run["id"].as_str().expect("an id")
}

/// A run whose fetch hangs: the look went well, then the forge stopped answering.
fn with_hanging_fetch() -> (World, String) {
    let world = World::start(|project| project.pipeline("delay = \"2s\""));
    let commit = world.text(None, "one");
    // One hook, one look: a second look would hang too.
    world.server.accept(PROJECT, &world.github.push(PROJECT, MAIN, Some(&commit))[..1]);
    assert!(wait_for(PATIENCE, || world.runs().pop()).is_some(), "{}", world.server.log());
    world.github.set_fault(Fault::Hang);
    let hangs = || {
        (!descendants(world.server.pid()).is_empty() && world.run_of(&commit)["state"] == "running")
            .then_some(())
    };
    assert!(wait_for(PATIENCE, hangs).is_some(), "{}", world.server.log());
    let run = id(&world.run_of(&commit)).to_owned();
    (world, run)
}

#[test]
fn a_run_that_is_cancelled_ends_at_once_and_so_does_its_git() {
    let (world, run) = with_hanging_fetch();
    let begun = Instant::now();
    world.server.cli_text(&["run", "cancel", &run]);
    assert_eq!(world.server.cli_json(&["run", "show", &run])["state"], "cancelled");
    let gone = wait_for(Duration::from_secs(10), || descendants(world.server.pid()).is_empty().then_some(()));
    assert!(gone.is_some(), "git still runs {:?} later", begun.elapsed());
    world.github.set_fault(Fault::None);
    assert_eq!(world.server.store().public(KEY), None);
    let again = world.server.cli(&["run", "cancel", &run]);
    assert_eq!(again.status.code(), Some(1), "it is over already");
    world.server.wait_until_idle();
    assert_eq!(world.server.cli_json(&["run", "show", &run])["state"], "cancelled");
    // A person may have it after all.
    world.server.cli_text(&["run", "retry", &run]);
    world.server.wait_until_idle();
    world.assert_public(
        KEY,
        world.run_of(&world.repo.resolve(MAIN).expect("main"))["commit"].as_str().expect("a commit"),
    );
}

#[test]
fn supersede_is_a_setting_that_is_off_by_default() {
    for (line, expected) in [("", "succeeded"), ("supersede = true", "superseded")] {
        let world = World::start(|project| project.pipeline("delay = \"3s\"").pipeline(line));
        let (a, b) = (world.text(None, "A"), world.text(None, "B"));
        world.push(MAIN, &a);
        assert!(wait_for(PATIENCE, || world.runs().pop()).is_some(), "{}", world.server.log());
        world.push_and_wait(MAIN, &b);
        assert_eq!(world.run_of(&a)["state"], expected, "`{line}`");
        assert_eq!(world.run_of(&b)["state"], "succeeded");
        world.assert_public(KEY, &b);
    }
}

#[test]
fn a_retry_builds_the_same_commit_and_moves_no_name_back() {
    let world = World::start(|project| project);
    let (a, b) = (world.text(None, "A"), world.text(None, "B"));
    world.push_and_wait(MAIN, &a);
    world.push_and_wait(MAIN, &b);
    let old = world.run_of(&a);
    let new = world.server.cli_text(&["run", "retry", id(&old)]).trim().to_owned();
    world.server.wait_until_idle();
    let shown = world.server.cli_json(&["run", "show", &new]);
    assert_eq!(shown["state"], "succeeded");
    assert_eq!(
        (&shown["cause"], &shown["cause_id"], &shown["commit"]),
        (&"retry".into(), &old["id"], &a.into())
    );
    world.assert_public(KEY, &b);
    assert_eq!(world.server.store().versions_of(KEY).len(), 2);
}

#[test]
fn a_failed_run_says_why_and_a_retry_after_the_mending_publishes() {
    let mut world = World::prepare(|project| project);
    world.server.set_settings("[worker]\narchive_max = \"1MiB\"\n");
    world.server.start();
    let changes = Changes::new().file("large", noise(3 << 20));
    let commit = world.commit(None, &changes);
    world.push_and_wait(MAIN, &commit);
    let run = world.run_of(&commit);
    assert_eq!(run["state"], "failed", "mistake 10: {run:#}");
    let reason = run["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("archive_max") || reason.contains("bytes"), "{reason}");
    assert_eq!(
        world.server.store().query("SELECT public_reason FROM run"),
        ["archive_too_large 1048576"],
        "what the forge would be told"
    );
    assert_eq!(world.server.store().public(KEY), None);
    world.server.stop();
    world.server.set_settings("");
    world.server.start();
    world.server.cli_text(&["run", "retry", id(&run)]);
    world.server.wait_until_idle();
    world.assert_public(KEY, &commit);
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut rng = gristmill_lossfs::Rng::new(7);
    (0..length.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()).collect()
}

/// The most attempts of jobs that ran at one moment.
fn most_at_once(server: &Server) -> usize {
    let rows = server.store().query(
        "SELECT a.started_ms || ' ' || a.ended_ms FROM job_attempt a JOIN job j ON j.id = a.job_id WHERE j.run_id IS NOT NULL",
    );
    let spans: Vec<(i64, i64)> = rows
        .iter()
        .map(|row| {
            let (from, to) = row.split_once(' ').expect("two numbers");
            (from.parse().expect("a number"), to.parse().expect("a number"))
        })
        .collect();
    let at = |moment: i64| spans.iter().filter(|(from, to)| *from <= moment && moment < *to).count();
    spans.iter().map(|(from, _)| at(*from)).max().unwrap_or(0)
}

/// Pushes eight branches at once to a server with these settings; how many jobs ran at once.
fn jobs_at_once(settings: &str, line: &str) -> usize {
    let mut world = World::prepare(|project| project.with(line));
    world.server.set_settings(settings);
    world.server.start();
    for number in 0..8 {
        let commit = world.commit(None, &Changes::new().file("large", noise(400_000 + number)));
        world.github.push(PROJECT, &format!("refs/heads/b{number}"), Some(&commit));
    }
    world.server.cli_text(&["project", "trigger", PROJECT]);
    world.server.wait_until_idle();
    assert_eq!(world.server.store().versions().len(), 8);
    most_at_once(&world.server)
}

#[test]
fn limits_hold_overall_and_for_each_project() {
    assert_eq!(jobs_at_once("[worker]\njobs_max = 1\n", "jobs_max = 8"), 1);
    assert_eq!(jobs_at_once("[worker]\njobs_max = 8\n", "jobs_max = 1"), 1);
    let two = jobs_at_once("[worker]\njobs_max = 2\n", "jobs_max = 8");
    assert!(two <= 2, "{two}");
}

#[test]
fn a_changed_configuration_is_taken_up_and_a_wrong_one_refused() {
    let mut world = World::start(|project| project);
    let commit = world.text(None, "one");
    world.push_and_wait(MAIN, &commit);
    // Wrong: the old one stays in force.
    let good = std::fs::read_to_string(world.server.config()).expect("readable");
    std::fs::write(
        world.server.config(),
        good.replace("[[project.pipeline]]", "brnches = 1\n[[project.pipeline]]"),
    )
    .expect("written");
    world.server.wait_for_log("brnches");
    let second = world.text(Some(&commit), "two");
    world.push_and_wait(MAIN, &second);
    world.assert_public(KEY, &second);
    // A further project.
    let other = world.github.create("acme/other", SECRET);
    world.server.set_projects([project(&world.github, PROJECT), project(&world.github, "acme/other")]);
    let tip = other.commit_unreferenced(&[], &Changes::new().file("a", "b"));
    let push = world.github.push("acme/other", MAIN, Some(&tip)).remove(0);
    let accepted =
        || (world.server.send("acme/other", &push).expect("an answer").status == 202).then_some(());
    assert!(wait_for(PATIENCE, accepted).is_some(), "{}", world.server.log());
    world.server.wait_until_idle();
    assert!(world.server.store().public("acme/other/main/acme_other.zip").is_some());
    // Taken out: disabled, and what it published stays.
    world.server.set_projects([project(&world.github, "acme/other")]);
    let refused = || {
        let ping = world.github.ping(PROJECT);
        (world.server.send(PROJECT, &ping).expect("an answer").status == 401).then_some(())
    };
    assert!(wait_for(PATIENCE, refused).is_some(), "{}", world.server.log());
    assert_eq!(world.server.store().query("SELECT state FROM project ORDER BY name"), ["active", "disabled"]);
    world.assert_public(KEY, &second);
    world.server.wait_until_idle();
}

#[test]
fn a_server_that_is_asked_to_stop_lets_a_step_end() {
    let mut world = World::start(|project| project);
    let commit = world.commit(None, &Changes::new().file("large", noise(60_000)));
    world.github.set_fault(Fault::Slow(30_000));
    world.push(MAIN, &commit);
    let is_fetching = || {
        let leased =
            world.server.store().query("SELECT kind FROM job WHERE state = 'leased' AND run_id IS NOT NULL");
        (!leased.is_empty()).then_some(())
    };
    assert!(wait_for(PATIENCE, is_fetching).is_some(), "{}", world.server.log());
    world.server.stop();
    let ends = world.server.store().query("SELECT result FROM job_attempt");
    assert!(ends.iter().all(|end| end == "succeeded"), "{ends:?}");
    world.github.set_fault(Fault::None);
    world.server.start();
    world.server.wait_until_idle();
    world.assert_public(KEY, &commit);
}

#[test]
fn a_step_that_does_not_end_is_given_back_when_the_server_stops() {
    let (mut world, run) = with_hanging_fetch();
    let begun = Instant::now();
    let children = descendants(world.server.pid());
    world.server.stop();
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    for child in children {
        assert!(!std::path::Path::new(&format!("/proc/{child}/exe")).exists(), "git outlived the server");
    }
    let shown = world.server.cli_json(&["run", "show", &run]);
    assert_eq!(shown["jobs"][0]["attempts"][0]["result"], "released", "{shown:#}");
    world.github.set_fault(Fault::None);
    world.server.start();
    world.server.wait_until_idle();
    assert_eq!(world.server.cli_json(&["run", "show", &run])["state"], "succeeded");
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let world = World::start(|project| project);
    let second = world.server.cli(&["serve"]);
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(error.contains("another gristmill works on"), "{error}");
    let commit = world.text(None, "one");
    world.push_and_wait(MAIN, &commit);
    world.assert_public(KEY, &commit);
}

#[test]
fn logs_are_read_while_they_grow_and_outlive_a_kill() {
    let (mut world, run) = with_hanging_fetch();
    let before = world.server.cli_text(&["run", "logs", &run]);
    assert!(before.contains("attempt 1"), "{before}");
    world.server.kill();
    assert_eq!(world.server.cli_text(&["run", "logs", &run]), before);
    world.github.set_fault(Fault::None);
    world.server.start();
    world.server.wait_until_idle();
    let after = world.server.cli_text(&["run", "logs", &run]);
    let shown = world.server.cli_json(&["run", "show", &run]);
    assert_eq!(shown["state"], "succeeded");
    assert_eq!(shown["jobs"][0]["attempts"].as_array().map(Vec::len), Some(2), "{shown:#}");
    // By offset: what stood there before the kill stands there still.
    assert!(after.starts_with(&before), "{before}\n---\n{after}");
    assert!(after.contains("attempt 2"), "{after}");
}

#[test]
fn a_server_without_configuration_starts_and_says_how_to_go_on() {
    let mut server = Server::new(BINARY);
    server.set_projects([]);
    server.start();
    server.wait_for_log("gristmill project add");
    server.stop();
}
