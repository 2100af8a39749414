//! The configuration: `gristmill.toml` and the `projects.d/*.toml` beside it.
//!
//! In: files and a look-up for environment variables. Out: a [`Config`] in which everything is checked,
//! or [`ConfigErrors`] with everything that is wrong, by file and line. Relative paths are relative to
//! the folder of `gristmill.toml`, also in `projects.d`. Nothing here reads the environment or prints.

mod access;
mod collision;
mod database;
mod edit;
mod error;
mod fetch;
mod files;
mod network;
mod pipeline;
mod project;
mod reader;
mod secret;
mod server;
mod storage;
mod topic;
mod units;
mod url;
mod validate;
mod watch;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_forge::{HeaderName, TopicArn};
use gristmill_git::HostKeys;
use gristmill_model::{ProjectPattern, ProjectSpec};
use gristmill_outgoing::{Options, Reach};
use gristmill_storage::S3Settings;
use ipnet::IpNet;

pub use edit::{AddError, Added, NewProject, Prepared, TokenFrom, add_project, prepare_project};
pub use error::{ConfigErrors, Finding, Place};
pub use network::{Network, ProxySource};
pub use secret::{SecretError, SecretSource};
pub use watch::Watch;

use error::Findings;
use files::Files;
use reader::{Section, SourceFile};

/// The name of the configuration file where nobody named one.
pub const FILE_NAME: &str = "gristmill.toml";
/// The variable that may name the configuration file.
pub const FILE_VARIABLE: &str = "GRISTMILL_CONFIG";

/// What other machines are told of who calls.
const USER_AGENT: &str = concat!("gristmill/", env!("CARGO_PKG_VERSION"));

/// Looks an environment variable up.
pub type EnvLookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// What the configuration needs to know of the process it is read for.
#[derive(Clone)]
pub struct Surroundings {
    /// The current folder.
    pub folder: PathBuf,
    /// Looks an environment variable up.
    pub env: Arc<EnvLookup>,
    /// Where a system keeps the file: `/etc/gristmill/gristmill.toml`.
    pub system_file: PathBuf,
    /// How many processors there are.
    pub cores: usize,
    /// Whether secrets must be there. A person who lists runs need not be able to read them.
    pub needs_secrets: bool,
    /// How other machines are called, beyond what is configured. The program takes the system's names and root
    /// certificates; tests have their own.
    pub outgoing: Options,
}

impl Surroundings {
    /// A process in `folder` with the variables that `env` knows.
    pub fn new(
        folder: PathBuf,
        env: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Surroundings {
        Surroundings {
            folder,
            env: Arc::new(env),
            system_file: PathBuf::from("/etc/gristmill/gristmill.toml"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            needs_secrets: true,
            outgoing: Options::new(Reach::strangers(Vec::new()), USER_AGENT),
        }
    }

    /// The same for a command that uses no secret.
    #[must_use]
    pub fn without_secrets(&self) -> Surroundings {
        Surroundings { needs_secrets: false, ..self.clone() }
    }
}

/// Everything that is configured. All paths are absolute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The `[server]`.
    pub server: Server,
    /// Where everything lies that no other setting places: `gristmill-data`.
    pub data_dir: PathBuf,
    /// The `[database]`.
    pub database: DatabaseUrl,
    /// The `[storage]`.
    pub storage: StorageUrl,
    /// How a bucket is reached, where the storage is one.
    pub s3: S3Settings,
    /// The `[worker]`.
    pub worker: Worker,
    /// The `[network]`.
    pub network: Network,
    /// Every `[[project]]` of one repository, in the order of files and lines.
    pub projects: Vec<Project>,
    /// Every `[[project]]` that is a pattern.
    pub patterns: Vec<Project>,
    /// The files that were read, the main one first; none where there is none.
    pub files: Vec<PathBuf>,
    /// What is odd but does no harm yet.
    pub warnings: Vec<Finding>,
}

/// How the server is reached and what it takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Host and port.
    pub listen: String,
    /// The server's URL as others see it, without a slash at the end.
    pub public_url: Option<String>,
    /// Whether archives are served to everybody. By default only where nobody else can come: it listens
    /// on the loopback and has no `public_url`.
    pub anonymous_read: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The longest webhook body taken.
    pub body_bytes_max: u64,
    /// The most bytes of bodies that are held at once, over all deliveries.
    pub bodies_in_flight_bytes_max: u64,
    /// How long deliveries, and with them the ids that tell a replay, are kept; and other history.
    pub history_keep_days: i64,
    /// The keys that seal secrets in the database: the first seals, each opens. Where there are none, the one in the
    /// data folder does.
    pub key: Vec<SecretSource>,
}

/// Where the database is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DatabaseUrl {
    /// A file.
    Sqlite(PathBuf),
    /// A database of a PostgreSQL server.
    Postgres(PostgresAt),
}

/// A database of a PostgreSQL server, and what lets us in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PostgresAt {
    /// Its URL, without a password.
    pub url: String,
    /// Where the password is; the server may want none.
    pub password: Option<SecretSource>,
    /// The certificates that the server's must lead to; those that the system trusts, where none are named.
    pub ca: Option<PathBuf>,
}

/// Where blobs and public keys are: `file:` and an absolute path, or `s3://` and a bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StorageUrl(String);

impl StorageUrl {
    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a bucket.
    pub fn is_bucket(&self) -> bool {
        self.0.starts_with("s3:")
    }
}

/// How the work is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Worker {
    /// The most jobs that run at once.
    pub jobs_max: usize,
    /// The git program: a name to be found in `PATH`, or an absolute path.
    pub git: PathBuf,
    /// How long one call of git may take.
    pub git_timeout_seconds: i64,
    /// The largest mirror of a repository.
    pub repository_bytes_max: u64,
    /// The largest archive.
    pub archive_bytes_max: u64,
}

/// How webhooks are signed, where a forge leaves a choice.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HookSettings {
    /// GitHub: whether the legacy signature with SHA-1 is taken.
    pub allow_sha1: bool,
    /// Bitbucket Server: whether a password comes by HTTP's Basic scheme instead of a signature.
    pub basic: bool,
    /// Azure DevOps: the header that the secret comes in instead of as a password.
    pub header: Option<HeaderName>,
    /// CodeCommit: the one topic of SNS whose messages are taken. It has no secret: SNS signs.
    pub topic: Option<TopicArn>,
}

/// One `[[project]]`: what is stored of it, and what only the configuration knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Project {
    /// What is imported into the database. For a pattern: what is made of a repository called `sample`.
    pub spec: ProjectSpec,
    /// The pattern, where it is one.
    pub pattern: Option<ProjectPattern>,
    /// Whether anything is done for it.
    pub enabled: bool,
    /// The secrets of its webhook, any of which is good; without one it has no webhook.
    pub secrets: Vec<SecretSource>,
    /// From where its webhooks may come, besides being signed; from anywhere, where there are none.
    pub allow_from: Vec<IpNet>,
    /// Whether its webhooks may also come to `/gitpull`, the address of the systems before.
    pub gitpull: bool,
    /// How its webhooks are signed, where its forge leaves a choice.
    pub hook: HookSettings,
    /// The forge's token: git presents it over https, and the forge's API is asked with it.
    pub git_token: Option<SecretSource>,
    /// The user that git presents with the token, where the forge wants another than its usual one.
    pub git_username: Option<String>,
    /// A program that knows what git presents over https, and its arguments; empty where there is none.
    pub credential_helper: Vec<String>,
    /// The private key for ssh, where one is given instead of the one that is made for each project.
    pub ssh_key: Option<SecretSource>,
    /// The keys of ssh servers, besides those that forges publish.
    pub host_keys: HostKeys,
    /// The file that they were read from, where they stand in one.
    pub host_keys_file: Option<PathBuf>,
    /// The URL of the forge's API without a slash at its end, where it does not follow from `git` and `forge`.
    pub api: Option<String>,
    /// Whether the forge is told what became of a commit.
    pub statuses: bool,
    /// Where it is configured.
    pub place: Place,
}

impl Project {
    /// The name as it is configured: the project's, or the pattern's.
    pub fn name(&self) -> &str {
        self.pattern.as_ref().map_or(self.spec.name.as_str(), |pattern| pattern.name.as_str())
    }
}

impl Config {
    /// Reads the configuration: the file at `path`, else the one that `$GRISTMILL_CONFIG` names, else
    /// `./gristmill.toml`, else the system's. A file that was named must exist; where none was and none
    /// is found, there are no projects and everything else is at its default. The secrets of enabled
    /// projects must be there; they are looked at and forgotten.
    pub fn load(path: Option<&Path>, around: &Surroundings) -> Result<Config, ConfigErrors> {
        Config::from_files(&Files::read(path, around)?, around)
    }

    /// The file that [`Config::load`] reads or, where there is none yet, the one to make.
    pub fn file(path: Option<&Path>, around: &Surroundings) -> PathBuf {
        files::find(path, around).path
    }

    fn from_files(files: &Files, around: &Surroundings) -> Result<Config, ConfigErrors> {
        let findings = RefCell::new(Findings::default());
        let mut draft = Draft::new(&files.folder, around);
        for (at, (path, text)) in files.texts.iter().enumerate() {
            let file = SourceFile::new(path, text, &findings);
            if let Some(table) = file.parse(text) {
                draft.read(Section::top(&file, &table), at == 0 && files.has_main);
            }
        }
        let Draft { settings, projects, .. } = draft;
        validate::projects(&projects, &mut findings.borrow_mut());
        let paths: Vec<PathBuf> = files.texts.iter().map(|(path, _)| path.clone()).collect();
        let warnings = findings.into_inner().finish(&paths)?;
        let all = projects.into_iter().map(|parsed| parsed.project);
        let (patterns, projects) = all.partition(|project| project.pattern.is_some());
        Ok(Config {
            server: settings.server,
            data_dir: settings.data_dir,
            database: settings.database,
            storage: settings.storage,
            s3: settings.s3,
            worker: settings.worker,
            network: settings.network,
            projects,
            patterns,
            files: paths,
            warnings,
        })
    }
}

/// A configuration that is being read.
struct Draft<'a> {
    folder: &'a Path,
    around: &'a Surroundings,
    settings: server::Settings,
    projects: Vec<project::Parsed>,
}

impl Draft<'_> {
    fn new<'a>(folder: &'a Path, around: &'a Surroundings) -> Draft<'a> {
        let settings = server::Settings::default_in(folder, around.cores);
        Draft { folder, around, settings, projects: Vec::new() }
    }

    fn read(&mut self, mut top: Section<'_>, is_main: bool) {
        if is_main {
            self.settings = server::read(&mut top, self.folder, self.around);
        }
        if let Some(field) = top.get("project") {
            let expected = "a list of tables, each beginning with [[project]] in double brackets";
            for field in field.list(expected).unwrap_or_default() {
                if let Some(section) = field.section("[[project]]", expected) {
                    let parsed = project::read(section, self.folder, self.around);
                    self.projects.extend(parsed);
                }
            }
        }
        top.finish();
    }
}
