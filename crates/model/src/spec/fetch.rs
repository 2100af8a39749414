//! [`FetchBy`]: how a project's source is brought.

use serde::{Deserialize, Serialize};

/// How a project's source is brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FetchBy {
    /// By git.
    #[default]
    Git,
    /// By git, without the contents of files that only older commits have.
    Partial,
    /// As the archives that the forge itself makes of commits.
    Download(Download),
}

/// Settings of [`FetchBy::Download`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Download {
    /// The most bytes of one packed archive.
    pub bytes_max: u64,
    /// Whether an archive may hold another tree than the commit's, or one that cannot be compared with it.
    pub allow_filtered: bool,
}

impl FetchBy {
    /// Whether it is [`FetchBy::Git`].
    pub fn is_git(&self) -> bool {
        matches!(self, FetchBy::Git)
    }

    /// The settings of [`FetchBy::Download`].
    pub fn download(&self) -> Option<Download> {
        if let FetchBy::Download(download) = self { Some(*download) } else { None }
    }
}
