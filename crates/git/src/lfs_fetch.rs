//! Bringing the large files of git-lfs, by its program.
//!
//! The program, because it speaks what forges speak: its HTTP interface with tokens and actions, and by ssh
//! `git-lfs-transfer` or `git-lfs-authenticate`, whichever the server has. It is called in a repository made for the purpose, `<mirror>/lfs.git`, which holds
//! one commit with the pointers that are wanted and missing. So it reads nothing of a stranger's: no
//! `.lfsconfig` that leads to another server, no `.gitattributes`, and no pointers that nobody asked for. It also
//! writes into its repository's configuration, which a mirror would take for damage.
//!
//! What it brings lies in `<mirror>/lfs`, named by its SHA-256, and is checked against that before each use.
//! Servers of large files may name other servers to download from; those get what the first one tells, and a token of
//! ours only where they are the address it is for.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gristmill_model::{CommitId, ObjectFormat};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::error::GitError;
use crate::lfs::{LfsOid, LfsPointer};
use crate::mirror::Mirror;
use crate::program::{Call, Git};
use crate::protocol::Protocol;
use crate::remote::Remote;
use crate::repair;

/// How long `git lfs version` may take.
const VERSION_TIME_MAX: Duration = Duration::from_secs(10);

/// What may lie in half-made files beyond what is wanted, in bytes, before a download is stopped.
const SLACK_BYTES: u64 = 16 << 20;

/// Settings for git-lfs; see git-lfs-config(5).
const SETTINGS: &[&str] = &[
    // No connection of ssh is shared.
    "lfs.ssh.automultiplex=false",
    // No other transfer than plain downloads, no program of somebody's.
    "lfs.basictransfersonly=true",
    "lfs.tustransfers=false",
    "lfs.standalonetransferagent=",
    "lfs.fetchinclude=",
    "lfs.fetchexclude=",
    "lfs.fetchrecentalways=false",
    "lfs.skipdownloaderrors=false",
    "lfs.concurrenttransfers=4",
    "lfs.transfer.maxretries=2",
    "lfs.dialtimeout=30",
    "lfs.tlstimeout=30",
    "lfs.activitytimeout=60",
];

/// Bounds for large files.
#[derive(Clone, Copy, Debug)]
pub struct LfsLimits {
    /// How long it may take once it has the mirror for itself.
    pub time_max: Duration,
    /// How long it waits for others that work on the mirror.
    pub lock_wait_max: Duration,
    /// How many different files.
    pub objects_max: usize,
    /// How large one may be, in bytes.
    pub object_bytes_max: u64,
    /// How large they may be together, in bytes.
    pub bytes_max: u64,
}

impl Default for LfsLimits {
    /// An hour, after at most five minutes of waiting; 20 000 files, 5 GiB each, 20 GiB together.
    fn default() -> LfsLimits {
        LfsLimits {
            time_max: Duration::from_secs(60 * 60),
            lock_wait_max: Duration::from_secs(5 * 60),
            objects_max: 20_000,
            object_bytes_max: 5 << 30,
            bytes_max: 20 << 30,
        }
    }
}

/// Large files that are here and are what their pointers say.
#[derive(Clone, Debug)]
pub struct LfsObjects {
    pub(crate) files: BTreeMap<LfsOid, PathBuf>,
}

impl LfsObjects {
    /// Opens a large file for reading; `None` where it was not among the pointers.
    ///
    /// # Errors
    ///
    /// Where the file cannot be opened any more.
    pub fn open(&self, oid: LfsOid) -> io::Result<Option<File>> {
        self.files.get(&oid).map(File::open).transpose()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

impl Git {
    /// Asks `git-lfs` for its version, such as `git-lfs/3.3.0 (…)`, for `doctor`.
    ///
    /// # Errors
    ///
    /// [`GitError::LfsProgram`] where it is not installed.
    pub async fn lfs_version(&self) -> Result<String, GitError> {
        let call = Call::new(vec!["lfs".into(), "version".into()], VERSION_TIME_MAX, 1000);
        let finished = self.run_any("lfs", &call, || true).await?;
        let text = String::from_utf8_lossy(&finished.stdout).trim().to_owned();
        let good = finished.status.success() && text.starts_with("git-lfs/");
        if good { Ok(text) } else { Err(GitError::LfsProgram) }
    }
}

impl Mirror {
    /// Brings large files and checks each. Asks nobody for those that are here already.
    ///
    /// # Errors
    ///
    /// [`GitError::LfsProgram`], [`GitError::LfsObject`] for one that did not come or is not what its pointer
    /// says, [`GitError::TooLarge`] before anything is asked for, and whatever keeps the remote from answering.
    pub async fn fetch_lfs(
        &self,
        remote: &Remote,
        pointers: &[LfsPointer],
        limits: LfsLimits,
    ) -> Result<LfsObjects, GitError> {
        let wanted = wanted(pointers, &remote.url.to_string(), limits)?;
        if wanted.is_empty() {
            return Ok(LfsObjects { files: BTreeMap::new() });
        }
        self.git.check(remote)?;
        let dir = self.dir().canonicalize().map_err(|error| GitError::io("find", self.dir(), error))?;
        let storage = dir.join("lfs");
        let lock = self.lock(limits.lock_wait_max).await?;
        let (mut files, missing) = checked(&storage, wanted).await?;
        if missing.is_empty() {
            return Ok(LfsObjects { files });
        }
        if matches!(remote.url.protocol(), Protocol::File | Protocol::Git) {
            let detail = "large files come by https or ssh only".to_owned();
            return Err(lost(&missing, remote, detail));
        }
        self.git.lfs_version().await?;
        let end = Instant::now() + limits.time_max;
        let result = self.download(remote, &dir, &missing, &lock, end).await;
        let (found, still) = checked(&storage, missing).await?;
        files.extend(found);
        match result {
            _ if still.is_empty() => Ok(LfsObjects { files }),
            Err(GitError::Failed { detail, .. } | GitError::NotFound { detail, .. }) => {
                Err(lost(&still, remote, detail))
            }
            Err(error) => Err(error),
            Ok(()) => {
                Err(lost(&still, remote, "git-lfs brought something else than its pointer says".to_owned()))
            }
        }
    }

    async fn download(
        &self,
        remote: &Remote,
        dir: &Path,
        missing: &BTreeSet<LfsPointer>,
        lock: &File,
        end: Instant,
    ) -> Result<(), GitError> {
        let (repo, storage) = (dir.join("lfs.git"), dir.join("lfs"));
        // What a killed download left.
        for folder in [storage.join("tmp"), storage.join("incomplete")] {
            repair::remove_tree(&folder).map_err(|error| GitError::io("remove", &folder, error))?;
        }
        repair::make_at(&repo, ObjectFormat::Sha1)?;
        let commit = self.commit_pointers(&repo, missing, end).await?;
        let mut args: Vec<OsString> = Vec::new();
        for setting in SETTINGS {
            args.extend(["-c".into(), setting.into()]);
        }
        let mut setting = |name: &str, value: OsString| {
            let mut text = OsString::from(name);
            text.push(value);
            args.extend(["-c".into(), text]);
        };
        setting("lfs.storage=", storage.clone().into_os_string());
        setting("remote.origin.url=", remote.url.argument());
        args.extend(["lfs", "fetch", "origin", &commit.to_string()].map(OsString::from));
        let call = Call {
            mirror: Some(&repo),
            remote: Some(remote),
            lock: Some(lock),
            ..Call::new(args, end.saturating_duration_since(Instant::now()), 1 << 20)
        };
        let bytes_max = missing.iter().map(|pointer| pointer.size).sum::<u64>().saturating_add(SLACK_BYTES);
        let half_made =
            || bytes_in(&storage.join("tmp")) + bytes_in(&storage.join("incomplete")) <= bytes_max;
        let done = self.git.run_watched("lfs fetch", call, half_made).await;
        match done {
            Ok(_) => Ok(()),
            Err(GitError::TooLarge { .. }) => {
                Err(GitError::TooLarge { what: "what came for large files, in bytes,", max: bytes_max })
            }
            Err(error) => Err(error),
        }
    }

    /// A commit of our own that has each pointer once, named by its oid.
    async fn commit_pointers(
        &self,
        repo: &Path,
        missing: &BTreeSet<LfsPointer>,
        end: Instant,
    ) -> Result<CommitId, GitError> {
        let mut stream =
            String::from("commit refs/heads/lfs\nmark :1\ncommitter lfs <lfs> 0 +0000\ndata 0\n");
        for pointer in missing {
            let text = pointer.to_text();
            stream.push_str(&format!("M 100644 inline {}\ndata {}\n{text}\n", pointer.oid, text.len()));
        }
        stream.push_str("\nget-mark :1\ndone\n");
        let input = tempfile::tempfile()
            .and_then(|mut file| {
                file.write_all(stream.as_bytes())?;
                file.rewind()?;
                Ok(file)
            })
            .map_err(|error| GitError::io("write pointers for", repo, error))?;
        let call = Call {
            mirror: Some(repo),
            input: Some(input),
            ..Call::new(
                ["fast-import", "--quiet", "--done"].map(OsString::from).to_vec(),
                end.saturating_duration_since(Instant::now()),
                1000,
            )
        };
        let finished = self.git.run("fast-import", call).await?;
        String::from_utf8_lossy(&finished.stdout).trim().parse().map_err(|_| GitError::Failed {
            command: "fast-import",
            status: finished.status.to_string(),
            detail: "it did not name its commit".to_owned(),
        })
    }
}

/// What is wanted, each once, within the limits.
pub(crate) fn wanted(
    pointers: &[LfsPointer],
    remote: &str,
    limits: LfsLimits,
) -> Result<BTreeSet<LfsPointer>, GitError> {
    let wanted: BTreeSet<LfsPointer> = pointers.iter().copied().collect();
    let too_large = |what, max| Err(GitError::TooLarge { what, max });
    if wanted.len() > limits.objects_max {
        return too_large("the number of large files", limits.objects_max as u64);
    }
    if wanted.iter().any(|pointer| pointer.size > limits.object_bytes_max) {
        return too_large("a large file in bytes", limits.object_bytes_max);
    }
    let bytes = wanted.iter().try_fold(0u64, |sum, pointer| sum.checked_add(pointer.size));
    if bytes.is_none_or(|bytes| bytes > limits.bytes_max) {
        return too_large("all large files together in bytes", limits.bytes_max);
    }
    let mut oids: Vec<LfsOid> = wanted.iter().map(|pointer| pointer.oid).collect();
    oids.dedup();
    if oids.len() < wanted.len() {
        // One of them lies, and we cannot say which before it is here.
        let detail = "two pointers to it give different sizes".to_owned();
        let oid = wanted.iter().zip(wanted.iter().skip(1)).find(|(a, b)| a.oid == b.oid);
        let oid = oid.map(|(pointer, _)| pointer.oid.to_string()).unwrap_or_default();
        return Err(GitError::LfsObject { oid, remote: remote.to_owned(), detail });
    }
    Ok(wanted)
}

fn lost(missing: &BTreeSet<LfsPointer>, remote: &Remote, detail: String) -> GitError {
    let oid = missing.first().map(|pointer| pointer.oid.to_string()).unwrap_or_default();
    GitError::LfsObject { oid, remote: remote.url.to_string(), detail }
}

/// Files that are what their pointers say, and pointers without one. What is there and is something else goes.
pub(crate) async fn checked(
    storage: &Path,
    pointers: BTreeSet<LfsPointer>,
) -> Result<(BTreeMap<LfsOid, PathBuf>, BTreeSet<LfsPointer>), GitError> {
    let storage = storage.to_owned();
    let check = move || {
        let (mut files, mut missing) = (BTreeMap::new(), BTreeSet::new());
        for pointer in pointers {
            let path = place(&storage, pointer);
            match holds(&path, pointer) {
                Ok(true) => {
                    files.insert(pointer.oid, path);
                }
                Ok(false) => {
                    repair::remove_tree(&path).map_err(|error| GitError::io("remove", &path, error))?;
                    missing.insert(pointer);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    missing.insert(pointer);
                }
                Err(error) => return Err(GitError::io("read", &path, error)),
            }
        }
        Ok((files, missing))
    };
    tokio::task::spawn_blocking(check).await.map_err(|error| {
        GitError::io("check large files in", Path::new("a mirror"), io::Error::other(error))
    })?
}

/// Where git-lfs keeps a file.
pub(crate) fn place(storage: &Path, pointer: LfsPointer) -> PathBuf {
    let hex = pointer.oid.to_string();
    storage.join("objects").join(&hex[..2]).join(&hex[2..4]).join(&hex)
}

/// Whether a file is what its pointer says.
fn holds(path: &Path, pointer: LfsPointer) -> io::Result<bool> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_file() || found.len() != pointer.size {
        return Ok(false);
    }
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hash.finalize()[..] == pointer.oid.as_bytes()[..]);
        }
        hash.update(&buffer[..count]);
    }
}

/// The bytes in a folder's files. What cannot be read counts as nothing: this only bounds growth.
fn bytes_in(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum()
}
