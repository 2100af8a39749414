//! The remotes: refs with a true history of tips. What they know is the truth that all else is
//! measured by; the program never sees more of it than a real `git ls-remote` and `git fetch` show.

use std::collections::{BTreeMap, BTreeSet};

use gristmill::intake::{Seen, Tip};
use gristmill_model::{CommitId, GitRef, ObjectId, TreeId};

/// One remote repository.
#[derive(Debug, Default)]
pub struct Remote {
    index: u8,
    made: u32,
    refs: Seen,
    /// Every tip a ref ever had, with the moment it came to be; `None`: the ref was deleted.
    history: BTreeMap<GitRef, Vec<(i64, Option<CommitId>)>>,
    trees: BTreeMap<CommitId, TreeId>,
    /// Tag objects and the commits behind them.
    tags: BTreeMap<CommitId, CommitId>,
    /// Commits that cannot be fetched, ever.
    pub broken: BTreeSet<CommitId>,
}

fn object(kind: u8, remote: u8, number: u32) -> ObjectId {
    let mut bytes = [0; 20];
    bytes[0] = kind;
    bytes[1] = remote;
    bytes[16..].copy_from_slice(&number.to_be_bytes());
    ObjectId::Sha1(bytes)
}

impl Remote {
    pub fn new(index: u8) -> Remote {
        Remote { index, ..Remote::default() }
    }

    /// A new commit with the given tree. Trees are the same in all remotes.
    pub fn commit(&mut self, tree: u32) -> CommitId {
        self.made += 1;
        let commit = CommitId(object(0xc0, self.index, self.made));
        self.trees.insert(commit, TreeId(object(0x40, 0, tree + 1)));
        commit
    }

    /// A new tag object for a commit.
    pub fn annotate(&mut self, commit: CommitId) -> ObjectId {
        self.made += 1;
        let tag = object(0x7a, self.index, self.made);
        self.tags.insert(CommitId(tag), commit);
        tag
    }

    /// The ref now is `tip`, or gone.
    pub fn set(&mut self, now: i64, git_ref: &GitRef, tip: Option<Tip>) {
        match tip {
            Some(tip) => drop(self.refs.insert(git_ref.clone(), tip)),
            None => drop(self.refs.remove(git_ref)),
        }
        self.history.entry(git_ref.clone()).or_default().push((now, tip.map(|tip| tip.commit)));
    }

    pub fn tip(&self, git_ref: &GitRef) -> Option<Tip> {
        self.refs.get(git_ref).copied()
    }

    /// What `git ls-remote` shows at this moment.
    pub fn seen(&self) -> Seen {
        self.refs.clone()
    }

    /// The commit that an id names: itself, or what a tag object points to.
    pub fn peel(&self, id: CommitId) -> CommitId {
        self.tags.get(&id).copied().unwrap_or(id)
    }

    pub fn tree(&self, id: CommitId) -> TreeId {
        self.trees[&self.peel(id)]
    }

    pub fn history(&self, git_ref: &GitRef) -> &[(i64, Option<CommitId>)] {
        self.history.get(git_ref).map_or(&[], Vec::as_slice)
    }

    /// Commits the ref had before, other than the tip.
    pub fn older(&self, git_ref: &GitRef) -> Vec<CommitId> {
        let tip = self.tip(git_ref).map(|tip| tip.commit);
        let mut older: Vec<CommitId> =
            self.history(git_ref).iter().filter_map(|(_, commit)| *commit).collect();
        older.sort_unstable();
        older.dedup();
        older.retain(|commit| Some(*commit) != tip);
        older
    }

    pub fn ref_names(&self) -> impl Iterator<Item = &GitRef> {
        self.history.keys()
    }
}
