//! [`Family`]: which API a forge has.

use crate::forge::Forge;

use super::error::ApiError;

/// The APIs that are spoken here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Family {
    /// github.com and GitHub Enterprise Server, `/api/v3`.
    Github,
    /// `/api/v4`.
    Gitlab,
    /// Gitea and Forgejo, `/api/v1`.
    Gitea,
    /// Bitbucket Cloud, `/2.0`.
    Bitbucket,
    /// Bitbucket Data Center, `/rest/…/1.0`.
    BitbucketServer,
    /// Gogs, `/api/v1`: refs and content alone.
    Gogs,
    /// Azure DevOps, `/_apis`: refs and content alone.
    Azure,
}

impl Family {
    /// The API of a forge.
    ///
    /// # Errors
    /// [`ApiError::NoApi`] for all others: they have none, or one of quite another kind.
    pub(crate) fn of(forge: Forge) -> Result<Family, ApiError> {
        match forge {
            Forge::Github => Ok(Family::Github),
            Forge::Gitlab => Ok(Family::Gitlab),
            Forge::Gitea | Forge::Forgejo => Ok(Family::Gitea),
            Forge::Bitbucket => Ok(Family::Bitbucket),
            Forge::BitbucketServer => Ok(Family::BitbucketServer),
            Forge::Gogs => Ok(Family::Gogs),
            Forge::AzureDevops => Ok(Family::Azure),
            Forge::Codecommit | Forge::Generic | Forge::Bare => Err(ApiError::NoApi { forge }),
        }
    }

    /// Whether more than refs and content is asked for. What else Gogs and Azure DevOps have is not spoken here:
    /// [`super::Api::can`] stands before it, and no match beyond that is reached with them.
    pub(crate) const fn is_managed(self) -> bool {
        !matches!(self, Family::Gogs | Family::Azure)
    }
}

/// What is asked of an API: for the errors and for what a token must be allowed to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// [`super::Api::repository`].
    Repository,
    /// [`super::Api::hooks`], [`super::Api::ensure_hook`], [`super::Api::delete_hook`].
    Hooks,
    /// [`super::Api::keys`], [`super::Api::ensure_key`], [`super::Api::delete_key`].
    Keys,
    /// [`super::Api::set_status`].
    Statuses,
    /// [`super::Api::missed_deliveries`], [`super::Api::payload`].
    Deliveries,
    /// [`super::Api::owner_hooks`], and their deliveries.
    OwnerHooks,
    /// [`super::Api::refs`], [`super::Api::tree`].
    Content,
    /// [`super::Api::archive`].
    Archive,
}

impl Operation {
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Operation::Repository => "see the repository",
            Operation::Hooks => "manage its webhooks",
            Operation::Keys => "manage its deploy keys",
            Operation::Statuses => "set the status of a commit",
            Operation::Deliveries => "see the deliveries of its webhook",
            Operation::OwnerHooks => "see the webhooks of its organisation or group, and their deliveries",
            Operation::Content => "read its refs and content",
            Operation::Archive => "download its archives",
        }
    }
}

/// What a token must be allowed to do for an operation, in the forge's own words.
///
/// Sources: the page of each operation in the forges' documentation; GitHub's "Permissions required for
/// fine-grained personal access tokens" and "Scopes for OAuth apps"; GitLab's "Personal access tokens" and
/// "Permissions and roles"; Gitea's "OAuth2 Provider" (scopes); Bitbucket's "API token permissions"; Data
/// Center's "HTTP access tokens"; Azure DevOps' "Scopes" (`vso.code`).
pub(crate) const fn needed(family: Family, operation: Operation) -> &'static str {
    use Operation as Op;
    match (family, operation) {
        (Family::Github, Op::Repository | Op::Content | Op::Archive) => {
            "a fine-grained token with `Contents: read` (and `Metadata: read`), or a classic one with `repo`"
        }
        (Family::Github, Op::Hooks | Op::Deliveries) => {
            "a fine-grained token with `Webhooks: read and write`, or a classic one with `admin:repo_hook`"
        }
        (Family::Github, Op::Keys) => {
            "a fine-grained token with `Administration: read and write`, or a classic one with `repo`; the user must be an administrator of the repository"
        }
        (Family::Github, Op::Statuses) => {
            "a fine-grained token with `Commit statuses: read and write`, or a classic one with `repo:status`"
        }
        (Family::Github, Op::OwnerHooks) => {
            "a fine-grained token of the organisation with `Webhooks: read` among its organization permissions, or a classic one with `admin:org_hook`, of an owner of the organisation"
        }
        (Family::Gitlab, Op::OwnerHooks) => "a token with the scope `api` and the role Owner of the group",
        (Family::Gitlab, Op::Repository | Op::Content | Op::Archive) => {
            "a token with the scope `read_api` or `api` and at least the role Reporter"
        }
        (Family::Gitlab, Op::Hooks | Op::Keys | Op::Deliveries) => {
            "a token with the scope `api` and the role Maintainer"
        }
        (Family::Gitlab, Op::Statuses) => "a token with the scope `api` and at least the role Developer",
        (Family::Gitea, Op::Repository | Op::Content | Op::Archive) => "a token with `read:repository`",
        (Family::Gitea, Op::Hooks | Op::Keys | Op::Deliveries | Op::OwnerHooks) => {
            "a token with `write:repository`, of an administrator of the repository"
        }
        (Family::Gitea, Op::Statuses) => {
            "a token with `write:repository`, of somebody who may write to the repository"
        }
        (Family::Bitbucket, Op::Repository | Op::Content) => {
            "a token with `repository` (`read:repository:bitbucket`)"
        }
        (Family::Bitbucket, Op::Archive) => {
            "an API token with `read:repository:bitbucket`, and as `username` the e-mail address of its account; access tokens (`repository`) are refused for archives in some places"
        }
        (Family::Bitbucket, Op::Hooks | Op::Deliveries | Op::OwnerHooks) => {
            "a token with `repository` and `webhook` (`read:`, `write:` and `delete:webhook:bitbucket`), of an administrator of the repository"
        }
        (Family::Bitbucket, Op::Keys) => {
            "a token with `repository:admin` (`admin:repository:bitbucket` and `write:ssh-key:bitbucket`)"
        }
        (Family::Bitbucket, Op::Statuses) => "a token with `repository` (`write:repository:bitbucket`)",
        (Family::BitbucketServer, Op::Repository | Op::Content | Op::Archive | Op::Statuses) => {
            "an HTTP access token with `Repository read`"
        }
        (Family::BitbucketServer, Op::Hooks | Op::Keys | Op::Deliveries | Op::OwnerHooks) => {
            "an HTTP access token with `Repository admin`"
        }
        (Family::Gogs, _) => "an access token of somebody who may read the repository",
        (Family::Azure, _) => "a personal access token with `Code (Read)`",
    }
}
