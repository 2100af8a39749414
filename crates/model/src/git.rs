//! Names that git gives to things, checked at the edge.

use std::fmt;
use std::str::FromStr;

use crate::hex;

/// The longest ref name taken. Git's own limit is the file system's (255 bytes a component);
/// the bound keeps a hostile payload from filling rows and logs.
pub const REF_BYTES_MAX: usize = 1000;

/// Which hash a repository names its objects with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ObjectFormat {
    /// 20 bytes.
    Sha1,
    /// 32 bytes.
    Sha256,
}

/// A git object's name under either object format.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectId {
    /// A SHA-1 name.
    Sha1([u8; 20]),
    /// A SHA-256 name.
    Sha256([u8; 32]),
}

/// The text is not a git object name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a git object id; expected 40 or 64 lower-case hexadecimal digits, not all zero")]
pub struct ObjectIdError(String);

impl ObjectId {
    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            ObjectId::Sha1(bytes) => bytes,
            ObjectId::Sha256(bytes) => bytes,
        }
    }

    /// From 20 or 32 raw bytes; `None` for another length.
    pub fn from_slice(bytes: &[u8]) -> Option<ObjectId> {
        match bytes.len() {
            20 => bytes.try_into().ok().map(ObjectId::Sha1),
            32 => bytes.try_into().ok().map(ObjectId::Sha256),
            _ => None,
        }
    }

    /// Which hash made this name.
    pub fn format(&self) -> ObjectFormat {
        match self {
            ObjectId::Sha1(_) => ObjectFormat::Sha1,
            ObjectId::Sha256(_) => ObjectFormat::Sha256,
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ObjectId {
    type Err = ObjectIdError;

    fn from_str(text: &str) -> Result<ObjectId, ObjectIdError> {
        let error = || ObjectIdError(crate::shorten(text));
        if !matches!(text.len(), 40 | 64) {
            return Err(error());
        }
        let bytes = hex::decode(text).ok_or_else(error)?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Err(error());
        }
        ObjectId::from_slice(&bytes).ok_or_else(error)
    }
}

crate::serde_as_text!(ObjectId);

macro_rules! object_ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub ObjectId);

        impl $name {
            /// The first twelve digits, for people.
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(12);
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ObjectIdError;

            fn from_str(text: &str) -> Result<$name, ObjectIdError> {
                text.parse().map($name)
            }
        }

        crate::serde_as_text!($name);
    )*};
}

object_ids! {
    /// A commit.
    CommitId;
    /// A tree: the content of a commit, whatever its history.
    TreeId;
    /// A file's content.
    BlobId;
}

/// A full ref name (`refs/heads/main`, `refs/tags/v1`), valid by `git check-ref-format`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitRef(String);

/// The text is not a full ref name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a ref name: {why}")]
pub struct GitRefError {
    name: String,
    why: &'static str,
}

impl GitRef {
    /// `refs/heads/<name>`.
    pub fn from_branch(name: &str) -> Result<GitRef, GitRefError> {
        format!("refs/heads/{name}").parse()
    }

    /// `refs/tags/<name>`.
    pub fn from_tag(name: &str) -> Result<GitRef, GitRefError> {
        format!("refs/tags/{name}").parse()
    }

    /// The full name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The branch's name, where this is a branch.
    pub fn branch(&self) -> Option<&str> {
        self.0.strip_prefix("refs/heads/")
    }

    /// The tag's name, where this is a tag.
    pub fn tag(&self) -> Option<&str> {
        self.0.strip_prefix("refs/tags/")
    }

    /// The name without `refs/heads/`, `refs/tags/` or `refs/`.
    pub fn short(&self) -> &str {
        self.branch().or_else(|| self.tag()).unwrap_or(&self.0["refs/".len()..])
    }
}

/// The rules of git-check-ref-format(1), with its numbers.
fn ref_fault(name: &str) -> Option<&'static str> {
    let Some(rest) = name.strip_prefix("refs/") else {
        return Some("a full name begins with `refs/`");
    };
    if name.len() > REF_BYTES_MAX {
        return Some("it is longer than 1000 bytes");
    }
    if !rest.contains('/') {
        return Some("a name such as `refs/heads/main` has three parts"); // rule 2
    }
    for part in name.split('/') {
        if part.is_empty() {
            return Some("it has an empty part"); // rule 6
        }
        if part.starts_with('.') || part.ends_with(".lock") {
            return Some("no part may begin with `.` or end with `.lock`"); // rule 1
        }
    }
    if name.ends_with('.') || name.contains("..") || name.contains("@{") {
        return Some("it may not end with `.` or contain `..` or `@{`"); // rules 3, 7, 8
    }
    let forbidden = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    name.contains(forbidden).then_some("it has a space, a control character or one of `~^:?*[\\`") // rules 4, 5, 10
}

impl FromStr for GitRef {
    type Err = GitRefError;

    fn from_str(text: &str) -> Result<GitRef, GitRefError> {
        match ref_fault(text) {
            None => Ok(GitRef(text.to_owned())),
            Some(why) => Err(GitRefError { name: crate::shorten(text), why }),
        }
    }
}

impl fmt::Display for GitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::serde_as_text!(GitRef);

#[cfg(test)]
mod tests;
