//! One fetch: first by the ref, because every server gives that out, then by the commit's id.

use std::ffi::OsString;
use std::fs::File;

use gristmill_model::{CommitId, Digest, GitRef, ObjectId};
use tokio::time::Instant;

use crate::error::{GitError, ObjectError};
use crate::mirror::{FetchLimits, Fetched, Mirror, Reachability, Wanted};
use crate::partial::{self, MirrorKind};
use crate::program::Call;
use crate::remote::Remote;
use crate::repair;

/// The ref that keeps an object in the mirror.
pub(crate) fn pin_name(id: ObjectId) -> String {
    format!("refs/gristmill/{id}")
}

/// The subcommand and what holds for each fetch.
pub(crate) const FETCH: [&str; 7] = [
    "fetch",
    "--quiet",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-auto-maintenance",
    "--no-recurse-submodules",
    "--no-show-forced-updates",
];

/// What git says of a pack that lacks what it should lead to.
pub(crate) const NOT_ALL: &str = "did not send all necessary objects";

/// How a mirror is fetched into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// What is new, with all contents.
    Plain,
    /// What is new, without contents.
    Filtered,
    /// Everything, as if nothing were here: the history of a partial mirror for somebody who needs it.
    Again,
}

/// One fetch that holds the lock.
pub(crate) struct Fetch<'a> {
    pub(crate) mirror: &'a Mirror,
    pub(crate) remote: &'a Remote,
    pub(crate) wanted: &'a Wanted,
    pub(crate) limits: FetchLimits,
    pub(crate) lock: &'a File,
    pub(crate) end: Instant,
}

impl Fetch<'_> {
    /// Brings the commit, pins it, and says how it stands to the ref.
    pub(crate) async fn run(&self) -> Result<Fetched, GitError> {
        repair::tidy(&self.mirror.repo)?;
        if self.mirror.kind() == MirrorKind::Partial {
            repair::promise(&self.mirror.repo)?;
        }
        let tip = match &self.wanted.git_ref {
            Some(git_ref) => Some(self.fetch_ref(git_ref).await?),
            None => None,
        };
        let wanted = self.wanted.commit;
        // Only what the fetched ref leads to is known to be whole; an object left by a killed fetch is not.
        let reachability = match tip {
            None => Reachability::NotAsked,
            Some(None) => Reachability::RefGone,
            Some(Some(tip)) => self.reachability(tip).await?,
        };
        match reachability {
            Reachability::Tip | Reachability::Ancestor => self.pin(wanted.0).await?,
            // Asking for the commit itself writes its pin, once git has found it whole.
            _ => self.fetch_refspec(&wanted.to_string(), &pin_name(wanted.0), Some(wanted)).await?,
        }
        let commit = match self.mirror.objects()?.peel(wanted.0) {
            Ok(commit) => commit,
            Err(ObjectError::Kind { id, found, .. }) => {
                self.unpin(wanted.0).await?;
                return Err(GitError::NotACommit { id, kind: found });
            }
            Err(error) => return Err(error.into()),
        };
        if commit != wanted {
            self.pin(commit.0).await?;
        }
        Ok(Fetched { commit, reachability })
    }

    /// Fetches a ref and says what it points at; `None` where the remote does not have it.
    async fn fetch_ref(&self, git_ref: &GitRef) -> Result<Option<ObjectId>, GitError> {
        let name = Digest::of(git_ref.as_str().as_bytes()).to_hex();
        let local = format!("refs/gristmill-tip/{name}");
        match self.fetch_refspec(git_ref.as_str(), &local, None).await {
            Ok(()) => repair::read_ref(&self.mirror.repo, &local),
            Err(GitError::RefGone { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn fetch_refspec(&self, from: &str, local: &str, commit: Option<CommitId>) -> Result<(), GitError> {
        let repo = &self.mirror.repo;
        let way = self.way();
        let is_first = way == Way::Filtered && !repair::was_fetched(repo)?;
        let mut call = self.call(&[]);
        if way == Way::Filtered {
            call.args.extend(partial::settings(&self.remote.url));
        }
        call.args.extend(FETCH.map(OsString::from));
        match way {
            Way::Filtered => call.args.extend([partial::FILTER, "--", partial::REMOTE].map(OsString::from)),
            Way::Again => call.args.extend(["--refetch".into(), "--".into(), self.remote.url.argument()]),
            Way::Plain => call.args.extend(["--".into(), self.remote.url.argument()]),
        }
        call.args.push(format!("+{from}:{local}").into());
        call.remote = Some(self.remote);
        call.commit = commit;
        let bytes_max = self.limits.mirror_bytes_max;
        let within = || repair::pack_bytes(repo) <= bytes_max;
        match self.mirror.git.run_watched("fetch", call, within).await {
            Ok(_) if way == Way::Again => self.take_whole(local).await,
            Ok(finished) if is_first && said_no_filter(&finished.stderr) => self.believe(local).await,
            Ok(_) => Ok(()),
            Err(GitError::TooLarge { what, .. }) => Err(GitError::TooLarge { what, max: bytes_max }),
            // Of a server that leaves something out the mirror need not be taken for damaged.
            Err(GitError::Damaged { detail, .. }) if way == Way::Again && detail.contains(NOT_ALL) => {
                Err(self.left_out(detail))
            }
            Err(error) => Err(self.with_ref(error)),
        }
    }

    fn way(&self) -> Way {
        match (self.mirror.kind(), self.mirror.needs_history) {
            (MirrorKind::Full, _) => Way::Plain,
            (MirrorKind::Partial, false) => Way::Filtered,
            (MirrorKind::Partial, true) => Way::Again,
        }
    }

    /// The commit that a ref of ours leads to.
    fn leads_to(&self, local: &str) -> Result<Option<CommitId>, GitError> {
        let Some(id) = repair::read_ref(&self.mirror.repo, local)? else { return Ok(None) };
        Ok(self.mirror.objects()?.peel(id).ok())
    }

    /// After the history came anew.
    async fn take_whole(&self, local: &str) -> Result<(), GitError> {
        // A tag of a blob has no history; the commit itself is fetched next.
        let Some(tip) = self.leads_to(local)? else { return Ok(()) };
        if !self.become_full(tip).await? {
            return Err(self.left_out(format!("asked for all of {tip}, it left something out")));
        }
        tracing::info!(git.mirror = %self.mirror.dir().display(), "a partial mirror has become a full one");
        Ok(())
    }

    /// After a server said that it does not know filters, or somebody in its place.
    async fn believe(&self, local: &str) -> Result<(), GitError> {
        let Some(tip) = self.leads_to(local)? else { return Ok(()) };
        if self.become_full(tip).await? {
            tracing::warn!(remote = %self.remote.url, "the server does not know filters and sent the whole history; the mirror is a full one");
        } else {
            tracing::warn!(remote = %self.remote.url, "the server says that it does not know filters, and yet left something out; the mirror stays a partial one");
        }
        Ok(())
    }

    fn left_out(&self, detail: String) -> GitError {
        GitError::Protocol { remote: self.remote.url.to_string(), detail }
    }

    /// A ref that the remote does not have is told apart here, where its name is known.
    fn with_ref(&self, error: GitError) -> GitError {
        match (&error, &self.wanted.git_ref) {
            (GitError::Failed { detail, .. }, Some(git_ref))
                if detail.contains("couldn't find remote ref") =>
            {
                GitError::RefGone { remote: self.remote.url.to_string(), git_ref: git_ref.clone() }
            }
            _ => error,
        }
    }

    async fn reachability(&self, tip: ObjectId) -> Result<Reachability, GitError> {
        let objects = self.mirror.objects()?;
        let wanted = self.wanted.commit;
        if tip == wanted.0 {
            return Ok(Reachability::Tip);
        }
        let Ok(commit) = objects.peel(wanted.0) else { return Ok(Reachability::Unreachable) };
        // A tag of a blob has no history to be in.
        let Ok(tip) = objects.peel(tip) else { return Ok(Reachability::Unreachable) };
        // Where a tag object was asked for, its commit may be in the history although the tag is not.
        if commit == tip && commit == wanted {
            return Ok(Reachability::Tip);
        }
        let reachable = commit == wanted && self.mirror.is_ancestor(commit, tip).await?;
        Ok(if reachable { Reachability::Ancestor } else { Reachability::Unreachable })
    }

    async fn pin(&self, id: ObjectId) -> Result<(), GitError> {
        let call = self.call(&["update-ref", "--no-deref", "--", &pin_name(id), &id.to_string()]);
        self.mirror.git.run("update-ref", call).await.map(|_| ())
    }

    async fn unpin(&self, id: ObjectId) -> Result<(), GitError> {
        let call = self.call(&["update-ref", "--no-deref", "-d", "--", &pin_name(id)]);
        self.mirror.git.run("update-ref", call).await.map(|_| ())
    }

    pub(crate) fn call(&self, args: &[&str]) -> Call<'_> {
        self.mirror.call(args, Some(self.lock), self.end.saturating_duration_since(Instant::now()))
    }
}

/// Whether git's own words, not those that the server has for people, tell of a server without filters.
fn said_no_filter(stderr: &[u8]) -> bool {
    let ours = stderr.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"warning: "));
    ours.into_iter().any(|line| line.windows(partial::NO_FILTER.len()).any(|part| part == partial::NO_FILTER))
}
