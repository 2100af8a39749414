//! What a user would write instead: `git fetch` into a bare repository, then `git archive`.

use crate::kit::proc;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A bare repository that is fetched into, and the file that is written.
pub(super) struct Rival {
    bare: PathBuf,
    pub(super) file: PathBuf,
}

/// One fetch and one archive.
#[derive(Clone, Copy)]
pub(super) struct Fetched {
    pub(super) fetch: Duration,
    pub(super) archive: Duration,
    pub(super) cpu: Duration,
}

impl Rival {
    /// An empty bare repository in `dir`.
    pub(super) fn new(dir: &Path) -> Result<Rival> {
        let rival = Rival { bare: dir.join("bare.git"), file: dir.join("main.zip") };
        git(Command::new("git").args(["init", "--quiet", "--bare"]).arg(&rival.bare))?;
        Ok(rival)
    }

    /// Fetches the branch and archives it. Without the housekeeping that git would do afterwards.
    pub(super) fn run(&self, repository: &Path) -> Result<Fetched> {
        let me = std::process::id();
        let cpu = proc::cpu(me)?.children;
        let start = Instant::now();
        let url = format!("file://{}", repository.display());
        git(self.command().args([
            "fetch",
            "--quiet",
            "--no-tags",
            &url,
            "+refs/heads/main:refs/heads/main",
        ]))?;
        let fetch = start.elapsed();
        git(self.command().args(["archive", "--format=zip", "-6", "-o"]).arg(&self.file).arg("main"))?;
        let archive = start.elapsed() - fetch;
        Ok(Fetched { fetch, archive, cpu: proc::cpu(me)?.children.saturating_sub(cpu) })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(&self.bare).args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"]);
        command
    }
}

impl Fetched {
    pub(super) fn wall(self) -> Duration {
        self.fetch + self.archive
    }
}

/// Runs git without anybody's configuration.
fn git(command: &mut Command) -> Result<()> {
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").stdin(Stdio::null());
    let status = command.status().context("cannot start git")?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}
