//! What can go wrong between us and a repository, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gristmill_model::{CommitId, GitRef, ObjectId};

use crate::protocol::Protocol;
use crate::url_error::UrlError;
use crate::version::{PARTIAL_VERSION_MIN, VERSION_MIN, Version};

/// A git command that did not do what it was asked for. [`GitError::is_transient`] says whether to try again.
///
/// `remote` is an address without secrets; `detail` is the end of what git wrote, without control characters
/// and tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GitError {
    /// The address was refused before git saw it.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The configuration does not allow this transport.
    #[error("{protocol} is not allowed for {remote}; {hint}")]
    NotAllowed {
        /// The transport.
        protocol: Protocol,
        /// The address.
        remote: String,
        /// What to do.
        hint: &'static str,
    },
    /// The network or the remote's server failed.
    #[error("{remote} could not be reached: {detail}")]
    Unreachable {
        /// The address.
        remote: String,
        /// What git said.
        detail: String,
    },
    /// The remote's certificate is not one that this machine trusts.
    #[error("the certificate of {remote} is not trusted here; install its authority's certificate: {detail}")]
    Certificate {
        /// The address.
        remote: String,
        /// What git said.
        detail: String,
    },
    /// The remote wants a token, or refused the one it got.
    #[error(
        "{remote} did not let us in; check that its token or deploy key is set, valid and may read this repository: {detail}"
    )]
    Auth {
        /// The address.
        remote: String,
        /// What git said.
        detail: String,
    },
    /// An ssh address without a key.
    #[error(
        "{remote} is reached by ssh, which needs a key; configure one, and add its public line to the forge"
    )]
    NoKey {
        /// The address.
        remote: String,
    },
    /// The server is not the one that is pinned, or none is pinned.
    #[error(
        "{remote} showed the ssh host key {fingerprint}, but {}; compare it with what the server's owner publishes, and only where it is the same put its line (of `ssh-keyscan`) among the host keys of the configuration",
        if *.changed { "another one is pinned: the server has a new key, or somebody stands between" } else { "none is pinned for that server" }
    )]
    HostKey {
        /// The address.
        remote: String,
        /// `<kind> SHA256:…` of the key that came.
        fingerprint: String,
        /// Whether another key was expected; else the server is not known at all.
        changed: bool,
    },
    /// The proxy refused, or wants a user and a password.
    #[error("the proxy did not let us through to {remote}; check its address, user and password: {detail}")]
    Proxy {
        /// The address.
        remote: String,
        /// What git said.
        detail: String,
    },
    /// The program that should know the token does not.
    #[error("the credential helper {program} gave no token: {detail}")]
    Helper {
        /// The program.
        program: String,
        /// Why not.
        detail: String,
    },
    /// There is no such repository. Forges answer the same where a token is missing.
    #[error("there is no repository at {remote}, or it cannot be seen without a token: {detail}")]
    NotFound {
        /// The address.
        remote: String,
        /// What git said.
        detail: String,
    },
    /// The remote answered with a redirect, which is never followed because tokens would follow too.
    #[error(
        "{remote} has moved; redirects are not followed, so write the new address into the configuration: {detail}"
    )]
    Moved {
        /// The address.
        remote: String,
        /// What git said.
        detail: String,
    },
    /// The remote has no such ref (any more).
    #[error("{remote} has no ref {git_ref}")]
    RefGone {
        /// The address.
        remote: String,
        /// The ref.
        git_ref: GitRef,
    },
    /// The remote does not have the commit, or gives out only what refs lead to.
    #[error("{remote} does not give out commit {commit}: {detail}")]
    CommitUnavailable {
        /// The address.
        remote: String,
        /// What was asked for.
        commit: CommitId,
        /// What git said.
        detail: String,
    },
    /// The remote does not give out the content of a file by its id.
    #[error(
        "{remote} does not give out all contents of the files of {commit} one by one, which `clone = \"partial\"` needs; set `clone = \"full\"` for this project: {detail}"
    )]
    ContentUnavailable {
        /// The address.
        remote: String,
        /// The commit whose files were wanted.
        commit: CommitId,
        /// What git said.
        detail: String,
    },
    /// The id names something, but neither a commit nor a tag of one.
    #[error("{id} is a {kind}, not a commit")]
    NotACommit {
        /// What was asked for.
        id: ObjectId,
        /// What it is.
        kind: &'static str,
    },
    /// The repository names its objects by another hash than what was asked for.
    #[error("{remote} names its objects by another hash (SHA-1, SHA-256) than the commit that was asked for")]
    ObjectFormat {
        /// The address.
        remote: String,
    },
    /// The remote's answer makes no sense.
    #[error("{remote} gave an answer that is not git's: {detail}")]
    Protocol {
        /// The address.
        remote: String,
        /// What was wrong.
        detail: String,
    },
    /// A commit's submodules are refused.
    #[error("the submodules of {commit} are refused: {why}")]
    Submodules {
        /// The commit.
        commit: CommitId,
        /// What is wrong.
        why: String,
    },
    /// A large file did not come, or is not what its pointer says.
    #[error("the large file {oid} of {remote} cannot be had: {detail}")]
    LfsObject {
        /// Its SHA-256.
        oid: String,
        /// The address.
        remote: String,
        /// What happened.
        detail: String,
    },
    /// More than the caller wanted to take.
    #[error("{what} is more than the limit of {max}")]
    TooLarge {
        /// What grew too large.
        what: crate::limit::Limit,
        /// The limit, in the unit that `what` names.
        max: u64,
    },
    /// The command did not end in time; it was killed with all its children.
    #[error("git {command} did not end within {} s and was stopped", after.as_secs_f32())]
    Timeout {
        /// Which command.
        command: &'static str,
        /// How long it had.
        after: Duration,
    },
    /// Somebody else works on the mirror.
    #[error("the mirror {} is in use{by}; waited {} s", dir.display(), waited.as_secs_f32())]
    Locked {
        /// The mirror.
        dir: PathBuf,
        /// How long we waited.
        waited: Duration,
        /// ` by process N`, where known.
        by: String,
    },
    /// The mirror is broken. Opening it again makes a new one.
    #[error("the mirror {} is damaged: {detail}", dir.display())]
    Damaged {
        /// The mirror.
        dir: PathBuf,
        /// What git said.
        detail: String,
    },
    /// No room for the mirror.
    #[error("the disk is full: {detail}")]
    DiskFull {
        /// What git said.
        detail: String,
    },
    /// The program cannot be started.
    #[error("{} cannot be started; install git, or set its path in the configuration", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program is too old, or not git.
    #[error("git {VERSION_MIN} or newer is needed, found {}", found.as_ref().map_or("something else".to_owned(), ToString::to_string))]
    Version {
        /// What it said it was; `None` where that is no version.
        found: Option<Version>,
    },
    /// The program is too old for a partial mirror.
    #[error(
        "a partial mirror (`clone = \"partial\"`) needs git {PARTIAL_VERSION_MIN} or newer, found {found}: older ones may fetch in the middle of a read, and take a missing commit for one of another history; install a newer git, or set `clone = \"full\"`"
    )]
    PartialVersion {
        /// What it is.
        found: Version,
    },
    /// A file of ours could not be read or written.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An object could not be read.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Git failed in a way not listed here.
    #[error("git {command} failed ({status}): {detail}")]
    Failed {
        /// Which command.
        command: &'static str,
        /// How it ended.
        status: String,
        /// What it said.
        detail: String,
    },
}

impl GitError {
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> GitError {
        if source.kind() == io::ErrorKind::StorageFull {
            return GitError::DiskFull { detail: format!("cannot {what} {}", path.display()) };
        }
        GitError::Io { what, path: path.to_owned(), source }
    }

    /// Whether the same call may well succeed later without anybody changing anything.
    /// Unknown failures count as transient: a bounded number of retries does no harm.
    pub fn is_transient(&self) -> bool {
        match self {
            GitError::Unreachable { .. }
            | GitError::Timeout { .. }
            | GitError::Locked { .. }
            | GitError::Damaged { .. }
            | GitError::DiskFull { .. }
            | GitError::Protocol { .. }
            | GitError::Io { .. }
            | GitError::Helper { .. }
            | GitError::LfsObject { .. }
            | GitError::Failed { .. } => true,
            GitError::Object(error) => error.is_transient(),
            GitError::Url(_)
            | GitError::NotAllowed { .. }
            | GitError::Certificate { .. }
            | GitError::Auth { .. }
            | GitError::NoKey { .. }
            | GitError::Submodules { .. }
            | GitError::HostKey { .. }
            | GitError::Proxy { .. }
            | GitError::NotFound { .. }
            | GitError::Moved { .. }
            | GitError::RefGone { .. }
            | GitError::CommitUnavailable { .. }
            | GitError::ContentUnavailable { .. }
            | GitError::NotACommit { .. }
            | GitError::ObjectFormat { .. }
            | GitError::TooLarge { .. }
            | GitError::Program { .. }
            | GitError::Version { .. }
            | GitError::PartialVersion { .. } => false,
        }
    }
}

/// An object that could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The mirror does not have it.
    #[error("object {0} is not in the mirror")]
    Missing(ObjectId),
    /// It is something else than expected.
    #[error("object {id} is a {found}, expected a {expected}")]
    Kind {
        /// The object.
        id: ObjectId,
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// It has more bytes than the caller takes.
    #[error("object {id} has {bytes} bytes, more than the limit of {bytes_max}")]
    TooLarge {
        /// The object.
        id: ObjectId,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// It is not what git would have written.
    #[error("object {id} is malformed: {why}")]
    Malformed {
        /// The object.
        id: ObjectId,
        /// In which way.
        why: String,
    },
    /// The tree has more of something than the caller takes.
    #[error("tree {id} has more {what} than the limit of {max}")]
    TreeTooLarge {
        /// The root that was walked.
        id: ObjectId,
        /// `entries`, `levels` or `bytes in a path`.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// The mirror's files could not be read.
    #[error("object {id} cannot be read from the mirror: {detail}")]
    Unreadable {
        /// The object.
        id: ObjectId,
        /// What the object database said.
        detail: String,
    },
    /// A SHA-256 id was asked of a SHA-1 mirror, or the other way round.
    #[error("object {0} is named by another hash than the objects of its mirror")]
    Format(ObjectId),
    /// Writing an object's bytes to where the caller wants them failed.
    #[error("object {id} could not be copied")]
    Copy {
        /// The object.
        id: ObjectId,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ObjectError {
    /// Whether the same call may well succeed after the mirror was fetched into again.
    pub fn is_transient(&self) -> bool {
        matches!(self, ObjectError::Missing(_) | ObjectError::Unreadable { .. } | ObjectError::Copy { .. })
    }
}
