//! [`Origin`]: the server that credentials were configured for.

use gristmill_git::{Protocol, RemoteUrl};

/// Where a repository is served: protocol, host and port. What lets us in at one is shown to no other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    protocol: Protocol,
    /// In small letters, as names count without regard to case.
    host: Option<String>,
    port: Option<u16>,
}

impl Origin {
    /// That of an address.
    pub fn of(url: &RemoteUrl) -> Origin {
        let protocol = url.protocol();
        let host = url.host().map(|host| host.to_string().to_ascii_lowercase());
        Origin { protocol, host, port: url.port().or(usual_port(protocol)) }
    }

    /// Whether what is written there is an address at this server.
    pub fn has(&self, git: &str) -> bool {
        git.parse::<RemoteUrl>().is_ok_and(|url| Origin::of(&url) == *self)
    }
}

fn usual_port(protocol: Protocol) -> Option<u16> {
    match protocol {
        Protocol::Https => Some(443),
        Protocol::Http => Some(80),
        Protocol::Git => Some(9418),
        Protocol::Ssh => Some(22),
        Protocol::File => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_protocol_host_and_port() {
        for (left, right, expected) in [
            ("https://a.org/x/y.git", "https://a.org/z.git", true),
            ("https://a.org/x/y.git", "https://A.org:443/x/y.git", true),
            ("https://a.org/x/y.git", "https://a.org:8443/x/y.git", false),
            ("https://a.org/x/y.git", "http://a.org/x/y.git", false),
            ("https://a.org/x/y.git", "http://a.org:443/x/y.git", false),
            ("https://a.org/x/y.git", "https://b.org/x/y.git", false),
            ("http://a.org:80/x", "http://a.org/x", true),
            ("git@a.org:x/y.git", "ssh://other@a.org:22/x/y.git", true),
            ("git@a.org:x/y.git", "ssh://git@a.org:2222/x/y.git", false),
            ("git@a.org:x/y.git", "git@b.org:x/y.git", false),
            ("https://[::1]/x", "https://[0::1]/x", true),
            ("/srv/x.git", "file:///srv/y.git", true),
            ("/srv/x.git", "https://a.org/x", false),
            ("https://a.org/x", "no address", false),
        ] {
            let origin = Origin::of(&left.parse().unwrap());
            assert_eq!(origin.has(right), expected, "{left} {right}");
        }
    }
}
