//! What is compared with the model: the tree itself, and a mount.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{Op, PathParts, Snapshot, WRITE_BYTES, World, with_first_paths};
use crate::attr::new_attributes;
use crate::content::FileData;
use crate::directory::{Directory, Ino};
use crate::tree::{Inode, Node, ROOT, Tree};
use crate::{LossFs, Rules};

pub(super) struct TreeWorld(pub(super) Tree);

impl TreeWorld {
    pub(super) fn new(rules: Rules) -> TreeWorld {
        TreeWorld(Tree::new(rules, new_attributes(0o040_755, 0, 0)))
    }

    fn find(&self, path: &[&str]) -> Result<Ino, Errno> {
        path.iter().try_fold(ROOT, |ino, part| self.0.lookup(ino, OsStr::new(part)))
    }

    fn place<'a>(&self, path: &[&'a str]) -> Result<(Ino, &'a OsStr), Errno> {
        let (last, parents) = path.split_last().ok_or(Errno::BUSY)?;
        Ok((self.find(parents)?, OsStr::new(*last)))
    }

    fn try_apply(&mut self, op: &Op) -> Result<(), Errno> {
        let now = SystemTime::UNIX_EPOCH;
        match op {
            Op::Create(path) => {
                let (parent, name) = self.place(path)?;
                let node = Node::File(FileData::default());
                self.0.create(parent, name, node, new_attributes(0o100_644, 0, 0)).map(drop)
            }
            Op::Mkdir(path) => {
                let (parent, name) = self.place(path)?;
                let node = Node::Directory(Directory::default());
                self.0.create(parent, name, node, new_attributes(0o040_755, 0, 0)).map(drop)
            }
            Op::Write(path, at, fill) => {
                let ino = self.find(path)?;
                self.0.file_mut(ino)?.write(u64::from(*at), &[*fill; WRITE_BYTES]);
                Ok(())
            }
            Op::Truncate(path, size) => {
                let ino = self.find(path)?;
                self.0.file_mut(ino)?.truncate(u64::from(*size));
                Ok(())
            }
            Op::Link(from, to) => {
                let (parent, name) = self.place(to)?;
                self.0.link(self.find(from)?, parent, name, now)
            }
            Op::Rename(from, to) | Op::Exchange(from, to)
                if to.len() > from.len() && to.starts_with(from)
                    || matches!(op, Op::Exchange(..)) && from.len() > to.len() && from.starts_with(to) =>
            {
                Err(Errno::INVAL)
            }
            Op::Rename(from, to) => self.0.rename(self.place(from)?, self.place(to)?, now),
            Op::Exchange(from, to) => self.0.exchange(self.place(from)?, self.place(to)?, now),
            Op::Unlink(path) => {
                let (parent, name) = self.place(path)?;
                self.0.unlink(parent, name, now)
            }
            Op::Rmdir(path) => {
                let (parent, name) = self.place(path)?;
                self.0.rmdir(parent, name, now)
            }
            Op::SyncFile(path) => {
                let ino = self.find(path)?;
                self.0.file_mut(ino)?;
                self.0.sync_file(ino, true)
            }
            Op::SyncDirectory(path) => self.0.sync_directory(self.find(path)?, true),
            Op::Crash => {
                self.0.crash(1);
                Ok(())
            }
        }
    }

    /// Every counter of every inode against a count of all names.
    pub(super) fn check_counts(&self) {
        let (mut links, mut references, mut pending) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (_, directory) in self.0.directories() {
            let changes = directory.pending.iter().filter_map(|change| change.ino);
            changes.clone().for_each(|ino| *pending.entry(ino).or_insert(0) += 1);
            directory.live.values().for_each(|ino| *links.entry(*ino).or_insert(0) += 1);
            for ino in directory.live.values().chain(directory.durable.values()).copied().chain(changes) {
                *references.entry(ino).or_insert(0) += 1;
            }
            let sequences: Vec<u64> = directory.pending.iter().map(|change| change.sequence).collect();
            assert!(sequences.is_sorted(), "{sequences:?}");
        }
        *references.entry(ROOT).or_insert(0) += 1;
        for (ino, inode) in &self.0.inodes {
            let Inode { links: l, references: r, pending: p, .. } = inode;
            let counted = (links.remove(ino), references.remove(ino), pending.remove(ino));
            let counted = (counted.0.unwrap_or(0), counted.1.unwrap_or(0), counted.2.unwrap_or(0));
            assert_eq!((*l, *r, *p), counted, "inode {ino}");
            assert!(*r > 0, "inode {ino} is kept for nobody");
            if let (Node::File(data), 0) = (&inode.node, *l) {
                assert_eq!(
                    data.clone().crash(None).pages_dropped,
                    0,
                    "inode {ino} keeps what nobody can read"
                );
            }
        }
        assert!(references.is_empty(), "names of missing inodes: {references:?}");
    }
}

impl World for TreeWorld {
    fn apply(&mut self, op: &Op) -> bool {
        self.try_apply(op).is_ok()
    }

    fn snapshot(&self) -> Snapshot {
        let mut found = BTreeMap::new();
        let mut open = vec![(String::new(), ROOT)];
        while let Some((path, ino)) = open.pop() {
            for (name, &child) in &self.0.directory(ino).unwrap().live {
                let path = format!("{path}/{}", name.to_str().unwrap());
                match &self.0.inode(child).unwrap().node {
                    Node::Directory(_) => {
                        open.push((path.clone(), child));
                        found.insert(path, None);
                    }
                    Node::File(data) => {
                        found.insert(path, Some((data.read(0, usize::MAX), child)));
                    }
                    node => panic!("nobody made a {node:?}"),
                }
            }
        }
        with_first_paths(found)
    }
}

pub(super) struct MountWorld(pub(super) LossFs);

impl MountWorld {
    fn try_apply(&mut self, op: &Op) -> std::io::Result<()> {
        let full = |path: &PathParts| self.0.path().join(path.iter().collect::<std::path::PathBuf>());
        let open = |path: &PathParts| File::options().write(true).open(full(path));
        match op {
            Op::Create(path) => File::create_new(full(path)).map(drop),
            Op::Mkdir(path) => fs::create_dir(full(path)),
            Op::Write(path, at, fill) => open(path)?.write_all_at(&[*fill; WRITE_BYTES], u64::from(*at)),
            Op::Truncate(path, size) => open(path)?.set_len(u64::from(*size)),
            Op::Link(from, to) => fs::hard_link(full(from), full(to)),
            Op::Rename(from, to) => fs::rename(full(from), full(to)),
            Op::Exchange(from, to) => {
                renameat_with(CWD, full(from), CWD, full(to), RenameFlags::EXCHANGE).map_err(Into::into)
            }
            Op::Unlink(path) => fs::remove_file(full(path)),
            Op::Rmdir(path) => fs::remove_dir(full(path)),
            Op::SyncFile(path) => open(path)?.sync_data(),
            Op::SyncDirectory(path) => {
                fs::read_dir(full(path))?;
                File::open(full(path))?.sync_all()
            }
            Op::Crash => self.0.crash(1).map(drop).map_err(std::io::Error::other),
        }
    }
}

impl World for MountWorld {
    fn apply(&mut self, op: &Op) -> bool {
        self.try_apply(op).is_ok()
    }

    fn snapshot(&self) -> Snapshot {
        fn walk(folder: &Path, path: &str, found: &mut BTreeMap<String, Option<(Vec<u8>, u64)>>) {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path = format!("{path}/{}", entry.file_name().to_str().unwrap());
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), &path, found);
                    found.insert(path, None);
                } else {
                    let file = (fs::read(entry.path()).unwrap(), entry.metadata().unwrap().ino());
                    found.insert(path, Some(file));
                }
            }
        }
        let mut found = BTreeMap::new();
        walk(self.0.path(), "", &mut found);
        with_first_paths(found)
    }
}
