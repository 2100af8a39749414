//! Assets: what a build of a commit leaves, kept in a bucket by commands around the build, without a server.
//!
//! [`check`] asks whether the assets of a commit, or of the same code, are there; [`upload`] keeps them; [`get`] brings
//! them back; [`gc`] removes old ones. [`resource`] is all of it as a resource type of Concourse. Environment, files,
//! keys, metadata and exit codes are those of s3-asset-manager, so that either can take the other's place; see
//! docs/assets.md and docs/decisions/0016.
//!
//! [`sets`] reads what is there, [`write`] writes a set so that it is never half found.

pub mod check;
pub mod code_hash;
pub mod entries;
pub mod files;
pub mod gc;
pub mod get;
pub mod media;
pub mod place;
mod pyglob;
pub mod resource;
pub mod sets;
pub mod upload;
pub mod write;

use std::fmt;

/// What is asked to skip a build is told by this exit code, where it was asked for.
pub const EXIT_FOUND: u8 = 10;

/// A failure with an exit code of its own.
#[derive(Debug)]
pub struct Failure {
    /// The process's.
    pub code: u8,
    /// For people.
    pub why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Failure {}

/// An error with an exit code of its own.
pub fn failure(code: u8, why: impl Into<String>) -> anyhow::Error {
    Failure { code, why: why.into() }.into()
}

/// How a line is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// What is done.
    Step,
    /// A good end.
    Good,
    /// Something to look at.
    Warning,
    /// About one file, the nth.
    File(usize),
}

/// Takes what people should read, as it happens.
pub type Tell<'a> = &'a (dyn Fn(Tone, &str) + Send + Sync);
