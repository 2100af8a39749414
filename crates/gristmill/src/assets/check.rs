//! `asset check`: are the assets of this commit there, or those of the same code?

use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, stream};
use gristmill_git::{Checkout, CheckoutError};
use gristmill_model::asset::ASSET_SET_FORMAT;
use gristmill_model::{AssetFile, AssetOrigin, AssetSet, AssetState, Clock as _, CommitId, hex};
use gristmill_storage::{Listed, StorageError};

use super::code_hash::{Algorithm, Code, CodeHash};
use super::sets::{AT_ONCE, PACKAGE_HASH, Seen, Sets, Target, Verdict, digest_of};
use super::write::{Begun, Source, WriteError, Writer};
use super::{Tell, Tone, failure, media};
use crate::clock::{SystemClock, system_random};

/// No repository's path, or nothing there.
pub const EXIT_NO_PATH: u8 = 101;
/// No package folder.
pub const EXIT_NO_FOLDER: u8 = 102;
/// What is there is no usable repository.
pub const EXIT_NO_REPOSITORY: u8 = 103;

/// The files by which commands tell one another.
pub const FOUND: &str = ".found";
/// The commit.
pub const COMMIT_FILE: &str = ".commit-hash";
/// The code hash, where there is a cache.
pub const CODE_FILE: &str = ".code-hash";

/// How many changed files are named.
const CHANGED_MAX: usize = 10;

/// What to check.
#[derive(Clone, Debug)]
pub struct Check {
    /// The repository.
    pub repository: PathBuf,
    /// Where the flag files go.
    pub packages: PathBuf,
    /// Which files the code is; without it there is no cache.
    pub filter: Option<String>,
    /// How it is hashed.
    pub algorithm: Algorithm,
    /// Files that differ from the commit are an error.
    pub strict: bool,
}

/// Where assets were found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FoundIn {
    /// Under the commit.
    Commit,
    /// In the cache, from where they were copied.
    Cache,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checked {
    /// The commit.
    pub commit: CommitId,
    /// Where its assets are.
    pub found: Option<FoundIn>,
    /// What the code is, where that was asked.
    pub code_hash: Option<String>,
    /// How many files there are.
    pub files: usize,
}

/// Opens the repository, with the exit codes of `check`.
///
/// # Errors
///
/// 101 where there is nothing, 103 where it is no usable repository.
pub fn open(folder: &Path) -> anyhow::Result<(Checkout, CommitId)> {
    let failed = |error: CheckoutError| {
        let code = if matches!(error, CheckoutError::Missing(_)) { EXIT_NO_PATH } else { EXIT_NO_REPOSITORY };
        failure(code, format!("Unable to load git repo: {error}"))
    };
    let checkout = Checkout::open(folder).map_err(failed)?;
    let commit = checkout.head().map_err(failed)?;
    Ok((checkout, commit))
}

/// Clears what a check before has left.
///
/// # Errors
///
/// Where that cannot be removed.
pub fn clear(packages: &Path) -> anyhow::Result<()> {
    for name in [FOUND, COMMIT_FILE, CODE_FILE] {
        match std::fs::remove_file(packages.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                anyhow::bail!("removing {}: {error}", packages.join(name).display())
            }
            _ => {}
        }
    }
    Ok(())
}

fn flag(packages: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = packages.join(name);
    std::fs::write(&path, text).map_err(|error| anyhow::anyhow!("writing {}: {error}", path.display()))
}

impl Check {
    /// Checks.
    ///
    /// # Errors
    ///
    /// With the exit codes of `check`, or 1.
    pub async fn run(&self, place: &super::place::Place, tell: Tell<'_>) -> anyhow::Result<Checked> {
        clear(&self.packages)?;
        let (checkout, commit) = open(&self.repository)?;
        tell(Tone::Step, &format!("Commit hash: {commit}"));
        flag(&self.packages, COMMIT_FILE, &commit.to_string())?;
        let code =
            self.filter.clone().map(|filter| Code { checkout, commit, filter, algorithm: self.algorithm });
        // Reckoned while the bucket is asked, and thrown away where the commit is found. Reading all files is not.
        let early = code.clone().filter(|code| code.algorithm == Algorithm::Sha256);
        let early = early.map(|code| std::thread::spawn(move || code.hash()));
        if place.is_bucket() {
            tell(Tone::Step, &place.by);
        }
        let sets = place.open().await;
        let target = Target::Commit(commit.to_string());
        let shown = sets.shown(sets.prefix(&target).trim_end_matches('/'));
        tell(Tone::Step, &format!("Checking for artifacts at {shown}"));
        let seen = sets.look(&target).await?;
        let mut checked = Checked { commit, found: None, code_hash: None, files: 0 };
        if let Some(files) = found(&sets.judge(&target, &seen).await?, tell) {
            (checked.found, checked.files) = (Some(FoundIn::Commit), files);
            flag(&self.packages, FOUND, "")?;
            tell(Tone::Good, &format!("{files} artifact(s) found; no build necessary"));
            return Ok(checked);
        }
        let Some(code) = code else {
            let text = "No packages found and no cache find filter set; new packages will need to be built";
            tell(Tone::Warning, text);
            return Ok(checked);
        };
        tell(Tone::Step, "Artifact prefix not found; checking the cache");
        let hashed = match early {
            Some(early) => early.join().map_err(|_| anyhow::anyhow!("the code could not be hashed"))?,
            None => code.hash(),
        }?;
        self.tell_changed(&hashed, tell)?;
        let Some(hash) = hashed.hash else {
            let text =
                format!("`{}` takes in no file of the commit; there is no cache without one", code.filter);
            anyhow::ensure!(!self.strict, text);
            tell(Tone::Warning, &format!("{text}. New packages will need to be built"));
            return Ok(checked);
        };
        tell(Tone::Step, &format!("Code hash: {hash}"));
        flag(&self.packages, CODE_FILE, &hash)?;
        checked.code_hash = Some(hash.clone());
        if let Some(files) = from_cache(&sets, &commit, &hash, &target, seen, tell).await? {
            (checked.found, checked.files) = (Some(FoundIn::Cache), files);
            flag(&self.packages, FOUND, "")?;
            tell(Tone::Good, "Artifact(s) copied from the cache; no build necessary");
        } else {
            tell(Tone::Warning, "No package found; a new one will need to be built");
        }
        Ok(checked)
    }

    fn tell_changed(&self, hashed: &CodeHash, tell: Tell<'_>) -> anyhow::Result<()> {
        let paths = &hashed.changed.paths;
        let text = match hashed.changed.unknown {
            None if paths.is_empty() => return Ok(()),
            Some(why) => format!("whether files differ from the commit is not known: {why}"),
            None => {
                let named = paths
                    .iter()
                    .take(CHANGED_MAX)
                    .map(|path| path.escape_debug().to_string())
                    .collect::<Vec<_>>()
                    .join(", ");
                let more = paths.len().saturating_sub(CHANGED_MAX);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("these files differ from the commit, whose code is what is hashed: {named}{more}")
            }
        };
        anyhow::ensure!(!self.strict, text);
        tell(Tone::Warning, &text);
        Ok(())
    }
}

/// How many files were found; says why none, where something is there.
fn found(verdict: &Verdict, tell: Tell<'_>) -> Option<usize> {
    match verdict {
        Verdict::Whole(set) => return Some(set.files.len()),
        Verdict::Counted(count) => {
            tell(
                Tone::Step,
                "They have no manifest, as s3-asset-manager leaves none: they are counted, not verified",
            );
            return Some(*count);
        }
        Verdict::Unfinished => {
            tell(Tone::Warning, "An upload was begun there and is not complete; it does not count");
        }
        Verdict::Damaged(paths) => {
            let named = paths.iter().take(CHANGED_MAX).cloned().collect::<Vec<_>>().join(", ");
            tell(Tone::Warning, &format!("Missing or replaced there, so that it does not count: {named}"));
        }
        Verdict::Nothing => {}
    }
    None
}

/// A name for one writing of a set.
pub fn writer_name() -> String {
    hex::encode(&system_random()().to_be_bytes())
}

/// Copies the cache's set to the commit; `None` where there is none. How many files.
async fn from_cache(
    sets: &Sets,
    commit: &CommitId,
    hash: &str,
    target: &Target,
    seen: Seen,
    tell: Tell<'_>,
) -> anyhow::Result<Option<usize>> {
    let cache = Target::Code(hash.to_owned());
    tell(Tone::Step, &format!("Checking for cached packages at {}", sets.shown(&sets.prefix(&cache))));
    let cached = sets.look(&cache).await?;
    let verdict = sets.judge(&cache, &cached).await?;
    let Some(count) = found(&verdict, tell) else { return Ok(None) };
    tell(Tone::Good, &format!("{count} cached artifact(s) found"));
    let files = match verdict {
        Verdict::Whole(set) => set.files,
        _ => foreign_files(sets, &sets.prefix(&cache), &cached.objects).await?,
    };
    let set = AssetSet {
        format: ASSET_SET_FORMAT.to_owned(),
        state: AssetState::Uploading,
        commit: *commit,
        code_hash: Some(hash.to_owned()),
        origin: AssetOrigin::Cache,
        writer: writer_name(),
        begun_ms: SystemClock.now(),
        completed_ms: None,
        files: files.into_iter().map(|file| AssetFile { etag: None, ..file }).collect(),
    };
    let files = set.files.len();
    match copy(sets, target, set, seen, (&sets.prefix(&cache), &cached.objects), tell).await {
        Ok(()) => Ok(Some(files)),
        Err(WriteError::SourceGone(what)) => {
            tell(Tone::Warning, &format!("{what} was removed just now"));
            Ok(None)
        }
        Err(WriteError::Overtaken(_) | WriteError::Other { .. }) => {
            // A build's upload was faster; then its set is there, or will be.
            let verdict = sets.judge(target, &sets.look(target).await?).await?;
            Ok(found(&verdict, tell))
        }
        Err(error) => Err(error.into()),
    }
}

async fn copy(
    sets: &Sets,
    target: &Target,
    set: AssetSet,
    seen: Seen,
    (prefix, objects): (&str, &[Listed]),
    tell: Tell<'_>,
) -> Result<(), WriteError> {
    let writer = match Writer::begin(sets, target, set, Some(seen), false).await? {
        Begun::There => return Ok(()),
        Begun::Write(writer) => writer,
    };
    let to = sets.prefix(target);
    let jobs = writer.set().files.iter().enumerate().map(|(number, file)| {
        let key = format!("{prefix}{}", file.path);
        let writer = &writer;
        let to = &to;
        async move {
            let object = objects.iter().find(|object| object.key == key);
            let object = object.ok_or_else(|| WriteError::SourceGone(sets.shown(&key)))?;
            writer.place(file, &Source::Object(object.clone())).await?;
            Ok::<_, WriteError>((number, format!("Copying {key} to {to}{}", file.path)))
        }
    });
    let mut jobs = stream::iter(jobs).buffered(AT_ONCE);
    while let Some(done) = jobs.next().await {
        let (number, text) = done?;
        tell(Tone::File(number), &text);
    }
    drop(jobs);
    writer.finish().await.map(drop)
}

/// What is told of objects without a manifest.
async fn foreign_files(
    sets: &Sets,
    prefix: &str,
    objects: &[Listed],
) -> Result<Vec<AssetFile>, StorageError> {
    let heads = stream::iter(objects).map(|object| async move {
        let head = sets.bucket.head(&object.key).await?;
        let told = head.as_ref().and_then(|head| head.metadata.get(PACKAGE_HASH));
        let path = object.key.strip_prefix(prefix).unwrap_or(&object.key).to_owned();
        // The original's own type for everything says nothing.
        let media_type = media::of(&path).to_owned();
        let digest = told.and_then(|told| digest_of(told));
        Ok::<_, StorageError>(AssetFile { path, size: object.size, digest, media_type, etag: None })
    });
    let mut heads = heads.buffered(AT_ONCE);
    let mut files = Vec::new();
    while let Some(file) = heads.next().await {
        files.push(file?);
    }
    Ok(files)
}
