//! What everybody may know of the faults that other crates find: of each kind a word, and of its details none.

use gristmill_git::{GitError, Limit, ObjectError};
use gristmill_model::public::Bytes;
use gristmill_model::{CommitId, PublicReason};

use crate::reach::ReachError;

/// Of the project's own repository.
pub(super) fn of_git(error: &GitError) -> Option<PublicReason> {
    Some(match error {
        GitError::Unreachable { .. } | GitError::Proxy { .. } => PublicReason::NotReached,
        GitError::Certificate { .. } | GitError::HostKey { .. } => PublicReason::NotTrusted,
        GitError::Auth { .. } | GitError::NoKey { .. } => PublicReason::NotLetIn,
        GitError::NotFound { .. } => PublicReason::NoRepository,
        GitError::Moved { .. } => PublicReason::Moved,
        GitError::RefGone { .. } => PublicReason::RefGone,
        GitError::CommitUnavailable { .. } => PublicReason::CommitGone,
        GitError::ContentUnavailable { .. } => PublicReason::ContentsGone,
        GitError::NotACommit { .. } => PublicReason::NotACommit,
        GitError::Timeout { .. } => PublicReason::TooSlow,
        GitError::Submodules { .. } => PublicReason::ModulesRefused,
        GitError::LfsObject { .. } => PublicReason::LargeFileRefused,
        GitError::TooLarge { what, max } => return of_limit(*what, *max),
        GitError::Object(error) => return of_object(error),
        // Faults of this machine and its settings, and those that nobody has looked at.
        _ => return None,
    })
}

fn of_limit(what: Limit, max: u64) -> Option<PublicReason> {
    match what {
        Limit::Mirror | Limit::LargeFilesTogether => Some(PublicReason::RepositoryTooLarge(Bytes(max))),
        Limit::Clone | Limit::LargeFile => Some(PublicReason::ArchiveTooLarge(Bytes(max))),
        Limit::Submodules => u32::try_from(max).ok().map(PublicReason::ModulesTooMany),
        Limit::LargeFiles => u32::try_from(max).ok().map(PublicReason::LargeFilesTooMany),
        Limit::Output | Limit::Refs => None,
    }
}

/// Of a submodule's repository, that should give out the commit.
pub(super) fn of_module(error: &GitError, commit: CommitId) -> PublicReason {
    match error {
        GitError::CommitUnavailable { .. } => PublicReason::ModuleCommitGone(commit),
        GitError::NotAllowed { .. } | GitError::Url(_) => PublicReason::ModuleServer,
        _ => PublicReason::ModuleUnfetched,
    }
}

/// Of an object that is here.
pub(super) fn of_object(error: &ObjectError) -> Option<PublicReason> {
    match error {
        ObjectError::TreeTooLarge { .. } | ObjectError::TooLarge { .. } => Some(PublicReason::TreeTooLarge),
        ObjectError::Malformed { .. } | ObjectError::Kind { .. } => Some(PublicReason::TreeRefused),
        _ => None,
    }
}

/// Of a repository that was not reached.
pub(super) fn of_reach(error: &ReachError) -> Option<PublicReason> {
    match error {
        ReachError::Git(error) => of_git(error),
        ReachError::NotLetIn { .. } => Some(PublicReason::NotLetIn),
        _ => None,
    }
}

/// Of a large file, by the code that the server answered, of HTTP or of git-lfs, which has the same.
pub(super) fn of_large_file(code: i64) -> PublicReason {
    if matches!(code, 404 | 410) { PublicReason::LargeFileMissing } else { PublicReason::LargeFileRefused }
}

/// Of a large file, where no answer came.
pub(super) fn of_large_file_call(error: &gristmill_outgoing::Error) -> PublicReason {
    if error.is_transient() { PublicReason::NotReached } else { PublicReason::LargeFileRefused }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "1111111111111111111111111111111111111111";

    #[test]
    fn of_gits_faults_the_kind_is_told_and_no_detail() {
        use PublicReason as Why;
        let (remote, detail) = (|| "https://10.1.2.3/secret.git".to_owned(), || "/srv/gristmill".to_owned());
        let commit: CommitId = COMMIT.parse().unwrap();
        for (error, own, module) in [
            (
                GitError::Unreachable { remote: remote(), detail: detail() },
                Some(Why::NotReached),
                Why::ModuleUnfetched,
            ),
            (
                GitError::Certificate { remote: remote(), detail: detail() },
                Some(Why::NotTrusted),
                Why::ModuleUnfetched,
            ),
            (
                GitError::Auth { remote: remote(), detail: detail() },
                Some(Why::NotLetIn),
                Why::ModuleUnfetched,
            ),
            (GitError::NoKey { remote: remote() }, Some(Why::NotLetIn), Why::ModuleUnfetched),
            (
                GitError::NotFound { remote: remote(), detail: detail() },
                Some(Why::NoRepository),
                Why::ModuleUnfetched,
            ),
            (GitError::Moved { remote: remote(), detail: detail() }, Some(Why::Moved), Why::ModuleUnfetched),
            (
                GitError::RefGone { remote: remote(), git_ref: "refs/heads/main".parse().unwrap() },
                Some(Why::RefGone),
                Why::ModuleUnfetched,
            ),
            (
                GitError::CommitUnavailable { remote: remote(), commit, detail: detail() },
                Some(Why::CommitGone),
                Why::ModuleCommitGone(commit),
            ),
            (
                GitError::ContentUnavailable { remote: remote(), commit, detail: detail() },
                Some(Why::ContentsGone),
                Why::ModuleUnfetched,
            ),
            (
                GitError::Failed { command: "fetch", status: "1".to_owned(), detail: detail() },
                None,
                Why::ModuleUnfetched,
            ),
            (GitError::DiskFull { detail: detail() }, None, Why::ModuleUnfetched),
            (GitError::Helper { program: remote(), detail: detail() }, None, Why::ModuleUnfetched),
        ] {
            assert_eq!(of_git(&error), own, "{error}");
            assert_eq!(of_module(&error, commit), module, "{error}");
        }
    }

    #[test]
    fn of_limits_the_limit_is_told() {
        use PublicReason as Why;
        for (what, own) in [
            (Limit::Mirror, Some(Why::RepositoryTooLarge(Bytes(7)))),
            (Limit::LargeFilesTogether, Some(Why::RepositoryTooLarge(Bytes(7)))),
            (Limit::Clone, Some(Why::ArchiveTooLarge(Bytes(7)))),
            (Limit::LargeFile, Some(Why::ArchiveTooLarge(Bytes(7)))),
            (Limit::Submodules, Some(Why::ModulesTooMany(7))),
            (Limit::LargeFiles, Some(Why::LargeFilesTooMany(7))),
            (Limit::Output, None),
            (Limit::Refs, None),
        ] {
            let error = GitError::TooLarge { what, max: 7 };
            assert_eq!(of_git(&error), own, "{error}");
            assert_eq!(of_module(&error, COMMIT.parse().unwrap()), Why::ModuleUnfetched, "{error}");
        }
    }

    #[test]
    fn of_large_files_those_that_are_not_there_are_told_apart() {
        for (code, why) in [
            (403, PublicReason::LargeFileRefused),
            (404, PublicReason::LargeFileMissing),
            (410, PublicReason::LargeFileMissing),
            (500, PublicReason::LargeFileRefused),
        ] {
            assert_eq!(of_large_file(code), why, "{code}");
        }
    }
    #[test]
    fn of_large_files_a_fault_that_passes_is_the_networks() {
        use gristmill_outgoing::Error;
        let (host, why) = (|| "media.acme.org".to_owned(), || "10.1.2.3".to_owned());
        for (error, told) in [
            (Error::Lookup { host: host() }, PublicReason::NotReached),
            (Error::Connect { host: host(), why: why() }, PublicReason::NotReached),
            (Error::Timeout { host: host(), what: "the answer" }, PublicReason::NotReached),
            (Error::Cut { host: host(), why: why() }, PublicReason::NotReached),
            (Error::Refused { host: host(), why: why() }, PublicReason::LargeFileRefused),
            (Error::Tls { host: host(), why: why() }, PublicReason::LargeFileRefused),
        ] {
            assert_eq!(of_large_file_call(&error), told, "{error}");
        }
    }
}
