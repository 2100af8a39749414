//! Benchmarks of Gristmill: each prints what it measured beside what a user would pick instead, in one run.
//!
//! ```text
//! cargo run --release -p gristmill-bench -- accept  --gristmill target/release/gristmill
//! cargo run --release -p gristmill-bench -- accept --trace
//! cargo run --release -p gristmill-bench -- hostile
//! cargo run --release -p gristmill-bench -- start
//! cargo run --release -p gristmill-bench -- archive
//! cargo run --release -p gristmill-bench -- assets
//! cargo run --release -p gristmill-bench -- bucket
//! cargo run --release -p gristmill-bench -- engine
//! ```
//!
//! - `accept`: signed GitHub pushes of 7.6 kB over 64 kept connections, in a closed loop, in rounds that
//!   alternate between a server that does nothing, Debian's `webhook` 2.8 that starts `/bin/true`, and
//!   Gristmill. Requests per second, latency, processor time, memory.
//! - `accept --trace`: a few deliveries under `strace`: each `202` must be written after the sync that makes
//!   its delivery durable.
//! - `hostile`: malformed deliveries and slow connections, while a good sender goes on.
//! - `start`: from `exec` to the first `202` with 10 000 rows in the queue, left there by a `kill -9`;
//!   memory of an idle server.
//! - `archive`: from a push to its archive where readers see it, beside `git fetch` and `git archive`: the first
//!   one of a repository, and after changes to a few files. Every archive is compared with git.
//! - `assets`: `asset check` and `upload` beside a Python program over boto3, `s5cmd` and `aws s3 cp`.
//! - `bucket`: bytes sent to servers of S3 for an archive of which little changed, and the calls between a push and its
//!   version.
//! - `engine`: 100 000 jobs that do nothing, in graphs of 100, in the real database: jobs per second, processor
//!   time per job.
//! - `restore`: an installation with 10 000 runs, backed up and restored; seconds, with every key verified.
//!
//! The machine is shared and noisy: read ratios, not absolute figures. Targets that are not being measured are
//! stopped (`SIGSTOP`), so that work they left behind does not slow the others. Every bar is one line that ends
//! with `met` or `MISSED`. The exit code is 0 either way; 1 when a bar is missed under `--strict`; 2 when a
//! target cannot be run.
//!
//! The path of the program comes from `--gristmill` or the variable `GRISTMILL`. `--targets` leaves some out,
//! which is how the benchmarks themselves are tried without a built Gristmill. Two targets are our own:
//! `nothing` reads a request and answers it, `syncing` also appends it to a file and answers after `fdatasync`,
//! once for all requests that are waiting: about the least a server that keeps its promise has to do.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing results is what a benchmark is for")]

mod accept;
mod archive;
mod assets;
mod bucket;
mod engine;
mod floor;
mod hostile;
mod kit;
mod restore;
mod start;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A bar was missed, under `--strict`.
const EXIT_MISSED: u8 = 1;
/// Something could not be measured.
const EXIT_NOT_MEASURED: u8 = 2;

/// Benchmarks of Gristmill, side by side with what a user would pick instead.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Signed deliveries accepted per second, beside Debian's `webhook` and a server that does nothing.
    Accept(accept::Args),
    /// From a push to its archive, beside `git fetch` and `git archive`.
    Archive(archive::Args),
    /// `asset check` and `upload`, beside a Python program over boto3, `s5cmd` and `aws`.
    Assets(assets::Args),
    /// What goes over the line to a bucket: bytes of a changed archive, and calls from a push to its version.
    Bucket(bucket::Args),
    /// What the engine costs, by jobs that do nothing.
    Engine(engine::Args),
    /// Malformed deliveries and slow connections while a good sender goes on.
    Hostile(hostile::Args),
    /// A backup of 10 000 runs, restored with every key verified.
    Restore(restore::Args),
    /// Time to the first `202` with a full queue, and memory when idle.
    Start(start::Args),
    /// The servers `nothing` and `syncing`, started by the other benchmarks as processes of their own.
    #[command(hide = true)]
    Floor(floor::Args),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().bench {
        Bench::Accept(args) => accept::run(&args),
        Bench::Archive(args) => archive::run(&args),
        Bench::Assets(args) => assets::run(&args),
        Bench::Bucket(args) => bucket::run(&args),
        Bench::Engine(args) => engine::run(&args),
        Bench::Hostile(args) => hostile::run(&args),
        Bench::Restore(args) => restore::run(&args),
        Bench::Start(args) => start::run(&args),
        Bench::Floor(args) => floor::run(&args).map(|()| false),
    };
    match outcome {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(EXIT_MISSED),
        Err(error) => {
            eprintln!("gristmill-bench: {error:#}");
            ExitCode::from(EXIT_NOT_MEASURED)
        }
    }
}
