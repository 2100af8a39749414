//! What the tests of this crate share.
#![expect(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod history;
pub mod sshd;

use std::path::Path;
use std::time::Duration;

use gristmill_git::{
    Credentials, FetchLimits, Git, GitOptions, ListLimits, Mirror, Protocol, Remote, Wanted,
};
use gristmill_model::{CommitId, GitRef};

/// A folder with a [`Git`] in it.
pub struct Setup {
    pub folder: tempfile::TempDir,
    pub git: Git,
}

impl Setup {
    pub fn new() -> Setup {
        Setup::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut GitOptions)) -> Setup {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = GitOptions::new(folder.path().join("git"));
        change(&mut options);
        Setup { git: Git::new(options).expect("a private folder"), folder }
    }

    pub fn with_protocols(protocols: &[Protocol]) -> Setup {
        Setup::with(|options| options.protocols = protocols.to_vec())
    }

    pub async fn mirror(&self) -> Mirror {
        Mirror::open_or_create(&self.git, self.mirror_dir()).await.expect("a mirror")
    }

    pub fn mirror_dir(&self) -> std::path::PathBuf {
        self.folder.path().join("mirror")
    }

    pub fn repo_dir(&self) -> std::path::PathBuf {
        self.mirror_dir().join("repo.git")
    }
}

pub fn remote(url: &str) -> Remote {
    Remote::open(url.parse().expect("a valid address"))
}

pub fn remote_with_token(url: &str, token: &str) -> Remote {
    let credentials = Credentials::new("x-access-token", token).expect("a valid token");
    Remote { credentials: Some(credentials), ..remote(url) }
}

pub fn commit(id: &str) -> CommitId {
    id.parse().expect("an object id")
}

pub fn git_ref(name: &str) -> GitRef {
    name.parse().expect("a ref name")
}

pub fn wanted(git_ref_name: &str, id: &str) -> Wanted {
    Wanted { git_ref: Some(git_ref(git_ref_name)), commit: commit(id) }
}

pub fn by_id(id: &str) -> Wanted {
    Wanted { git_ref: None, commit: commit(id) }
}

pub fn list_limits() -> ListLimits {
    ListLimits { time_max: Duration::from_secs(30), ..ListLimits::default() }
}

pub fn limits() -> FetchLimits {
    FetchLimits {
        time_max: Duration::from_secs(30),
        lock_wait_max: Duration::from_secs(10),
        ..FetchLimits::default()
    }
}

/// Makes a program. Another process writes it: this one starts programs in other threads, which for a moment hold
/// whatever is open here, and a program that somebody has open for writing cannot be started.
pub fn script(path: &Path, text: &str) -> std::path::PathBuf {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).expect("written");
    let status = std::process::Command::new("install").args(["-m", "755"]).arg(&draft).arg(path).status();
    assert!(status.expect("install starts").success());
    std::fs::remove_file(draft).expect("removed");
    path.to_owned()
}

/// All files below a folder, and what they contain.
pub fn files_below(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if kind.is_file() => {
                    found.push((path.clone(), std::fs::read(path).unwrap_or_default()));
                }
                _ => {}
            }
        }
    }
    found
}
