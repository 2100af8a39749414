//! [`RepoPath`]: a repository's name at its forge.

use std::fmt;
use std::str::FromStr;

use crate::pattern::{self, Token};

/// A repository's name at its forge: `owner/name`, the owner with slashes where groups nest. Bitbucket Server has
/// `~user` for an owner, and the names of Azure DevOps have blanks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoPath(String);

/// The text is not a repository path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a repository; expected `owner/name` of letters, digits, `.`, `_`, `-`, `~` and blanks within, at most 255 bytes"
)]
pub struct RepoPathError(String);

impl RepoPath {
    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// All but the last part.
    pub fn owner(&self) -> &str {
        self.0.rsplit_once('/').expect("a repository path has a slash").0
    }

    /// The last part.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').expect("a repository path has a slash").1
    }
}

impl FromStr for RepoPath {
    type Err = RepoPathError;

    fn from_str(text: &str) -> Result<RepoPath, RepoPathError> {
        let part_is_good = |part: &str| {
            !part.is_empty()
                && !part.starts_with('-')
                && part.trim_matches(' ') == part
                && !matches!(part, "." | "..")
                && part.chars().all(|c| c.is_alphanumeric() || "._-~ ".contains(c))
        };
        let good = text.len() <= 255 && text.contains('/') && text.split('/').all(part_is_good);
        if good { Ok(RepoPath(text.to_owned())) } else { Err(RepoPathError(crate::shorten(text))) }
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::serde_as_text!(RepoPath);

/// Which repositories keys are made for.
#[derive(Clone, Copy, Debug)]
pub enum Repositories<'a> {
    /// This one.
    One(&'a RepoPath),
    /// All of this owner.
    AllOf(&'a str),
}

impl Repositories<'_> {
    pub(crate) fn owner(&self) -> &str {
        match self {
            Repositories::One(repository) => repository.owner(),
            Repositories::AllOf(owner) => owner,
        }
    }

    pub(crate) fn name(&self) -> Vec<Token> {
        match self {
            Repositories::One(repository) => pattern::literal(repository.name()),
            Repositories::AllOf(_) => vec![Token::Within],
        }
    }
}
