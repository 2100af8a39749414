//! Partial mirrors: all commits and trees, and of the blobs only those of commits that were asked for.
//!
//! A history may have tens of gigabytes of blobs that no commit shows any more. Git leaves them out with
//! `--filter=blob:none`, and would bring what it misses by itself, one request after another, in the middle of a read.
//! Nothing is read like that here:
//!
//! * [`Mirror::fetch`] brings commits and trees, so that whether one commit is in the history of another is answered as
//!   in a full mirror. [`Mirror::fill`] then walks the commit's tree, lists the blobs that are not here, and asks for
//!   exactly those by their ids. After that its archive is made as from a full mirror, without a word to anybody.
//! * Only the fetching git is told, on its command line, that what is missing is promised by a remote. For every other
//!   one the mirror has no remote at all, so there is nobody to ask (and `GIT_NO_LAZY_FETCH` is set besides).
//! * What git knows a partial clone by is a `.promisor` file beside each pack. Joining packs may lose it, so each fetch
//!   marks the packs anew, under the lock. That is true of all packs here: whatever one of them refers to, the remote has.
//!
//! A server that does not know filters sends the whole history, as to everybody: the mirror is a full one then, once git
//! has seen that nothing is missing. One that filters gives blobs out by their ids too, since protocol version 2 knows no other way; over version 0 it may refuse
//! (`uploadpack.allowAnySHA1InWant`), which is an error that says so.
//!
//! A full mirror also serves who wants a partial one, and stays full. A partial mirror does not serve who needs the
//! history; it becomes a full one with the next fetch ([`crate::whole`]).

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::{self, Seek as _, Write as _};

use gristmill_model::{CommitId, ObjectId, TreeId};
use tokio::time::Instant;

use crate::error::{GitError, ObjectError};
use crate::fetch::{FETCH, NOT_ALL, pin_name};
use crate::mirror::{FetchLimits, Mirror};
use crate::objects::Objects;
use crate::program::Call;
use crate::remote::Remote;
use crate::repair;
use crate::url::RemoteUrl;
use crate::walk::{Entry, WalkLimits};

/// How many blobs are asked for at once. Each request makes a pack, which is kept if a later one fails; a server that
/// is asked for all of a large tree at once may take longer than anybody waits.
const ASKED_MAX: usize = 20_000;

/// Keeps out what no commit that was asked for has.
pub(crate) const FILTER: &str = "--filter=blob:none";

/// What the remote is called where git has to know it by a name.
pub(crate) const REMOTE: &str = "gristmill";

/// What git says of a server without filters.
pub(crate) const NO_FILTER: &[u8] = b"filtering not recognized by server";

/// How much of a repository's history a mirror holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum MirrorKind {
    /// All of it.
    #[default]
    Full,
    /// All commits and trees, and the blobs that [`Mirror::fill`] brought.
    Partial,
}

/// What a git is told that fetches into a partial mirror, before its subcommand.
pub(crate) fn settings(url: &RemoteUrl) -> Vec<OsString> {
    let setting = |key: &str, value: OsString| {
        let mut setting = OsString::from(format!("remote.{REMOTE}.{key}="));
        setting.push(value);
        [OsString::from("-c"), setting]
    };
    [("promisor", "true".into()), ("partialclonefilter", "blob:none".into()), ("url", url.argument())]
        .into_iter()
        .flat_map(|(key, value)| setting(key, value))
        .collect()
}

impl Objects {
    /// The blobs of a tree that are not in the mirror, each once, in the order of their paths.
    fn missing_blobs(&self, tree: TreeId) -> Result<Vec<ObjectId>, ObjectError> {
        let (mut missing, mut known) = (Vec::new(), HashSet::new());
        self.walk(tree, WalkLimits::default(), |_, entry| {
            if let Entry::File { blob, .. } | Entry::Symlink { blob } = entry
                && known.insert(blob.0)
                && !self.has(blob.0)?
            {
                missing.push(blob.0);
            }
            Ok::<(), ObjectError>(())
        })?;
        Ok(missing)
    }
}

impl Mirror {
    /// The same mirror for somebody who wants at least this much of the history. See [`MirrorKind`].
    #[must_use]
    pub fn of_kind(mut self, kind: MirrorKind) -> Mirror {
        (self.kind, self.needs_history) = (kind, kind == MirrorKind::Full);
        self
    }

    /// The same mirror for somebody who takes single commits and [fills](Mirror::fill) them, be it full or partial. A new
    /// one begins as it would have.
    #[must_use]
    pub fn without_history(mut self) -> Mirror {
        self.needs_history = false;
        self
    }

    /// What it is, which may be more than was wanted.
    pub fn kind(&self) -> MirrorKind {
        repair::kind(&self.repo)
    }

    /// Brings what the mirror lacks of the files of `commit`, which must be in it; how many contents. Asks nobody where
    /// nothing is missing. A full one lacks something where it is damaged, or of a commit that the remote has lost.
    ///
    /// # Errors
    ///
    /// [`GitError::ContentUnavailable`] where the remote does not give one out, [`GitError::Damaged`] where a full mirror
    /// should have had it, [`GitError::TooLarge`], [`GitError::Object`] where a tree is missing or malformed,
    /// [`GitError::PartialVersion`], and whatever keeps the remote from answering.
    pub async fn fill(
        &self,
        remote: &Remote,
        commit: CommitId,
        limits: FetchLimits,
    ) -> Result<usize, GitError> {
        self.git.check(remote)?;
        if self.missing(commit).await?.is_empty() {
            return Ok(0);
        }
        let lock = self.lock(limits.lock_wait_max).await?;
        let end = Instant::now() + limits.time_max;
        repair::tidy(&self.repo)?;
        // Only now: while we waited it may have become full, and is not to be marked again.
        let kind = self.kind();
        if kind == MirrorKind::Partial {
            self.git.check_partial().await?;
            repair::promise(&self.repo)?;
        }
        // Somebody else may have brought them while we waited.
        let missing = self.missing(commit).await?;
        for asked in missing.chunks(ASKED_MAX) {
            let call = Call { lock: Some(&lock), ..self.ask(kind, remote, commit, asked, end)? };
            let bytes_max = limits.mirror_bytes_max;
            let within = || repair::pack_bytes(&self.repo) <= bytes_max;
            match self.git.run_watched("fetch", call, within).await {
                Ok(_) => {}
                Err(GitError::TooLarge { what, .. }) => {
                    return Err(GitError::TooLarge { what, max: bytes_max });
                }
                Err(error) => return Err(self.or_damaged(kind, refused(error, remote, commit))),
            }
        }
        match self.missing(commit).await?.first() {
            None => Ok(missing.len()),
            Some(id) => Err(self.or_damaged(kind, unavailable(remote, commit, format!("it sent no {id}")))),
        }
    }

    /// What a full mirror lacks of a commit that it has by a ref, it had.
    fn or_damaged(&self, kind: MirrorKind, error: GitError) -> GitError {
        match error {
            GitError::ContentUnavailable { commit, detail, .. }
                if kind == MirrorKind::Full
                    && matches!(repair::read_ref(&self.repo, &pin_name(commit.0)), Ok(Some(_))) =>
            {
                let detail =
                    format!("contents of {commit} are missing, and cannot be had by their ids: {detail}");
                GitError::Damaged { dir: self.dir().to_owned(), detail }
            }
            error => error,
        }
    }

    async fn missing(&self, commit: CommitId) -> Result<Vec<ObjectId>, GitError> {
        let objects = self.objects()?;
        let list = move || objects.missing_blobs(objects.commit(commit)?.tree);
        let listed = tokio::task::spawn_blocking(list).await;
        Ok(listed.map_err(|error| GitError::io("list blobs of", self.dir(), io::Error::other(error)))??)
    }

    /// One request. The ids are git's standard input, so this git alone does not hold the lock; where its server is
    /// killed, the pack it may still add is whole or goes with the next [`repair::tidy`].
    fn ask<'a>(
        &'a self,
        kind: MirrorKind,
        remote: &'a Remote,
        commit: CommitId,
        asked: &[ObjectId],
        end: Instant,
    ) -> Result<Call<'a>, GitError> {
        let list = || {
            let mut file = tempfile::tempfile_in(self.dir())?;
            file.write_all(asked.iter().map(|id| format!("{id}\n")).collect::<String>().as_bytes())?;
            file.rewind()?;
            Ok(file)
        };
        let list = list().map_err(|error: io::Error| GitError::io("write a list in", self.dir(), error))?;
        let mut args = match kind {
            MirrorKind::Partial => settings(&remote.url),
            MirrorKind::Full => Vec::new(),
        };
        // Nothing is said of what is here: a server that hears of a commit takes its blobs to be here too.
        args.extend(["-c", "fetch.negotiationAlgorithm=noop"].map(OsString::from));
        args.extend(FETCH.map(OsString::from));
        match kind {
            MirrorKind::Partial => args.extend([FILTER, "--stdin", "--", REMOTE].map(OsString::from)),
            MirrorKind::Full => args.extend(["--stdin".into(), "--".into(), remote.url.argument()]),
        }
        let time_max = end.saturating_duration_since(Instant::now());
        Ok(Call {
            mirror: Some(&self.repo),
            remote: Some(remote),
            input: Some(list),
            commit: Some(commit),
            ..Call::new(args, time_max, 64 * 1024)
        })
    }

    /// Makes the mirror what it has to be before the first fetch of one kind. Called with the lock held.
    pub(crate) async fn take_kind(&self) -> Result<(), GitError> {
        let (found, begins_as) = (self.kind(), self.kind);
        if found != begins_as && !repair::was_fetched(&self.repo)? {
            repair::set_kind(&self.repo, begins_as)?;
        }
        match self.kind() {
            MirrorKind::Partial => self.git.check_partial().await,
            MirrorKind::Full => Ok(()),
        }
    }
}

/// What the failure of a request for blobs means.
fn refused(error: GitError, remote: &Remote, commit: CommitId) -> GitError {
    match error {
        GitError::CommitUnavailable { detail, .. } => unavailable(remote, commit, detail),
        GitError::Damaged { detail, .. } if detail.contains(NOT_ALL) => unavailable(remote, commit, detail),
        other => other,
    }
}

fn unavailable(remote: &Remote, commit: CommitId, detail: String) -> GitError {
    GitError::ContentUnavailable { remote: remote.url.to_string(), commit, detail }
}
