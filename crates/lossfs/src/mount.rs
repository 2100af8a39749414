//! Mounting the tree, and mounting it anew after a crash.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fuser::SessionACL;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::attr::root_attributes;
use crate::fuse::{Session, Shared, lock};
use crate::tree::Tree;
use crate::{CrashReport, Rules, Stats};

/// What the mount table calls our mounts, before the process that serves them.
const SOURCE_PREFIX: &str = "gristmill-lossfs";

/// How long dropping a [`LossFs`] waits for the kernel to let go of the session. It does so at once unless a
/// process still has a file open; then the session's threads end with that process.
const END_WAIT: Duration = Duration::from_secs(1);

/// Why a file system could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel offers no FUSE here, or not to this user.
    #[error("/dev/fuse cannot be opened: {0}; lossfs needs Linux with the fuse module, and root")]
    Device(#[source] io::Error),
    /// The folder to mount on cannot be made or found.
    #[error("the mount point {path} cannot be used: {source}; name a folder this user can write to")]
    MountPoint {
        /// The folder asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel refused the mount.
    #[error(
        "mounting at {path} was refused: {source}; it needs root (CAP_SYS_ADMIN), also inside a container"
    )]
    Mount {
        /// The folder asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel mounted but then did not speak the protocol as expected.
    #[error("the session with the kernel's fuse module did not start: {0}")]
    Session(#[source] io::Error),
}

/// A mounted file system that forgets on demand. Unmounts when dropped.
#[derive(Debug)]
pub struct LossFs {
    mountpoint: PathBuf,
    shared: Arc<Mutex<Shared>>,
    /// Says when the present session's thread has ended.
    ended: Receiver<()>,
}

impl LossFs {
    /// Whether this machine and user can mount one, found out by doing it.
    ///
    /// # Errors
    /// The reason, as a sentence to print beside a skipped test.
    pub fn available() -> Result<(), String> {
        let folder =
            tempfile::tempdir().map_err(|error| format!("no temporary folder can be made: {error}"))?;
        LossFs::mount(folder.path(), Rules::default()).map(drop).map_err(|error| error.to_string())
    }

    /// Mounts an empty file system at `mountpoint`, a folder that is made if missing, and serves it from a
    /// thread of this process. Clears away mounts whose process was killed first.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn mount(mountpoint: impl AsRef<Path>, rules: Rules) -> Result<LossFs, Error> {
        clear_dead_mounts();
        let named = mountpoint.as_ref();
        let mountpoint = fs::create_dir_all(named)
            .and_then(|()| named.canonicalize())
            .map_err(|source| Error::MountPoint { path: named.to_owned(), source })?;
        let tree = Tree::new(rules, root_attributes());
        let shared = Arc::new(Mutex::new(Shared { tree, epoch: 0 }));
        let ended = start_session(&mountpoint, &shared)?;
        Ok(LossFs { mountpoint, shared, ended })
    }

    /// The folder it is mounted at.
    pub fn path(&self) -> &Path {
        &self.mountpoint
    }

    /// Cuts the power: drops what was not synced and mounts what is left at the same folder. `seed` decides where
    /// the [`Rules`] leave a choice; equal histories and seeds give equal results.
    ///
    /// Kill the processes that use it first. One that is still alive keeps its open files, but each use of them
    /// fails with `EIO` and changes nothing.
    ///
    /// # Errors
    /// When mounting again fails; see [`Error`].
    pub fn crash(&mut self, seed: u64) -> Result<CrashReport, Error> {
        let report = {
            let mut shared = lock(&self.shared);
            shared.epoch += 1;
            shared.tree.crash(seed)
        };
        self.detach();
        self.ended = start_session(&self.mountpoint, &self.shared)?;
        Ok(report)
    }

    /// What has happened since the mount.
    pub fn stats(&self) -> Stats {
        lock(&self.shared).tree.stats
    }

    /// Takes the mount away from the folder at once; the kernel ends the session when the last file is closed.
    fn detach(&self) {
        // Fails only where somebody has unmounted it already, which is as well.
        let _ = rustix::mount::unmount(&self.mountpoint, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
}

impl Drop for LossFs {
    fn drop(&mut self) {
        lock(&self.shared).epoch += 1;
        self.detach();
        let _ = self.ended.recv_timeout(END_WAIT);
    }
}

/// Mounts `shared` and answers the kernel from a new thread, which ends with the mount.
fn start_session(mountpoint: &Path, shared: &Arc<Mutex<Shared>>) -> Result<Receiver<()>, Error> {
    let device = File::options().read(true).write(true).open("/dev/fuse").map_err(Error::Device)?;
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    let options = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions,allow_other",
        device.as_raw_fd(),
        uid.as_raw(),
        gid.as_raw()
    );
    let options = CString::new(options).expect("digits and words hold no NUL");
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let refused = |source: io::Error| Error::Mount { path: mountpoint.to_owned(), source };
    let source = own_source().map_err(refused)?;
    rustix::mount::mount(source, mountpoint, "fuse.lossfs", flags, options.as_c_str())
        .map_err(|error| refused(error.into()))?;
    let unmount = |error| {
        let _ = rustix::mount::unmount(mountpoint, UnmountFlags::DETACH);
        Error::Session(error)
    };
    let session = Session::new(Arc::clone(shared));
    let config = fuser::Config::default();
    let session =
        fuser::Session::from_fd(session, device.into(), SessionACL::All, config).map_err(unmount)?;
    let (sender, ended) = channel();
    std::thread::Builder::new()
        .name("lossfs".to_owned())
        .spawn(move || {
            // Nobody is left to hear of an error: the mount is gone or dead, which its users notice.
            let _ = session.run();
            let _ = sender.send(());
        })
        .map_err(unmount)?;
    Ok(ended)
}

/// The name of this process's mounts: its number and start time, so that a reused number is not mistaken.
fn own_source() -> io::Result<String> {
    let pid = std::process::id();
    let started = start_time(pid).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "/proc does not tell when this process started")
    })?;
    Ok(format!("{SOURCE_PREFIX}:{pid}:{started}"))
}

/// When a process started, in clock ticks since boot: field 22 of `/proc/<pid>/stat` (proc(5)).
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the program's name in brackets, may itself hold spaces and brackets.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Detaches our mounts that no living process serves. What cannot be read or unmounted is left alone.
fn clear_dead_mounts() {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let alive = |pid, started| start_time(pid) == Some(started);
    for mountpoint in dead_mounts(&table, alive) {
        let _ = rustix::mount::unmount(mountpoint, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
    }
}

/// The mount points in a mount table (proc_pid_mountinfo(5)) that are ours and whose process is not `alive`.
fn dead_mounts(table: &str, alive: impl Fn(u32, u64) -> bool) -> Vec<PathBuf> {
    let dead = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut source = after.split(' ').nth(1)?.split(':');
        if source.next()? != SOURCE_PREFIX {
            return None;
        }
        let (pid, started) = (source.next()?.parse().ok()?, source.next()?.parse().ok()?);
        if alive(pid, started) { None } else { Some(PathBuf::from(unescape(before.split(' ').nth(4)?))) }
    };
    table.lines().filter_map(dead).collect()
}

/// Undoes the mount table's escapes: space, tab, line feed and backslash as `\` and three octal digits.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_mounts_of_dead_processes_only() {
        let table = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /tmp/a\\040b rw,nosuid,nodev,relatime - fuse.lossfs gristmill-lossfs:10:500 rw,user_id=0
31 22 0:41 / /tmp/living rw,nosuid shared:5 - fuse.lossfs gristmill-lossfs:11:500 rw,user_id=0
32 22 0:42 / /tmp/reused rw - fuse.lossfs gristmill-lossfs:11:499 rw
33 22 0:43 / /tmp/other rw - fuse.sshfs host:10:500 rw
34 22 0:44 / /tmp/odd rw - fuse.lossfs gristmill-lossfs:x:500 rw
";
        let found = dead_mounts(table, |pid, started| (pid, started) == (11, 500));
        assert_eq!(found, [PathBuf::from("/tmp/a b"), PathBuf::from("/tmp/reused")]);
    }

    #[test]
    fn a_backslash_in_a_name_is_no_second_escape() {
        assert_eq!(unescape("/a\\134040"), "/a\\040");
        assert_eq!(unescape("/t\\011n\\012"), "/t\tn\n");
    }

    #[test]
    fn this_process_has_a_start_time_and_a_later_one_has_another() {
        let own = start_time(std::process::id()).unwrap();
        assert!(own >= start_time(1).unwrap());
        assert_eq!(start_time(u32::MAX), None);
        assert_eq!(own_source().unwrap(), format!("gristmill-lossfs:{}:{own}", std::process::id()));
    }
}
