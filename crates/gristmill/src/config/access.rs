//! What of a `[[project]]` lets us in: by token, helper or key, at the repository and at the forge's API.

use std::path::{Path, PathBuf};

use gristmill_git::{CredentialHelper, DeployKey, HostKeys, Protocol, RemoteUrl};

use super::reader::{Field, Section};
use super::secret::{self, SecretSource};
use super::{Surroundings, url};

/// What was read.
pub(super) struct Access {
    pub(super) git_token: Option<SecretSource>,
    pub(super) git_username: Option<String>,
    pub(super) credential_helper: Vec<String>,
    pub(super) ssh_key: Option<SecretSource>,
    pub(super) host_keys: HostKeys,
    pub(super) host_keys_file: Option<PathBuf>,
    pub(super) api: Option<String>,
    pub(super) statuses: bool,
}

/// What it is read for.
pub(super) struct For<'a> {
    /// The repository, or of a pattern the one called `sample`; `None` where it could not be read.
    pub(super) url: Option<&'a RemoteUrl>,
    /// Where its address stands.
    pub(super) git: Option<&'a Field<'a>>,
    pub(super) allow_http: bool,
    pub(super) enabled: bool,
    pub(super) folder: &'a Path,
    pub(super) around: &'a Surroundings,
}

impl For<'_> {
    /// Where a secret is; it is looked at where it is needed.
    pub(super) fn source(&self, field: &Field<'_>) -> Option<SecretSource> {
        let source = secret::read_source(field, self.folder)?;
        if self.looks() {
            secret::check(field, &source, &*self.around.env);
        }
        Some(source)
    }

    /// Whether what the files hold is looked at.
    fn looks(&self) -> bool {
        self.enabled && self.around.needs_secrets
    }

    fn is(&self, protocols: &[Protocol]) -> bool {
        self.url.is_none_or(|url| protocols.contains(&url.protocol()))
    }

    /// The field, where it means something for the repository's address.
    fn only<'f>(
        &self,
        section: &mut Section<'f>,
        key: &'static str,
        protocols: &[Protocol],
    ) -> Option<Field<'f>> {
        let field = section.get(key)?;
        if !self.is(protocols) {
            let names: Vec<String> = protocols.iter().map(|protocol| format!("{protocol}://")).collect();
            let names = names.join(" and ");
            field.error(format!("`{key}` is only used with {names} remotes; leave it out, or change `git`"));
            return None;
        }
        Some(field)
    }
}

/// Reads all of it. What is wrong is reported.
pub(super) fn read(section: &mut Section<'_>, of: &For<'_>) -> Access {
    let token_field = section.get("token");
    let git_token = token_field.as_ref().and_then(|field| read_token(field, of));
    let git_username = section.get("username").and_then(|field| {
        let good = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_control() || c == ':');
        field.text_as("a user name", |text| good(text).then(|| text.to_owned()))
    });
    let helper = of.only(section, "credential_helper", &[Protocol::Https, Protocol::Http]);
    if let (Some(helper), Some(_)) = (&helper, &token_field) {
        helper.error("git is let in either by `token` or by `credential_helper`; leave one of them out");
    }
    let credential_helper = helper.and_then(|field| read_helper(&field)).unwrap_or_default();
    let ssh_key = of.only(section, "ssh_key", &[Protocol::Ssh]).and_then(|field| read_ssh_key(&field, of));
    let host_keys = of.only(section, "host_keys", &[Protocol::Ssh]);
    let (host_keys, host_keys_file) = read_host_keys(host_keys, of);
    let api = section.get("api").and_then(|field| {
        let text = field.text("the URL of the forge's API, such as \"https://ghe.acme.org/api/v3\"")?;
        let read = url::api(text, of.allow_http);
        read.map_err(|fault| field.error(format!("`api`: {fault}"))).ok()
    });
    let statuses = section.get("statuses").and_then(|field| {
        let statuses = field.bool()?;
        if statuses && token_field.is_none() {
            field.error(
                "`statuses` are written with `token`, and there is none; add it, or leave `statuses` out",
            );
        }
        Some(statuses)
    });
    let statuses = statuses.unwrap_or(token_field.is_some());
    Access { git_token, git_username, credential_helper, ssh_key, host_keys, host_keys_file, api, statuses }
}

/// A token goes only where nobody listens on the way.
fn read_token(field: &Field<'_>, of: &For<'_>) -> Option<SecretSource> {
    let source = of.source(field)?;
    let url = of.url?;
    if !of.is(&[Protocol::Https, Protocol::Http, Protocol::Ssh]) {
        field.error("`token` is only used with https:// and ssh:// remotes; leave it out, or change `git`");
        return None;
    }
    if url.protocol() == Protocol::Http && of.allow_http {
        field.warn("`token` goes over http:// where `allow_http` is set: anybody on the way can read it");
    }
    Some(source)
}

fn read_helper(field: &Field<'_>) -> Option<Vec<String>> {
    let expected = "a program and its arguments, such as [\"git-credential-acme\"]";
    let fields = field.list(expected)?;
    let words: Option<Vec<String>> =
        fields.iter().map(|field| field.text(expected).map(str::to_owned)).collect();
    let words = words?;
    if CredentialHelper::new(words.iter().map(Into::into).collect(), Vec::new()).is_none() {
        field.error("`credential_helper` names no program; expected an absolute path or a name to be found in PATH, and at most 63 arguments");
        return None;
    }
    Some(words)
}

fn read_ssh_key(field: &Field<'_>, of: &For<'_>) -> Option<SecretSource> {
    let source = of.source(field)?;
    if of.looks()
        && let Ok(bytes) = source.resolve(&*of.around.env)
        && let Err(error) = DeployKey::from_openssh(&bytes)
    {
        field.error(format!("`ssh_key`: {error}"));
    }
    Some(source)
}

/// The keys and the file that they stand in; reports a server that nobody knows.
fn read_host_keys(field: Option<Field<'_>>, of: &For<'_>) -> (HostKeys, Option<PathBuf>) {
    let (keys, file) = match &field {
        None => (Some(HostKeys::default()), None),
        Some(field) if field.is_table() => {
            let file = read_host_keys_file(field, of.folder);
            let text = file.as_deref().map(read_text);
            let keys = match text {
                Some(Ok(text)) => parse_host_keys(field, &text),
                Some(Err(error)) if of.looks() => {
                    field.error(format!("the file of `host_keys` cannot be read: {error}"));
                    None
                }
                _ => None,
            };
            (keys, file)
        }
        Some(field) => (read_lines(field).and_then(|text| parse_host_keys(field, &text)), None),
    };
    if let (Some(keys), Some(url), Some(git), true) = (&keys, of.url, of.git, of.enabled)
        && url.protocol() == Protocol::Ssh
        && !keys.knows(url)
        && !HostKeys::published().knows(url)
    {
        git.error(unknown_host(url));
    }
    (keys.unwrap_or_default(), file)
}

/// The file's text, of which no more is read than is taken.
fn read_text(file: &Path) -> std::io::Result<String> {
    String::from_utf8(secret::content(file)?).map_err(|_| std::io::Error::other("it is not UTF-8 text"))
}

/// `{ file = "…" }`.
fn read_host_keys_file(field: &Field<'_>, folder: &Path) -> Option<PathBuf> {
    let expected = "a list of lines of known_hosts, or { file = \"path\" }";
    let mut section = field.section("host_keys", expected)?;
    let file = section.get("file");
    if file.is_none() {
        field.wrong(expected);
    }
    let good = |path: &str| !path.is_empty() && !path.contains('\0');
    let path = file
        .and_then(|field| field.text_as("the path of a file", |path| good(path).then(|| folder.join(path))));
    section.finish();
    path
}

fn read_lines(field: &Field<'_>) -> Option<String> {
    let expected = "a list of lines of known_hosts, such as [\"git.acme.org ssh-ed25519 AAAA…\"], or { file = \"path\" }";
    let fields = field.list(expected)?;
    let lines: Option<Vec<&str>> = fields.iter().map(|field| field.text(expected)).collect();
    Some(lines?.join("\n"))
}

fn parse_host_keys(field: &Field<'_>, text: &str) -> Option<HostKeys> {
    HostKeys::parse(text).map_err(|error| field.error(format!("`host_keys`: {error}"))).ok()
}

/// What to do where it is not known which key a server has.
pub(super) fn unknown_host(url: &RemoteUrl) -> String {
    let host = url.host().map(|host| host.to_string().replace(['[', ']'], "")).unwrap_or_default();
    let port = url.port().filter(|port| *port != 22).map(|port| format!("-p {port} ")).unwrap_or_default();
    format!(
        "`git` is reached by ssh, and it is not known which key the server {host} has; ask it (`ssh-keyscan {port}{host}`), compare the fingerprints of the answer (`ssh-keyscan {port}{host} | ssh-keygen -lf -`) with what the server's owner publishes, and only where they are the same write its lines into `host_keys = [\"…\"]` (or into a file, for `project add --host-keys FILE`)"
    )
}
