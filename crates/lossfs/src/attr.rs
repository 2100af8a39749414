//! What `stat` and a directory listing say, in the kernel's terms.

use std::ffi::OsString;
use std::time::SystemTime;

use fuser::{FileAttr, FileType, INodeNo, TimeOrNow};
use rustix::io::Errno;

use crate::content::PAGE_BYTES;
use crate::directory::Ino;
use crate::tree::{Attributes, Node, Tree};

pub(crate) const TYPE_MASK: u32 = 0o170_000;
pub(crate) const REGULAR: u32 = 0o100_000;
pub(crate) const DIRECTORY: u32 = 0o040_000;
pub(crate) const SYMLINK: u32 = 0o120_000;
pub(crate) const SOCKET: u32 = 0o140_000;
pub(crate) const FIFO: u32 = 0o010_000;
pub(crate) const PERMISSIONS: u32 = 0o7777;

/// The names in a directory, as a listing gives them.
pub(crate) type Listing = Vec<(Ino, FileType, OsString)>;

/// The attributes of something made now.
pub(crate) fn new_attributes(mode: u32, uid: u32, gid: u32) -> Attributes {
    let now = now();
    Attributes { mode, uid, gid, accessed: now, modified: now, changed: now }
}

/// The attributes of a root directory made now.
pub(crate) fn root_attributes() -> Attributes {
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    new_attributes(DIRECTORY | 0o755, uid.as_raw(), gid.as_raw())
}

#[expect(clippy::disallowed_methods, reason = "a file system stamps files with the machine's time")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}

fn kind_of(mode: u32) -> FileType {
    match mode & TYPE_MASK {
        DIRECTORY => FileType::Directory,
        SYMLINK => FileType::Symlink,
        SOCKET => FileType::Socket,
        FIFO => FileType::NamedPipe,
        _ => FileType::RegularFile,
    }
}

/// The attributes of `ino` as the kernel wants them.
pub(crate) fn attr_of(tree: &Tree, ino: Ino) -> Result<FileAttr, Errno> {
    let inode = tree.inode(ino)?;
    let (size, allocated, nlink) = match &inode.node {
        Node::File(data) => (data.size(), data.allocated_bytes(), inode.links),
        // One link tells tools not to count subdirectories by it, as on btrfs.
        Node::Directory(_) => (0, 0, 1),
        Node::Symlink(target) => (target.len() as u64, 0, inode.links),
        Node::Special => (0, 0, inode.links),
    };
    let attributes = inode.live;
    Ok(FileAttr {
        ino: INodeNo(ino),
        size,
        blocks: allocated.div_ceil(512),
        atime: attributes.accessed,
        mtime: attributes.modified,
        ctime: attributes.changed,
        crtime: attributes.changed,
        kind: kind_of(attributes.mode),
        perm: u16::try_from(attributes.mode & PERMISSIONS).expect("twelve bits"),
        nlink,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: 0,
        blksize: PAGE_BYTES as u32,
        flags: 0,
    })
}

/// The names in directory `ino`, with the two every directory has.
pub(crate) fn list(tree: &Tree, ino: Ino) -> Result<Listing, Errno> {
    let mut names = vec![(ino, FileType::Directory, ".".into()), (ino, FileType::Directory, "..".into())];
    for (name, &child) in &tree.directory(ino)?.live {
        names.push((child, kind_of(tree.inode(child)?.live.mode), name.clone()));
    }
    Ok(names)
}

/// The time a program set, where `now` is one.
pub(crate) fn moment(time: TimeOrNow, now: SystemTime) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => now,
    }
}
