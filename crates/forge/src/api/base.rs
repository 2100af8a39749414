//! [`ApiBase`]: where a forge's API is, from the configuration alone.

use std::fmt;

use super::error::ApiError;
use super::family::Family;
use crate::forge::Forge;
use crate::text::shown;

/// The address under which a forge's API lies, without a slash at its end:
///
/// | forge | of | is |
/// |---|---|---|
/// | GitHub | github.com | `https://api.github.com` |
/// | GitHub | `acme.ghe.com` | `https://api.acme.ghe.com` |
/// | GitHub | any other host | `https://HOST/api/v3` |
/// | GitLab | any | `https://HOST/api/v4` |
/// | Gitea, Forgejo | any | `https://HOST/api/v1` |
/// | Bitbucket | bitbucket.org | `https://api.bitbucket.org/2.0` |
/// | Bitbucket Data Center | any | `https://HOST/rest` |
/// | Gogs | any | `https://HOST/api/v1` |
/// | Azure DevOps | `https://dev.azure.com/ORGANISATION/…` | `https://dev.azure.com/ORGANISATION` |
/// | Azure DevOps | any | what stands before the project |
///
/// Sources: "Getting started with the REST API" of GitHub and of GitHub Enterprise Server; "About GitHub
/// Enterprise Cloud with data residency"; "REST API" of GitLab, Bitbucket Cloud and Data Center; "API Usage" of
/// Gitea; "Introduction" of Gogs' reference; "Azure DevOps Services REST API".
#[derive(Clone, PartialEq, Eq)]
pub struct ApiBase(String);

/// The longest address taken, in bytes.
const BASE_BYTES_MAX: usize = 1_000;

/// Hosts under which forges take ssh where a firewall lets only 443 through, and their usual names.
const SSH_HOSTS: [(&str, &str); 3] = [
    ("ssh.github.com", "github.com"),
    ("altssh.gitlab.com", "gitlab.com"),
    ("altssh.bitbucket.org", "bitbucket.org"),
];

impl ApiBase {
    /// The address that the configuration gives (`api`), which may have a port and a path.
    ///
    /// # Errors
    /// [`ApiError::Input`] where it is not an `https://` or `http://` address, or holds a user, `?` or `#`.
    pub fn given(text: &str) -> Result<ApiBase, ApiError> {
        let bad = |why: &str| {
            let problem = format!(
                "`api` {why}; expected an address such as https://ghe.acme.org/api/v3, found `{}`",
                shown(text)
            );
            ApiError::Input { problem }
        };
        if text.contains('@') {
            let problem = "`api` holds a user or a password; leave them out: `token` and `username` are sent";
            return Err(ApiError::Input { problem: problem.to_owned() });
        }
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let rest = rest.ok_or_else(|| bad("is no https:// address"))?;
        let clean = |c: char| c.is_ascii_graphic() && !"?#\\\"<>^`{|}".contains(c);
        if text.len() > BASE_BYTES_MAX || !rest.chars().all(clean) {
            return Err(bad("has characters that are not taken"));
        }
        if !is_authority(rest.split('/').next().unwrap_or_default()) {
            return Err(bad("names no host"));
        }
        Ok(ApiBase(text.trim_end_matches('/').to_owned()))
    }

    /// The address that follows from where git fetches from. `git` is one of the forms of the configuration:
    /// `https://…`, `http://…`, `git://…`, `ssh://…` or `git@host:path`. A path before `repository` is kept,
    /// as for a server that lies at `https://HOST/gitea/`.
    ///
    /// # Errors
    /// [`ApiError::NoApi`] for forges without one; [`ApiError::Input`] where no host follows from `git`.
    pub fn derived(forge: Forge, git: &str, repository: &str) -> Result<ApiBase, ApiError> {
        let family = Family::of(forge)?;
        let Remote { scheme, host, port, prefix } =
            remote(git, repository).ok_or_else(|| ApiError::Input {
                problem:
                    "`git` names no host, so it does not tell where the forge's API is; set `api`, such as \
                      api = \"https://git.acme.org/api/v1\""
                        .to_owned(),
            })?;
        if family == Family::Azure {
            return azure(git, repository, &format!("{scheme}://{host}{port}"));
        }
        let path = match family {
            Family::Github if host == "github.com" => return ApiBase::given("https://api.github.com"),
            Family::Github if host.ends_with(".ghe.com") => {
                return ApiBase::given(&format!("https://api.{host}"));
            }
            Family::Bitbucket if host == "bitbucket.org" => {
                return ApiBase::given("https://api.bitbucket.org/2.0");
            }
            Family::Bitbucket => {
                let problem = format!(
                    "`{}` is not bitbucket.org; a server of your own is `forge = \"bitbucket-server\"`, or set `api`",
                    shown(&host)
                );
                return Err(ApiError::Input { problem });
            }
            Family::Github => "/api/v3",
            Family::Gitlab => "/api/v4",
            Family::Gitea | Family::Gogs => "/api/v1",
            Family::BitbucketServer => "/rest",
            Family::Azure => "",
        };
        // What git is fetched from over http lies beside the API, but for this part of the path.
        let prefix = if family == Family::BitbucketServer {
            prefix.strip_suffix("/scm").unwrap_or(&prefix)
        } else {
            &prefix
        };
        ApiBase::given(&format!("{scheme}://{host}{port}{prefix}{path}"))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApiBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ApiBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where git fetches from, as far as it tells where the API is.
struct Remote {
    scheme: &'static str,
    host: String,
    /// With its colon, or empty.
    port: String,
    /// What lies before the repository's name, with a slash before it and none behind, or empty.
    prefix: String,
}

fn remote(git: &str, repository: &str) -> Option<Remote> {
    let (scheme, authority, path) = match git.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            (scheme, authority, path)
        }
        // The short form of ssh. It has no port.
        None => {
            let (authority, path) = git.split_once(':')?;
            ("ssh", authority, path)
        }
    };
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if !is_authority(authority) {
        return None;
    }
    let port_at =
        authority.rfind(':').filter(|at| !authority[*at..].contains(']')).unwrap_or(authority.len());
    let (host, port) = authority.split_at(port_at);
    let usual = SSH_HOSTS.iter().find(|(alias, _)| *alias == host).map_or(host, |(_, usual)| usual);
    let host = usual.to_ascii_lowercase();
    let web = matches!(scheme, "http" | "https");
    match scheme {
        "http" | "https" | "git" | "ssh" => Some(Remote {
            scheme: if scheme == "http" { "http" } else { "https" },
            host,
            // The port of another protocol says nothing of where the API is.
            port: if web { port.to_owned() } else { String::new() },
            prefix: if web { prefix(path, repository) } else { String::new() },
        }),
        _ => None,
    }
}

/// What stands before the project: the organisation, or a server's collection. `git` ends in `PROJECT/_git/NAME`, or in
/// `_git/NAME` where both have one name ("Clone an existing Git repo" of Azure DevOps).
fn azure(git: &str, repository: &str, server: &str) -> Result<ApiBase, ApiError> {
    let found = azure_prefix(git, repository).ok_or_else(|| ApiError::Input {
        problem: format!(
            "`git` does not end in `PROJECT/_git/NAME` of `{}`, so it does not tell where the forge's API is; let `repository` be PROJECT/NAME, or set `api`, such as api = \"https://dev.azure.com/acme\"",
            shown(repository)
        ),
    })?;
    ApiBase::given(&format!("{server}{found}"))
}

fn azure_prefix(git: &str, repository: &str) -> Option<String> {
    let rest = git.strip_prefix("https://").or_else(|| git.strip_prefix("http://"))?;
    let mut parts: Vec<&str> = rest.split('/').skip(1).filter(|part| !part.is_empty()).collect();
    let (project, name) = repository.split_once('/')?;
    let is = |part: Option<&str>, name: &str| {
        let decoded = part.map(|part| percent_encoding::percent_decode_str(part).decode_utf8_lossy());
        decoded.is_some_and(|part| part.eq_ignore_ascii_case(name))
    };
    if !is(parts.pop(), name) || !is(parts.pop(), "_git") {
        return None;
    }
    if is(parts.last().copied(), project) {
        parts.pop();
    } else if !project.eq_ignore_ascii_case(name) {
        return None;
    }
    Some(parts.iter().map(|part| format!("/{part}")).collect())
}

fn prefix(path: &str, repository: &str) -> String {
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let at = path.len().checked_sub(repository.len()).filter(|at| path.is_char_boundary(*at));
    let fits = |at: &usize| path[*at..].eq_ignore_ascii_case(repository);
    at.filter(fits).map(|at| path[..at].trim_end_matches('/').to_owned()).unwrap_or_default()
}

/// Whether this is a host and perhaps a port.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, port),
            _ => return false,
        },
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let good = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            if host.is_empty() || host.starts_with(['-', '.']) || !host.chars().all(good) {
                return false;
            }
            (host, port)
        }
    };
    let is_port = |digits: &str| {
        digits.bytes().all(|c| c.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|port| port > 0)
    };
    !host.is_empty() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}
