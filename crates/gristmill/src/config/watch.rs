//! [`Watch`]: whether the configuration changed.

use std::path::{Path, PathBuf};

use gristmill_model::Digest;

use super::files::Files;
use super::{Config, ConfigErrors, Place, ProxySource, SecretSource, Surroundings};

/// Looks whether the configuration's files, or the files with its secrets, changed since a
/// configuration was last taken up.
///
/// It compares contents, not times: the files are small, and a time misses two writes within one tick.
/// What environment variables hold is not part of it; these do not change while the program runs.
pub struct Watch {
    path: Option<PathBuf>,
    around: Surroundings,
    /// What the files held when they were last looked at.
    seen: Option<Seen>,
    /// Whether what was seen needs nothing more: its configuration was taken up, or told to be wrong.
    settled: bool,
    /// Why the configuration that was seen was not taken up, as it was last told.
    refusal: Option<String>,
    /// The main file, once there was one.
    had: Option<PathBuf>,
}

/// What the files held.
#[derive(PartialEq, Eq)]
struct Seen {
    files: Result<Digest, ConfigErrors>,
    /// The files that the configuration names for secrets.
    secret_files: Vec<PathBuf>,
    secrets: Digest,
}

impl Watch {
    /// Reads the configuration for the first time. The caller takes it up or ends.
    pub fn start(path: Option<&Path>, around: Surroundings) -> (Watch, Result<Config, ConfigErrors>) {
        let path = path.map(Path::to_owned);
        let mut watch = Watch { path, around, seen: None, settled: false, refusal: None, had: None };
        let config = watch.reload();
        (watch, config)
    }

    /// `None` while nothing changed. Else the new configuration, or why it cannot be used; the caller
    /// keeps the old one then, and is told once.
    ///
    /// A new configuration is offered again with every call until [`Watch::taken`] is called: what kept
    /// it from being taken up (a busy database, a secret that is not there yet) may pass by itself.
    pub fn check(&mut self) -> Option<Result<Config, ConfigErrors>> {
        let files = self.read();
        if self.settled && self.is_as_seen(&files) {
            return None;
        }
        let was = self.seen.take();
        let config = self.look(files);
        self.settled = config.is_err();
        if was != self.seen {
            self.refusal = None;
        }
        Some(config)
    }

    /// What [`Watch::check`] returned last is in force now.
    pub fn taken(&mut self) {
        self.settled = true;
        self.refusal = None;
    }

    /// What [`Watch::check`] returned last was not taken up. Whether `why` is news: it is not where the
    /// same files were refused for the same reason before.
    pub fn refused(&mut self, why: &str) -> bool {
        let is_news = self.refusal.as_deref() != Some(why);
        self.refusal = Some(why.to_owned());
        is_news
    }

    /// Reads the configuration again whether or not it changed, as when a person asks for it.
    pub fn reload(&mut self) -> Result<Config, ConfigErrors> {
        let files = self.read();
        self.settled = true;
        self.refusal = None;
        self.look(files)
    }

    /// A file that was there and is gone is no request to forget all projects: editors move the old
    /// file away before the new one is there.
    fn read(&mut self) -> Result<Files, ConfigErrors> {
        let files = Files::read(self.path.as_deref(), &self.around)?;
        if files.has_main {
            self.had = files.texts.first().map(|(path, _)| path.clone());
        } else if let Some(path) = &self.had {
            let what = "is gone; what it held stays in force (to have no projects, leave the file empty)";
            return Err(ConfigErrors::one(Some(Place::file(path)), what));
        }
        Ok(files)
    }

    fn is_as_seen(&self, files: &Result<Files, ConfigErrors>) -> bool {
        self.seen
            .as_ref()
            .is_some_and(|seen| seen.files == digest(files) && seen.secrets == contents(&seen.secret_files))
    }

    /// Remembers what the files hold and reads it.
    fn look(&mut self, files: Result<Files, ConfigErrors>) -> Result<Config, ConfigErrors> {
        let secret_files = files.as_ref().map(|files| self.secret_files(files)).unwrap_or_default();
        // Before the secrets are used: one that changes from here on is seen by the next look.
        let secrets = contents(&secret_files);
        self.seen = Some(Seen { files: digest(&files), secret_files, secrets });
        files.and_then(|files| Config::from_files(&files, &self.around))
    }

    /// The files that hold keys and the secrets of enabled projects, whether or not they are there.
    fn secret_files(&self, files: &Files) -> Vec<PathBuf> {
        let Ok(config) = Config::from_files(files, &self.around.without_secrets()) else {
            return Vec::new();
        };
        let mut paths = Vec::new();
        let mut sources = config.server.key;
        if let Some(ProxySource::Secret(source)) = config.network.proxy {
            sources.push(source);
        }
        let all = config.projects.into_iter().chain(config.patterns);
        for project in all.filter(|project| project.enabled) {
            sources.extend(project.secrets.into_iter().chain(project.git_token).chain(project.ssh_key));
            paths.extend(project.host_keys_file);
        }
        paths.extend(sources.into_iter().filter_map(|source| match source {
            SecretSource::File(path) => Some(path),
            SecretSource::Env(_) => None,
        }));
        paths
    }
}

fn digest(files: &Result<Files, ConfigErrors>) -> Result<Digest, ConfigErrors> {
    files.as_ref().map(Files::digest).map_err(Clone::clone)
}

/// Differs where the content of any file differs, or whether it can be read.
fn contents(files: &[PathBuf]) -> Digest {
    let nothing = |error: std::io::Error| (b"none".to_vec(), error.kind().to_string().into_bytes());
    let read = |path: &PathBuf| {
        super::secret::content(path).map_or_else(nothing, |content| (b"some".to_vec(), content))
    };
    let parts: Vec<Vec<u8>> =
        files.iter().map(read).flat_map(|(is_there, content)| [is_there, content]).collect();
    Digest::of_parts(parts.iter().map(Vec::as_slice))
}
