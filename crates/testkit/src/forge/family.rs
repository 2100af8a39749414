//! [`Family`]: whom a fake forge plays, and [`Shape`]: what each of them does in its own way.

use std::sync::Arc;

use serde_json::Value;

use super::Inner;
use super::delivery::Delivery;
use super::facts::Change;
use super::http::{Answer, Call};
use super::state::{Hook, Refusal, Repository};
use super::{azure, bitbucket, bitbucket_server, generic, gitea, github, gitlab};

/// A kind of forge.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Family {
    /// github.com (its API has an address of its own) and Enterprise Server (below `/api/v3`).
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea.
    Gitea,
    /// Forgejo.
    Forgejo,
    /// Gogs.
    Gogs,
    /// Bitbucket Cloud.
    Bitbucket,
    /// Bitbucket Data Center.
    BitbucketServer,
    /// Azure DevOps.
    AzureDevops,
    /// A git server without an API that sends a token in a header.
    Generic,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 9] = [
        Family::Github,
        Family::Gitlab,
        Family::Gitea,
        Family::Forgejo,
        Family::Gogs,
        Family::Bitbucket,
        Family::BitbucketServer,
        Family::AzureDevops,
        Family::Generic,
    ];

    /// The name that the configuration has for it.
    pub const fn name(self) -> &'static str {
        match self {
            Family::Github => "github",
            Family::Gitlab => "gitlab",
            Family::Gitea => "gitea",
            Family::Forgejo => "forgejo",
            Family::Gogs => "gogs",
            Family::Bitbucket => "bitbucket",
            Family::BitbucketServer => "bitbucket-server",
            Family::AzureDevops => "azure-devops",
            Family::Generic => "generic",
        }
    }

    pub(super) fn shape(self) -> &'static dyn Shape {
        match self {
            Family::Github => &github::Github,
            Family::Gitlab => &gitlab::Gitlab,
            Family::Gitea => &gitea::GITEA,
            Family::Forgejo => &gitea::FORGEJO,
            Family::Gogs => &gitea::GOGS,
            Family::Bitbucket => &bitbucket::Bitbucket,
            Family::BitbucketServer => &bitbucket_server::BitbucketServer,
            Family::AzureDevops => &azure::Azure,
            Family::Generic => &generic::Generic,
        }
    }
}

/// What a webhook tells.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    /// The event's name, as the header has it.
    pub(super) event: String,
    /// What a hook must ask for to be sent it; empty where every hook is.
    pub(super) asked_as: &'static str,
    pub(super) body: Value,
}

impl Notice {
    pub(super) fn new(event: &str, asked_as: &'static str, body: Value) -> Notice {
        Notice { event: event.to_owned(), asked_as, body }
    }
}

/// The repository that payloads and answers speak of, and the addresses that lead to it.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) id: u64,
    pub(super) full_name: String,
    /// `http://host:port` of the pages.
    pub(super) web: String,
    /// The API's address, without a slash at its end.
    pub(super) api: String,
    pub(super) clone_url: String,
    pub(super) ssh_url: String,
    pub(super) is_private: bool,
}

impl About {
    pub(super) fn name(&self) -> &str {
        self.full_name.rsplit('/').next().unwrap_or_default()
    }

    pub(super) fn owner(&self) -> &str {
        self.full_name.rsplit_once('/').map_or("", |(owner, _)| owner)
    }
}

impl Inner {
    pub(super) fn about(&self, repository: &Repository) -> About {
        let shape = self.family.shape();
        let web = format!("http://{}", self.doors.web);
        let name = &repository.full_name;
        About {
            id: repository.id,
            full_name: name.clone(),
            api: self.api_url(),
            clone_url: format!("{web}{}", shape.clone_path(name)),
            ssh_url: self.ssh_url(name),
            is_private: self.state().is_private,
            web,
        }
    }
}

/// What each forge does in its own way.
pub(super) trait Shape: Sync {
    /// The path of a repository for git over HTTP, from the first slash.
    fn clone_path(&self, full_name: &str) -> String;

    /// The path of a repository for git over ssh.
    fn ssh_path(&self, full_name: &str) -> String {
        self.clone_path(full_name)
    }

    /// The repository that a path of git's is about, and what git wants there (`/info/refs` …).
    fn git_path(&self, path: &str) -> Option<(String, String)> {
        split_git_path(path)
    }

    /// The user name that git must send with a token; any where this is empty.
    fn git_users(&self) -> &'static [&'static str] {
        &[]
    }

    /// Where the API begins on the forge's own address.
    fn api_prefix(&self) -> &'static str;

    /// The address for the API, where it is not below the forge's own.
    fn has_api_door(&self) -> bool {
        false
    }

    /// Whether a path that is neither git's nor the API's is a download.
    fn is_download(&self, _path: &str) -> bool {
        false
    }

    /// Answers a request to the API.
    fn api(&self, forge: &Arc<Inner>, call: &Call) -> Answer;

    /// Answers a request for a download outside the API.
    fn download(&self, _forge: &Arc<Inner>, _call: &Call) -> Answer {
        Answer::text(404, "not found")
    }

    /// The token of a request to the API.
    fn token(&self, call: &Call) -> Option<String>;

    /// Says that somebody is not let in.
    fn refused(&self, why: Refusal, call: &Call) -> Answer;

    /// Says that there were too many requests.
    fn limited(&self, seconds: u64) -> Answer {
        Answer::text(429, "Too Many Requests").with("retry-after", seconds.to_string())
    }

    /// The events of a hook that asks for all that the fakes send.
    fn all_events(&self) -> &'static [&'static str];

    /// What is sent for one push.
    fn pushed(&self, about: &About, changes: &[Change]) -> Vec<Notice>;

    /// What is sent for a release; `None` where the forge has none.
    fn released(&self, _about: &About, _tag: &str, _action: &str, _commit: Option<&str>) -> Option<Notice> {
        None
    }

    /// What is sent to try a hook; `None` where the forge sends nothing of its own.
    fn tried(&self, _about: &About, _hook: &Hook) -> Option<Notice> {
        None
    }

    /// Whether trying is what the forge does when a hook is made.
    fn tries_new_hooks(&self) -> bool {
        false
    }

    /// Writes the delivery's id into the body, where that is its place.
    fn stamp(&self, _body: &mut Value, _id: &str, _hook: &Hook) {}

    /// What proves the sender.
    fn sign(&self, secret: &str, delivery: &Delivery) -> String;

    /// The headers of a delivery; those without a value are left out.
    fn headers(&self, delivery: &Delivery) -> Vec<(&'static str, String)>;
}

/// `/acme/shop.git/info/refs` is `acme/shop` and `/info/refs`; the ending may be missing.
pub(super) fn split_git_path(path: &str) -> Option<(String, String)> {
    let ends = ["/info/refs", "/git-upload-pack", "/git-receive-pack"];
    let end = ends.into_iter().find(|end| path.ends_with(end))?;
    let name = path[..path.len() - end.len()].trim_start_matches('/');
    let name = name.strip_suffix(".git").unwrap_or(name);
    (!name.is_empty()).then(|| (name.to_owned(), end.to_owned()))
}
