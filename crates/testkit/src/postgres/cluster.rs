//! PostgreSQL's programs, its data and its processes.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::{Mode, Options, USER};
use crate::keeper::{Keeper, TRIES, find, free_port};
use crate::server::wait_for;

/// How long a start, with recovery, or an end may take, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where Debian and Ubuntu keep the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Where PostgreSQL's programs are, and who may run them.
#[derive(Debug)]
pub(super) struct Programs {
    folder: PathBuf,
    version: u32,
    /// Another account, where this one is root: PostgreSQL refuses to run as root.
    account: Option<Account>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    uid: u32,
    gid: u32,
}

/// One server's data, with the port it keeps.
#[derive(Debug)]
pub(super) struct Cluster {
    programs: Programs,
    folder: PathBuf,
    password: String,
    /// Settled by the first start.
    port: std::sync::OnceLock<u16>,
    fsync: bool,
}

impl Programs {
    /// The newest version.
    pub(super) fn find() -> Result<Programs, String> {
        let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut folders: Vec<PathBuf> = versions.map(|path| path.join("bin")).collect();
        folders.extend(find("initdb", &[]).and_then(|path| Some(path.parent()?.to_owned())));
        let complete =
            |folder: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).is_file());
        let newest =
            folders.into_iter().filter(complete).filter_map(|folder| Some((version(&folder)?, folder))).max();
        let (version, folder) = newest.ok_or("there is no PostgreSQL server; install postgresql")?;
        let account = if geteuid().is_root() { Some(Account::find()?) } else { None };
        Ok(Programs { folder, version, account })
    }

    fn command(&self, program: &str) -> Command {
        let program = self.folder.join(program);
        let Some(account) = self.account else { return Command::new(program) };
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={}", account.uid))
            .arg(format!("--regid={}", account.gid))
            .arg("--clear-groups")
            .arg(program);
        command
    }

    /// Gives a path to whoever runs the server.
    fn own(&self, path: &Path) -> Result<(), String> {
        let Some(account) = self.account else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
            .map_err(|error| format!("{} cannot be given away: {error}", path.display()))
    }
}

impl Account {
    fn find() -> Result<Account, String> {
        find("setpriv", &[])
            .ok_or("PostgreSQL does not run as root, and there is no setpriv; install util-linux")?;
        let number = |flag: &str, user: &str| -> Option<u32> {
            let output = Command::new("id").args([flag, user]).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse().ok()
        };
        let account = |user: &&str| Some(Account { uid: number("-u", user)?, gid: number("-g", user)? });
        let found = ["postgres", "nobody"].iter().find_map(account);
        found.ok_or_else(|| {
            "PostgreSQL does not run as root, and there is no user postgres or nobody".to_owned()
        })
    }
}

/// `postgres (PostgreSQL) 15.10 (Debian …)` is 15.
fn version(folder: &Path) -> Option<u32> {
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split(' ').nth(2)?.split('.').next()?.trim().parse().ok()
}

impl Cluster {
    pub(super) fn create(keeper: &Keeper, programs: Programs, options: Options) -> Result<Cluster, String> {
        let mut secret = [0; 16];
        SystemRandom::new().fill(&mut secret).map_err(|_| "no randomness")?;
        let password: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = keeper.folder().to_owned();
        let file = folder.join("password");
        fs::write(&file, &password)
            .and_then(|()| fs::set_permissions(&file, Permissions::from_mode(0o600)))
            .map_err(|error| format!("{}: {error}", file.display()))?;
        programs.own(&folder)?;
        programs.own(&file)?;
        let mut initdb = programs.command("initdb");
        // Its own programs alone: no plugins of the machine, no locale but one that is everywhere.
        initdb.args(["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C"]);
        initdb.args(["--auth=scram-sha-256", "--username", USER, "--pwfile=password", "--pgdata=data"]);
        keeper.run(&mut initdb, "initdb")?;
        Ok(Cluster { programs, folder, password, port: std::sync::OnceLock::new(), fsync: options.fsync })
    }

    pub(super) fn version(&self) -> u32 {
        self.programs.version
    }

    fn port(&self) -> u16 {
        *self.port.get().expect("it is started as it is made")
    }

    pub(super) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{database}", self.password, self.port())
    }

    /// `psql` on a database. The password is not for everybody to read in the list of processes.
    pub(super) fn psql(&self, database: &str) -> Command {
        let mut command = Command::new(self.programs.folder.join("psql"));
        command
            .args([
                "--no-psqlrc",
                "--quiet",
                "--tuples-only",
                "--no-align",
                "--set=ON_ERROR_STOP=1",
                "--host=127.0.0.1",
            ])
            .arg(format!("--port={}", self.port()))
            .args(["--username", USER, "--dbname", database])
            .env("PGPASSWORD", &self.password);
        command
    }

    /// On its port; at first on one that is free, until there is one that nobody takes in between.
    pub(super) fn start(&self, keeper: &Keeper) -> Result<Child, String> {
        if let Some(port) = self.port.get() {
            return self.start_on(keeper, *port);
        }
        let mut last = Err("no try".to_owned());
        for _ in 0..TRIES {
            let port = free_port();
            last = self.start_on(keeper, port);
            if last.is_ok() {
                return last
                    .inspect(|_| self.port.set(port).expect("set here alone, under the postmaster's lock"));
            }
        }
        last
    }

    fn start_on(&self, keeper: &Keeper, port: u16) -> Result<Child, String> {
        let fsync = if self.fsync { "on" } else { "off" };
        let mut command = self.programs.command("postgres");
        command.arg("-D").arg(self.folder.join("data")).args(["-c", "listen_addresses=127.0.0.1"]);
        command.arg("-c").arg(format!("port={port}"));
        // No socket: its path may be longer than those may be.
        command.args(["-c", "unix_socket_directories=", "-c", "max_connections=200"]);
        command.args(["-c", &format!("fsync={fsync}"), "-c", &format!("full_page_writes={fsync}")]);
        command.env("LC_ALL", "C");
        let mut child =
            keeper.spawn(&mut command, "postgres").map_err(|error| format!("postgres: {error}"))?;
        let state = self.folder.join("data/postmaster.pid");
        let is_ready = wait_for(PATIENCE, || {
            if child.try_wait().expect("a child").is_some() {
                return Some(false);
            }
            is_ready(&fs::read_to_string(&state).unwrap_or_default(), child.id()).then_some(true)
        });
        match is_ready {
            Some(true) => Ok(child),
            Some(false) => Err(format!("PostgreSQL ended instead of starting on port {port}")),
            None => {
                kill(child)?;
                Err(format!("PostgreSQL did not start within {PATIENCE:?}"))
            }
        }
    }
}

/// Whether the file that a postmaster keeps about itself is that one's, and says that it lets clients in.
fn is_ready(state: &str, pid: u32) -> bool {
    let lines: Vec<&str> = state.lines().map(str::trim).collect();
    lines.first() == Some(&pid.to_string().as_str()) && lines.get(7) == Some(&"ready")
}

/// Ends it by the signal of the mode, and waits.
pub(super) fn stop(child: &mut Child, mode: Mode) -> Result<(), String> {
    let signal = match mode {
        Mode::Smart => Signal::TERM,
        Mode::Fast => Signal::INT,
        Mode::Immediate => Signal::QUIT,
    };
    send(child.id(), signal)?;
    let ended = wait_for(PATIENCE, || child.try_wait().expect("a child"));
    ended.map(drop).ok_or_else(|| format!("PostgreSQL did not stop ({mode:?}) within {PATIENCE:?}"))
}

pub(super) fn kill(mut child: Child) -> Result<(), String> {
    // It cannot start another one while it is looked which there are.
    send(child.id(), Signal::STOP)?;
    let children = children(child.id());
    for pid in children.iter().copied().chain([child.id()]) {
        // One of them may have ended by itself.
        let _ = send(pid, Signal::KILL);
    }
    child.wait().map_err(|error| format!("PostgreSQL cannot be reaped: {error}"))?;
    // They hold the shared memory, without which the next start would refuse.
    let gone = wait_for(PATIENCE, || children.iter().all(|pid| parent(*pid).is_none()).then_some(()));
    gone.ok_or_else(|| format!("processes of PostgreSQL survive kill -9: {children:?}"))
}

fn send(pid: u32, signal: Signal) -> Result<(), String> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let sent = raw.map(|raw| kill_process(raw, signal));
    sent.and_then(Result::ok).ok_or_else(|| format!("process {pid} takes no signal"))
}

fn children(of: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent(*pid) == Some(of)).collect()
}

/// The parent of a process that lives; `None` of one that is gone, or dead and not yet reaped.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may have any of them in it.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.next()?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::is_ready;

    #[test]
    fn ready_is_what_this_postmaster_says() {
        let state = |pid: &str, status: &str| {
            format!("{pid}\n/data\n1790000000\n5432\n\n127.0.0.1\n  1 2\n{status}\n")
        };
        for (text, expected) in [
            (state("17", "ready   "), true),
            (state("17", "starting"), false),
            (state("17", "standby "), false),
            // What one that was killed has left.
            (state("16", "ready   "), false),
            ("17\n/data\n".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_ready(&text, 17), expected, "{text}");
        }
    }
}
