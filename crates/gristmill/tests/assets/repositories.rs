//! Repositories as CI has them: each works, or says why not.

use std::path::Path;

use crate::world::{At, Done, World, git};

fn hash(world: &mut World, repository: &Path) -> String {
    world.set("GIT_REPO_PATH", repository.to_str().unwrap());
    world.check(&[]).ended(0);
    world.flag(".code-hash").unwrap()
}

/// A clone of the world's repository.
fn clone(world: &World, name: &str, args: &[&str]) -> std::path::PathBuf {
    let url = format!("file://{}", world.path("repo").display());
    let all: Vec<&str> =
        ["clone", "--quiet"].iter().chain(args).chain([&url.as_str(), &name]).copied().collect();
    git(world.folder.path(), &all);
    world.path(name)
}

#[test]
fn every_kind_of_clone_has_the_same_code() {
    let mut world = World::new(At::Folder, "").unwrap();
    world.commit("lambdas/b/n.py", "two\n");
    git(&world.path("repo"), &["config", "uploadpack.allowFilter", "true"]);
    let own = world.path("repo");
    let expected = hash(&mut world, &own);
    for (name, args) in [
        ("whole", &[][..]),
        ("shallow", &["--depth=1"]),
        ("without-contents", &["--filter=blob:none"]),
        ("borrowing", &["--shared"]),
        ("sparse", &["--sparse"]),
    ] {
        let repository = clone(&world, name, args);
        assert_eq!(hash(&mut world, &repository), expected, "{name}");
    }
    git(&world.path("whole"), &["worktree", "add", "--quiet", "--detach", "../tree"]);
    let tree = world.path("tree");
    assert_eq!(hash(&mut world, &tree), expected);
    git(
        &world.path("whole"),
        &["submodule", "--quiet", "add", &format!("file://{}", world.path("repo").display()), "module"],
    );
    let module = world.path("whole/module");
    assert_eq!(hash(&mut world, &module), expected);
    // Filters that are no folder need the trees, which one kind of clone lacks.
    let treeless = clone(&world, "treeless", &["--filter=tree:0", "--no-checkout"]);
    world.set("GIT_REPO_PATH", treeless.to_str().unwrap());
    world.check(&[]).ended(1).has("--filter=tree:0");
}

#[test]
fn objects_named_by_sha256_work() {
    let mut world = World::new(At::Folder, "").unwrap();
    let repo = world.path("new");
    git(world.folder.path(), &["init", "--quiet", "--object-format=sha256", "new"]);
    std::fs::create_dir_all(repo.join("lambdas")).unwrap();
    std::fs::write(repo.join("lambdas/x"), "x").unwrap();
    git(&repo, &["add", "--all"]);
    git(&repo, &["commit", "--quiet", "-m", "x"]);
    hash(&mut world, &repo);
    let commit = world.flag(".commit-hash").unwrap();
    assert_eq!((commit.len(), &commit), (64, &git(&repo, &["rev-parse", "HEAD"])));
    world.build(&[("a.zip", "a")]);
    world.upload(&[]).ended(0);
    world.check(&[]).ended(0).has("1 artifact(s) found");
    assert_eq!(world.asset(&["get", "--into", "back", &commit[..8]]).code, 0);
}

#[test]
fn it_does_not_matter_whose_the_repository_is() {
    let mut world = World::new(At::Folder, "").unwrap();
    let repo = world.path("repo");
    let expected = hash(&mut world, &repo);
    let chown = std::process::Command::new("chown").args(["-R", "12345:12345"]).arg(&repo).output().unwrap();
    if !chown.status.success() {
        return gristmill_testkit::skip("repositories::whose", "only root can give files away");
    }
    assert_eq!(hash(&mut world, &repo), expected);
}

#[test]
fn submodules_and_links_count_by_what_they_name() {
    let mut world = World::new(At::Folder, "").unwrap();
    let (repo, other) = (world.path("repo"), world.path("repo").display().to_string());
    git(&repo, &["submodule", "--quiet", "add", &format!("file://{other}"), "lambdas/module"]);
    world.commit("lambdas/a/m.py", "two\n");
    let first = hash(&mut world, &repo);
    git(&repo.join("lambdas/module"), &["commit", "--quiet", "--allow-empty", "-m", "y"]);
    world.commit("README", "x");
    let second = hash(&mut world, &repo);
    assert_ne!(first, second);
    std::os::unix::fs::symlink("m.py", repo.join("lambdas/a/link")).unwrap();
    world.commit("README", "y");
    let third = hash(&mut world, &repo);
    std::fs::remove_file(repo.join("lambdas/a/link")).unwrap();
    std::os::unix::fs::symlink("n.py", repo.join("lambdas/a/link")).unwrap();
    world.commit("README", "z");
    assert_ne!(hash(&mut world, &repo), third);
}

#[test]
fn a_filter_that_names_a_submodule_or_leads_into_one_takes_its_commit_in() {
    let mut world = World::new(At::Folder, "").unwrap();
    let (repo, other) = (world.path("repo"), world.path("repo").display().to_string());
    git(&repo, &["submodule", "--quiet", "add", &format!("file://{other}"), "shared"]);
    world.commit("README", "x");
    let hashes = |world: &mut World| {
        ["lambdas/** shared/**", "lambdas/** shared/src/**", "lambdas/** shared/", "lambdas/** shared"].map(
            |filter| {
                world.set("CODE_HASH_FIND_FILTER", filter);
                hash(world, &repo)
            },
        )
    };
    let before = hashes(&mut world);
    git(&repo.join("shared"), &["commit", "--quiet", "--allow-empty", "-m", "y"]);
    world.commit("README", "y");
    let after = hashes(&mut world);
    for (before, after) in before.iter().zip(&after) {
        assert_ne!(before, after);
    }
}

#[test]
fn files_that_differ_are_told_and_the_commit_is_hashed() {
    let mut world = World::new(At::Folder, "").unwrap();
    let repo = world.path("repo");
    let expected = hash(&mut world, &repo);
    let told =
        |done: &Done| done.lines.iter().any(|line| line.contains("these files differ from the commit"));
    std::fs::write(repo.join("README"), "not of the code").unwrap();
    assert!(!told(&world.check(&["--strict"])));
    std::fs::write(repo.join("lambdas/a/m.py"), "dirty\n").unwrap();
    let done = world.check(&[]);
    assert!(told(&done) && done.lines.iter().any(|line| line.contains("lambdas/a/m.py")), "{done:#?}");
    assert_eq!(world.flag(".code-hash"), Some(expected), "a dirty work tree has no hash of its own");
    world.check(&["--strict"]).ended(1).has("these files differ from the commit");
    git(&repo, &["add", "lambdas"]);
    world.check(&["--strict"]).ended(1).has("these files differ from the commit");
}
