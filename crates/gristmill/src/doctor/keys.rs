//! The server's key, and the ssh keys that it opens.

use gristmill_db::{Db, deploy_key, project};
use gristmill_git::DeployKey;

use super::Check;
use crate::config::{Config, Project, SecretSource, Surroundings};
use crate::database;
use crate::keys;
use crate::seal::{self, Keyring};

/// What there is to open, and what opens it.
pub(super) struct Keys {
    db: Option<Db>,
    keyring: Result<Option<Keyring>, String>,
}

impl Keys {
    /// Opens what is there. A database that cannot be opened has a check of its own.
    pub(super) async fn open(config: &Config, around: &Surroundings) -> Keys {
        let (at, env) = (config.clone(), around.env.clone());
        let opened = tokio::task::spawn_blocking(move || database::open_existing(&at, &*env).ok());
        let keyring = Keyring::open(config, &*around.env).map_err(|error| error.to_string());
        Keys { db: opened.await.ok().flatten(), keyring }
    }

    /// Whether the server's key is there and opens what it should.
    pub(super) async fn examine(&self, config: &Config) -> Vec<Check> {
        let name = "server key";
        let keyring = match &self.keyring {
            Ok(keyring) => keyring.as_ref(),
            Err(error) => return vec![Check::error(name, error.clone(), "")],
        };
        let made = SecretSource::File(seal::default_file(config));
        let sources = if config.server.key.is_empty() { vec![made] } else { config.server.key.clone() };
        let mut checks = Vec::new();
        let lost = match &self.db {
            Some(db) => keys::lost(db, config, keyring).await,
            None => Ok(None),
        };
        checks.push(match (lost, keyring, &sources[0]) {
            (Err(error), ..) => Check::error(name, error.to_string(), ""),
            (Ok(Some(lost)), ..) => Check::error(name, lost, ""),
            (Ok(None), None, source) => {
                Check::ok(name, format!("{source} is not there yet; the first start makes it"))
            }
            (Ok(None), Some(_), source) => Check::ok(
                name,
                format!("{source} opens what is sealed; keep a copy of it apart from the database's"),
            ),
        });
        for source in sources.iter().filter(|source| source.is_open_to_others()) {
            let text = format!("everybody on this machine can read the key in {source}");
            checks.push(Check::warning(name, text, format!("chmod 600 {source}")));
        }
        checks
    }

    /// The keys for a project's repository, those that are tried first in front.
    pub(super) async fn of(
        &self,
        project: &Project,
        configured: Option<&SecretSource>,
        around: &Surroundings,
    ) -> Result<Vec<DeployKey>, String> {
        if let Some(source) = configured {
            let bytes = source.resolve(&*around.env).map_err(|error| error.to_string())?;
            return Ok(vec![DeployKey::from_openssh(&bytes).map_err(|error| error.to_string())?]);
        }
        let none = || "it has no ssh key yet; the server makes one when it takes the project up".to_owned();
        let (Some(db), Ok(Some(keyring))) = (&self.db, &self.keyring) else { return Err(none()) };
        let name = project.spec.name.clone();
        let stored = db.read(move |tx| match project::by_name(tx, &name)? {
            Some(project) => deploy_key::of_project(tx, project.id),
            None => Ok(Vec::new()),
        });
        let stored = stored.await.map_err(|error| error.to_string())?;
        if stored.is_empty() {
            return Err(none());
        }
        let opened = stored.iter().map(|key| keys::open(keyring, key, &project.spec.name));
        opened.collect::<Result<_, _>>().map_err(|error| error.to_string())
    }
}
