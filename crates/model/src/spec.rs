//! [`ProjectSpec`]: a project as the configuration describes it, without its secrets. Imported into the
//! database; runs are pinned to a revision of it.

mod archive;
mod fetch;
mod pattern;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use archive::{ArchiveFormat, ArchiveOptions, ArchiveSpec, Attributes};
pub use fetch::{Download, FetchBy};
pub use pattern::{PatternName, PatternNameError, ProjectPattern, REPO_PLACEHOLDER};

use crate::digest::Digest;
use crate::git::GitRef;
use crate::pattern::RefFilter;
use crate::repo::RepoPath;

/// A project's name: one or more parts between slashes, of lower- and upper-case letters, digits, `.`, `_`, `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProjectName(String);

/// The text is not a project name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a project name; expected parts of letters, digits, `.`, `_` and `-` between slashes, at most 200 bytes"
)]
pub struct ProjectNameError(String);

impl ProjectName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProjectName {
    type Err = ProjectNameError;

    fn from_str(text: &str) -> Result<ProjectName, ProjectNameError> {
        let part_is_good = |part: &str| {
            !part.is_empty()
                && !part.starts_with('-')
                && !matches!(part, "." | "..")
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        if text.len() <= 200 && text.split('/').all(part_is_good) {
            Ok(ProjectName(text.to_owned()))
        } else {
            Err(ProjectNameError(crate::shorten(text)))
        }
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::serde_as_text!(ProjectName);

/// A project: a source and what is made from it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProjectSpec {
    /// Its name.
    pub name: ProjectName,
    /// The pattern it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<PatternName>,
    /// Where git fetches from. Holds no credentials.
    pub git: String,
    /// How it is brought from there.
    #[serde(default, skip_serializing_if = "FetchBy::is_git")]
    pub fetch: FetchBy,
    /// Which forge sends its webhooks.
    pub forge: String,
    /// The repository's name at the forge, which payloads must carry.
    pub repository: RepoPath,
    /// The forge's numeric id, where the configuration pins it.
    pub repository_id: Option<String>,
    /// Seconds between looks at the remote that nobody asked for.
    pub poll_seconds: i64,
    /// The most jobs of this project that run at once.
    pub jobs_max: i64,
    /// What is made.
    pub pipelines: Vec<PipelineSpec>,
}

/// One thing a project makes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PipelineSpec {
    /// Its name within the project.
    pub name: String,
    /// Which refs.
    pub refs: RefFilter,
    /// Whether the forge's releases are built too.
    pub releases: bool,
    /// Whether a newer run of a ref ends the older ones.
    pub supersede: bool,
    /// Seconds to wait before a run starts.
    pub delay_seconds: i64,
    /// A cron expression (UTC) on which the tips are built again.
    pub schedule: Option<String>,
    /// What is built when a ref is seen for the first time by a look that no push caused.
    pub first_look: FirstLook,
    /// How long things are kept.
    pub keep: Keep,
    /// The kind and its settings.
    pub kind: PipelineKind,
}

/// What becomes of a ref that was there before the project was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FirstLook {
    /// It is built: names are true to git from the start.
    #[default]
    Build,
    /// It is only written down; its next move is built.
    Record,
}

/// How long versions and the archives of single commits are kept. The newest version of a key always is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Keep {
    /// How many versions of each key; all, where not set.
    pub versions: Option<i64>,
    /// For how many days after it was made; for ever, where not set.
    pub days: Option<i64>,
}

/// The kinds of pipeline, a closed list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PipelineKind {
    /// The commit's tree as an archive.
    Archive(ArchiveSpec),
}

impl ProjectSpec {
    /// The text that is stored, and its digest: equal settings, equal digest.
    pub fn to_stored(&self) -> (String, Digest) {
        let text = serde_json::to_string(self).expect("plain data without maps of non-text keys");
        let digest = Digest::of(text.as_bytes());
        (text, digest)
    }

    /// The pipeline of that name.
    pub fn pipeline(&self, name: &str) -> Option<&PipelineSpec> {
        self.pipelines.iter().find(|pipeline| pipeline.name == name)
    }

    /// Whether any pipeline wants the ref.
    pub fn wants(&self, git_ref: &GitRef) -> bool {
        self.pipelines.iter().any(|pipeline| pipeline.refs.wants(git_ref))
    }
}

#[cfg(test)]
mod tests;
