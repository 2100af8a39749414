//! What is bounded.

/// What may grow too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// A project's mirror, or what is fetched into it.
    #[error("the mirror in bytes")]
    Mirror,
    /// The clone that goes into an archive.
    #[error("the clone in bytes")]
    Clone,
    /// What git writes to its output.
    #[error("git's output in bytes")]
    Output,
    /// Branches and tags.
    #[error("the number of branches and tags")]
    Refs,
    /// Submodules of all levels.
    #[error("the number of submodules")]
    Submodules,
    /// Large files.
    #[error("the number of large files")]
    LargeFiles,
    /// One of them.
    #[error("a large file in bytes")]
    LargeFile,
    /// All of them.
    #[error("all large files together in bytes")]
    LargeFilesTogether,
}
