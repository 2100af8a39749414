//! `clone = "partial"`: the same archives, from a mirror without old contents.

use std::path::{Path, PathBuf};
use std::process::Command;

use gristmill_archive::Format;
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{PATIENCE, Project, wait_for};

use super::submodules::{cloned, nested};
use super::{assert_equal, members};
use crate::world::{KEY, MAIN, PROJECT, World, project};

const PARTIAL: &str = "clone = \"partial\"";

/// How a mirror's configuration says that it is partial.
const MARK: &str = "[gristmill]\n\tpartial = true\n";

fn world(shape: impl FnOnce(Project) -> Project) -> World {
    let world = World::start(shape);
    filters(&world.repo, true);
    world
}

fn filters(repo: &TestRepo, is_on: bool) {
    repo.git(["config", "uploadpack.allowFilter", if is_on { "true" } else { "false" }]);
}

/// The mirrors that a server has, those of submodules too.
fn mirrors(world: &World) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![world.server.data().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            if entry.file_name() == "repo.git" {
                found.push(entry.path());
            } else if entry.file_type().expect("a type").is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found
}

fn is_partial(mirror: &Path) -> bool {
    std::fs::read_to_string(mirror.join("config")).expect("a config").ends_with(MARK)
}

/// How many blobs the project's mirror has, which is the only one.
fn blobs(world: &World) -> usize {
    let [mirror] = &mirrors(world)[..] else { panic!("not one mirror") };
    let output = Command::new("git")
        .arg(format!("--git-dir={}", mirror.display()))
        .args(["cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"])
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .expect("git");
    String::from_utf8(output.stdout).expect("ASCII").lines().filter(|line| *line == "blob").count()
}

fn log(world: &World, commit: &str) -> String {
    world.server.cli_text(&["run", "logs", world.run_of(commit)["id"].as_str().expect("an id")])
}

/// Ten commits; each but the first replaces a content.
fn history(world: &World) -> String {
    let first = Changes::new()
        .file(".gitattributes", "*.txt eol=crlf\nversion export-subst\nleft-out export-ignore\n")
        .file("a.txt", "line\n")
        .file("left-out/b", "b")
        .file("version", "$Format:%H$\n")
        .executable("run.sh", "#!/bin/sh\n")
        .symlink("link", "a.txt");
    let mut commit = world.commit(None, &first);
    for number in 1..10 {
        commit = world.commit(Some(&commit), &Changes::new().file("number", format!("{number}")));
    }
    commit
}

#[test]
fn archives_are_the_same_and_old_contents_are_not_here() {
    for lines in ["", "attributes = \"git\"\nexport_ignore = true"] {
        let full = world(|project| project.pipeline(lines));
        let partial = world(|project| project.with(PARTIAL).pipeline(lines));
        let mut archives = [&full, &partial].map(|world| {
            let commit = history(world);
            world.push_and_wait(MAIN, &commit);
            let next = world.commit(Some(&commit), &Changes::new().file("number", "next"));
            let first = world.server.store().public(KEY).unwrap_or_else(|| panic!("{:#?}", world.runs()));
            world.push_and_wait(MAIN, &next);
            let second = world.server.store().public(KEY).expect("an archive");
            assert!(first != second);
            if lines.is_empty() {
                world.assert_public(KEY, &next);
            }
            let log = log(world, &next);
            assert_eq!(
                log.contains("the contents of 1 files were not"),
                std::ptr::eq(world, &raw const partial),
                "{log}"
            );
            (first, second)
        });
        assert!(archives[0] == archives[1], "{lines}");
        // A commit that came without its contents because it was nobody's tip.
        for (world, archives) in [&full, &partial].into_iter().zip(&mut archives) {
            let old = world.repo.resolve("refs/heads/main~5").expect("an older commit");
            world.push_and_wait("refs/heads/old", &old);
            archives.0 = world.server.store().public("acme/shop/old/acme_shop.zip").expect("an archive");
        }
        assert!(archives[0] == archives[1], "{lines}");
        // Six files at first, and of nine numbers the last, `next`, and the one five commits ago.
        assert_eq!((blobs(&full), blobs(&partial)), (6 + 9 + 1, 6 + 1 + 1 + 1));
        assert!(is_partial(&mirrors(&partial)[0]) && !is_partial(&mirrors(&full)[0]));
    }
}

#[test]
fn a_push_that_is_left_out_brings_no_contents() {
    let world = world(|project| project.with(PARTIAL).pipeline("paths = [\"api/**\"]"));
    let first = world.commit(None, &Changes::new().file("api/a", "1").file("web/a", "2"));
    world.push_and_wait(MAIN, &first);
    assert_eq!(blobs(&world), 2);
    let second = world.commit(Some(&first), &Changes::new().file("web/a", "3"));
    world.push_and_wait(MAIN, &second);
    assert_eq!((world.run_of(&second)["state"].as_str(), blobs(&world)), (Some("skipped"), 2));
    let third = world.commit(Some(&second), &Changes::new().file("api/a", "4"));
    world.push_and_wait(MAIN, &third);
    world.assert_public(KEY, &third);
    assert_eq!(blobs(&world), 2 + 2);
}

#[test]
fn submodules_are_partial_too() {
    let world = world(|project| project.with(PARTIAL).pipeline("submodules = true"));
    let commit = nested(&world);
    for name in ["acme/lib", "other/deep"] {
        filters(&world.github.repository_handle(name), true);
    }
    world.push_and_wait(MAIN, &commit);
    let bytes = world.server.store().public(KEY).unwrap_or_else(|| panic!("{:#?}", world.runs()));
    let mut expected = cloned(&world.github.clone_url(PROJECT));
    expected.insert("vendor/lib/only-here.bat".to_owned(), ("100644", b"echo\n".to_vec()));
    assert_equal(&members(Format::Zip, &bytes), &expected, "submodules");
    let mirrors = mirrors(&world);
    assert_eq!(mirrors.len(), 3);
    assert!(mirrors.iter().all(|mirror| is_partial(mirror)), "{mirrors:?}");
}

#[test]
fn without_filters_the_mirror_is_full_and_the_setting_may_be_changed() {
    let mut world = world(|project| project.with(PARTIAL));
    filters(&world.repo, false);
    let first = history(&world);
    world.push_and_wait(MAIN, &first);
    world.assert_public(KEY, &first);
    assert!(!is_partial(&mirrors(&world)[0]));
    assert!(log(&world, &first).contains("or the server knows no filters"), "{}", log(&world, &first));

    // With filters, from nothing.
    world.server.stop();
    std::fs::remove_dir_all(mirrors(&world)[0].parent().expect("a mirror's folder")).expect("removed");
    filters(&world.repo, true);
    world.server.start();
    let second = world.commit(Some(&first), &Changes::new().file("number", "second"));
    world.push_and_wait(MAIN, &second);
    world.assert_public(KEY, &second);
    assert_eq!((is_partial(&mirrors(&world)[0]), blobs(&world)), (true, 7));

    world.server.set_projects([project(&world.github, PROJECT).pipeline("include_git = true")]);
    let revision = || world.server.store().number("SELECT max(rev) FROM project_spec");
    assert!(wait_for(PATIENCE, || (revision() >= 2).then_some(())).is_some());
    let third = world.commit(Some(&second), &Changes::new().file("number", "third"));
    world.push_and_wait(MAIN, &third);
    assert_eq!(world.run_of(&third)["state"], "succeeded", "{:#}", world.run_of(&third));
    assert_eq!((is_partial(&mirrors(&world)[0]), blobs(&world)), (false, 6 + 9 + 2));
}
