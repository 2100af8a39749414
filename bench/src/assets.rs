//! `assets`: `check` and `upload` beside a Python program that does with boto3 what s3-asset-manager does, `s5cmd` and
//! `aws s3 cp --recursive`, over s3s-fs, in rounds that alternate.

use crate::kit::report::{self, Bars};
use crate::kit::stats::median;
use crate::kit::target::Common;
use anyhow::{Context, Result, ensure};
use gristmill_testkit::TestRepo;
use gristmill_testkit::faults::{Fault, Proxy, Rule};
use gristmill_testkit::s3::{Kind, Server};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const FILES: usize = 13_000;
const BYTES: usize = 106_000_000;
const UPLOADS: usize = 200;
const UPLOAD_BYTES: usize = 1_000_000;
const FAR: Duration = Duration::from_millis(50);

const CHECK_RATIO: f64 = 12.0;
const FOUND_RATIO: f64 = 10.0;
const FOUND_CALLS: usize = 2;
const FAR_MS: f64 = 2.0 * 50.0 + 30.0;
const S5CMD_RATIO: f64 = 1.0;
const AWS_RATIO: f64 = 2.0;

/// Arguments of `assets`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// How often each is measured.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Where `s5cmd` and `aws` are; `scripts/setup.sh bench` puts them there.
    #[arg(long, value_name = "DIR", default_value = "target/tools/rivals/bin")]
    rivals: PathBuf,
}

/// A job of CI: folders, a bucket, an environment.
#[derive(Clone)]
struct Job<'a> {
    program: PathBuf,
    server: &'a Server,
    endpoint: String,
    repository: PathBuf,
    packages: PathBuf,
    bucket: String,
    filter: &'static str,
}

impl Job<'_> {
    fn dress<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", &self.server.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.server.secret_key)
            .env("AWS_DEFAULT_REGION", &self.server.region)
            .env("AWS_REGION", &self.server.region)
            .env("PACKAGE_ASSETS_BUCKET", &self.bucket)
            .env("GIT_REPO_PATH", &self.repository)
            .env("PACKAGE_DIRECTORY", &self.packages)
            .env("CODE_HASH_FIND_FILTER", self.filter)
            .stdin(Stdio::null())
    }

    /// How long a command takes, in milliseconds. Flags of the one before go first.
    fn time(&self, mut command: Command) -> Result<f64> {
        for flag in [".found", ".code-hash"] {
            let _ = std::fs::remove_file(self.packages.join(flag));
        }
        let begun = Instant::now();
        let output = self.dress(&mut command).output().with_context(|| format!("{command:?}"))?;
        let taken = begun.elapsed().as_secs_f64() * 1e3;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(taken)
    }

    fn ours(&self, command: &str) -> Command {
        let mut ours = Command::new(&self.program);
        ours.args(["asset", command]);
        ours
    }

    fn is_found(&self) -> bool {
        self.packages.join(".found").is_file()
    }
}

fn original(command: &str) -> Result<Command> {
    gristmill_testkit::assets::original(command, "assets").context("boto3 is not installed")
}

/// Runs the benchmark; whether it must fail because a bar was missed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let folder = args.common.folder()?;
    let place = std::env::temp_dir();
    println!("assets: medians of {} rounds, over s3s-fs with its data in {}", args.rounds, place.display());
    report::machine(folder.path())?;
    let mut bars = Bars::default();
    let server = Server::start(Kind::S3sFs, "assets").context("s3s-fs is not installed")?;
    let mut job = Job {
        program: args.common.program()?,
        endpoint: server.endpoint.clone(),
        server: &server,
        repository: folder.path().join("repo"),
        packages: folder.path().join("packages"),
        bucket: server.bucket(false),
        filter: "**",
    };
    std::fs::create_dir(&job.packages)?;
    // Before the repository is made: where many files were just removed, as git does it there, ext4 is slow to make others.
    uploads(&job, args, folder.path(), &mut bars)?;
    let (origin, _) = TestRepo::large(FILES, BYTES, 7);
    let mut clone = Command::new("git");
    clone.args(["clone", "--quiet", &origin.url()]).arg(&job.repository);
    ensure!(clone.status()?.success(), "git clone failed");
    checks(&mut job, args.rounds, &mut bars)?;
    found(&mut job, args.rounds, &mut bars)?;
    Ok(bars.failed(args.common.strict))
}

/// Nothing is there: the whole code is hashed.
fn checks(job: &mut Job<'_>, rounds: usize, bars: &mut Bars) -> Result<()> {
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        theirs.push(job.time(original("check")?)?);
        ours.push(job.time(job.ours("check"))?);
        ensure!(!job.is_found(), "nothing should be there");
    }
    compare(bars, "check of 13 000 files, `**`", (median(theirs), "Python"), median(ours), CHECK_RATIO);
    // The same by single files rather than by one tree.
    job.filter = "**/*.*";
    let times: Result<Vec<f64>> = (0..rounds).map(|_| job.time(job.ours("check"))).collect();
    println!("check of 13 000 files, `**/*.*`: {:.0} ms", median(times?));
    job.filter = "**";
    Ok(())
}

/// The commit's assets are there.
fn found(job: &mut Job<'_>, rounds: usize, bars: &mut Bars) -> Result<()> {
    std::fs::write(job.packages.join("a.zip"), "zip")?;
    job.time(job.ours("upload"))?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        theirs.push(job.time(original("check")?)?);
        ours.push(job.time(job.ours("check"))?);
        ensure!(job.is_found(), "it should be there");
    }
    compare(bars, "check that finds its commit", (median(theirs), "Python"), median(ours), FOUND_RATIO);
    let proxy = Proxy::start(&job.server.endpoint);
    proxy.rule(Rule::new(Fault::Delay(FAR)));
    job.endpoint = proxy.endpoint();
    let (mut theirs, mut ours, mut calls) = (Vec::new(), Vec::new(), 0);
    for _ in 0..rounds {
        theirs.push(job.time(original("check")?)?);
        proxy.take_seen();
        ours.push(job.time(job.ours("check"))?);
        calls = calls.max(proxy.take_seen().len());
        ensure!(job.is_found(), "it should be there");
    }
    job.endpoint = job.server.endpoint.clone();
    let (theirs, ours) = (median(theirs), median(ours));
    println!("50 ms further away: Python {theirs:.0} ms, Gristmill {ours:.0} ms");
    bars.check("calls of a check that finds", &calls.to_string(), "≤ 2", calls <= FOUND_CALLS);
    bars.check("the same, 50 ms further away", &format!("{ours:.0} ms"), "≤ 130 ms", ours <= FAR_MS);
    Ok(())
}

/// 200 files of 1 MB.
fn uploads(job: &Job<'_>, args: &Args, folder: &Path, bars: &mut Bars) -> Result<()> {
    let files = folder.join("files");
    std::fs::create_dir(&files)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..UPLOADS {
        let mut bytes = Vec::with_capacity(UPLOAD_BYTES);
        while bytes.len() < UPLOAD_BYTES {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(UPLOAD_BYTES);
        std::fs::write(files.join(format!("file-{number:03}.bin")), bytes)?;
    }
    std::fs::write(files.join(".commit-hash"), "7".repeat(40))?;
    let mut job = Job { packages: files.clone(), ..job.clone() };
    let rival = |name: &str| args.rivals.join(name);
    let (mut s5cmd, mut aws, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.rounds.min(5) {
        for which in ["s5cmd", "aws", "ours"] {
            job.bucket = job.server.bucket(false);
            let (all, to) =
                (format!("{}/*.bin", files.display()), format!("s3://{}/artifacts/x/", job.bucket));
            let mut command = Command::new(rival(which));
            let times = match which {
                "s5cmd" => {
                    command.args(["--endpoint-url", &job.endpoint, "cp", &all, &to]);
                    &mut s5cmd
                }
                "aws" => {
                    command.args(["s3", "cp", "--recursive", "--exclude", ".*"]).arg(&files).arg(&to);
                    &mut aws
                }
                _ => {
                    command = job.ours("upload");
                    &mut ours
                }
            };
            times.push(job.time(command)?);
            // What is written next has the same memory again: that of a virtual machine may be slow to come.
            let mut remove = Command::new(rival("s5cmd"));
            remove.args(["--endpoint-url", &job.endpoint, "rm", &format!("s3://{}/*", job.bucket)]);
            job.time(remove)?;
        }
    }
    let ours = median(ours);
    let what = "upload of 200 files of 1 MB";
    compare(bars, what, (median(s5cmd), "s5cmd"), ours, S5CMD_RATIO);
    compare(bars, what, (median(aws), "aws s3 cp"), ours, AWS_RATIO);
    Ok(())
}

fn compare(bars: &mut Bars, what: &str, (theirs, who): (f64, &str), ours: f64, ratio: f64) {
    let found = theirs / ours;
    let measured = format!("{who} {theirs:.0} ms, Gristmill {ours:.0} ms, ratio {found:.1}");
    bars.check(what, &measured, &format!("≥ {ratio}"), found >= ratio);
}
