//! What the kernel asks, answered from the tree.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fuser::{
    FileAttr, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::io::Errno;

use crate::attr::{
    DIRECTORY, FIFO, Listing, PERMISSIONS, REGULAR, SOCKET, SYMLINK, TYPE_MASK, attr_of, list, moment,
    new_attributes, now,
};
use crate::content::{FileData, PAGE_BYTES};
use crate::directory::Directory;
use crate::tree::{Node, Tree};

/// How long the kernel may trust names and attributes: for good, because each change goes through it and a crash
/// mounts anew.
const CACHE_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The largest file in bytes: a wild offset shall fail rather than fill the memory with page numbers.
const FILE_BYTES_MAX: u64 = 1 << 40;

/// The size the file system claims to have, in blocks of a page; half of it always free.
const CLAIMED_BLOCKS: u64 = 1 << 24;

/// The tree, and which session may still touch it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) tree: Tree,
    /// Counts the crashes. A session of an earlier epoch gets `EIO`: its processes died with the power.
    pub(crate) epoch: u64,
}

/// Locks what the sessions share. No panic happens under this lock, so it is never poisoned by one.
pub(crate) fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().expect("nothing panics while holding the tree")
}

/// One mount's view of the tree.
#[derive(Debug)]
pub(crate) struct Session {
    shared: Arc<Mutex<Shared>>,
    epoch: u64,
    /// The names each open directory had when it was opened, so that a reader that deletes misses none.
    listings: Mutex<Listings>,
}

#[derive(Debug, Default)]
struct Listings {
    open: HashMap<u64, Arc<Listing>>,
    next_handle: u64,
}

impl Session {
    pub(crate) fn new(shared: Arc<Mutex<Shared>>) -> Session {
        let epoch = lock(&shared).epoch;
        Session { shared, epoch, listings: Mutex::default() }
    }

    /// Runs `act` on the tree if this session's power is still on.
    fn with<R>(&self, act: impl FnOnce(&mut Tree) -> Result<R, Errno>) -> Result<R, fuser::Errno> {
        let mut shared = lock(&self.shared);
        let result = if shared.epoch == self.epoch { act(&mut shared.tree) } else { Err(Errno::IO) };
        result.map_err(|error| fuser::Errno::from_i32(error.raw_os_error()))
    }

    fn listings(&self) -> MutexGuard<'_, Listings> {
        self.listings.lock().expect("nothing panics while holding the listings")
    }

    /// Makes an inode and lets the kernel hold it.
    fn make(
        &self,
        request: &Request,
        place: (INodeNo, &OsStr),
        mode: u32,
        node: Node,
    ) -> Result<FileAttr, fuser::Errno> {
        let attributes = new_attributes(mode, request.uid(), request.gid());
        self.with(|tree| {
            let ino = tree.create(place.0.0, place.1, node, attributes)?;
            tree.hold(ino);
            attr_of(tree, ino)
        })
    }
}

fn answer_entry(reply: ReplyEntry, result: Result<FileAttr, fuser::Errno>) {
    match result {
        Ok(attr) => reply.entry(&CACHE_TTL, &attr, Generation(0)),
        Err(error) => reply.error(error),
    }
}

fn answer_attr(reply: ReplyAttr, result: Result<FileAttr, fuser::Errno>) {
    match result {
        Ok(attr) => reply.attr(&CACHE_TTL, &attr),
        Err(error) => reply.error(error),
    }
}

fn answer_empty(reply: ReplyEmpty, result: Result<(), fuser::Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

// What is not here is answered with ENOSYS, which the kernel remembers: it then keeps locks itself, copies byte by
// byte, and tells programs that extended attributes and preallocation are not supported.
impl Filesystem for Session {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let result = self.with(|tree| {
            let ino = tree.lookup(parent.0, name)?;
            tree.hold(ino);
            attr_of(tree, ino)
        });
        answer_entry(reply, result);
    }

    fn forget(&self, _: &Request, ino: INodeNo, times: u64) {
        // A session that ended holds nothing any more, so its refusal is right too.
        let _ = self.with(|tree| {
            tree.forget(ino.0, times);
            Ok(())
        });
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        answer_attr(reply, self.with(|tree| attr_of(tree, ino.0)));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let now = now();
        let result = self.with(|tree| {
            if let Some(size) = size {
                within_limit(size)?;
                tree.file_mut(ino.0)?.truncate(size);
            }
            let live = &mut tree.inode_mut(ino.0)?.live;
            live.mode = mode.map_or(live.mode, |mode| live.mode & TYPE_MASK | mode & PERMISSIONS);
            live.uid = uid.unwrap_or(live.uid);
            live.gid = gid.unwrap_or(live.gid);
            live.accessed = accessed.map_or(live.accessed, |time| moment(time, now));
            live.modified = match modified {
                Some(time) => moment(time, now),
                None if size.is_some() => now,
                None => live.modified,
            };
            live.changed = now;
            attr_of(tree, ino.0)
        });
        answer_attr(reply, result);
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let target = self.with(|tree| match &tree.inode(ino.0)?.node {
            Node::Symlink(target) => Ok(target.clone()),
            _ => Err(Errno::INVAL),
        });
        match target {
            Ok(target) => reply.data(target.as_encoded_bytes()),
            Err(error) => reply.error(error),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let node = match mode & TYPE_MASK {
            0 | REGULAR => Node::File(FileData::default()),
            SOCKET | FIFO => Node::Special,
            _ => return reply.error(fuser::Errno::EPERM),
        };
        let mode = if mode & TYPE_MASK == 0 { mode | REGULAR } else { mode };
        answer_entry(reply, self.make(request, (parent, name), mode, node));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let mode = DIRECTORY | mode & PERMISSIONS;
        let node = Node::Directory(Directory::default());
        answer_entry(reply, self.make(request, (parent, name), mode, node));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer_empty(reply, self.with(|tree| tree.unlink(parent.0, name, now())));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer_empty(reply, self.with(|tree| tree.rmdir(parent.0, name, now())));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let node = Node::Symlink(target.as_os_str().to_owned());
        answer_entry(reply, self.make(request, (parent, name), SYMLINK | 0o777, node));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = ((parent.0, name), (new_parent.0, new_name));
        let result = self.with(|tree| {
            if flags.is_empty() {
                tree.rename(from, to, now())
            } else if flags == RenameFlags::RENAME_EXCHANGE {
                tree.exchange(from, to, now())
            } else if flags == RenameFlags::RENAME_NOREPLACE {
                match tree.lookup(to.0, to.1) {
                    Ok(_) => Err(Errno::EXIST),
                    Err(_) => tree.rename(from, to, now()),
                }
            } else {
                Err(Errno::INVAL)
            }
        });
        answer_empty(reply, result);
    }

    fn link(&self, _: &Request, ino: INodeNo, new_parent: INodeNo, new_name: &OsStr, reply: ReplyEntry) {
        let result = self.with(|tree| {
            tree.link(ino.0, new_parent.0, new_name, now())?;
            tree.hold(ino.0);
            attr_of(tree, ino.0)
        });
        answer_entry(reply, result);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.with(|tree| tree.inode(ino.0).map(|_| ())) {
            // The cache stays true: nothing changes behind the kernel's back.
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let mode = REGULAR | mode & PERMISSIONS;
        match self.make(request, (parent, name), mode, Node::File(FileData::default())) {
            Ok(attr) => {
                let (handle, flags) = (FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
                reply.created(&CACHE_TTL, &attr, Generation(0), handle, flags);
            }
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = self.with(|tree| Ok(tree.file_mut(ino.0)?.read(offset, size as usize)));
        match bytes {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // For O_SYNC and O_DSYNC the kernel sends an fsync of its own behind the write.
        let length = u32::try_from(data.len()).expect("the kernel writes at most 16 MiB at once");
        let now = now();
        let result = self.with(|tree| {
            within_limit(offset.saturating_add(data.len() as u64))?;
            tree.file_mut(ino.0)?.write(offset, data);
            let live = &mut tree.inode_mut(ino.0)?.live;
            (live.modified, live.changed) = (now, now);
            tree.stats.bytes_written += data.len() as u64;
            Ok(())
        });
        match result {
            Ok(()) => reply.written(length),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Closing makes nothing durable; told once, the kernel does not ask again.
        reply.error(fuser::Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, only_data: bool, reply: ReplyEmpty) {
        answer_empty(reply, self.with(|tree| tree.sync_file(ino.0, only_data)));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.with(|tree| list(tree, ino.0)) {
            Ok(names) => {
                let mut listings = self.listings();
                let handle = listings.next_handle;
                listings.next_handle += 1;
                listings.open.insert(handle, Arc::new(names));
                drop(listings);
                reply.opened(FileHandle(handle), FopenFlags::empty());
            }
            Err(error) => reply.error(error),
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let names = if offset == 0 {
            // From the start, also after rewinddir: as it is now.
            match self.with(|tree| list(tree, ino.0)) {
                Ok(names) => {
                    let names = Arc::new(names);
                    self.listings().open.insert(handle.0, Arc::clone(&names));
                    names
                }
                Err(error) => return reply.error(error),
            }
        } else {
            self.listings().open.get(&handle.0).map(Arc::clone).unwrap_or_default()
        };
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, (child, kind, name)) in names.iter().enumerate().skip(skipped) {
            if reply.add(INodeNo(*child), index as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.listings().open.remove(&handle.0);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, only_data: bool, reply: ReplyEmpty) {
        answer_empty(reply, self.with(|tree| tree.sync_directory(ino.0, only_data)));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let (block, free) = (PAGE_BYTES as u32, CLAIMED_BLOCKS / 2);
        reply.statfs(CLAIMED_BLOCKS, free, free, CLAIMED_BLOCKS, free, block, 255, block);
    }
}

fn within_limit(size: u64) -> Result<(), Errno> {
    if size > FILE_BYTES_MAX { Err(Errno::FBIG) } else { Ok(()) }
}
