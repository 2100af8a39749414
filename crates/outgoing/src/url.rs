//! [`Url`]: an address of http or https that was looked at.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ureq::http::Uri;

/// The longest address, in bytes. Signed addresses of object stores reach 4 KiB.
const BYTES_MAX: usize = 16 << 10;
/// The longest name of a host, as DNS has it.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// An address of http or https. It has no user, no password and no fragment, and its host has one spelling: an
/// IPv4 address that was written as `0x7f.1` is there as `127.0.0.1`.
///
/// What it shows as text (`Display`, `Debug`) leaves the query out, which may hold a signature; [`Url::as_str`]
/// is the whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    text: String,
    host: Host,
    port: u16,
    /// Where the path begins in `text`.
    path_at: usize,
    is_https: bool,
}

/// The host in an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name in lower case, perhaps with the dot of the root behind it.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl Host {
    /// Reads what stands between `//` and the port.
    ///
    /// # Errors
    ///
    /// [`UrlError::Host`].
    pub(crate) fn parse(text: &str) -> Result<Host, UrlError> {
        if let Some(inner) = text.strip_prefix('[') {
            let address = inner.strip_suffix(']').and_then(|inner| inner.parse::<Ipv6Addr>().ok());
            return address.map(|address| Host::Address(address.into())).ok_or(UrlError::Host);
        }
        let bare = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if bare.len() > NAME_BYTES_MAX || !bare.split('.').all(is_label) {
            return Err(UrlError::Host);
        }
        if ends_in_a_number(bare) {
            return old_v4(bare).map(|address| Host::Address(address.into())).ok_or(UrlError::Host);
        }
        Ok(Host::Name(text.to_ascii_lowercase()))
    }

    /// Whether it is a name that means this very machine, or a cloud's metadata service, whatever DNS says.
    /// For requests that go through a proxy, which does the looking up.
    pub(crate) fn is_special_name(&self) -> bool {
        const NAMES: [&str; 5] =
            ["localhost", "localdomain", "metadata", "metadata.google.internal", "metadata.goog"];
        let Host::Name(name) = self else { return false };
        let name = name.strip_suffix('.').unwrap_or(name);
        NAMES.iter().any(|special| {
            name.strip_suffix(special).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// The rule of the WHATWG's URL standard for "this is meant to be an IPv4 address".
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    last.bytes().all(|byte| byte.is_ascii_digit()) || hex_digits(last).is_some()
}

fn hex_digits(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(digits)
}

/// An IPv4 address in any form that `inet_aton` takes: one to four numbers, decimal, octal or hexadecimal, the last
/// of which fills what is left.
fn old_v4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u64> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    let left = 4usize.checked_sub(first.len()).filter(|left| *left > 0)?;
    if first.iter().any(|part| *part > 0xff) || *last >> (8 * left) != 0 {
        return None;
    }
    let high = first.iter().fold(0, |bits, part| (bits << 8) | part);
    u32::try_from((high << (8 * left)) | last).ok().map(Ipv4Addr::from)
}

fn number(text: &str) -> Option<u64> {
    if let Some(digits) = hex_digits(text) {
        return if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 16).ok() };
    }
    let is_octal = text.len() > 1 && text.starts_with('0');
    u64::from_str_radix(text, if is_octal { 8 } else { 10 }).ok()
}

/// Why an address is none that can be called. It is not repeated: it may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("the address does not begin with https:// or http://")]
    Scheme,
    /// http where https is needed.
    #[error("the address is not encrypted: expected https://")]
    Cleartext,
    /// A user or password.
    #[error("the address has a user name or password in it")]
    UserInfo,
    /// The host is no name and no address.
    #[error("the address has no valid host")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the address has no valid port")]
    Port,
    /// Characters that no address has.
    #[error("the address has characters that must be encoded")]
    Characters,
    /// Longer than any address should be.
    #[error("the address is longer than {BYTES_MAX} bytes")]
    TooLong,
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Url, UrlError> {
        if text.len() > BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        // A backslash is a slash to some readers and none to others.
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte)) {
            return Err(UrlError::Characters);
        }
        let text = text.split_once('#').map_or(text, |(text, _)| text);
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let is_https = scheme.eq_ignore_ascii_case("https");
        if !is_https && !scheme.eq_ignore_ascii_case("http") {
            return Err(UrlError::Scheme);
        }
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let default = if is_https { 443 } else { 80 };
        let (host, port) = host_and_port(authority, Some(default))?;
        let mut canonical = format!("{}://{host}", if is_https { "https" } else { "http" });
        if port != default {
            canonical = format!("{canonical}:{port}");
        }
        let path_at = canonical.len();
        if !rest.starts_with('/') {
            canonical.push('/');
        }
        canonical.push_str(rest);
        if canonical.parse::<Uri>().is_err() {
            return Err(UrlError::Characters);
        }
        Ok(Url { text: canonical, host, port, path_at, is_https })
    }
}

/// Reads `host:port`; without `default` the port must be there.
pub(crate) fn host_and_port(text: &str, default: Option<u16>) -> Result<(Host, u16), UrlError> {
    let colon = text.rfind(':').filter(|colon| !text[*colon..].contains(']'));
    let (host, port) = colon.map_or((text, None), |colon| (&text[..colon], Some(&text[colon + 1..])));
    let port = match port {
        None => default,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().ok(),
        Some(_) => None,
    };
    let port = port.filter(|port| *port != 0).ok_or(UrlError::Port)?;
    Ok((Host::parse(host)?, port))
}

impl Url {
    /// Reads an address of which only https will do.
    ///
    /// # Errors
    ///
    /// [`UrlError`]; [`UrlError::Cleartext`] for http.
    pub fn https(text: &str) -> Result<Url, UrlError> {
        let url: Url = text.parse()?;
        if url.is_https { Ok(url) } else { Err(UrlError::Cleartext) }
    }

    /// The whole, with the query.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, which may be the scheme's.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is https.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// The path, from its first slash to the query.
    pub fn path(&self) -> &str {
        let rest = &self.text[self.path_at..];
        rest.split_once('?').map_or(rest, |(path, _)| path)
    }

    /// `scheme://host[:port]`.
    pub fn origin(&self) -> &str {
        &self.text[..self.path_at]
    }

    /// What `reference`, as in a `Location` header, means from here.
    ///
    /// # Errors
    ///
    /// [`UrlError`] where the result is no address that can be called.
    pub fn join(&self, reference: &str) -> Result<Url, UrlError> {
        if reference.len() > BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        let scheme = reference.split(['/', '?', '#']).next().unwrap_or_default();
        if scheme.contains(':') {
            return reference.parse();
        }
        let scheme = if self.is_https { "https:" } else { "http:" };
        let origin = self.origin();
        let folder = self.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        let whole = match reference.as_bytes() {
            [] | [b'#', ..] => self.text.clone(),
            [b'/', b'/', ..] => format!("{scheme}{reference}"),
            [b'/', ..] => format!("{origin}{reference}"),
            [b'?', ..] => format!("{origin}{}{reference}", self.path()),
            _ => format!("{origin}{}", without_dots(&format!("{folder}/{reference}"))),
        };
        whole.parse()
    }
}

/// Takes `.` and `..` out of a path that was put together, RFC 3986, 5.2.4.
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            part => kept.push(part),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

impl fmt::Display for Url {
    /// Without the query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
