//! [`Forge`]: the closed list of senders.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{bare, bitbucket, bitbucket_server, codecommit, gitea, github, gitlab, text};

/// A kind of server that sends webhooks. A project's configuration says which.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Forge {
    /// github.com and GitHub Enterprise Server.
    Github,
    /// gitlab.com and GitLab on a server of one's own: webhooks of projects and groups, and system hooks.
    Gitlab,
    /// Bitbucket Cloud.
    Bitbucket,
    /// Bitbucket Server and Data Center.
    BitbucketServer,
    /// Gitea.
    Gitea,
    /// Forgejo.
    Forgejo,
    /// Gogs.
    Gogs,
    /// Azure DevOps: the service hook "Web Hooks".
    AzureDevops,
    /// AWS CodeCommit, through a topic of Amazon SNS.
    Codecommit,
    /// Anything that can send a fixed token in a header.
    Generic,
    /// A bare repository, whose `post-receive` hook calls `gristmill webhook send`.
    Bare,
}

/// The text names no forge that is known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a known forge; expected one of: {}", known())]
pub struct UnknownForge {
    name: String,
}

fn known() -> String {
    Forge::ALL.map(Forge::name).join(", ")
}

impl Forge {
    /// Every forge, in the order in which people are told of them.
    pub const ALL: [Forge; 11] = [
        Forge::Github,
        Forge::Gitlab,
        Forge::Bitbucket,
        Forge::BitbucketServer,
        Forge::Gitea,
        Forge::Forgejo,
        Forge::Gogs,
        Forge::AzureDevops,
        Forge::Codecommit,
        Forge::Generic,
        Forge::Bare,
    ];

    /// The name used in the configuration and the database.
    pub const fn name(self) -> &'static str {
        match self {
            Forge::Github => "github",
            Forge::Gitlab => "gitlab",
            Forge::Bitbucket => "bitbucket",
            Forge::BitbucketServer => "bitbucket-server",
            Forge::Gitea => "gitea",
            Forge::Forgejo => "forgejo",
            Forge::Gogs => "gogs",
            Forge::AzureDevops => "azure-devops",
            Forge::Codecommit => "codecommit",
            Forge::Generic => "generic",
            Forge::Bare => "bare",
        }
    }

    /// The request header that names the event. Empty where the body alone names it.
    pub const fn event_header(self) -> &'static str {
        match self {
            Forge::Github => github::EVENT_HEADER,
            Forge::Gitlab => gitlab::EVENT_HEADER,
            Forge::Bitbucket => bitbucket::EVENT_HEADER,
            Forge::BitbucketServer => bitbucket_server::EVENT_HEADER,
            Forge::Gitea => gitea::GITEA.event_header,
            Forge::Forgejo => gitea::FORGEJO.event_header,
            Forge::Gogs => gitea::GOGS.event_header,
            Forge::Codecommit => codecommit::EVENT_HEADER,
            Forge::AzureDevops | Forge::Generic | Forge::Bare => "",
        }
    }

    /// The request header with the delivery's id, which stays the same when it is sent again. Empty
    /// where the body has it, or nothing. (A delivery of GitLab's that is signed has it in `webhook-id`.)
    pub const fn delivery_header(self) -> &'static str {
        match self {
            Forge::Github => github::DELIVERY_HEADER,
            Forge::Gitlab => gitlab::DELIVERY_HEADER,
            Forge::Bitbucket => bitbucket::DELIVERY_HEADER,
            Forge::BitbucketServer => bitbucket_server::DELIVERY_HEADER,
            Forge::Gitea => gitea::GITEA.delivery_header,
            Forge::Forgejo => gitea::FORGEJO.delivery_header,
            Forge::Gogs => gitea::GOGS.delivery_header,
            Forge::Bare => bare::DELIVERY_HEADER,
            Forge::AzureDevops | Forge::Codecommit | Forge::Generic => "",
        }
    }
}

impl fmt::Display for Forge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Forge {
    type Err = UnknownForge;

    fn from_str(name: &str) -> Result<Forge, UnknownForge> {
        let found = Forge::ALL.into_iter().find(|forge| forge.name() == name);
        found.ok_or_else(|| UnknownForge { name: text::shown(name) })
    }
}

impl Serialize for Forge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Forge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Forge, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
