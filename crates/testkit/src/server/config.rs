//! The configuration files of a server under test.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// One `[[project]]` of the configuration, with one pipeline `archive`.
#[derive(Clone, Debug)]
pub struct Project {
    name: String,
    git: String,
    secret: Option<String>,
    poll: String,
    lines: String,
    pipeline: String,
}

impl Project {
    /// A project that is not polled, whose hook has this secret, and whose pipeline takes every branch.
    pub fn new(name: &str, git: &str, secret: &str) -> Project {
        Project {
            name: name.to_owned(),
            git: git.to_owned(),
            secret: Some(secret.to_owned()),
            poll: "off".to_owned(),
            lines: String::new(),
            pipeline: String::new(),
        }
    }

    /// Without a webhook.
    #[must_use]
    pub fn without_secret(self) -> Project {
        Project { secret: None, ..self }
    }

    /// With another secret for its hook.
    #[must_use]
    pub fn secret(self, secret: &str) -> Project {
        Project { secret: Some(secret.to_owned()), ..self }
    }

    /// How often the remote is looked at, such as `1s`.
    #[must_use]
    pub fn poll(self, period: &str) -> Project {
        Project { poll: period.to_owned(), ..self }
    }

    /// A further line of the project.
    #[must_use]
    pub fn with(mut self, line: &str) -> Project {
        let _ = writeln!(self.lines, "{line}");
        self
    }

    /// A further line of its pipeline.
    #[must_use]
    pub fn pipeline(mut self, line: &str) -> Project {
        let _ = writeln!(self.pipeline, "{line}");
        self
    }
}

/// The text of the configuration file; writes the secrets' files too.
pub(super) fn text(folder: &Path, data: &Path, settings: &str, projects: &[Project]) -> String {
    let mut text = format!("data_dir = \"{}\"\n", data.display());
    if !settings.contains("[server]") {
        text.push_str("[server]\nlisten = \"127.0.0.1:0\"\n");
    }
    text.push_str(settings);
    for project in projects {
        let Project { name, git, poll, lines, pipeline, .. } = project;
        let _ = write!(text, "\n[[project]]\nname = \"{name}\"\ngit = \"{git}\"\npoll = \"{poll}\"\n{lines}");
        if let Some(secret) = &project.secret {
            let file = format!("secret-{}", name.replace('/', "-"));
            write_secret(&folder.join(&file), secret);
            let _ = writeln!(text, "secret = {{ file = \"{file}\" }}");
        }
        let _ = write!(text, "[[project.pipeline]]\nkind = \"archive\"\n{pipeline}");
    }
    text
}

/// Only its owner may read it, or the server warns.
fn write_secret(path: &Path, secret: &str) {
    let mut options = std::fs::OpenOptions::new();
    let file = options.create(true).write(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(secret.as_bytes())).expect("the secret can be written");
}
