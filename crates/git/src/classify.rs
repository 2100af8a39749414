//! Reads git's messages (in the C locale) and says which [`GitError`] they mean.

use std::path::Path;

use gristmill_model::CommitId;

use crate::error::GitError;

/// What a command was about, for the error that tells of its failure.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) command: &'static str,
    /// The address without secrets; empty for commands that touch no remote.
    pub(crate) remote: &'a str,
    /// The mirror; empty for commands outside one.
    pub(crate) mirror: &'a Path,
    /// What was asked for by id.
    pub(crate) commit: Option<CommitId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    Unreachable,
    Certificate,
    Auth,
    NotFound,
    Moved,
    NoSuchRef,
    CommitUnavailable,
    ObjectFormat,
    Protocol,
    Damaged,
    DiskFull,
    Unknown,
}

/// Searched in this order; the first message found decides. Specific ones come before those that git adds
/// to every failure ("the remote end hung up", "could not read from remote repository").
const MESSAGES: &[(&str, Fault)] = &[
    ("No space left on device", Fault::DiskFull),
    ("Disk quota exceeded", Fault::DiskFull),
    ("couldn't find remote ref", Fault::NoSuchRef),
    ("not our ref", Fault::CommitUnavailable),
    ("does not allow request for unadvertised object", Fault::CommitUnavailable),
    ("no such remote ref", Fault::CommitUnavailable),
    ("mismatched algorithms", Fault::ObjectFormat),
    ("unknown object format", Fault::ObjectFormat),
    ("returned error: 301", Fault::Moved),
    ("returned error: 302", Fault::Moved),
    ("returned error: 303", Fault::Moved),
    ("returned error: 307", Fault::Moved),
    ("returned error: 308", Fault::Moved),
    ("unable to update url base from redirection", Fault::Moved),
    ("certificate", Fault::Certificate),
    ("Authentication failed", Fault::Auth),
    ("could not read Username", Fault::Auth),
    ("could not read Password", Fault::Auth),
    ("unable to get password", Fault::Auth),
    ("returned error: 401", Fault::Auth),
    ("returned error: 403", Fault::Auth),
    ("returned error: 404", Fault::NotFound),
    ("returned error: 410", Fault::NotFound),
    ("epository not found", Fault::NotFound),
    ("' not found", Fault::NotFound),
    ("does not appear to be a git repository", Fault::NotFound),
    ("access denied or repository not exported", Fault::NotFound),
    ("no such repository", Fault::NotFound),
    ("does not exist", Fault::NotFound),
    ("detected dubious ownership", Fault::Auth),
    ("did not send all necessary objects", Fault::Damaged),
    ("is corrupt", Fault::Damaged),
    ("object corrupt or missing", Fault::Damaged),
    ("is empty", Fault::Damaged),
    ("bad object", Fault::Damaged),
    ("bad pack", Fault::Damaged),
    ("bad ref", Fault::Damaged),
    ("broken ref", Fault::Damaged),
    ("unable to read tree", Fault::Damaged),
    ("not a git repository", Fault::Damaged),
    ("cannot be accessed", Fault::Damaged),
    ("index file", Fault::Damaged),
    ("inflate:", Fault::Damaged),
    ("unresolved delta", Fault::Damaged),
    ("missing blob", Fault::Damaged),
    ("missing tree", Fault::Damaged),
    ("missing commit", Fault::Damaged),
    ("bad config", Fault::Damaged),
    ("invalid object", Fault::Damaged),
    ("not valid: is this a git repository", Fault::Protocol),
    ("valid git repository", Fault::Protocol),
    ("protocol error", Fault::Protocol),
    ("bad line length", Fault::Protocol),
    ("invalid server response", Fault::Protocol),
    ("unable to access", Fault::Unreachable),
    ("unable to look up", Fault::Unreachable),
    ("unable to connect", Fault::Unreachable),
    ("Connection refused", Fault::Unreachable),
    ("Connection reset", Fault::Unreachable),
    ("timed out", Fault::Unreachable),
    ("RPC failed", Fault::Unreachable),
    ("early EOF", Fault::Unreachable),
    ("unexpected disconnect", Fault::Unreachable),
    ("hung up", Fault::Unreachable),
    ("Could not read from remote repository", Fault::Unreachable),
    ("returned error: 5", Fault::Unreachable),
    ("returned error: 429", Fault::Unreachable),
    ("expected flush", Fault::Unreachable),
    ("remote error", Fault::Unreachable),
];

/// What the end of git's standard error means. Lines that the remote's server wrote for people
/// (`remote: …`) are left out: they may say anything.
pub(crate) fn fault(stderr: &str) -> Fault {
    let ours: Vec<&str> = stderr.lines().filter(|line| !line.starts_with("remote: ")).collect();
    MESSAGES
        .iter()
        .find(|(message, _)| ours.iter().any(|line| line.contains(message)))
        .map_or(Fault::Unknown, |(_, fault)| *fault)
}

/// The error for a command that ended with `status` after writing `detail`.
pub(crate) fn failure(subject: Subject<'_>, status: &str, detail: String) -> GitError {
    let remote = subject.remote.to_owned();
    match (fault(&detail), subject.commit) {
        (Fault::DiskFull, _) => GitError::DiskFull { detail },
        (Fault::Damaged, _) if !subject.mirror.as_os_str().is_empty() => {
            GitError::Damaged { dir: subject.mirror.to_owned(), detail }
        }
        (Fault::CommitUnavailable | Fault::NoSuchRef, Some(commit)) => {
            GitError::CommitUnavailable { remote, commit, detail }
        }
        _ if remote.is_empty() => {
            GitError::Failed { command: subject.command, status: status.to_owned(), detail }
        }
        (Fault::Unreachable, _) => GitError::Unreachable { remote, detail },
        (Fault::Certificate, _) => GitError::Certificate { remote, detail },
        (Fault::Auth, _) => GitError::Auth { remote, detail },
        (Fault::NotFound, _) => GitError::NotFound { remote, detail },
        (Fault::Moved, _) => GitError::Moved { remote, detail },
        (Fault::ObjectFormat, _) => GitError::ObjectFormat { remote },
        (Fault::Protocol, _) => GitError::Protocol { remote, detail },
        (Fault::Unknown | Fault::Damaged | Fault::NoSuchRef | Fault::CommitUnavailable, _) => {
            GitError::Failed { command: subject.command, status: status.to_owned(), detail }
        }
    }
}
