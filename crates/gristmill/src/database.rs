//! The database as it is configured: whether it is there, and how it is opened.

use std::sync::Arc;

use anyhow::{Context, bail};
use gristmill_db::{Db, PostgresUrl};

use crate::clock::{SystemClock, system_random};
use crate::config::{Config, DatabaseUrl, EnvLookup, PostgresAt};
use crate::folders;

/// What people call it.
pub(crate) fn shown(config: &Config) -> String {
    match &config.database {
        DatabaseUrl::Sqlite(path) => path.display().to_string(),
        DatabaseUrl::Postgres(at) => {
            at.url.parse::<PostgresUrl>().map_or("(not a URL)".to_owned(), |url| url.to_string())
        }
    }
}

/// Whether the first start is still to make it. Of a server's database only connecting tells.
pub(crate) fn is_missing(config: &Config) -> bool {
    matches!(&config.database, DatabaseUrl::Sqlite(path) if !path.exists())
}

/// Opens it, and makes a file that is missing. Blocks.
pub(crate) fn open(config: &Config, env: &EnvLookup) -> anyhow::Result<Db> {
    open_at(config, env, gristmill_db::dump::schema_known())
}

/// The same with the schema only as new as this, for rows of an older one.
pub(crate) fn open_at(config: &Config, env: &EnvLookup, schema: i64) -> anyhow::Result<Db> {
    let (clock, random) = (Arc::new(SystemClock), system_random());
    let opened = match &config.database {
        DatabaseUrl::Sqlite(path) => {
            folders::make_database(path, &config.data_dir)
                .with_context(|| format!("the database {} cannot be made", path.display()))?;
            Db::open_at(path, schema, clock, random)
        }
        DatabaseUrl::Postgres(at) => Db::connect_at(&server(at, env)?, schema, clock, random),
    };
    opened.with_context(|| format!("the database {} cannot be opened", shown(config)))
}

/// The same from the async runtime.
pub(crate) async fn open_async(config: &Config, env: &Arc<EnvLookup>) -> anyhow::Result<Db> {
    let (config, env) = (config.clone(), env.clone());
    tokio::task::spawn_blocking(move || open(&config, &*env)).await?
}

/// Opens one that is there, for commands beside a server.
pub(crate) fn open_existing(config: &Config, env: &EnvLookup) -> anyhow::Result<Db> {
    if is_missing(config) {
        bail!(
            "there is no database at {} yet; `gristmill serve` or `gristmill sync` makes it",
            shown(config)
        );
    }
    open(config, env)
}

fn server(at: &PostgresAt, env: &EnvLookup) -> anyhow::Result<PostgresUrl> {
    let mut url: PostgresUrl = at.url.parse()?;
    if let Some(source) = &at.password {
        let password = source.resolve(env).context("the database's password")?;
        let password = String::from_utf8(password)
            .map_err(|_| anyhow::anyhow!("the database's password in {source} is not text (UTF-8)"))?;
        url = url.with_password(&password);
    }
    if let Some(path) = &at.ca {
        let pem = std::fs::read(path)
            .with_context(|| format!("the database's certificates in {} cannot be read", path.display()))?;
        url = url.with_roots(&pem)?;
    }
    Ok(url)
}
