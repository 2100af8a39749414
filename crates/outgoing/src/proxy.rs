//! [`Proxy`]: the operator's proxy.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::url::{Host, host_and_port};

/// The longest address of a proxy and the longest list of exceptions, in bytes.
const TEXT_BYTES_MAX: usize = 4000;

/// The operator's proxy: `http://[user:password@]host[:port]`, with `http`, `https`, `socks4a`, `socks5` or `socks5h`
/// as the scheme. Also http:// addresses are asked for by `CONNECT`.
///
/// Behind a proxy that looks names up itself (all but `socks5`) it is the proxy who decides which addresses are
/// reached: here only addresses that are written as such and names of this machine (`localhost`) are refused. The
/// proxy's own address is the operator's, and may be private.
#[derive(Clone)]
pub struct Proxy {
    pub(crate) inner: ureq::Proxy,
    no_proxy: Vec<Except>,
}

/// What is reached without the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Except {
    All,
    /// A name and all that is below it.
    Name(String),
    Net(IpNet),
}

/// Why a proxy was refused. Its address is not repeated: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The address is none.
    #[error(
        "the proxy is not written as `http://[user:password@]host[:port]` (or https, socks4a, socks5, socks5h), with user and password percent-encoded"
    )]
    Address,
    /// The list of hosts that are reached directly is not one.
    #[error(
        "the list of hosts without proxy may have names, addresses and networks, with commas between them, or `*`"
    )]
    NoProxy,
}

impl FromStr for Proxy {
    type Err = ProxyError;

    fn from_str(text: &str) -> Result<Proxy, ProxyError> {
        let known = ["http", "https", "socks4a", "socks5", "socks5h"];
        let (scheme, rest) = text.split_once("://").ok_or(ProxyError::Address)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if text.len() > TEXT_BYTES_MAX || !known.contains(&scheme) || rest.contains(['/', '?', '#']) {
            return Err(ProxyError::Address);
        }
        let server = rest.rsplit_once('@').map_or(rest, |(_, server)| server);
        host_and_port(server, Some(1)).map_err(|_| ProxyError::Address)?;
        let inner = ureq::Proxy::new(&format!("{scheme}://{rest}")).map_err(|_| ProxyError::Address)?;
        Ok(Proxy { inner, no_proxy: Vec::new() })
    }
}

impl Proxy {
    /// `no_proxy` lists hosts that are reached directly, as curl has it: names, which count for what is below them
    /// too, addresses and networks, separated by commas; `*` for all.
    ///
    /// # Errors
    ///
    /// [`ProxyError::NoProxy`].
    pub fn without(mut self, no_proxy: &str) -> Result<Proxy, ProxyError> {
        if no_proxy.len() > TEXT_BYTES_MAX {
            return Err(ProxyError::NoProxy);
        }
        let parts = no_proxy.split([',', ' ']).filter(|part| !part.is_empty());
        self.no_proxy = parts.map(except).collect::<Option<_>>().ok_or(ProxyError::NoProxy)?;
        Ok(self)
    }

    /// Whether `host` is reached directly.
    pub(crate) fn skips(&self, host: &Host) -> bool {
        self.no_proxy.iter().any(|except| match (except, host) {
            (Except::All, _) => true,
            (Except::Net(net), Host::Address(address)) => net.contains(address),
            (Except::Name(name), Host::Name(host)) => {
                let host = host.strip_suffix('.').unwrap_or(host);
                host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            _ => false,
        })
    }
}

fn except(part: &str) -> Option<Except> {
    if part == "*" {
        return Some(Except::All);
    }
    let bare = part.trim_start_matches('[').trim_end_matches(']');
    if let Ok(net) = part.parse::<IpNet>() {
        return Some(Except::Net(net));
    }
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(Except::Net(address.into()));
    }
    match Host::parse(part.trim_start_matches("*.").trim_start_matches('.').trim_end_matches('.')) {
        Ok(Host::Name(name)) => Some(Except::Name(name)),
        _ => None,
    }
}

impl fmt::Display for Proxy {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.inner.host(), self.inner.port())
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
