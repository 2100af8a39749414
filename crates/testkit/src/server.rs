//! [`Server`]: the real program, running in a folder of its own, as a test sees it: from outside.
//!
//! It listens on a free port of 127.0.0.1. When it is dropped it is stopped, and the test fails where a job is
//! left in the queue (unless [`Server::expect_leftovers`] was called) or where anything panicked.

mod config;
mod process;
mod store;

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::forge::{Delivery, Reply};
pub use config::Project;
use process::{Heard, listen};
pub use process::{pause, signal, wait_for};
pub use store::{Store, Version, sha256};

/// How long anything that must happen may take, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long the queue of a server that is dropped may need to become empty.
const DROP_PATIENCE: Duration = Duration::from_secs(20);

/// The program and its folder. See the module.
#[derive(Debug)]
pub struct Server {
    binary: PathBuf,
    folder: TempDir,
    data: PathBuf,
    settings: String,
    projects: Vec<Project>,
    env: Vec<(String, String)>,
    task: Vec<String>,
    child: Option<Child>,
    /// Shared with the threads that read what the process writes.
    heard: Arc<Mutex<Heard>>,
    leftovers: bool,
}

impl Server {
    /// A server that is not started yet, with an empty folder. `binary` is `env!("CARGO_BIN_EXE_gristmill")`.
    pub fn new(binary: &str) -> Server {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Server {
            binary: binary.into(),
            data: folder.path().join("data"),
            folder,
            settings: String::new(),
            projects: Vec::new(),
            env: Vec::new(),
            task: vec!["serve".to_owned()],
            child: None,
            heard: Arc::default(),
            leftovers: false,
        }
    }

    /// Starts a server with these projects and waits until it listens.
    pub fn start_with(binary: &str, projects: impl IntoIterator<Item = Project>) -> Server {
        let mut server = Server::new(binary);
        server.set_projects(projects);
        server.start();
        server
    }

    /// Keeps the data there instead of in the server's own folder.
    pub fn set_data(&mut self, data: impl Into<PathBuf>) {
        self.data = data.into();
        self.write_config();
    }

    /// Adds text to the configuration file, before the projects.
    pub fn set_settings(&mut self, toml: &str) {
        self.settings = toml.to_owned();
        self.write_config();
    }

    /// Keeps the rows in a database of [`crate::Postgres`], whose URL has a password, which the file does not get.
    /// `more` is added as with [`Server::set_settings`].
    pub fn use_postgres(&mut self, url: &str, more: &str) {
        let (user, rest) =
            url.split_once("://").and_then(|(_, rest)| rest.split_once(':')).expect("a password");
        let (password, rest) = rest.split_once('@').expect("a host");
        self.set_env("DATABASE_PASSWORD", password);
        self.set_settings(&format!(
            "[database]\nurl = \"postgres://{user}@{rest}\"\npassword = {{ env = \"DATABASE_PASSWORD\" }}\n{more}"
        ));
    }

    /// Starts with these arguments instead of `serve`. They must have it say where it listens.
    pub fn set_task(&mut self, args: &[&str]) {
        self.task = args.iter().map(|arg| (*arg).to_owned()).collect();
    }

    /// Sets an environment variable of processes started from now on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Removes an environment variable that [`Server::set_env`] set.
    pub fn remove_env(&mut self, name: &str) {
        self.env.retain(|(known, _)| known != name);
    }

    /// Configures these projects and no others. A running server takes them up by itself.
    pub fn set_projects(&mut self, projects: impl IntoIterator<Item = Project>) {
        self.projects = projects.into_iter().collect();
        self.write_config();
    }

    /// A job that is left in the queue is not a fault of this test.
    pub fn expect_leftovers(&mut self) {
        self.leftovers = true;
    }

    /// Where configuration, secrets and, if not set otherwise, data are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the data is.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("gristmill.toml")
    }

    fn write_config(&self) {
        let text = config::text(self.folder.path(), &self.data, &self.settings, &self.projects);
        // In one step: a running server may read it at any moment.
        let new = self.folder.path().join("gristmill.toml.new");
        std::fs::write(&new, text).expect("the configuration can be written");
        std::fs::rename(new, self.config()).expect("the configuration can be replaced");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.folder.path())
            .env("LC_ALL", "C")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .args(args);
        command
    }

    /// Starts the process, as the leader of a process group, and returns at once. It must be reaped by the caller.
    ///
    /// # Errors
    ///
    /// Where no process could be started.
    pub fn launch(&self) -> std::io::Result<Child> {
        if !self.config().exists() {
            self.write_config();
        }
        let task: Vec<&str> = self.task.iter().map(String::as_str).collect();
        let mut command = self.command(&task);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let life = {
            let mut heard = self.heard();
            heard.address = None;
            heard.life += 1;
            heard.life
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        listen(stdout.expect("piped above"), self.heard.clone(), life);
        listen(stderr.expect("piped above"), self.heard.clone(), life);
        Ok(child)
    }

    /// Takes a process that [`Server::launch`] started as its own.
    pub fn adopt(&mut self, child: Child) {
        assert!(self.child.is_none(), "the server runs already");
        self.child = Some(child);
    }

    /// Starts the server and waits until it listens.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "the server runs already");
        self.child = Some(self.launch().expect("the program starts"));
        let address = wait_for(PATIENCE, || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("a child"));
            assert!(ended.is_none(), "the server ended ({ended:?}):\n{}", self.log());
            self.address()
        });
        assert!(address.is_some(), "the server does not listen:\n{}", self.log());
    }

    /// Runs another command on the same configuration and waits for its end.
    pub fn cli(&self, args: &[&str]) -> Output {
        self.cli_with_input(args, b"")
    }

    /// The same with something on standard input.
    pub fn cli_with_input(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        // A command that does not read its input may have ended by now.
        let _ = child.stdin.take().expect("piped above").write_all(input);
        child.wait_with_output().expect("its output can be read")
    }

    /// The standard output of a command that must succeed.
    pub fn cli_text(&self, args: &[&str]) -> String {
        let output = self.cli(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gristmill {args:?}: {}: {error}", output.status);
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// What a command prints with `--json`.
    pub fn cli_json(&self, args: &[&str]) -> Value {
        let text = self.cli_text(&[args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("gristmill {args:?}: {error}: {text}"))
    }

    /// Where the server listens, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.heard().address
    }

    /// The URL of a path of the running server.
    pub fn url(&self, path: &str) -> String {
        let address = self.address().unwrap_or_else(|| panic!("no server listens:\n{}", self.log()));
        format!("http://{address}{path}")
    }

    /// Sends a delivery to a project's hook.
    ///
    /// # Errors
    ///
    /// Where no answer came.
    pub fn send(&self, project: &str, delivery: &Delivery) -> Result<Reply, String> {
        let address = self.address().ok_or("no server listens")?;
        delivery.deliver(&format!("http://{address}/hooks/{project}"))
    }

    /// Sends deliveries that must be accepted. Returns what the server calls them.
    pub fn accept<'d>(
        &self,
        project: &str,
        deliveries: impl IntoIterator<Item = &'d Delivery>,
    ) -> Vec<String> {
        let mut ids = Vec::new();
        for delivery in deliveries {
            let reply = self.send(project, delivery).expect("an answer");
            assert_eq!(reply.status, 202, "{} {}", delivery.event, reply.body);
            let body: Value = serde_json::from_str(&reply.body).expect("JSON");
            ids.push(body["delivery"].as_str().expect("an id").to_owned());
        }
        ids
    }

    /// All that the processes wrote so far, of both streams.
    pub fn log(&self) -> String {
        self.heard().log.clone()
    }

    /// Waits until the log has a text.
    pub fn wait_for_log(&self, text: &str) {
        let found = wait_for(PATIENCE, || self.log().contains(text).then_some(()));
        assert!(found.is_some(), "`{text}` is not in the log:\n{}", self.log());
    }

    /// The number of the process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// `kill -9` of the server alone; what it started is left to it.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be reaped");
        self.heard().address = None;
    }

    /// Asks the server to stop (SIGTERM) without waiting.
    pub fn terminate(&self) {
        signal("TERM", &self.pid().to_string());
    }

    /// Waits until the server has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("the server runs");
        let ended = wait_for(PATIENCE, || child.try_wait().expect("a child"));
        let Some(status) = ended else {
            self.kill();
            panic!("the server did not end:\n{}", self.log());
        };
        self.child = None;
        self.heard().address = None;
        status
    }

    /// Stops the server in good order.
    pub fn stop(&mut self) {
        self.terminate();
        let status = self.wait();
        assert!(status.success(), "the server ended badly ({status}):\n{}", self.log());
    }

    /// `kill -9` and a start on the same folder.
    pub fn crash_and_restart(&mut self) {
        self.kill();
        self.start();
    }

    /// What the database and the storage hold.
    pub fn store(&self) -> Store {
        Store::at(&self.data)
    }

    /// Waits until nothing is ready, running, waiting or undecided.
    pub fn wait_until_idle(&self) {
        self.wait_until_idle_for(PATIENCE);
    }

    /// The same with another patience.
    pub fn wait_until_idle_for(&self, patience: Duration) {
        let store = self.store();
        if wait_for(patience, || store.left().is_empty().then_some(())).is_none() {
            panic!("still there after {patience:?}: {:#?}\n{}", store.left(), self.log());
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().expect("no test panics while it holds this")
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "part of a failing test's output, which the harness collects")]
    fn drop(&mut self) {
        let is_failing = std::thread::panicking();
        if let Some(child) = &mut self.child {
            let group = format!("-{}", child.id());
            if !is_failing && !self.leftovers {
                let store = Store::at(&self.data);
                if wait_for(DROP_PATIENCE, || store.left().is_empty().then_some(())).is_none() {
                    let left = store.left();
                    // The process must not outlive the test's failure.
                    signal("KILL", &group);
                    let _ = child.wait();
                    panic!("a test left work in the queue: {left:#?}\n{}", self.log());
                }
            }
            signal("KILL", &group);
            let _ = child.wait();
        }
        let log = self.log();
        if is_failing {
            eprintln!("the server's log:\n{log}");
        } else {
            assert!(!log.contains("panicked"), "something panicked:\n{log}");
        }
    }
}
