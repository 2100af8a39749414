//! The few file system calls that the storage makes, always below an open folder and never through
//! a symbolic link.

use std::ffi::CString;
use std::fs::File;
use std::io;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;

#[cfg(test)]
use super::trace;

pub(crate) use rustix::fs::{FileType, Stat};

/// Blobs, and the public files that are links to them: nobody writes, everybody reads.
pub(crate) const MODE_READ_ONLY: u32 = 0o444;
/// Public folders: any web server may enter and list.
pub(crate) const MODE_PUBLIC_DIR: u32 = 0o755;
/// Blobs and versions: the owner's group may look.
pub(crate) const MODE_PRIVATE_DIR: u32 = 0o750;
/// Unfinished files.
pub(crate) const MODE_TMP_DIR: u32 = 0o700;

const DIR_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens the folder `path`, wherever it is; symbolic links on the way are the operator's choice.
pub(crate) fn open_root(path: &std::path::Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a folder in `at`, also through a symbolic link that the operator put there.
pub(crate) fn open_dir_following(at: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(at, name, DIR_FLAGS.difference(OFlags::NOFOLLOW), Mode::empty())?)
}

/// Opens a folder in `at`; a symbolic link is an error (`ENOTDIR` or `ELOOP`). Each call makes an
/// open file of its own, so that locks taken on two of them exclude one another.
pub(crate) fn open_dir(at: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(at, name, DIR_FLAGS, Mode::empty())?)
}

/// Makes a folder unless it is there, with exactly `mode` whatever the umask; says whether it was
/// made.
pub(crate) fn make_dir(at: impl AsFd, name: &str, mode: u32) -> io::Result<bool> {
    match rustix::fs::mkdirat(at.as_fd(), name, Mode::from_raw_mode(mode)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    set_mode(open_dir(at, name)?, mode)?;
    Ok(true)
}

/// Sets the mode; on file systems without modes (vfat answers EPERM) the mount options decide.
pub(crate) fn set_mode(fd: impl AsFd, mode: u32) -> io::Result<()> {
    match rustix::fs::fchmod(fd, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A new file for writing and reading.
pub(crate) fn create_file(at: impl AsFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// A file for reading; a symbolic link is an error, and a pipe does not block.
pub(crate) fn open_file(at: impl AsFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?.into())
}

/// `None` instead of an error where there is nothing of that name.
pub(crate) fn if_there<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What `name` is, not following a symbolic link; `None` where there is nothing.
pub(crate) fn stat(at: impl AsFd, name: &str) -> io::Result<Option<Stat>> {
    if_there(rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from))
}

/// What an open file is.
pub(crate) fn stat_open(fd: impl AsFd) -> io::Result<Stat> {
    Ok(rustix::fs::fstat(fd)?)
}

/// The kind of file.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The size in bytes.
pub(crate) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// When the content last changed, in nanoseconds since 1970.
pub(crate) fn modified_ns(stat: &Stat) -> i64 {
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// Moves within one file system, replacing what is there in one step.
pub(crate) fn rename(from: impl AsFd, old: &str, to: impl AsFd, new: &str) -> io::Result<()> {
    #[cfg(test)]
    trace::note("rename to", to.as_fd(), &format!("/{new}"));
    Ok(rustix::fs::renameat(from, old, to, new)?)
}

/// Moves unless something is there; says whether it moved. File systems that cannot promise that
/// replace what is there; callers only move files here that equal what they would replace.
pub(crate) fn rename_new(from: impl AsFd, old: &str, to: impl AsFd, new: &str) -> io::Result<bool> {
    #[cfg(test)]
    trace::note("rename to", to.as_fd(), &format!("/{new}"));
    match rustix::fs::renameat_with(from.as_fd(), old, to.as_fd(), new, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rustix::fs::renameat(from, old, to, new)?;
            Ok(true)
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes a second name for a file.
pub(crate) fn link(from: impl AsFd, old: &str, to: impl AsFd, new: &str) -> io::Result<()> {
    Ok(rustix::fs::linkat(from, old, to, new, AtFlags::empty())?)
}

/// Whether a link failed because this file cannot have another name there, so that a copy is due:
/// no hard links at all (vfat: EPERM), another file system, or too many names already.
pub(crate) fn needs_copy(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::MLINK | Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS)
    )
}

/// Takes a file away; says whether there was one.
pub(crate) fn remove_file(at: impl AsFd, name: &str) -> io::Result<bool> {
    let removed = rustix::fs::unlinkat(at, name, AtFlags::empty());
    Ok(if_there(removed.map_err(io::Error::from))?.is_some())
}

/// Takes an empty folder away; says whether it is gone (also where it was not there), `false`
/// where it holds something or is no folder.
pub(crate) fn remove_empty_dir(at: impl AsFd, name: &str) -> io::Result<bool> {
    match rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::BUSY | Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the names in a folder are on the disk. Some network and FUSE file systems know no
/// such call (EINVAL); the probe at open tells the operator.
pub(crate) fn sync_dir(dir: impl AsFd) -> io::Result<()> {
    #[cfg(test)]
    trace::note("sync", dir.as_fd(), "");
    match rustix::fs::fsync(dir) {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Waits until a file's bytes are on the disk.
pub(crate) fn sync_file(file: &File) -> io::Result<()> {
    #[cfg(test)]
    trace::note("sync", file.as_fd(), "");
    Ok(rustix::fs::fdatasync(file)?)
}

/// Sets the time of change to now, or one second after `before` where that is later, and says what
/// it is. Web servers compare whole seconds (Last-Modified, and nginx's ETag): a key that goes to
/// another blob must show a later second even where that blob is an old one. Where the file belongs
/// to another user the time stays as it is.
pub(crate) fn touch(file: &File, before_s: Option<i64>) -> io::Result<()> {
    let set = |time: Timespec| {
        let last_access = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
        match rustix::fs::futimens(file, &Timestamps { last_access, last_modification: time }) {
            Ok(()) | Err(Errno::PERM | Errno::ACCESS) => io::Result::Ok(()),
            Err(error) => Err(error.into()),
        }
    };
    let was_s = stat_open(file)?.st_mtime;
    set(Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW })?;
    // Never backwards: another key may show this blob's time too.
    let least_s = before_s.map_or(was_s, |before_s| was_s.max(before_s.saturating_add(1)));
    if stat_open(file)?.st_mtime < least_s {
        set(Timespec { tv_sec: least_s, tv_nsec: 0 })?;
    }
    Ok(())
}

/// Waits for a lock on an open folder, shared or exclusive. It goes with the open file.
pub(crate) fn lock(dir: impl AsFd, operation: FlockOperation) -> io::Result<()> {
    loop {
        match rustix::fs::flock(dir.as_fd(), operation) {
            Err(Errno::INTR) => {}
            outcome => return Ok(outcome?),
        }
    }
}

/// The names in a folder with their kinds, without `.` and `..`, in no order. Names that are not
/// UTF-8 are shown with replacement characters; nothing of ours has such a name.
pub(crate) fn entries(
    dir: impl AsFd,
) -> io::Result<impl Iterator<Item = io::Result<(String, Option<FileType>)>>> {
    let entries = rustix::fs::Dir::read_from(dir)?;
    Ok(entries.filter_map(|entry| {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error.into())),
        };
        let name: CString = entry.file_name().to_owned();
        let kind = entry.file_type();
        (!matches!(name.as_bytes(), b"." | b".."))
            .then(|| Ok((name.to_string_lossy().into_owned(), (kind != FileType::Unknown).then_some(kind))))
    }))
}

/// Like [`entries`], with the kind looked up where the file system does not tell it.
pub(crate) fn entries_with_kind(
    dir: &OwnedFd,
) -> io::Result<impl Iterator<Item = io::Result<(String, FileType)>>> {
    Ok(entries(dir)?.map(move |entry| {
        let (name, kind) = entry?;
        let kind = match kind {
            Some(kind) => kind,
            None => stat(dir, &name)?.map_or(FileType::Unknown, |stat| self::kind(&stat)),
        };
        Ok((name, kind))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_there_is_nothing() {
        assert_eq!(if_there(Ok(1)).unwrap(), Some(1));
        assert_eq!(if_there::<()>(Err(Errno::NOENT.into())).unwrap(), None);
        assert_eq!(
            if_there::<()>(Err(Errno::IO.into())).unwrap_err().raw_os_error(),
            Some(Errno::IO.raw_os_error())
        );
    }

    #[test]
    fn links_that_cannot_be_ask_for_a_copy_and_other_failures_do_not() {
        for errno in [Errno::MLINK, Errno::XDEV, Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS] {
            assert!(needs_copy(&errno.into()), "{errno:?}");
        }
        for errno in [Errno::NOSPC, Errno::IO, Errno::NOENT, Errno::EXIST] {
            assert!(!needs_copy(&errno.into()), "{errno:?}");
        }
    }

    #[test]
    fn moving_what_is_new_never_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let dir = open_root(folder.path()).unwrap();
        for name in ["a", "b"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        assert!(!rename_new(&dir, "a", &dir, "b").unwrap());
        assert_eq!(std::fs::read_to_string(folder.path().join("b")).unwrap(), "b");
        assert!(rename_new(&dir, "a", &dir, "c").unwrap());
        assert_eq!(rename_new(&dir, "a", &dir, "d").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(remove_file(&dir, "c").unwrap());
        assert!(!remove_file(&dir, "c").unwrap());
    }

    #[test]
    fn only_empty_folders_are_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let dir = open_root(folder.path()).unwrap();
        assert!(make_dir(&dir, "a", 0o700).unwrap());
        assert!(!make_dir(&dir, "a", 0o755).unwrap());
        assert!(make_dir(open_dir(&dir, "a").unwrap(), "b", 0o700).unwrap());
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(!remove_empty_dir(&dir, "a").unwrap());
        assert!(!remove_empty_dir(&dir, "file").unwrap());
        assert!(remove_empty_dir(open_dir(&dir, "a").unwrap(), "b").unwrap());
        assert!(remove_empty_dir(&dir, "a").unwrap());
        assert!(remove_empty_dir(&dir, "a").unwrap(), "gone is gone");
        remove_empty_dir(&dir, &"n".repeat(256)).unwrap_err();
    }
}
