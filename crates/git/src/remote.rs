//! [`Remote`]: a repository's address and what lets us in.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::credentials::Credentials;
use crate::deploykey::DeployKey;
use crate::helper::CredentialHelper;
use crate::hostkeys::HostKeys;
use crate::url::RemoteUrl;

/// A repository and what lets us in. What its transport has no use for is left alone: a token for ssh, a key for https.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Where it lies.
    pub url: RemoteUrl,
    /// For http and https: a token.
    pub credentials: Option<Credentials>,
    /// For http and https: a program that is asked for a token where [`Remote::credentials`] has none.
    pub helper: Option<CredentialHelper>,
    /// For ssh: the key, and the keys of servers that we do not know by ourselves.
    pub ssh: Option<SshAccess>,
}

/// What is needed to be let in by ssh and to know who lets us in.
#[derive(Clone, Debug)]
pub struct SshAccess {
    /// The private key.
    pub key: DeployKey,
    /// Servers' keys. Those named here count instead of [`HostKeys::published`] for the same server.
    pub host_keys: HostKeys,
}

impl Remote {
    /// A repository that asks for nothing.
    pub fn open(url: RemoteUrl) -> Remote {
        Remote { url, credentials: None, helper: None, ssh: None }
    }

    /// A repository that wants a token, or nothing where there is none.
    pub fn with_token(url: RemoteUrl, credentials: Option<Credentials>) -> Remote {
        Remote { credentials, ..Remote::open(url) }
    }
}

/// A host's name or address, of characters that no program takes for an option or a separator.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name or an IPv4 address.
    Name(String),
    /// An IPv6 address, written in brackets.
    V6(Ipv6Addr),
}

impl Host {
    /// Whether the host is this machine for certain, without asking a name server.
    pub fn is_loopback(&self) -> bool {
        match self {
            Host::Name(name) => {
                name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            Host::V6(address) => address.is_loopback(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::V6(address) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
