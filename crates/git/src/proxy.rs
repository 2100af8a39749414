//! [`Proxy`]: through which server http and https go.

use std::fmt;
use std::str::FromStr;

use percent_encoding::utf8_percent_encode;

use crate::credentials::{RESERVED, base64};

/// The longest address of a proxy and the longest list of exceptions, in bytes.
const TEXT_BYTES_MAX: usize = 4000;

/// A proxy as `https_proxy` and git's `http.proxy` name it: `http://[user:password@]host[:port]`, with `http`,
/// `https`, `socks4a`, `socks5` or `socks5h` as the scheme. ssh and git:// do not use it.
///
/// The password reaches git in a file of ours, neither in arguments nor in the environment.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    scheme: &'static str,
    /// Plain, not encoded.
    user: Option<(String, String)>,
    /// With brackets where it is IPv6, and with the port where one is written.
    server: String,
    no_proxy: String,
}

/// Why a proxy was refused. Its address is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// It does not begin with a scheme that can be used.
    #[error("the proxy is not written as `http://host:port` (or https, socks4a, socks5, socks5h)")]
    Scheme,
    /// The host or port is none.
    #[error("the proxy has no valid host or port")]
    Server,
    /// The user or password cannot be sent.
    #[error("the proxy's user and password must be percent-encoded and have no control characters")]
    User,
    /// A path, a query or a fragment.
    #[error("the proxy's address has something behind its port")]
    Rest,
    /// The list of hosts that are reached directly is not one.
    #[error("the list of hosts without proxy may have names, addresses, `.`, `*`, `/` and commas")]
    NoProxy,
}

impl Proxy {
    /// `no_proxy` lists hosts that are reached directly, as curl has it: names, which count for what is below them
    /// too, addresses and networks, separated by commas; `*` for all.
    ///
    /// # Errors
    ///
    /// [`ProxyError::NoProxy`].
    pub fn without(mut self, no_proxy: &str) -> Result<Proxy, ProxyError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-*:/[], ".contains(c);
        if no_proxy.len() > TEXT_BYTES_MAX || !no_proxy.chars().all(plain) {
            return Err(ProxyError::NoProxy);
        }
        no_proxy.clone_into(&mut self.no_proxy);
        Ok(self)
    }

    /// What a git configuration file says to use it.
    pub(crate) fn config(&self) -> String {
        let user = self.user.as_ref().map(|(user, password)| {
            format!("{}:{}@", utf8_percent_encode(user, RESERVED), utf8_percent_encode(password, RESERVED))
        });
        // Of characters that mean something in such a file, none is left: what could be one is encoded.
        format!("[http]\n\tproxy = \"{}://{}{}\"\n", self.scheme, user.unwrap_or_default(), self.server)
    }

    /// The value of `no_proxy`.
    pub(crate) fn no_proxy(&self) -> &str {
        &self.no_proxy
    }

    /// Replaces the password, also in the forms it has on the wire and in addresses, by `***`.
    pub(crate) fn redact(&self, text: &str) -> String {
        let Some((user, password)) = &self.user else { return text.to_owned() };
        let encoded = utf8_percent_encode(password, RESERVED).to_string();
        let basic = base64(format!("{user}:{password}").as_bytes());
        [password.as_str(), &encoded, basic.trim_end_matches('=')]
            .into_iter()
            .filter(|secret| !secret.is_empty())
            .fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Proxy, ProxyError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ProxyError::Server);
        }
        let (scheme, rest) = text.split_once("://").ok_or(ProxyError::Scheme)?;
        let known = ["http", "https", "socks4a", "socks5", "socks5h"];
        let scheme = known.into_iter().find(|known| *known == scheme).ok_or(ProxyError::Scheme)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(ProxyError::Rest);
        }
        let (user, server) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((user, server)) => (Some(parse_user(user)?), server),
        };
        check_server(server)?;
        Ok(Proxy { scheme, user, server: server.to_ascii_lowercase(), no_proxy: String::new() })
    }
}

fn parse_user(text: &str) -> Result<(String, String), ProxyError> {
    let decoded = |text: &str| {
        let text = percent_encoding::percent_decode_str(text).decode_utf8().map_err(|_| ProxyError::User)?;
        if text.contains(char::is_control) { Err(ProxyError::User) } else { Ok(text.into_owned()) }
    };
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let (user, password) = (decoded(user)?, decoded(password)?);
    // A colon would end the user name in HTTP's Basic scheme.
    if user.is_empty() || user.contains(':') { Err(ProxyError::User) } else { Ok((user, password)) }
}

/// `host[:port]` by the rules for the hosts of repositories.
fn check_server(server: &str) -> Result<(), ProxyError> {
    let url = format!("http://{server}/x").parse::<crate::url::RemoteUrl>();
    url.map(|_| ()).map_err(|_| ProxyError::Server)
}

impl fmt::Display for Proxy {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.server)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_encoded_for_git_and_never_shown() {
        let proxy: Proxy = "http://me:p%40s\"s%2F1@Proxy.example.org:3128/".parse().expect("a proxy");
        assert_eq!(proxy.config(), "[http]\n\tproxy = \"http://me:p%40s%22s%2F1@proxy.example.org:3128\"\n");
        assert_eq!(
            format!("{proxy} {proxy:?}"),
            "http://proxy.example.org:3128 http://proxy.example.org:3128"
        );
        let text = "plain p@s\"s/1, encoded p%40s%22s%2F1, header bWU6cEBzInMvMQ== end";
        assert_eq!(proxy.redact(text), "plain ***, encoded ***, header ***== end");
    }
}
