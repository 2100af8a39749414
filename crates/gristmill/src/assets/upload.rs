//! `asset upload`: keeps what a build has left, under its commit and, where there is a cache, under its code.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt as _, stream};
use gristmill_model::asset::{ASSET_SET_FORMAT, is_code_hash};
use gristmill_model::{AssetOrigin, AssetSet, AssetState, Clock as _, CommitId, Timestamp};
use gristmill_storage::Listed;

use super::check::{CODE_FILE, COMMIT_FILE, FOUND, writer_name};
use super::files::{self, Local};
use super::place::Place;
use super::sets::{AT_ONCE, Sets, Target, package_hash};
use super::write::{Begun, Source, WriteError, Writer};
use super::{Tell, Tone, failure};
use crate::clock::SystemClock;

/// No files.
pub const EXIT_NO_FILES: u8 = 102;
/// No commit was checked.
pub const EXIT_NO_COMMIT: u8 = 103;

/// What to upload.
#[derive(Clone, Debug)]
pub struct Upload {
    /// The folder with the files and the flag files.
    pub packages: PathBuf,
    /// Files in folders too.
    pub recursive: bool,
    /// Other content is replaced.
    pub force: bool,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uploaded {
    /// The commit.
    pub commit: CommitId,
    /// What the code is, where there is a cache.
    pub code_hash: Option<String>,
    /// How many files are there now.
    pub files: usize,
    /// Their bytes together.
    pub bytes: u64,
    /// Nothing had to be written.
    pub was_there: bool,
}

/// How far an upload is, for a bar.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes that are there.
    pub bytes: AtomicU64,
    /// All bytes.
    pub bytes_all: AtomicU64,
}

/// A flag file's text; `None` where there is none.
fn read_flag(packages: &Path, name: &str) -> anyhow::Result<Option<String>> {
    let path = packages.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => anyhow::bail!("reading {}: {error}", path.display()),
    }
}

/// Whether a check before has found the assets.
pub fn is_found(packages: &Path) -> bool {
    packages.join(FOUND).is_file()
}

impl Upload {
    /// Uploads.
    ///
    /// # Errors
    ///
    /// With the exit codes of `upload`, or 1.
    pub async fn run(&self, place: &Place, progress: &Progress, tell: Tell<'_>) -> anyhow::Result<Uploaded> {
        let listed = files::list(&self.packages, self.recursive)?;
        if listed.is_empty() {
            let text = format!("No non-hidden files found in {}", self.packages.display());
            return Err(failure(EXIT_NO_FILES, text));
        }
        let Some(commit) = read_flag(&self.packages, COMMIT_FILE)? else {
            let path = self.packages.join(COMMIT_FILE);
            let text = format!("Commit Hash not found at {}; run `check` before the build", path.display());
            return Err(failure(EXIT_NO_COMMIT, text));
        };
        let commit: CommitId = commit.parse().map_err(|error| {
            failure(EXIT_NO_COMMIT, format!("{}: {error}", self.packages.join(COMMIT_FILE).display()))
        })?;
        tell(Tone::Step, &format!("Commit hash: {commit}"));
        let code_hash = read_flag(&self.packages, CODE_FILE)?;
        if let Some(hash) = &code_hash {
            let path = self.packages.join(CODE_FILE);
            anyhow::ensure!(is_code_hash(hash), "{} has no code hash; run `check` again", path.display());
            tell(Tone::Step, &format!("Code hash: {hash}"));
        }
        let locals = files::hash(listed)?;
        progress.bytes_all.store(locals.iter().map(|local| local.about.size).sum(), Ordering::Relaxed);
        if place.is_bucket() {
            tell(Tone::Step, &place.by);
        }
        let sets = place.open().await;
        self.keep(&sets, commit, code_hash, &locals, progress, tell).await
    }

    /// Keeps these files.
    ///
    /// # Errors
    ///
    /// Where they cannot be written, or others are there.
    pub async fn keep(
        &self,
        sets: &Sets,
        commit: CommitId,
        code_hash: Option<String>,
        locals: &[Local],
        progress: &Progress,
        tell: Tell<'_>,
    ) -> anyhow::Result<Uploaded> {
        let set = AssetSet {
            format: ASSET_SET_FORMAT.to_owned(),
            state: AssetState::Uploading,
            commit,
            code_hash: code_hash.clone(),
            origin: AssetOrigin::Build,
            writer: writer_name(),
            begun_ms: SystemClock.now(),
            completed_ms: None,
            files: locals.iter().map(|local| local.about.clone()).collect(),
        };
        let bytes = locals.iter().map(|local| local.about.size).sum();
        let mut uploaded = Uploaded { commit, code_hash, files: locals.len(), bytes, was_there: false };
        let target = Target::Commit(commit.to_string());
        let code = uploaded.code_hash.clone().map(Target::Code);
        let begun = Writer::begin(sets, &target, set.clone(), None, self.force).await?;
        let cache = begin_cache(sets, code, set, self.force, tell).await?;
        let writer = match begun {
            Begun::Write(writer) => Some(writer),
            Begun::There => None,
        };
        if writer.is_none() && cache.is_none() {
            uploaded.was_there = true;
            let text = format!("{} package(s) are there already, with the same content", uploaded.files);
            tell(Tone::Good, &text);
            return Ok(uploaded);
        }
        let both = Both { sets: sets.clone(), target, writer, cache };
        both.run(locals, progress, tell).await?;
        tell(Tone::Good, &format!("{} package(s) uploaded", uploaded.files));
        Ok(uploaded)
    }
}

/// Begins the cache's set; `None` where there is none to write. One of another build of the same code is as good.
async fn begin_cache(
    sets: &Sets,
    code: Option<Target>,
    set: AssetSet,
    force: bool,
    tell: Tell<'_>,
) -> Result<Option<Arc<Writer>>, WriteError> {
    let Some(code) = code else { return Ok(None) };
    match Writer::begin(sets, &code, set, None, force).await {
        Ok(Begun::Write(writer)) => Ok(Some(writer)),
        Ok(Begun::There) => Ok(None),
        Err(WriteError::Other { place, .. }) => {
            tell(Tone::Step, &format!("{place} keeps what another build of the same code has left there"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The set of the commit and that of the cache, as far as they are to be written.
#[derive(Clone)]
struct Both {
    sets: Sets,
    target: Target,
    writer: Option<Arc<Writer>>,
    cache: Option<Arc<Writer>>,
}

impl Both {
    async fn run(&self, locals: &[Local], progress: &Progress, tell: Tell<'_>) -> Result<(), WriteError> {
        let mut cache_lost = None;
        let jobs = locals.iter().cloned().map(|local| {
            let (this, size) = (self.clone(), local.about.size);
            // Tasks, so that bodies are hashed on all processors.
            let task = tokio::spawn(async move { this.file(&local).await });
            async move {
                let done = task.await.expect("no task is cancelled or panics");
                progress.bytes.fetch_add(size, Ordering::Relaxed);
                done
            }
        });
        let mut jobs = stream::iter(jobs).buffered(AT_ONCE).enumerate();
        while let Some((number, done)) = jobs.next().await {
            let (lines, lost) = done?;
            lines.iter().for_each(|line| tell(Tone::File(number), line));
            cache_lost = cache_lost.or(lost);
        }
        if let Some(writer) = &self.writer {
            writer.finish().await?;
        }
        let finished = match (&self.cache, cache_lost) {
            (Some(cache), None) => cache.finish().await.map(drop),
            (_, Some(lost)) => Err(lost),
            (None, None) => Ok(()),
        };
        match finished {
            // Another job fills the cache with its own build of the same code.
            Err(error @ (WriteError::Overtaken(_) | WriteError::Other { .. })) => {
                tell(Tone::Warning, &format!("the cache is left to another job: {error}"));
                Ok(())
            }
            finished => finished,
        }
    }

    /// Writes one file to both; what is told of it, and why the cache lacks it.
    async fn file(&self, local: &Local) -> Result<(Vec<String>, Option<WriteError>), WriteError> {
        let file = &local.about;
        let mut lines = Vec::new();
        let key = format!("{}{}", self.sets.prefix(&self.target), file.path);
        let object = match &self.writer {
            Some(writer) => {
                if let Some(digest) = &file.digest {
                    lines.push(format!("Package hash for {}: {}", file.path, package_hash(digest)));
                }
                lines.push(format!("Uploading to {}", self.sets.shown(&key)));
                writer.place(file, &Source::Local(local.path.clone(), local.stamp)).await?
            }
            None => Listed { key, size: file.size, etag: None, modified: Timestamp::default() },
        };
        let Some(cache) = &self.cache else { return Ok((lines, None)) };
        match cache.place(file, &Source::Object(object)).await {
            Ok(copy) => {
                lines.push(format!("Copying to {}", self.sets.shown(&copy.key)));
                Ok((lines, None))
            }
            Err(error @ (WriteError::Overtaken(_) | WriteError::Other { .. })) => Ok((lines, Some(error))),
            Err(error) => Err(error),
        }
    }
}
