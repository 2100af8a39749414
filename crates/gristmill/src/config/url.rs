//! URLs as far as the configuration needs to understand them: git remotes, forges' APIs and the public URL.

use gristmill_git::{Host, Protocol, RemoteUrl, UrlError};

use super::reader::shown;

/// A URL's parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Url<'a> {
    pub(super) scheme: &'a str,
    /// Without brackets.
    pub(super) host: &'a str,
}

impl Url<'_> {
    /// Whether the host is this machine.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(self.host)
    }
}

/// Whether the host is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Takes a URL apart. The error says what is wrong with it and never repeats what may be a password.
fn split(text: &str) -> Result<Url<'_>, String> {
    if text.len() > 2000 || text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(
            "a URL has no spaces, control characters or backslashes, and at most 2000 bytes".to_owned()
        );
    }
    let (scheme, rest) = text.split_once("://").ok_or("it has no scheme, such as https://")?;
    if scheme.is_empty() || !scheme.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'+')
    {
        return Err("it has no scheme, such as https://".to_owned());
    }
    if rest.contains(['?', '#']) {
        return Err("it has a `?` or `#`, which is not taken".to_owned());
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("it holds a user or a password; leave them out".to_owned());
    }
    Ok(Url { scheme, host: host(authority)? })
}

fn host(authority: &str) -> Result<&str, String> {
    let bad = || format!("`{}` is not a host with an optional port", shown(authority));
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(bad)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| bad())?;
        (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(bad)?) })
    } else {
        let (host, port) =
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        let good = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if host.starts_with(['-', '.']) || !host.chars().all(good) {
            return Err(bad());
        }
        (host, port)
    };
    let port_is_good =
        |port: &str| port.bytes().all(|c| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0);
    if port.is_some_and(|port| host.is_empty() || !port_is_good(port)) {
        return Err(bad());
    }
    Ok(host)
}

/// Checks where git fetches from: what [`RemoteUrl`] takes, and `http://` only to this machine or where
/// `allow_http` is set.
pub(super) fn git_remote(text: &str, allow_http: bool) -> Result<RemoteUrl, String> {
    let url: RemoteUrl = text.parse().map_err(|error: UrlError| error.to_string())?;
    if url.protocol() == Protocol::Http && !allow_http && !url.host().is_some_and(Host::is_loopback) {
        return Err(OPEN_HTTP.to_owned());
    }
    Ok(url)
}

const OPEN_HTTP: &str = "http:// is neither private nor safe from changes on the way; use https://, or set `allow_http = true` for a network you trust";

/// Checks the URL of a forge's API; gives it without a slash at the end.
pub(super) fn api(text: &str, allow_http: bool) -> Result<String, String> {
    let url = split(text)?;
    match url.scheme {
        "http" if !url.is_loopback() && !allow_http => return Err(OPEN_HTTP.to_owned()),
        "http" | "https" => {}
        _ => return Err("expected https:// or http://".to_owned()),
    }
    if url.host.is_empty() {
        return Err("it names no host".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Checks the server's own URL as others see it; gives it without a slash at the end.
pub(super) fn public_url(text: &str) -> Result<String, String> {
    let url = split(text)?;
    if !matches!(url.scheme, "http" | "https") {
        return Err("expected https:// or http://".to_owned());
    }
    if url.host.is_empty() {
        return Err("it names no host".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}
