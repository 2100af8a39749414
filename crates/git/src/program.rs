//! [`Git`]: the git program, started in an environment of our making.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::CommitId;

use crate::classify::{Subject, failure};
use crate::credentials::{Lent, Vault};
use crate::error::GitError;
use crate::orphan;
use crate::process::{Finished, Stopped, detail, run};
use crate::url::Remote;
use crate::version::{VERSION_MIN, Version};

/// Variables that a caller may pass on from its own environment by [`GitOptions::env`]: proxies and
/// certificates, as people set them for every program on a machine. All others are dropped.
pub const PASSED_ENV: &[&str] = &[
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
];

/// How long `git --version` may take.
const VERSION_TIME_MAX: Duration = Duration::from_secs(10);

/// How a repository is reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    /// Encrypted, with a token where needed.
    Https,
    /// Not encrypted. Needs no permission for this machine itself (127.0.0.1, ::1, localhost) where https is
    /// allowed.
    Http,
    /// The git daemon's: neither encrypted nor authenticated.
    Git,
    /// A directory on this machine.
    File,
    /// Recognised, but not available yet.
    Ssh,
}

impl Protocol {
    /// As in addresses and in `GIT_ALLOW_PROTOCOL`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Https => "https",
            Protocol::Http => "http",
            Protocol::Git => "git",
            Protocol::File => "file",
            Protocol::Ssh => "ssh",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What [`Git::new`] needs to know.
#[derive(Clone, Debug)]
pub struct GitOptions {
    /// The program; a bare name is looked up in [`GitOptions::search_path`].
    pub program: PathBuf,
    /// `PATH` for git and the helpers that it starts.
    pub search_path: OsString,
    /// A folder of our own, made where missing. Holds an empty home directory and, while commands run,
    /// credentials; only this user can look inside.
    pub dir: PathBuf,
    /// The transports that addresses may name.
    pub protocols: Vec<Protocol>,
    /// Values for names of [`PASSED_ENV`]; others are left out.
    pub env: Vec<(String, OsString)>,
}

impl GitOptions {
    /// `git` from the usual places, with https and file allowed.
    pub fn new(dir: impl Into<PathBuf>) -> GitOptions {
        GitOptions {
            program: PathBuf::from("git"),
            search_path: OsString::from("/usr/local/bin:/usr/bin:/bin"),
            dir: dir.into(),
            protocols: vec![Protocol::Https, Protocol::File],
            env: Vec::new(),
        }
    }
}

/// The configured git program. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Git {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: GitOptions,
    home: PathBuf,
    /// Global configuration for `file` remotes; see the crate's documentation on `safe.directory`.
    file_config: PathBuf,
    vault: Vault,
}

/// Settings for every command, over those of the mirror's own file.
const SETTINGS: &[&str] = &[
    // Nothing runs that a repository could name.
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    // We tidy up ourselves, under our lock.
    "gc.auto=0",
    "maintenance.auto=false",
    "fetch.writeCommitGraph=false",
    // Errors show the end of what git says; advice would fill it.
    "advice.fetchShowForcedUpdates=false",
    // No helper but ours, which is added behind this line where there is a token.
    "credential.helper=",
    "core.askPass=",
    // A redirect would take the request, and with some helpers the token, to another server.
    "http.followRedirects=false",
    // Below 100 bytes/s for a minute is a dead connection.
    "http.lowSpeedLimit=100",
    "http.lowSpeedTime=60",
    "protocol.version=2",
    // Each fetch adds one pack, however small: fewer files, and an fsync for all of its objects.
    "fetch.unpackLimit=1",
    "transfer.unpackLimit=1",
    // See the crate's documentation.
    "transfer.fsckObjects=false",
    "fetch.fsckObjects=false",
    "transfer.bundleURI=false",
    // A pin that was lost in a power cut would be an empty file that breaks each later fetch.
    "core.fsync=committed",
];

/// One command to run.
pub(crate) struct Call<'a> {
    /// The subcommand and its arguments.
    pub(crate) args: Vec<OsString>,
    /// The mirror to run in.
    pub(crate) mirror: Option<&'a Path>,
    /// The remote that it talks to.
    pub(crate) remote: Option<&'a Remote>,
    /// Becomes standard input, so that the mirror stays locked while git runs even where we are killed.
    pub(crate) lock: Option<&'a File>,
    /// How long it may take.
    pub(crate) time_max: Duration,
    /// How much it may write to standard output.
    pub(crate) stdout_bytes_max: usize,
    /// Asked for by id, for the error.
    pub(crate) commit: Option<CommitId>,
}

impl Git {
    /// Prepares the folder. The program itself is not started; see [`Git::version`].
    ///
    /// # Errors
    ///
    /// Where the folder cannot be made or belongs to somebody else.
    pub fn new(options: GitOptions) -> Result<Git, GitError> {
        let private = |path: &Path| {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                // It may have been there before, with other permissions.
                .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
                .map_err(|error| GitError::io("make the private folder", path, error))
        };
        private(&options.dir)?;
        let home = options.dir.join("home");
        private(&home)?;
        let file_config = options.dir.join("file-remotes.gitconfig");
        fs::write(&file_config, "[safe]\n\tdirectory = *\n")
            .map_err(|error| GitError::io("write", &file_config, error))?;
        let vault = Vault::open(&options.dir)?;
        Ok(Git { inner: Arc::new(Inner { options, home, file_config, vault }) })
    }

    /// Asks the program for its version, for `doctor` and for the start of a server.
    ///
    /// # Errors
    ///
    /// [`GitError::Program`] where it cannot be started, [`GitError::Version`] where it is older than
    /// [`VERSION_MIN`] or something else than git.
    pub async fn version(&self) -> Result<Version, GitError> {
        let call = Call {
            args: vec!["--version".into()],
            mirror: None,
            remote: None,
            lock: None,
            time_max: VERSION_TIME_MAX,
            stdout_bytes_max: 1000,
            commit: None,
        };
        let output = match self.run("--version", call).await {
            Ok(finished) => finished.stdout,
            Err(error @ GitError::Program { .. }) => return Err(error),
            Err(_) => return Err(GitError::Version { found: None }),
        };
        match Version::parse(&String::from_utf8_lossy(&output)) {
            Some(version) if version >= VERSION_MIN => Ok(version),
            found => Err(GitError::Version { found }),
        }
    }

    /// Whether the configuration allows this address.
    ///
    /// # Errors
    ///
    /// [`GitError::NotAllowed`] with what to do about it.
    pub fn check(&self, remote: &Remote) -> Result<(), GitError> {
        let protocol = remote.url.protocol();
        let allowed = &self.inner.options.protocols;
        let loopback = remote.url.host().is_some_and(crate::url::Host::is_loopback);
        let hint = match protocol {
            Protocol::Ssh => "ssh is not available yet; use the https address and a token",
            Protocol::Http if allowed.contains(&Protocol::Https) && loopback => return Ok(()),
            _ if allowed.contains(&protocol) => return Ok(()),
            Protocol::Http => "it is not encrypted; use https, or allow it in the configuration",
            _ => "allow it in the configuration",
        };
        Err(GitError::NotAllowed { protocol, remote: remote.url.to_string(), hint })
    }

    /// Runs one command that has to end with status 0.
    pub(crate) async fn run(&self, name: &'static str, call: Call<'_>) -> Result<Finished, GitError> {
        self.run_watched(name, call, || true).await
    }

    /// Like [`Git::run`]; the command is stopped once `watch` says `false`, as [`GitError::TooLarge`] without
    /// a limit, which the caller fills in.
    pub(crate) async fn run_watched(
        &self,
        name: &'static str,
        call: Call<'_>,
        watch: impl FnMut() -> bool,
    ) -> Result<Finished, GitError> {
        let finished = self.run_any(name, &call, watch).await?;
        if finished.status.success() {
            return Ok(finished);
        }
        let remote = call.remote.map(|remote| remote.url.to_string()).unwrap_or_default();
        let subject = Subject {
            command: name,
            remote: &remote,
            mirror: call.mirror.unwrap_or(Path::new("")),
            commit: call.commit,
        };
        let credentials = call.remote.and_then(|remote| remote.credentials.as_ref());
        let detail = detail(&finished.stderr, |text| {
            credentials.map_or_else(|| text.to_owned(), |credentials| credentials.redact(text))
        });
        Err(failure(subject, &finished.status.to_string(), detail))
    }

    /// Runs one command, however it ends.
    pub(crate) async fn run_any(
        &self,
        name: &'static str,
        call: &Call<'_>,
        watch: impl FnMut() -> bool,
    ) -> Result<Finished, GitError> {
        let lent = self.lend(call.remote)?;
        let mut command = tokio::process::Command::from(self.command(call, lent.as_ref())?);
        command.args(&call.args);
        let started = |pid| {
            if let Some(lock) = call.lock {
                orphan::record(lock, pid);
            }
        };
        run(command, call.time_max, call.stdout_bytes_max, started, watch).await.map_err(|stopped| {
            match stopped {
                Stopped::Start(source) => self.not_started(source),
                Stopped::Read(source) => {
                    GitError::io("read the output of", &self.inner.options.program, source)
                }
                Stopped::Output => {
                    let max = u64::try_from(call.stdout_bytes_max).unwrap_or(u64::MAX);
                    GitError::TooLarge { what: "git's output in bytes", max }
                }
                Stopped::Time => GitError::Timeout { command: name, after: call.time_max },
                Stopped::Watch => GitError::TooLarge { what: "the mirror in bytes", max: 0 },
            }
        })
    }

    pub(crate) fn not_started(&self, source: std::io::Error) -> GitError {
        GitError::Program { program: self.inner.options.program.clone(), source }
    }

    fn lend(&self, remote: Option<&Remote>) -> Result<Option<Lent>, GitError> {
        let Some(remote) = remote else { return Ok(None) };
        self.check(remote)?;
        match (&remote.credentials, remote.url.protocol()) {
            (Some(credentials), Protocol::Https | Protocol::Http) => {
                self.inner.vault.lend(credentials, &remote.url).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The program with its environment and settings, up to the subcommand.
    pub(crate) fn command(
        &self,
        call: &Call<'_>,
        lent: Option<&Lent>,
    ) -> Result<std::process::Command, GitError> {
        let inner = &*self.inner;
        let protocol = call.remote.map(|remote| remote.url.protocol());
        let global_config = match protocol {
            Some(Protocol::File) => inner.file_config.as_os_str(),
            _ => OsStr::new("/dev/null"),
        };
        let mut command = std::process::Command::new(&inner.options.program);
        command
            .env_clear()
            .env("PATH", &inner.options.search_path)
            .env("HOME", &inner.home)
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", global_config)
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            // The one transport that the address names, or none at all.
            .env("GIT_ALLOW_PROTOCOL", protocol.map_or("none", Protocol::as_str))
            .current_dir(&inner.home);
        let passed = |name: &str| PASSED_ENV.contains(&name);
        command.envs(
            inner.options.env.iter().filter(|(name, _)| passed(name)).map(|(name, value)| (name, value)),
        );
        for setting in SETTINGS {
            command.arg("-c").arg(setting);
        }
        if let Some(lent) = lent {
            command.arg("-c").arg(format!("credential.helper={}", lent.helper()));
        }
        if let Some(mirror) = call.mirror {
            let mut git_dir = OsString::from("--git-dir=");
            git_dir.push(mirror);
            command.arg(git_dir);
        }
        command.stdin(match call.lock {
            Some(lock) => {
                let lock =
                    lock.try_clone().map_err(|error| GitError::io("lock", Path::new("a mirror"), error))?;
                Stdio::from(lock)
            }
            None => Stdio::null(),
        });
        Ok(command)
    }
}
