//! What most tests begin with.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use gristmill_testkit::repo::Changes;
use gristmill_testkit::server::{Project, Server};
use gristmill_testkit::{FakeGithub, TestRepo};
use serde_json::Value;

/// The program.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_gristmill");
/// The project of most tests.
pub(crate) const PROJECT: &str = "acme/shop";
/// Its key for the branch `main`.
pub(crate) const KEY: &str = "acme/shop/main/acme_shop.zip";
/// Its branch.
pub(crate) const MAIN: &str = "refs/heads/main";
/// The secret of its hook.
pub(crate) const SECRET: &str = "a secret of sixteen or more bytes";

/// A server, and a forge with the repository of [`PROJECT`]. The server goes first.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) github: FakeGithub,
    pub(crate) repo: Arc<TestRepo>,
}

impl World {
    /// A running server with the project as `shape` leaves it.
    pub(crate) fn start(shape: impl FnOnce(Project) -> Project) -> World {
        let mut world = World::prepare(shape);
        world.server.start();
        world
    }

    /// The same, before the start.
    pub(crate) fn prepare(shape: impl FnOnce(Project) -> Project) -> World {
        let github = FakeGithub::start();
        let repo = github.create(PROJECT, SECRET);
        let mut server = Server::new(BINARY);
        server.set_projects([shape(project(&github, PROJECT))]);
        World { server, github, repo }
    }

    /// Commits to a branch, as the next thing that is pushed: no ref is moved.
    pub(crate) fn commit(&self, parent: Option<&str>, changes: &Changes) -> String {
        let parents: Vec<String> = parent.map(str::to_owned).into_iter().collect();
        self.repo.commit_unreferenced(&parents, changes)
    }

    /// A commit with one file of this content.
    pub(crate) fn text(&self, parent: Option<&str>, content: &str) -> String {
        self.commit(parent, &Changes::new().file("file.txt", content))
    }

    /// Pushes, and sends what the forge would send.
    pub(crate) fn push(&self, git_ref: &str, commit: &str) {
        let deliveries = self.github.push(PROJECT, git_ref, Some(commit));
        self.server.accept(PROJECT, &deliveries);
    }

    /// Pushes, and waits until all is done.
    pub(crate) fn push_and_wait(&self, git_ref: &str, commit: &str) {
        self.push(git_ref, commit);
        self.server.wait_until_idle();
    }

    /// The runs, newest first.
    pub(crate) fn runs(&self) -> Vec<Value> {
        list(&self.server, &["run", "list", "--limit", "1000"])
    }

    /// The run of a commit; the newest where there are several.
    pub(crate) fn run_of(&self, commit: &str) -> Value {
        let runs = self.runs();
        let found = runs.iter().find(|run| run["commit"] == commit);
        found.unwrap_or_else(|| panic!("no run of {commit} in {runs:#?}")).clone()
    }

    /// Asserts that a key leads to this commit's archive, byte for byte what git has.
    pub(crate) fn assert_public(&self, key: &str, commit: &str) {
        let store = self.server.store();
        let bytes = store.public(key).unwrap_or_else(|| panic!("nothing under {key}\n{}", self.server.log()));
        assert_equals_git(&self.repo, commit, &bytes);
        let newest = store.versions_of(key).pop().expect("a version");
        assert_eq!((newest.commit.as_str(), newest.state.as_str()), (commit, "published"), "{key}");
        assert_eq!(store.blob(&newest.digest), bytes, "{key} is the blob that the database names");
    }

    /// Asserts that a commit has its archive for a key, wherever the key leads.
    pub(crate) fn assert_archived(&self, key: &str, commit: &str) {
        assert_equals_git(&self.repo, commit, &self.server.store().artifact(key, commit));
    }
}

/// A project whose repository the forge holds.
pub(crate) fn project(github: &FakeGithub, name: &str) -> Project {
    Project::new(name, &github.clone_url(name), SECRET)
}

/// A listing of the program.
pub(crate) fn list(server: &Server, args: &[&str]) -> Vec<Value> {
    server.cli_json(args).as_array().expect("a list").clone()
}

/// Names, modes and bytes as git has them.
pub(crate) fn assert_equals_git(repo: &TestRepo, commit: &str, archive: &[u8]) -> usize {
    let compared = gristmill::check::against_git(repo.path(), commit, archive);
    compared.unwrap_or_else(|error| panic!("the archive of {commit}: {error:#}"))
}

/// Runs a Python program with arguments; its output.
pub(crate) fn python(program: &str, args: &[&Path]) -> String {
    let output = Command::new("python3").args(["-c", program]).args(args).output().expect("python3");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "python3: {error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Makes a program. Another process writes it: this one starts programs in other threads, which for a moment hold
/// whatever is open here, and a program that somebody has open for writing cannot be started.
pub(crate) fn script(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).expect("written");
    let status = Command::new("install").args(["-m", "755"]).arg(&draft).arg(path).status();
    assert!(status.expect("install starts").success());
    std::fs::remove_file(draft).expect("removed");
}
