//! A real sshd for one test: its own host key, the loopback, a port that the system chose.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gristmill_git::DeployKey;
use gristmill_testkit::server::{PATIENCE, Project, wait_for};

const PROGRAM: &str = "/usr/sbin/sshd";

/// The server. It ends with the test.
pub(crate) struct Sshd {
    child: Child,
    pub(crate) port: u16,
    pub(crate) host_key: DeployKey,
    folder: tempfile::TempDir,
}

/// A key that is the same in each run.
pub(crate) fn key(number: u8) -> DeployKey {
    DeployKey::generate(&[number; 32], "test").expect("a key")
}

/// Whether OpenSSH's client is here; says loudly where it is not.
pub(crate) fn has_ssh(test: &str) -> bool {
    let found = Command::new("ssh").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        gristmill_testkit::skip(test, "there is no ssh; install openssh-client");
    }
    found
}

pub(crate) fn write_secret(path: &Path, content: &str) {
    fs::write(path, content).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("only ours");
}

impl Sshd {
    /// A server that lets nobody in yet. `None`, said loudly, where it cannot be had.
    pub(crate) fn start(test: &str) -> Option<Sshd> {
        if !has_ssh(test) {
            return None;
        }
        if !Path::new(PROGRAM).exists() {
            gristmill_testkit::skip(test, "there is no sshd; install openssh-server");
            return None;
        }
        // Root's sshd wants this empty folder, which its package's service makes.
        if rustix::process::geteuid().is_root() && fs::create_dir_all("/run/sshd").is_err() {
            gristmill_testkit::skip(test, "sshd wants the folder /run/sshd, which cannot be made");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let host_key = key(250);
        write_secret(&folder.path().join("host_key"), host_key.to_openssh().as_ref());
        write_secret(&folder.path().join("authorized_keys"), "");
        // Another program may take the port before sshd does.
        for _ in 0..5 {
            let port = free_port();
            let mut child = spawn(folder.path(), port);
            if listens(&mut child, port) {
                return Some(Sshd { child, port, host_key, folder });
            }
        }
        panic!("sshd does not start: {}", fs::read_to_string(folder.path().join("log")).unwrap_or_default());
    }

    /// Lets these public keys in, and no others.
    pub(crate) fn allow(&self, public_lines: &[&str]) {
        write_secret(&self.folder.path().join("authorized_keys"), &(public_lines.join("\n") + "\n"));
    }

    /// The address of a repository on this machine, through this server.
    pub(crate) fn url(&self, path: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", user(), self.port, path.display())
    }

    /// The line of `known_hosts` for this server with a key.
    pub(crate) fn known_host(&self, key: &DeployKey) -> String {
        format!("[127.0.0.1]:{} {}", self.port, key.public_line())
    }

    /// A project without a webhook, polled each second, whose repository is behind this server.
    pub(crate) fn project(&self, name: &str, path: &Path) -> Project {
        Project::new(name, &self.url(path), "")
            .without_secret()
            .poll("1s")
            .with(&format!("repository = \"{name}\""))
    }

    /// [`Sshd::project`] with this server's key pinned.
    pub(crate) fn pinned_project(&self, name: &str, path: &Path) -> Project {
        self.project(name, path).with(&format!("host_keys = [\"{}\"]", self.known_host(&self.host_key)))
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, port: u16) -> Child {
    let config = folder.join("config");
    let text = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host_key\nAuthorizedKeysFile {0}/authorized_keys\n\
         PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\nAcceptEnv GIT_PROTOCOL\nLogLevel VERBOSE\nMaxStartups 100\n\
         SetEnv PATH=/usr/local/bin:/usr/bin:/bin\n",
        folder.display()
    );
    fs::write(&config, text).expect("written");
    let log = fs::File::create(folder.join("log")).expect("a log");
    let mut command = Command::new(PROGRAM);
    command.args(["-D", "-e", "-f"]).arg(&config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("sshd starts")
}

/// Who runs this test, and may therefore log in without being root.
fn user() -> String {
    let output = Command::new("id").arg("-un").output().expect("id starts");
    String::from_utf8(output.stdout).expect("a name").trim().to_owned()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// Waits until somebody listens; `false` where the program ended first.
fn listens(child: &mut Child, port: u16) -> bool {
    let known = wait_for(PATIENCE, || {
        let has_ended = child.try_wait().expect("a child").is_some();
        let is_there = TcpStream::connect(("127.0.0.1", port)).is_ok();
        if has_ended { Some(false) } else { is_there.then_some(true) }
    });
    known.unwrap_or(false)
}
