//! [`SecretSource`]: where a secret is. The configuration names the place and never holds the secret.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::reader::Field;

/// A secret longer than this is a wrong file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Where a secret is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretSource {
    /// An environment variable of the server.
    Env(String),
    /// A file.
    File(PathBuf),
}

/// A secret that is not there, or not usable. Never holds any part of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is not set.
    #[error(
        "the environment variable `{0}` is not set; set it for the server, or name a file: {{ file = \"…\" }}"
    )]
    NotSet(String),
    /// The file cannot be read.
    #[error("the secret in {} cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Nothing is in it: whoever knows that could sign anything.
    #[error("the secret in {0} is empty; an empty secret would let anybody in")]
    Empty(SecretSource),
    /// The file is not a secret's.
    #[error("{} is longer than 65536 bytes, which is no secret", .0.display())]
    TooLong(PathBuf),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::Env(name) => write!(f, "the environment variable `{name}`"),
            SecretSource::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl SecretSource {
    /// Reads the secret. One newline at the end is not part of it, as editors and `echo` add one.
    ///
    /// `env` looks an environment variable up.
    pub fn resolve(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Vec<u8>, SecretError> {
        let mut secret = match self {
            SecretSource::Env(name) => {
                env(name).ok_or_else(|| SecretError::NotSet(name.clone()))?.into_bytes()
            }
            SecretSource::File(path) => read(path)?,
        };
        if secret.ends_with(b"\n") {
            secret.pop();
            if secret.ends_with(b"\r") {
                secret.pop();
            }
        }
        if secret.iter().all(u8::is_ascii_whitespace) {
            return Err(SecretError::Empty(self.clone()));
        }
        Ok(secret)
    }

    /// Whether every user of the machine may read the secret.
    pub fn is_open_to_others(&self) -> bool {
        use std::os::unix::fs::PermissionsExt;
        let SecretSource::File(path) = self else { return false };
        path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SecretError> {
    let secret = content(path).map_err(|error| SecretError::Unreadable { path: path.to_owned(), error })?;
    if secret.len() as u64 > SECRET_BYTES_MAX {
        return Err(SecretError::TooLong(path.to_owned()));
    }
    Ok(secret)
}

/// What the file holds, up to one byte more than a secret may have.
pub(super) fn content(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::open(path)?.take(SECRET_BYTES_MAX + 1).read_to_end(&mut content)?;
    Ok(content)
}

const EXPECTED: &str = "{ env = \"NAME\" } or { file = \"path\" }";

/// Reads `{ env = … }` or `{ file = … }`. A relative path is relative to `folder`.
pub(super) fn read_source(field: &Field<'_>, folder: &Path) -> Option<SecretSource> {
    if !field.is_table() {
        // Not repeated, whatever it is.
        field.error(format!(
            "the secret itself stands here; put it into a file that only the server can read, or into its environment, and write {EXPECTED}"
        ));
        return None;
    }
    let mut section = field.section("a secret", EXPECTED)?;
    let (env, file) = (section.get("env"), section.get("file"));
    let source = match (&env, &file) {
        (Some(env), None) => variable(env),
        (None, Some(file)) => file
            .text_as("the path of a file", |path| {
                (!path.is_empty() && !path.contains('\0')).then(|| folder.join(path))
            })
            .map(SecretSource::File),
        _ => {
            field.error(format!("expected {EXPECTED}"));
            None
        }
    };
    section.finish();
    source
}

fn variable(field: &Field<'_>) -> Option<SecretSource> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = field.as_text().filter(|name| !name.is_empty() && name.chars().all(good));
    if name.is_none() {
        // Not repeated: it may be the secret, in the wrong place.
        field.error("`env` is not the name of an environment variable, such as \"ACME_HOOK_SECRET\"");
    }
    name.map(|name| SecretSource::Env(name.to_owned()))
}

/// Whether the secret is there; reports where it is not, and warns where others can read it.
pub(super) fn check(field: &Field<'_>, source: &SecretSource, env: &dyn Fn(&str) -> Option<String>) {
    if let Err(error) = source.resolve(env) {
        field.error(error.to_string());
    } else if source.is_open_to_others() {
        field.warn(format!(
            "everybody on this machine can read the secret in {source}; run `chmod 600 {source}`"
        ));
    }
}
