//! [`Git`]: the git program, started in an environment of our making.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use gristmill_model::CommitId;

use crate::access::Access;
use crate::classify::{SshSaid, Subject, failure};
use crate::deploykey::DeployKey;
use crate::error::GitError;
use crate::limit::Limit;
use crate::orphan;
use crate::process::{Finished, Stopped, detail, run};
use crate::protocol::Protocol;
use crate::proxy::Proxy;
use crate::remote::{Host, Remote};
use crate::settings::SETTINGS;
use crate::vault::Vault;
use crate::version::{PARTIAL_VERSION_MIN, VERSION_MIN, Version};

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
    /// The ssh program, OpenSSH's; a bare name is looked up in [`GitOptions::search_path`].
    pub ssh_program: PathBuf,
    /// The proxy for http and https. Where there is one, proxies of [`GitOptions::env`] do not count.
    pub proxy: Option<Proxy>,
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
            ssh_program: PathBuf::from("ssh"),
            proxy: None,
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
    /// Becomes standard input, read from where it stands.
    pub(crate) input: Option<File>,
    /// How long it may take.
    pub(crate) time_max: Duration,
    /// How much it may write to standard output.
    pub(crate) stdout_bytes_max: usize,
    /// Asked for by id, for the error.
    pub(crate) commit: Option<CommitId>,
}

impl Call<'_> {
    /// A command that needs no more than its arguments.
    pub(crate) fn new(args: Vec<OsString>, time_max: Duration, stdout_bytes_max: usize) -> Self {
        let (mirror, remote, lock, input, commit) = (None, None, None, None, None);
        Call { args, mirror, remote, lock, input, time_max, stdout_bytes_max, commit }
    }
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

    /// The ssh program could not be started.
    pub(crate) fn ssh_not_started(&self, source: std::io::Error) -> GitError {
        GitError::Program { program: self.inner.options.ssh_program.clone(), source }
    }

    /// The same program, with another proxy for http and https. It hides the one in [`GitOptions::proxy`].
    #[must_use]
    pub fn through(&self, proxy: Proxy) -> Git {
        let Inner { options, home, file_config, vault } = &*self.inner;
        let options = GitOptions { proxy: Some(proxy), ..options.clone() };
        let (home, file_config, vault) = (home.clone(), file_config.clone(), vault.clone());
        Git { inner: Arc::new(Inner { options, home, file_config, vault }) }
    }

    /// Asks the program for its version, for `doctor` and for the start of a server.
    ///
    /// # Errors
    ///
    /// [`GitError::Program`] where it cannot be started, [`GitError::Version`] where it is older than
    /// [`VERSION_MIN`] or something else than git.
    pub async fn version(&self) -> Result<Version, GitError> {
        let call = Call::new(vec!["--version".into()], VERSION_TIME_MAX, 1000);
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

    /// Whether the program is new enough for partial mirrors. Asked each time: it may be replaced while we run.
    pub(crate) async fn check_partial(&self) -> Result<(), GitError> {
        match self.version().await? {
            found if found < PARTIAL_VERSION_MIN => Err(GitError::PartialVersion { found }),
            _ => Ok(()),
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
        let loopback = remote.url.host().is_some_and(Host::is_loopback);
        let hint = match protocol {
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
        let access = self.access(call.remote).await?;
        let finished = self.run_with(name, &call, &access, watch).await?;
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
        let cleaned = |text: &[u8]| detail(text, |text| self.redact(&access, text));
        let ssh = SshSaid::new(&cleaned(&access.said()));
        let error = failure(subject, &finished.status.to_string(), cleaned(&finished.stderr), &ssh);
        if let (GitError::Auth { .. }, Some(remote)) = (&error, call.remote) {
            self.refused(remote, &access).await;
        }
        Err(error)
    }

    /// Runs one command, however it ends.
    pub(crate) async fn run_any(
        &self,
        name: &'static str,
        call: &Call<'_>,
        watch: impl FnMut() -> bool,
    ) -> Result<Finished, GitError> {
        self.run_with(name, call, &self.access(call.remote).await?, watch).await
    }

    async fn run_with(
        &self,
        name: &'static str,
        call: &Call<'_>,
        access: &Access,
        watch: impl FnMut() -> bool,
    ) -> Result<Finished, GitError> {
        let mut command = tokio::process::Command::from(self.command(call, access)?);
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
                    GitError::TooLarge { what: Limit::Output, max }
                }
                Stopped::Time => GitError::Timeout { command: name, after: call.time_max },
                Stopped::Watch => GitError::TooLarge { what: Limit::Mirror, max: 0 },
            }
        })
    }

    pub(crate) fn not_started(&self, source: std::io::Error) -> GitError {
        GitError::Program { program: self.inner.options.program.clone(), source }
    }

    /// Lends what lets us in at `remote`.
    pub(crate) async fn access(&self, remote: Option<&Remote>) -> Result<Access, GitError> {
        let Some(remote) = remote else { return Ok(Access::default()) };
        self.check(remote)?;
        let inner = &*self.inner;
        match remote.url.protocol() {
            Protocol::Ssh => {
                let ssh =
                    remote.ssh.as_ref().ok_or_else(|| GitError::NoKey { remote: remote.url.to_string() })?;
                let key = DeployKey::to_openssh(&ssh.key);
                Access::ssh(inner.vault.lend()?, key.as_ref(), &ssh.host_keys.file_for(&remote.url))
            }
            Protocol::Https | Protocol::Http => {
                let credentials = match (&remote.credentials, &remote.helper) {
                    (Some(credentials), _) => Some(credentials.clone()),
                    (None, Some(helper)) => {
                        Some(helper.get(&remote.url, &inner.options.search_path, &inner.home).await?)
                    }
                    (None, None) => None,
                };
                let lines = credentials.map(|found| {
                    let line = found.store_line(&remote.url);
                    (found, line)
                });
                match (&lines, &inner.options.proxy) {
                    (None, None) => Ok(Access::default()),
                    (_, proxy) => Access::http(inner.vault.lend()?, lines, proxy.as_ref()),
                }
            }
            Protocol::Git | Protocol::File => Ok(Access::default()),
        }
    }

    /// The ssh program itself, in an environment and with the settings that git's connections have.
    pub(crate) fn ssh(&self, access: &Access) -> std::process::Command {
        let Inner { options, home, .. } = &*self.inner;
        let mut command = std::process::Command::new(&options.ssh_program);
        command.env_clear().env("PATH", &options.search_path).env("HOME", home).env("LC_ALL", "C");
        access.tell_ssh(&mut command);
        command.stdin(Stdio::null());
        command
    }

    /// A helper forgets the token that was refused, as git would tell it to.
    async fn refused(&self, remote: &Remote, access: &Access) {
        if let (None, Some(helper), Some(token)) = (&remote.credentials, &remote.helper, &access.credentials)
        {
            helper.erase(&remote.url, token, &self.inner.options.search_path, &self.inner.home).await;
        }
    }

    /// Leaves out what this command was lent, and the passwords of proxies in the environment.
    fn redact(&self, access: &Access, text: &str) -> String {
        let proxies =
            self.inner.options.env.iter().filter_map(|(_, value)| value.to_str()?.parse::<Proxy>().ok());
        proxies.fold(access.redact(text), |text, proxy| proxy.redact(&text))
    }

    /// The program with its environment and settings, up to the subcommand.
    pub(crate) fn command(
        &self,
        call: &Call<'_>,
        access: &Access,
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
        access.tell(&mut command, inner.options.ssh_program.as_os_str());
        if let Some(mirror) = call.mirror {
            let mut git_dir = OsString::from("--git-dir=");
            git_dir.push(mirror);
            command.arg(git_dir);
        }
        command.stdin(match call.input.as_ref().or(call.lock) {
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
