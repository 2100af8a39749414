//! [`ProjectPattern`]: one project for all repositories of an owner.

use std::fmt;
use std::str::FromStr;

use super::{FetchBy, PipelineSpec, ProjectName, ProjectSpec};
use crate::repo::RepoPath;

/// What a pattern's git URL has where the repository's name goes.
pub const REPO_PLACEHOLDER: &str = "{repo}";

/// The name of a pattern: `acme/*`, a project name whose last part is `*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PatternName(String);

/// The text is not the name of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a pattern; expected an owner and one `*` behind the last slash, such as `acme/*`")]
pub struct PatternNameError(String);

impl PatternName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before `/*`.
    pub fn owner(&self) -> &str {
        self.0.strip_suffix("/*").expect("a pattern ends so")
    }

    /// The name of a repository that the pattern covers: the owner is compared without regard to case,
    /// as forges do, and `*` stands for one part.
    fn repo<'r>(&self, repository: &'r RepoPath) -> Option<&'r str> {
        repository.owner().eq_ignore_ascii_case(self.owner()).then(|| repository.name())
    }
}

impl FromStr for PatternName {
    type Err = PatternNameError;

    fn from_str(text: &str) -> Result<PatternName, PatternNameError> {
        let owner = text.strip_suffix("/*").and_then(|owner| owner.parse::<ProjectName>().ok());
        owner.map(|_| PatternName(text.to_owned())).ok_or_else(|| PatternNameError(crate::shorten(text)))
    }
}

impl fmt::Display for PatternName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for PatternName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::serde_as_text!(PatternName);

/// One project for all repositories of an owner. Each becomes a project of its own when the first verified
/// webhook names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProjectPattern {
    /// Its name, and with the repository's name in place of `*` the name of each project made from it.
    pub name: PatternName,
    /// Where git fetches from, with `{repo}` where the repository's name goes.
    pub git: String,
    /// [`ProjectSpec::fetch`] of each.
    pub fetch: FetchBy,
    /// Which forge sends its webhooks.
    pub forge: String,
    /// Which repositories it covers, as the forge names them.
    pub repositories: PatternName,
    /// [`ProjectSpec::poll_seconds`] of each.
    pub poll_seconds: i64,
    /// [`ProjectSpec::jobs_max`] of each.
    pub jobs_max: i64,
    /// What is made of each.
    pub pipelines: Vec<PipelineSpec>,
}

impl ProjectPattern {
    /// The project for a repository; `None` where the pattern does not cover it, or where its name cannot
    /// be a project's.
    pub fn expand(&self, repository: &RepoPath) -> Option<ProjectSpec> {
        let repo = self.repositories.repo(repository)?;
        Some(ProjectSpec {
            name: format!("{}/{repo}", self.name.owner()).parse().ok()?,
            pattern: Some(self.name.clone()),
            git: self.git.replace(REPO_PLACEHOLDER, repo),
            fetch: self.fetch,
            forge: self.forge.clone(),
            repository: repository.clone(),
            repository_id: None,
            poll_seconds: self.poll_seconds,
            jobs_max: self.jobs_max,
            pipelines: self.pipelines.clone(),
        })
    }
}
