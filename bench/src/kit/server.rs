//! A server under test: a child process with its log in a file, killed by its id when dropped.

use super::{pause, proc};
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take before it listens.
const START_TIME_MAX: Duration = Duration::from_secs(10);
/// How much of a log an error shows.
const LOG_TAIL_LINES: usize = 15;

/// A running server.
pub(crate) struct Server {
    child: Child,
    name: String,
    log: PathBuf,
    started: Instant,
}

impl Server {
    /// Starts `command` with both its outputs in `log`.
    pub(crate) fn start(name: &str, command: Command, log: &Path) -> Result<Self> {
        let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = ends_with_us(&command);
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", command.get_program().display()))?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned(), started })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// When the process was started.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Waits for the line `listening on http://ADDRESS` and returns the address.
    pub(crate) fn announced(&mut self) -> Result<SocketAddr> {
        self.wait(listening_on)
    }

    /// Waits until somebody listens at `addr`, for servers that do not say so.
    pub(crate) fn reached(&mut self, addr: SocketAddr) -> Result<SocketAddr> {
        self.wait(|_| TcpStream::connect(addr).is_ok().then_some(addr))
    }

    fn wait(&mut self, mut ready: impl FnMut(&str) -> Option<SocketAddr>) -> Result<SocketAddr> {
        loop {
            if let Some(addr) = ready(&self.log()) {
                return Ok(addr);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended before it listened ({status}). Its log ends:\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            if self.started.elapsed() > START_TIME_MAX {
                bail!(
                    "{} does not listen after {} s; expected a line `listening on http://127.0.0.1:PORT`. \
                     Its log ends:\n{}",
                    self.name,
                    START_TIME_MAX.as_secs(),
                    self.log_tail()
                );
            }
            pause(Duration::from_millis(1));
        }
    }

    /// All that the server has written to its outputs.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of the log.
    pub(crate) fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// Whether the process still runs.
    pub(crate) fn alive(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// `kill -9`, and waits for the end.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Takes the server off the processor until [`Server::resume`].
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("{} has ended", self.name))
    }

    /// Waits until the server and its children use next to no processor time, at most `time_max`.
    pub(crate) fn settle(&self, time_max: Duration) -> Result<()> {
        const STEP: Duration = Duration::from_millis(200);
        let deadline = Instant::now() + time_max;
        let mut before = proc::cpu(self.pid())?;
        while Instant::now() < deadline {
            pause(STEP);
            let now = proc::cpu(self.pid())?;
            if now.since(before).total() < STEP / 10 {
                break;
            }
            before = now;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors mean that it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same command by way of `setpriv` (util-linux), which has the kernel kill the server when this process
/// ends, however it ends: a stopped server would outlive a benchmark that was killed. The process id stays.
fn ends_with_us(command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        wrapped.current_dir(dir);
    }
    wrapped
}

/// The address in the line `listening on http://ADDRESS`.
fn listening_on(log: &str) -> Option<SocketAddr> {
    const MARK: &str = "listening on http://";
    let rest = &log[log.find(MARK)? + MARK.len()..];
    // Without a character behind it, the line may be half written.
    let end = rest.find(|c: char| !(c.is_ascii_hexdigit() || ".:[]".contains(c)))?;
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_taken_from_a_whole_line() {
        let addr = "127.0.0.1:4711".parse().unwrap();
        assert_eq!(listening_on("x\nINFO listening on http://127.0.0.1:4711\n"), Some(addr));
        assert_eq!(listening_on("{\"message\":\"listening on http://127.0.0.1:4711\"}"), Some(addr));
        assert_eq!(listening_on("listening on http://127.0.0.1:47"), None);
        assert_eq!(listening_on("starting"), None);
    }

    #[test]
    fn a_server_that_ends_is_reported_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such key; exit 3"]);
        let mut server = Server::start("shell", command, &dir.path().join("log")).unwrap();
        let error = server.announced().unwrap_err().to_string();
        assert!(error.contains("shell ended") && error.contains("no such key"), "{error}");
    }
}
