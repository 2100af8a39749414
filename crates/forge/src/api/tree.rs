//! The tree of a commit: its content, whatever its history.
//!
//! | forge | how it is learned |
//! |---|---|
//! | GitHub | told: "Get a commit object", `tree.sha` |
//! | GitLab | reckoned from the entries of the root: "List repository tree" |
//! | Gitea, Forgejo | reckoned from the entries of the root: `GetTree`. What "get a single commit" calls the tree's id is the commit's (seen in its source) |
//! | Bitbucket, both | not told, and the lists of files have no ids either: there only what was downloaded twice can be compared |
//!
//! A tree's id is the hash of its entries ("Git Objects" in Pro Git), so the entries of the root, with the ids of
//! what lies below, give it.

use gristmill_model::{CommitId, ObjectFormat, ObjectId, TreeId};
use serde::Deserialize;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::Api;
use super::call::{Answer, Call, Method};
use super::error::ApiError;
use super::family::{Family, Operation};
use crate::parse::Object;

/// The most pages of a root's entries that are read.
const PAGES_MAX: usize = 100;
/// The longest name of an entry taken, in bytes, as file systems have it, and some.
const NAME_BYTES_MAX: usize = 4_096;

/// What a forge tells of a commit's tree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tree {
    /// Its id.
    Id(TreeId),
    /// Nothing: what was downloaded cannot be compared with it.
    NotTold,
}

/// GitHub's commit.
#[derive(Deserialize)]
struct Commit {
    tree: Object<Told>,
}

#[derive(Deserialize)]
struct Told {
    sha: TreeId,
}

/// An entry as GitLab (`name`, `id`) and Gitea (`path`, `sha`) list it; in a root both mean the same.
#[derive(Deserialize)]
struct Entry {
    mode: String,
    name: Option<String>,
    path: Option<String>,
    #[serde(alias = "sha")]
    id: ObjectId,
}

/// Gitea's page of entries.
#[derive(Deserialize)]
struct Entries {
    #[serde(default)]
    tree: Option<Vec<Object<Entry>>>,
    #[serde(default)]
    truncated: bool,
}

impl Api {
    /// The tree of a commit.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn tree<E: From<ApiError>>(
        &self,
        commit: CommitId,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<Tree, E> {
        let entries = match self.family {
            Family::Github => {
                let call = self.call(Method::Get, &self.path(&format!("/git/commits/{commit}")));
                let answer = self.ask(Operation::Content, call, carry)?;
                let found: Commit = self.object(&answer)?;
                return Ok(Tree::Id(found.tree.0.sha));
            }
            Family::Gitlab => {
                let path = self.path(&format!("/repository/tree?ref={commit}"));
                self.list(Operation::Content, &path, carry)?
            }
            Family::Gitea => self.entries_of_gitea(commit, carry)?,
            Family::Bitbucket | Family::BitbucketServer => return Ok(Tree::NotTold),
        };
        Ok(Tree::Id(self.reckoned(commit.0.format(), entries)?))
    }

    fn entries_of_gitea<E: From<ApiError>>(
        &self,
        commit: CommitId,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<Vec<Entry>, E> {
        let mut found = Vec::new();
        for page in 1..=PAGES_MAX {
            let path = self.path(&format!("/git/trees/{commit}?page={page}&per_page=1000"));
            let answer = self.ask(Operation::Content, self.call(Method::Get, &path), carry)?;
            let entries: Entries = self.object(&answer)?;
            let of_page = entries.tree.unwrap_or_default();
            let ends = !entries.truncated || of_page.is_empty();
            found.extend(of_page.into_iter().map(|entry| entry.0));
            if ends {
                return Ok(found);
            }
        }
        Err(ApiError::TooMany { forge: self.forge, pages: PAGES_MAX }.into())
    }

    /// The id of the tree with these entries: their modes in octal without leading zeros, names and ids, in the
    /// order of their names, as though those of folders ended with a slash.
    fn reckoned(&self, format: ObjectFormat, entries: Vec<Entry>) -> Result<TreeId, ApiError> {
        let mut lines = Vec::with_capacity(entries.len());
        for Entry { mode, name, path, id } in entries {
            let name = name.or(path).unwrap_or_default();
            let mode = mode.trim_start_matches('0');
            let good_mode =
                (5..=6).contains(&mode.len()) && mode.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
            let good_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(['/', '\0']);
            if !good_mode || !good_name || id.format() != format {
                return Err(self.shape("tree", "an entry has no mode, name and id as git has them"));
            }
            let sorted_as = if mode == "40000" { format!("{name}/") } else { name.clone() };
            let mut line = format!("{mode} {name}\0").into_bytes();
            line.extend_from_slice(id.as_bytes());
            lines.push((sorted_as, line));
        }
        lines.sort_by(|(left, _), (right, _)| left.as_bytes().cmp(right.as_bytes()));
        let content: Vec<u8> = lines.into_iter().flat_map(|(_, line)| line).collect();
        let head = format!("tree {}\0", content.len());
        let id = match format {
            ObjectFormat::Sha1 => {
                ObjectId::Sha1(Sha1::new_with_prefix(head).chain_update(&content).finalize().into())
            }
            ObjectFormat::Sha256 => {
                ObjectId::Sha256(Sha256::new_with_prefix(head).chain_update(&content).finalize().into())
            }
        };
        Ok(TreeId(id))
    }
}
