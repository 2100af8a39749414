//! The tree of a commit: its content, whatever its history.
//!
//! | forge | how it is learned |
//! |---|---|
//! | GitHub | told: "Get a commit object", `tree.sha` |
//! | Azure DevOps | told: "Commits - Get", `treeId` |
//! | GitLab | reckoned from the entries of the root: "List repository tree" |
//! | Gitea, Forgejo | reckoned from the entries of the root: `GetTree`. What "get a single commit" calls the tree's id is the commit's (seen in its source) |
//! | Gogs | reckoned from the entries of the root, "Get a tree", and the modes that the files in it have in the archive: it tells 120000 of every file there, and of a commit its own id as its tree's (both seen in its source) |
//! | Bitbucket, both | not told, and the lists of files have no ids either: there only what was downloaded twice can be compared |
//!
//! A tree's id is the hash of its entries ("Git Objects" in Pro Git), so the entries of the root, with the ids of
//! what lies below, give it.

use gristmill_model::{CommitId, ObjectFormat, ObjectId, Timestamp, TreeId};
use serde::Deserialize;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::call::{Answer, Call, Method};
use super::error::ApiError;
use super::family::{Family, Operation};
use super::read::{Line, moment};
use super::{AZURE_VERSION, Api};
use crate::parse::Object;

/// The most pages of a root's entries that are read.
const PAGES_MAX: usize = 100;
/// The longest name of an entry taken, in bytes, as file systems have it, and some.
const NAME_BYTES_MAX: usize = 4_096;

/// What a forge tells of a commit's content.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    /// Its tree.
    pub tree: Tree,
    /// When it was committed, where it is told.
    pub committed: Option<Timestamp>,
}

/// What a forge tells of a commit's tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tree {
    /// Its id.
    Id(TreeId),
    /// What is in its root, but not whether a file there may be executed or is a link.
    Root(Root),
    /// Nothing: what was downloaded cannot be compared with it.
    NotTold,
}

/// The entries of a root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    format: ObjectFormat,
    /// Mode, name and id; of a file that tells none the first is empty.
    entries: Vec<(String, String, ObjectId)>,
}

/// GitHub's commit.
#[derive(Deserialize)]
struct Commit {
    tree: Object<Sha>,
    committer: Option<Object<Committer>>,
}

#[derive(Deserialize)]
struct Sha {
    sha: TreeId,
}

#[derive(Deserialize)]
struct Committer {
    date: Option<Line>,
}

/// Azure DevOps' commit.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfAzure {
    tree_id: TreeId,
    committer: Option<Object<Committer>>,
}

/// An entry as GitLab (`name`, `id`) and Gitea (`path`, `sha`) list it; in a root both mean the same.
#[derive(Deserialize)]
struct Entry {
    mode: String,
    /// `blob`, `tree` or `commit`.
    #[serde(rename = "type")]
    kind: Option<Line>,
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
    /// The tree of a commit, and when it was committed.
    ///
    /// # Errors
    /// [`ApiError`].
    pub fn tree<E: From<ApiError>>(
        &self,
        commit: CommitId,
        carry: &mut impl FnMut(Call) -> Result<Answer, E>,
    ) -> Result<Told, E> {
        let untimed = |tree| Told { tree, committed: None };
        let entries = match self.family {
            Family::Github => {
                let call = self.call(Method::Get, &self.path(&format!("/git/commits/{commit}")));
                let answer = self.ask(Operation::Content, call, carry)?;
                let found: Commit = self.object(&answer)?;
                return Ok(Told { tree: Tree::Id(found.tree.0.sha), committed: committed(found.committer) });
            }
            Family::Azure => {
                let call = self.call(Method::Get, &self.path(&format!("/commits/{commit}?{AZURE_VERSION}")));
                let answer = self.ask(Operation::Content, call, carry)?;
                let found: OfAzure = self.object(&answer)?;
                // Its archives do not tell the moment.
                let moment = committed(found.committer);
                let moment = moment.ok_or_else(|| self.shape("committer.date", "it is no moment"))?;
                return Ok(Told { tree: Tree::Id(found.tree_id), committed: Some(moment) });
            }
            Family::Gitlab => {
                let path = self.path(&format!("/repository/tree?ref={commit}"));
                self.list(Operation::Content, &path, carry)?
            }
            Family::Gitea => self.entries_of_gitea(commit, carry)?,
            Family::Gogs => {
                let call = self.call(Method::Get, &self.path(&format!("/git/trees/{commit}")));
                let answer = self.ask(Operation::Content, call, carry)?;
                let found: Entries = self.object(&answer)?;
                let entries = found.tree.unwrap_or_default().into_iter().map(|entry| entry.0).collect();
                return Ok(untimed(Tree::Root(self.root(commit.0.format(), entries)?)));
            }
            Family::Bitbucket | Family::BitbucketServer => return Ok(untimed(Tree::NotTold)),
        };
        let root = self.root(commit.0.format(), entries)?;
        Ok(untimed(Tree::Id(root.id(|_| None))))
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

    fn root(&self, format: ObjectFormat, entries: Vec<Entry>) -> Result<Root, ApiError> {
        let mut found = Vec::with_capacity(entries.len());
        for Entry { mode, kind, name, path, id } in entries {
            let name = name.or(path).unwrap_or_default();
            let mut mode = mode.trim_start_matches('0').to_owned();
            let good_mode =
                (5..=6).contains(&mode.len()) && mode.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
            let good_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(['/', '\0']);
            if !good_mode || !good_name || id.format() != format {
                return Err(self.shape("tree", "an entry has no mode, name and id as git has them"));
            }
            if self.family == Family::Gogs && mode == GOGS_MODE && kind.is_some_and(|kind| kind.0 == "blob") {
                mode.clear();
            }
            found.push((mode, name, id));
        }
        Ok(Root { format, entries: found })
    }
}

/// What Gogs tells of every file, be it a link or not.
const GOGS_MODE: &str = "120000";
/// A file's, where nothing else is told of it.
const FILE_MODE: &str = "100644";

fn committed(committer: Option<Object<Committer>>) -> Option<Timestamp> {
    moment(&committer?.0.date?.0)
}

impl Root {
    /// The id of the tree with these entries: their modes in octal without leading zeros, names and ids, in the
    /// order of their names, as though those of folders ended with a slash. `mode` tells a mode, such as `100755`, of
    /// a file by its name, where the forge does not; without one it is taken for a plain file.
    pub fn id(&self, mode: impl Fn(&str) -> Option<&'static str>) -> TreeId {
        let mut lines = Vec::with_capacity(self.entries.len());
        for (told, name, id) in &self.entries {
            let mode = if told.is_empty() { mode(name).unwrap_or(FILE_MODE) } else { told };
            let sorted_as = if mode == "40000" { format!("{name}/") } else { name.clone() };
            let mut line = format!("{mode} {name}\0").into_bytes();
            line.extend_from_slice(id.as_bytes());
            lines.push((sorted_as, line));
        }
        lines.sort_by(|(left, _), (right, _)| left.as_bytes().cmp(right.as_bytes()));
        let content: Vec<u8> = lines.into_iter().flat_map(|(_, line)| line).collect();
        let head = format!("tree {}\0", content.len());
        TreeId(match self.format {
            ObjectFormat::Sha1 => {
                ObjectId::Sha1(Sha1::new_with_prefix(head).chain_update(&content).finalize().into())
            }
            ObjectFormat::Sha256 => {
                ObjectId::Sha256(Sha256::new_with_prefix(head).chain_update(&content).finalize().into())
            }
        })
    }
}
