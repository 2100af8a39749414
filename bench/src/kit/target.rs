//! The servers that are put side by side, each started in a folder of its own on a free port of loopback.

use super::payload::{self, Template};
use super::server::Server;
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::fmt;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Reads a request and answers it: the floor of every figure.
    Nothing,
    /// The same, after an append and a sync: the floor of a server that keeps what it accepts.
    Syncing,
    /// Debian's `webhook` 2.8, verifying the signature and starting `/bin/true`, answering at once.
    Webhook,
    /// The program under test.
    Gristmill,
}

/// What the project's git URL leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Remote {
    /// Nothing: every delivery stays queued, with retries.
    Missing,
    /// A repository without commits: every delivery is handled beside the measurement.
    Empty,
}

/// Arguments that all benchmarks share.
#[derive(clap::Args)]
pub(crate) struct Common {
    /// The program under test.
    #[arg(long, env = "GRISTMILL", value_name = "PATH")]
    gristmill: Option<PathBuf>,
    /// Where the servers keep their data, in folders that are removed afterwards; a real disk, not a tmpfs.
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Exit with 1 when a bar is missed.
    #[arg(long)]
    pub(crate) strict: bool,
}

/// A running target and how to talk to it.
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) server: Server,
    pub(crate) addr: SocketAddr,
    /// A signed push to it.
    pub(crate) template: Template,
    /// The status that says "accepted".
    pub(crate) accepted: u16,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nothing => "nothing",
            Self::Syncing => "syncing",
            Self::Webhook => "webhook",
            Self::Gristmill => "gristmill",
        })
    }
}

impl Common {
    /// A folder for one run, removed when dropped.
    pub(crate) fn folder(&self) -> Result<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix("gristmill-bench-")
            .tempdir_in(&self.dir)
            .with_context(|| format!("cannot make a folder in {}", self.dir.display()))
    }

    /// Starts a target with its data in `dir`, which may hold the data of an earlier start.
    ///
    /// Gristmill gets a project with this remote, or none.
    pub(crate) fn start(&self, kind: Kind, remote: Option<Remote>, dir: &Path) -> Result<Target> {
        let log = dir.join(format!("{kind}.log"));
        let (mut server, addr) = match kind {
            Kind::Nothing | Kind::Syncing => {
                (Server::start(&kind.to_string(), floor(kind, dir)?, &log)?, None)
            }
            Kind::Webhook => {
                let addr = free_address()?;
                (Server::start("webhook", webhook(addr, dir)?, &log)?, Some(addr))
            }
            Kind::Gristmill => {
                let git = remote.map(|remote| remote.place(dir)).transpose()?;
                return self.serve(git.as_deref(), dir);
            }
        };
        let addr = match addr {
            Some(addr) => server.reached(addr)?,
            None => server.announced()?,
        };
        let accepted = if kind == Kind::Webhook { 200 } else { 202 };
        Ok(Target { kind, server, addr, template: Template::new(&hook_path()), accepted })
    }

    /// Starts Gristmill with the repository at `git` as its project, or without any.
    pub(crate) fn serve(&self, git: Option<&Path>, dir: &Path) -> Result<Target> {
        write_config(dir, git)?;
        let mut command = self.gristmill(dir)?;
        command.arg("serve");
        let mut server = Server::start("gristmill", command, &dir.join("gristmill.log"))?;
        let addr = server.announced()?;
        Ok(Target {
            kind: Kind::Gristmill,
            server,
            addr,
            template: Template::new(&hook_path()),
            accepted: 202,
        })
    }

    /// The program under test.
    pub(crate) fn program(&self) -> Result<PathBuf> {
        let Some(program) = &self.gristmill else {
            bail!("no program to measure: set GRISTMILL or give --gristmill PATH (see also --targets)");
        };
        program.canonicalize().with_context(|| format!("there is no {}", program.display()))
    }

    /// The program under test with the configuration in `dir`; what it is to do comes next.
    pub(crate) fn gristmill(&self, dir: &Path) -> Result<Command> {
        let mut command = Command::new(self.program()?);
        command.arg("--config").arg(dir.join("gristmill.toml"));
        command.current_dir(dir).env_remove("GRISTMILL").env_remove("GRISTMILL_CONFIG");
        Ok(command)
    }
}

/// One of our own servers, by this very program.
fn floor(kind: Kind, dir: &Path) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("floor");
    if kind == Kind::Syncing {
        command.arg("--sync").arg(dir.join("synced"));
    }
    Ok(command)
}

/// Debian's `webhook` with one hook at the same path as ours.
fn webhook(addr: SocketAddr, dir: &Path) -> Result<Command> {
    let hooks = json!([{
        "id": payload::REPOSITORY,
        "execute-command": "/bin/true",
        "trigger-rule": { "match": {
            "type": "payload-hmac-sha256",
            "secret": payload::SECRET,
            "parameter": { "source": "header", "name": "X-Hub-Signature-256" },
        }},
        "trigger-rule-mismatch-http-response-code": 403,
    }]);
    let path = dir.join("hooks.json");
    fs::write(&path, hooks.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    let mut command = Command::new("webhook");
    command.arg("-hooks").arg(path).args(["-ip", "127.0.0.1", "-port", &addr.port().to_string()]);
    Ok(command)
}

/// A port that was free a moment ago, for a server that cannot choose one itself.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.local_addr()?)
}

/// Where the project's webhooks go.
pub(crate) fn hook_path() -> String {
    format!("/hooks/{}", payload::REPOSITORY)
}

/// The file that readers see, below the folder with the configuration.
pub(crate) const PUBLIC_FILE: &str = "gristmill-data/storage/public/bench/repo/main.zip";

impl Remote {
    /// Makes it in `dir`; its path.
    fn place(self, dir: &Path) -> Result<PathBuf> {
        let git = dir.join(match self {
            Self::Missing => "missing.git",
            Self::Empty => "empty.git",
        });
        if self == Self::Empty && !git.exists() {
            let made = Command::new("git").args(["init", "--quiet", "--bare"]).arg(&git).status();
            if !made.context("cannot start git")?.success() {
                bail!("git cannot make a repository in {}", git.display());
            }
        }
        Ok(git)
    }
}

/// Gristmill's configuration in `dir`, with the project of the benchmarks where there is a repository.
fn write_config(dir: &Path, git: Option<&Path>) -> Result<()> {
    let mut config = "[server]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    if let Some(git) = git {
        let secret = dir.join("secret");
        fs::write(&secret, payload::SECRET)?;
        config += &format!(
            "\n[[project]]\nname = \"{}\"\ngit = \"file://{}\"\nforge = \"github\"\nsecret = {{ file = \"{}\" }}\n\
             \n[[project.pipeline]]\nkind = \"archive\"\nbranches = [\"main\"]\nkey = \"{{owner}}/{{repo}}/{{branch}}.zip\"\n",
            payload::REPOSITORY,
            git.display(),
            secret.display(),
        );
    }
    fs::write(dir.join("gristmill.toml"), config).context("cannot write the configuration")
}
