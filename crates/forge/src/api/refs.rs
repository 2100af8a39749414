//! Branches and tags with the commits they point to, for hosts where git itself is not reached.
//!
//! Sources: "List branches" and "List repository tags" of GitHub; "Branches API" and "Tags API" of GitLab;
//! `repoListBranches` and `repoListTags` of Gitea's description; "Refs" of Bitbucket Cloud; "Get branches" and
//! "Get tags" of Data Center; "List branches" and "List tags" of Gogs' reference (tags since 0.13, and its source: one
//! answer has them all); "Refs - List" of Azure DevOps. Of annotated tags all of them tell the commit; the tag's own
//! object only the last does, and it is not kept.

use gristmill_model::{CommitId, GitRef};
use serde::Deserialize;

use super::call::{Answer, Call, Method};
use super::error::ApiError;
use super::family::{Family, Operation};
use super::read::Line;
use super::{AZURE_VERSION, Api, PAGES_MAX, encoded};
use crate::change;
use crate::parse::Object;

/// A ref and where it points.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefTip {
    /// Its full name.
    pub git_ref: GitRef,
    /// The commit; of an annotated tag the one that it is of.
    pub commit: CommitId,
}

/// One shape for all.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    /// Without `refs/…/`.
    name: Option<Line>,
    /// The same at Data Center.
    display_id: Option<Line>,
    /// Of a tag of something else than a commit there may be none.
    commit: Option<Object<Commit>>,
    /// Of Bitbucket Cloud.
    target: Option<Target>,
    /// Of Data Center.
    latest_commit: Option<Line>,
}

/// GitHub and Gitea's tags say `sha`, GitLab and Gitea's branches `id`.
#[derive(Deserialize)]
struct Commit {
    sha: Option<Line>,
    id: Option<Line>,
}

/// At GitLab this is a text, the id of the tag's own object.
#[derive(Deserialize)]
#[serde(untagged)]
enum Target {
    Commit(Object<Hash>),
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Hash {
    hash: Option<Line>,
}

/// Azure DevOps' ref, with its full name.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfAzure {
    name: Line,
    object_id: Line,
    /// Of an annotated tag.
    peeled_object_id: Option<Line>,
}

#[derive(Deserialize)]
struct PageOfAzure {
    value: Vec<Object<OfAzure>>,
}

impl Listed {
    fn commit(self) -> Option<String> {
        let (commit, target) = (self.commit.map(|commit| commit.0), self.target);
        let target = if let Some(Target::Commit(target)) = target { target.0.hash } else { None };
        let of_commit = commit.and_then(|commit| commit.sha.or(commit.id));
        of_commit.or(target).or(self.latest_commit).map(|line| line.0)
    }
}

impl Api {
    /// All branches and tags. What has a name that git would not take, or points to no commit, is left out.
    ///
    /// # Errors
    /// [`ApiError`], also for an id that is none.
    pub fn refs<E: From<ApiError>>(
        &self,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<Vec<RefTip>, E> {
        let (branches, tags) = match self.family {
            Family::Azure => return self.refs_of_azure(carry),
            Family::Github | Family::Gitea | Family::Gogs | Family::BitbucketServer => ("/branches", "/tags"),
            Family::Gitlab => ("/repository/branches", "/repository/tags"),
            Family::Bitbucket => ("/refs/branches", "/refs/tags"),
        };
        let branches: Vec<Listed> = self.list(Operation::Content, &self.path(branches), carry)?;
        let tags: Vec<Listed> = self.list(Operation::Content, &self.path(tags), carry)?;
        let mut tips = Vec::with_capacity(branches.len() + tags.len());
        for listed in branches {
            tips.extend(self.tip(listed, |name| GitRef::from_branch(name).ok())?);
        }
        for listed in tags {
            tips.extend(self.tip(listed, |name| GitRef::from_tag(name).ok())?);
        }
        Ok(tips)
    }

    /// Those of the two kinds, page by page. Where the next one begins says a header.
    fn refs_of_azure<E: From<ApiError>>(
        &self,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<Vec<RefTip>, E> {
        let mut tips = Vec::new();
        for kind in ["heads/", "tags/"] {
            let path =
                self.path(&format!("/refs?filter={}&peelTags=true&$top=1000&{AZURE_VERSION}", encoded(kind)));
            let mut next = Some(String::new());
            for _ in 0..PAGES_MAX {
                let Some(place) = next.take() else { break };
                let call = self.call(Method::Get, &format!("{path}{place}"));
                let answer = self.ask(Operation::Content, call, carry)?;
                let page: PageOfAzure = self.object(&answer)?;
                let token = answer.header("x-ms-continuationtoken").filter(|_| !page.value.is_empty());
                next = token.map(|token| format!("&continuationToken={}", encoded(token)));
                for Object(listed) in page.value {
                    tips.extend(self.tip_of_azure(&listed)?);
                }
            }
            if next.is_some() {
                return Err(ApiError::TooMany { forge: self.forge, pages: PAGES_MAX }.into());
            }
        }
        Ok(tips)
    }

    fn tip_of_azure(&self, listed: &OfAzure) -> Result<Option<RefTip>, ApiError> {
        let Ok(git_ref) = listed.name.0.parse::<GitRef>() else { return Ok(None) };
        let id = listed.peeled_object_id.as_ref().unwrap_or(&listed.object_id);
        let commit =
            change::commit_or_zero(&id.0).map_err(|error| self.shape("objectId", &error.to_string()))?;
        Ok(commit.map(|commit| RefTip { git_ref, commit }))
    }

    /// `full` makes the full name.
    fn tip(
        &self,
        mut listed: Listed,
        full: impl Fn(&str) -> Option<GitRef>,
    ) -> Result<Option<RefTip>, ApiError> {
        let name = listed.name.take().or_else(|| listed.display_id.take());
        let name = name.ok_or_else(|| self.shape("name", "the ref has none"))?;
        let (Some(git_ref), Some(commit)) = (full(&name.0), listed.commit()) else { return Ok(None) };
        let commit =
            change::commit_or_zero(&commit).map_err(|error| self.shape("commit", &error.to_string()))?;
        Ok(commit.map(|commit| RefTip { git_ref, commit }))
    }
}
