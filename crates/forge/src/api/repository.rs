//! The repository itself: whether the token sees it, and under which id.

use serde::Deserialize;

use super::Api;
use super::call::{Answer, Call, Method};
use super::error::ApiError;
use super::family::{Family, Operation};
use super::read::{Id, Line};
use crate::parse::Object;

/// A repository as its forge tells of it. The addresses are for people: git fetches from where the
/// configuration says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repository {
    /// The forge's id, which stays when it gets another name: a number, at Bitbucket Cloud a UUID in braces. It
    /// is the one that webhooks carry.
    pub id: String,
    /// `owner/name`, as the forge writes it.
    pub full_name: String,
    /// The branch that is shown first. Not told by Data Center, nor of an empty repository.
    pub default_branch: Option<String>,
    /// Whether not everybody may see it.
    pub private: bool,
    /// Where it is cloned from over ssh.
    pub ssh_url: Option<String>,
    /// Where it is cloned from over https.
    pub https_url: Option<String>,
}

/// GitHub ("Get a repository") and Gitea ("Get a repository"), whose fields have the same names.
#[derive(Deserialize)]
struct OfGithub {
    id: Id,
    full_name: Line,
    default_branch: Option<Line>,
    private: bool,
    ssh_url: Option<Line>,
    clone_url: Option<Line>,
}

/// GitLab, "Get a single project".
#[derive(Deserialize)]
struct OfGitlab {
    id: Id,
    path_with_namespace: Line,
    default_branch: Option<Line>,
    /// `private`, `internal` or `public`; not told to somebody who is not known there.
    visibility: Option<Line>,
    ssh_url_to_repo: Option<Line>,
    http_url_to_repo: Option<Line>,
}

/// Bitbucket Cloud, "Get a repository".
#[derive(Deserialize)]
struct OfBitbucket {
    uuid: Id,
    full_name: Line,
    mainbranch: Option<Object<Named>>,
    is_private: bool,
    links: Option<Object<Links>>,
}

/// Bitbucket Data Center, "Get repository".
#[derive(Deserialize)]
struct OfServer {
    id: Id,
    slug: Line,
    project: Object<Project>,
    public: Option<bool>,
    links: Option<Object<Links>>,
}

#[derive(Deserialize)]
struct Named {
    name: Line,
}

#[derive(Deserialize)]
struct Project {
    key: Line,
}

#[derive(Deserialize, Default)]
struct Links {
    #[serde(default)]
    clone: Vec<Object<Link>>,
}

#[derive(Deserialize)]
struct Link {
    name: Line,
    href: Line,
}

impl Links {
    fn named(&self, names: [&str; 2]) -> Option<String> {
        let found = self.clone.iter().find(|link| names.contains(&link.0.name.0.as_str()));
        found.map(|link| link.0.href.0.clone())
    }
}

impl Api {
    /// Asks whether the token sees the repository.
    ///
    /// # Errors
    /// [`ApiError`]; what the token must be allowed to do stands in it.
    pub fn repository<E: From<ApiError>>(
        &self,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<Repository, E> {
        let answer = self.ask(Operation::Repository, self.call(Method::Get, &self.path("")), carry)?;
        Ok(self.read_repository(&answer)?)
    }

    fn read_repository(&self, answer: &Answer) -> Result<Repository, ApiError> {
        let text = |line: Option<Line>| line.map(|line| line.0).filter(|text| !text.is_empty());
        Ok(match self.family {
            Family::Github | Family::Gitea | Family::Gogs | Family::Azure => {
                let found: OfGithub = self.object(answer)?;
                Repository {
                    id: found.id.0,
                    full_name: found.full_name.0,
                    default_branch: text(found.default_branch),
                    private: found.private,
                    ssh_url: text(found.ssh_url),
                    https_url: text(found.clone_url),
                }
            }
            Family::Gitlab => {
                let found: OfGitlab = self.object(answer)?;
                Repository {
                    id: found.id.0,
                    full_name: found.path_with_namespace.0,
                    default_branch: text(found.default_branch),
                    private: found.visibility.is_some_and(|visibility| visibility.0 != "public"),
                    ssh_url: text(found.ssh_url_to_repo),
                    https_url: text(found.http_url_to_repo),
                }
            }
            Family::Bitbucket => {
                let found: OfBitbucket = self.object(answer)?;
                let links = found.links.map(|links| links.0).unwrap_or_default();
                Repository {
                    id: found.uuid.0,
                    full_name: found.full_name.0,
                    default_branch: text(found.mainbranch.map(|branch| branch.0.name)),
                    private: found.is_private,
                    ssh_url: links.named(["ssh", "ssh"]),
                    https_url: links.named(["https", "http"]),
                }
            }
            Family::BitbucketServer => {
                let found: OfServer = self.object(answer)?;
                let links = found.links.map(|links| links.0).unwrap_or_default();
                Repository {
                    id: found.id.0,
                    full_name: format!("{}/{}", found.project.0.key.0, found.slug.0),
                    default_branch: None,
                    private: found.public != Some(true),
                    ssh_url: links.named(["ssh", "ssh"]),
                    https_url: links.named(["https", "http"]),
                }
            }
        })
    }
}
