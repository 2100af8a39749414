//! [`Watch`]: whether the configuration changed.

use std::path::{Path, PathBuf};

use gristmill_model::Digest;

use super::files::Files;
use super::{Config, ConfigErrors, Place, Surroundings};

/// Looks whether the configuration's files changed since they were last read.
///
/// It compares contents, not times: the files are small, and a time misses two writes within one tick.
/// What environment variables and secrets' files hold is not part of it; these are read when needed.
pub struct Watch {
    path: Option<PathBuf>,
    around: Surroundings,
    /// What the files held when they were last read.
    seen: Result<Digest, ConfigErrors>,
    /// The main file, once there was one.
    had: Option<PathBuf>,
}

impl Watch {
    /// Reads the configuration for the first time.
    pub fn start(path: Option<&Path>, around: Surroundings) -> (Watch, Result<Config, ConfigErrors>) {
        let path = path.map(Path::to_owned);
        let mut watch = Watch { path, around, seen: Ok(Digest::of(b"")), had: None };
        let config = watch.reload();
        (watch, config)
    }

    /// `None` while nothing changed. Else the new configuration, or why it cannot be used; the caller
    /// keeps the old one then, and is told once.
    pub fn check(&mut self) -> Option<Result<Config, ConfigErrors>> {
        let files = self.read();
        let now = seen(&files);
        if now == self.seen {
            return None;
        }
        self.seen = now;
        Some(files.and_then(|files| Config::from_files(&files, &self.around)))
    }

    /// Reads the configuration again whether or not it changed, as when a person asks for it.
    pub fn reload(&mut self) -> Result<Config, ConfigErrors> {
        let files = self.read();
        self.seen = seen(&files);
        Config::from_files(&files?, &self.around)
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
}

fn seen(files: &Result<Files, ConfigErrors>) -> Result<Digest, ConfigErrors> {
    files.as_ref().map(Files::digest).map_err(Clone::clone)
}
