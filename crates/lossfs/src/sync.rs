//! What `fsync` makes durable.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use rustix::io::Errno;

use crate::directory::{Change, Ino};
use crate::tree::{Node, Tree};

impl Tree {
    /// Makes the content of `ino` durable and, unless `only_data`, its attributes.
    pub(crate) fn sync_file(&mut self, ino: Ino, only_data: bool) -> Result<(), Errno> {
        self.stats.file_syncs += 1;
        let inode = self.inode_mut(ino)?;
        if let Node::File(data) = &mut inode.node {
            data.sync();
        }
        if !only_data {
            inode.durable = inode.live;
        }
        if inode.pending > 0 && self.rules.file_sync_keeps_names {
            self.sync_names_of(ino);
        }
        Ok(())
    }

    fn sync_names_of(&mut self, ino: Ino) {
        let names: Vec<(Ino, OsString)> = self
            .directories()
            .flat_map(|(parent, directory)| {
                directory.pending.iter().map(move |change| (parent, directory, change))
            })
            .filter(|(_, directory, change)| {
                change.ino == Some(ino) && directory.live.get(&change.name) == Some(&ino)
            })
            .map(|(parent, _, change)| (parent, change.name.clone()))
            .collect();
        for (parent, name) in names {
            self.persist(parent, |change| change.name == name);
        }
    }

    /// Makes the names in directory `ino` durable and, unless `only_data`, its attributes.
    pub(crate) fn sync_directory(&mut self, ino: Ino, only_data: bool) -> Result<(), Errno> {
        self.directory(ino)?;
        self.stats.directory_syncs += 1;
        if !only_data {
            self.refer(Some(ino), |inode| inode.durable = inode.live);
        }
        self.persist(ino, |_| true);
        Ok(())
    }

    /// Makes the pending changes of `parent` that `wanted` chooses durable; with atomic renames also their other
    /// halves and all that must come before these.
    fn persist(&mut self, parent: Ino, wanted: impl Fn(&Change) -> bool) {
        if self.rules.atomic_renames {
            for (parent, chosen) in self.closure(parent, wanted) {
                self.persist_in(parent, |change| chosen.contains(&(change.sequence, change.name.clone())));
            }
        } else {
            self.persist_in(parent, wanted);
        }
    }

    /// The changes that `wanted` chooses (all of a name or none), the other halves of renames among them, the
    /// earlier changes of the names these concern, and so on; by directory.
    fn closure(
        &self,
        parent: Ino,
        wanted: impl Fn(&Change) -> bool,
    ) -> BTreeMap<Ino, BTreeSet<(u64, OsString)>> {
        let pending = |ino| self.directory(ino).map_or(&[][..], |directory| &directory.pending);
        let mut found: BTreeMap<Ino, BTreeSet<(u64, OsString)>> = BTreeMap::new();
        let mut open: Vec<(Ino, &Change)> =
            pending(parent).iter().filter(|change| wanted(change)).map(|change| (parent, change)).collect();
        while let Some((parent, change)) = open.pop() {
            if !found.entry(parent).or_default().insert((change.sequence, change.name.clone())) {
                continue;
            }
            let Some(partner) = change.partner else { continue };
            let others = pending(partner);
            for half in others.iter().filter(|other| other.sequence == change.sequence) {
                let until =
                    others.iter().filter(|other| other.name == half.name && other.sequence <= half.sequence);
                open.extend(until.map(|other| (partner, other)));
            }
        }
        found
    }

    /// Moves the chosen changes of one directory from pending to durable, in order.
    pub(crate) fn persist_in(&mut self, parent: Ino, wanted: impl Fn(&Change) -> bool) -> u64 {
        let taken = self.directory_of(parent, |directory| directory.take_pending(wanted)).unwrap_or_default();
        let count = taken.len() as u64;
        for Change { name, ino, .. } in taken {
            // The reference moves from pending to durable, so the count stays.
            self.refer(ino, |inode| inode.pending -= 1);
            let before = self.directory_of(parent, |directory| directory.set_durable(name, ino)).flatten();
            self.refer(before, |inode| inode.references -= 1);
            self.collect(before.into_iter().collect());
        }
        count
    }
}
