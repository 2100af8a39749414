//! [`ObjectKey`]: where readers find something; [`KeyTemplate`]: how it is made from a push.

use std::fmt;
use std::str::FromStr;

use crate::git::{CommitId, GitRef, TreeId};
use crate::pattern::{self, Token};
use crate::repo::{RepoPath, Repositories};

/// The longest key, in bytes; S3's limit.
pub const KEY_BYTES_MAX: usize = 1024;

/// A public key: slash-separated, relative, without `.` and `..` parts and control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

/// The text is not an object key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is not an object key: {why}")]
pub struct ObjectKeyError {
    key: String,
    why: &'static str,
}

impl ObjectKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn key_fault(key: &str) -> Option<&'static str> {
    if key.len() > KEY_BYTES_MAX {
        return Some("it is longer than 1024 bytes");
    }
    if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Some("no part between slashes may be empty, `.` or `..`");
    }
    key.contains(char::is_control).then_some("it has a control character")
}

impl FromStr for ObjectKey {
    type Err = ObjectKeyError;

    fn from_str(text: &str) -> Result<ObjectKey, ObjectKeyError> {
        match key_fault(text) {
            None => Ok(ObjectKey(text.to_owned())),
            Some(why) => Err(ObjectKeyError { key: crate::shorten(text), why }),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::serde_as_text!(ObjectKey);

/// What a placeholder stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Owner,
    Repo,
    FullName,
    Branch,
    Tag,
    Ref,
    Commit,
    ShortCommit,
    Tree,
    Date,
}

const FIELDS: [(&str, Field); 10] = [
    ("owner", Field::Owner),
    ("repo", Field::Repo),
    ("full_name", Field::FullName),
    ("branch", Field::Branch),
    ("tag", Field::Tag),
    ("ref", Field::Ref),
    ("commit", Field::Commit),
    ("short_commit", Field::ShortCommit),
    ("tree", Field::Tree),
    ("date", Field::Date),
];

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Literal(String),
    /// A placeholder; `flat` where a trailing `_` asks for slashes to be replaced by `_`.
    Field {
        field: Field,
        flat: bool,
    },
}

/// A key with placeholders: `{owner}/{repo}/{branch}/{full_name_}.zip`.
///
/// A placeholder that ends in `_` has its slashes replaced by `_`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyTemplate {
    text: String,
    parts: Vec<Part>,
}

/// A template that cannot be read, or cannot be filled in for a ref.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{name}` that stands for nothing.
    #[error(
        "key template `{template}`: unknown placeholder `{{{name}}}`; known are {{owner}} {{repo}} {{full_name}} {{branch}} {{tag}} {{ref}} {{commit}} {{short_commit}} {{tree}} {{date}}, each also with `_` at its end for slashes replaced"
    )]
    Unknown {
        /// The template.
        template: String,
        /// What stood between the braces.
        name: String,
    },
    /// A brace without its partner.
    #[error("key template `{0}`: a brace without its partner")]
    Brace(String),
    /// `{branch}` for a tag, or `{tag}` for a branch.
    #[error("key template `{template}` asks for {{{field}}}, but {git_ref} has none; set `{setting}`")]
    NotFor {
        /// The template.
        template: String,
        /// `branch` or `tag`.
        field: &'static str,
        /// The ref at hand.
        git_ref: String,
        /// The setting that gives these refs a key of their own.
        setting: &'static str,
    },
    /// The filled-in key is not a key.
    #[error(transparent)]
    Key(#[from] ObjectKeyError),
}

/// What a template is filled in with.
#[derive(Clone, Debug)]
pub struct KeyFields<'a> {
    /// The repository's `owner/name`; the owner may hold slashes.
    pub repository: &'a RepoPath,
    /// The ref.
    pub git_ref: &'a GitRef,
    /// The commit.
    pub commit: CommitId,
    /// The commit's tree.
    pub tree: TreeId,
    /// The committer's date in UTC, `YYYY-MM-DD`: it belongs to the commit, so that making the key again gives the same.
    pub date: &'a str,
}

impl KeyTemplate {
    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Fills the placeholders in.
    pub fn render(&self, fields: &KeyFields<'_>) -> Result<ObjectKey, TemplateError> {
        let mut key = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => key.push_str(text),
                Part::Field { field, flat } => {
                    let value = self.value(*field, fields)?;
                    key.push_str(&if *flat { value.replace('/', "_") } else { value });
                }
            }
        }
        Ok(key.parse::<ObjectKey>()?)
    }

    fn value(&self, field: Field, fields: &KeyFields<'_>) -> Result<String, TemplateError> {
        let not_for = |field, setting| TemplateError::NotFor {
            template: self.text.clone(),
            field,
            git_ref: fields.git_ref.to_string(),
            setting,
        };
        Ok(match field {
            Field::Owner => fields.repository.owner().to_owned(),
            Field::Repo => fields.repository.name().to_owned(),
            Field::FullName => fields.repository.as_str().to_owned(),
            Field::Branch => fields.git_ref.branch().ok_or_else(|| not_for("branch", "tag_key"))?.to_owned(),
            Field::Tag => fields.git_ref.tag().ok_or_else(|| not_for("tag", "key"))?.to_owned(),
            Field::Ref => fields.git_ref.as_str()["refs/".len()..].to_owned(),
            Field::Commit => fields.commit.to_string(),
            Field::ShortCommit => fields.commit.short(),
            Field::Tree => fields.tree.to_string(),
            Field::Date => fields.date.to_owned(),
        })
    }

    /// Whether the template has `{branch}`, which a tag cannot fill in.
    pub fn asks_for_branch(&self) -> bool {
        self.asks_for(Field::Branch)
    }

    /// Whether the template has `{tag}`, which a branch cannot fill in.
    pub fn asks_for_tag(&self) -> bool {
        self.asks_for(Field::Tag)
    }

    fn asks_for(&self, wanted: Field) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Field { field, .. } if *field == wanted))
    }

    /// The keys that this template can make for refs matching `ref_glob` (without `refs/heads/` or
    /// `refs/tags/`), as a pattern; for the collision check.
    pub fn possible_keys(&self, repositories: Repositories<'_>, ref_glob: &str, is_tag: bool) -> Vec<Token> {
        let mut tokens = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => tokens.extend(pattern::literal(text)),
                Part::Field { field, flat } => {
                    let mut value = match field {
                        Field::Owner => pattern::literal(repositories.owner()),
                        Field::Repo => repositories.name(),
                        Field::FullName => {
                            let mut value = pattern::literal(repositories.owner());
                            value.push(Token::Char('/'));
                            value.extend(repositories.name());
                            value
                        }
                        Field::Branch | Field::Tag => pattern::glob(ref_glob),
                        Field::Ref => {
                            let mut value = pattern::literal(if is_tag { "tags/" } else { "heads/" });
                            value.extend(pattern::glob(ref_glob));
                            value
                        }
                        Field::Commit | Field::ShortCommit | Field::Tree | Field::Date => vec![Token::Within],
                    };
                    if *flat {
                        for token in &mut value {
                            if *token == Token::Char('/') {
                                *token = Token::Char('_');
                            }
                        }
                    }
                    tokens.extend(value);
                }
            }
        }
        tokens
    }

    /// Whether the template names the repository.
    pub fn names_repository(&self) -> bool {
        self.asks_for(Field::Repo) || self.asks_for(Field::FullName)
    }

    /// Whether two different refs can have the same key: the template names neither the ref nor the commit.
    pub fn same_for_all_refs(&self) -> bool {
        !self.parts.iter().any(|part| {
            matches!(
                part,
                Part::Field {
                    field: Field::Branch
                        | Field::Tag
                        | Field::Ref
                        | Field::Commit
                        | Field::ShortCommit
                        | Field::Tree,
                    ..
                }
            )
        })
    }
}

impl FromStr for KeyTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<KeyTemplate, TemplateError> {
        let brace = || TemplateError::Brace(crate::shorten(text));
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            if at > 0 {
                parts.push(Part::Literal(rest[..at].to_owned()));
            }
            let inside = rest[at..].strip_prefix('{').ok_or_else(brace)?;
            let end = inside.find(['{', '}']).ok_or_else(brace)?;
            if !inside[end..].starts_with('}') {
                return Err(brace());
            }
            parts.push(placeholder(text, &inside[..end])?);
            rest = &inside[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        let template = KeyTemplate { text: text.to_owned(), parts };
        template.check_literals()?;
        Ok(template)
    }
}

fn placeholder(template: &str, name: &str) -> Result<Part, TemplateError> {
    let find = |wanted: &str| FIELDS.iter().find(|(known, _)| *known == wanted).map(|(_, field)| *field);
    let part = find(name)
        .map(|field| Part::Field { field, flat: false })
        .or_else(|| name.strip_suffix('_').and_then(find).map(|field| Part::Field { field, flat: true }));
    part.ok_or_else(|| TemplateError::Unknown {
        template: crate::shorten(template),
        name: crate::shorten(name),
    })
}

impl KeyTemplate {
    /// A template whose fixed text is already wrong is refused when it is read, not at the first push.
    fn check_literals(&self) -> Result<(), TemplateError> {
        let sample: String = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.as_str(),
                Part::Field { .. } => "x",
            })
            .collect();
        sample.parse::<ObjectKey>()?;
        Ok(())
    }
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

crate::serde_as_text!(KeyTemplate);

/// The templates of a pipeline: one for each kind of event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyPreset {
    /// For branches.
    pub branch: &'static str,
    /// For tags, where the preset has one.
    pub tag: Option<&'static str>,
    /// For the forge's releases, where the preset has one.
    pub release: Option<&'static str>,
}

/// The presets by name: the key layouts of the systems whose consumers carry on reading.
pub const KEY_PRESETS: [(&str, KeyPreset); 3] = [
    (
        "git2s3",
        KeyPreset {
            branch: "{owner}/{repo}/{branch}/{full_name_}.zip",
            tag: Some("{owner}/{repo}/tags/{tag}/{full_name_}.zip"),
            release: Some("{owner}/{repo}/release/tags/{tag}/{full_name_}_release.zip"),
        },
    ),
    (
        "git2s3-2017",
        KeyPreset { branch: "{owner}/{repo}/{branch}/{full_name_}_{branch_}.zip", tag: None, release: None },
    ),
    (
        "zipdl",
        KeyPreset {
            branch: "{owner}/{repo}/{branch}/{repo}.zip",
            tag: Some("{owner}/{repo}/{tag}/{repo}.zip"),
            release: None,
        },
    ),
];

/// The preset of that name.
pub fn key_preset(name: &str) -> Option<&'static KeyPreset> {
    KEY_PRESETS.iter().find(|(known, _)| *known == name).map(|(_, preset)| preset)
}

#[cfg(test)]
mod tests;
