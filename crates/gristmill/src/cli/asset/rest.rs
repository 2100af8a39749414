//! `get`, `list`, `gc` and `resource`.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use gristmill_git::{Checkout, ObjectError};
use gristmill_model::{AssetFile, AssetOrigin, AssetState, Clock as _, Digest, PathFilter};
use serde_json::json;

use super::super::age;
use super::super::output::list;
use super::tell::{say, tell};
use super::{Format, GcArgs, GetArgs, ListArgs, ResourceArgs, Role, block_on, env};
use crate::assets::entries::{self, Entry};
use crate::assets::gc::{Gc, Report, Sum};
use crate::assets::get::Get;
use crate::assets::resource::Request;
use crate::assets::sets::Target;
use crate::assets::{Tone, check};
use crate::clock::SystemClock;

/// No bucket is named.
const EXIT_NO_BUCKET: u8 = 100;

pub(super) fn run_get(args: &GetArgs, format: Format) -> anyhow::Result<ExitCode> {
    let place = args.place.place(EXIT_NO_BUCKET)?;
    let packages = PathBuf::from(args.folder.packages.as_deref().unwrap_or("./packages"));
    let checked = std::fs::read_to_string(packages.join(check::COMMIT_FILE)).ok();
    let commit = match (args.commit.clone(), checked) {
        (Some(commit), _) => commit,
        (None, Some(checked)) => checked.trim().to_owned(),
        (None, None) => check::open(&args.repository.folder()?)?.1.to_string(),
    };
    let get = Get { commit, file: args.file.clone(), into: args.into.clone().unwrap_or(packages) };
    let got = block_on(async { get.run(&place.open().await, &tell).await })?;
    if format == Format::Json {
        let file = |(path, size, digest): &(String, u64, Digest)| json!({ "path": path, "size": size, "digest": digest });
        let files: Vec<_> = got.files.iter().map(file).collect();
        say(&format!("{:#}", json!({ "commit": got.commit, "files": files })))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn run_list(args: &ListArgs, format: Format) -> anyhow::Result<ExitCode> {
    let place = args.place.place(EXIT_NO_BUCKET)?;
    let (all, more) = block_on(async {
        let sets = place.open().await;
        let mut all = entries::list(&sets).await?;
        all.retain(|entry| matches!(entry.target, Target::Code(_)) == args.cache);
        all.sort_by_key(|entry| std::cmp::Reverse(entry.newest));
        let more = all.len().saturating_sub(args.limit);
        all.truncate(args.limit);
        entries::read_manifests(&sets, &mut all).await?;
        Ok((all, more))
    })?;
    let rows: Vec<_> = all.iter().map(row).collect();
    let column = if args.cache { "code" } else { "commit" };
    list(format, &[column, "state", "from", "files", "bytes", "age"], &rows, all.iter().map(json).collect());
    if more > 0 && format == Format::Text {
        tell(Tone::Step, &format!("{more} older; --limit shows more"));
    }
    Ok(ExitCode::SUCCESS)
}

/// How far a set has come. Those of s3-asset-manager have no manifest, and count with any object.
fn state(entry: &Entry) -> &'static str {
    match entry.manifest.as_ref().map(|set| set.state) {
        Some(AssetState::Complete) => "complete",
        Some(AssetState::Uploading) => "uploading",
        Some(AssetState::Removing) => "removing",
        None if entry.has_manifest => "unreadable",
        None => "without manifest",
    }
}

fn from(entry: &Entry) -> Option<&'static str> {
    entry.manifest.as_ref().map(|set| match set.origin {
        AssetOrigin::Build => "build",
        AssetOrigin::Cache => "cache",
    })
}

fn name(entry: &Entry) -> &str {
    match &entry.target {
        Target::Commit(name) | Target::Code(name) => name,
    }
}

fn row(entry: &Entry) -> Vec<String> {
    let (files, bytes) = (entry.objects.len().to_string(), entry.bytes().to_string());
    let words = [name(entry), state(entry), from(entry).unwrap_or("-")].map(str::to_owned);
    words.into_iter().chain([files, bytes, age(SystemClock.now(), entry.newest)]).collect()
}

fn json(entry: &Entry) -> serde_json::Value {
    let manifest = entry.manifest.as_ref();
    let files = manifest.map(|set| {
        let file = |file: &AssetFile| json!({ "path": file.path, "size": file.size, "digest": file.digest });
        set.files.iter().map(file).collect::<Vec<_>>()
    });
    json!({
        "commit": manifest.map(|set| set.commit.to_string()).or_else(|| match &entry.target {
            Target::Commit(commit) => Some(commit.clone()),
            Target::Code(_) => None,
        }),
        "code_hash": match &entry.target {
            Target::Code(hash) => Some(hash),
            Target::Commit(_) => manifest.and_then(|set| set.code_hash.as_ref()),
        },
        "state": state(entry),
        "from": from(entry),
        "objects": entry.objects.len(),
        "bytes": entry.bytes(),
        "written_ms": entry.newest,
        "files": files,
    })
}

pub(super) fn run_gc(args: &GcArgs, format: Format) -> anyhow::Result<ExitCode> {
    let place = args.place.place(EXIT_NO_BUCKET)?;
    let keep_commits = match args.keep_refs.as_slice() {
        [] => BTreeSet::new(),
        patterns => named(&args.repository.folder()?, patterns)?,
    };
    let gc = Gc { keep_days: args.keep_days, keep_commits, apply: args.apply };
    let report = block_on(async { gc.run(&place.open().await, &tell).await })?;
    print_report(&report, args.apply, format)?;
    Ok(ExitCode::SUCCESS)
}

/// The commits at which refs of these names are.
fn named(repository: &Path, patterns: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let patterns = patterns.iter().map(|text| text.parse()).collect::<Result<Vec<PathFilter>, _>>()?;
    let checkout = Checkout::open(repository)?;
    let objects = checkout.objects()?;
    let (mut commits, refs) = (BTreeSet::new(), checkout.refs()?);
    for pattern in &patterns {
        let mut named = refs.iter().filter(|(name, _)| pattern.contains(name)).peekable();
        anyhow::ensure!(
            named.peek().is_some(),
            "no ref of {} has a name like {pattern}, so that nothing would be kept for it; fetch it first (`git fetch --tags`), or leave it out",
            repository.display()
        );
        for (name, id) in named {
            match objects.peel(*id) {
                Ok(commit) => drop(commits.insert(commit.to_string())),
                // A tag of something else than a commit has no assets.
                Err(ObjectError::Kind { .. }) => {}
                Err(error) => return Err(anyhow::Error::from(error).context(format!("reading {name}"))),
            }
        }
    }
    Ok(commits)
}

fn print_report(report: &Report, applied: bool, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        let sum = |sum: &Sum| json!({ "sets": sum.sets, "files": sum.files, "bytes": sum.bytes });
        let json = json!({
            "applied": applied,
            "commits": sum(&report.commits),
            "cache": sum(&report.cache),
            "from_cache": report.from_cache,
            "removed": report.removed,
            "gone": sum(&report.gone),
            "unfinished": report.unfinished,
        });
        return say(&format!("{json:#}"));
    }
    let (commits, cache, gone) = (report.commits, report.cache, report.gone);
    let verb = if applied { "removed" } else { "would be removed" };
    let line =
        |what: &str, sum: Sum| format!("{what}: {} sets, {} files, {} bytes", sum.sets, sum.files, sum.bytes);
    let saved = format!("{} of {} commits were served from the cache", report.from_cache, commits.sets);
    say(&[line("commits", commits), line("cache", cache), saved, line(verb, gone)].join("\n"))?;
    if !applied && gone.sets > 0 {
        tell(Tone::Step, "nothing was removed; --apply does it");
    }
    Ok(())
}

pub(super) fn resource(args: &ResourceArgs) -> anyhow::Result<ExitCode> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("reading standard input")?;
    let request = Request::parse(&text)?;
    let folder = || args.folder.clone().context("a folder is needed, as Concourse gives it");
    let answer = match args.role {
        Role::Check => serde_json::to_value(block_on(request.check(&env))?)?,
        Role::In => serde_json::to_value(block_on(request.bring(&folder()?, &env, &tell))?)?,
        Role::Out => {
            let (folder, runtime) = (folder()?, super::super::runtime()?);
            serde_json::to_value(runtime.block_on(request.keep(&folder, &env, &tell))?)?
        }
    };
    say(&answer.to_string())?;
    Ok(ExitCode::SUCCESS)
}
