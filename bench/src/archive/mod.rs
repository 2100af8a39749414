//! `archive`: from a push to its archive where readers see it, beside `git fetch` and `git archive --format=zip -6`.
//!
//! Both fetch the same repository from this machine, in turns, each with its caches warm. Ours keeps what it
//! publishes through a power loss; git writes a file and does not sync it.

mod equal;
mod ours;
mod rival;

use crate::kit::report::{self, Bars};
use crate::kit::stats::median;
use crate::kit::target::Common;
use anyhow::{Context, Result, ensure};
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;
use ours::{Ours, Phases, Pushed};
use rival::{Fetched, Rival};
use std::fs;
use std::path::Path;

const FIRST_RATIO_MIN: f64 = 2.0;
const PUSH_RATIO_MIN: f64 = 5.0;
const FILES_MIN: usize = 10_000;

/// Arguments of `archive`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    common: Common,
    /// Files of the repository.
    #[arg(long, default_value_t = 13_000)]
    files: usize,
    /// Bytes of all its files, about, in MB.
    #[arg(long, default_value_t = 106)]
    megabytes: usize,
    /// How often the first archive is made, each time by a server that has nothing.
    #[arg(long, default_value_t = 3)]
    first_rounds: usize,
    /// How many pushes follow.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Files that each push changes.
    #[arg(long, default_value_t = 5)]
    changed: usize,
    /// Decides over the repository's content.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One round: the same push by both.
struct Round {
    ours: Pushed,
    theirs: Fetched,
}

/// What is measured against: the repository, and where git's side keeps what it has.
struct Bench<'a> {
    args: &'a Args,
    folder: &'a Path,
    repository: TestRepo,
    /// The tip of `main`.
    commit: String,
    compared: usize,
}

/// Runs the benchmark; whether it must fail because a bar was missed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let folder = args.common.folder()?;
    let (repository, commit) = repository(args);
    let files = repository.ls_tree(&commit).iter().filter(|line| !line.mode.starts_with("04")).count();
    println!(
        "archive: {files} files, about {} MB; {} first archives, then {} pushes that change {} files",
        args.megabytes, args.first_rounds, args.rounds, args.changed
    );
    report::machine(folder.path())?;
    let mut bench = Bench { args, folder: folder.path(), repository, commit, compared: 0 };
    let (first, ours, rival) = bench.first_rounds()?;
    let pushes = bench.push_rounds(&ours, &rival)?;
    let names = equal::extracted(folder.path(), &ours.file(), &rival.file)?;
    let memory = ours.memory_peak()?;
    let same = bench.anew(&ours)?;

    let mut bars = Bars::default();
    print(&format!("first archive, {} rounds", first.len()), &first);
    print(&format!("{} files changed, {} rounds", args.changed, pushes.len()), &pushes);
    println!("peak memory of the server: {memory:.0} MiB");
    println!();
    check(&mut bars, files, &first, &pushes);
    let archives = args.first_rounds + args.rounds;
    bars.check(
        "archives equal to git ls-tree and cat-file",
        &format!("{} of {archives}", bench.compared),
        "all",
        bench.compared == archives,
    );
    bars.check(
        "names equal to those of git's archive, both extracted",
        &names.to_string(),
        "all",
        names > files,
    );
    let met = if same { "equal" } else { "different" };
    bars.check("the last archive and one of the same tree made anew", met, "equal", same);
    Ok(bars.failed(args.common.strict))
}

/// Text like source code, and a few members that are not plain files.
fn repository(args: &Args) -> (TestRepo, String) {
    let (repository, _) = TestRepo::large(args.files, args.megabytes * 1_000_000, args.seed);
    let changes = Changes::new()
        .executable("bin/build", "#!/bin/sh\nexec make\n")
        .symlink("bin/link", "build")
        .symlink("docs/ünïcode link", "../bin/build")
        .file("docs/größe.txt", "größe\n");
    let commit = repository.commit("main", &changes);
    // As a forge keeps it: one pack, deltas found.
    repository.git(["repack", "-a", "-d", "-q"]);
    (repository, commit)
}

impl Bench<'_> {
    /// The first archive, each time with nothing there before.
    fn first_rounds(&mut self) -> Result<(Vec<Round>, Ours, Rival)> {
        let mut rounds = Vec::new();
        let mut last = None;
        for n in 0..self.args.first_rounds.max(1) {
            drop(last.take());
            let dir = self.dir(&format!("first-{n}"))?;
            // The server must not find the commit before the push is announced.
            self.repository.delete_ref("refs/heads/main");
            let ours = Ours::start(&self.args.common, self.repository.path(), &dir)?;
            self.repository.set_ref("refs/heads/main", &self.commit);
            let rival = Rival::new(&dir)?;
            let zero = "0".repeat(40);
            rounds.push(self.round(n, &ours, &rival, &zero)?);
            last = Some((ours, rival));
        }
        let (ours, rival) = last.context("there is at least one round")?;
        Ok((rounds, ours, rival))
    }

    /// A few files changed, again and again.
    fn push_rounds(&mut self, ours: &Ours, rival: &Rival) -> Result<Vec<Round>> {
        let mut rounds = Vec::new();
        for n in 0..self.args.rounds {
            let before = self.commit.clone();
            self.commit =
                self.repository.change_some("main", self.args.changed, self.args.seed + n as u64 + 1);
            rounds.push(self.round(n, ours, rival, &before)?);
        }
        Ok(rounds)
    }

    /// Both in turns; every second time the other one begins.
    fn round(&mut self, n: usize, ours: &Ours, rival: &Rival, before: &str) -> Result<Round> {
        let theirs = || {
            ours.pause()?;
            let fetched = rival.run(self.repository.path());
            ours.resume()?;
            fetched
        };
        let round = if n.is_multiple_of(2) {
            let ours = ours.push(before, &self.commit)?;
            Round { ours, theirs: theirs()? }
        } else {
            let theirs = theirs()?;
            Round { ours: ours.push(before, &self.commit)?, theirs }
        };
        equal::with_objects(self.repository.path(), &self.commit, &ours.file())?;
        self.compared += 1;
        Ok(round)
    }

    /// Has a new server archive the last commit; whether the bytes are those that `ours` made step by step.
    fn anew(&self, ours: &Ours) -> Result<bool> {
        let dir = self.dir("anew")?;
        self.repository.delete_ref("refs/heads/main");
        let new = Ours::start(&self.args.common, self.repository.path(), &dir)?;
        self.repository.set_ref("refs/heads/main", &self.commit);
        new.push(&"0".repeat(40), &self.commit)?;
        let bytes = fs::read(new.file())?;
        ensure!(!bytes.is_empty(), "the archive is empty");
        Ok(bytes == fs::read(ours.file())?)
    }

    fn dir(&self, name: &str) -> Result<std::path::PathBuf> {
        let dir = self.folder.join(name);
        fs::create_dir(&dir)?;
        Ok(dir)
    }
}

fn median_ms(rounds: &[Round], value: impl Fn(&Round) -> f64) -> f64 {
    median(rounds.iter().map(value))
}

/// Medians of both sides, and where our time goes.
fn print(what: &str, rounds: &[Round]) {
    let ms = |value: &dyn Fn(&Round) -> f64| median_ms(rounds, value);
    let seconds = |value: &dyn Fn(&Round) -> f64| {
        rounds.iter().map(|round| format!("{:.2}", value(round))).collect::<Vec<_>>().join(" ")
    };
    let ours = |round: &Round| round.ours.wall.as_secs_f64();
    let theirs = |round: &Round| round.theirs.wall().as_secs_f64();
    println!();
    println!("{what}; medians:");
    println!(
        "  gristmill  push to visible {:>8.0} ms, processor {:>6.0} ms + children {:>6.0} ms   rounds s: {}",
        ms(&ours) * 1e3,
        ms(&|round| round.ours.cpu.own.as_secs_f64()) * 1e3,
        ms(&|round| round.ours.cpu.children.as_secs_f64()) * 1e3,
        seconds(&ours),
    );
    println!(
        "  git        fetch + archive {:>8.0} ms, processor {:>6.0} ms   rounds s: {}",
        ms(&theirs) * 1e3,
        ms(&|round| round.theirs.cpu.as_secs_f64()) * 1e3,
        seconds(&theirs),
    );
    println!(
        "             fetch {:.0} ms, archive {:.0} ms",
        ms(&|round| round.theirs.fetch.as_secs_f64()) * 1e3,
        ms(&|round| round.theirs.archive.as_secs_f64()) * 1e3,
    );
    let phase = |value: fn(&Phases) -> f64| median_ms(rounds, |round| value(&round.ours.phases));
    println!(
        "  gristmill, ms: to the run {:.0}, wait {:.0}, fetch {:.0}, wait {:.0}, archive {:.0}, wait {:.0}, publish {:.0}",
        phase(|of| of.to_run),
        phase(|of| of.waits[0]),
        phase(|of| of.jobs[0]),
        phase(|of| of.waits[1]),
        phase(|of| of.jobs[1]),
        phase(|of| of.waits[2]),
        phase(|of| of.jobs[2]),
    );
}

fn check(bars: &mut Bars, files: usize, first: &[Round], pushes: &[Round]) {
    bars.check("files", &files.to_string(), "≥ 10000", files >= FILES_MIN);
    let step = median_ms(first, |round| round.theirs.archive.as_secs_f64() * 1e3)
        / median_ms(first, |round| round.ours.phases.jobs[1]).max(1.0);
    bars.check(
        "first archive: git archive -6 / the archive job alone",
        &format!("{step:.2}"),
        "≥ 2",
        step >= FIRST_RATIO_MIN,
    );
    let wall = |rounds: &[Round]| {
        median_ms(rounds, |round| round.theirs.wall().as_secs_f64())
            / median_ms(rounds, |round| round.ours.wall.as_secs_f64())
    };
    println!("     first archive, with the fetch on both sides: {:.2}", wall(first));
    if pushes.is_empty() {
        return;
    }
    let ratio = wall(pushes);
    bars.check(
        "files changed: git fetch and git archive -6 / push to visible",
        &format!("{ratio:.2}"),
        "≥ 5",
        ratio >= PUSH_RATIO_MIN,
    );
}
