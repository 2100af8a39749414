//! Partial mirrors, and a repository with contents that no commit shows any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use gristmill_git::{Entry, GitError, Mirror, MirrorKind, ObjectError, Remote, WalkLimits};
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;

use super::{Setup, commit, limits, wanted};

pub const MAIN: &str = "refs/heads/main";

/// How large each version of the file is that changes with each commit. No two compress into one another.
pub const VERSION_BYTES: usize = 20_000;

/// Bytes without any order, the same for the same seed.
pub fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..VERSION_BYTES).map(step).collect()
}

/// Twenty commits that each replace one file; the ids.
pub fn history(repo: &TestRepo) -> Vec<String> {
    repo.git(["config", "uploadpack.allowFilter", "true"]);
    (0..20)
        .map(|number| {
            let changes = Changes::new().file("big", noise(number)).file("d/same", "same");
            repo.commit("main", &changes.file("d/number", format!("{}", number / 10)).symlink("l", "d/same"))
        })
        .collect()
}

pub async fn mirror(setup: &Setup, kind: MirrorKind) -> Mirror {
    setup.mirror().await.of_kind(kind)
}

pub async fn bring(mirror: &Mirror, remote: &Remote, id: &str) -> Result<usize, GitError> {
    mirror.fetch(remote, &wanted(MAIN, id), limits()).await?;
    mirror.fill(remote, commit(id), limits()).await
}

/// The ids of all objects of one kind that a repository has.
pub fn objects(repo: &Path, kind: &str) -> BTreeSet<String> {
    let output = Command::new("git")
        .env_clear()
        .envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/nonexistent")])
        .arg(format!("--git-dir={}", repo.display()))
        .args(["cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)"])
        .output()
        .expect("git starts");
    let text = String::from_utf8(output.stdout).expect("ASCII");
    text.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' ')).map(str::to_owned).collect()
}

/// The blobs of a commit, as git lists them.
pub fn blobs_of(repo: &TestRepo, id: &str) -> BTreeSet<String> {
    let lines = repo.ls_tree(id).into_iter();
    lines.filter(|line| line.mode.starts_with('1')).map(|line| line.id).collect()
}

/// Every path of a commit with what it holds.
pub fn contents(mirror: &Mirror, id: &str) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, ObjectError> {
    let objects = mirror.objects().expect("a reader");
    let mut found = BTreeMap::new();
    let tree = objects.commit(commit(id))?.tree;
    objects.walk(tree, WalkLimits::default(), |path, entry| {
        let mut content = Vec::new();
        if let Entry::File { blob, .. } | Entry::Symlink { blob } = entry {
            objects.blob(blob, &mut content)?;
        }
        found.insert(path.to_owned(), content);
        Ok::<(), ObjectError>(())
    })?;
    Ok(found)
}
