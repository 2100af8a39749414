//! `project key`, `project rotate-key`: the ssh keys of projects, and where they are entered.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use gristmill_db::deploy_key::{self, KeyState, StoredKey};
use gristmill_db::{Db, project as projects};
use gristmill_forge::Forge;
use gristmill_git::DeployKey;
use gristmill_model::{PatternName, ProjectName};
use serde_json::{Value, json};

use super::{Context, check_owner, clicks, find_project, output, read, runtime, transact};
use crate::app::{App, lock_data};
use crate::clock::rfc3339;
use crate::config::{Config, SecretSource};
use crate::keys::{self, Rotated};

/// How long `project add` waits for a running server to take the project up.
const TAKEN_UP_MAX: Duration = Duration::from_secs(10);
const TAKEN_UP_AGAIN: Duration = Duration::from_millis(100);

#[derive(Args)]
pub(super) struct RotateArgs {
    /// The project
    name: ProjectName,
    /// Drop the key that was replaced, once the forge has the new one
    #[arg(long, conflicts_with = "lost")]
    finish: bool,
    /// Drop keys that cannot be opened any more, because the server's key that sealed them is lost
    #[arg(long)]
    lost: bool,
}

/// The configured key's place, where the project has no key of its own.
fn configured_key(config: &Config, project: &projects::Project) -> Option<SecretSource> {
    let pattern = project.spec.pattern.as_ref().map(PatternName::as_str);
    let name = pattern.unwrap_or(project.name.as_str());
    let mut all = config.projects.iter().chain(&config.patterns);
    all.find(|one| one.name() == name)?.ssh_key.clone()
}

/// What may be asked for a project's key at all.
fn check_ssh(project: &projects::Project) -> anyhow::Result<()> {
    if !keys::is_ssh(&project.spec) {
        bail!(
            "project `{}` is fetched from {}, which needs no ssh key; its `token` or `credential_helper` lets git in",
            project.name,
            project.spec.git
        );
    }
    Ok(())
}

/// `project key`.
pub(super) fn show(context: &Context, name: &ProjectName) -> anyhow::Result<()> {
    let db = context.db()?;
    let (project, keys) = read(&db, |tx| {
        let project = find_project(tx, name)?;
        let keys = deploy_key::of_project(tx, project.id)?;
        Ok((project, keys))
    })?;
    check_ssh(&project)?;
    if let Some(source) = configured_key(&context.config()?, &project) {
        let key = source.resolve(&*context.around.env)?;
        let key = DeployKey::from_openssh(&key).with_context(|| format!("the ssh key in {source}"))?;
        return print_configured(context, &project, &source, &key);
    }
    if keys.is_empty() {
        bail!(
            "project `{name}` has no ssh key yet; a running server makes one when it takes the project up, and so does `gristmill sync`"
        );
    }
    print(context, &project, &keys)
}

fn print_configured(
    context: &Context,
    project: &projects::Project,
    source: &SecretSource,
    key: &DeployKey,
) -> anyhow::Result<()> {
    let (line, fingerprint) = (key.public_line(), key.fingerprint());
    if context.format == output::Format::Json {
        let keys = [json!({ "state": "configured", "public": line, "fingerprint": fingerprint })];
        println!("{:#}", json!({ "project": project.name, "forge": project.spec.forge, "keys": keys }));
        return Ok(());
    }
    println!("the key is configured; it lies in {source}");
    println!();
    print!("{}", clicks::key_told(project.spec.forge.parse::<Forge>()?, &line, &fingerprint));
    Ok(())
}

fn key_json(key: &StoredKey) -> Value {
    json!({
        "state": key.state.as_str(),
        "public": key.public_line,
        "fingerprint": key.fingerprint,
        "created": rfc3339(key.created),
        "replaced": key.retired.map(rfc3339),
        "let_in": key.accepted.map(rfc3339),
        "refused": key.refused.map(rfc3339),
    })
}

/// The current key and where to enter it, and what became of both.
fn print(context: &Context, project: &projects::Project, keys: &[StoredKey]) -> anyhow::Result<()> {
    if context.format == output::Format::Json {
        let keys: Vec<Value> = keys.iter().map(key_json).collect();
        println!("{:#}", json!({ "project": project.name, "forge": project.spec.forge, "keys": keys }));
        return Ok(());
    }
    let current = keys.iter().find(|key| key.state == KeyState::Current).unwrap_or(&keys[0]);
    let forge: Forge = project.spec.forge.parse()?;
    print!("{}", clicks::key_told(forge, &current.public_line, &current.fingerprint));
    println!();
    let never = || "never".to_owned();
    let row = |key: &StoredKey| {
        vec![
            key.state.as_str().to_owned(),
            key.fingerprint.clone(),
            rfc3339(key.created),
            key.accepted.map_or_else(never, rfc3339),
            key.refused.map_or_else(never, rfc3339),
        ]
    };
    let rows: Vec<Vec<String>> = keys.iter().map(row).collect();
    print!("{}", output::table(&["key", "fingerprint", "made", "last let in", "last refused"], &rows));
    Ok(())
}

/// `project rotate-key`.
pub(super) fn rotate(context: &Context, args: &RotateArgs) -> anyhow::Result<()> {
    let config = context.config()?;
    let db = context.db()?;
    let name = args.name.clone();
    let project = read(&db, |tx| find_project(tx, &name))?;
    check_ssh(&project)?;
    if let Some(source) = configured_key(&config, &project) {
        bail!("project `{name}` uses the configured key in {source}; put another one there");
    }
    if args.finish {
        return finish(&db, &project);
    }
    let keyring = if args.lost {
        keys::keyring_as_it_is(&db, &config, &context.around)?
    } else {
        runtime()?.block_on(keys::keyring(&db, &config, &context.around))?
    };
    let (id, drop_lost, of) = (project.id, args.lost, name.clone());
    let rotated = transact(&db, move |tx| keys::rotate(tx, &keyring, id, &of, drop_lost))?;
    if rotated == Rotated::UnderWay {
        bail!(
            "a rotation is under way: the key before is still tried where the forge refuses the new one (`gristmill project key {name}` shows both); end it with `gristmill project rotate-key --finish {name}` first"
        );
    }
    let stored = read(&db, |tx| Ok(deploy_key::of_project(tx, id)?))?;
    print(context, &project, &stored)?;
    if context.format == output::Format::Text && rotated == Rotated::Replaced {
        println!();
        println!("A server that runs may still hold another server key: restart it.");
    }
    if context.format == output::Format::Text && rotated == Rotated::Overlapping {
        println!();
        println!(
            "Until the forge has the new key, the one before is used. When the new one is let in, remove the one"
        );
        println!("before at the forge, and here with `gristmill project rotate-key --finish {name}`.");
        let days = keys::OVERLAP.as_secs() / 86_400;
        println!(
            "Here it goes by itself {days} days after it was replaced, if the new one was let in by then."
        );
    }
    Ok(())
}

/// `project rotate-key --finish`.
fn finish(db: &Db, project: &projects::Project) -> anyhow::Result<()> {
    let (id, name) = (project.id, project.name.clone());
    let dropped = transact(db, move |tx| {
        let stored = deploy_key::of_project(tx, id)?;
        let current = stored.iter().find(|key| key.state == KeyState::Current);
        if stored.len() == 2 && current.is_some_and(|key| key.accepted <= key.refused) {
            bail!(
                "the new key of project `{name}` was not let in yet; enter it at the forge, wait for the next look (`gristmill project key {name}` tells of it), then finish"
            );
        }
        Ok(deploy_key::remove_previous(tx, id)?)
    })?;
    println!(
        "{}",
        if dropped { "the key before is dropped" } else { "there is no key before; nothing to do" }
    );
    Ok(())
}

/// What `project add` says of the key of the project it added.
pub(super) fn told_after_add(context: &Context, config: &Config, name: &ProjectName) -> anyhow::Result<()> {
    let Some(forge) = keeps_key(config, name)? else { return Ok(()) };
    println!();
    match first(context, config, name)? {
        Some(key) => print!("{}", clicks::key_told(forge, &key.public_line, &key.fingerprint)),
        None => println!(
            "The server makes the project's ssh key when it takes the project up; `gristmill project key {name}` then says where to enter it."
        ),
    }
    Ok(())
}

/// The forge of a project that has an ssh key made for it; `None` for all others.
pub(super) fn keeps_key(config: &Config, name: &ProjectName) -> anyhow::Result<Option<Forge>> {
    let found = config.projects.iter().find(|project| project.spec.name == *name);
    let found = found.filter(|project| keys::is_ssh(&project.spec) && project.ssh_key.is_none());
    Ok(found.map(|project| project.spec.forge.parse::<Forge>()).transpose()?)
}

/// The key that was made for a project which has just been added.
pub(super) fn first(
    context: &Context,
    config: &Config,
    name: &ProjectName,
) -> anyhow::Result<Option<StoredKey>> {
    runtime()?.block_on(first_key(context, config, name))
}

/// The key that the server makes; where none runs, it is made here.
async fn first_key(
    context: &Context,
    config: &Config,
    name: &ProjectName,
) -> anyhow::Result<Option<StoredKey>> {
    if check_owner(config).is_err() {
        return Ok(None);
    }
    let (app, _lock) = match lock_data(&config.data_dir)? {
        Some(lock) => {
            let around = crate::config::Surroundings { needs_secrets: true, ..context.around.clone() };
            (App::open(config.clone(), &around).await?, Some(lock))
        }
        None => (App::open_beside(config.clone(), &context.around).await?, None),
    };
    let tries = TAKEN_UP_MAX.as_millis() / TAKEN_UP_AGAIN.as_millis();
    for _ in 0..tries {
        let of = name.clone();
        let found = app.db.read(move |tx| match projects::by_name(tx, &of)? {
            Some(project) => deploy_key::of_project(tx, project.id),
            None => Ok(Vec::new()),
        });
        if let Some(key) = found.await?.into_iter().next() {
            return Ok(Some(key));
        }
        tokio::time::sleep(TAKEN_UP_AGAIN).await;
    }
    Ok(None)
}
