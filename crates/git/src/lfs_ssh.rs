//! Where an ssh server has its large files, and what lets us in there.
//!
//! git-lfs asks for that by one command, `git-lfs-authenticate` (its docs/api/server-discovery.md). We ask ourselves,
//! because git-lfs would go on to whatever address the answer names.

use std::path::Path;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::classify::{SshSaid, Subject, failure};
use crate::error::GitError;
use crate::process::{Stopped, detail, run};
use crate::program::Git;
use crate::protocol::Protocol;
use crate::remote::{Host, Remote};
use crate::url::RemoteUrl;

/// How the command is called in errors.
const NAME: &str = "lfs-authenticate over ssh";

/// The longest answer taken, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What an ssh server says of its large files. Its `Debug` hides it.
pub struct LfsAnswer(Vec<u8>);

impl LfsAnswer {
    /// What should be JSON: an action as in git-lfs's docs/api/batch.md. It has secrets, and is not to be trusted.
    pub fn json(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for LfsAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LfsAnswer(…)")
    }
}

impl Git {
    /// Asks the server of an ssh address where downloads of large files are asked for.
    ///
    /// # Errors
    ///
    /// Whatever keeps ssh from being let in; [`GitError::Failed`] where the server does not have the command,
    /// [`GitError::Protocol`] where it says more than 64 KiB or the address is not one of ssh.
    pub async fn lfs_authenticate(&self, remote: &Remote, time_max: Duration) -> Result<LfsAnswer, GitError> {
        let shown = remote.url.to_string();
        let (Protocol::Ssh, Some(host)) = (remote.url.protocol(), remote.url.host()) else {
            let detail = "only ssh servers are asked where their large files are".to_owned();
            return Err(GitError::Protocol { remote: shown, detail });
        };
        let access = self.access(Some(remote)).await?;
        let mut command = self.ssh(&access);
        if let Some(port) = remote.url.port() {
            command.args(["-p", &port.to_string()]);
        }
        if let Some(user) = remote.url.user() {
            command.args(["-l", user]);
        }
        let host = match host {
            Host::Name(name) => name.clone(),
            Host::V6(address) => address.to_string(),
        };
        command.args(["--", &host, &question(&remote.url)]);
        let done = run(command.into(), time_max, ANSWER_BYTES_MAX, |_| {}, || true).await;
        let finished = done.map_err(|stopped| match stopped {
            Stopped::Start(source) => self.ssh_not_started(source),
            Stopped::Read(source) => GitError::io("read the output of", Path::new("ssh"), source),
            Stopped::Output => {
                let detail = format!("its answer has more than {ANSWER_BYTES_MAX} bytes");
                GitError::Protocol { remote: shown.clone(), detail }
            }
            Stopped::Time | Stopped::Watch => GitError::Timeout { command: NAME, after: time_max },
        })?;
        if finished.status.success() {
            return Ok(LfsAnswer(finished.stdout));
        }
        let subject = Subject { command: NAME, remote: &shown, mirror: Path::new(""), commit: None };
        let said = SshSaid::new(&detail(&finished.stderr, str::to_owned));
        Err(failure(subject, &finished.status.to_string(), String::new(), &said))
    }
}

/// What the server's shell is given. A path of ssh has no character that means anything to a shell, save blanks and a
/// `~` at its beginning; many servers take no quotes, so there are none where none are needed.
fn question(url: &RemoteUrl) -> String {
    let path = match url.path().starts_with('/') {
        true => percent_decode_str(url.path()).decode_utf8_lossy().into_owned(),
        // The short form is not decoded.
        false => url.path().to_owned(),
    };
    let quote = if path.contains(' ') { "'" } else { "" };
    format!("git-lfs-authenticate {quote}{path}{quote} download")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_one_word() {
        for (url, expected) in [
            ("ssh://git@x.org/acme/shop.git", "git-lfs-authenticate /acme/shop.git download"),
            ("git@x.org:acme/shop.git", "git-lfs-authenticate acme/shop.git download"),
            ("ssh://git@x.org/a%20b", "git-lfs-authenticate '/a b' download"),
            ("git@x.org:a%20b", "git-lfs-authenticate a%20b download"),
        ] {
            match url.parse() {
                Ok(url) => assert_eq!(question(&url), expected),
                Err(error) => assert!(url.contains(":a%"), "{url}: {error}"),
            }
        }
        for url in ["ssh://git@x.org/a%27b", "ssh://git@x.org/a%3Bid", "git@x.org:a$(id)", "git@x.org:`id`"] {
            assert!(url.parse::<RemoteUrl>().is_err(), "{url}");
        }
    }
}
