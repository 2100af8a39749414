//! Tests of the configuration as a whole; the folder and the environment are made for each.

mod accepted;
mod access;
mod buckets;
mod edits;
mod fetch;
mod hooks;
mod options;
mod projects;
mod refused;
mod rubbish;
mod shared_keys;
mod watched;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::{Config, ConfigErrors, Surroundings};

/// A folder with configuration files, and an environment.
struct Place {
    folder: tempfile::TempDir,
    env: BTreeMap<String, String>,
}

impl Place {
    fn new() -> Place {
        let env =
            BTreeMap::from([("SECRET".to_owned(), "s3cret".to_owned()), ("EMPTY".to_owned(), String::new())]);
        Place { folder: tempfile::tempdir().unwrap(), env }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn around(&self) -> Surroundings {
        let env = self.env.clone();
        let mut around = Surroundings::new(self.path(""), move |name| env.get(name).cloned());
        around.system_file = self.path("etc/gristmill.toml");
        around.cores = 3;
        around
    }

    fn load(&self) -> Result<Config, ConfigErrors> {
        Config::load(None, &self.around())
    }

    /// A text without the folder's random name.
    fn tidy(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.path("").display().to_string().trim_end_matches('/')), "")
    }
}

/// Loads one file.
fn load(text: &str) -> Result<Config, ConfigErrors> {
    let place = Place::new();
    place.write("gristmill.toml", text);
    place.load()
}

/// What a person reads about a file that is refused.
fn refusal(text: &str) -> String {
    let place = Place::new();
    place.write("gristmill.toml", text);
    match place.load() {
        Ok(config) => panic!("taken: {config:#?}"),
        Err(errors) => place.tidy(&errors.to_string()),
    }
}

/// A project with these lines, and a pipeline with those.
fn project(lines: &str, pipeline: &str) -> String {
    format!(
        "[[project]]\nname = \"acme/shop\"\ngit = \"https://github.com/acme/shop.git\"\n{lines}\n[[project.pipeline]]\nkind = \"archive\"\n{pipeline}\n"
    )
}
