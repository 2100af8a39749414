//! [`App`]: what the parts of a running program share.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use anyhow::{Context, bail};
use gristmill_db::boot::{self, Boot, Imported};
use gristmill_db::{Db, DbError, Tx, project};
use gristmill_git::{Git, GitOptions, Protocol};
use gristmill_model::{BootId, Clock, ProjectId, ProjectPattern, ProjectSpec};
use gristmill_outgoing::{Client, GateOptions, Reach};
use gristmill_storage::{Opening, Storage, StorageUrl};

use crate::backup;
use crate::boots;
use crate::config::{Config, Surroundings};
use crate::database;
use crate::folders;
use crate::forges::{Forges, carrier};
use crate::keys;
use crate::live::Live;
use crate::logs::Logs;
use crate::outage::Outage;
use crate::seal::Keyring;
use crate::steady::Steady;

/// What the parts of a running program share; clones share it.
#[derive(Clone)]
pub struct App(Arc<Inner>);

/// The parts.
pub struct Inner {
    /// The database.
    pub db: Db,
    /// Blobs and public keys.
    pub storage: Storage,
    /// Whether the storage answers.
    pub outage: Outage,
    /// The git program.
    pub git: Git,
    /// Makes calls to other machines.
    pub outgoing: Client,
    /// How git's gate to strangers' addresses is made. Like `outgoing` and `git` it has `[network]` as it was at the start.
    pub gate: GateOptions,
    /// The logs of jobs.
    pub logs: Logs,
    /// Where mirrors are. A changed `data_dir` counts from the next start on, like the database's place.
    pub mirrors: PathBuf,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// What this process knows by its monotonic clock.
    pub steady: Steady,
    /// This start of this program.
    pub boot: BootId,
    /// The place of this start among several programs on one database, where it has one.
    pub seat: OnceLock<Boot>,
    /// Whether it was asked to stop.
    pub draining: AtomicBool,
    /// The forges' APIs.
    pub forges: Forges,
    /// The configuration in force.
    live: RwLock<Arc<Live>>,
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    /// Opens the database, the storage and git, as configured, and imports the projects.
    pub async fn open(config: Config, around: &Surroundings) -> anyhow::Result<App> {
        let app = App::open_as(config.clone(), around, Opening::ToServe).await?;
        app.check_shown().await?;
        let can = app.storage.capabilities();
        tracing::info!(storage = config.storage.as_str(), "the storage: {can}");
        if can.bucket().is_some_and(|bucket| !bucket.versions) {
            tracing::warn!(
                "the bucket has no versions: CodePipeline cannot use it, and what is replaced is gone"
            );
        }
        app.take_up(config, around).await?;
        Ok(app)
    }

    /// Whether all that decides what readers see is as it was written. A damaged database serves nothing: what it said
    /// would look right.
    pub(crate) async fn check_shown(&self) -> anyhow::Result<()> {
        let db = self.db.clone();
        let faults = tokio::task::spawn_blocking(move || db.check_shown()).await??;
        match faults.first() {
            None => Ok(()),
            Some(first) => bail!(
                "the database is damaged ({first}{}); restore it from a backup, and check the disk; `gristmill doctor` says more",
                if faults.len() > 1 { format!("; and {} more", faults.len() - 1) } else { String::new() }
            ),
        }
    }

    /// The same without importing the projects: for commands beside a server, which alone decides what
    /// configuration is in force.
    pub async fn open_beside(config: Config, around: &Surroundings) -> anyhow::Result<App> {
        App::open_as(config, around, Opening::Briefly).await
    }

    /// The same, with as much asked of the storage as `how` says.
    pub(crate) async fn open_as(config: Config, around: &Surroundings, how: Opening) -> anyhow::Result<App> {
        let data = &config.data_dir;
        make_folders(data)?;
        let db = database::open_async(&config, &around.env).await?;
        if let Some(unfinished) = db.read(|tx| Ok(backup::refuse_unfinished(tx).err())).await? {
            return Err(unfinished);
        }
        let clock = db.clock().clone();
        let boot = BootId::new(clock.now(), db.random());
        let url: StorageUrl = config.storage.as_str().parse()?;
        let storage = Storage::open(&url, &config.s3, how)
            .await
            .with_context(|| format!("the storage {} cannot be opened", config.storage.as_str()))?;
        let options = git_options(&config, around, data.join("git"))?;
        let git = Git::new(options).context("git cannot be used")?;
        let (outgoing, gate) = outgoing(&config, around)?;
        let logs = Logs::of(&db, data.join("logs")).context("the folder of the logs cannot be made")?;
        let mirrors = data.join("mirrors");
        let keyring = own_keyring(&db, &config, around).await?;
        let live = RwLock::new(Arc::new(Live::new(config, &HashMap::new(), around, keyring)?));
        let forges = Forges::new(carrier::over(outgoing.clone()));
        Ok(App(Arc::new(Inner {
            db,
            storage,
            outage: Outage::default(),
            git,
            outgoing,
            gate,
            logs,
            mirrors,
            clock,
            steady: Steady::begin(),
            boot,
            seat: OnceLock::new(),
            draining: AtomicBool::new(false),
            forges,
            live,
        })))
    }

    /// With other parts, for tests. Nobody else has a clone yet.
    #[cfg(test)]
    pub(crate) fn with(self, change: impl FnOnce(&mut Inner)) -> App {
        let mut inner = Arc::into_inner(self.0).expect("the only clone");
        change(&mut inner);
        App(Arc::new(inner))
    }

    /// The configuration in force.
    pub fn live(&self) -> Arc<Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a configuration up: brings its projects into the database and learns their ids. One that
    /// cannot be used is refused, and the one before stays.
    pub async fn take_up(&self, config: Config, around: &Surroundings) -> anyhow::Result<()> {
        // Secrets that cannot be read are found before anything is written.
        let keyring = own_keyring(&self.db, &config, around).await?;
        Live::new(config.clone(), &HashMap::new(), around, keyring.clone())?;
        let enabled = config.projects.iter().filter(|project| project.enabled);
        let specs: Vec<ProjectSpec> = enabled.map(|project| project.spec.clone()).collect();
        let enabled = config.patterns.iter().filter(|project| project.enabled);
        let patterns: Vec<ProjectPattern> = enabled.filter_map(|project| project.pattern.clone()).collect();
        let import = Imported { config: boots::digest(&config), by: self.boot };
        let imported = self.db.transact(move |tx| {
            let changed = project::import(tx, &specs, &patterns)?;
            boot::imported(tx, import)?;
            Ok::<_, DbError>((changed, ids(tx, &specs)?))
        });
        let (changed, ids) = imported.await.context("the projects cannot be imported")?;
        for name in changed {
            tracing::info!(project.name = %name, "the settings of a project are imported");
        }
        if let Some(keyring) = &keyring {
            self.settle_keys(&config, keyring).await?;
        }
        self.enforce(Live::new(config, &ids, around, keyring)?);
        Ok(())
    }

    /// The same without importing: for a program beside servers, whose projects are in the database already. What the
    /// configuration says of secrets, tokens and folders is in force here.
    pub async fn follow(&self, config: Config, around: &Surroundings) -> anyhow::Result<()> {
        let keyring = own_keyring(&self.db, &config, around).await?;
        let enabled = config.projects.iter().filter(|project| project.enabled);
        let specs: Vec<ProjectSpec> = enabled.map(|project| project.spec.clone()).collect();
        let ids = self.db.read(move |tx| ids(tx, &specs)).await?;
        self.enforce(Live::new(config, &ids, around, keyring)?);
        Ok(())
    }

    /// Hooks see either the old configuration or the new one, never none.
    fn enforce(&self, live: Live) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
    }

    /// The folder of a project's mirror.
    pub fn mirror_folder(&self, id: ProjectId) -> PathBuf {
        self.mirrors.join(id.to_string())
    }

    /// Seals what an older key of the server sealed, and makes the ssh keys that are missing.
    async fn settle_keys(&self, config: &Config, keyring: &Arc<Keyring>) -> anyhow::Result<()> {
        let again = keys::reseal(&self.db, keyring).await?;
        if again > 0 {
            tracing::info!(keys = again, "ssh keys are sealed with the newest server key now");
        }
        for name in keys::make_missing(&self.db, config, keyring).await? {
            tracing::info!(project.name = %name, "an ssh key is made; `gristmill project key` says where to enter it");
        }
        Ok(())
    }
}

/// The ids of these projects, as far as they are in the database.
fn ids(tx: &mut Tx<'_>, specs: &[ProjectSpec]) -> Result<HashMap<String, ProjectId>, DbError> {
    let mut ids = HashMap::new();
    for spec in specs {
        if let Some(project) = project::by_name(tx, &spec.name)? {
            ids.insert(spec.name.to_string(), project.id);
        }
    }
    Ok(ids)
}

/// The server's keys, for a process that works with secrets.
async fn own_keyring(
    db: &Db,
    config: &Config,
    around: &Surroundings,
) -> anyhow::Result<Option<Arc<Keyring>>> {
    if !around.needs_secrets {
        return Ok(None);
    }
    Ok(Some(Arc::new(keys::keyring(db, config, around).await?)))
}

/// How git is started, here and by `doctor`. `folder` is for git alone.
pub(crate) fn git_options(
    config: &Config,
    around: &Surroundings,
    folder: PathBuf,
) -> anyhow::Result<GitOptions> {
    let mut options = GitOptions::new(folder);
    options.program = config.worker.git.clone();
    if let Some(path) = (around.env)("PATH") {
        options.search_path = path.into();
    }
    options.protocols = vec![Protocol::Https, Protocol::Http, Protocol::Git, Protocol::File, Protocol::Ssh];
    let passed = gristmill_git::PASSED_ENV.iter();
    options.env = passed.filter_map(|name| Some(((*name).to_owned(), (around.env)(name)?.into()))).collect();
    if around.needs_secrets {
        options.proxy = config.network.proxy(&*around.env).context("[network] proxy")?;
    }
    Ok(options)
}

/// What makes our own calls to other machines, and the gate for git's.
pub(crate) fn outgoing(config: &Config, around: &Surroundings) -> anyhow::Result<(Client, GateOptions)> {
    let mut options = around.outgoing.clone();
    options.reach = Reach::strangers(config.network.allow.clone());
    if around.needs_secrets {
        options.proxy = config.network.own_proxy(&*around.env).context("the proxy")?;
    }
    let gate = GateOptions { upstream: options.proxy.clone(), ..GateOptions::new(options.reach.clone()) };
    Ok((Client::new(options)?, gate))
}

/// The data folder and what this program alone looks into.
fn make_folders(data: &Path) -> anyhow::Result<()> {
    make_data_folder(data)?;
    for name in ["mirrors", "logs", "git"] {
        let folder = data.join(name);
        folders::make_private(&folder)
            .with_context(|| format!("the folder {} cannot be made for this user only", folder.display()))?;
    }
    Ok(())
}

fn make_data_folder(data: &Path) -> anyhow::Result<()> {
    folders::make_data(data).with_context(|| format!("the folder {} cannot be made", data.display()))
}

/// The right to be the one that works on a data folder; ends with the process.
pub struct DataLock {
    _file: File,
}

/// Takes the data folder for this process; `None` where another one has it.
pub fn lock_data(folder: &Path) -> anyhow::Result<Option<DataLock>> {
    make_data_folder(folder)?;
    let path = folder.join("lock");
    let file =
        folders::open_private(&path).with_context(|| format!("{} cannot be opened", path.display()))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(DataLock { _file: file })),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => bail!("{} cannot be locked: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_may_be_reached_is_decided_at_the_start_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gristmill.toml");
        let path = |name: &str| (name == "PATH").then(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
        let around = Surroundings::new(folder.path().to_owned(), path);
        let config = |network: &str| {
            std::fs::write(&file, format!("data_dir = \"data\"\n[network]\n{network}\n")).unwrap();
            Config::load(Some(&file), &around).unwrap()
        };
        let app = App::open(
            config("allow = [\"10.1.0.0/16\"]\nproxy = \"http://proxy.example.org:3128\""),
            &around,
        );
        let app = app.await.unwrap();
        app.take_up(config("allow = [\"10.2.0.0/16\"]"), &around).await.unwrap();
        let network = &app.live().config.network;
        assert!(network.proxy.is_none() && network.allow == ["10.2.0.0/16".parse().unwrap()]);
        // Git, our own calls and the gate agree.
        let reaches = |text: &str| app.gate.reach.check(text.parse().unwrap()).is_ok();
        assert_eq!((reaches("10.1.2.3"), reaches("10.2.2.3")), (true, false));
        assert!(app.gate.upstream.is_some());
        let client = format!("{:?}", app.outgoing);
        assert!(client.contains("10.1.0.0/16") && !client.contains("10.2.0.0/16"), "{client}");
    }
}
