//! What refs a remote has, by `git ls-remote`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use gristmill_model::{CommitId, GitRef, ObjectFormat, ObjectId};

use crate::error::GitError;
use crate::limit::Limit;
use crate::program::{Call, Git};
use crate::remote::Remote;

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
        let call = Call { remote: Some(remote), ..Call::new(args, limits.time_max, limits.bytes_max) };
        Ok(self.run("ls-remote", call).await?.stdout)
    }
}

/// Lines of `<hex id> TAB <name>`; `<name>^{}` is what the annotated tag `<name>` leads to in the end.
fn parse_refs(output: &[u8], remote: &str, refs_max: usize) -> Result<RemoteRefs, GitError> {
    let odd = |why: &str| GitError::Protocol { remote: remote.to_owned(), detail: why.to_owned() };
    let mut found = RemoteRefs::default();
    let mut format: Option<ObjectFormat> = None;
    for line in output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let tab = line.iter().position(|byte| *byte == b'\t').ok_or_else(|| odd("a ref without a name"))?;
        let (id, name) = (&line[..tab], &line[tab + 1..]);
        let id: ObjectId = std::str::from_utf8(id)
            .ok()
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| odd("a ref without an object id"))?;
        if *format.get_or_insert(id.format()) != id.format() {
            return Err(odd("names of both SHA-1 and SHA-256"));
        }
        let (name, peeled) = match name.strip_suffix(b"^{}") {
            Some(name) => (name, true),
            None => (name, false),
        };
        match std::str::from_utf8(name).ok().and_then(|name| name.parse::<GitRef>().ok()) {
            Some(git_ref) if peeled => {
                let tag = found.refs.get_mut(&git_ref).ok_or_else(|| odd("a peeled tag before the tag"))?;
                tag.commit = CommitId(id);
            }
            Some(git_ref) => {
                found.refs.insert(git_ref, RemoteRef { id, commit: CommitId(id) });
            }
            None => found.refs_skipped += usize::from(!peeled),
        }
        if found.refs.len() + found.refs_skipped > refs_max {
            let max = u64::try_from(refs_max).unwrap_or(u64::MAX);
            return Err(GitError::TooLarge { what: Limit::Refs, max });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn parse(output: &str) -> Result<Vec<(String, String, String)>, GitError> {
        let found = parse_refs(output.as_bytes(), "x", 10)?;
        let line =
            |(name, at): (&GitRef, &RemoteRef)| (name.to_string(), at.id.to_string(), at.commit.to_string());
        Ok(found.refs.iter().map(line).collect())
    }

    #[test]
    fn a_list_is_read_line_by_line() {
        let refs = parse(&format!("{A}\trefs/heads/main\n{A}\trefs/tags/v1\n{B}\trefs/tags/v1^{{}}\n"))
            .expect("good");
        let expected = [("refs/heads/main", A, A), ("refs/tags/v1", A, B)];
        assert_eq!(refs, expected.map(|(name, id, at)| (name.to_owned(), id.to_owned(), at.to_owned())));
        assert_eq!(parse("").expect("good"), []);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let sha256 = "a".repeat(64);
        for output in [
            "x\n".to_owned(),
            format!("{A}\n"),
            format!("{A} refs/heads/main\n"),
            "\trefs/heads/main\n".to_owned(),
            format!("{}\trefs/heads/main\n", &A[1..]),
            format!("{}\trefs/heads/main\n", A.to_uppercase()),
            format!("{}\trefs/heads/main\n", "0".repeat(40)),
            format!("{B}\trefs/tags/v1^{{}}\n"),
            "<html>\t</html>\n".to_owned(),
            format!("{A}\trefs/heads/main\n{sha256}\trefs/heads/x\n"),
        ] {
            assert!(matches!(parse(&output), Err(GitError::Protocol { .. })), "{output}");
        }
        assert_eq!(parse(&format!("{sha256}\trefs/heads/main\n")).expect("SHA-256").len(), 1);
    }

    #[test]
    fn names_that_are_not_taken_are_counted() {
        let long = "n".repeat(2000);
        let mut output = format!("{A}\trefs/heads/main\n{A}\tHEAD\n{A}\trefs/heads/{long}\n").into_bytes();
        output.extend_from_slice(format!("{A}\trefs/tags/{long}\n{A}\trefs/tags/{long}^{{}}\n").as_bytes());
        output.extend_from_slice(format!("{A}\trefs/heads/").as_bytes());
        output.extend_from_slice(b"\xff\n");
        let found = parse_refs(&output, "x", 5).expect("good");
        assert_eq!((found.refs.len(), found.refs_skipped), (1, 4));
        let error = parse_refs(&[&output[..], format!("{A}\trefs/heads/x").as_bytes()].concat(), "x", 5);
        assert!(matches!(error, Err(GitError::TooLarge { max: 5, .. })));
        // Those that are not taken count as well, or they would be without a limit.
        assert!(matches!(parse_refs(&output, "x", 3), Err(GitError::TooLarge { .. })));
    }

    #[test]
    fn no_output_makes_the_parser_panic() {
        let good = format!("{A}\trefs/heads/main\n{A}\trefs/tags/v1\n{B}\trefs/tags/v1^{{}}\n").into_bytes();
        for at in 0..good.len() {
            for byte in [0, b'\n', b'\t', b'^', b'{', 0xff, b'g'] {
                let mut bytes = good.clone();
                bytes[at] = byte;
                let _ = parse_refs(&bytes, "x", 10);
                let _ = parse_refs(&bytes[..at], "x", 10);
            }
        }
    }
}
