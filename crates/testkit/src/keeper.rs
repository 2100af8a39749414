//! [`Keeper`]: a folder and the foreign servers that work in it. They end and it goes away with the test, also where
//! the test is killed, and where they are shared in a static that nothing ever drops.
//!
//! A guard, a shell, reads from a pipe whose other end only this process has. Where that ends, however it ends, the
//! guard kills its process group, which the servers are in, and removes the folder. A signal at the parent's death
//! (`PR_SET_PDEATHSIG`) would not do: it comes when the thread ends that started the server, and that is a test's.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// `$1` is the folder. The killing is done from a session of its own, or it would kill itself before it has removed
/// anything. What a killed server still writes may be in the way of the first removal.
const GUARD: &str = r#"cat >/dev/null
setsid sh -c 'kill -s KILL -- "-$1"; rm -rf -- "$2" || { sleep 1; rm -rf -- "$2"; }' sh "$$" "$1"
"#;

/// How often a server is started again because another program took its port first.
pub(crate) const TRIES: u32 = 5;

/// See the module.
#[derive(Debug)]
pub(crate) struct Keeper {
    guard: Child,
    folder: TempDir,
}

impl Keeper {
    /// An empty folder, only for this user, and its guard.
    pub(crate) fn new() -> Keeper {
        let folder = tempfile::Builder::new().prefix("gristmill-").tempdir().expect("a temporary folder");
        let guard = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C is for the test; the guard sees its end.
            .process_group(0)
            .spawn()
            .expect("a shell");
        Keeper { guard, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a server in the group. All it says goes to `<log>.log` in the folder, after what is there.
    ///
    /// # Errors
    ///
    /// Where no process could be started.
    pub(crate) fn spawn(&self, command: &mut Command, log: &str) -> io::Result<Child> {
        let log = self.log_file(log)?;
        let group = i32::try_from(self.guard.id()).map_err(io::Error::other)?;
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(group)
            .spawn()
    }

    /// Runs a command to its end. What it prints goes to the log too.
    ///
    /// # Errors
    ///
    /// Where it failed, with the end of the log.
    pub(crate) fn run(&self, command: &mut Command, log: &str) -> Result<(), String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let status = self.spawn(command, log).and_then(|mut child| child.wait());
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{name}: {status}: {}", self.log(log))),
            Err(error) => Err(format!("{name}: {error}")),
        }
    }

    fn log_path(&self, log: &str) -> PathBuf {
        self.folder.path().join(format!("{log}.log"))
    }

    fn log_file(&self, log: &str) -> io::Result<File> {
        File::options().create(true).append(true).open(self.log_path(log))
    }

    /// What was written to a log.
    pub(crate) fn log(&self, log: &str) -> String {
        let bytes = std::fs::read(self.log_path(log)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Kills the guard and all it guards. Whoever started them reaps them.
    pub(crate) fn kill(&self) {
        if let Some(group) = i32::try_from(self.guard.id()).ok().and_then(Pid::from_raw) {
            // Fails where they have ended by themselves.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.kill();
        let _ = self.guard.wait();
    }
}

/// A port of 127.0.0.1 that nobody has now. Another program may take it before the server does: see [`TRIES`].
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// A program of that name in the folders of `PATH`, or in one of `more`.
pub(crate) fn find(program: &str, more: &[&Path]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = more.iter().map(|folder| folder.to_path_buf()).chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}
