//! A clone of one ref, as the `.git` folder that goes along with the files of a commit.
//!
//! Whoever puts it beside the commit's files has what `git clone --single-branch` leaves: the whole history of the ref,
//! an index in which everything is as committed, and the remote's address. Configuration and refs are written by us:
//! no hooks, no logs, no paths of this machine, no credentials.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gristmill_model::{CommitId, Digest, GitRef, ObjectFormat, ObjectId};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::error::GitError;
use crate::leftovers;
use crate::limit::Limit;
use crate::mirror::Mirror;
use crate::program::Call;
use crate::repair;
use crate::url::RemoteUrl;

/// How a folder in which a clone is made is named.
const UNFINISHED: &str = "clone";

/// Bounds for a clone.
#[derive(Clone, Copy, Debug)]
pub struct CloneLimits {
    /// How long making it may take.
    pub time_max: Duration,
    /// How large its packs may become, in bytes. Looked at twice a second, so it is met roughly.
    pub bytes_max: u64,
}

/// A file of the clone.
#[derive(Clone, Debug)]
pub struct CloneFile {
    /// Its path below `.git`, with slashes.
    pub name: Vec<u8>,
    /// Where it lies until the clone is dropped.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
}

/// A clone in a folder of its own, which goes with it.
#[derive(Debug)]
pub struct OwnClone {
    _dir: TempDir,
    files: Vec<CloneFile>,
}

impl OwnClone {
    /// Its files, in the order of their names' bytes. Each folder that git needs has one.
    pub fn files(&self) -> &[CloneFile] {
        &self.files
    }
}

impl Mirror {
    /// Makes a clone in which `git_ref` is at `commit`, which must be in the mirror. `url` is where the clone fetches
    /// from. Nobody is asked.
    ///
    /// # Errors
    ///
    /// [`GitError::TooLarge`], [`GitError::Timeout`], [`GitError::Io`], and [`GitError::Damaged`] or
    /// [`GitError::Failed`] where the history is not whole.
    pub async fn own_clone(
        &self,
        url: &RemoteUrl,
        git_ref: &GitRef,
        commit: CommitId,
        limits: CloneLimits,
    ) -> Result<OwnClone, GitError> {
        let end = Instant::now() + limits.time_max;
        let io_error = |error| GitError::io("make a clone in", self.dir(), error);
        let dir = self.dir().canonicalize().map_err(io_error)?;
        leftovers::remove(&dir, UNFINISHED).map_err(io_error)?;
        let dir = tempfile::Builder::new()
            .prefix(&leftovers::prefix(UNFINISHED))
            .tempdir_in(&dir)
            .map_err(io_error)?;
        let named = self.named_by(git_ref, commit)?;
        write_files(dir.path(), url, git_ref, commit, named).map_err(io_error)?;
        self.pack(dir.path(), commit, named, limits.bytes_max, end).await?;
        let read_tree = ["read-tree", "--no-recurse-submodules", &commit.to_string()].map(OsString::from);
        let call =
            Call { args: read_tree.into(), mirror: Some(dir.path()), ..self.call(&[], None, left(end)) };
        self.git.run("read-tree", call).await?;
        let files = list(dir.path()).map_err(io_error)?;
        Ok(OwnClone { _dir: dir, files })
    }

    /// What the ref names: the commit, or the annotated tag of it that the remote was last seen to have.
    fn named_by(&self, git_ref: &GitRef, commit: CommitId) -> Result<ObjectId, GitError> {
        let tip = format!("refs/gristmill-tip/{}", Digest::of(git_ref.as_str().as_bytes()).to_hex());
        let seen = repair::read_ref(&self.repo, &tip)?.filter(|_| git_ref.tag().is_some());
        let leads_here = |id: &ObjectId| Ok::<_, GitError>(self.objects()?.peel(*id)? == commit);
        match seen {
            Some(id) if leads_here(&id)? => Ok(id),
            _ => Ok(commit.0),
        }
    }

    /// One pack with everything that leads to the commit. By one thread, so that equal work has equal bytes.
    async fn pack(
        &self,
        dir: &Path,
        commit: CommitId,
        named: ObjectId,
        bytes_max: u64,
        end: Instant,
    ) -> Result<(), GitError> {
        let input = wanted(&format!("{commit}\n{named}\n"));
        let input = input.map_err(|error| GitError::io("write a list for", dir, error))?;
        let args = ["pack-objects", "--revs", "--threads=1", "--delta-base-offset", "--quiet", "--"];
        let mut call = self.call(&args, None, left(end));
        call.args.push(dir.join("objects/pack/pack").into());
        call.input = Some(input);
        match self.git.run_watched("pack-objects", call, || repair::pack_bytes(dir) <= bytes_max).await {
            Ok(_) if repair::pack_bytes(dir) <= bytes_max => Ok(()),
            Ok(_) | Err(GitError::TooLarge { .. }) => {
                Err(GitError::TooLarge { what: Limit::Clone, max: bytes_max })
            }
            Err(error) => Err(error),
        }
    }
}

fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}

fn wanted(text: &str) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Everything but the objects and the index. Refs are files of their own: folders without a file would get lost on the
/// way, and without `refs` git takes nothing for a repository (gitrepository-layout(5)).
fn write_files(
    dir: &Path,
    url: &RemoteUrl,
    git_ref: &GitRef,
    commit: CommitId,
    named: ObjectId,
) -> io::Result<()> {
    fs::create_dir_all(dir.join("objects/pack"))?;
    let put = |name: &str, text: String| {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap_or(dir))?;
        fs::write(path, text)
    };
    put("config", config(url, git_ref, commit.0.format()))?;
    put(git_ref.as_str(), format!("{named}\n"))?;
    match git_ref.branch() {
        Some(branch) => {
            put("HEAD", format!("ref: {git_ref}\n"))?;
            put(&format!("refs/remotes/origin/{branch}"), format!("{commit}\n"))
        }
        None => put("HEAD", format!("{commit}\n")),
    }
}

/// What a clone is configured as; git-config(1) has the syntax.
fn config(url: &RemoteUrl, git_ref: &GitRef, format: ObjectFormat) -> String {
    let (version, extensions) = match format {
        ObjectFormat::Sha1 => (0, ""),
        ObjectFormat::Sha256 => (1, "[extensions]\n\tobjectformat = sha256\n"),
    };
    let branch = git_ref.branch().map(|branch| {
        let branch = quoted(branch);
        format!("[branch {branch}]\n\tremote = origin\n\tmerge = {}\n", quoted(git_ref.as_str()))
    });
    format!(
        "[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = false\n\
         \tlogallrefupdates = true\n{extensions}[remote \"origin\"]\n\turl = {}\n\
         \tfetch = +refs/heads/*:refs/remotes/origin/*\n{}",
        quoted(&url.to_string()),
        branch.unwrap_or_default()
    )
}

/// Neither addresses nor names of refs have line ends.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn list(dir: &Path) -> io::Result<Vec<CloneFile>> {
    let mut files = Vec::new();
    let mut folders = vec![(Vec::new(), dir.to_owned())];
    while let Some((above, folder)) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let (entry, mut name) = (entry?, above.clone());
            name.extend_from_slice(std::os::unix::ffi::OsStrExt::as_bytes(entry.file_name().as_os_str()));
            let found = entry.metadata()?;
            if found.is_dir() {
                name.push(b'/');
                folders.push((name, entry.path()));
            } else {
                files.push(CloneFile { name, path: entry.path(), size: found.len() });
            }
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}
