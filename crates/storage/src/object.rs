//! What storage holds, as callers see it.

use std::collections::BTreeMap;

use gristmill_model::{Digest, ObjectKey, Timestamp};

/// Stored bytes: durable once a caller holds this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blob {
    /// The SHA-256 of the bytes; their name.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
}

/// A blob as a listing shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlobEntry {
    /// Its name and size.
    pub blob: Blob,
    /// When it was last stored, in a folder also when it was last projected, by the storage's own clock. A bucket's is
    /// up to an hour too old where a blob is stored again and again. A collector leaves young blobs alone: their rows may not be written yet.
    pub touched: Timestamp,
}

/// Says that some of a blob's bytes are those of another blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopiedRange {
    /// Where they begin in this blob.
    pub to: u64,
    /// Where they begin in the other one.
    pub from: u64,
    /// How many.
    pub len: u64,
}

/// One version of a public key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicObject {
    /// Its place in the order of the key's versions, from 0. Rises; gaps are fine.
    pub seq: i64,
    /// The blob that readers get.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// The media type, for storages and servers that tell readers.
    pub content_type: String,
    /// Commit, tree, ref, run and whatever else the publisher wants to be found with the object.
    pub metadata: BTreeMap<String, String>,
}

/// The outcome of [`Storage::project`](crate::Storage::project).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Projected {
    /// The storage's own name for this version of the key; for `file:` the seq, for a bucket without versions `null`.
    pub version_id: String,
    /// Whether anything had to be written; `false` where the key held this version already.
    pub changed: bool,
    /// Whether a try of it may still be under way at the server, and could move the key back after a later version.
    pub may_go_on: bool,
}

/// Something [`Storage::verify`](crate::Storage::verify) found wrong. `Display` says what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Finding {
    /// A blob's bytes have another digest than its name. Only looked for when `deep`.
    #[error("blob {digest} holds other bytes ({found}); delete it and make it again, and check the disk")]
    BlobCorrupt {
        /// The name.
        digest: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// Something that is no blob lies among the blobs.
    #[error("`{path}` among the blobs is no blob; take it away")]
    StrayBlob {
        /// The path below the storage's folder.
        path: String,
    },
    /// A version's blob is gone: the version cannot be read or projected again.
    #[error("version {seq} of `{key}` needs blob {digest}, which is missing")]
    VersionBlobMissing {
        /// The key.
        key: String,
        /// The version.
        seq: i64,
        /// The blob.
        digest: Digest,
    },
    /// Readers find nothing though the key has a version and was not withdrawn.
    #[error("`{key}` should hold version {seq} and is missing; project it again")]
    KeyMissing {
        /// The key.
        key: ObjectKey,
        /// The version that it should hold.
        seq: i64,
    },
    /// Readers find something else than the last version.
    #[error("`{key}` should hold version {seq} and holds something else; project it again")]
    KeyDiffers {
        /// The key.
        key: ObjectKey,
        /// The version that it should hold.
        seq: i64,
    },
    /// Readers still find a key that was withdrawn.
    #[error("`{key}` was withdrawn and can still be read; withdraw it again")]
    KeyNotWithdrawn {
        /// The key.
        key: ObjectKey,
    },
    /// A version record cannot be read.
    #[error("`{path}` is no version record ({why}); project the key again, or take the file away")]
    RecordDamaged {
        /// The path below the storage's folder.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file that no key put there.
    #[error("`{path}` in the public folder belongs to no key; take it away, or leave it if you put it there")]
    StrayPublic {
        /// The path below the public folder.
        path: String,
    },
}

/// What [`Storage::verify`](crate::Storage::verify) went through.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// Blobs looked at.
    pub blobs: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// Keys with a version.
    pub keys: u64,
    /// Version records.
    pub versions: u64,
    /// Findings reported.
    pub findings: u64,
}
