//! Source by the forges' own archives, where git is not reachable: `fetch = "download"`.

use std::sync::Arc;

use gristmill_testkit::forge::{Door, Family, Fault, Part, SeenRequest, sign};
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, Project, Server, wait_for};
use gristmill_testkit::{FakeForge, TestRepo};
use serde_json::Value;

use crate::world::{BINARY, KEY, MAIN, PROJECT, SECRET, assert_equals_git, list};

const TOKEN: &str = "canary-of-a-token";
/// The fakes are on the loopback, and that is where their redirects lead.
const LOOPBACK: &str = "[network]\nallow = [\"127.0.0.1/32\"]\n";

const FAMILIES: [Family; 8] = [
    Family::Github,
    Family::Gitlab,
    Family::Gitea,
    Family::Forgejo,
    Family::Gogs,
    Family::Bitbucket,
    Family::BitbucketServer,
    Family::AzureDevops,
];

/// Those that tell no trees.
fn is_bitbucket(family: Family) -> bool {
    matches!(family, Family::Bitbucket | Family::BitbucketServer)
}

/// A private repository at a forge whose git does not answer, and a server.
struct Place {
    server: Server,
    forge: FakeForge,
    repo: Arc<TestRepo>,
}

impl Place {
    fn new(family: Family, shape: impl FnOnce(Project) -> Project) -> Place {
        let token = |project: Project| project.with("token = { env = \"FORGE_TOKEN\" }");
        Place::with(family, LOOPBACK, |project| shape(token(project)))
    }

    fn with(family: Family, settings: &str, shape: impl FnOnce(Project) -> Project) -> Place {
        let forge = FakeForge::start(family);
        let repo = forge.create(PROJECT, SECRET);
        forge.require_token(Some(TOKEN));
        forge.set_fault_of(Part::Git, Fault::Refuse);
        let mut server = Server::new(BINARY);
        server.set_env("FORGE_TOKEN", TOKEN);
        if !settings.is_empty() {
            server.set_settings(settings);
        }
        let project = Project::new(PROJECT, &forge.clone_url(PROJECT), SECRET)
            .with(&format!("forge = \"{}\"", family.name()))
            .with(&format!("api = \"{}\"", forge.api_url()))
            .with("fetch = \"download\"");
        let project = if is_bitbucket(family) { project.with("allow_filtered = true") } else { project };
        // These addresses have something before the name, or within.
        let project = match family {
            Family::BitbucketServer | Family::AzureDevops => {
                project.with(&format!("repository = \"{PROJECT}\""))
            }
            _ => project,
        };
        server.set_projects([shape(project)]);
        server.start();
        Place { server, forge, repo }
    }

    fn commit(&self, parents: &[String], changes: &Changes) -> String {
        self.repo.commit_unreferenced(parents, changes)
    }

    fn push(&self, git_ref: &str, commit: &str) {
        let deliveries = self.forge.push(PROJECT, git_ref, Some(commit));
        self.server.accept(PROJECT, &deliveries);
        self.server.wait_until_idle();
    }

    fn run_of(&self, commit: &str) -> Value {
        let runs = list(&self.server, &["run", "list"]);
        let found = runs.iter().find(|run| run["commit"] == commit);
        found.unwrap_or_else(|| panic!("no run of {commit} in {runs:#?}\n{}", self.server.log())).clone()
    }

    /// The end of a commit's run, with all that its jobs say.
    fn told(&self, commit: &str) -> String {
        let run = self.run_of(commit);
        let id = run["id"].as_str().expect("an id");
        let (shown, logs) = (["run", "show", id], ["run", "logs", id]);
        format!("{run:#}\n{}\n{}", self.server.cli_text(&shown), self.server.cli_text(&logs))
    }

    fn public(&self, key: &str) -> Vec<u8> {
        let found = self.server.store().public(key);
        found.unwrap_or_else(|| panic!("nothing under {key}\n{}", self.server.log()))
    }

    /// The run failed and says why; nothing is public.
    fn assert_refused(&self, commit: &str, why: &str) {
        let told = self.told(commit);
        assert_eq!(self.run_of(commit)["state"], "failed", "{told}");
        assert!(told.contains(why), "{told}");
        assert!(self.server.store().public(KEY).is_none(), "{told}");
    }

    fn assert_git_was_not_asked(&self) {
        let asked = self.forge.requests();
        let git = asked.iter().find(|one| one.target.contains("git-upload-pack"));
        assert!(git.is_none(), "{git:?}");
    }

    /// What was asked for at one of its addresses.
    fn asked_at(&self, door: Door) -> Vec<SeenRequest> {
        self.forge.requests().into_iter().filter(|one| one.door == door).collect()
    }

    /// The metadata of the newest version of a key.
    fn metadata(&self, key: &str) -> Value {
        let newest =
            format!("SELECT metadata FROM publication WHERE key = '{key}' ORDER BY seq DESC LIMIT 1");
        let found = self.server.store().query(&newest).pop().expect("a version");
        serde_json::from_str(&found).expect("JSON")
    }
}

/// All that a tree may hold whose archive is whole.
fn everything() -> Changes {
    Changes::new()
        .file("README.md", "one\r\ntwo\n")
        .executable("bin/tool", "#!/bin/sh\n")
        .symlink("link", "bin/tool")
        .symlink(format!("far/{}", "l".repeat(90)), "t/".repeat(100))
        .file(".github/x.yml", "a")
        .file(".gitignore", "x")
        .file("x.gitkeep", "")
        .file("a \"quoted\"\\name\ttab", "q")
        .file("ünïcode/Ä", "u")
        .file(format!("{}/{}", "d".repeat(120), "f".repeat(120)), "long")
        .file("Case", "1")
        .file("case", "2")
}

#[test]
fn a_push_at_every_family_is_archived_without_git() {
    for family in FAMILIES {
        let place = Place::new(family, |project| project.pipeline("branches = [\"main\"]\ntags = [\"v*\"]"));
        let first = place.commit(&[], &everything());
        place.push(MAIN, &first);
        assert_equals_git(&place.repo, &first, &place.public(KEY));
        // What was overtaken when it is looked at has its archive too.
        let overtaken = place.commit(std::slice::from_ref(&first), &Changes::new().file("a", "2"));
        let tip = place.commit(std::slice::from_ref(&overtaken), &Changes::new().file("a", "3"));
        let mut told = place.forge.push(PROJECT, MAIN, Some(&overtaken));
        told.extend(place.forge.push(PROJECT, MAIN, Some(&tip)));
        place.server.accept(PROJECT, &told);
        place.server.wait_until_idle();
        assert_equals_git(&place.repo, &tip, &place.public(KEY));
        assert_equals_git(&place.repo, &overtaken, &place.server.store().artifact(KEY, &overtaken));
        // An annotated tag has an id of its own, which the API does not tell.
        let tag = place.repo.annotated_tag("scratch", &first);
        let told = place.forge.push(PROJECT, "refs/tags/v1", Some(&tag));
        place.server.accept(PROJECT, &told);
        place.server.wait_until_idle();
        assert_equals_git(&place.repo, &first, &place.public("acme/shop/tags/v1/acme_shop.zip"));
        let runs = list(&place.server, &["run", "list"]);
        assert!(runs.iter().all(|run| run["state"] == "succeeded"), "{family:?} {runs:#?}");
        assert_eq!(runs.len(), 4, "{family:?} {runs:#?}");
        place.assert_git_was_not_asked();
        let (metadata, tree) = (place.metadata(KEY), place.repo.resolve(&format!("{tip}^{{tree}}")));
        assert_eq!(metadata["tree"].as_str(), tree.as_deref(), "{family:?}");
        let marked = is_bitbucket(family).then_some("unknown");
        assert_eq!(metadata.get("filtered").and_then(Value::as_str), marked, "{family:?}");
    }
}

#[test]
fn the_token_goes_to_the_api_and_not_to_the_host_of_the_downloads() {
    let place = Place::new(Family::Github, |project| {
        let second = "[[project.pipeline]]\nname = \"tar\"\nkind = \"archive\"\nformat = \"tar.gz\"";
        project.pipeline(&format!("{second}\nkey = \"{{branch}}-{{date}}.tar.gz\""))
    });
    let commit = place.commit(&[], &everything());
    place.push(MAIN, &commit);
    assert_equals_git(&place.repo, &commit, &place.public(KEY));
    let committed =
        String::from_utf8(place.repo.git(["log", "-1", "--format=%ct", &commit])).expect("a number");
    let committed: i64 = committed.trim().parse().expect("seconds");
    let date = gristmill::clock::date(gristmill_model::Timestamp(committed * 1000));
    place.public(&format!("main-{date}.tar.gz"));
    let downloads = place.asked_at(Door::Downloads);
    assert_eq!(downloads.len(), 1, "one for both pipelines: {downloads:#?}");
    let all = format!("{downloads:?}");
    assert!(downloads[0].authorization.is_none() && !all.contains(TOKEN), "{all}");
    assert!(place.asked_at(Door::Api).iter().all(|one| one.authorization.is_some()));
    let told = format!("{}{}", place.told(&commit), place.server.log());
    assert!(!told.contains(TOKEN), "{told}");
}

#[test]
fn mistake_14_an_archive_url_in_a_payload_is_not_asked_for_and_gets_no_token() {
    let (place, other) = (Place::new(Family::Github, |project| project), FakeForge::start(Family::Github));
    other.create(PROJECT, SECRET);
    let commit = place.commit(&[], &everything());
    let mut deliveries = place.forge.push(PROJECT, MAIN, Some(&commit));
    for delivery in &mut deliveries {
        let mut payload: Value = serde_json::from_slice(&delivery.body).expect("JSON");
        for name in ["archive_url", "url", "downloads_url", "clone_url", "trees_url", "git_commits_url"] {
            assert!(payload["repository"][name].is_string(), "{name}");
            payload["repository"][name] =
                format!("{}/stolen/{{archive_format}}{{/ref}}", other.api_url()).into();
        }
        delivery.body = payload.to_string().into_bytes();
        delivery.signature = sign(SECRET, &delivery.body);
    }
    place.server.accept(PROJECT, &deliveries);
    place.server.wait_until_idle();
    assert_equals_git(&place.repo, &commit, &place.public(KEY));
    assert_eq!(other.requests(), [], "nobody asks there");
}

#[test]
fn what_the_forge_leaves_out_is_refused_or_recorded() {
    let filtered = || {
        let attributes = "/docs export-ignore\n";
        everything().file(".gitattributes", attributes).file("docs/a", "left out")
    };
    let place = Place::new(Family::Github, |project| project);
    let commit = place.commit(&[], &filtered());
    place.push(MAIN, &commit);
    place.assert_refused(&commit, "`export-ignore` in .gitattributes");
    let with_module =
        place.commit(&[], &everything().file(".gitmodules", "").submodule("module", &"1".repeat(40)));
    place.push(MAIN, &with_module);
    place.assert_refused(&with_module, "what filters it is probably submodules");

    let filtering = FAMILIES.into_iter().filter(|family| *family != Family::AzureDevops);
    for family in filtering {
        let place = Place::new(family, |project| match family {
            family if is_bitbucket(family) => project,
            _ => project.with("allow_filtered = true"),
        });
        // The whole tree first, so that one that is taken for the other would show.
        let whole = place.commit(&[], &everything());
        place.push(MAIN, &whole);
        let commit = place.commit(&[], &filtered());
        place.push(MAIN, &commit);
        let left = place.commit(&[], &everything().file(".gitattributes", "/docs export-ignore\n"));
        assert_equals_git(&place.repo, &left, &place.public(KEY));
        let tree = |commit: &str| place.repo.resolve(&format!("{commit}^{{tree}}")).expect("a tree");
        let metadata = place.metadata(KEY);
        let told = if is_bitbucket(family) { "unknown".to_owned() } else { tree(&commit) };
        assert_eq!(metadata["filtered"], told, "{family:?}");
        assert_eq!((&metadata["tree"], &metadata["commit"]), (&tree(&left).into(), &commit.clone().into()));
        assert!(metadata["recipe"].as_str().expect("a recipe").ends_with("+filtered"), "{metadata}");
        let versions = place.server.store().versions_of(KEY);
        assert_eq!(versions.len(), 2, "{family:?} {versions:#?}");
    }
}

#[test]
fn azure_devops_packs_what_gitattributes_would_leave_out_and_no_submodules() {
    let place = Place::new(Family::AzureDevops, |project| project);
    let all = || everything().file(".gitattributes", "/docs export-ignore\n").file("docs/a", "kept");
    let whole = place.commit(&[], &all());
    place.push(MAIN, &whole);
    assert_equals_git(&place.repo, &whole, &place.public(KEY));
    let module = all().file(".gitmodules", "").submodule("module", &"1".repeat(40));
    let with_module = place.commit(std::slice::from_ref(&whole), &module);
    place.push(MAIN, &with_module);
    let told = place.told(&with_module);
    assert_eq!(place.run_of(&with_module)["state"], "failed", "{told}");
    assert!(told.contains("what filters it is probably submodules"), "{told}");
    assert_equals_git(&place.repo, &whole, &place.public(KEY));
}

#[test]
fn the_date_of_a_commit_is_the_one_that_the_forge_tells_where_its_archive_has_none() {
    let place = Place::new(Family::AzureDevops, |project| project.pipeline("key = \"{branch}-{date}.zip\""));
    let commit = place.commit(&[], &everything());
    place.push(MAIN, &commit);
    let committed =
        String::from_utf8(place.repo.git(["log", "-1", "--format=%ct", &commit])).expect("a number");
    let committed: i64 = committed.trim().parse().expect("seconds");
    let date = gristmill::clock::date(gristmill_model::Timestamp(committed * 1000));
    place.public(&format!("main-{date}.zip"));
}

#[test]
fn what_gogs_does_not_tell_of_the_root_is_taken_from_the_archive_and_all_else_is_compared() {
    // Below the root a mode is part of the folder's id; what is in the root is by its content.
    for (name, changes) in [("docs", "docs/a export-ignore\n"), ("a root", "README.md export-ignore\n")] {
        let place = Place::new(Family::Gogs, |project| project);
        let commit = place.commit(&[], &everything().file(".gitattributes", changes).file("docs/a", "out"));
        place.push(MAIN, &commit);
        let told = place.told(&commit);
        assert_eq!(place.run_of(&commit)["state"], "failed", "{name} {told}");
        assert!(told.contains("`export-ignore` in .gitattributes"), "{name} {told}");
    }
}

#[test]
fn who_is_shown_the_page_to_sign_in_is_told_what_is_needed() {
    let mut place = Place::with(Family::AzureDevops, LOOPBACK, |project| project);
    let commit = place.commit(&[], &everything());
    let deliveries = place.forge.push(PROJECT, MAIN, Some(&commit));
    place.server.accept(PROJECT, &deliveries);
    place.server.wait_for_log("it shows its page to sign in");
    place.server.wait_for_log("a personal access token with `Code (Read)`");
    place.server.expect_leftovers();
}

#[test]
fn an_archive_that_is_too_large_or_comes_from_where_it_may_not_is_refused() {
    let noise: Vec<u8> = (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let place = Place::new(Family::Gitea, |project| project.with("download_max = \"20KiB\""));
    let commit = place.commit(&[], &everything().file("noise", &noise));
    place.push(MAIN, &commit);
    place.assert_refused(&commit, "more than 20480 bytes; `download_max` says how large");

    // Without leave, where the redirect leads is a private address.
    let token = |project: Project| project.with("token = { env = \"FORGE_TOKEN\" }");
    let place = Place::with(Family::Github, "", token);
    let commit = place.commit(&[], &everything());
    place.push(MAIN, &commit);
    place.assert_refused(&commit, "127.0.0.1");
    assert_eq!(place.asked_at(Door::Downloads), []);
}

#[test]
fn an_archive_that_breaks_off_is_asked_for_again() {
    let place = Place::new(Family::Github, |project| project);
    let commit = place.commit(&[], &everything());
    place.forge.set_fault_of(Part::Downloads, Fault::Times(1, Box::new(Fault::Cut(200))));
    place.push(MAIN, &commit);
    assert_equals_git(&place.repo, &commit, &place.public(KEY));
    assert_eq!(place.asked_at(Door::Downloads).len(), 2, "{}", place.told(&commit));
    // What is whole as an answer, and not as an archive.
    let second = place.commit(std::slice::from_ref(&commit), &Changes::new().file("a", "2"));
    place.forge.set_fault_of(Part::Downloads, Fault::Body(200, "no archive".to_owned()));
    place.push(MAIN, &second);
    assert_eq!(place.run_of(&second)["state"], "failed");
    assert!(place.told(&second).contains("cannot be taken"), "{}", place.told(&second));
    assert_equals_git(&place.repo, &commit, &place.public(KEY));
}

#[test]
fn a_stop_in_the_middle_of_a_download_loses_nothing() {
    let mut place = Place::new(Family::Github, |project| project);
    let commit = place.commit(&[], &everything());
    place.forge.set_fault_of(Part::Downloads, Fault::Slow(50));
    let deliveries = place.forge.push(PROJECT, MAIN, Some(&commit));
    place.server.accept(PROJECT, &deliveries);
    let begun = || (!place.asked_at(Door::Downloads).is_empty()).then_some(());
    assert!(wait_for(PATIENCE, begun).is_some(), "{}", place.server.log());
    place.server.stop();
    assert!(place.server.store().public(KEY).is_none(), "it was in the middle");
    place.forge.set_fault_of(Part::Downloads, Fault::None);
    place.server.start();
    place.server.wait_until_idle();
    assert_equals_git(&place.repo, &commit, &place.public(KEY));
    assert_eq!(place.run_of(&commit)["state"], "succeeded");
}

#[test]
fn rule_8_a_push_without_a_hook_is_found_by_asking_the_api() {
    for family in [Family::Github, Family::Gogs, Family::Bitbucket, Family::AzureDevops] {
        // Nobody needs a token for what everybody may see.
        let mut place = Place::with(family, LOOPBACK, |project| project.poll("1s"));
        place.forge.require_token(None);
        let commit = place.commit(&[], &everything());
        place.forge.push(PROJECT, MAIN, Some(&commit));
        let newest = || place.server.store().versions_of(KEY).pop();
        let made = || newest().filter(|newest| newest.commit == commit && newest.state == "published");
        assert!(wait_for(PATIENCE, made).is_some(), "{family:?}\n{}", place.server.log());
        assert_eq!(place.run_of(&commit)["cause"], "poll");
        assert_equals_git(&place.repo, &commit, &place.public(KEY));
        place.assert_git_was_not_asked();
        place.server.expect_leftovers();
    }
}

#[test]
fn paths_are_judged_by_what_was_downloaded() {
    let place = Place::new(Family::Github, |project| project.pipeline("paths = [\"src/**\"]"));
    let first = place.commit(&[], &Changes::new().file("src/a", "1").file("docs/a", "1"));
    place.push(MAIN, &first);
    let second = place.commit(std::slice::from_ref(&first), &Changes::new().file("docs/a", "2"));
    place.push(MAIN, &second);
    assert_eq!(place.run_of(&second)["state"], "skipped", "{}", place.told(&second));
    let third = place.commit(std::slice::from_ref(&second), &Changes::new().file("src/a", "3"));
    place.push(MAIN, &third);
    assert_equals_git(&place.repo, &third, &place.public(KEY));
}
