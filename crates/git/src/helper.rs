//! [`CredentialHelper`]: a program that knows the token.
//!
//! It speaks the protocol of gitcredentials(7): the action as its last argument, attributes as `key=value` lines.
//! We start it ourselves instead of naming it to git, which would put it through a shell, and which would hand it
//! what is asked for by redirects too. What it answers is lent to git like a configured token, bound to the
//! address it was asked for.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::credentials::Credentials;
use crate::error::GitError;
use crate::process::{Stopped, run};
use crate::url::RemoteUrl;

/// How long it may take. Some ask a service in the network.
const TIME_MAX: Duration = Duration::from_secs(60);

/// How much it may answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How many arguments it may be given.
const ARGUMENTS_MAX: usize = 64;

/// A program and its arguments, run without a shell.
#[derive(Clone)]
pub struct CredentialHelper {
    program: OsString,
    arguments: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
}

impl CredentialHelper {
    /// `command` is the program (an absolute path, or a bare name that is looked up in `PATH`) and its arguments;
    /// `get` is added as the last one, `erase` after a token was refused. It gets `env`, `PATH`, `HOME` where `env`
    /// has none, and nothing else: what it needs, such as the name of a profile, the caller passes on.
    ///
    /// # Errors
    ///
    /// `None` where there is no program, it is a relative path or begins with `-`, or a byte is NUL.
    pub fn new(command: Vec<OsString>, env: Vec<(OsString, OsString)>) -> Option<CredentialHelper> {
        let no_nul = |text: &OsString| !text.as_encoded_bytes().contains(&0);
        let named = |(name, value): &(OsString, OsString)| {
            !name.is_empty() && !name.as_encoded_bytes().contains(&b'=') && no_nul(name) && no_nul(value)
        };
        let good = command.len() <= ARGUMENTS_MAX && command.iter().all(no_nul) && env.iter().all(named);
        let mut words = command.into_iter();
        let program = words.next().filter(|program| !program.is_empty() && good)?;
        let path = Path::new(&program);
        let is_bare = path.components().count() == 1 && !program.as_encoded_bytes().contains(&b'/');
        let is_option = program.as_encoded_bytes().starts_with(b"-");
        let is_program = (path.is_absolute() || is_bare) && !is_option;
        is_program.then(|| CredentialHelper { program, arguments: words.collect(), env })
    }

    /// Asks for what lets us in at `url`.
    pub(crate) async fn get(
        &self,
        url: &RemoteUrl,
        path: &OsStr,
        home: &Path,
    ) -> Result<Credentials, GitError> {
        let answer = self.run("get", &attributes(url), path, home).await?;
        parse(&answer).ok_or_else(|| self.failed("its answer has no username and password that can be used"))
    }

    /// Tells it that what it answered was refused, so that it forgets it. What becomes of that is its own matter.
    pub(crate) async fn erase(&self, url: &RemoteUrl, refused: &Credentials, path: &OsStr, home: &Path) {
        let (username, token) = refused.parts();
        let input = format!("{}username={username}\npassword={token}\n", attributes(url));
        if let Err(error) = self.run("erase", &input, path, home).await {
            tracing::debug!(error = %error, "a credential helper was not told that its token was refused");
        }
    }

    async fn run(&self, action: &str, input: &str, path: &OsStr, home: &Path) -> Result<Vec<u8>, GitError> {
        // A file without a name: nobody waits for a helper that does not read.
        let stdin = tempfile::tempfile()
            .and_then(|mut file| {
                file.write_all(input.as_bytes())?;
                file.rewind()?;
                Ok(file)
            })
            .map_err(|error| GitError::io("write a question for", Path::new(&self.program), error))?;
        let mut command = std::process::Command::new(&self.program);
        command.env_clear().env("PATH", path).env("HOME", home).envs(self.env.iter().cloned());
        command.args(&self.arguments).arg(action).current_dir(home).stdin(Stdio::from(stdin));
        let finished = run(command.into(), TIME_MAX, ANSWER_BYTES_MAX, |_| {}, || true).await;
        // Nothing of what it wrote is repeated: it may be the token.
        match finished {
            Ok(finished) if finished.status.success() => Ok(finished.stdout),
            Ok(finished) => Err(self.failed(&format!("it ended with {}", finished.status))),
            Err(Stopped::Start(error)) => Err(self.failed(&format!("it cannot be started: {error}"))),
            Err(Stopped::Time) => Err(self.failed("it did not answer within a minute")),
            Err(Stopped::Output) => Err(self.failed("it answered more than 64 KiB")),
            Err(Stopped::Read(_) | Stopped::Watch) => Err(self.failed("its answer cannot be read")),
        }
    }

    fn failed(&self, why: &str) -> GitError {
        let program = Path::new(&self.program).display().to_string();
        GitError::Helper { program, detail: why.to_owned() }
    }
}

/// The question, ended by an empty line. Addresses have no control characters.
fn attributes(url: &RemoteUrl) -> String {
    let host = url.host().map(ToString::to_string).unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let path = url.path().trim_start_matches('/');
    format!("protocol={}\nhost={host}{port}\npath={path}\n", url.protocol())
}

/// `username=` and `password=` of an answer. As git has it, a later line counts instead of an earlier one.
fn parse(answer: &[u8]) -> Option<Credentials> {
    let text = std::str::from_utf8(answer).ok()?;
    let (mut username, mut password) = (None, None);
    for line in text.lines().take_while(|line| !line.is_empty()) {
        match line.split_once('=')? {
            ("username", value) => username = Some(value),
            ("password", value) => password = Some(value),
            _ => {}
        }
    }
    Credentials::new(username?, password?)
}

impl fmt::Debug for CredentialHelper {
    /// Arguments and environment may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialHelper").field("program", &self.program).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_needs_both_parts() {
        for (answer, good) in [
            (&b"username=me\npassword=t0ken\n"[..], true),
            (b"protocol=https\nhost=x\nusername=me\npassword=t=ken\npath=\n", true),
            (b"username=me\npassword=a\nquit=1\n\nrubbish", true),
            (b"", false),
            (b"username=me\n", false),
            (b"password=t0ken\n", false),
            (b"username=me\npassword=\n", false),
            (b"username=me\npassword=a\rb\n", false),
            (b"username=m:e\npassword=a\n", false),
            (b"username=me\nrubbish\npassword=a\n", false),
            (b"username=me\npassword=\xff\n", false),
        ] {
            assert_eq!(parse(answer).is_some(), good, "{}", String::from_utf8_lossy(answer));
        }
    }

    #[test]
    fn a_question_names_the_address() {
        let question = |url: &str| attributes(&url.parse().expect(url));
        assert_eq!(
            question("https://example.org/a/b.git"),
            "protocol=https\nhost=example.org\npath=a/b.git\n"
        );
        assert_eq!(question("http://[::1]:80/a"), "protocol=http\nhost=[::1]:80\npath=a\n");
    }
}
