//! [`TestRepo`]: real git repositories, made quickly and always the same.
//!
//! Commits go through `git fast-import`, one process each, however many files they have. Names, times and ids are
//! the same in each run. Everything panics with git's own words where something fails: these are fixtures.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use crate::text::TextSource;

/// When the first commit of each repository was made, in seconds since 1970. Each further one is a minute later.
pub const FIRST_COMMIT_S: u64 = 1_700_000_000;

/// Who made all commits.
pub const PERSON: &str = "Fixture <fixture@example.org>";

/// A bare repository in a folder of its own.
#[derive(Debug)]
pub struct TestRepo {
    path: PathBuf,
    commits: AtomicU64,
    /// Removed with the repository; `None` where somebody else owns the folder.
    _folder: Option<TempDir>,
}

/// Changes that a commit makes to the one before it.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// `git fast-import` commands.
    stream: Vec<u8>,
}

/// One line of `git ls-tree -r -t`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeLine {
    /// Six octal digits.
    pub mode: String,
    /// The object, in hexadecimal.
    pub id: String,
    /// The path as its bytes.
    pub path: Vec<u8>,
}

impl Changes {
    /// Nothing yet.
    pub fn new() -> Changes {
        Changes::default()
    }

    /// Writes a plain file.
    #[must_use]
    pub fn file(self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Changes {
        self.entry("100644", path.as_ref(), content.as_ref())
    }

    /// Writes an executable file.
    #[must_use]
    pub fn executable(self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Changes {
        self.entry("100755", path.as_ref(), content.as_ref())
    }

    /// Writes a symbolic link.
    #[must_use]
    pub fn symlink(self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Changes {
        self.entry("120000", path.as_ref(), target.as_ref())
    }

    /// Writes a submodule that is at `commit` (hexadecimal).
    #[must_use]
    pub fn submodule(mut self, path: impl AsRef<[u8]>, commit: &str) -> Changes {
        self.stream.extend_from_slice(format!("M 160000 {commit} ").as_bytes());
        self.path(path.as_ref());
        self
    }

    /// Removes a file or a folder.
    #[must_use]
    pub fn remove(mut self, path: impl AsRef<[u8]>) -> Changes {
        self.stream.extend_from_slice(b"D ");
        self.path(path.as_ref());
        self
    }

    /// Removes everything.
    #[must_use]
    pub fn remove_all(mut self) -> Changes {
        self.stream.extend_from_slice(b"deleteall\n");
        self
    }

    fn entry(mut self, mode: &str, path: &[u8], content: &[u8]) -> Changes {
        self.stream.extend_from_slice(format!("M {mode} inline ").as_bytes());
        self.path(path);
        self.stream.extend_from_slice(format!("data {}\n", content.len()).as_bytes());
        self.stream.extend_from_slice(content);
        self.stream.push(b'\n');
        self
    }

    /// A path in quotes, as fast-import takes any bytes, and the end of the line.
    fn path(&mut self, path: &[u8]) {
        self.stream.push(b'"');
        for byte in path {
            match byte {
                b'"' | b'\\' => self.stream.extend_from_slice(&[b'\\', *byte]),
                0x20..0x7f => self.stream.push(*byte),
                _ => self.stream.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            }
        }
        self.stream.extend_from_slice(b"\"\n");
    }
}

impl TestRepo {
    /// An empty bare repository whose `HEAD` is the branch `main`.
    pub fn new() -> TestRepo {
        TestRepo::with_format("sha1")
    }

    /// The same, with objects named by `sha1` or `sha256`.
    pub fn with_format(format: &str) -> TestRepo {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut repo = TestRepo::init(folder.path().join("repo.git"), format);
        repo._folder = Some(folder);
        repo
    }

    /// An empty bare repository at `path`, which stays when this is dropped.
    pub fn at(path: impl Into<PathBuf>) -> TestRepo {
        TestRepo::init(path.into(), "sha1")
    }

    fn init(path: PathBuf, format: &str) -> TestRepo {
        let format = format!("--object-format={format}");
        let mut command = git_command();
        command
            .args(["init", "--quiet", "--bare", "--template=", "--initial-branch=main", &format])
            .arg(&path);
        finish(command, &[]);
        TestRepo { path, commits: AtomicU64::new(0), _folder: None }
    }

    /// A repository with one commit on `main`: about `bytes` of text in `files` files, spread over folders as
    /// programs are. The same numbers give the same commit. Returns its id too.
    pub fn large(files: usize, bytes: usize, seed: u64) -> (TestRepo, String) {
        let repo = TestRepo::new();
        let mut text = TextSource::new(seed);
        let mut changes = Changes::new();
        for number in 0..files {
            let size = text.file_bytes(bytes / files.max(1));
            let path = text.path(number);
            changes = changes.file(path, text.file(size));
        }
        let commit = repo.commit("main", &changes);
        (repo, commit)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its `file://` address.
    pub fn url(&self) -> String {
        format!("file://{}", self.path.display())
    }

    /// Adds a commit to a branch, which is made where missing. Returns the commit's id.
    pub fn commit(&self, branch: &str, changes: &Changes) -> String {
        let parent = self.resolve(&format!("refs/heads/{branch}"));
        self.commit_to(&format!("refs/heads/{branch}"), parent.as_slice(), changes)
    }

    /// Points a branch at a new commit that was built on `parent` (or on nothing), whatever was there: what a
    /// force-push does. Returns the commit's id.
    pub fn commit_onto(&self, branch: &str, parent: Option<&str>, changes: &Changes) -> String {
        let parents: Vec<String> = parent.map(str::to_owned).into_iter().collect();
        self.commit_to(&format!("refs/heads/{branch}"), &parents, changes)
    }

    /// A commit with any number of parents that no ref leads to once this returns.
    pub fn commit_unreferenced(&self, parents: &[String], changes: &Changes) -> String {
        let commit = self.commit_to("refs/fixture/unreferenced", parents, changes);
        self.delete_ref("refs/fixture/unreferenced");
        commit
    }

    /// Many commits at once, without parents, each with one `file.txt` of these contents, that no ref leads to.
    pub fn texts_unreferenced(&self, contents: &[String]) -> Vec<String> {
        let git_ref = "refs/fixture/unreferenced";
        let mut stream = Vec::new();
        for content in contents {
            self.write_commit(&mut stream, git_ref, &[], &Changes::new().file("file.txt", content));
        }
        let made = self.fast_import(stream);
        self.delete_ref(git_ref);
        made.lines().map(str::to_owned).collect()
    }

    fn commit_to(&self, git_ref: &str, parents: &[String], changes: &Changes) -> String {
        let mut stream = Vec::new();
        self.write_commit(&mut stream, git_ref, parents, changes);
        self.fast_import(stream)
    }

    /// Adds a commit to a stream for fast-import, which answers with its id.
    fn write_commit(&self, stream: &mut Vec<u8>, git_ref: &str, parents: &[String], changes: &Changes) {
        let number = self.commits.fetch_add(1, Ordering::Relaxed);
        let message = format!("Change number {}", number + 1);
        let mut head = String::new();
        if parents.is_empty() {
            // Without this, fast-import goes on from where the ref is.
            let _ = write!(head, "reset {git_ref}\n\n");
        }
        let _ = write!(
            head,
            "commit {git_ref}\nmark :1\ncommitter {PERSON} {} +0000\ndata {}\n{message}\n",
            FIRST_COMMIT_S + 60 * number,
            message.len()
        );
        for (n, parent) in parents.iter().enumerate() {
            let _ = writeln!(head, "{} {parent}", if n == 0 { "from" } else { "merge" });
        }
        stream.extend_from_slice(head.as_bytes());
        stream.extend_from_slice(&changes.stream);
        stream.extend_from_slice(b"\nget-mark :1\n");
    }

    fn fast_import(&self, mut stream: Vec<u8>) -> String {
        stream.extend_from_slice(b"done\n");
        let mut command = self.git_command();
        // Speed counts, not the size: deltas are not searched for.
        command.args([
            "-c",
            "core.compression=1",
            "fast-import",
            "--quiet",
            "--force",
            "--done",
            "--depth=0",
        ]);
        text(finish(command, &stream))
    }

    /// Points a ref at an object.
    pub fn set_ref(&self, git_ref: &str, id: &str) {
        self.git(["update-ref", "--no-deref", git_ref, id]);
    }

    /// Removes a ref.
    pub fn delete_ref(&self, git_ref: &str) {
        self.git(["update-ref", "--no-deref", "-d", git_ref]);
    }

    /// Makes or moves a lightweight tag.
    pub fn tag(&self, name: &str, id: &str) {
        self.set_ref(&format!("refs/tags/{name}"), id);
    }

    /// Makes or moves an annotated tag of any object. Returns the tag object's id.
    pub fn annotated_tag(&self, name: &str, id: &str) -> String {
        self.git(["tag", "--force", "--annotate", "--message", &format!("The tag {name}"), name, id]);
        self.resolve(&format!("refs/tags/{name}")).expect("the tag was just made")
    }

    /// Makes `count` branches `many/0…` at `id`, all at once.
    pub fn many_branches(&self, count: usize, id: &str) {
        let mut input = String::new();
        for number in 0..count {
            let _ = writeln!(input, "create refs/heads/many/{number} {id}");
        }
        let mut command = self.git_command();
        command.args(["update-ref", "--stdin"]);
        finish(command, input.as_bytes());
    }

    /// Writes an object of any content, valid or not. Returns its id.
    pub fn raw_object(&self, kind: &str, content: &[u8]) -> String {
        let mut command = self.git_command();
        command.args(["hash-object", "-w", "--stdin", "--literally", "-t", kind]);
        text(finish(command, content))
    }

    /// What a name stands for, in hexadecimal.
    pub fn resolve(&self, name: &str) -> Option<String> {
        let mut command = self.git_command();
        command.args(["rev-parse", "--verify", "--quiet", "--end-of-options", name]).stdin(Stdio::null());
        let output = command.output().expect("git starts");
        output.status.success().then(|| text(output.stdout))
    }

    /// All that a commit contains, folders too, as `git ls-tree` tells it.
    pub fn ls_tree(&self, commit: &str) -> Vec<TreeLine> {
        let lines = self.git(["ls-tree", "-r", "-t", "-z", "--full-tree", commit]);
        lines.split(|byte| *byte == 0).filter(|line| !line.is_empty()).map(TreeLine::parse).collect()
    }

    /// A blob's bytes.
    pub fn blob(&self, id: &str) -> Vec<u8> {
        self.git(["cat-file", "blob", id])
    }

    /// Adds a commit to `branch` that adds a line to `count` of its files, chosen by `seed`.
    /// Returns the commit's id.
    pub fn change_some(&self, branch: &str, count: usize, seed: u64) -> String {
        let mut files = self.ls_tree(&format!("refs/heads/{branch}"));
        files.retain(|line| line.mode == "100644");
        let mut text = TextSource::new(seed);
        let mut changes = Changes::new();
        for _ in 0..count.min(files.len()) {
            let line = files.swap_remove(text.below(files.len()));
            let mut content = self.blob(&line.id);
            content.extend_from_slice(&text.file(40));
            changes = changes.file(line.path, content);
        }
        self.commit(branch, &changes)
    }

    /// Runs git in the repository and returns what it wrote.
    pub fn git<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Vec<u8> {
        let mut command = self.git_command();
        command.args(args);
        finish(command, &[])
    }

    fn git_command(&self) -> Command {
        let mut command = git_command();
        let time = format!("@{} +0000", FIRST_COMMIT_S + 60 * self.commits.load(Ordering::Relaxed));
        command.env("GIT_COMMITTER_DATE", &time).env("GIT_AUTHOR_DATE", &time).env("GIT_DIR", &self.path);
        command
    }
}

impl Default for TestRepo {
    fn default() -> TestRepo {
        TestRepo::new()
    }
}

impl TreeLine {
    /// `<mode> <kind> <id> TAB <path>`
    fn parse(line: &[u8]) -> TreeLine {
        let tab = line.iter().position(|byte| *byte == b'\t').expect("a tab before the path");
        let head = std::str::from_utf8(&line[..tab]).expect("ASCII before the path");
        let mut words = head.split(' ');
        let mode = words.next().expect("a mode").to_owned();
        let id = words.nth(1).expect("an id").to_owned();
        TreeLine { mode, id, path: line[tab + 1..].to_vec() }
    }
}

/// Git without anybody's configuration.
pub(crate) fn git_command() -> Command {
    let mut command = Command::new("git");
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "Fixture")))
        .envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, "fixture@example.org")));
    command
}

/// Runs a command with `input` and returns its output.
pub(crate) fn finish(mut command: Command, input: &[u8]) -> Vec<u8> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("git starts");
    let mut stdin = child.stdin.take().expect("piped above");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A broken pipe means that git failed, which is told below.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("git's output can be read")
    });
    assert!(
        output.status.success(),
        "{command:?} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// One line of output.
pub(crate) fn text(output: Vec<u8>) -> String {
    String::from_utf8(output).expect("git's answer is UTF-8").trim_end().to_owned()
}
