//! The names in one directory: as processes see them, and as they would be after a power loss.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// The number of an inode.
pub(crate) type Ino = u64;

/// One name set or removed, not yet synced. A rename is two changes with the same `sequence`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The place of the operation among all of the file system.
    pub(crate) sequence: u64,
    pub(crate) name: OsString,
    /// What the name means from here on; `None`: removed.
    pub(crate) ino: Option<Ino>,
    /// The other directory of a rename across directories.
    pub(crate) partner: Option<Ino>,
}

/// A directory. `durable` with all of `pending` applied in order is `live`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    pub(crate) live: BTreeMap<OsString, Ino>,
    pub(crate) durable: BTreeMap<OsString, Ino>,
    /// In the order of `sequence`.
    pub(crate) pending: Vec<Change>,
}

impl Directory {
    /// Sets or removes a live name; returns what it meant before.
    pub(crate) fn set_live(&mut self, change: Change) -> Option<Ino> {
        let before = match change.ino {
            Some(ino) => self.live.insert(change.name.clone(), ino),
            None => self.live.remove(&change.name),
        };
        self.pending.push(change);
        before
    }

    /// Sets or removes a durable name; returns what it meant before.
    pub(crate) fn set_durable(&mut self, name: OsString, ino: Option<Ino>) -> Option<Ino> {
        match ino {
            Some(ino) => self.durable.insert(name, ino),
            None => self.durable.remove(&name),
        }
    }

    /// Takes the changes that `wanted` chooses out of the pending ones, in order.
    pub(crate) fn take_pending(&mut self, wanted: impl Fn(&Change) -> bool) -> Vec<Change> {
        self.pending.extract_if(.., |change| wanted(change)).collect()
    }
}
