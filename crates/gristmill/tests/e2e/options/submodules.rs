//! `submodules`: what real git checks out, and what nobody may be led to.

use std::path::Path;
use std::process::Command;

use gristmill_archive::Format;
use gristmill_testkit::FakeGithub;
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::sha256;

use super::{Members, assert_equal, members};
use crate::world::{KEY, MAIN, PROJECT, SECRET, World, project};

const CANARY: &str = "sub-Canary-token";

/// A `.gitmodules` of (path, url).
fn modules(modules: &[(&str, &str)]) -> String {
    let section =
        |(path, url): &(&str, &str)| format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n");
    modules.iter().map(section).collect()
}

/// What `git clone --recurse-submodules` has of a branch, without what is git's own.
pub(super) fn cloned(url: &str) -> Members {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new("git")
        .args(["clone", "--quiet", "--recurse-submodules", "--branch", "main", url, "files"])
        .current_dir(folder.path())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found = Members::new();
    read(&folder.path().join("files"), "", &mut found);
    found
}

fn read(folder: &Path, above: &str, found: &mut Members) {
    use std::os::unix::ffi::OsStringExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let name = format!("{above}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().expect("a type");
        if entry.file_name() == ".git" {
            continue;
        } else if kind.is_dir() {
            read(&entry.path(), &format!("{name}/"), found);
        } else if kind.is_symlink() {
            let target = std::fs::read_link(entry.path()).expect("a link");
            found.insert(name, ("120000", target.into_os_string().into_vec()));
        } else {
            let mode = entry.metadata().expect("a file").permissions().mode();
            let mode = if mode & 0o100 == 0 { "100644" } else { "100755" };
            found.insert(name, (mode, std::fs::read(entry.path()).expect("readable")));
        }
    }
}

/// A project with submodules within submodules; its tip, and the repositories they are of.
pub(super) fn nested(world: &World) -> String {
    let deep = world.github.create("other/deep", SECRET);
    let deep = deep.commit("main", &Changes::new().file("deep.txt", "deep").symlink("link", "deep.txt"));
    let lib = world.github.create("acme/lib", SECRET);
    let changes = Changes::new()
        .file(".gitmodules", modules(&[("in/deep", "../../other/deep.git")]))
        .submodule("in/deep", &deep)
        .executable("lib.sh", "#!/bin/sh\n")
        .file("only-here.bat", "echo\n")
        .file(".gitattributes", "*.bat eol=crlf\n");
    let lib = lib.commit("main", &changes);
    let absolute = world.github.clone_url("other/deep");
    let changes = Changes::new()
        .file(".gitmodules", modules(&[("vendor/lib", "../lib.git"), ("again", &absolute)]))
        .submodule("vendor/lib", &lib)
        .submodule("again", &deep)
        .file("vendor/lib.txt", "beside")
        .file("a.bat", "echo\n");
    world.commit(None, &changes)
}

#[test]
fn submodules_are_what_git_checks_out_to_the_last_level() {
    for (format, lines) in [(Format::Zip, ""), (Format::TarGz, "attributes = \"git\"")] {
        let lines = format!("submodules = true\nformat = \"{format}\"\n{lines}");
        let world = World::start(|project| project.pipeline(&lines));
        let commit = nested(&world);
        world.push_and_wait(MAIN, &commit);
        let key = format!("acme/shop/main/acme_shop.{format}");
        let bytes = world.server.store().public(&key).unwrap_or_else(|| panic!("{:#?}", world.runs()));
        let mut expected = cloned(&world.github.clone_url(PROJECT));
        if format == Format::Zip {
            // What git checks out is what its attributes make of it.
            expected.insert("vendor/lib/only-here.bat".to_owned(), ("100644", b"echo\n".to_vec()));
        }
        assert_eq!(expected.len(), 11, "{:?}", expected.keys());
        assert_equal(&members(format, &bytes), &expected, "submodules");
        let run = world.run_of(&commit);
        let log = world.server.cli_text(&["run", "logs", run["id"].as_str().expect("an id")]);
        assert!(log.contains("submodule vendor/lib/in/deep: "), "{log}");
    }
}

#[test]
fn without_the_option_submodules_are_empty_folders() {
    let world = World::start(|project| project);
    let commit = nested(&world);
    world.push_and_wait(MAIN, &commit);
    world.assert_public(KEY, &commit);
}

#[test]
fn mistake_08_the_token_goes_to_the_projects_own_server_alone_and_what_it_reads_stays_the_projects() {
    let mut world = World::prepare(|project| project);
    let token = world.server.folder().join("token");
    std::fs::write(&token, CANARY).expect("written");
    let with_token =
        || project(&world.github, PROJECT).with("token = { file = \"token\" }").pipeline("submodules = true");
    let projects = [with_token()];
    world.server.set_projects(projects);
    world.github.require_token(Some(CANARY));
    let elsewhere = FakeGithub::start();
    let foreign = elsewhere.create("other/lib", SECRET).commit("main", &Changes::new().file("x", "y"));
    let lib = world.github.create("acme/lib", SECRET).commit("main", &Changes::new().file("lib", "1"));
    world.server.start();
    let own = Changes::new().file(".gitmodules", modules(&[("lib", "../lib.git")])).submodule("lib", &lib);
    let first = world.commit(None, &own);
    world.push_and_wait(MAIN, &first);
    let bytes = world.server.store().public(KEY).unwrap_or_else(|| panic!("{:#?}", world.runs()));
    assert_eq!(members(Format::Zip, &bytes)["lib/lib"].1, b"1");
    // Another server, on an address that strangers' words may not lead to.
    let url = elsewhere.clone_url("other/lib");
    let changes = Changes::new().file(".gitmodules", modules(&[("lib", &url)])).submodule("lib", &foreign);
    let second = world.commit(Some(&first), &changes);
    world.push_and_wait(MAIN, &second);
    let run = world.run_of(&second);
    assert_eq!(run["state"], "failed", "{run:#}");
    let reason = run["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("the submodule lib (http://127.0.0.1:") && reason.contains("cannot be fetched"),
        "{reason}"
    );
    assert!(reason.contains("a loopback address"), "the gate says why: {reason}");
    assert!(elsewhere.requests().is_empty(), "nobody was asked");
    // Whoever knows the tree, and not the token, gets nothing of what the token read.
    let copy = elsewhere.create("acme/copy", SECRET);
    let tree = copy.commit_unreferenced(&[], &own);
    assert_eq!(copy.resolve(&format!("{tree}^{{tree}}")), world.repo.resolve(&format!("{first}^{{tree}}")));
    let other = project(&elsewhere, "acme/copy").pipeline("submodules = true");
    world.server.set_projects([with_token(), other.poll("1h")]);
    copy.set_ref(MAIN, &tree);
    let ended = gristmill_testkit::server::wait_for(gristmill_testkit::server::PATIENCE, || {
        world.runs().iter().any(|run| run["commit"] == tree && run["state"] == "failed").then_some(())
    });
    assert!(ended.is_some(), "{:#?}", world.runs());
    assert!(world.server.store().public("acme/copy/main/acme_copy.zip").is_none());
}

#[test]
fn what_a_projects_own_server_gives_to_anybody_is_not_for_projects_of_other_servers() {
    let mut world = World::prepare(|project| project);
    let elsewhere = FakeGithub::start();
    let copy = elsewhere.create("acme/other", SECRET);
    let projects = [project(&world.github, PROJECT), project(&elsewhere, "acme/other")];
    world.server.set_projects(projects.map(|project| project.pipeline("submodules = true")));
    let lib = world.github.create("acme/lib", SECRET).commit("main", &Changes::new().file("lib", "1"));
    // Both name the same address, which lies where strangers' words may not lead to.
    let url = world.github.clone_url("acme/lib");
    let changes = Changes::new().file(".gitmodules", modules(&[("lib", &url)])).submodule("lib", &lib);
    world.server.start();
    let first = world.commit(None, &changes);
    world.push_and_wait(MAIN, &first);
    let bytes = world.server.store().public(KEY).unwrap_or_else(|| panic!("{:#?}", world.runs()));
    assert_eq!(members(Format::Zip, &bytes)["lib/lib"].1, b"1");
    let stolen = copy.commit_unreferenced(&[], &changes.file("another", "tree"));
    world.server.accept("acme/other", &elsewhere.push("acme/other", MAIN, Some(&stolen)));
    world.server.wait_until_idle();
    let run = world.run_of(&stolen);
    assert_eq!(run["state"], "failed", "{run:#}");
    assert!(run["reason"].as_str().is_some_and(|why| why.contains("a loopback address")), "{run:#}");
    assert!(world.server.store().public("acme/other/main/acme_other.zip").is_none());
}

#[test]
fn all_submodules_of_an_archive_share_one_number_of_bytes() {
    let mut world = World::prepare(|project| project.pipeline("submodules = true"));
    world.server.set_settings("[worker]\nrepository_max = \"1MiB\"\n");
    world.server.start();
    // Digests do not compress.
    let noise =
        |seed: u32| -> String { (0..6_000).map(|n| sha256(format!("{seed} {n}").as_bytes())).collect() };
    let libs: Vec<String> = (0..6)
        .map(|number| {
            let lib = world.github.create(&format!("acme/lib{number}"), SECRET);
            lib.commit("main", &Changes::new().file("noise", noise(number)))
        })
        .collect();
    let mut parent: Option<String> = None;
    // Each has 6000 times 32 bytes. One that is there twice counts once.
    for (numbers, is_enough) in
        [(&[0, 1, 2, 3][..], true), (&[0, 0, 0, 0, 0, 0], true), (&[0, 1, 2, 3, 4, 5], false)]
    {
        let paths: Vec<(String, String)> = numbers
            .iter()
            .enumerate()
            .map(|(place, number)| (format!("at{place}"), format!("../lib{number}.git")))
            .collect();
        let lines: Vec<(&str, &str)> =
            paths.iter().map(|(path, url)| (path.as_str(), url.as_str())).collect();
        let changes = Changes::new().file(".gitmodules", modules(&lines));
        let changes = paths
            .iter()
            .zip(numbers)
            .fold(changes, |changes, ((path, _), number)| changes.submodule(path, &libs[*number]));
        let commit = world.commit(parent.as_deref(), &changes);
        world.push_and_wait(MAIN, &commit);
        let run = world.run_of(&commit);
        assert_eq!(run["state"], if is_enough { "succeeded" } else { "failed" }, "{numbers:?}: {run:#}");
        let reason = run["reason"].as_str().unwrap_or_default();
        assert!(is_enough || reason.contains("all submodules together"), "{reason}");
        parent = Some(commit);
    }
}

#[test]
fn submodules_that_lead_elsewhere_or_nowhere_fail_with_the_reason() {
    let world = World::start(|project| project.pipeline("submodules = true"));
    let pinned = "1111111111111111111111111111111111111111";
    for (url, told) in [
        ("file:///etc", "its url is a place on this machine"),
        ("ssh://git@127.0.0.1/a/b", "the project's key is for its own server"),
        ("git://127.0.0.1/a/b", "only https:// is taken from other servers"),
        ("ext::sh -c id", "`lib`: "),
        ("--upload-pack=id", "`lib`: "),
        ("../missing.git", "cannot be fetched"),
        ("../../../../above.git", "leads above the server's root"),
    ] {
        let changes = Changes::new().file(".gitmodules", modules(&[("lib", url)])).submodule("lib", pinned);
        let commit = world.commit(None, &changes);
        world.push_and_wait(MAIN, &commit);
        let run = world.run_of(&commit);
        assert_eq!(run["state"], "failed", "{url}: {run:#}");
        let reason = run["reason"].as_str().expect("a reason");
        assert!(reason.contains(told), "{url}: {reason}");
    }
    let unnamed = world.commit(None, &Changes::new().submodule("lib", pinned));
    world.push_and_wait(MAIN, &unnamed);
    let reason = world.run_of(&unnamed)["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("pins a submodule at lib, and its .gitmodules does not say"), "{reason}");
    // A circle ends at the level that is allowed.
    let round = world.commit(None, &Changes::new().file("a", "b"));
    world.push_and_wait(MAIN, &round);
    let mut within = round;
    for _ in 0..6 {
        let changes = Changes::new().file(".gitmodules", modules(&[("s", "../shop.git")]));
        within = world.commit(None, &changes.submodule("s", &within));
    }
    world.push_and_wait(MAIN, &within);
    let reason = world.run_of(&within)["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("deeper than 5 levels"), "{reason}");
}
