//! When hooks are lost, remotes are down, and tokens are needed.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use gristmill_testkit::forge::Fault;
use gristmill_testkit::server::{PATIENCE, Server, pause, wait_for};

use crate::world::{KEY, MAIN, PROJECT, SECRET, World, project};

/// Nothing else looks like it.
const CANARY: &str = "ghp_cAnary+T0ken/4=e2e";

#[test]
fn rule_8_a_lost_hook_is_made_up_by_the_poller() {
    let mut world = World::start(|project| project.poll("1s"));
    let first = world.text(None, "one");
    world.github.push(PROJECT, MAIN, Some(&first));
    let published = |commit: &str| {
        let newest = || world.server.store().versions_of(KEY).pop();
        let there = || newest().filter(|newest| newest.commit == commit && newest.state == "published");
        assert!(wait_for(PATIENCE, there).is_some(), "{commit}\n{}", world.server.log());
        world.assert_public(KEY, commit);
    };
    published(&first);
    let second = world.text(Some(&first), "two");
    world.github.push(PROJECT, MAIN, Some(&second));
    published(&second);
    assert_eq!(world.run_of(&second)["cause"], "poll");
    assert_eq!(world.server.store().number("SELECT count(*) FROM delivery"), 0);
    // The next poll may have begun.
    world.server.expect_leftovers();
}

#[test]
fn rule_8_what_was_pushed_while_nobody_listened_is_made_up_at_the_start() {
    let mut world = World::start(|project| project.poll("1h"));
    let first = world.text(None, "one");
    world.push_and_wait(MAIN, &first);
    world.server.stop();
    let second = world.text(Some(&first), "two");
    world.github.push(PROJECT, MAIN, Some(&second));
    world.server.start();
    world.server.wait_until_idle();
    world.assert_public(KEY, &second);
    assert_eq!(world.run_of(&second)["cause"], "poll");
}

#[test]
fn rule_8_sync_does_what_is_due_without_a_server_and_exits() {
    let world = World::prepare(|project| project);
    let first = world.text(None, "one");
    world.github.push(PROJECT, MAIN, Some(&first));
    assert_eq!(world.server.cli_text(&["sync"]).trim(), "1 runs ended well, 0 failed");
    world.assert_public(KEY, &first);
    assert_eq!(world.server.cli_text(&["sync"]).trim(), "0 runs ended well, 0 failed");
    let second = world.text(Some(&first), "two");
    world.github.push(PROJECT, MAIN, Some(&second));
    world.server.cli_text(&["sync"]);
    world.assert_public(KEY, &second);
    assert_eq!(world.server.store().left(), Vec::<String>::new());
    // A remote that is down is a failure that is told.
    world.github.set_fault(Fault::Refuse);
    let failed = world.server.cli(&["sync", "--timeout", "30"]);
    assert_eq!(failed.status.code(), Some(1));
    let error = String::from_utf8_lossy(&failed.stderr);
    assert!(error.contains("acme/shop: its remote could not be looked at"), "{error}");
}

#[test]
fn sync_beside_a_server_lets_the_server_do_it_and_waits() {
    let world = World::start(|project| project);
    let commit = world.text(None, "one");
    world.github.push(PROJECT, MAIN, Some(&commit));
    assert_eq!(world.server.cli_text(&["sync"]).trim(), "1 runs ended well, 0 failed");
    world.assert_public(KEY, &commit);
    let boots = world.server.store().number("SELECT count(DISTINCT boot_id) FROM job_attempt");
    assert_eq!(boots, 1, "one process worked");
}

#[test]
fn a_forge_that_is_down_is_asked_again_and_nothing_is_lost() {
    let world = World::start(|project| project);
    world.github.set_fault(Fault::Status(503));
    let (a, b) = (world.text(None, "A"), world.text(None, "B"));
    let mut ids = world.server.accept(PROJECT, &world.github.push(PROJECT, MAIN, Some(&a)));
    ids.extend(world.server.accept(PROJECT, &world.github.push(PROJECT, MAIN, Some(&b))));
    world.server.wait_for_log("a remote cannot be looked at; trying again");
    world.github.set_fault(Fault::Refuse);
    let tries = || world.server.store().number("SELECT count(*) FROM job_attempt WHERE result = 'retry'");
    assert!(wait_for(PATIENCE, || (tries() >= 2).then_some(())).is_some());
    for id in &ids {
        assert_eq!(world.server.cli_json(&["delivery", "show", id])["state"], "received");
    }
    world.github.set_fault(Fault::None);
    world.server.wait_until_idle();
    world.assert_public(KEY, &b);
    world.assert_archived(KEY, &a);
    for id in &ids {
        assert_ne!(world.server.cli_json(&["delivery", "show", id])["state"], "received");
    }
    assert!(tries() < 8, "it backs off: {}", tries());
}

#[test]
fn mistake_08_a_token_is_sent_to_the_remote_and_stands_nowhere() {
    let mut world = World::prepare(|project| project.with("token = { file = \"token\" }"));
    let token_file = world.server.folder().join("token");
    std::fs::write(&token_file, CANARY).expect("written");
    world.server.set_env("GRISTMILL_LOG", "trace");
    world.github.require_token(Some(CANARY));
    world.server.start();
    let first = world.text(None, "one");
    world.push_and_wait(MAIN, &first);
    world.assert_public(KEY, &first);
    // Errors of git and of the remote go into logs and rows: those too.
    world.github.require_token(Some("another token"));
    let second = world.text(Some(&first), "two");
    world.push(MAIN, &second);
    world.server.wait_for_log("a remote cannot be looked at");
    // While git runs with the token.
    world.github.require_token(Some(CANARY));
    world.github.set_fault(Fault::Slow(2000));
    let mut seen = 0;
    let ended = wait_for(PATIENCE, || {
        seen += look_into_processes(world.server.pid());
        world.server.store().left().is_empty().then_some(())
    });
    assert!(ended.is_some(), "{}", world.server.log());
    assert!(seen > 0, "git was seen while it ran");
    world.assert_public(KEY, &second);
    let requests = world.github.requests();
    assert!(requests.iter().any(|request| request.authorization.is_some()), "the token was used");
    assert!(requests.iter().all(|request| !has_canary(request.target.as_bytes())), "not in a URL");
    let mut told = world.server.log().into_bytes();
    for args in
        [&["run", "list", "--json"][..], &["project", "show", PROJECT, "--json"], &["config", "validate"]]
    {
        told.extend(world.server.cli(args).stdout);
    }
    for run in world.runs() {
        let id = run["id"].as_str().expect("an id");
        told.extend(world.server.cli(&["run", "logs", id]).stdout);
        told.extend(world.server.cli(&["run", "show", id]).stdout);
    }
    assert!(!has_canary(&told), "in the log or in an answer");
    world.server.stop();
    std::fs::remove_file(token_file).expect("removed");
    let searched = search_folder(world.server.folder());
    assert!(searched > 20, "the database, the mirror and the logs were searched: {searched} files");
}

/// The canary as it is, and as it is written in headers and URLs.
fn has_canary(bytes: &[u8]) -> bool {
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{CANARY}"));
    let plain = base64::engine::general_purpose::STANDARD.encode(CANARY);
    let encoded = CANARY.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let forms = [CANARY, &basic, &plain, &encoded, &encoded.to_lowercase(), "cAnary"];
    forms.iter().any(|form| bytes.windows(form.len()).any(|window| window == form.as_bytes()))
}

/// Fails where the token is on a command line, or in the environment of a program that does not need it; how
/// many children of the server were seen.
fn look_into_processes(server: u32) -> usize {
    let mut seen = 0;
    for pid in descendants(server) {
        let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let (command, environment) = (read("cmdline"), read("environ"));
        assert!(!has_canary(&command), "{}", String::from_utf8_lossy(&command));
        assert!(!has_canary(&environment), "the environment of {}", String::from_utf8_lossy(&command));
        seen += 1;
    }
    seen
}

/// All processes below one.
pub(crate) fn descendants(of: u32) -> Vec<u32> {
    let output = Command::new("ps").args(["-e", "-o", "pid=,ppid="]).output().expect("the program `ps`");
    let text = String::from_utf8(output.stdout).expect("numbers");
    let pairs: Vec<(u32, u32)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().map(|word| word.parse().expect("a number"));
            words.next().zip(words.next())
        })
        .collect();
    let mut found = vec![of];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(pairs.iter().filter(|pair| pair.1 == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

/// Fails where the token is in a file; how many were read.
fn search_folder(folder: &Path) -> usize {
    let mut read = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read += search_folder(&path);
        } else if let Ok(bytes) = std::fs::read(&path) {
            assert!(!has_canary(&bytes), "{}", path.display());
            read += 1;
        }
    }
    read
}

#[test]
fn an_idle_server_that_polls_asks_the_remote_and_writes_no_runs() {
    let github = gristmill_testkit::FakeGithub::start();
    github.create(PROJECT, SECRET);
    let mut server = Server::start_with(crate::world::BINARY, [project(&github, PROJECT).poll("1s")]);
    server.wait_for_log("listening");
    let asked = || github.requests().len();
    let before = asked();
    assert!(wait_for(PATIENCE, || (asked() > before + 2).then_some(())).is_some(), "it polls");
    pause(std::time::Duration::from_millis(200));
    assert_eq!(server.store().number("SELECT count(*) FROM run"), 0);
    server.expect_leftovers();
}
