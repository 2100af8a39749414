//! The status of a commit: what is shown beside it at the forge.
//!
//! Sources: "REST API endpoints for commit statuses" of GitHub; "Set commit pipeline status" in "Commits API" of
//! GitLab; `repoCreateStatus` of Gitea's description; "Commit statuses" of Bitbucket Cloud; "Updating build status
//! for commits" of Data Center (`/rest/build-status/1.0`).
//!
//! Limits that the pages do not name are from the forges' own refusals, as people met them: 140 characters for
//! GitHub's description ("description is too long (maximum is 140 characters)") and 40 for Bitbucket Cloud's key
//! ("Ensure this value has at most 40 characters"). 255 elsewhere is what columns for short texts usually hold;
//! it could not be checked.

use gristmill_model::{CommitId, GitRef, hex};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Api;
use super::call::{Answer, Call, Method};
use super::error::ApiError;
use super::family::{Family, Operation};
use crate::forge::Forge;

/// How a commit stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatusState {
    /// Work on it waits or goes on.
    Pending,
    /// It is done.
    Success,
    /// What it brought could not be made.
    Failure,
    /// Something else went wrong, which says nothing of the commit.
    Error,
    /// Somebody or something later has ended the work.
    Cancelled,
}

/// What is shown beside a commit. One of the same commit and context replaces the one before.
#[derive(Clone, Copy, Debug)]
pub struct CommitStatus<'a> {
    /// Which commit.
    pub commit: CommitId,
    /// The branch or tag that was built; GitLab attaches the status to it.
    pub git_ref: Option<&'a GitRef>,
    /// Who says it: `gristmill/<pipeline>`.
    pub context: &'a str,
    /// How it stands.
    pub state: StatusState,
    /// A sentence; cut where the forge takes less.
    pub description: &'a str,
    /// Where to read more. Bitbucket takes no status without one.
    pub url: Option<&'a str>,
}

/// The longest description GitHub takes, in characters.
const GITHUB_CHARS_MAX: usize = 140;
/// The longest key Bitbucket Cloud takes, in characters.
const BITBUCKET_KEY_CHARS_MAX: usize = 40;
/// The longest of all other texts, in characters.
const CHARS_MAX: usize = 255;

/// What GitLab says to a status that has the wanted state already.
const NO_TRANSITION: &str = "Cannot transition status";

impl Api {
    /// Sets the status of a commit.
    ///
    /// # Errors
    /// [`ApiError`]. [`ApiError::Unsupported`] at Bitbucket where there is no `url`.
    pub fn set_status<E: From<ApiError>>(
        &self,
        status: &CommitStatus<'_>,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<(), E> {
        self.check(Operation::Statuses)?;
        let call = self.call_with(Method::Post, &self.status_path(status), &self.status_body(status)?);
        let answer = carry(call)?;
        match self.accepted(Operation::Statuses, answer) {
            // A status that waits cannot be set to wait once more: it is as wanted.
            Err(ApiError::Refused { forge: Forge::Gitlab, status: 400, message, .. })
                if message.contains(NO_TRANSITION) =>
            {
                Ok(())
            }
            accepted => Ok(accepted.map(drop)?),
        }
    }

    fn status_path(&self, status: &CommitStatus<'_>) -> String {
        let commit = status.commit;
        match self.family {
            Family::Bitbucket => self.path(&format!("/commit/{commit}/statuses/build")),
            Family::BitbucketServer => format!("/build-status/1.0/commits/{commit}"),
            _ => self.path(&format!("/statuses/{commit}")),
        }
    }

    fn status_body(&self, status: &CommitStatus<'_>) -> Result<Value, ApiError> {
        let (state, name) = (word(self.family, status.state), cut(status.context, CHARS_MAX));
        let description_max = if self.family == Family::Github { GITHUB_CHARS_MAX } else { CHARS_MAX };
        let description = cut(status.description, description_max);
        let mut body = match self.family {
            Family::Github | Family::Gitea | Family::Gogs | Family::Azure => {
                json!({ "state": state, "context": name, "description": description })
            }
            Family::Gitlab => json!({ "state": state, "name": name, "description": description }),
            Family::Bitbucket | Family::BitbucketServer => {
                let longest =
                    if self.family == Family::Bitbucket { BITBUCKET_KEY_CHARS_MAX } else { CHARS_MAX };
                json!({ "state": state, "key": key(status.context, longest), "name": name, "description": description })
            }
        };
        if let (Family::Gitlab, Some(git_ref)) = (self.family, status.git_ref) {
            body["ref"] = git_ref.short().into();
        }
        let at_bitbucket = matches!(self.family, Family::Bitbucket | Family::BitbucketServer);
        match (status.url, at_bitbucket) {
            (Some(url), true) => body["url"] = url.into(),
            (Some(url), false) => body["target_url"] = url.into(),
            (None, true) => {
                return Err(self.unsupported("it takes no status without a link; set server.public_url to where people reach this server"));
            }
            (None, false) => {}
        }
        Ok(body)
    }
}

/// The forge's own word. Where it has none for a cancelled build, the one that says least of the commit.
const fn word(family: Family, state: StatusState) -> &'static str {
    use StatusState as S;
    match (family, state) {
        (Family::Gitlab, S::Failure | S::Error) => "failed",
        (Family::Gitlab, S::Cancelled) => "canceled",
        (Family::Bitbucket | Family::BitbucketServer, S::Pending) => "INPROGRESS",
        (Family::Bitbucket | Family::BitbucketServer, S::Success) => "SUCCESSFUL",
        (Family::Bitbucket, S::Cancelled) => "STOPPED",
        (Family::Bitbucket, S::Failure | S::Error)
        | (Family::BitbucketServer, S::Failure | S::Error | S::Cancelled) => "FAILED",
        (_, S::Pending) => "pending",
        (_, S::Success) => "success",
        (_, S::Failure) => "failure",
        (_, S::Error | S::Cancelled) => "error",
    }
}

/// `text` in one line of at most `longest` characters, with a sign where it was cut.
fn cut(text: &str, longest: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= longest {
        return text.chars().map(clean).collect();
    }
    text.chars().take(longest - 1).map(clean).chain(['…']).collect()
}

/// How many digits tell keys apart whose beginnings are the same.
const DIGITS: usize = 12;

/// `context` as a key: two contexts never become one, though both are cut.
fn key(context: &str, longest: usize) -> String {
    if context.chars().count() <= longest {
        return context.to_owned();
    }
    let digits = &hex::encode(&Sha256::digest(context.as_bytes()))[..DIGITS];
    let head: String = context.chars().take(longest - DIGITS - 1).collect();
    format!("{head}-{digits}")
}
