//! [`RemoteUrl`]: where a repository lies, checked before git sees it.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::protocol::Protocol;
use crate::remote::Host;
use crate::url_error::UrlError;

/// The longest address taken, in bytes.
const URL_BYTES_MAX: usize = 2000;

/// A repository's address. It never holds a secret: an address with a password is refused.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RemoteUrl {
    kind: Kind,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    /// `https`, `http`, `git` or `ssh`. The path begins with `/`, except for ssh's short form.
    Network { protocol: Protocol, user: Option<String>, host: Host, port: Option<u16>, path: String },
    /// A directory on this machine.
    File(PathBuf),
}

impl RemoteUrl {
    /// An absolute directory on this machine.
    ///
    /// # Errors
    ///
    /// Refuses relative paths, `..`, control characters and the bare root.
    pub fn from_path(path: impl Into<PathBuf>) -> Result<RemoteUrl, UrlError> {
        let path = path.into();
        check_file_path(&path)?;
        Ok(RemoteUrl { kind: Kind::File(path) })
    }

    /// Which transport the address names.
    pub fn protocol(&self) -> Protocol {
        match &self.kind {
            Kind::Network { protocol, .. } => *protocol,
            Kind::File(_) => Protocol::File,
        }
    }

    /// The host, where there is one.
    pub fn host(&self) -> Option<&Host> {
        match &self.kind {
            Kind::Network { host, .. } => Some(host),
            Kind::File(_) => None,
        }
    }

    /// The port, where one is written.
    pub fn port(&self) -> Option<u16> {
        match &self.kind {
            Kind::Network { port, .. } => *port,
            Kind::File(_) => None,
        }
    }

    /// The directory, for a repository on this machine.
    pub fn file_path(&self) -> Option<&Path> {
        match &self.kind {
            Kind::File(path) => Some(path),
            Kind::Network { .. } => None,
        }
    }

    /// The user of an ssh address, where one is written.
    pub fn user(&self) -> Option<&str> {
        match &self.kind {
            Kind::Network { user, .. } => user.as_deref(),
            Kind::File(_) => None,
        }
    }

    /// The path as written; with `/` in front except for ssh's short form.
    pub fn path(&self) -> &str {
        match &self.kind {
            Kind::Network { path, .. } => path,
            Kind::File(path) => path.to_str().unwrap_or_default(),
        }
    }

    /// The address that a relative one (`./x`, `../x`) of a `.gitmodules` means: `..` takes the last part of the
    /// path away, as git has it. The server stays the same.
    ///
    /// # Errors
    ///
    /// Refuses what leads above the root, and what no address may have.
    pub fn join(&self, relative: &str) -> Result<RemoteUrl, UrlError> {
        check_text(relative)?;
        let mut base = self.path().trim_end_matches('/');
        let mut rest = relative;
        loop {
            if let Some(after) = rest.strip_prefix("./") {
                rest = after;
            } else if let Some(after) = rest.strip_prefix("../") {
                if base.is_empty() {
                    return Err(UrlError::Path("a relative address leads above the server's root"));
                }
                base = base.rsplit_once('/').map_or("", |(before, _)| before);
                rest = after;
            } else {
                break;
            }
        }
        let short = !self.path().starts_with('/');
        let path = if short && base.is_empty() { rest.to_owned() } else { format!("{base}/{rest}") };
        check_path(rest)?;
        match &self.kind {
            Kind::File(_) => RemoteUrl::from_path(path),
            // What begins with `/` would be shown, and read again, as the long form.
            Kind::Network { .. } if short && path.starts_with('/') => {
                Err(UrlError::Path("a relative address leads above the server's root"))
            }
            Kind::Network { protocol, user, host, port, .. } => {
                if *protocol == Protocol::Ssh {
                    check_ssh_path(&percent_decode_str(&path).decode_utf8_lossy())?;
                }
                let (protocol, user, host, port) = (*protocol, user.clone(), host.clone(), *port);
                Ok(RemoteUrl { kind: Kind::Network { protocol, user, host, port, path } })
            }
        }
    }

    /// What git is given: the address as displayed, a bare path for a directory.
    pub(crate) fn argument(&self) -> std::ffi::OsString {
        match &self.kind {
            Kind::File(path) => path.clone().into_os_string(),
            Kind::Network { .. } => self.to_string().into(),
        }
    }
}

impl FromStr for RemoteUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<RemoteUrl, UrlError> {
        check_text(text)?;
        if let Some((scheme, rest)) = text.split_once("://") {
            return parse_with_scheme(scheme, rest);
        }
        if text.starts_with('/') {
            return RemoteUrl::from_path(text);
        }
        if let Some((helper, _)) = text.split_once("::")
            && !helper.contains('[')
        {
            return Err(UrlError::Helper(helper.chars().take(20).collect()));
        }
        parse_scp(text)
    }
}

/// What no address may have, whatever its kind.
fn check_text(text: &str) -> Result<(), UrlError> {
    if text.is_empty() {
        return Err(UrlError::Empty);
    }
    if text.len() > URL_BYTES_MAX {
        return Err(UrlError::TooLong);
    }
    if text.starts_with('-') {
        return Err(UrlError::OptionLike("address"));
    }
    // Percent-encoded too: git decodes some addresses, and a newline ends a header.
    if text.chars().any(char::is_control) || percent_decode_str(text).any(|byte| byte.is_ascii_control()) {
        return Err(UrlError::Character("a control character"));
    }
    if text.contains('\\') {
        return Err(UrlError::Character("a backslash"));
    }
    Ok(())
}

fn parse_with_scheme(scheme: &str, rest: &str) -> Result<RemoteUrl, UrlError> {
    if let Some((helper, _)) = scheme.split_once("::") {
        return Err(UrlError::Helper(helper.chars().take(20).collect()));
    }
    let protocol = match scheme {
        "https" => Protocol::Https,
        "http" => Protocol::Http,
        "git" => Protocol::Git,
        "ssh" => Protocol::Ssh,
        "file" => return parse_file(rest),
        other => return Err(UrlError::Scheme(shown_scheme(other))),
    };
    let (authority, path) =
        rest.split_once('/').ok_or(UrlError::Path("expected `/owner/name.git` after the host"))?;
    let (user, authority) = split_user(protocol, authority)?;
    let (host, port) = parse_authority(authority)?;
    check_path(path)?;
    if protocol == Protocol::Ssh {
        // Git decodes the path before it hands it to ssh.
        check_ssh_path(&percent_decode_str(path).decode_utf8_lossy())?;
    }
    Ok(RemoteUrl { kind: Kind::Network { protocol, user, host, port, path: format!("/{path}") } })
}

/// A scheme as an error may show it. Something long or odd may be part of a secret.
fn shown_scheme(scheme: &str) -> String {
    let plain = scheme.len() <= 20 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if plain { scheme.to_owned() } else { "that".to_owned() }
}

fn parse_file(rest: &str) -> Result<RemoteUrl, UrlError> {
    if !rest.starts_with('/') {
        return Err(UrlError::Host("a file:// address has none; write file:///path/to/repository"));
    }
    let path = percent_decode_str(rest).decode_utf8().map_err(|_| UrlError::Path("it is not UTF-8"))?;
    RemoteUrl::from_path(path.as_ref())
}

/// `[user@]host:path`, the short form of ssh.
fn parse_scp(text: &str) -> Result<RemoteUrl, UrlError> {
    // An IPv6 address has colons of its own; it stands in brackets.
    let bracket =
        text.find(']').filter(|_| text.split('@').next_back().is_some_and(|rest| rest.starts_with('[')));
    let colon = text[bracket.unwrap_or(0)..].find(':').map(|at| at + bracket.unwrap_or(0));
    let (authority, path) = colon
        .map(|at| (&text[..at], &text[at + 1..]))
        .ok_or(UrlError::Path("write a full address, or an absolute path of this machine"))?;
    if authority.contains('/') {
        return Err(UrlError::Path("write a full address, or an absolute path of this machine"));
    }
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(check_user(user)?), host),
        None => (None, authority),
    };
    let (host, _) = parse_authority(host)?;
    // `user:password@host:path`, which ssh does not take.
    if path.contains('@') {
        return Err(UrlError::Secret);
    }
    check_path(path)?;
    if path.starts_with('-') {
        return Err(UrlError::OptionLike("path"));
    }
    check_ssh_path(path)?;
    Ok(RemoteUrl {
        kind: Kind::Network { protocol: Protocol::Ssh, user, host, port: None, path: path.to_owned() },
    })
}

fn split_user(protocol: Protocol, authority: &str) -> Result<(Option<String>, &str), UrlError> {
    match authority.rsplit_once('@') {
        None => Ok((None, authority)),
        // For ssh the user is part of the address (`git@`). Elsewhere it may itself be a token.
        Some((user, rest)) if protocol == Protocol::Ssh => Ok((Some(check_user(user)?), rest)),
        Some(_) => Err(UrlError::Secret),
    }
}

fn check_user(user: &str) -> Result<String, UrlError> {
    if user.contains(':') {
        return Err(UrlError::Secret);
    }
    if user.starts_with('-') {
        return Err(UrlError::OptionLike("user"));
    }
    if user.is_empty() || !user.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return Err(UrlError::Character("the user may have letters, digits, `.`, `_` and `-`"));
    }
    Ok(user.to_owned())
}

fn parse_authority(authority: &str) -> Result<(Host, Option<u16>), UrlError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(UrlError::Host("`[` without `]`"))?;
            let address = address.parse().map_err(|_| UrlError::Host("not an IPv6 address in brackets"))?;
            (Host::V6(address), port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (name, port) = authority.split_at(end);
            (Host::Name(check_host(name)?), port)
        }
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return Err(UrlError::Host("something stands between it and the path")),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port != 0).ok_or(UrlError::Port)?)
        }
        Some(_) => return Err(UrlError::Port),
    };
    Ok((host, port))
}

fn check_host(name: &str) -> Result<String, UrlError> {
    if name.is_empty() {
        return Err(UrlError::Host("it is empty"));
    }
    if name.starts_with('-') {
        return Err(UrlError::OptionLike("host"));
    }
    if name.len() > 253 || name.starts_with('.') || name.contains("..") {
        return Err(UrlError::Host("not a host name"));
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
        return Err(UrlError::Host(
            "letters, digits, `.` and `-` only (write international names in punycode)",
        ));
    }
    Ok(name.to_ascii_lowercase())
}

fn check_path(path: &str) -> Result<(), UrlError> {
    if path.trim_matches('/').is_empty() {
        return Err(UrlError::Path("it names no repository"));
    }
    if path.contains(['?', '#']) {
        return Err(UrlError::Path("`?` and `#` mean nothing to git"));
    }
    if path.contains(char::is_whitespace) {
        return Err(UrlError::Character("a blank; write it as %20"));
    }
    let decoded = percent_decode_str(path).decode_utf8().map_err(|_| UrlError::Path("it is not UTF-8"))?;
    if decoded.split('/').any(|part| part == "..") {
        return Err(UrlError::Path("`..` is not taken"));
    }
    Ok(())
}

/// The path of an ssh address becomes a word for the login shell of its server. Git quotes it, but not every server
/// has a shell that reads quotes alike; so only characters are taken that mean nothing to any of them.
fn check_ssh_path(decoded: &str) -> Result<(), UrlError> {
    let plain = |c: char| c.is_alphanumeric() || "._-~/+@=,: ".contains(c);
    if !decoded.chars().all(plain) {
        return Err(UrlError::Character(
            "the path of an ssh address may have letters, digits, blanks as %20, and `._-~/+@=,:`",
        ));
    }
    if decoded.trim_start_matches('/').starts_with('-') {
        return Err(UrlError::OptionLike("path"));
    }
    Ok(())
}

fn check_file_path(path: &Path) -> Result<(), UrlError> {
    if !path.is_absolute() {
        return Err(UrlError::Path("a path of this machine must begin with `/`"));
    }
    if path.as_os_str().as_encoded_bytes().iter().any(u8::is_ascii_control) {
        return Err(UrlError::Character("a control character"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(UrlError::Path("`..` is not taken"));
    }
    if path.file_name().is_none() {
        return Err(UrlError::Path("it names no repository"));
    }
    Ok(())
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kind::Network { protocol, user, host, port, path } = &self.kind else {
            let Kind::File(path) = &self.kind else { return Ok(()) };
            return write!(f, "{}", path.display());
        };
        let user = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        if !path.starts_with('/') {
            return write!(f, "{user}{host}:{path}");
        }
        write!(f, "{protocol}://{user}{host}")?;
        if let Some(port) = port {
            write!(f, ":{port}")?;
        }
        f.write_str(path)
    }
}

impl fmt::Debug for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
