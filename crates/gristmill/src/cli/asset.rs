//! `asset check`, `upload`, `get`, `list`, `gc` and `resource`; and `check` and `upload` where the program is called so.

mod build;
mod rest;
mod tell;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, FromArgMatches as _, Subcommand, ValueEnum};

use super::output::Format;
use crate::assets::code_hash::Algorithm;
use crate::assets::place::Place;
use crate::assets::{Failure, check, failure};
use build::{run_check, run_upload};
use rest::{resource, run_gc, run_get, run_list};
use tell::line;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Are the assets of this commit there, or those of the same code?
    ///
    /// Exit codes: 0 it was checked, whatever was found; 1 it could not be; 2 the command line is wrong; 100 no bucket is
    /// named, 101 there is no repository's folder, 102 no package folder, 103 no usable repository. With --exit-code, 10
    /// where the assets are there and the build can be skipped.
    Check(CheckArgs),
    /// Keep what the build has left: the files of the package folder that are not hidden
    ///
    /// Exit codes: 0 they are there; 1 they could not be kept, or others are there; 2 the command line is wrong; 100 there is
    /// no package folder, 101 no bucket is named, 102 there are no files, 103 no commit was checked.
    Upload(UploadArgs),
    /// Bring assets back, verified
    Get(GetArgs),
    /// The sets that the bucket has, newest first
    List(ListArgs),
    /// Remove assets that are old and that no ref names (says which, unless --apply)
    Gc(GcArgs),
    /// As a resource type of Concourse, which reads its request from standard input
    Resource(ResourceArgs),
}

#[derive(Args)]
struct PlaceArgs {
    /// The bucket: a name, s3://bucket/prefix, or file:folder
    #[arg(long, env = "PACKAGE_ASSETS_BUCKET", hide_env_values = true, value_name = "BUCKET")]
    bucket: Option<String>,
    /// What all keys begin with, so that several repositories can share a bucket
    #[arg(
        long,
        env = "PACKAGE_ASSETS_PREFIX",
        hide_env_values = true,
        value_name = "PREFIX",
        default_value = ""
    )]
    prefix: String,
}

#[derive(Args)]
struct FolderArgs {
    /// The folder with the build's files and the flag files [default: ./packages]
    #[arg(long, env = "PACKAGE_DIRECTORY", hide_env_values = true, value_name = "FOLDER")]
    packages: Option<String>,
}

#[derive(Args)]
struct RepositoryArgs {
    /// The root of the git repository [default: ./repo, else /repo]
    #[arg(long, env = "GIT_REPO_PATH", hide_env_values = true, value_name = "FOLDER")]
    repository: Option<String>,
}

/// How the code is hashed. An empty variable is none.
fn algorithm(text: &str) -> Result<Algorithm, String> {
    match text {
        "" | "sha256" => Ok(Algorithm::Sha256),
        "md5" => Ok(Algorithm::Md5),
        _ => Err("there are sha256 and md5".to_owned()),
    }
}

#[derive(Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    folder: FolderArgs,
    /// Which files the code is, such as 'lambdas/** lib/*.py !**/*.md'; without it there is no cache
    #[arg(long, env = "CODE_HASH_FIND_FILTER", hide_env_values = true, value_name = "PATTERNS")]
    filter: Option<String>,
    /// How the code is hashed: sha256, over the commit's trees; or md5, over the work tree as s3-asset-manager does it, so
    /// that its cache stays valid
    #[arg(long, env = "CODE_HASH_ALGORITHM", hide_env_values = true, default_value = "sha256", value_parser = algorithm)]
    algorithm: Algorithm,
    /// Files that differ from the commit (not with md5, which reads them), or a filter that takes in none, are an error
    #[arg(long)]
    strict: bool,
    /// Exit with 10 where the assets are there
    #[arg(long)]
    exit_code: bool,
    /// Append found=, source=, commit_hash= and code_hash= lines to this file, such as "$GITHUB_OUTPUT"
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct UploadArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    folder: FolderArgs,
    /// Files in folders too
    #[arg(long, short)]
    recursive: bool,
    /// Replace what is there with other content
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
pub(super) struct GetArgs {
    /// The commit, or at least its first 4 digits [default: the one that was checked, else the repository's]
    #[arg(value_name = "COMMIT")]
    commit: Option<String>,
    /// One file
    #[arg(value_name = "FILE")]
    file: Option<String>,
    /// Where the files go [default: the package folder]
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    repository: RepositoryArgs,
    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Args)]
pub(super) struct ListArgs {
    /// Those of the cache rather than those of commits
    #[arg(long)]
    cache: bool,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    place: PlaceArgs,
}

#[derive(Args)]
pub(super) struct GcArgs {
    /// Keep what was written in so many days
    #[arg(long, value_name = "DAYS")]
    keep_days: u64,
    /// Keep the commits at which the repository's refs of these names are, such as 'refs/tags/v*'
    #[arg(long, value_name = "PATTERN")]
    keep_refs: Vec<String>,
    /// Really remove
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    repository: RepositoryArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    Check,
    In,
    Out,
}

#[derive(Args)]
pub(super) struct ResourceArgs {
    /// Which of its three programs
    role: Role,
    /// The folder that Concourse gives
    folder: Option<PathBuf>,
}

// How results are written, for a program that is only a part of ours. What is said of it would become its help.
#[derive(Args)]
struct OutputArgs {
    /// How the result is written to standard output
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
    /// Short for --output json
    #[arg(long)]
    json: bool,
}

/// Reads the command line of a command that is a program of its own.
fn alone<T: Args>(name: &'static str) -> (T, Format) {
    let all = Command::augment_subcommands(clap::Command::new("asset"));
    let own = all.find_subcommand(name).expect("it is one of them").clone();
    let matches =
        OutputArgs::augment_args(own.bin_name(name).version(env!("CARGO_PKG_VERSION"))).get_matches();
    let read = T::from_arg_matches(&matches);
    let output = OutputArgs::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let format = if output.json { Format::Json } else { output.output };
    (read.unwrap_or_else(|error| error.exit()), format)
}

/// Runs what the program's name says; `None` where that is its own.
pub(super) fn by_name() -> Option<ExitCode> {
    let called = PathBuf::from(std::env::args_os().next()?);
    let name = called.file_name()?.to_str()?;
    let is_resource = called.parent().is_some_and(|folder| folder.ends_with("opt/resource"));
    let folder = || std::env::args_os().nth(1).map(PathBuf::from);
    let role = match name {
        "check" => Role::Check,
        "in" => Role::In,
        _ => Role::Out,
    };
    let outcome = match (is_resource, name) {
        (true, "check" | "in" | "out") => resource(&ResourceArgs { role, folder: folder() }),
        (_, "check") => {
            let (args, format) = alone("check");
            run_check(&args, format)
        }
        (_, "upload") => {
            let (args, format) = alone("upload");
            run_upload(&args, format)
        }
        _ => return None,
    };
    Some(ended(outcome))
}

pub(super) fn run(command: Command, format: Format) -> ExitCode {
    ended(match command {
        Command::Check(args) => run_check(&args, format),
        Command::Upload(args) => run_upload(&args, format),
        Command::Get(args) => run_get(&args, format),
        Command::List(args) => run_list(&args, format),
        Command::Gc(args) => run_gc(&args, format),
        Command::Resource(args) => resource(&args),
    })
}

fn ended(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        line("\x1b[31m", &format!("{error:#}"));
        ExitCode::from(error.downcast_ref::<Failure>().map_or(1, |failure| failure.code))
    })
}

#[expect(clippy::disallowed_methods, reason = "the command line reads the environment")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// One thread is enough for waiting.
fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(future);
    // What is looked up in vain is not waited for.
    runtime.shutdown_background();
    outcome
}

impl PlaceArgs {
    fn place(&self, code: u8) -> anyhow::Result<Place> {
        let bucket = self.bucket.as_deref().filter(|bucket| !bucket.is_empty());
        let bucket =
            bucket.ok_or_else(|| failure(code, "Missing environment variable: PACKAGE_ASSETS_BUCKET"))?;
        Place::new(bucket, &self.prefix, &env)
    }
}

impl FolderArgs {
    /// The package folder. Where none is named, the usual one is made if that is asked for.
    fn folder(&self, code: u8, make: bool) -> anyhow::Result<PathBuf> {
        let folder = match &self.packages {
            Some(folder) if folder.is_empty() => {
                return Err(failure(code, "Missing environment variable: PACKAGE_DIRECTORY"));
            }
            Some(folder) => PathBuf::from(folder),
            None => {
                let usual = PathBuf::from("./packages");
                if make && !usual.exists() {
                    std::fs::create_dir(&usual).context("making ./packages")?;
                }
                usual
            }
        };
        if folder.is_dir() {
            return Ok(folder);
        }
        Err(failure(code, format!("There is no package folder {}; see PACKAGE_DIRECTORY", folder.display())))
    }
}

impl RepositoryArgs {
    fn folder(&self) -> anyhow::Result<PathBuf> {
        match &self.repository {
            Some(folder) if folder.is_empty() => {
                Err(failure(check::EXIT_NO_PATH, "Missing environment variable: GIT_REPO_PATH"))
            }
            Some(folder) => Ok(PathBuf::from(folder)),
            None => {
                let (usual, mounted) = (PathBuf::from("./repo"), PathBuf::from("/repo"));
                Ok(if !usual.is_dir() && mounted.is_dir() { mounted } else { usual })
            }
        }
    }
}
