//! [`ArchiveSpec`]: the settings of an archive pipeline.

use serde::{Deserialize, Serialize};

use crate::git::GitRef;
use crate::key::KeyTemplate;

/// The formats of archives, by the names that their files end with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum ArchiveFormat {
    /// Zip.
    #[default]
    #[serde(rename = "zip")]
    Zip,
    /// Tar, not compressed.
    #[serde(rename = "tar")]
    Tar,
    /// Tar, compressed by gzip.
    #[serde(rename = "tar.gz")]
    TarGz,
    /// Tar, compressed by Zstandard.
    #[serde(rename = "tar.zst")]
    TarZst,
}

impl ArchiveFormat {
    /// Every format, in the order in which people are told of them.
    pub const ALL: [ArchiveFormat; 4] =
        [ArchiveFormat::Zip, ArchiveFormat::Tar, ArchiveFormat::TarGz, ArchiveFormat::TarZst];

    /// Its name, which is also what its files end with.
    pub const fn name(self) -> &'static str {
        match self {
            ArchiveFormat::Zip => "zip",
            ArchiveFormat::Tar => "tar",
            ArchiveFormat::TarGz => "tar.gz",
            ArchiveFormat::TarZst => "tar.zst",
        }
    }

    /// Whether it is the default, which is not stored: rows from before there was a choice stay as they are.
    fn is_zip(&self) -> bool {
        *self == ArchiveFormat::Zip
    }
}

/// Settings of an archive pipeline.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ArchiveSpec {
    /// How it is written.
    #[serde(default, skip_serializing_if = "ArchiveFormat::is_zip")]
    pub format: ArchiveFormat,
    /// The key for branches.
    pub key: KeyTemplate,
    /// The key for tags.
    pub tag_key: Option<KeyTemplate>,
    /// The key for the forge's releases.
    pub release_key: Option<KeyTemplate>,
    /// Whether other refs, pipelines or projects may publish under the same key.
    pub allow_shared_key: bool,
    /// What of the repository goes in, and how.
    #[serde(default, skip_serializing_if = "ArchiveOptions::is_default")]
    pub options: ArchiveOptions,
}

/// What an archive holds besides the tree as git has it. The default adds and changes nothing, and is not stored:
/// rows from before there was a choice stay as they are.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ArchiveOptions {
    /// What git's attributes do to the content of files.
    pub attributes: Attributes,
    /// Whether what has the attribute `export-ignore` is left out.
    pub export_ignore: bool,
    /// Patterns of paths; a push that touches none of them builds nothing. Without any, every push builds.
    pub paths: Vec<String>,
    /// Whether a clone of the ref lies in `.git`.
    pub include_git: bool,
    /// Whether the pointers of git-lfs are replaced by what they stand for.
    pub lfs: bool,
    /// Whether the content of submodules lies at their paths.
    pub submodules: bool,
}

impl ArchiveOptions {
    fn is_default(&self) -> bool {
        *self == ArchiveOptions::default()
    }
}

/// What git's attributes do to the content of files.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attributes {
    /// Nothing: each file is its blob.
    #[default]
    Raw,
    /// What `git archive` does: ends of lines, encodings, `$Id$`, `export-subst`.
    Git,
}

impl ArchiveSpec {
    /// The template for a ref.
    pub fn template(&self, git_ref: &GitRef, release: bool) -> &KeyTemplate {
        let own = match (release, git_ref.tag().is_some()) {
            (true, _) => self.release_key.as_ref().or(self.tag_key.as_ref()),
            (false, true) => self.tag_key.as_ref(),
            (false, false) => None,
        };
        own.unwrap_or(&self.key)
    }
}
