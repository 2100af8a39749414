//! How a project's repository is reached: with its token, its helper or its keys.

use gristmill_db::deploy_key::{self, StoredKey};
use gristmill_db::{DbError, project};
use gristmill_git::{
    DeployKey, DeployKeyError, GitError, HostKeys, Protocol, Remote, RemoteUrl, SshAccess, UrlError,
};
use gristmill_model::{PatternName, ProjectId, ProjectSpec, Timestamp};
use zeroize::Zeroizing;

use crate::app::App;
use crate::config::SecretError;
use crate::keys::{self, LostKey};
use crate::live::Access;
use crate::origin::Origin;

/// What is remembered of a key is written again after this long, in milliseconds: each look would write else.
const REMEMBERED_MS: i64 = 3_600_000;

/// Whether work that succeeded has asked the remote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asks {
    /// It has, so the remote let us in.
    Always,
    /// Only if something was not here already.
    IfNeeded,
}

/// Why a repository was not reached.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// The address is none.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Git or the remote.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The remote did not let a key in that was made here.
    #[error("{error}; its key is {fingerprint}: `gristmill project key {name}` says where to enter it")]
    NotLetIn {
        /// What it said.
        error: Box<GitError>,
        /// The key that was tried.
        fingerprint: String,
        /// The project.
        name: String,
    },
    /// The configured key cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The configured key is none.
    #[error(transparent)]
    Key(#[from] DeployKeyError),
    /// The stored key cannot be opened.
    #[error(transparent)]
    Lost(#[from] LostKey),
    /// No server key is here, and so no key of the project.
    #[error(
        "the server's key is not read by this command, and without it the project's ssh key cannot be opened"
    )]
    NoServerKey,
    /// What lets us in was configured for another server.
    #[error("{}", elsewhere(.name, *.is_newest))]
    Elsewhere {
        /// The project.
        name: String,
        /// Whether the project was imported so, and its new settings are about to be in force.
        is_newest: bool,
    },
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl ReachError {
    /// Whether the same may work later.
    pub fn is_transient(&self) -> bool {
        match self {
            ReachError::Git(error) => error.is_transient(),
            ReachError::NotLetIn { error, .. } => error.is_transient(),
            ReachError::Db(_) | ReachError::Secret(_) => true,
            ReachError::Elsewhere { is_newest, .. } => *is_newest,
            ReachError::Url(_) | ReachError::Key(_) | ReachError::Lost(_) | ReachError::NoServerKey => false,
        }
    }
}

fn elsewhere(name: &str, is_newest: bool) -> String {
    if is_newest {
        "the settings of the project are being changed; what lets us in at its new server is not in force yet"
            .to_owned()
    } else {
        format!(
            "the project's repository is at another server since this was asked for, and what lets us in there is not shown to the one before; push again, or: gristmill project trigger {name}"
        )
    }
}

impl App {
    /// What lets us in at the repository of these settings, besides a key that was made for the project.
    fn access(&self, spec: &ProjectSpec) -> Access {
        let configured = spec.pattern.as_ref().map_or(spec.name.as_str(), PatternName::as_str);
        self.live().access.get(configured).cloned().unwrap_or_default()
    }

    /// Does something with a project's repository. Where the project has two keys for ssh, the older one is tried
    /// where the newer is not let in. What the remote said of the keys is remembered. Whoever does something after
    /// the look, such as bringing large files, comes here too.
    ///
    /// # Errors
    ///
    /// Where the repository is not reached, or `work` fails.
    pub async fn reach<T, F, W>(
        &self,
        id: ProjectId,
        spec: &ProjectSpec,
        asks: Asks,
        work: F,
    ) -> Result<T, ReachError>
    where
        F: Fn(Remote) -> W,
        W: Future<Output = Result<T, GitError>>,
    {
        let (remote, needs_key) = self.without_made_key(id, spec).await?;
        let Some(host_keys) = needs_key else { return Ok(work(remote).await?) };
        let mut refused = None;
        for row in self.stored_keys(id, spec).await? {
            let key = self.open_key(&row, spec)?;
            let ssh = Some(SshAccess { key, host_keys: host_keys.clone() });
            match work(Remote { ssh, ..remote.clone() }).await {
                Err(error) if is_refusal(&error) => {
                    if !self.is_fresh(row.refused, row.accepted) {
                        tracing::info!(project.name = %spec.name, key = row.fingerprint, "the remote does not let an ssh key in");
                        self.db.transact(move |tx| deploy_key::refused(tx, row.id)).await?;
                    }
                    refused.get_or_insert((error, row.fingerprint));
                }
                Err(error) => return Err(error.into()),
                Ok(done) => {
                    if asks == Asks::Always && !self.is_fresh(row.accepted, row.refused) {
                        self.db.transact(move |tx| deploy_key::accepted(tx, row.id)).await?;
                    }
                    return Ok(done);
                }
            }
        }
        Err(match refused {
            Some((error, fingerprint)) => {
                ReachError::NotLetIn { error: Box::new(error), fingerprint, name: spec.name.to_string() }
            }
            None => GitError::NoKey { remote: remote.url.to_string() }.into(),
        })
    }

    /// Where a project's repository lies, with what lets us in: of two keys the one that the remote let in last.
    /// For other repositories of that server, once [`App::reach`] has been at this one.
    ///
    /// # Errors
    ///
    /// Where there is no such key.
    pub async fn remote(&self, id: ProjectId, spec: &ProjectSpec) -> Result<Remote, ReachError> {
        let (remote, needs_key) = self.without_made_key(id, spec).await?;
        let Some(host_keys) = needs_key else { return Ok(remote) };
        let mut rows = self.stored_keys(id, spec).await?;
        let is_let_in = |row: &StoredKey| row.accepted > row.refused;
        let at = rows.iter().position(is_let_in).unwrap_or(0);
        if rows.is_empty() {
            return Err(GitError::NoKey { remote: remote.url.to_string() }.into());
        }
        let key = self.open_key(&rows.swap_remove(at), spec)?;
        Ok(Remote { ssh: Some(SshAccess { key, host_keys }), ..remote })
    }

    /// The remote with all that the configuration gives; and the servers' keys, where a key of the project is
    /// needed besides.
    async fn without_made_key(
        &self,
        id: ProjectId,
        spec: &ProjectSpec,
    ) -> Result<(Remote, Option<HostKeys>), ReachError> {
        let url: RemoteUrl = spec.git.parse()?;
        let access = self.access(spec);
        self.check_origin(id, spec, &url, &access).await?;
        let Access { credentials, helper, host_keys, ssh_key, .. } = access;
        let mut remote = Remote { url, credentials, helper, ssh: None };
        if remote.url.protocol() != Protocol::Ssh {
            return Ok((remote, None));
        }
        let Some(source) = ssh_key else { return Ok((remote, Some(host_keys))) };
        let bytes = Zeroizing::new(source.resolve(&*self.live().env)?);
        remote.ssh = Some(SshAccess { key: DeployKey::from_openssh(&bytes)?, host_keys });
        Ok((remote, None))
    }

    /// What is configured is found by the project's name, and what is made by its id; the address may be of another
    /// revision of its settings. Keys and tokens are for the server they were meant for.
    async fn check_origin(
        &self,
        id: ProjectId,
        spec: &ProjectSpec,
        url: &RemoteUrl,
        access: &Access,
    ) -> Result<(), ReachError> {
        let is_ssh = url.protocol() == Protocol::Ssh;
        if access.credentials.is_none() && access.helper.is_none() && !is_ssh {
            return Ok(());
        }
        let origin = Origin::of(url);
        let configured = access.origin.as_ref().is_none_or(|configured| *configured == origin);
        // Of a project that is disabled nothing is configured. Its made keys are for where it was last.
        if configured && (access.origin.is_some() || !is_ssh) {
            return Ok(());
        }
        let newest = self.db.read(move |tx| project::by_id(tx, id)).await?;
        let is_newest = newest.is_some_and(|project| origin.has(&project.spec.git));
        if configured && is_newest {
            return Ok(());
        }
        Err(ReachError::Elsewhere { name: spec.name.to_string(), is_newest })
    }

    /// The project's keys, the newer first. One is made where there is none: the project may be one that a
    /// pattern made a moment ago.
    async fn stored_keys(&self, id: ProjectId, spec: &ProjectSpec) -> Result<Vec<StoredKey>, ReachError> {
        let found = self.db.read(move |tx| deploy_key::of_project(tx, id)).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        let keyring = self.live().keyring.clone().ok_or(ReachError::NoServerKey)?;
        let name = spec.name.clone();
        let made = self.db.transact(move |tx| {
            // It may be purged at this moment.
            if project::by_id(tx, id)?.is_some() {
                keys::add(tx, &keyring, id, &name)?;
            }
            deploy_key::of_project(tx, id)
        });
        Ok(made.await?)
    }

    fn open_key(&self, row: &StoredKey, spec: &ProjectSpec) -> Result<DeployKey, ReachError> {
        let keyring = self.live().keyring.clone().ok_or(ReachError::NoServerKey)?;
        Ok(keys::open(&keyring, row, &spec.name)?)
    }

    /// Whether it is remembered already, and nothing else has happened since.
    fn is_fresh(&self, this: Option<Timestamp>, other: Option<Timestamp>) -> bool {
        let now = self.clock.now().0;
        // What a clock that was set back shows as still to come is not fresh.
        this.is_some_and(|this| {
            this > other.unwrap_or_default() && (0..REMEMBERED_MS).contains(&now.saturating_sub(this.0))
        })
    }
}

/// Whether another key might be let in. Forges say "not found" of what a key may not see.
fn is_refusal(error: &GitError) -> bool {
    matches!(error, GitError::Auth { .. } | GitError::NotFound { .. })
}

#[cfg(test)]
mod tests;
