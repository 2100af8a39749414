//! [`Mirror`]: a project's bare repository, which brings exact commits and keeps them.
//!
//! ```text
//! <dir>/lock        flock, held while anything is written
//! <dir>/repo.git/   the repository; refs/gristmill/<id> pins each commit that was asked for,
//!                   refs/gristmill-tip/<digest of the name> is where a remote's ref was last seen,
//!                   refs/gristmill-import/<id> stands in for a commit whose content came another way;
//!                   `held` lists commits without a pin, see `whole`; `generation` tells it from those before it
//! <dir>/lfs/        large files of git-lfs by their SHA-256
//! <dir>/used        when it was used last, where somebody notes that
//! <dir>/unjoined    when a burst's packs could not be joined last
//! <dir>/damaged/    the last repository that turned out broken, for a look at it
//! ```
//!
//! # With how much a mirror begins
//!
//! A full mirror begins with the whole history. That happens once in a project's life; each later fetch brings what is
//! new. Every server does it, and fast: a whole clone is copied from packs that it has.
//!
//! A partial one ([`MirrorKind`]) begins with all commits and trees and the contents of one commit's files, for
//! histories with more old contents than anybody wants to transfer and keep. Each new commit then costs a second request.
//!
//! `--depth=1` of the wanted commit was considered and not taken. It brings all that its archive needs, but a shallow
//! repository gives wrong answers to whether one commit is in the history of another, without an error, and
//! [`Reachability`] rests on that. Each later fetch would have to complete the history first, which is the same transfer
//! plus the tip's once more, and many servers compute packs for shallow clients from nothing. A second, shallow
//! repository beside the mirror would keep both answers right, at the price of that double transfer and of two places
//! where a commit may be.
//!
//! # Names
//!
//! The remote's refs are kept under digests of their names because names may collide as files and folders once
//! branches come and go (`a`, then `a/b`).

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use gristmill_model::{CommitId, GitRef, ObjectFormat};
use tokio::time::Instant;

use crate::error::{GitError, ObjectError};
use crate::fetch::Fetch;
use crate::lock::lock;
use crate::objects::Objects;
use crate::partial::MirrorKind;
use crate::program::{Call, Git};
use crate::refs::ListLimits;
use crate::remote::Remote;
use crate::repair;

/// The file whose age says when the mirror was used last.
const USED: &str = "used";

/// How long an answer of one bit about local history may take.
const ANCESTOR_TIME_MAX: Duration = Duration::from_secs(120);

/// How long opening a mirror waits for somebody who is just making or repairing it.
const OPEN_WAIT_MAX: Duration = Duration::from_secs(30);

/// A project's mirror. Cheap to clone; any number of processes may have the same one open.
#[derive(Clone, Debug)]
pub struct Mirror {
    pub(crate) git: Git,
    dir: PathBuf,
    pub(crate) repo: PathBuf,
    /// What a new one begins as.
    pub(crate) kind: MirrorKind,
    /// Whether whoever holds this needs more than the contents of single commits.
    pub(crate) needs_history: bool,
    /// Which repository this was opened with, or has made; see [`Mirror::rebuild`].
    generation: Arc<AtomicU64>,
}

/// What a fetch should bring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Where the commit was pushed to; fetched first because every server gives that out.
    pub git_ref: Option<GitRef>,
    /// The commit, or an annotated tag of it.
    pub commit: CommitId,
}

/// Bounds for a fetch.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// How long it may take once it has the mirror for itself.
    pub time_max: Duration,
    /// How long it waits for others that work on the mirror.
    pub lock_wait_max: Duration,
    /// How large the mirror's packs may become, in bytes. Looked at twice a second, so it is met roughly.
    pub mirror_bytes_max: u64,
}

impl Default for FetchLimits {
    /// Half an hour, after at most five minutes of waiting; 20 GiB.
    fn default() -> FetchLimits {
        FetchLimits {
            time_max: Duration::from_secs(30 * 60),
            lock_wait_max: Duration::from_secs(5 * 60),
            mirror_bytes_max: 20 << 30,
        }
    }
}

/// How a commit stands to the ref it was pushed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reachability {
    /// The remote's ref points at it.
    Tip,
    /// The remote's ref has moved on from it.
    Ancestor,
    /// The remote's ref has another history by now (a force-push).
    Unreachable,
    /// The remote does not have the ref any more.
    RefGone,
    /// The remote was not asked: no ref was given, or the commit was here already.
    NotAsked,
}

/// A commit that is in the mirror, and stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// The commit; for an annotated tag the one it leads to.
    pub commit: CommitId,
    /// How it stands to the ref.
    pub reachability: Reachability,
}

/// What [`Mirror::maintain`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Maintained {
    /// Packs before.
    pub packs_before: usize,
    /// Packs after; the same where nothing needed doing.
    pub packs_after: usize,
}

impl Mirror {
    /// Opens the mirror in `dir`, and makes it where there is none. One that is visibly broken is moved aside and
    /// made anew: everything in it can be fetched again.
    ///
    /// # Errors
    ///
    /// [`GitError::Locked`] where somebody else has been repairing it for half a minute; [`GitError::Io`].
    pub async fn open_or_create(git: &Git, dir: impl Into<PathBuf>) -> Result<Mirror, GitError> {
        let dir = dir.into();
        std::fs::create_dir_all(&dir).map_err(|error| GitError::io("make", &dir, error))?;
        let (git, repo, generation) = (git.clone(), dir.join("repo.git"), Arc::new(AtomicU64::new(0)));
        let mirror = Mirror { git, repo, dir, kind: MirrorKind::Full, needs_history: true, generation };
        if repair::looks_broken(&mirror.repo).is_some() {
            let _lock = mirror.lock(OPEN_WAIT_MAX).await?;
            // Somebody else may have made it while we waited.
            if let Some(why) = repair::looks_broken(&mirror.repo) {
                // Its first fetch makes it one of the format that is asked for.
                mirror.make_anew(why, repair::format(&mirror.repo))?;
            }
        }
        mirror.note_generation();
        Ok(mirror)
    }

    fn note_generation(&self) {
        self.generation.store(repair::generation(&self.repo), Ordering::Relaxed);
    }

    /// Moves the repository aside and makes an empty one, for a caller that found objects unreadable; whether it did.
    /// One that somebody else has put in its place since this was opened, or since this made one, stays: nobody has
    /// looked into that one yet.
    ///
    /// # Errors
    ///
    /// As [`Mirror::open_or_create`].
    pub async fn rebuild(&self) -> Result<bool, GitError> {
        let _lock = self.lock(OPEN_WAIT_MAX).await?;
        if repair::generation(&self.repo) != self.generation.load(Ordering::Relaxed) {
            tracing::info!(git.mirror = %self.dir.display(), "a mirror was made anew by somebody else, and stays");
            return Ok(false);
        }
        self.make_anew("its reader asked for a new one", repair::format(&self.repo))?;
        Ok(true)
    }

    fn make_anew(&self, why: &str, format: ObjectFormat) -> Result<(), GitError> {
        if self.repo.exists() {
            tracing::warn!(git.mirror = %self.dir.display(), why, "a mirror is damaged and is made anew");
        }
        self.replace(format, repair::kind(&self.repo))
    }

    /// Puts an empty repository in place of what is there. Called with the lock held.
    pub(crate) fn replace(&self, format: ObjectFormat, kind: MirrorKind) -> Result<(), GitError> {
        repair::make_anew(&self.dir, &self.repo, format, kind)?;
        self.note_generation();
        Ok(())
    }

    /// Makes the mirror one of `format` before a commit of that format is fetched. One that holds objects of the
    /// other format goes only where the remote shows that it has changed: a mistaken id takes no mirror along.
    async fn take_format(&self, remote: &Remote, format: ObjectFormat, end: Instant) -> Result<(), GitError> {
        let found = repair::format(&self.repo);
        if found == format {
            return Ok(());
        }
        if repair::count_packs(&self.repo)? > 0 {
            let limits = ListLimits::default();
            let time_max = limits.time_max.min(end.saturating_duration_since(Instant::now()));
            let refs = self.git.ls_remote(remote, ListLimits { time_max, ..limits }).await?;
            if refs.refs.values().all(|found| found.id.format() != format) {
                return Err(GitError::ObjectFormat { remote: remote.url.to_string() });
            }
            tracing::warn!(git.mirror = %self.dir.display(), ?format, "the remote names its objects by another hash now");
        }
        self.replace(format, self.kind)
    }

    pub(crate) async fn lock(&self, wait_max: Duration) -> Result<File, GitError> {
        lock(&self.dir.join("lock"), wait_max).await
    }

    /// Brings exactly this commit and pins it. Asks nobody where it is here and pinned already. In a partial mirror the
    /// contents of its files may be missing after that; [`Mirror::fill`] brings them.
    ///
    /// A mirror that turns out damaged on the way is made anew once.
    ///
    /// # Errors
    ///
    /// [`GitError::CommitUnavailable`] where the remote does not have it (any more),
    /// [`GitError::NotACommit`] for the id of something else, [`GitError::PartialVersion`], and whatever keeps the
    /// remote from answering.
    pub async fn fetch(
        &self,
        remote: &Remote,
        wanted: &Wanted,
        limits: FetchLimits,
    ) -> Result<Fetched, GitError> {
        self.git.check(remote)?;
        if self.kind == MirrorKind::Partial {
            self.git.check_partial().await?;
        }
        if let Some(fetched) = self.pinned(wanted.commit)? {
            return Ok(fetched);
        }
        let lock = self.lock(limits.lock_wait_max).await?;
        // Somebody else may have brought it while we waited.
        if let Some(fetched) = self.pinned(wanted.commit)? {
            return Ok(fetched);
        }
        let end = Instant::now() + limits.time_max;
        self.take_format(remote, wanted.commit.0.format(), end).await?;
        self.take_kind().await?;
        let fetch = Fetch { mirror: self, remote, wanted, limits, lock: &lock, end };
        let fetched = match fetch.run().await {
            Err(
                GitError::Damaged { detail, .. } | GitError::Object(ObjectError::Unreadable { detail, .. }),
            ) => {
                self.make_anew(&detail, wanted.commit.0.format())?;
                // Where its configuration was lost, so was what it is.
                self.take_kind().await?;
                fetch.run().await
            }
            other => other,
        }?;
        self.join_in_a_burst(&lock).await;
        Ok(fetched)
    }

    /// Whether `descendant` is `ancestor` or was built on it; both must be in the mirror.
    ///
    /// # Errors
    ///
    /// [`GitError::Damaged`] or [`GitError::Failed`] where either is missing.
    pub async fn is_ancestor(&self, ancestor: CommitId, descendant: CommitId) -> Result<bool, GitError> {
        if ancestor == descendant {
            return Ok(true);
        }
        let args = ["merge-base", "--is-ancestor", "--", &ancestor.to_string(), &descendant.to_string()];
        let call = self.call(&args, None, ANCESTOR_TIME_MAX);
        let finished = self.git.run_any("merge-base", &call, || true).await?;
        match finished.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(GitError::Damaged {
                dir: self.dir.clone(),
                detail: crate::process::detail(&finished.stderr, str::to_owned),
            }),
        }
    }

    /// A reader of the mirror's objects. Open one per piece of work: it holds the packs that it has seen.
    ///
    /// # Errors
    ///
    /// [`GitError::Io`] where the folder cannot be read.
    pub fn objects(&self) -> Result<Objects, GitError> {
        Objects::open(&self.git, &self.repo, repair::format(&self.repo))
    }

    pub(crate) fn call<'a>(&'a self, args: &[&str], lock: Option<&'a File>, time_max: Duration) -> Call<'a> {
        Call {
            mirror: Some(&self.repo),
            lock,
            ..Call::new(args.iter().map(OsString::from).collect(), time_max, 64 * 1024)
        }
    }

    /// What its packs have, in bytes.
    pub fn bytes(&self) -> u64 {
        repair::pack_bytes(&self.repo)
    }

    /// Notes that somebody uses it, for [`Mirror::remove_unused`].
    ///
    /// # Errors
    ///
    /// [`GitError::Io`].
    pub fn used(&self) -> Result<(), GitError> {
        let path = self.dir.join(USED);
        std::fs::write(&path, "").map_err(|error| GitError::io("write", &path, error))
    }

    /// Removes the mirror in `dir` where nobody has used it since `before`; whether it is gone. One of which nobody
    /// noted when it was used counts as used now.
    ///
    /// # Errors
    ///
    /// [`GitError::Locked`] at once where it is in use; [`GitError::Io`].
    pub async fn remove_unused(dir: &Path, before: SystemTime) -> Result<bool, GitError> {
        let _lock = lock(&dir.join("lock"), Duration::ZERO).await?;
        let path = dir.join(USED);
        let used = match std::fs::metadata(&path).and_then(|found| found.modified()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::write(&path, "").map_err(|error| GitError::io("write", &path, error))?;
                return Ok(false);
            }
            other => other.map_err(|error| GitError::io("read", &path, error))?,
        };
        if used >= before {
            return Ok(false);
        }
        // Whoever waits for the lock of a mirror that is gone finds no repository, and tries again with a new one.
        repair::remove_tree(dir).map_err(|error| GitError::io("remove", dir, error))?;
        Ok(true)
    }

    /// The folder that the mirror lives in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}
