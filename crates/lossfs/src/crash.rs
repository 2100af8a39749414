//! The power loss: what is left of a tree.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::directory::Ino;
use crate::rng::Rng;
use crate::tree::{Inode, Node, ROOT, Tree};

/// What one crash dropped and kept of what was not synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrashReport {
    /// Changed pages of 4 KiB that went back to their synced content.
    pub pages_dropped: u64,
    /// Changed pages of 4 KiB that survived though nobody synced them; zero unless [`crate::Rules::torn`].
    pub pages_kept: u64,
    /// Names set or removed (a rename is two) that went back.
    pub names_dropped: u64,
    /// Names set or removed that survived though nobody synced them; zero unless [`crate::Rules::journal`].
    pub names_kept: u64,
}

impl Tree {
    /// Drops what was not synced. `seed` decides where the rules leave a choice. All handles become invalid.
    pub(crate) fn crash(&mut self, seed: u64) -> CrashReport {
        let mut rng = Rng::new(seed);
        let mut report = CrashReport::default();
        if self.rules.journal {
            report.names_kept = self.persist_prefix(&mut rng);
        }
        for inode in self.inodes.values_mut() {
            inode.live = inode.durable;
            match &mut inode.node {
                Node::File(data) => {
                    let loss = data.crash(self.rules.torn.then_some(&mut rng));
                    report.pages_dropped += loss.pages_dropped;
                    report.pages_kept += loss.pages_kept;
                }
                Node::Directory(directory) => {
                    report.names_dropped += directory.pending.len() as u64;
                    directory.pending.clear();
                }
                Node::Symlink(_) | Node::Special => {}
            }
        }
        self.rebuild();
        self.stats.crashes += 1;
        self.stats.pages_dropped += report.pages_dropped;
        self.stats.names_dropped += report.names_dropped;
        report
    }

    /// Makes a random number of the oldest un-synced operations on names durable. Returns the names it kept.
    fn persist_prefix(&mut self, rng: &mut Rng) -> u64 {
        let operations: BTreeSet<u64> =
            self.directories().flat_map(|(_, d)| d.pending.iter().map(|change| change.sequence)).collect();
        let kept = rng.up_to(operations.len() as u64);
        let end = operations.into_iter().nth(usize::try_from(kept).expect("at most as many as in memory"));
        let parents: Vec<Ino> = self.directories().map(|(ino, _)| ino).collect();
        parents
            .into_iter()
            .map(|parent| self.persist_in(parent, |change| end.is_none_or(|end| change.sequence < end)))
            .sum()
    }

    /// Makes live what is durable and reachable from the root, forgets the rest and counts anew.
    ///
    /// A directory whose move only one of two parents had synced may be found in both. A directory has one
    /// parent, so the place nearest to the root counts, then the first in the order of names.
    fn rebuild(&mut self) {
        let directories: BTreeSet<Ino> = self.directories().map(|(ino, _)| ino).collect();
        let mut links = BTreeMap::from([(ROOT, 0_u32)]);
        let mut open = VecDeque::from([ROOT]);
        while let Some(Inode { node: Node::Directory(directory), .. }) =
            open.pop_front().and_then(|ino| self.inodes.get_mut(&ino))
        {
            directory.durable.retain(|_, &mut child| {
                let is_directory = directories.contains(&child);
                if is_directory && links.contains_key(&child) {
                    return false;
                }
                *links.entry(child).or_default() += 1;
                if is_directory {
                    open.push_back(child);
                }
                true
            });
            directory.live = directory.durable.clone();
        }
        self.inodes.retain(|ino, _| links.contains_key(ino));
        for (ino, inode) in &mut self.inodes {
            inode.links = links[ino];
            inode.references = u64::from(inode.links) * 2 + u64::from(*ino == ROOT);
            inode.pending = 0;
            inode.lookups = 0;
        }
    }
}
