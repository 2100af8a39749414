//! `asset get`: brings assets back, verified.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream};
use gristmill_model::Digest;

use super::sets::{AT_ONCE, PACKAGE_HASH, Sets, Target, Verdict, digest_of};
use super::{Tell, Tone};

/// The fewest digits by which a commit may be named.
const DIGITS_MIN: usize = 4;

/// What to bring.
#[derive(Clone, Debug)]
pub struct Get {
    /// The commit, or the beginning of its name.
    pub commit: String,
    /// One file; all where none is named.
    pub file: Option<String>,
    /// Where they go.
    pub into: PathBuf,
}

/// What was brought.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Got {
    /// The whole name of the commit.
    pub commit: String,
    /// The files, with their digests.
    pub files: Vec<(String, u64, Digest)>,
}

impl Get {
    /// Brings the files.
    ///
    /// # Errors
    ///
    /// Where there are none, or one has other bytes than it should.
    pub async fn run(&self, sets: &Sets, tell: Tell<'_>) -> anyhow::Result<Got> {
        let commit = whole_name(sets, &self.commit).await?;
        let target = Target::Commit(commit.clone());
        let seen = sets.look(&target).await?;
        let prefix = sets.prefix(&target);
        let shown = sets.shown(prefix.trim_end_matches('/'));
        let wanted: Vec<(String, Option<Digest>)> = match sets.judge(&target, &seen).await? {
            Verdict::Whole(set) => set.files.into_iter().map(|file| (file.path, file.digest)).collect(),
            Verdict::Counted(_) => {
                let paths = seen.objects.iter().filter_map(|object| object.key.strip_prefix(&prefix));
                // AWS's console makes folders, which are objects without a name.
                let files = paths.filter(|path| !path.is_empty() && !path.ends_with('/'));
                files.map(|path| (path.to_owned(), None)).collect()
            }
            Verdict::Unfinished => anyhow::bail!("an upload to {shown} was begun and is not complete"),
            Verdict::Damaged(paths) => {
                anyhow::bail!("missing or replaced below {shown}: {}", paths.join(", "))
            }
            Verdict::Nothing => anyhow::bail!("there are no assets at {shown}"),
        };
        let wanted = match &self.file {
            None => wanted,
            Some(name) => {
                let names: Vec<&str> = wanted.iter().map(|(path, _)| path.as_str()).collect();
                let found = wanted.iter().find(|(path, _)| path == name);
                let text = || format!("there is no `{name}` at {shown}; there are: {}", names.join(", "));
                vec![found.cloned().with_context(text)?]
            }
        };
        let jobs = wanted.iter().map(|(path, digest)| self.one(sets, &prefix, path, *digest));
        let mut jobs = stream::iter(jobs).buffered(AT_ONCE / 4).enumerate();
        let mut files = Vec::new();
        while let Some((number, done)) = jobs.next().await {
            let (path, size, digest) = done?;
            tell(Tone::File(number), &format!("Got {path}, {size} bytes, {digest}"));
            files.push((path, size, digest));
        }
        Ok(Got { commit, files })
    }

    async fn one(
        &self,
        sets: &Sets,
        prefix: &str,
        path: &str,
        expected: Option<Digest>,
    ) -> anyhow::Result<(String, u64, Digest)> {
        let key = format!("{prefix}{path}");
        let to = destination(&self.into, path)?;
        let folder = to.parent().unwrap_or(&self.into).to_owned();
        let doing = || format!("writing {}", to.display());
        std::fs::create_dir_all(&folder).with_context(doing)?;
        let beside = tempfile::Builder::new()
            .prefix(".gristmill-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(&folder)
            .with_context(doing)?;
        let file: Arc<File> = Arc::new(beside.reopen().with_context(doing)?);
        let got = sets.bucket.download(&key, file).await?;
        let (size, digest) = got.with_context(|| format!("{} is not there any more", sets.shown(&key)))?;
        let expected = match expected {
            Some(expected) => Some(expected),
            None => {
                let head = sets.bucket.head(&key).await?;
                head.and_then(|head| digest_of(head.metadata.get(PACKAGE_HASH)?))
            }
        };
        anyhow::ensure!(
            expected.is_none_or(|expected| expected == digest),
            "{} has other bytes ({digest}) than it was stored with; it is not taken",
            sets.shown(&key)
        );
        beside.persist(&to).with_context(doing)?;
        Ok((path.to_owned(), size, digest))
    }
}

/// Where a file goes: below the folder, whatever its key says.
fn destination(into: &Path, path: &str) -> anyhow::Result<PathBuf> {
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    anyhow::ensure!(path.split('/').all(is_part), "the key `{}` leads elsewhere", path.escape_debug());
    Ok(into.join(path))
}

/// The whole name of a commit that has assets.
async fn whole_name(sets: &Sets, name: &str) -> anyhow::Result<String> {
    let is_hex = name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    anyhow::ensure!(
        is_hex && name.len() >= DIGITS_MIN,
        "`{name}` is no commit; expected its name, or at least its first {DIGITS_MIN} digits"
    );
    if matches!(name.len(), 40 | 64) {
        return Ok(name.to_owned());
    }
    let all = sets.keys.artifacts();
    let listed = sets.bucket.list(&format!("{all}{name}")).await?;
    let mut commits: Vec<&str> = listed
        .iter()
        .filter_map(|object| object.key.strip_prefix(&all)?.split_once('/').map(|(commit, _)| commit))
        .collect();
    commits.dedup();
    match commits[..] {
        [one] => Ok(one.to_owned()),
        [] => anyhow::bail!("no commit with assets begins with `{name}`"),
        _ => anyhow::bail!("several commits begin with `{name}`: {}", commits.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leads_out_of_the_folder() {
        let into = Path::new("/packages");
        assert_eq!(destination(into, "a/b.zip").unwrap(), Path::new("/packages/a/b.zip"));
        for key in ["../x", "a/../../x", "/etc/x", "a//b", "", ".", "a/."] {
            assert!(destination(into, key).is_err(), "{key}");
        }
    }
}
