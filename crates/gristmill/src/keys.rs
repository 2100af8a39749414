//! Projects' keys for ssh: made, kept sealed in the database, changed for others and dropped.
//!
//! A project whose repository is reached over ssh has a key of its own, made when it is imported, unless the
//! configuration gives one (`ssh_key`). The private half is opened for one command of git at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::bail;
use gristmill_db::deploy_key::{self, NewKey, SealedKey, StoredKey};
use gristmill_db::{Db, DbError, Tx, project};
use gristmill_git::{DeployKey, Protocol, RemoteUrl};
use gristmill_model::{DeployKeyId, ProjectId, ProjectName, ProjectSpec};

use crate::config::{Config, Surroundings};
use crate::seal::{self, Keyring, Owner, SealError};

/// How long a replaced key stays after its successor took its place, where nobody drops it sooner.
pub const OVERLAP: Duration = Duration::from_secs(7 * 86_400);
/// Rows read at once.
const PAGE: i64 = 100;
/// The most names in an error.
const NAMES_MAX: usize = 20;
/// The longest comment of a key, in bytes, as forges and ssh take it.
const COMMENT_BYTES_MAX: usize = 200;

/// A key that was stored and cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "the ssh key {fingerprint} of the project cannot be opened: {error}; put the server's key back that sealed it (`server.key` in the configuration), or make a new one: gristmill project rotate-key --lost {name}"
)]
pub struct LostKey {
    /// The project.
    pub name: ProjectName,
    /// The key's fingerprint.
    pub fingerprint: String,
    /// Why.
    pub error: SealError,
}

/// Whether a project has a key of its own: its repository is reached over ssh, and the configuration gives none.
/// `configured` is the name of the project or of its pattern.
fn is_kept(config: &Config, configured: &str) -> bool {
    let mut all = config.projects.iter().chain(&config.patterns);
    let found = all.find(|project| project.enabled && project.name() == configured);
    found.is_some_and(|project| project.ssh_key.is_none() && is_ssh(&project.spec))
}

/// Whether the repository is reached over ssh.
pub fn is_ssh(spec: &ProjectSpec) -> bool {
    spec.git.parse::<RemoteUrl>().is_ok_and(|url| url.protocol() == Protocol::Ssh)
}

/// The server's keys as configured. Where none is and the data folder has none yet, one is made, unless there is
/// something that only a key could open that is gone.
///
/// # Errors
///
/// Where a key cannot be read, or does not open what it should.
pub async fn keyring(db: &Db, config: &Config, around: &Surroundings) -> anyhow::Result<Keyring> {
    let opened = Keyring::open(config, &*around.env)?;
    if let Some(lost) = lost(db, config, opened.as_ref()).await? {
        bail!(lost);
    }
    match opened {
        Some(keyring) => Ok(keyring),
        None => Ok(Keyring::make(config, &seed(|| db.random()))?),
    }
}

/// The same for commands that mend: what cannot be opened is no error here.
pub fn keyring_as_it_is(db: &Db, config: &Config, around: &Surroundings) -> anyhow::Result<Keyring> {
    match Keyring::open(config, &*around.env)? {
        Some(keyring) => Ok(keyring),
        None => Ok(Keyring::make(config, &seed(|| db.random()))?),
    }
}

fn seed(random: impl Fn() -> u128) -> [u8; 32] {
    let mut seed = [0; 32];
    for half in seed.chunks_exact_mut(size_of::<u128>()) {
        half.copy_from_slice(&random().to_ne_bytes());
    }
    seed
}

/// Which keys of projects in use none of the server's keys opens, and what to do; `None` where there are none.
pub(crate) async fn lost(
    db: &Db,
    config: &Config,
    keyring: Option<&Keyring>,
) -> Result<Option<String>, DbError> {
    let mut lost = BTreeSet::new();
    let mut after = String::new();
    loop {
        let from = after.clone();
        let page = db.read(move |tx| deploy_key::sealed(tx, &from, PAGE)).await?;
        let Some(last) = page.last() else { break };
        after = last.id.to_string();
        let is_used = |key: &&SealedKey| {
            let name = key.name.as_str();
            // Before the import a project may still be a pattern's that has its own settings now.
            let is_own = config.projects.iter().any(|project| project.enabled && project.name() == name);
            is_kept(config, if is_own { name } else { key.pattern.as_deref().unwrap_or(name) })
        };
        let unknown = |key: &&SealedKey| !keyring.is_some_and(|keyring| keyring.knows(&key.sealed));
        lost.extend(page.iter().filter(unknown).filter(is_used).map(|key| key.name.clone()));
    }
    Ok(if lost.is_empty() { None } else { Some(told_lost(config, keyring.is_some(), &lost)) })
}

fn told_lost(config: &Config, has_key: bool, lost: &BTreeSet<ProjectName>) -> String {
    let names: Vec<&str> = lost.iter().take(NAMES_MAX).map(ProjectName::as_str).collect();
    let more = match lost.len() - names.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names = names.join(", ");
    let file = seal::default_file(config);
    let what = match (has_key, config.server.key.is_empty()) {
        (false, _) => format!("the server's key {} is gone", file.display()),
        (true, true) => format!("the server's key {} is not the one that sealed them", file.display()),
        (true, false) => "none of the keys in `server.key` is the one that sealed them".to_owned(),
    };
    format!(
        "the ssh keys of these projects cannot be opened: {names}{more}; {what}. Put the old key back from your backup (while keys are changed, `server.key` lists the new one and the old one). Where it is lost for good, so are those ssh keys: make new ones with `gristmill project rotate-key --lost NAME` and enter them at the forge"
    )
}

/// Seals again what another than the first of the server's keys sealed; how many.
pub async fn reseal(db: &Db, keyring: &std::sync::Arc<Keyring>) -> anyhow::Result<usize> {
    let mut count = 0;
    let mut after = String::new();
    loop {
        let from = after.clone();
        let page = db.read(move |tx| deploy_key::sealed(tx, &from, PAGE)).await?;
        let Some(last) = page.last() else { return Ok(count) };
        after = last.id.to_string();
        let due = |key: &SealedKey| keyring.knows(&key.sealed) && !keyring.is_newest(&key.sealed);
        for key in page.into_iter().filter(due) {
            let owner = Owner::DeployKey(key.project, key.id);
            let secret = match keyring.open_sealed(owner, &key.sealed) {
                Ok(secret) => secret,
                // One that is damaged is of no use in any form, and no reason not to seal the others.
                Err(error) => {
                    tracing::error!(project.name = %key.name, %error, "an ssh key cannot be opened, and stays sealed as it is");
                    continue;
                }
            };
            let new = keyring.seal(owner, &secret, db.random());
            count +=
                usize::from(db.transact(move |tx| deploy_key::reseal(tx, key.id, &key.sealed, &new)).await?);
        }
    }
}

/// Makes a key for each project that needs one and has none; whose they are.
pub async fn make_missing(
    db: &Db,
    config: &Config,
    keyring: &std::sync::Arc<Keyring>,
) -> anyhow::Result<Vec<ProjectName>> {
    let mut made = Vec::new();
    let mut after = String::new();
    loop {
        let from = after.clone();
        let page = db.read(move |tx| {
            let mut page = Vec::new();
            for project in project::list(tx, &from, PAGE)? {
                let has_key = !deploy_key::of_project(tx, project.id)?.is_empty();
                page.push((project, has_key));
            }
            Ok(page)
        });
        let page = page.await?;
        let Some((last, _)) = page.last() else { return Ok(made) };
        after = last.name.to_string();
        for (project, _) in page.iter().filter(|(project, has_key)| project.active && !has_key) {
            let configured =
                project.spec.pattern.as_ref().map_or(project.name.as_str(), |name| name.as_str());
            if !is_kept(config, configured) || !is_ssh(&project.spec) {
                continue;
            }
            let (keyring, id, name) = (keyring.clone(), project.id, project.name.clone());
            if db.transact(move |tx| add(tx, &keyring, id, &name)).await? {
                made.push(project.name.clone());
            }
        }
    }
}

/// Makes a project's key where it has none; whether it had none.
pub fn add(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    project: ProjectId,
    name: &ProjectName,
) -> Result<bool, DbError> {
    let mut comment = format!("gristmill {name}");
    // Names are ASCII.
    comment.truncate(COMMENT_BYTES_MAX);
    let key = DeployKey::generate(&seed(|| tx.random()), &comment).expect("a short comment of a name");
    let id = DeployKeyId::new(tx.now(), tx.random());
    let sealed =
        keyring.seal(Owner::DeployKey(project, id), key.to_openssh().as_ref().as_bytes(), tx.random());
    let (public_line, fingerprint) = (key.public_line(), key.fingerprint());
    deploy_key::add(tx, &NewKey { id, project, public_line, fingerprint, sealed })
}

/// Opens a stored key.
pub fn open(keyring: &Keyring, key: &StoredKey, name: &ProjectName) -> Result<DeployKey, LostKey> {
    let opened = keyring.open_sealed(Owner::DeployKey(key.project, key.id), &key.sealed);
    let read = opened.and_then(|text| DeployKey::from_openssh(&text).map_err(|_| SealError::Damaged));
    read.map_err(|error| LostKey { name: name.clone(), fingerprint: key.fingerprint.clone(), error })
}

/// What a rotation found.
#[derive(Debug, PartialEq, Eq)]
pub enum Rotated {
    /// There is a new key, and the one before is still tried where the new one is refused.
    Overlapping,
    /// There is a new key. What could not be opened is dropped.
    Replaced,
    /// There was none, and now there is one.
    First,
    /// A rotation is under way already.
    UnderWay,
}

/// Makes a new key for a project. With `drop_lost`, keys that cannot be opened are dropped.
pub fn rotate(
    tx: &mut Tx<'_>,
    keyring: &Keyring,
    project: ProjectId,
    name: &ProjectName,
    drop_lost: bool,
) -> anyhow::Result<Rotated> {
    let mut keys = deploy_key::of_project(tx, project)?;
    let mut dropped = 0;
    for key in &keys {
        let Err(lost) = open(keyring, key, name) else { continue };
        if !drop_lost {
            return Err(lost.into());
        }
        deploy_key::remove(tx, key.id)?;
        dropped += 1;
    }
    if dropped > 0 {
        keys = deploy_key::of_project(tx, project)?;
    }
    let rotated = match (keys.len(), dropped) {
        (0, 0) => Rotated::First,
        (0, _) => Rotated::Replaced,
        (1, _) if deploy_key::retire(tx, project)? => Rotated::Overlapping,
        // The current one was lost and the previous one is not: it stays what is tried second.
        (1, _) => Rotated::Overlapping,
        _ => return Ok(Rotated::UnderWay),
    };
    add(tx, keyring, project, name)?;
    Ok(rotated)
}

#[cfg(test)]
mod tests;
