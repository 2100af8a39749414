//! What the payloads and the APIs tell of commits and of refs that move, asked of git.

use crate::repo::TestRepo;

/// The id of a ref that is not there, as payloads have it.
pub const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// Forges list up to 2048 commits in a payload; some are enough here.
const COMMITS_MAX: usize = 20;

/// A commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Commit {
    pub(super) id: String,
    pub(super) tree: String,
    pub(super) parents: Vec<String>,
    pub(super) author: (String, String),
    pub(super) committer: (String, String),
    /// When it was committed: RFC 3339.
    pub(super) time: String,
    pub(super) message: String,
}

/// The files that a commit changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Files {
    pub(super) added: Vec<String>,
    pub(super) removed: Vec<String>,
    pub(super) modified: Vec<String>,
}

impl Commit {
    /// The commit that a name stands for, through tags. `None` where there is none.
    pub(super) fn find(repo: &TestRepo, name: &str) -> Option<Commit> {
        let id = repo.resolve(&format!("{name}^{{commit}}"))?;
        let format = "--format=%H%n%T%n%P%n%an%n%ae%n%cn%n%ce%n%cI%n%B";
        let text = String::from_utf8_lossy(&repo.git(["log", "-1", format, &id])).into_owned();
        let mut lines = text.splitn(9, '\n').map(str::to_owned);
        let mut next = || lines.next().unwrap_or_default();
        let (id, tree, parents) = (next(), next(), next());
        Some(Commit {
            id,
            tree,
            parents: parents.split_whitespace().map(str::to_owned).collect(),
            author: (next(), next()),
            committer: (next(), next()),
            time: next(),
            message: next().trim_end().to_owned(),
        })
    }

    pub(super) fn title(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }
}

/// What stands in the root of a commit, or of a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RootEntry {
    /// Six digits.
    pub(super) mode: String,
    /// `blob`, `tree` or `commit`.
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) name: String,
}

/// The entries of a commit's root, in git's order.
pub(super) fn root(repo: &TestRepo, commit: &str) -> Vec<RootEntry> {
    let listed = String::from_utf8_lossy(&repo.git(["ls-tree", "-z", commit])).into_owned();
    let entry = |line: &str| {
        let (head, name) = line.split_once('\t')?;
        let mut words = head.split(' ').map(str::to_owned);
        let (mode, kind, id) = (words.next()?, words.next()?, words.next()?);
        Some(RootEntry { mode, kind, id, name: name.to_owned() })
    };
    listed.split('\0').filter_map(entry).collect()
}

impl Files {
    pub(super) fn of(repo: &TestRepo, commit: &str) -> Files {
        let output = repo.git([
            "diff-tree",
            "--root",
            "-r",
            "--no-commit-id",
            "--name-status",
            "-z",
            "--no-renames",
            commit,
        ]);
        let mut files = Files::default();
        let mut words = output.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        while let (Some(status), Some(path)) = (words.next(), words.next()) {
            let path = String::from_utf8_lossy(path).into_owned();
            match status {
                b"A" => files.added.push(path),
                b"D" => files.removed.push(path),
                _ => files.modified.push(path),
            }
        }
        files
    }
}

/// A ref that is about to move, and what is known of that.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) git_ref: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
    /// The new commits of a branch, oldest first. For a new branch, those that no other ref leads to.
    pub(super) commits: Vec<(Commit, Files)>,
    /// The commit it leads to then, through tags.
    pub(super) head: Option<(Commit, Files)>,
    /// The commit it leads to before.
    pub(super) old_head: Option<Commit>,
    /// Whether commits are left behind.
    pub(super) is_forced: bool,
}

impl Change {
    /// Must be asked before the ref moves: only then can be told which commits are new.
    pub(super) fn look(
        repo: &TestRepo,
        git_ref: &str,
        before: Option<String>,
        after: Option<&str>,
    ) -> Change {
        let with_files = |commit: Commit| {
            let files = Files::of(repo, &commit.id);
            (commit, files)
        };
        let commits = match after {
            Some(after) if !git_ref.starts_with("refs/tags/") => new_commits(repo, before.as_deref(), after),
            _ => Vec::new(),
        };
        let is_forced = match (&before, after) {
            (Some(before), Some(after)) => {
                !repo.git(["rev-list", "--max-count=1", before, "--not", after]).is_empty()
            }
            _ => false,
        };
        Change {
            git_ref: git_ref.to_owned(),
            commits: commits.iter().filter_map(|id| Commit::find(repo, id)).map(with_files).collect(),
            head: after.and_then(|after| Commit::find(repo, after)).map(with_files),
            old_head: before.as_deref().and_then(|before| Commit::find(repo, before)),
            is_forced,
            before,
            after: after.map(str::to_owned),
        }
    }

    pub(super) fn is_tag(&self) -> bool {
        self.git_ref.starts_with("refs/tags/")
    }

    pub(super) fn short_ref(&self) -> &str {
        short_ref(&self.git_ref)
    }

    pub(super) fn before_or_zeros(&self) -> &str {
        self.before.as_deref().unwrap_or(NO_COMMIT)
    }

    pub(super) fn after_or_zeros(&self) -> &str {
        self.after.as_deref().unwrap_or(NO_COMMIT)
    }

    /// The commits as payloads list them, `max` of the newest, oldest first.
    pub(super) fn newest(&self, max: usize) -> &[(Commit, Files)] {
        &self.commits[self.commits.len().saturating_sub(max)..]
    }
}

pub(super) fn short_ref(git_ref: &str) -> &str {
    git_ref.strip_prefix("refs/heads/").or_else(|| git_ref.strip_prefix("refs/tags/")).unwrap_or(git_ref)
}

fn new_commits(repo: &TestRepo, before: Option<&str>, after: &str) -> Vec<String> {
    let max = format!("--max-count={COMMITS_MAX}");
    let not = before.unwrap_or("--all");
    let list = repo.git(["rev-list", "--reverse", &max, after, "--not", not]);
    String::from_utf8_lossy(&list).lines().map(str::to_owned).collect()
}

/// A ref as the APIs list it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RefLine {
    pub(super) name: String,
    /// What the ref itself points to.
    pub(super) object: String,
    /// `commit`, `tag` …
    pub(super) kind: String,
    /// The commit behind it, through tags.
    pub(super) commit: String,
}

/// The refs below a prefix such as `refs/heads/`, by name.
pub(super) fn refs(repo: &TestRepo, prefix: &str) -> Vec<RefLine> {
    let format = "--format=%(refname) %(objectname) %(objecttype) %(*objectname)";
    let output = repo.git(["for-each-ref", format, prefix]);
    let line = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        let mut next = || words.next().unwrap_or_default();
        let (name, object, kind, peeled) = (next(), next(), next(), next());
        let commit = if peeled.is_empty() { object.clone() } else { peeled };
        RefLine { name, object, kind, commit }
    };
    String::from_utf8_lossy(&output).lines().map(line).collect()
}
