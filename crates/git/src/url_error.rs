//! [`UrlError`]: why an address was refused.

/// Why an address was refused. The address itself is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Nothing there.
    #[error("the git address is empty; write one such as https://github.com/owner/name.git")]
    Empty,
    /// Longer than 2000 bytes.
    #[error("the git address is longer than 2000 bytes")]
    TooLong,
    /// Control characters, plain or percent-encoded, blanks or backslashes.
    #[error("the git address has a character that none may have: {0}")]
    Character(&'static str),
    /// It begins with `-`, or its host or user does.
    #[error("the {0} begins with `-`, which programs take for an option")]
    OptionLike(&'static str),
    /// `ext::…`, `fd::…` or another remote helper.
    #[error("`{0}::` addresses run a program and are never allowed; use https, file, git or ssh")]
    Helper(String),
    /// A scheme that is not one of ours.
    #[error("`{0}` is not a scheme for git here; use https://, file://, git:// or ssh://")]
    Scheme(String),
    /// A user name or password inside an http, https or git address, or a password inside an ssh one.
    #[error(
        "the git address has a user or password in it; leave it out and configure the token by file or environment"
    )]
    Secret,
    /// No host, or not one.
    #[error("the git address has no valid host: {0}")]
    Host(&'static str),
    /// Not 1 to 65535.
    #[error("the git address has a port that is not a number from 1 to 65535")]
    Port,
    /// No path, or one that cannot be.
    #[error("the git address has no valid path: {0}")]
    Path(&'static str),
}
