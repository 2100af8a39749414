//! How a partial mirror becomes a full one: where it is, and only once that is proven.
//!
//! The history is fetched again beside what is here, without a filter and as if nothing were here. Nothing is removed
//! before that and nothing after it: where the remote cannot be reached, the mirror stays what it was.
//!
//! A server's word that it does not filter proves nothing: it may filter all the same. So git walks all that the fetched
//! commit leads to, once.
//!
//! What is in the history of that commit is whole too. Other commits that were pinned may lack old contents, and the
//! remote may have lost them. They are *held*: their objects stay, a note says that they are here, and no ref does,
//! since git takes all that a ref leads to for whole, and says so to servers. Who wants a commit's files alone still
//! finds them; who wants the history fetches it, to what is whole.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Seek as _, Write as _};
use std::path::Path;

use gristmill_model::{CommitId, ObjectId};

use crate::error::GitError;
use crate::fetch::{Fetch, pin_name};
use crate::mirror::{Fetched, Mirror, Reachability};
use crate::partial::MirrorKind;
use crate::program::Call;
use crate::repair;

/// Lists commits that are held, one a line. Git does not know the file.
const HELD: &str = "held";

/// How long the list of pins may be, in bytes: half a million of them.
const PINS_BYTES_MAX: usize = 64 << 20;

/// Whether a commit is here that no ref leads to, perhaps without the contents of its history.
fn is_held(repo: &Path, id: ObjectId) -> Result<bool, GitError> {
    let id = id.to_string();
    Ok(held(repo)?.lines().any(|line| line == id))
}

fn held(repo: &Path) -> Result<String, GitError> {
    let path = repo.join(HELD);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|error| GitError::io("read", &path, error)),
    }
}

fn hold(repo: &Path, ids: &[&str]) -> Result<(), GitError> {
    let mut text = held(repo)?;
    text.extend(ids.iter().map(|id| format!("{id}\n")));
    let (path, new) = (repo.join(HELD), repo.join("held.lock"));
    fs::write(&new, text).map_err(|error| GitError::io("write", &new, error))?;
    fs::rename(&new, &path).map_err(|error| GitError::io("put in place", &path, error))
}

impl Mirror {
    /// The commit where it is here and pinned, with as much of its history as is needed.
    pub(crate) fn pinned(&self, commit: CommitId) -> Result<Option<Fetched>, GitError> {
        let is_enough = !self.needs_history || self.kind() == MirrorKind::Full;
        let is_here = || {
            let is_pinned = repair::read_ref(&self.repo, &pin_name(commit.0))? == Some(commit.0);
            Ok::<_, GitError>(is_pinned || (!self.needs_history && is_held(&self.repo, commit.0)?))
        };
        if !is_enough || !is_here()? {
            return Ok(None);
        }
        match self.objects()?.peel(commit.0) {
            Ok(commit) => Ok(Some(Fetched { commit, reachability: Reachability::NotAsked })),
            // A pin without its object: fetching puts that right, or finds the damage.
            Err(_) => Ok(None),
        }
    }
}

impl Fetch<'_> {
    /// Makes a full mirror of a partial one where all is here that `tip` leads to; whether it is. `tip` was just fetched
    /// without a filter.
    pub(crate) async fn become_full(&self, tip: CommitId) -> Result<bool, GitError> {
        if !self.is_whole(tip).await? {
            return Ok(false);
        }
        self.hold_others(tip).await?;
        repair::set_kind(&self.mirror.repo, MirrorKind::Full)?;
        Ok(true)
    }

    /// Whether nothing is missing of a commit's whole history.
    async fn is_whole(&self, commit: CommitId) -> Result<bool, GitError> {
        let call = self.call(&["rev-list", "--objects", "--quiet", &commit.to_string(), "--"]);
        match self.mirror.git.run_any("rev-list", &call, || true).await?.status.code() {
            Some(0) => Ok(true),
            _ => Ok(false),
        }
    }

    /// Takes the refs away that lead to what `tip` does not.
    async fn hold_others(&self, tip: CommitId) -> Result<(), GitError> {
        let no_merged = format!("--no-merged={tip}");
        let format = "--format=%(objectname) %(refname)";
        let mut list =
            self.call(&["for-each-ref", format, &no_merged, "refs/gristmill", "refs/gristmill-tip"]);
        list.stdout_bytes_max = PINS_BYTES_MAX;
        let listed = self.mirror.git.run("for-each-ref", list).await?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let refs: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once(' ')).collect();
        if refs.is_empty() {
            return Ok(());
        }
        let pins = refs.iter().filter(|(_, name)| name.starts_with("refs/gristmill/"));
        // First the note: whoever looks meanwhile finds the one or the other.
        hold(&self.mirror.repo, &pins.map(|(id, _)| *id).collect::<Vec<_>>())?;
        let input = || {
            let mut file = tempfile::tempfile_in(self.mirror.dir())?;
            file.write_all(
                refs.iter().map(|(id, name)| format!("delete {name} {id}\n")).collect::<String>().as_bytes(),
            )?;
            file.rewind()?;
            Ok(file)
        };
        let input =
            input().map_err(|error: io::Error| GitError::io("write a list in", self.mirror.dir(), error))?;
        let args = ["update-ref", "--no-deref", "--stdin"].map(OsString::from);
        let call = Call { args: args.into(), input: Some(input), ..self.call(&[]) };
        self.mirror.git.run("update-ref", call).await.map(|_| ())
    }
}
