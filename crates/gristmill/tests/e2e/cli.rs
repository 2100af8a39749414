//! The command line, as people and scripts use it.

use std::path::Path;
use std::process::{Command, Output};

use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, Server, sha256, wait_for};
use gristmill_testkit::{FakeGithub, TestRepo};
use serde_json::{Value, json};

use crate::world::{BINARY, KEY, MAIN, PROJECT, World, assert_equals_git};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn project_add_keeps_comments_and_the_project_works_at_once() {
    let github = FakeGithub::start();
    let mut server = Server::new(BINARY);
    let before = format!(
        "# my mill\ndata_dir = \"{}\"  # on the large disk\n\n[server]\nlisten = \"127.0.0.1:0\" # any port\n",
        server.data().display()
    );
    std::fs::write(server.config(), &before).expect("written");
    server.start();
    let repo = github.create(PROJECT, "not known yet");
    let added = server.cli_text(&[
        "project",
        "add",
        PROJECT,
        "--git",
        &github.clone_url(PROJECT),
        "--branch",
        "main",
    ]);
    assert!(added.contains("/hooks/acme/shop"), "{added}");
    let after = std::fs::read_to_string(server.config()).expect("readable");
    assert!(after.starts_with(&before), "{after}");
    let file =
        added.lines().find_map(|line| line.split_once("the content of ")).expect("the secret's file").1;
    let secret = std::fs::read_to_string(file.trim()).expect("the secret");
    assert!(secret.trim().len() >= 32, "{} characters", secret.trim().len());
    assert!(
        !added.contains(secret.trim()) && !after.contains(secret.trim()),
        "the secret is only in its file"
    );
    let commit = repo.commit_unreferenced(&[], &Changes::new().file("a", "b"));
    let push = github.push(PROJECT, MAIN, Some(&commit)).remove(0).signed_with(secret.trim());
    let accepted = || (server.send(PROJECT, &push).expect("an answer").status == 202).then_some(());
    assert!(wait_for(PATIENCE, accepted).is_some(), "it is taken up without a restart\n{}", server.log());
    server.wait_until_idle();
    assert_equals_git(&repo, &commit, &server.store().public(KEY).expect("published"));
    let again = server.cli(&["project", "add", PROJECT, "--git", &github.clone_url(PROJECT)]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("already configured"), "{}", text(&again.stderr));
    assert_eq!(std::fs::read_to_string(server.config()).expect("readable"), after);
}

/// Parses a delivery's body; one line an event.
fn parse(server: &Server, event: &str, body: &[u8]) -> Vec<Value> {
    let output = server.cli_with_input(&["webhook", "parse", "--forge", "github", "--event", event], body);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = text(&output.stdout);
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn webhook_parse_prints_one_object_an_event_and_nothing_that_is_absent() {
    let world = World::prepare(|project| project);
    let id = world.github.repository_id(PROJECT).to_string();
    let repository = json!({ "full_name": PROJECT, "id": id });
    let commit = world.text(None, "one");
    let created = world.github.push(PROJECT, MAIN, Some(&commit));
    let server = &world.server;
    assert_eq!(
        parse(server, "push", &created[0].body),
        [json!({ "kind": "push", "repository": repository, "ref": MAIN, "after": commit })],
        "before is all zeros and left out"
    );
    let next = world.text(Some(&commit), "two");
    let moved = world.github.push(PROJECT, MAIN, Some(&next));
    assert_eq!(
        parse(server, "push", &moved[0].body),
        [json!({ "kind": "push", "repository": repository, "ref": MAIN, "before": commit, "after": next })]
    );
    let tag = world.github.push(PROJECT, "refs/tags/v1", Some(&commit));
    assert_eq!(
        parse(server, "push", &tag[0].body),
        [json!({ "kind": "tag", "repository": repository, "ref": "refs/tags/v1", "after": commit })]
    );
    let release = parse(server, "release", &world.github.release(PROJECT, "v1", "published").body);
    assert_eq!(release, [json!({ "kind": "release", "repository": repository, "ref": "refs/tags/v1" })]);
    let gone = world.github.push(PROJECT, MAIN, None);
    assert_eq!(
        parse(server, "push", &gone[0].body),
        [json!({ "kind": "delete", "repository": repository, "ref": MAIN, "before": next })]
    );
    let ping = parse(server, "ping", &world.github.ping(PROJECT).body);
    assert_eq!((ping.len(), &ping[0]["kind"]), (1, &json!("ping")));
    let create = parse(server, "create", &created[1].body);
    assert_eq!(create[0]["kind"], "ignored");
    assert!(create[0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{create:?}");
    let broken = server.cli_with_input(&["webhook", "parse", "--forge", "github", "--event", "push"], b"{");
    assert_eq!(broken.status.code(), Some(1));
    assert!(broken.stdout.is_empty());
}

#[test]
fn plan_says_what_an_event_would_do_and_does_nothing() {
    let world = World::prepare(|project| project.pipeline("branches = [\"main\"]\ntags = [\"v*\"]"));
    let commit = world.text(None, "one");
    let push = world.github.push(PROJECT, MAIN, Some(&commit));
    let args = ["project", "plan", PROJECT, "--event", "push", "--json"];
    let output = world.server.cli_with_input(&args, &push[0].body);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let planned: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(planned[0]["runs"][0]["commit"], commit);
    assert_eq!(planned[0]["runs"][0]["key"], KEY);
    let of = |git_ref: &str| world.server.cli_json(&["project", "plan", PROJECT, "--ref", git_ref]);
    assert_eq!(of("refs/tags/v1")[0]["runs"].as_array().map(Vec::len), Some(1));
    let other = of("refs/heads/other");
    assert_eq!(other[0]["runs"], json!([]));
    assert_eq!(other[0]["why"], "no pipeline wants this ref");
    assert!(!world.server.data().join("gristmill.db").exists(), "nothing was made");
}

#[test]
fn trigger_builds_a_tip_that_did_not_move() {
    let world = World::start(|project| project);
    let commit = world.text(None, "one");
    world.push_and_wait(MAIN, &commit);
    world.server.cli_text(&["project", "trigger", PROJECT, "--ref", MAIN]);
    let made = wait_for(PATIENCE, || (world.runs().len() == 2).then_some(()));
    assert!(made.is_some(), "{}", world.server.log());
    world.server.wait_until_idle();
    assert_eq!(world.run_of(&commit)["cause"], "manual");
    world.assert_public(KEY, &commit);
    let unknown = world.server.cli(&["project", "trigger", "acme/unknown"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("configured are: acme/shop"), "{}", text(&unknown.stderr));
}

#[test]
fn a_wrong_configuration_is_told_by_line_and_exits_with_2() {
    let mut server = Server::new(BINARY);
    server.set_settings("[wroker]\njobs_max = 1\n");
    for args in [&["serve"][..], &["config", "validate"], &["sync"]] {
        let output = server.cli(args);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains("gristmill.toml:4") && error.contains("worker"), "{args:?}: {error}");
    }
}

/// What is in a folder, to the byte.
fn fingerprint(folder: &Path) -> String {
    let script = "cd \"$1\" && find . -print0 | sort -z | xargs -0 stat -c '%n %f %s %Y' -- && find . -type f -print0 | sort -z | xargs -0 sha256sum --";
    let output = Command::new("sh").args(["-c", script, "sh"]).arg(folder).output().expect("sh");
    assert!(output.status.success(), "{}", text(&output.stderr));
    sha256(&output.stdout)
}

fn demo(folder: &Path, repo: &str) -> Output {
    Command::new(BINARY)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", folder)
        .current_dir(folder)
        .args(["demo", "--once", "--repo", repo])
        .output()
        .expect("the program starts")
}

#[test]
fn demo_shows_a_push_on_its_own_clone_and_exits_with_0() {
    let (repo, _) = TestRepo::large(300, 300_000, 1);
    let folder = tempfile::tempdir().expect("a folder");
    let before = fingerprint(repo.path());
    let output = demo(folder.path(), &repo.path().display().to_string());
    let (shown, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{shown}\n{error}");
    assert!(shown.contains("300 members are what git has"), "{shown}");
    assert!(shown.contains("http://127.0.0.1:"), "{shown}");
    assert_eq!(fingerprint(repo.path()), before, "the original is not touched");
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("a folder").count(),
        0,
        "nothing is left where it was started"
    );
    let missing = demo(folder.path(), "/nowhere/at/all");
    assert_eq!(missing.status.code(), Some(1));
}
