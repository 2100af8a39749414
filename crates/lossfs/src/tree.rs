//! The file system itself, without the kernel: inodes, names, and which of them are durable.
//!
//! The rules, chosen as pessimistic as POSIX allows and then eased by [`Rules`]:
//! - bytes and size of a file are durable after `fsync` or `fdatasync` of the file;
//! - mode, owner and times are durable after `fsync` of the file, and until then as at its creation;
//! - a name, set or removed, is durable after `fsync` of its directory.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use rustix::io::Errno;

use crate::Stats;
use crate::content::FileData;
use crate::directory::{Change, Directory, Ino};

/// The root directory's inode, as FUSE numbers it.
pub(crate) const ROOT: Ino = 1;

/// The longest name in bytes, as on Linux file systems.
const NAME_BYTES_MAX: usize = 255;

/// Which of the concessions real file systems make are made, and how un-synced state is chosen at a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// At a crash a random subset of the un-synced 4 KiB pages of each file survives, and its size may be the
    /// old one, the new one or in between. Otherwise each file goes back to its last synced content.
    pub torn: bool,
    /// At a crash a random prefix of the un-synced name changes survives, in the order they were made, as with
    /// a journal. Otherwise each directory goes back to its last synced names.
    pub journal: bool,
    /// `fsync` of a file also makes the names it has at that moment durable. ext4, XFS and btrfs do so for a
    /// file just created; POSIX does not promise it.
    pub file_sync_keeps_names: bool,
    /// A rename across directories is durable as one: `fsync` of either directory makes both halves durable.
    /// Every journaling file system does so. Otherwise each directory holds its half until it is synced: syncing
    /// only the new one leaves both names, only the old one none.
    pub atomic_renames: bool,
}

/// What `stat` says besides size and links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// Type and permissions, as in `st_mode`.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) accessed: SystemTime,
    pub(crate) modified: SystemTime,
    pub(crate) changed: SystemTime,
}

/// What an inode is.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    File(FileData),
    Directory(Directory),
    Symlink(OsString),
    /// A socket or pipe: only its mode counts.
    Special,
}

#[derive(Clone, Debug)]
pub(crate) struct Inode {
    pub(crate) node: Node,
    pub(crate) live: Attributes,
    pub(crate) durable: Attributes,
    /// How many live names it has.
    pub(crate) links: u32,
    /// How many live, durable and pending names point here.
    pub(crate) references: u64,
    /// How many of these are pending.
    pub(crate) pending: u64,
    /// How many times the kernel holds it: open files, mappings, its cache of names.
    pub(crate) lookups: u64,
}

/// The whole file system.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) inodes: BTreeMap<Ino, Inode>,
    pub(crate) rules: Rules,
    pub(crate) stats: Stats,
    next_ino: Ino,
    next_sequence: u64,
}

impl Tree {
    /// An empty file system whose root has `attributes`.
    pub(crate) fn new(rules: Rules, attributes: Attributes) -> Tree {
        let mut root = Inode::new(Node::Directory(Directory::default()), attributes);
        root.references = 1; // by the mount
        Tree {
            inodes: BTreeMap::from([(ROOT, root)]),
            rules,
            stats: Stats::default(),
            next_ino: ROOT + 1,
            next_sequence: 0,
        }
    }

    pub(crate) fn inode(&self, ino: Ino) -> Result<&Inode, Errno> {
        self.inodes.get(&ino).ok_or(Errno::STALE)
    }

    pub(crate) fn inode_mut(&mut self, ino: Ino) -> Result<&mut Inode, Errno> {
        self.inodes.get_mut(&ino).ok_or(Errno::STALE)
    }

    pub(crate) fn directory(&self, ino: Ino) -> Result<&Directory, Errno> {
        match &self.inode(ino)?.node {
            Node::Directory(directory) => Ok(directory),
            _ => Err(Errno::NOTDIR),
        }
    }

    pub(crate) fn file_mut(&mut self, ino: Ino) -> Result<&mut FileData, Errno> {
        match &mut self.inode_mut(ino)?.node {
            Node::File(data) => Ok(data),
            Node::Directory(_) => Err(Errno::ISDIR),
            _ => Err(Errno::INVAL),
        }
    }

    pub(crate) fn lookup(&self, parent: Ino, name: &OsStr) -> Result<Ino, Errno> {
        self.directory(parent)?.live.get(name).copied().ok_or(Errno::NOENT)
    }

    /// Makes `node` under a new name.
    pub(crate) fn create(
        &mut self,
        parent: Ino,
        name: &OsStr,
        node: Node,
        attributes: Attributes,
    ) -> Result<Ino, Errno> {
        self.check_new(parent, name)?;
        let ino = self.next_ino;
        self.next_ino += 1;
        self.inodes.insert(ino, Inode::new(node, attributes));
        self.change(&[(parent, name, Some(ino))], attributes.modified);
        Ok(ino)
    }

    /// Gives `ino`, not a directory, another name.
    pub(crate) fn link(&mut self, ino: Ino, parent: Ino, name: &OsStr, now: SystemTime) -> Result<(), Errno> {
        self.check_new(parent, name)?;
        match self.inode(ino)? {
            Inode { node: Node::Directory(_), .. } => Err(Errno::PERM),
            Inode { links: 0, .. } => Err(Errno::NOENT),
            _ => {
                self.change(&[(parent, name, Some(ino))], now);
                Ok(())
            }
        }
    }

    /// Removes a name that is not a directory's.
    pub(crate) fn unlink(&mut self, parent: Ino, name: &OsStr, now: SystemTime) -> Result<(), Errno> {
        let ino = self.lookup(parent, name)?;
        if matches!(self.inode(ino)?.node, Node::Directory(_)) {
            return Err(Errno::ISDIR);
        }
        self.change(&[(parent, name, None)], now);
        Ok(())
    }

    /// Removes an empty directory.
    pub(crate) fn rmdir(&mut self, parent: Ino, name: &OsStr, now: SystemTime) -> Result<(), Errno> {
        let ino = self.lookup(parent, name)?;
        if !self.directory(ino)?.live.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.change(&[(parent, name, None)], now);
        Ok(())
    }

    /// Renames, replacing what `to` names. That no directory moves below itself is the caller's to check
    /// (the kernel does).
    pub(crate) fn rename(
        &mut self,
        from: (Ino, &OsStr),
        to: (Ino, &OsStr),
        now: SystemTime,
    ) -> Result<(), Errno> {
        let ino = self.lookup(from.0, from.1)?;
        if to.1.len() > NAME_BYTES_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        match self.lookup(to.0, to.1) {
            Ok(target) if target == ino => return Ok(()), // as POSIX has it for two names of one file
            Ok(target) => self.check_replaceable(ino, target)?,
            Err(Errno::NOENT) => self.check_new(to.0, to.1)?,
            Err(error) => return Err(error),
        }
        self.change(&[(to.0, to.1, Some(ino)), (from.0, from.1, None)], now);
        Ok(())
    }

    /// Exchanges what two names mean.
    pub(crate) fn exchange(
        &mut self,
        from: (Ino, &OsStr),
        to: (Ino, &OsStr),
        now: SystemTime,
    ) -> Result<(), Errno> {
        let (a, b) = (self.lookup(from.0, from.1)?, self.lookup(to.0, to.1)?);
        if a == b {
            return Ok(());
        }
        self.change(&[(from.0, from.1, Some(b)), (to.0, to.1, Some(a))], now);
        Ok(())
    }

    fn check_new(&self, parent: Ino, name: &OsStr) -> Result<(), Errno> {
        let inode = self.inode(parent)?;
        if self.directory(parent)?.live.contains_key(name) {
            Err(Errno::EXIST)
        } else if name.len() > NAME_BYTES_MAX {
            Err(Errno::NAMETOOLONG)
        } else if inode.links == 0 && parent != ROOT {
            Err(Errno::NOENT) // the directory was removed while open
        } else {
            Ok(())
        }
    }

    fn check_replaceable(&self, ino: Ino, target: Ino) -> Result<(), Errno> {
        match (&self.inode(ino)?.node, &self.inode(target)?.node) {
            (Node::Directory(_), Node::Directory(old)) if old.live.is_empty() => Ok(()),
            (Node::Directory(_), Node::Directory(_)) => Err(Errno::NOTEMPTY),
            (Node::Directory(_), _) => Err(Errno::NOTDIR),
            (_, Node::Directory(_)) => Err(Errno::ISDIR),
            _ => Ok(()),
        }
    }

    /// Makes one operation's changes to live names, checked by the caller, and notes them as not synced.
    fn change(&mut self, changes: &[(Ino, &OsStr, Option<Ino>)], now: SystemTime) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.stats.name_changes += changes.len() as u64;
        let mut released = Vec::new();
        for &(parent, name, ino) in changes {
            let partner = changes.iter().map(|c| c.0).find(|&other| other != parent);
            self.refer(ino, |inode| {
                inode.references += 2; // one live, one pending
                inode.pending += 1;
                inode.links += 1;
                inode.live.changed = now;
            });
            let change = Change { sequence, name: name.to_owned(), ino, partner };
            let before = self.directory_of(parent, |directory| directory.set_live(change)).flatten();
            self.refer(Some(parent), |inode| (inode.live.modified, inode.live.changed) = (now, now));
            self.refer(before, |inode| {
                inode.references -= 1;
                inode.links -= 1;
                inode.live.changed = now;
            });
            released.extend(before);
        }
        // Only now: half way through a rename the file may have no name at all.
        self.collect(released);
    }

    /// The kernel took hold of `ino` once more.
    pub(crate) fn hold(&mut self, ino: Ino) {
        self.refer(Some(ino), |inode| inode.lookups += 1);
    }

    /// The kernel let go of `ino` `times` times.
    pub(crate) fn forget(&mut self, ino: Ino, times: u64) {
        self.refer(Some(ino), |inode| inode.lookups = inode.lookups.saturating_sub(times));
        self.collect(vec![ino]);
    }

    /// Frees what nobody can reach any more: the un-synced content of a file without live names and handles, and
    /// the whole inode once no name, not even a durable or pending one, is left.
    pub(crate) fn collect(&mut self, mut open: Vec<Ino>) {
        while let Some(ino) = open.pop() {
            let Some(inode) = self.inodes.get_mut(&ino) else { continue };
            if inode.links > 0 || inode.lookups > 0 || ino == ROOT {
                continue;
            }
            if inode.references > 0 {
                if let Node::File(data) = &mut inode.node {
                    data.crash(None);
                }
                continue;
            }
            if let Some(Inode { node: Node::Directory(directory), .. }) = self.inodes.remove(&ino) {
                let pending = directory.pending.iter().filter_map(|change| change.ino);
                for child in pending.clone() {
                    self.refer(Some(child), |inode| inode.pending -= 1);
                }
                for child in directory.durable.values().copied().chain(pending) {
                    self.refer(Some(child), |inode| inode.references -= 1);
                    open.push(child);
                }
            }
        }
    }

    pub(crate) fn directories(&self) -> impl Iterator<Item = (Ino, &Directory)> {
        self.inodes.iter().filter_map(|(&ino, inode)| match &inode.node {
            Node::Directory(directory) => Some((ino, directory)),
            _ => None,
        })
    }

    pub(crate) fn directory_of<R>(&mut self, ino: Ino, act: impl FnOnce(&mut Directory) -> R) -> Option<R> {
        match self.inodes.get_mut(&ino) {
            Some(Inode { node: Node::Directory(directory), .. }) => Some(act(directory)),
            _ => None,
        }
    }

    pub(crate) fn refer(&mut self, ino: Option<Ino>, act: impl FnOnce(&mut Inode)) {
        if let Some(inode) = ino.and_then(|ino| self.inodes.get_mut(&ino)) {
            act(inode);
        }
    }
}

impl Inode {
    fn new(node: Node, attributes: Attributes) -> Inode {
        Inode { node, live: attributes, durable: attributes, links: 0, references: 0, pending: 0, lookups: 0 }
    }
}
