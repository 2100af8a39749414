//! What is in an archive, and under which names it lies.

use std::io::Write as _;
use std::process::Command;

use gristmill_testkit::repo::Changes;
use gristmill_testkit::{TestRepo, skip};

use crate::world::{KEY, MAIN, PROJECT, World, assert_equals_git, python};

/// Reads a zip with another program's eyes: name, mode and digest of each member, and whether all are sound.
const ZIPFILE: &str = r"
import sys, zipfile, hashlib
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
for i in z.infolist():
    print('%06o %s %s' % (i.external_attr >> 16, hashlib.sha256(z.read(i)).hexdigest(), ascii(i.filename)))
";

/// A tree with one of everything.
fn of_everything() -> Changes {
    Changes::new()
        .file("README.md", "# Shop\n")
        .file("empty", "")
        .file("binary", (0..=255).cycle().take(100_000).collect::<Vec<u8>>())
        .executable("bin/run", "#!/bin/sh\n")
        .symlink("link", "bin/run")
        .symlink("out", "../../etc/passwd")
        .file(".github/workflows/ci.yml", "on: push\n")
        .file(".gitignore", "target\n")
        .file("x.gitkeep", "")
        .file("src.git.txt", "kept")
        .file("deep/.gitattributes", "* text\n")
        .file("with space/and 'quotes' \"two\"", "x")
        .file("grüße/日本語.txt", "utf-8")
        .file("-dash", "not an option")
        .file("a*b?c", "not a pattern")
        .submodule("vendor/lib", "1111111111111111111111111111111111111111")
}

#[test]
fn mistake_07_everything_but_the_repositorys_own_git_is_in_the_archive() {
    let world = World::start(|project| project);
    let commit = world.commit(None, &of_everything());
    world.push_and_wait(MAIN, &commit);
    world.assert_public(KEY, &commit);
    let file = world.server.folder().join("read.zip");
    let bytes = world.server.store().public(KEY).expect("published");
    std::fs::File::create(&file).and_then(|mut file| file.write_all(&bytes)).expect("written");
    let members = python(ZIPFILE, &[&file]);
    let expected = [
        ("100644", "'.github/workflows/ci.yml'"),
        ("100644", "'.gitignore'"),
        ("100644", "'x.gitkeep'"),
        ("100644", "'src.git.txt'"),
        ("100755", "'bin/run'"),
        ("120777", "'link'"),
        ("040755", "'vendor/lib/'"),
        ("100644", "'gr\\xfc\\xdfe/\\u65e5\\u672c\\u8a9e.txt'"),
    ];
    for (mode, name) in expected {
        let found = members.lines().any(|line| line.starts_with(mode) && line.ends_with(name));
        assert!(found, "{mode} {name} is not in\n{members}");
    }
    assert_eq!(members.lines().count(), 16, "{members}");
    match Command::new("unzip").args(["-tqq", "--"]).arg(&file).output() {
        Ok(output) => assert!(output.status.success(), "unzip: {output:?}"),
        Err(_) => skip("mistake_07", "there is no `unzip`"),
    }
}

#[test]
fn names_in_any_bytes_are_archived_or_refused_with_a_reason() {
    let world = World::start(|project| project);
    for (number, name) in
        [&b"caf\xe9"[..], b"new\nline", b"back\\slash", b"tab\there"].into_iter().enumerate()
    {
        let commit = world.commit(None, &Changes::new().file(name, "x").file("plain", "y"));
        let branch = format!("odd{number}");
        world.push_and_wait(&format!("refs/heads/{branch}"), &commit);
        let run = world.run_of(&commit);
        match run["state"].as_str() {
            Some("succeeded") => world.assert_public(&format!("acme/shop/{branch}/acme_shop.zip"), &commit),
            _ => assert!(run["reason"].as_str().is_some_and(|reason| reason.len() > 20), "{run:#}"),
        }
    }
}

#[test]
fn a_tree_of_thousands_of_files_and_a_few_changes_equal_git() {
    let world = World::start(|project| project);
    let mut changes = Changes::new();
    for number in 0..2500 {
        changes = changes.file(format!("src/{}/file{number}", number % 50), format!("{number}\n").repeat(50));
    }
    let first = world.commit(None, &changes);
    world.push_and_wait(MAIN, &first);
    world.assert_public(KEY, &first);
    let second =
        world.commit(Some(&first), &Changes::new().file("src/7/file7", "changed").remove("src/8/file8"));
    world.push_and_wait(MAIN, &second);
    world.assert_public(KEY, &second);
    let run = world.run_of(&second)["id"].as_str().expect("an id").to_owned();
    let log = world.server.cli_text(&["run", "logs", &run]);
    assert!(log.contains("2498 taken over from the archive before"), "{log}");
}

#[test]
fn an_empty_repository_is_looked_at_and_nothing_follows() {
    let world = World::start(|project| project.poll("1s"));
    world.server.wait_until_idle();
    let shown = world.server.cli_json(&["project", "list"]);
    assert!(world.runs().is_empty());
    let error = world.server.store().query("SELECT look_error FROM project");
    assert_eq!(error, ["NULL"], "{shown:#}");
    let commit = world.text(None, "first");
    world.push_and_wait(MAIN, &commit);
    world.assert_public(KEY, &commit);
}

#[test]
fn an_empty_tree_is_an_empty_archive() {
    let world = World::start(|project| project);
    let commit = world.commit(None, &Changes::new());
    world.push_and_wait(MAIN, &commit);
    world.assert_public(KEY, &commit);
}

#[test]
fn a_sha256_repository_is_archived_like_any_other() {
    let repo = TestRepo::with_format("sha256");
    let commit = repo.commit("main", &Changes::new().file("a", "b").executable("bin/run", "#!/bin/sh\n"));
    let mut world = World::prepare(|project| project);
    let sha256 = gristmill_testkit::server::Project::new("acme/new", &repo.url(), "any secret");
    world.server.set_projects([sha256.poll("1h")]);
    world.server.start();
    world.server.wait_until_idle();
    let store = world.server.store();
    let key = "acme/new/main/acme_new.zip";
    let bytes = store.public(key).unwrap_or_else(|| panic!("nothing under {key}\n{}", world.server.log()));
    assert_equals_git(&repo, &commit, &bytes);
    assert_eq!(commit.len(), 64);
    assert_eq!(store.versions_of(key).pop().map(|version| version.commit), Some(commit));
}

#[test]
fn a_key_of_255_bytes_works_and_a_longer_one_is_refused_with_the_reason() {
    let world = World::start(|project| project.pipeline("key = \"k/{branch}{branch}.zip\""));
    let commit = world.text(None, "x");
    // Twice the branch and `.zip`: 254 and 256 bytes.
    let (fits, too_long) = ("a".repeat(125), "b".repeat(126));
    world.push_and_wait(&format!("refs/heads/{fits}"), &commit);
    world.assert_public(&format!("k/{fits}{fits}.zip"), &commit);
    let other = world.text(None, "y");
    world.push_and_wait(&format!("refs/heads/{too_long}"), &other);
    let run = world.run_of(&other);
    assert_eq!(run["state"], "failed", "{run:#}");
    let reason = run["reason"].as_str().expect("a reason");
    assert!(reason.contains("255"), "{reason}");
    world.assert_public(&format!("k/{fits}{fits}.zip"), &commit);
}

#[test]
fn a_key_that_is_a_folder_of_another_works_or_is_refused_with_the_reason() {
    let world = World::start(|project| project.pipeline("key = \"k/{branch}\""));
    let (a, b) = (world.text(None, "A"), world.text(None, "B"));
    world.push_and_wait("refs/heads/top", &a);
    world.assert_public("k/top", &a);
    let gone = world.github.push(PROJECT, "refs/heads/top", None);
    world.server.accept(PROJECT, &gone);
    world.push_and_wait("refs/heads/top/below", &b);
    let run = world.run_of(&b);
    if run["state"] == "succeeded" {
        world.assert_public("k/top/below", &b);
    } else {
        let reason = run["reason"].as_str().expect("a reason");
        assert!(reason.contains("k/top"), "{reason}");
    }
    world.assert_public("k/top", &a);
    world.assert_archived("k/top/below", &b);
}
