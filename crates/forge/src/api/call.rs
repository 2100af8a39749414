//! [`Call`] and [`Answer`]: one request to a forge's API and what came back. Who carries it over is not
//! known here.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::family::Family;

/// The largest answer that is read, in bytes, where an operation does not say otherwise. A page of a
/// hundred hooks or branches is a tenth of it.
pub(crate) const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a request does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// Reads.
    Get,
    /// Makes.
    Post,
    /// Replaces.
    Put,
    /// Changes in part.
    Patch,
    /// Takes away.
    Delete,
}

impl Method {
    /// As it is written in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// A header of a request. `Debug` hides the value of a secret one.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    /// As the forge's documentation writes it.
    pub name: &'static str,
    /// The value, secret or not.
    pub value: String,
    /// Whether the value must appear in no log and must not be sent to another host than the call's: an
    /// answer that leads elsewhere is followed without this header.
    pub secret: bool,
}

impl Header {
    pub(crate) fn plain(name: &'static str, value: &str) -> Header {
        Header { name, value: value.to_owned(), secret: false }
    }

    pub(crate) fn secret(name: &'static str, value: String) -> Header {
        Header { name, value, secret: true }
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = if self.secret { "…" } else { &self.value };
        write!(f, "{}: {value}", self.name)
    }
}

/// One request. `Debug` shows neither secret headers nor the body, which may hold a webhook's secret.
#[derive(Clone)]
pub struct Call {
    /// What it does.
    pub method: Method,
    /// The whole address. Scheme, host and port are the configuration's; nothing that a forge answered
    /// decides them.
    pub url: String,
    /// What is sent along.
    pub headers: Vec<Header>,
    /// JSON.
    pub body: Option<Vec<u8>>,
    /// The largest body of an answer that shall be read, in bytes. A larger one is an error of the carrier's.
    pub answer_bytes_max: usize,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.method.as_str(), self.url, self.headers)?;
        if let Some(body) = &self.body {
            write!(f, " ({} bytes)", body.len())?;
        }
        Ok(())
    }
}

/// What came back. Redirects are not followed for calls of the API: a renamed repository is told as such.
#[derive(Clone, Default)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Pairs of name and value; values that are not text may be left out.
    pub headers: Vec<(String, String)>,
    /// At most as many bytes as the call allowed.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header called `name`, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The number in the header called `name`.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.trim().parse().ok()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.status, self.body.len())
    }
}

/// Who we are at the forge. `Debug` shows nothing of it, and there is no way to print it.
#[derive(Clone)]
pub struct Credential {
    username: Option<String>,
    token: String,
}

/// The text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is empty or holds spaces or control characters; copy it once more, whole, on one line")]
pub struct CredentialError;

/// The longest token or user name taken, in bytes. Some forges' tokens are signed documents.
const CREDENTIAL_BYTES_MAX: usize = 8_192;

/// Users that git servers ask for beside a token that stands for itself.
const NO_USERS: [&str; 2] = ["x-token-auth", "x-access-token"];
/// The user that GitLab's git server asks for beside a token of OAuth.
const OAUTH_USER: &str = "oauth2";

impl Credential {
    /// Takes a token as the forge gave it and, where one is configured, the user that git sends with it.
    ///
    /// # Errors
    /// [`CredentialError`] where it cannot stand in a header.
    pub fn new(token: &str, username: Option<&str>) -> Result<Credential, CredentialError> {
        let fits = |text: &str| {
            (1..=CREDENTIAL_BYTES_MAX).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !fits(token) || username.is_some_and(|name| !fits(name) || name.contains(':')) {
            return Err(CredentialError);
        }
        Ok(Credential { username: username.map(str::to_owned), token: token.to_owned() })
    }

    /// The header that carries it, in the form that the forge documents:
    ///
    /// - GitHub: `Authorization: Bearer` ("Authenticating to the REST API").
    /// - GitLab: `PRIVATE-TOKEN`; with the user `oauth2` `Authorization: Bearer`, which takes tokens of OAuth
    ///   too ("REST API authentication").
    /// - Gitea, Forgejo, Gogs: `Authorization: token` ("API Usage"; "Authentication" of Gogs' reference).
    /// - Bitbucket, both: `Authorization: Bearer` for access tokens; Basic where there is a user, for API
    ///   tokens, app passwords and passwords ("Authentication methods", "HTTP access tokens").
    /// - Azure DevOps: Basic with a personal access token as the password; the user may be empty ("Use personal
    ///   access tokens").
    pub(crate) fn header(&self, family: Family) -> Header {
        let token = &self.token;
        let (name, value) = match (family, self.user()) {
            (Family::Gitlab, user) if user != Some(OAUTH_USER) => ("PRIVATE-TOKEN", token.clone()),
            (Family::Gitea | Family::Gogs, _) => ("Authorization", format!("token {token}")),
            (Family::Azure, user) => {
                ("Authorization", format!("Basic {}", self.pair(user.unwrap_or_default())))
            }
            (Family::Bitbucket | Family::BitbucketServer, Some(user)) => {
                ("Authorization", format!("Basic {}", self.pair(user)))
            }
            _ => ("Authorization", format!("Bearer {token}")),
        };
        Header::secret(name, value)
    }

    /// The user that goes with the token.
    fn user(&self) -> Option<&str> {
        self.username.as_deref().filter(|name| !NO_USERS.contains(name))
    }

    /// User and token as Basic authentication has them.
    fn pair(&self, user: &str) -> String {
        STANDARD.encode(format!("{user}:{}", self.token))
    }

    /// `text` without the token, should a server repeat it.
    pub(crate) fn cleaned(&self, text: &str) -> String {
        let text = text.replace(&self.token, "…");
        text.replace(&self.pair(self.user().unwrap_or_default()), "…")
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}
