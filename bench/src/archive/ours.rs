//! Gristmill's side: a push is announced, then the public file is watched until it is another one.

use crate::kit::http::Client;
use crate::kit::pause;
use crate::kit::payload;
use crate::kit::proc::{self, Cpu};
use crate::kit::target::{Common, PUBLIC_FILE, Target, hook_path};
use anyhow::{Context, Result, bail, ensure};
use gristmill::clock::{SystemClock, system_random};
use gristmill_db::{Db, job, run};
use gristmill_model::{Clock, Timestamp};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the public file is looked at.
const LOOK: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(300);
/// What the server does after a push is visible.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(5);
/// The jobs of a run, in order.
const JOBS: [&str; 3] = ["fetch", "archive", "publish"];

/// A server with the repository as its project.
pub(super) struct Ours {
    target: Target,
    dir: PathBuf,
}

/// One push, from the first byte of its webhook to the new file.
pub(super) struct Pushed {
    pub(super) wall: Duration,
    pub(super) cpu: Cpu,
    pub(super) phases: Phases,
}

/// Where the time went, in milliseconds by the server's own records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Phases {
    /// From the webhook to the run: storing it, asking the remote where its refs are.
    pub(super) to_run: f64,
    /// How long each of the three jobs was ready without being worked on.
    pub(super) waits: [f64; 3],
    /// How long each took: fetch, archive, publish.
    pub(super) jobs: [f64; 3],
}

impl Ours {
    /// Starts a server on the data in `dir` and lets it finish what it does at its start.
    pub(super) fn start(common: &Common, repository: &Path, dir: &Path) -> Result<Ours> {
        let target = common.serve(Some(repository), dir)?;
        // The first look at a remote goes out by itself.
        pause(Duration::from_millis(300));
        target.server.settle(SETTLE_TIME_MAX)?;
        Ok(Ours { target, dir: dir.to_owned() })
    }

    /// Announces a push of `commit` and waits until readers see its archive.
    pub(super) fn push(&self, before: &str, commit: &str) -> Result<Pushed> {
        let pid = self.target.server.pid();
        let request = payload::push(&hook_path(), before, commit, &format!("push-{commit}"));
        let seen = self.seen();
        let mut client = Client::new(self.target.addr, Duration::from_secs(10));
        let cpu = proc::cpu(pid)?;
        let (sent_at, sent) = (SystemClock.now(), Instant::now());
        let (status, answer) = client.send(&request)?;
        ensure!(status == 202, "the push was not accepted: {}", String::from_utf8_lossy(&answer));
        while self.seen() == seen {
            if sent.elapsed() > PATIENCE {
                bail!("no archive of {commit} appears. The log ends:\n{}", self.target.server.log_tail());
            }
            pause(LOOK);
        }
        let wall = sent.elapsed();
        self.target.server.settle(SETTLE_TIME_MAX)?;
        let cpu = proc::cpu(pid)?.since(cpu);
        Ok(Pushed { wall, cpu, phases: self.phases(sent_at, commit)? })
    }

    /// Which file readers see now.
    fn seen(&self) -> Option<u64> {
        fs::metadata(self.file()).ok().map(|metadata| metadata.ino())
    }

    /// The public file.
    pub(super) fn file(&self) -> PathBuf {
        self.dir.join(PUBLIC_FILE)
    }

    /// The most memory that the server had so far, in MiB.
    pub(super) fn memory_peak(&self) -> Result<f64> {
        Ok(proc::memory(self.target.server.pid())?.peak)
    }

    /// Takes the server off the processor while somebody else is measured.
    pub(super) fn pause(&self) -> Result<()> {
        self.target.server.pause()
    }

    pub(super) fn resume(&self) -> Result<()> {
        self.target.server.resume()
    }

    fn phases(&self, sent: Timestamp, commit: &str) -> Result<Phases> {
        let path = self.dir.join("gristmill-data/gristmill.db");
        let db = Db::open(&path, Arc::new(SystemClock), system_random())?;
        let (run, spans) = db.read_blocking(|tx| {
            let run = run::list(tx, None, "~", 1)?.pop();
            let mut spans = Vec::new();
            for job in
                run.iter().map(|run| job::of_run(tx, run.id, 10)).collect::<Result<Vec<_>, _>>()?.concat()
            {
                let attempts = job::attempts(tx, job.id, 10)?;
                spans.push((job.kind, attempts.last().map(|first| first.started), job.finished));
            }
            Ok((run, spans))
        })?;
        let run = run.context("the push made a run")?;
        ensure!(run.commit.to_string() == commit, "the newest run is of {}, not of {commit}", run.commit);
        let span = |kind: &str| {
            let (_, started, finished) = spans.iter().find(|(found, ..)| found == kind)?;
            Some((started.as_ref().copied()?, finished.as_ref().copied()?))
        };
        let spans = JOBS.map(span);
        let [Some(fetch), Some(make), Some(publish)] = spans else {
            bail!("the run has other jobs than {JOBS:?}, or they are not over")
        };
        Ok(Phases::of(sent, run.created, [fetch, make, publish]))
    }
}

impl Phases {
    fn of(sent: Timestamp, created: Timestamp, jobs: [(Timestamp, Timestamp); 3]) -> Phases {
        let ms = |from: Timestamp, to: Timestamp| to.since(from).as_secs_f64() * 1e3;
        let [fetch, make, publish] = jobs;
        Phases {
            to_run: ms(sent, created),
            waits: [ms(created, fetch.0), ms(fetch.1, make.0), ms(make.1, publish.0)],
            jobs: [ms(fetch.0, fetch.1), ms(make.0, make.1), ms(publish.0, publish.1)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_what_lies_between_the_records() {
        let at = Timestamp;
        let jobs = [(at(130), at(230)), (at(231), at(531)), (at(536), at(540))];
        let phases = Phases::of(at(100), at(123), jobs);
        let expected = Phases { to_run: 23.0, waits: [7.0, 1.0, 5.0], jobs: [100.0, 300.0, 4.0] };
        assert_eq!(phases, expected);
    }
}
