//! Git over ssh: a real sshd that lets in the deploy keys of the forge's state, each to its own repositories.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::Inner;
use crate::server::wait_for;

const PROGRAM: &str = "/usr/sbin/sshd";

/// How long sshd may need to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a key may do: fetch the repositories in the list that stands in `$1`. Forges say of all others that there are
/// none.
const COMMAND: &str = r#"#!/bin/sh
asked=${SSH_ORIGINAL_COMMAND#git-upload-pack \'}
if [ "$asked" = "$SSH_ORIGINAL_COMMAND" ]; then
    echo 'ERROR: this key may only fetch' >&2
    exit 1
fi
asked=${asked%\'}
asked=/${asked#/}
while read -r path repository <&3; do
    if [ "$path" = "$asked" ] || [ "$path" = "$asked.git" ]; then
        exec git-upload-pack "$repository" 3<&-
    fi
done 3<"$1"
echo 'ERROR: Repository not found.' >&2
exit 1
"#;

/// A running sshd. It stops when it is dropped.
#[derive(Debug)]
pub struct Ssh {
    child: Child,
    port: u16,
    user: String,
    host_key: String,
    folder: TempDir,
}

impl Ssh {
    /// `None`, said loudly, where there is no sshd.
    pub(super) fn start(test: &str) -> Option<Ssh> {
        if !Path::new(PROGRAM).exists() {
            crate::skip(test, "there is no sshd; install openssh-server");
            return None;
        }
        let user = output("id", &["-un"]);
        // Root's sshd wants this empty folder, which its package's service makes.
        if user == "root" && fs::create_dir_all("/run/sshd").is_err() {
            crate::skip(test, "sshd wants the folder /run/sshd, which cannot be made");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("host_key");
        let key = key.to_str().expect("a path of ASCII");
        output("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key]);
        let host_key = fs::read_to_string(format!("{key}.pub")).expect("its public half").trim().to_owned();
        write(&folder.path().join("authorized_keys"), "", 0o600);
        write(&folder.path().join("command"), COMMAND, 0o755);
        // Another program may take the port before sshd does.
        for _ in 0..5 {
            let port = free_port();
            let mut child = spawn(folder.path(), port);
            let listens = wait_for(PATIENCE, || {
                let has_ended = child.try_wait().expect("a child").is_some();
                let is_open = TcpStream::connect(("127.0.0.1", port)).is_ok();
                (has_ended || is_open).then_some(is_open && !has_ended)
            });
            if listens == Some(true) {
                return Some(Ssh { child, port, user, host_key, folder });
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("sshd does not start: {}", fs::read_to_string(folder.path().join("log")).unwrap_or_default());
    }

    /// The port of 127.0.0.1 that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Who logs in: whoever runs the test, as no other account may be had without being root.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The line of `known_hosts` for it.
    pub fn known_host(&self) -> String {
        format!("[127.0.0.1]:{} {}", self.port, self.host_key)
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }

    /// Lets in exactly these keys, each with the repositories it may fetch: path in the address, and folder.
    fn allow(&self, keys: &[(String, Vec<(String, String)>)]) {
        let mut lines = String::new();
        for (number, (key, repositories)) in keys.iter().enumerate() {
            let list = self.folder.path().join(format!("allowed-{number}"));
            let text: String =
                repositories.iter().map(|(path, folder)| format!("{path} {folder}\n")).collect();
            write(&list, &text, 0o600);
            let command = self.folder.path().join("command");
            lines.push_str(&format!("restrict,command=\"{} {}\" {key}\n", command.display(), list.display()));
        }
        // In one step: sshd may read it at any moment.
        let new = self.folder.path().join("authorized_keys.new");
        write(&new, &lines, 0o600);
        fs::rename(new, self.folder.path().join("authorized_keys")).expect("renamed");
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Inner {
    /// Has sshd let in the deploy keys as they are now.
    pub(super) fn write_keys(&self) {
        let Some(ssh) = self.ssh.get() else { return };
        let shape = self.family.shape();
        // Held until it is written: the last writer knows the newest state.
        let state = self.state();
        let mut keys: Vec<(String, Vec<(String, String)>)> = Vec::new();
        for repository in state.repositories.values() {
            let folder = repository.repo.path().to_str().expect("a path of ASCII").to_owned();
            let reach = (shape.ssh_path(&repository.full_name), folder);
            for key in &repository.keys {
                match keys.iter_mut().find(|(known, _)| *known == key.key) {
                    Some((_, reaches)) => reaches.push(reach.clone()),
                    None => keys.push((key.key.clone(), vec![reach.clone()])),
                }
            }
        }
        ssh.allow(&keys);
    }
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
    write(&config, &text, 0o600);
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

fn write(path: &Path, content: &str, mode: u32) {
    fs::write(path, content).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the file is ours");
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}
