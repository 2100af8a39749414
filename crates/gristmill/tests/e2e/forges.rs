//! What is made, told and found at the forges through their APIs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;

use gristmill_testkit::forge::{Family, Fault, Grant, Part};
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, Server, wait_for};
use gristmill_testkit::{FakeForge, TestRepo};
use serde_json::Value;

use crate::world::{BINARY, MAIN, PROJECT, list};

const TOKEN: &str = "canary-of-a-token";

/// Those whose API is spoken.
const FAMILIES: [Family; 6] = [
    Family::Github,
    Family::Gitlab,
    Family::Gitea,
    Family::Forgejo,
    Family::Bitbucket,
    Family::BitbucketServer,
];

/// A forge with a repository that only the token opens, and a running server without a project.
pub(crate) struct Place {
    pub(crate) server: Server,
    pub(crate) forge: FakeForge,
    pub(crate) repo: std::sync::Arc<TestRepo>,
}

impl Place {
    pub(crate) fn new(family: Family) -> Place {
        let forge = FakeForge::start(family);
        let repo = forge.create_bare(PROJECT);
        forge.require_token(Some(TOKEN));
        let mut server = Server::new(BINARY);
        server.set_env("FORGE_TOKEN", TOKEN);
        server.start();
        // What it listens on is only known now.
        let address = server.address().expect("it listens");
        server.set_settings(&format!(
            "[server]\nlisten = \"127.0.0.1:0\"\npublic_url = \"http://{address}\"\nanonymous_read = true\n"
        ));
        Place { server, forge, repo }
    }

    pub(crate) fn add(&self, more: &[&str]) -> Output {
        self.add_with(more, b"")
    }

    fn add_with(&self, more: &[&str], input: &[u8]) -> Output {
        let (git, api) = (self.forge.clone_url(PROJECT), self.forge.api_url());
        let forge = self.forge.family().name();
        let args =
            ["project", "add", PROJECT, "--git", &git, "--forge", forge, "--api", &api, "--branch", "main"];
        // Data Center's URLs have something before the name.
        let named: &[&str] = if forge == "bitbucket-server" { &["--repository", PROJECT] } else { &[] };
        self.server.cli_with_input(&[&args, named, more].concat(), input)
    }

    /// Adds the project, and waits until the server has taken it up.
    pub(crate) fn added(&self) -> String {
        let added = self.add(&["--token", "env:FORGE_TOKEN"]);
        assert!(added.status.success(), "{}", text(&added.stderr));
        // The first look is over: what is pushed from now on is told by the webhook.
        let looked = || {
            let shown = self.server.cli(&["project", "show", PROJECT, "--json"]);
            let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
            shown["looked"].is_string().then_some(())
        };
        assert!(wait_for(PATIENCE, looked).is_some(), "{}", self.server.log());
        text(&added.stdout)
    }

    pub(crate) fn commit(&self, parents: &[String], content: &str) -> String {
        self.repo.commit_unreferenced(parents, &Changes::new().file("file.txt", content))
    }

    /// The states that a commit was given, in their order.
    fn states(&self, commit: &str) -> Vec<String> {
        let all = self.forge.statuses(PROJECT);
        all.into_iter().filter(|status| status.commit == commit).map(|status| status.state).collect()
    }

    pub(crate) fn run_of(&self, commit: &str) -> Option<Value> {
        list(&self.server, &["run", "list"]).into_iter().find(|run| run["commit"] == commit)
    }

    /// Waits until the run of a commit is over; its cause and its state.
    pub(crate) fn ended(&self, commit: &str) -> (Value, Value) {
        let over = || self.run_of(commit).filter(|run| run["finished"].is_string());
        let run =
            wait_for(PATIENCE, over).unwrap_or_else(|| panic!("it does not end\n{}", self.server.log()));
        (run["cause"].clone(), run["state"].clone())
    }

    fn secrets(&self) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.server.folder().join("secrets")) else { return Vec::new() };
        entries.map(|entry| entry.expect("an entry").path()).collect()
    }

    fn config(&self) -> String {
        std::fs::read_to_string(self.server.config()).expect("readable")
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The forge's words for a run that waits and one that ended well.
fn words(family: Family) -> [&'static str; 2] {
    let is_bitbucket = matches!(family, Family::Bitbucket | Family::BitbucketServer);
    if is_bitbucket { ["INPROGRESS", "SUCCESSFUL"] } else { ["pending", "success"] }
}

#[test]
fn a_token_makes_the_webhook_and_statuses_and_purge_takes_it_away() {
    for family in FAMILIES {
        let mut place = Place::new(family);
        let said = place.added();
        assert!(said.to_lowercase().contains("the webhook of acme/shop is made"), "{said}");
        let hook = place.forge.hooks(PROJECT).pop().expect("a webhook");
        let secret = std::fs::read_to_string(&place.secrets()[0]).expect("a secret");
        assert_eq!(hook.url, place.server.url("/hooks/acme/shop"), "{family:?}");
        assert_eq!(hook.secret.as_deref(), Some(secret.trim()), "{family:?}");

        // The same again changes nothing but what is needed.
        let before = place.config();
        let again = place.add(&["--token", "env:FORGE_TOKEN"]);
        assert!(again.status.success(), "{family:?} {}", text(&again.stderr));
        assert!(text(&again.stdout).contains("there already"), "{}", text(&again.stdout));
        let hooks = place.forge.hooks(PROJECT);
        assert_eq!(
            (hooks.len(), &hooks[0].url, &hooks[0].secret),
            (1, &hook.url, &hook.secret),
            "{family:?}"
        );
        assert_eq!(place.config(), before);

        place.forge.send_by_itself(true);
        let commit = place.commit(&[], "one");
        let came = || place.server.store().number("SELECT count(*) FROM delivery");
        let before = came();
        place.forge.push(PROJECT, MAIN, Some(&commit));
        let [pending, success] = words(family);
        let told = || (place.states(&commit).last()?.as_str() == success).then_some(());
        assert!(
            wait_for(PATIENCE, told).is_some(),
            "{family:?} {:?}\n{}",
            place.states(&commit),
            place.server.log()
        );
        // A run may be over before it was told that it waits.
        let states = place.states(&commit);
        assert!(states == [pending, success] || states == [success], "{family:?} {states:?}");
        let run = place.run_of(&commit).expect("a run");
        let status = place.forge.statuses(PROJECT).pop().expect("a status");
        let link = place.server.url(&format!("/runs/{}", run["id"].as_str().expect("an id")));
        assert_eq!((status.context.as_str(), status.url.as_str()), ("gristmill/archive", link.as_str()));
        // A poll may have seen the push first.
        assert!(came() > before, "{family:?}: the webhook did come\n{}", place.server.log());

        let all = format!("{}{}{said}", place.config(), place.server.log());
        assert!(!all.contains(TOKEN) && !all.contains(secret.trim()), "{family:?}: {all}");
        place.server.stop();
        place.server.set_projects([]);
        let gone = place.server.cli_text(&["project", "purge", PROJECT, "--yes"]);
        assert!(gone.contains("is gone"), "{gone}");
        assert!(place.forge.hooks(PROJECT).is_empty(), "{family:?}: {gone}");
    }
}

#[test]
fn a_refusal_leaves_nothing_half_made() {
    for family in FAMILIES {
        let place = Place::new(family);
        let before = place.config();
        place.forge.add_token("reads", Grant::Read, &[]);
        for (input, code, expected) in
            [("reads", 1, "Needed"), ("unknown", 1, ""), ("two words", 1, "the token on standard input")]
        {
            let refused = place.add_with(&["--token", "-"], input.as_bytes());
            let error = text(&refused.stderr);
            assert_eq!(refused.status.code(), Some(code), "{family:?} {error}");
            assert!(error.contains(expected) && !error.contains(&format!("`{input}`")), "{family:?} {error}");
            assert_eq!(place.config(), before, "{family:?}");
            assert!(place.secrets().is_empty(), "{family:?}");
            assert!(place.forge.hooks(PROJECT).is_empty(), "{family:?}");
        }
    }
}

#[test]
fn mistake_08_the_token_itself_is_not_taken_as_an_argument() {
    let place = Place::new(Family::Github);
    for wrong in [TOKEN, "env:", "env:A B", "file:", "ENV:X"] {
        let refused = place.add(&["--token", wrong]);
        let error = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{error}");
        assert!(error.contains("env:NAME, file:PATH, or -") && !error.contains(TOKEN), "{error}");
    }
    assert!(place.forge.requests().is_empty(), "nobody was asked");
}

#[test]
fn a_token_from_standard_input_is_kept_for_its_owner_only() {
    let place = Place::new(Family::Gitea);
    let added = place.add_with(&["--token", "-"], format!("{TOKEN}\n").as_bytes());
    assert!(added.status.success(), "{}", text(&added.stderr));
    let file = place.server.folder().join("secrets/acme_shop.token");
    assert_eq!(std::fs::read_to_string(&file).expect("a token"), format!("{TOKEN}\n"));
    assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    assert!(place.config().contains("token = { file = \"secrets/acme_shop.token\" }"), "{}", place.config());
}

#[test]
fn without_an_address_that_the_forge_can_reach_nothing_is_made() {
    let mut place = Place::new(Family::Github);
    place.server.set_settings("[server]\nlisten = \"127.0.0.1:0\"\n");
    let refused = place.add(&["--token", "env:FORGE_TOKEN"]);
    assert!(text(&refused.stderr).contains("server.public_url"), "{}", text(&refused.stderr));
    assert!(place.forge.hooks(PROJECT).is_empty() && place.secrets().is_empty());
}

#[test]
fn purge_says_what_is_left_where_the_forge_does_not_answer() {
    let mut place = Place::new(Family::Github);
    place.added();
    let id = place.forge.hooks(PROJECT)[0].id;
    place.server.stop();
    place.server.set_projects([]);
    place.forge.set_fault_of(Part::Api, Fault::Status(503));
    let gone = place.server.cli_text(&["project", "purge", PROJECT, "--yes"]);
    assert!(
        gone.contains(&format!("the webhook number {id} of acme/shop")) && gone.contains("by hand"),
        "{gone}"
    );
    assert!(gone.contains("`acme/shop` is gone"), "{gone}");
}

#[test]
fn purge_takes_away_what_no_server_has_taken_up() {
    let mut place = Place::new(Family::Gitea);
    place.server.stop();
    let added = place.add(&["--token", "env:FORGE_TOKEN"]);
    assert!(added.status.success(), "{}", text(&added.stderr));
    assert_eq!(place.forge.hooks(PROJECT).len(), 1);
    place.server.set_projects([]);
    let gone = place.server.cli_text(&["project", "purge", PROJECT, "--yes"]);
    assert!(place.forge.hooks(PROJECT).is_empty(), "{gone}");
    let nothing = place.server.cli(&["project", "purge", PROJECT, "--yes"]);
    assert!(text(&nothing.stderr).contains("there is no project `acme/shop`"), "{}", text(&nothing.stderr));
}

#[test]
fn a_forge_that_is_down_delays_statuses_and_nothing_else() {
    let place = Place::new(Family::Github);
    place.added();
    place.forge.send_by_itself(true);
    place.forge.set_fault_of(Part::Api, Fault::Status(503));
    let commit = place.commit(&[], "one");
    place.forge.push(PROJECT, MAIN, Some(&commit));
    let done = || (place.run_of(&commit)?["state"] == "succeeded").then_some(());
    assert!(wait_for(PATIENCE, done).is_some(), "{}", place.server.log());
    assert!(place.states(&commit).is_empty());
    place.forge.set_fault_of(Part::Api, Fault::None);
    let told = || (place.states(&commit) == ["success"]).then_some(());
    assert!(wait_for(PATIENCE, told).is_some(), "{:?}\n{}", place.states(&commit), place.server.log());
}

#[test]
fn a_token_that_is_refused_for_a_while_loses_no_status() {
    for status in [401, 403] {
        let mut place = Place::new(Family::Github);
        place.added();
        place.forge.send_by_itself(true);
        place.forge.set_fault_of(Part::Api, Fault::Status(status));
        let commit = place.commit(&[], "one");
        place.forge.push(PROJECT, MAIN, Some(&commit));
        let tried = || (place.server.store().query("SELECT tell_tries FROM run") == ["1"]).then_some(());
        assert!(wait_for(PATIENCE, tried).is_some(), "{status}\n{}", place.server.log());
        place.server.wait_until_idle();
        place.server.wait_for_log("the forge takes no statuses of the project");
        place.server.stop();
        assert!(!place.server.log().contains("the forge is not told of a run"), "{}", place.server.log());
        place.forge.set_fault_of(Part::Api, Fault::None);
        // It waits for some minutes; they are over.
        place.server.store().execute("UPDATE run SET tell_after_ms = 0");
        place.server.start();
        let told = || (place.states(&commit) == ["success"]).then_some(());
        assert!(wait_for(PATIENCE, told).is_some(), "{:?}\n{}", place.states(&commit), place.server.log());
    }
}

#[test]
fn of_a_run_that_fails_the_forge_is_told_what_everybody_may_know() {
    let mut place = Place::new(Family::Github);
    let project =
        gristmill_testkit::server::Project::new(PROJECT, &place.forge.clone_url(PROJECT), "a secret")
            .poll("1s")
            .with("token = { env = \"FORGE_TOKEN\" }")
            .with(&format!("api = \"{}\"", place.forge.api_url()))
            .pipeline("submodules = true");
    place.server.set_projects([project]);
    let modules = "[submodule \"lib\"]\n\tpath = lib\n\turl = http://127.0.0.1:1/lib.git\n";
    let changes = Changes::new().file(".gitmodules", modules).submodule("lib", &"1".repeat(40));
    let commit = place.repo.commit_unreferenced(&[], &changes);
    place.forge.push(PROJECT, MAIN, Some(&commit));
    let told = || (place.states(&commit).last()? == "failure").then_some(());
    assert!(wait_for(PATIENCE, told).is_some(), "{}", place.server.log());
    let reason = place.run_of(&commit).expect("a run")["reason"].to_string();
    assert!(reason.contains("http://127.0.0.1:1"), "{reason}");
    let last = place.forge.statuses(PROJECT).pop().expect("a status");
    assert_eq!(last.description, "a submodule cannot be fetched from its server");
    assert!(last.url.contains("/runs/"), "{}", last.url);
    // What the pipeline does not bring is also told for what it is.
    for (url, description) in [
        ("ssh://git@elsewhere.example/lib.git", "a submodule's server is not allowed"),
        ("file:///srv/git/lib.git", "a submodule in .gitmodules is incomplete or not allowed"),
    ] {
        let modules = format!("[submodule \"lib\"]\n\tpath = lib\n\turl = {url}\n");
        let changes = Changes::new().file(".gitmodules", &modules).submodule("lib", &"1".repeat(40));
        let commit = place.repo.commit_unreferenced(&[], &changes);
        place.forge.push(PROJECT, MAIN, Some(&commit));
        let told = || (place.states(&commit).last()? == "failure").then_some(());
        assert!(wait_for(PATIENCE, told).is_some(), "{url}: {}", place.server.log());
        let last = place.forge.statuses(PROJECT).pop().expect("a status");
        assert_eq!(last.description, description, "{url}");
    }
}

#[test]
fn sync_finds_and_tells_without_a_server() {
    let mut place = Place::new(Family::Github);
    place.added();
    place.server.wait_until_idle();
    place.server.stop();
    let overtaken = place.commit(&[], "one");
    place.forge.push(PROJECT, MAIN, Some(&overtaken));
    let tip = place.commit(std::slice::from_ref(&overtaken), "two");
    place.forge.push(PROJECT, MAIN, Some(&tip));
    place.server.cli_text(&["sync"]);
    for commit in [&overtaken, &tip] {
        assert_eq!(place.states(commit), ["success"], "{}", place.server.log());
    }
    assert_eq!(place.run_of(&overtaken).expect("a run")["cause"], "missed");
}
