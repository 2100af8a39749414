//! What can go wrong, for callers that branch.

use std::io;

use gristmill_model::{Digest, ObjectKey};

/// A storage operation failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is no such blob.
    #[error("blob {digest} is not in the storage")]
    BlobMissing {
        /// The blob asked for.
        digest: Digest,
    },
    /// No room. Transient: nothing half-written stays, and the same call works once there is room.
    #[error("no room on the storage while {doing}; free some space or raise the quota")]
    Full {
        /// What was being done.
        doing: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The folder cannot be used as a storage.
    #[error("the folder `{path}` cannot be used as a storage: {why}")]
    Unusable {
        /// The folder.
        path: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The bucket cannot be used as a storage.
    #[error("the bucket `{bucket}` cannot be used as a storage: {why}")]
    Bucket {
        /// The bucket.
        bucket: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The storage's server refused, failed or did not answer.
    #[error("{doing}: {why}")]
    Server {
        /// What was being done.
        doing: String,
        /// What came of it, and what to do.
        why: String,
        /// Whether it may work later.
        may_pass: bool,
    },
    /// The records and the files disagree.
    #[error("the storage is damaged: {what}")]
    Damaged {
        /// What disagrees, and what to do.
        what: String,
    },
    /// Anything else the system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl StorageError {
    /// Sorts an input/output error: [`StorageError::Full`] where there was no room. For callers
    /// that wrote into a [`Staged`](crate::Staged) through `std::io::Write`.
    pub fn from_io(doing: impl Into<String>, source: io::Error) -> StorageError {
        let doing = doing.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::Full { doing, source },
            _ => StorageError::Io { doing, source },
        }
    }

    /// Whether the same call may work later without anybody changing what is asked for.
    pub fn is_transient(&self) -> bool {
        match self {
            StorageError::Full { .. } => true,
            StorageError::Server { may_pass, .. } => *may_pass,
            // A mount that is away, read-only or full of open files comes back; a name that the file system
            // does not take never will be taken.
            StorageError::Io { source, .. } => source.raw_os_error().is_some_and(|errno| {
                !matches!(
                    rustix::io::Errno::from_raw_os_error(errno),
                    rustix::io::Errno::NAMETOOLONG
                        | rustix::io::Errno::ILSEQ
                        | rustix::io::Errno::INVAL
                        | rustix::io::Errno::ISDIR
                        | rustix::io::Errno::NOTDIR
                        | rustix::io::Errno::LOOP
                        | rustix::io::Errno::FBIG
                        | rustix::io::Errno::XDEV
                        | rustix::io::Errno::BUSY
                        | rustix::io::Errno::NOTEMPTY
                        | rustix::io::Errno::EXIST
                        | rustix::io::Errno::OPNOTSUPP
                )
            }),
            StorageError::BlobMissing { .. }
            | StorageError::Unusable { .. }
            | StorageError::Bucket { .. }
            | StorageError::Damaged { .. } => false,
        }
    }
}

/// A public key could not be changed. Every variant but [`ProjectError::Storage`] is decided before
/// anything changes.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The key has a later version already; names never move back.
    #[error("`{key}` is at version {current}, later than {seq}; it does not move back")]
    Older {
        /// The key.
        key: ObjectKey,
        /// The version asked for.
        seq: i64,
        /// The last version recorded, held by the key or withdrawn.
        current: i64,
    },
    /// The version exists with other bytes; a published version never changes.
    #[error("version {seq} of `{key}` is {recorded} already; other bytes need a higher version")]
    Taken {
        /// The key.
        key: ObjectKey,
        /// The version asked for.
        seq: i64,
        /// What it holds.
        recorded: Digest,
    },
    /// Versions count from 0.
    #[error("`{key}`: {seq} is not a version; versions count from 0")]
    NegativeSeq {
        /// The key.
        key: ObjectKey,
        /// The version asked for.
        seq: i64,
    },
    /// One of the two keys would have to be a file and a folder at once.
    #[error(
        "`{key}` cannot be published beside `{existing}`: one would be a file and a folder at once; change a key template or withdraw `{existing}`"
    )]
    FileAndFolder {
        /// The key.
        key: ObjectKey,
        /// The key (or foreign file) that is there.
        existing: String,
    },
    /// The file system takes two names for one.
    #[error(
        "`{key}` and `{existing}` are the same name to this file system, which ignores case; change a key template or move the storage to one that does not"
    )]
    SameName {
        /// The key.
        key: ObjectKey,
        /// The key (or folder) that is there.
        existing: String,
    },
    /// A part between slashes is longer than the file system takes.
    #[error(
        "`{key}`: `{part}` has {bytes} bytes, and this file system takes {bytes_max} between slashes; shorten it or put a slash into the key template"
    )]
    NameTooLong {
        /// The key.
        key: ObjectKey,
        /// The part, cut.
        part: String,
        /// Its length in bytes.
        bytes: usize,
        /// The longest that works.
        bytes_max: usize,
    },
    /// The key is longer than the storage takes.
    #[error(
        "`{key}` has {bytes} bytes with the storage's prefix, and a bucket takes {bytes_max}; shorten one of them"
    )]
    KeyTooLong {
        /// The key.
        key: ObjectKey,
        /// Its length in bytes, with the prefix.
        bytes: usize,
        /// The longest that works.
        bytes_max: usize,
    },
    /// A part between slashes that the storage keeps for itself or the file system would change.
    #[error("`{key}`: `{part}` cannot be used as a name here: {why}")]
    NameRefused {
        /// The key.
        key: ObjectKey,
        /// The part.
        part: String,
        /// Why.
        why: &'static str,
    },
    /// Something that no key put there is in the way; it is not touched.
    #[error("`{key}` is blocked by `{path}`, {what} that the storage did not make; take it away")]
    Blocked {
        /// The key.
        key: ObjectKey,
        /// The path below the public folder.
        path: String,
        /// What it is: "a symbolic link", "a file" …
        what: &'static str,
    },
    /// The blob has another size than the version says.
    #[error("`{key}`: blob {digest} has {actual} bytes, not {expected}")]
    SizeDiffers {
        /// The key.
        key: ObjectKey,
        /// The blob.
        digest: Digest,
        /// The size that the version says.
        expected: u64,
        /// The blob's size.
        actual: u64,
    },
    /// The version is the one that readers get; withdraw the key or publish another version first.
    #[error("version {seq} of `{key}` is the one that readers get; withdraw the key first")]
    InUse {
        /// The key.
        key: ObjectKey,
        /// The version.
        seq: i64,
    },
    /// The storage itself failed. Projecting again is safe and repairs what was left half done.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ProjectError {
    /// Whether what was begun at a server may still be under way: nobody else may write to the key for as long as a
    /// projection may take.
    pub fn may_go_on(&self) -> bool {
        matches!(self, ProjectError::Storage(StorageError::Server { may_pass: true, .. }))
    }

    /// Whether the same call may work later without anybody changing what is asked for.
    pub fn is_transient(&self) -> bool {
        matches!(self, ProjectError::Storage(error) if error.is_transient())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn errors_are_sorted_by_what_a_caller_does_next() {
        for (errno, full, transient) in [
            (Errno::NOSPC, true, true),
            (Errno::DQUOT, true, true),
            (Errno::IO, false, true),
            (Errno::INTR, false, true),
            (Errno::AGAIN, false, true),
            (Errno::MFILE, false, true),
            (Errno::NFILE, false, true),
            (Errno::NOMEM, false, true),
            (Errno::STALE, false, true),
            (Errno::TIMEDOUT, false, true),
            (Errno::NOENT, false, true),
            (Errno::ACCESS, false, true),
            (Errno::ROFS, false, true),
            (Errno::NAMETOOLONG, false, false),
            (Errno::ILSEQ, false, false),
            (Errno::INVAL, false, false),
            (Errno::ISDIR, false, false),
            (Errno::NOTDIR, false, false),
            (Errno::LOOP, false, false),
            (Errno::FBIG, false, false),
            (Errno::OPNOTSUPP, false, false),
            (Errno::XDEV, false, false),
            (Errno::BUSY, false, false),
            (Errno::NOTEMPTY, false, false),
            (Errno::EXIST, false, false),
        ] {
            let error = StorageError::from_io("writing", errno.into());
            assert_eq!(matches!(error, StorageError::Full { .. }), full, "{errno:?}");
            assert_eq!(error.is_transient(), transient, "{errno:?}");
            assert_eq!(ProjectError::from(error).is_transient(), transient, "{errno:?}");
        }
        let digest = Digest::of(b"");
        assert!(!StorageError::BlobMissing { digest }.is_transient());
        assert!(!StorageError::Damaged { what: String::new() }.is_transient());
        let key: ObjectKey = "a".parse().unwrap();
        assert!(!ProjectError::InUse { key, seq: 1 }.is_transient());
    }
}
