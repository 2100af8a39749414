//! What one command is lent so that its remote lets it in, and how git is told.
//!
//! For ssh, git has the choice of `GIT_SSH` (a program, without arguments of ours) and `GIT_SSH_COMMAND` (which goes
//! through a shell). We take the second with a constant text, [`SSH_COMMAND`]: what differs from command to command
//! stands in variables, which a shell does not read again between double quotes. Arguments are not parsed either: ssh
//! reads a configuration file of ours ([`SSH_CONFIG`]) from its working directory, and in it the key and the host
//! keys have constant names without a path, so neither `%` nor `~` nor quotes of a path can mean anything to ssh.
//! With `-F` ssh reads neither the user's nor the system's configuration (ssh(1)).

use std::process::Command;

use crate::credentials::{Credentials, store_helper};
use crate::error::GitError;
use crate::proxy::Proxy;
use crate::vault::Lent;

/// `GIT_SSH_COMMAND`. Git adds ` "$@"` and gives it to `sh -c`.
///
/// What ssh says goes to a file: a server's words arrive there as they are, and must not be taken for git's word on
/// the state of our mirror. `ulimit -f` counts blocks of 512 bytes (POSIX), so a server that talks without end is
/// stopped after 1 MiB.
const SSH_COMMAND: &str =
    r#"cd "$GRISTMILL_SSH_DIR" && ulimit -f 2048 && exec 2>>said && exec "$GRISTMILL_SSH" -F config"#;

/// The whole of ssh's configuration. Each line is one of ssh_config(5); what a version does not know is left out by it.
///
/// `LogLevel DEBUG1` because only there ssh says which key an unknown server showed; those lines are not passed on.
const SSH_CONFIG: &str = "\
IgnoreUnknown KnownHostsCommand,SecurityKeyProvider
Host *
    User git
    BatchMode yes
    PreferredAuthentications publickey
    PubkeyAuthentication yes
    PasswordAuthentication no
    KbdInteractiveAuthentication no
    HostbasedAuthentication no
    GSSAPIAuthentication no
    IdentitiesOnly yes
    IdentityAgent none
    IdentityFile key
    AddKeysToAgent no
    PKCS11Provider none
    StrictHostKeyChecking yes
    UserKnownHostsFile known_hosts
    GlobalKnownHostsFile none
    KnownHostsCommand none
    UpdateHostKeys no
    VerifyHostKeyDNS no
    CheckHostIP no
    NoHostAuthenticationForLocalhost no
    CanonicalizeHostname no
    FingerprintHash sha256
    ForwardAgent no
    ForwardX11 no
    ClearAllForwardings yes
    GatewayPorts no
    Tunnel no
    PermitLocalCommand no
    ControlMaster no
    ControlPath none
    ControlPersist no
    ProxyCommand none
    ProxyJump none
    RequestTTY no
    EscapeChar none
    ConnectTimeout 30
    ConnectionAttempts 1
    ServerAliveInterval 15
    ServerAliveCountMax 4
    LogLevel DEBUG1
";

/// Names of the files in a lent folder.
const STORE: &str = "store";
const PROXY_CONFIG: &str = "gitconfig";
const SAID: &str = "said";

/// How much of the end of what ssh said is read, in bytes.
const SAID_BYTES_MAX: usize = 16 * 1024;

/// What a command is lent. Secrets lie on the disk until this is dropped.
#[derive(Default)]
pub(crate) struct Access {
    pub(crate) lent: Option<Lent>,
    /// Also for what errors must not show.
    pub(crate) credentials: Option<Credentials>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) ssh: bool,
}

impl Access {
    /// The files that ssh reads.
    pub(crate) fn ssh(lent: Lent, key: &str, known_hosts: &str) -> Result<Access, GitError> {
        lent.write("config", SSH_CONFIG.as_bytes())?;
        lent.write("key", key.as_bytes())?;
        lent.write("known_hosts", known_hosts.as_bytes())?;
        Ok(Access { lent: Some(lent), ssh: true, ..Access::default() })
    }

    /// The files that git reads for http and https. `store_line` is for git-credential-store(1).
    pub(crate) fn http(
        lent: Lent,
        credentials: Option<(Credentials, String)>,
        proxy: Option<&Proxy>,
    ) -> Result<Access, GitError> {
        if let Some((_, store_line)) = &credentials {
            lent.write(STORE, store_line.as_bytes())?;
        }
        if let Some(proxy) = proxy {
            lent.write(PROXY_CONFIG, proxy.config().as_bytes())?;
        }
        let credentials = credentials.map(|(credentials, _)| credentials);
        Ok(Access { lent: Some(lent), credentials, proxy: proxy.cloned(), ssh: false })
    }

    /// Tells git where things lie. `command` has its environment and settings, but no subcommand yet.
    pub(crate) fn tell(&self, command: &mut Command, ssh_program: &std::ffi::OsStr) {
        let Some(lent) = &self.lent else { return };
        if self.ssh {
            command
                .env("GIT_SSH_COMMAND", SSH_COMMAND)
                .env("GIT_SSH_VARIANT", "ssh")
                .env("GRISTMILL_SSH", ssh_program)
                .env("GRISTMILL_SSH_DIR", lent.dir());
        }
        if let Some(proxy) = &self.proxy {
            for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "NO_PROXY"] {
                command.env_remove(name);
            }
            command.env("GIT_CONFIG_GLOBAL", lent.path(PROXY_CONFIG)).env("no_proxy", proxy.no_proxy());
        }
        if self.credentials.is_some() {
            command.arg("-c").arg(format!("credential.helper={}", store_helper(&lent.path(STORE))));
        }
    }

    /// Tells ssh itself where things lie, where that is called without git.
    pub(crate) fn tell_ssh(&self, command: &mut Command) {
        if let Some(lent) = &self.lent {
            command.current_dir(lent.dir()).args(["-F", "config"]);
        }
    }

    /// The end of what ssh and the server behind it said.
    pub(crate) fn said(&self) -> Vec<u8> {
        let path = self.lent.as_ref().filter(|_| self.ssh).map(|lent| lent.path(SAID));
        // Without the file ssh did not even start, and git says so.
        let said = path.and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        said[said.len().saturating_sub(SAID_BYTES_MAX)..].to_vec()
    }

    /// Leaves out what nobody may see.
    pub(crate) fn redact(&self, text: &str) -> String {
        let text = match &self.credentials {
            Some(credentials) => credentials.redact(text),
            None => text.to_owned(),
        };
        match &self.proxy {
            Some(proxy) => proxy.redact(&text),
            None => text,
        }
    }
}
