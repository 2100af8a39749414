//! What refs a remote has, by `git ls-remote`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use gristmill_model::{CommitId, GitRef, ObjectFormat, ObjectId};

use crate::error::GitError;
use crate::program::{Call, Git};
use crate::url::Remote;

/// Bounds for asking a remote.
#[derive(Clone, Copy, Debug)]
pub struct ListLimits {
    /// How long it may take.
    pub time_max: Duration,
    /// How many branches and tags are taken.
    pub refs_max: usize,
    /// How many bytes of names and ids are taken.
    pub bytes_max: usize,
}

impl Default for ListLimits {
    /// A minute, 200 000 refs, 64 MiB: several times what the largest public repositories have.
    fn default() -> ListLimits {
        ListLimits { time_max: Duration::from_secs(60), refs_max: 200_000, bytes_max: 64 << 20 }
    }
}

/// Where a remote's ref points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RemoteRef {
    /// The object that the ref names: for an annotated tag, the tag object.
    pub id: ObjectId,
    /// The commit behind it. For a tag of a tree or a blob it is no commit at all; fetching it says so.
    pub commit: CommitId,
}

/// A remote's branches and tags.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RemoteRefs {
    /// By full name.
    pub refs: BTreeMap<GitRef, RemoteRef>,
    /// How many names were left out because [`GitRef`] does not take them (not UTF-8, or too long).
    pub refs_skipped: usize,
}

impl Git {
    /// Asks for all branches and tags.
    ///
    /// # Errors
    ///
    /// [`GitError::TooLarge`] beyond the limits, and whatever keeps the remote from answering.
    pub async fn ls_remote(&self, remote: &Remote, limits: ListLimits) -> Result<RemoteRefs, GitError> {
        // The flags are the prefixes that the remote is asked for, so pull requests' refs are not even sent.
        let output = self.ls_remote_call(remote, &["--heads", "--tags"], &[], limits).await?;
        parse_refs(&output, &remote.url.to_string(), limits.refs_max)
    }

    /// Asks where one branch or tag points; `None` where the remote does not have it.
    ///
    /// # Errors
    ///
    /// As [`Git::ls_remote`].
    pub async fn remote_ref(
        &self,
        remote: &Remote,
        git_ref: &GitRef,
        limits: ListLimits,
    ) -> Result<Option<RemoteRef>, GitError> {
        let prefix: &[&str] = match (git_ref.branch(), git_ref.tag()) {
            (Some(_), _) => &["--heads"],
            (_, Some(_)) => &["--tags"],
            // Another namespace: the whole list comes, of which git prints what matches.
            _ => &[],
        };
        let patterns = [git_ref.to_string(), format!("{git_ref}^{{}}")];
        let output = self.ls_remote_call(remote, prefix, &patterns, limits).await?;
        let refs = parse_refs(&output, &remote.url.to_string(), limits.refs_max)?;
        // A pattern matches the end of a name too: `refs/heads/refs/heads/main`.
        Ok(refs.refs.get(git_ref).copied())
    }

    /// Asks which branch is the default one; `None` for a detached or missing `HEAD`, or an empty repository.
    ///
    /// # Errors
    ///
    /// As [`Git::ls_remote`].
    pub async fn remote_head(&self, remote: &Remote, limits: ListLimits) -> Result<Option<GitRef>, GitError> {
        let output = self.ls_remote_call(remote, &["--symref"], &["HEAD".to_owned()], limits).await?;
        let text = String::from_utf8_lossy(&output);
        Ok(text
            .lines()
            .filter_map(|line| line.strip_prefix("ref: ")?.strip_suffix("\tHEAD"))
            .find_map(|name| name.parse().ok()))
    }

    async fn ls_remote_call(
        &self,
        remote: &Remote,
        flags: &[&str],
        patterns: &[String],
        limits: ListLimits,
    ) -> Result<Vec<u8>, GitError> {
        let mut args: Vec<OsString> = vec!["ls-remote".into(), "--quiet".into()];
        args.extend(flags.iter().map(OsString::from));
        args.extend(["--".into(), remote.url.argument()]);
        args.extend(patterns.iter().map(OsString::from));
        let call = Call {
            args,
            mirror: None,
            remote: Some(remote),
            lock: None,
            time_max: limits.time_max,
            stdout_bytes_max: limits.bytes_max,
            commit: None,
        };
        Ok(self.run("ls-remote", call).await?.stdout)
    }
}

/// Lines of `<hex id> TAB <name>`; `<name>^{}` is what the annotated tag `<name>` leads to in the end.
fn parse_refs(output: &[u8], remote: &str, refs_max: usize) -> Result<RemoteRefs, GitError> {
    let odd = |why: &str| GitError::Protocol { remote: remote.to_owned(), detail: why.to_owned() };
    let mut found = RemoteRefs::default();
    for line in output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let tab = line.iter().position(|byte| *byte == b'\t').ok_or_else(|| odd("a ref without a name"))?;
        let (id, name) = (&line[..tab], &line[tab + 1..]);
        let id: ObjectId = std::str::from_utf8(id)
            .ok()
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| odd("a ref without an object id"))?;
        if id.format() == ObjectFormat::Sha256 {
            return Err(GitError::ObjectFormat { remote: remote.to_owned() });
        }
        let (name, peeled) = match name.strip_suffix(b"^{}") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let Some(git_ref) = std::str::from_utf8(name).ok().and_then(|name| name.parse::<GitRef>().ok())
        else {
            found.refs_skipped += usize::from(!peeled);
            continue;
        };
        if peeled {
            let tag = found.refs.get_mut(&git_ref).ok_or_else(|| odd("a peeled tag before the tag"))?;
            tag.commit = CommitId(id);
        } else {
            found.refs.insert(git_ref, RemoteRef { id, commit: CommitId(id) });
        }
        if found.refs.len() + found.refs_skipped > refs_max {
            let max = u64::try_from(refs_max).unwrap_or(u64::MAX);
            return Err(GitError::TooLarge { what: "the number of branches and tags", max });
        }
    }
    Ok(found)
}
