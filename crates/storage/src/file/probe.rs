//! [`FolderCapabilities`]: what the file system under a storage can do, tried out at open.

use std::fmt;
use std::io;

use rustix::fd::OwnedFd;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::disk;
use super::session::Session;

/// Linux's limit for one name, whatever the file system says of itself.
const NAME_BYTES_MAX: usize = 255;

/// What the file system under a storage can do. `Display` is a line for `doctor`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FolderCapabilities {
    /// Public keys are hard links to blobs; otherwise copies, which take room and time.
    pub hard_links: bool,
    /// Names that differ only in case are one name.
    pub case_folding: bool,
    /// `public/` is on another mount than the rest.
    pub public_elsewhere: bool,
    /// Files have modes of their own; otherwise the mount options say who may read.
    pub modes: bool,
    /// Names in a folder can be synced; otherwise a power loss may undo finished work.
    pub folder_sync: bool,
    /// The longest name between slashes, in bytes.
    pub name_bytes_max: usize,
}

impl fmt::Display for FolderCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let say = |yes, good, bad| if yes { good } else { bad };
        write!(
            f,
            "{}; {}; {}{}{}",
            say(self.hard_links, "hard links", "no hard links: public files are copies"),
            say(
                self.case_folding,
                "ignores case: keys that differ only in case are refused",
                "tells upper from lower case"
            ),
            say(self.modes, "", "no file modes: the mount options must let readers in; "),
            say(self.folder_sync, "", "cannot sync folders: a power loss may undo finished work; "),
            format_args!("names up to {} bytes", self.name_bytes_max),
        )
    }
}

/// Tries the file system out. `blob_session` lies on the blobs' mount, `public_session` on the
/// public folder's.
pub(super) fn probe(
    blob_session: &Session,
    public_session: &Session,
    public: &OwnedFd,
    public_elsewhere: bool,
) -> io::Result<FolderCapabilities> {
    let (original, file) = blob_session.create()?;
    disk::sync_file(&file)?;
    disk::set_mode(&file, disk::MODE_READ_ONLY)?;
    let modes = disk::stat_open(&file)?.st_mode & 0o777 == disk::MODE_READ_ONLY;

    let second = public_session.reserve();
    let hard_links =
        match disk::link(blob_session.dir(), original.name(), public_session.dir(), second.name()) {
            Ok(()) => true,
            Err(error) if disk::needs_copy(&error) => false,
            Err(error) => return Err(error),
        };
    let folder_sync = match rustix::fs::fsync(public) {
        Ok(()) => true,
        Err(Errno::INVAL) => false,
        Err(error) => return Err(error.into()),
    };
    let name_bytes = usize::try_from(rustix::fs::fstatvfs(public)?.f_namemax).unwrap_or(NAME_BYTES_MAX);
    Ok(FolderCapabilities {
        hard_links,
        case_folding: folds_case(public)?,
        public_elsewhere,
        modes,
        folder_sync,
        name_bytes_max: name_bytes.min(NAME_BYTES_MAX),
    })
}

/// Whether `Aa` is found as `aA`. Tried in the public folder itself, because some file systems have
/// the property per folder; for a moment, and under a name that no key can have.
fn folds_case(public: &OwnedFd) -> io::Result<bool> {
    const MADE: &str = ".gristmill-probe-Aa";
    const SOUGHT: &str = ".gristmill-probe-aA";
    // Two processes must not take one another's file away.
    let gate = disk::open_dir(public, ".")?;
    disk::lock(&gate, FlockOperation::LockExclusive)?;
    match disk::create_file(public, MADE) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {} // a process died here
        Err(error) => return Err(error),
    }
    let found = disk::stat(public, SOUGHT)?.is_some();
    disk::remove_file(public, MADE)?;
    Ok(found)
}

/// Whether a rename from one folder to the other would cross mounts: the kernel looks at the mounts
/// before it looks for the files, so that a name which does not exist tells.
pub(super) fn on_other_mount(from: &OwnedFd, to: &OwnedFd) -> io::Result<bool> {
    if disk::stat_open(from)?.st_dev != disk::stat_open(to)?.st_dev {
        return Ok(true);
    }
    let absent = ".gristmill-absent";
    Ok(rustix::fs::renameat(from, absent, to, absent) == Err(Errno::XDEV))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doctor_reads_a_sentence() {
        let good = FolderCapabilities {
            hard_links: true,
            case_folding: false,
            public_elsewhere: false,
            modes: true,
            folder_sync: true,
            name_bytes_max: 255,
        };
        assert_eq!(good.to_string(), "hard links; tells upper from lower case; names up to 255 bytes");
        let bad = FolderCapabilities {
            hard_links: false,
            case_folding: true,
            modes: false,
            folder_sync: false,
            name_bytes_max: 143,
            ..good
        };
        assert_eq!(
            bad.to_string(),
            "no hard links: public files are copies; ignores case: keys that differ only in case are refused; \
             no file modes: the mount options must let readers in; \
             cannot sync folders: a power loss may undo finished work; names up to 143 bytes"
        );
    }
}
