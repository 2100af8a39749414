//! Repositories as CI has them: what is checked out, and which files differ from it.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use gristmill_git::{Changed, Checkout, CheckoutError};
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;

/// Git in a folder, without anybody's configuration.
fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "protocol.file.allow=always", "-c", "safe.directory=*"])
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "Fixture")))
        .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, "fixture@example.org")))
        .output()
        .expect("git starts");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

struct Place {
    origin: TestRepo,
    folder: tempfile::TempDir,
}

impl Place {
    fn new(format: &str) -> Place {
        let origin = TestRepo::with_format(format);
        let changes = Changes::new()
            .file("a.txt", "one\n")
            .file("lib/b.txt", "two\n")
            .executable("run", "#!/bin/sh\n")
            .symlink("link", "a.txt");
        origin.commit("main", &changes);
        Place { origin, folder: tempfile::tempdir().expect("a folder") }
    }

    fn clone(&self, args: &[&str]) -> PathBuf {
        let url = self.origin.url();
        let all: Vec<&str> =
            ["clone", "--quiet"].iter().chain(args).chain([&&*url, &"repo"]).copied().collect();
        git(self.folder.path(), &all);
        self.folder.path().join("repo")
    }
}

#[track_caller]
fn same_head(folder: &Path) -> Checkout {
    let checkout = Checkout::open(folder).expect("a repository");
    assert_eq!(checkout.head().expect("a commit").to_string(), git(folder, &["rev-parse", "HEAD"]));
    checkout
}

fn changed(folder: &Path) -> Vec<String> {
    let checkout = Checkout::open(folder).expect("a repository");
    let objects = checkout.objects().expect("objects");
    let tree = objects.commit(checkout.head().expect("a commit")).expect("it is there").tree;
    let Changed { paths, unknown } = checkout.changed(&objects, tree, &|_| true).expect("compared");
    assert_eq!(unknown, None);
    paths
}

#[test]
fn heads_are_those_that_git_tells() {
    for format in ["sha1", "sha256"] {
        let place = Place::new(format);
        let repo = place.clone(&[]);
        same_head(&repo);
        git(&repo, &["commit", "--quiet", "--allow-empty", "-m", "x"]);
        same_head(&repo);
        git(&repo, &["pack-refs", "--all"]);
        same_head(&repo);
        git(&repo, &["tag", "-a", "v1", "-m", "v1"]);
        git(&repo, &["checkout", "--quiet", "--detach", "HEAD~1"]);
        let checkout = same_head(&repo);
        let refs: Vec<String> =
            checkout.refs().expect("refs").iter().map(|(name, id)| format!("{id} {name}")).collect();
        let told = git(&repo, &["for-each-ref", "--format=%(objectname) %(refname)"]);
        let told: Vec<&str> = told.lines().filter(|line| !line.ends_with("/HEAD")).collect();
        assert_eq!(refs, told, "{format}");
    }
}

#[test]
fn all_kinds_of_clones_can_be_read() {
    let place = Place::new("sha1");
    for args in [&["--depth=1"][..], &["--filter=blob:none"], &["--reference", "ORIGIN"], &["--no-checkout"]]
    {
        let origin = place.origin.path().display().to_string();
        let args: Vec<&str> =
            args.iter().map(|arg| if *arg == "ORIGIN" { origin.as_str() } else { arg }).collect();
        let repo = place.clone(&args);
        let checkout = same_head(&repo);
        let objects = checkout.objects().expect("objects");
        let tree = objects.commit(checkout.head().expect("a commit")).expect("it is there").tree;
        assert_eq!(objects.entries(tree).expect("a tree").len(), 4, "{args:?}");
        std::fs::remove_dir_all(repo).expect("removed");
    }
}

#[test]
fn work_trees_and_submodules_are_followed() {
    let place = Place::new("sha1");
    let repo = place.clone(&[]);
    git(&repo, &["worktree", "add", "--quiet", "-b", "other", "../tree"]);
    let tree = place.folder.path().join("tree");
    git(&tree, &["commit", "--quiet", "--allow-empty", "-m", "x"]);
    same_head(&tree);
    same_head(&repo);
    assert_eq!(changed(&tree), Vec::<String>::new());
    git(&repo, &["submodule", "--quiet", "add", &place.origin.url(), "module"]);
    same_head(&repo.join("module"));
    // Mounted alone, it lacks the repository it belongs to.
    let alone = place.folder.path().join("alone");
    std::fs::create_dir(&alone).expect("made");
    std::fs::copy(repo.join("module/.git"), alone.join(".git")).expect("copied");
    let error = Checkout::open(&alone).expect_err("it leads nowhere").to_string();
    assert!(error.contains("must be mounted at the same place"), "{error}");
}

#[test]
fn what_cannot_be_used_says_why() {
    let place = Place::new("sha1");
    let folder = place.folder.path();
    let refused = |path: &Path| Checkout::open(path).expect_err("refused");
    assert!(matches!(refused(&folder.join("none")), CheckoutError::Missing(_)));
    assert!(matches!(refused(folder), CheckoutError::NotARepository(_)));
    assert!(matches!(refused(place.origin.path()), CheckoutError::Bare(_)));
    git(folder, &["init", "--quiet", "empty"]);
    let empty = Checkout::open(&folder.join("empty")).expect("a repository");
    assert!(matches!(empty.head(), Err(CheckoutError::NoCommit(_))));
    let config = folder.join("empty/.git/config");
    let text = std::fs::read_to_string(&config).expect("a config");
    for (more, expected) in
        [("refStorage = reftable", "reftable"), ("objectFormat = sha3", "known are sha1 and sha256")]
    {
        std::fs::write(&config, format!("{text}[extensions]\n\t{more}\n")).expect("written");
        let error = refused(&folder.join("empty")).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn changes_are_those_that_git_tells() {
    for (format, version) in [("sha1", "2"), ("sha1", "4"), ("sha256", "3")] {
        let place = Place::new(format);
        let repo = place.clone(&[]);
        git(&repo, &["update-index", "--index-version", version]);
        assert_eq!(changed(&repo), Vec::<String>::new(), "{format} {version}");
        let write = |path: &str, text: &str| std::fs::write(repo.join(path), text).expect("written");
        // The same bytes once more have other times, which is no change; a file of nobody's is none either.
        write("a.txt", "one\n");
        write("nobody.txt", "x");
        assert_eq!(changed(&repo), Vec::<String>::new(), "{format} {version}");
        write("a.txt", "ONE\n");
        assert_eq!(changed(&repo), ["a.txt"]);
        std::fs::set_permissions(repo.join("run"), std::fs::Permissions::from_mode(0o644)).expect("set");
        std::fs::remove_file(repo.join("link")).expect("removed");
        symlink("b.txt", repo.join("link")).expect("linked");
        std::fs::remove_file(repo.join("lib/b.txt")).expect("removed");
        assert_eq!(changed(&repo), ["a.txt", "lib/b.txt", "link", "run"]);
        git(&repo, &["add", "--all"]);
        assert_eq!(changed(&repo), ["a.txt", "lib/b.txt", "link", "nobody.txt", "run"]);
        git(&repo, &["commit", "--quiet", "-m", "x"]);
        assert_eq!(changed(&repo), Vec::<String>::new(), "{format} {version}");
    }
}

#[test]
fn files_that_are_left_out_are_no_changes() {
    let place = Place::new("sha1");
    let repo = place.clone(&["--sparse"]);
    assert!(!repo.join("lib").exists());
    assert_eq!(changed(&repo), Vec::<String>::new());
    let bare = place.folder.path().join("second");
    git(place.folder.path(), &["clone", "--quiet", "--no-checkout", &place.origin.url(), "second"]);
    let checkout = Checkout::open(&bare).expect("a repository");
    let objects = checkout.objects().expect("objects");
    let tree = objects.commit(checkout.head().expect("a commit")).expect("it is there").tree;
    let found = checkout.changed(&objects, tree, &|_| true).expect("looked");
    assert!(found.unknown.is_some_and(|why| why.contains("no index")));
}
