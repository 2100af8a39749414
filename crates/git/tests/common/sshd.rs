//! A real sshd for one test: its own keys, the loopback, a port that the system chose.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gristmill_git::{DeployKey, HostKeys, Remote, SshAccess};

const PROGRAM: &str = "/usr/sbin/sshd";

pub struct Sshd {
    child: Child,
    pub port: u16,
    pub host_key: DeployKey,
    folder: tempfile::TempDir,
}

/// A key that is the same in each run.
pub fn key(number: u8) -> DeployKey {
    DeployKey::generate(&[number; 32], "test").expect("a key")
}

/// Whether OpenSSH's programs are here; says loudly where they are not.
pub fn has_ssh(test: &str) -> bool {
    let found = Command::new("ssh").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        gristmill_testkit::skip(test, "there is no ssh; install openssh-client");
    }
    found
}

fn write_secret(path: &Path, content: &str) {
    fs::write(path, content).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("only ours");
}

impl Sshd {
    /// Lets `allowed` in, with `options` (`command="…"`) before its line. `None`, said loudly, where there is no sshd.
    pub fn start(test: &str, allowed: &DeployKey, options: &str) -> Option<Sshd> {
        if !has_ssh(test) {
            return None;
        }
        if !Path::new(PROGRAM).exists() {
            gristmill_testkit::skip(test, "there is no sshd; install openssh-server");
            return None;
        }
        let is_root = rustix::process::geteuid().is_root();
        // Root's sshd wants this empty folder, which its package's service makes.
        if is_root && fs::create_dir_all("/run/sshd").is_err() {
            gristmill_testkit::skip(test, "sshd wants the folder /run/sshd, which cannot be made");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let host_key = key(250);
        write_secret(&folder.path().join("host_key"), host_key.to_openssh().as_ref());
        let line = format!("{options} {}\n", allowed.public_line());
        write_secret(&folder.path().join("authorized_keys"), line.trim_start());
        // Another program may take the port before sshd does.
        for _ in 0..5 {
            let port = free_port();
            let mut child = Sshd::spawn(folder.path(), port);
            if listens(&mut child, port) {
                return Some(Sshd { child, port, host_key, folder });
            }
        }
        panic!("sshd does not start: {}", fs::read_to_string(folder.path().join("log")).unwrap_or_default());
    }

    fn spawn(folder: &Path, port: u16) -> Child {
        let config = folder.join("config");
        let text = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host_key\nAuthorizedKeysFile {0}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nAcceptEnv GIT_PROTOCOL\nLogLevel VERBOSE\n\
             SetEnv PATH=/usr/local/bin:/usr/bin:/bin\n",
            folder.display()
        );
        fs::write(&config, text).expect("written");
        let log = fs::File::create(folder.join("log")).expect("a log");
        Command::new(PROGRAM)
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd starts")
    }

    /// The address of a repository on this machine, through this server.
    pub fn url(&self, path: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", user(), self.port, path.display())
    }

    /// The line that pins a key to this server.
    pub fn pin(&self, key: &DeployKey) -> HostKeys {
        HostKeys::parse(&format!("[127.0.0.1]:{} {}", self.port, key.public_line())).expect("a line")
    }

    /// A repository behind this server, whose key is pinned.
    pub fn remote(&self, path: &Path, key: &DeployKey) -> Remote {
        let ssh = SshAccess { key: key.clone(), host_keys: self.pin(&self.host_key) };
        Remote { ssh: Some(ssh), ..super::remote(&self.url(path)) }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
#[expect(
    clippy::disallowed_methods,
    reason = "nothing tells when another program listens; this asks again and again"
)]
fn listens(child: &mut Child, port: u16) -> bool {
    while child.try_wait().expect("a child").is_none() {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// A folder whose name would do something in a shell, in ssh's configuration, and in git's.
pub fn odd_folder(parent: &Path) -> PathBuf {
    let folder = parent.join("it's $(touch canary) `touch canary` %h ~ \"q\" ; touch canary #");
    fs::create_dir_all(&folder).expect("made");
    folder
}
