//! [`Live`]: the configuration in force, ready to be used.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context;
use gristmill_forge::api::{ApiBase, Credential};
use gristmill_forge::{Check, Forge, Secret, TopicArn};
use gristmill_git::{CredentialHelper, Credentials, DeployKey, HostKeys, PASSED_ENV};
use gristmill_model::{Digest, PatternName, ProjectId, ProjectPattern, ProjectSpec, RepoPath, Timestamp};
use ipnet::IpNet;
use zeroize::Zeroizing;

use crate::boots;
use crate::config::{Config, EnvLookup, HookSettings, Project, SecretSource, Surroundings};
use crate::forges::ApiAccess;
use crate::http::peer::is_within;
use crate::origin::Origin;
use crate::seal::Keyring;

/// Projects that one pattern may have: each is polled and has a mirror.
pub(crate) const PROJECTS_OF_PATTERN_MAX: i64 = 10_000;

/// The configuration in force, ready to be used.
pub struct Live {
    /// As it was read.
    pub config: Config,
    /// Its projects, as one number.
    pub digest: Digest,
    /// What hooks need, by the name of the project or pattern. Only those with a webhook are here.
    pub hooks: HashMap<String, Hook>,
    /// Who is let in at `/gitpull`.
    pub gitpull: Vec<Gate>,
    /// What fetching needs beyond the spec, by the name of the project or pattern.
    pub access: HashMap<String, Access>,
    /// The server's keys, where this process has them.
    pub(crate) keyring: Option<Arc<Keyring>>,
    /// Looks an environment variable up.
    pub(crate) env: Arc<EnvLookup>,
    /// How the APIs of the forges are reached, by the name of the project or pattern. Only those with a token are here.
    pub apis: HashMap<String, ApiAccess>,
}

/// What lets us in at a project's repository.
#[derive(Clone, Default)]
pub struct Access {
    /// The server that it was configured for, and that alone it is shown to. `None` where nothing is configured.
    pub origin: Option<Origin>,
    /// The token, for https.
    pub credentials: Option<Credentials>,
    /// Who is asked for one.
    pub helper: Option<CredentialHelper>,
    /// The keys of ssh servers.
    pub host_keys: HostKeys,
    /// Where the private key for ssh is, where it is not one that was made here. It is read when it is needed.
    pub ssh_key: Option<SecretSource>,
}

/// What a credential helper gets of the server's environment: where it finds its own settings, and what AWS's tools
/// read. The rest may be others' secrets.
const HELPER_ENV: &[&str] = &[
    "HOME",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "LANG",
    "LC_ALL",
    "TZ",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// What accepting webhooks needs.
pub struct Hook {
    /// What they are for.
    pub target: Target,
    /// Which forge sends.
    pub forge: Forge,
    /// The repository that payloads must name, where they are for one project.
    pub repository: RepoPath,
    /// Its secrets; any is good.
    pub secrets: Vec<Secret>,
    /// From where they may come; from anywhere, where there are none.
    pub allow_from: Vec<IpNet>,
    how: HookSettings,
}

/// What a webhook is for.
#[derive(Clone)]
pub enum Target {
    /// A project.
    Project(ProjectId),
    /// All repositories that a pattern covers.
    Pattern(Arc<ProjectPattern>),
}

/// The projects and patterns that take webhooks with one secret at `/gitpull`.
pub struct Gate {
    /// Their names.
    pub names: Vec<String>,
    forge: Forge,
    secret: Secret,
    how: HookSettings,
}

impl Hook {
    /// What its requests are checked against.
    pub fn check(&self, now: Timestamp) -> Check<'_> {
        self.how.check(Check::new(self.forge, &self.secrets, now))
    }

    /// Whether requests may come from there; an unknown address is on no list.
    pub fn lets_in(&self, client: Option<IpAddr>) -> bool {
        self.allow_from.is_empty() || client.is_some_and(|client| is_within(client, &self.allow_from))
    }

    /// The topic of SNS that it listens to, where it is one of CodeCommit.
    pub fn topic(&self) -> Option<&TopicArn> {
        self.how.topic.as_ref()
    }

    /// The project, where this is the webhook of one project and of this repository.
    pub fn project_of(&self, forge: Forge, repository: &RepoPath) -> Option<ProjectId> {
        let Target::Project(id) = self.target else { return None };
        (self.forge == forge && is_same(&self.repository, repository)).then_some(id)
    }
}

impl Gate {
    /// What its requests are checked against.
    pub fn check(&self, now: Timestamp) -> Check<'_> {
        self.how.check(Check::new(self.forge, std::slice::from_ref(&self.secret), now))
    }
}

impl HookSettings {
    fn check<'a>(&'a self, check: Check<'a>) -> Check<'a> {
        let (header, topic_arn) = (self.header.as_ref(), self.topic.as_ref());
        Check { allow_sha1: self.allow_sha1, basic: self.basic, header, topic_arn, ..check }
    }
}

/// Forges compare names without regard to case.
fn is_same(left: &RepoPath, right: &RepoPath) -> bool {
    left.as_str().eq_ignore_ascii_case(right.as_str())
}

impl Live {
    /// Reads the secrets. `ids` are those of the projects that are in the database.
    pub(crate) fn new(
        config: Config,
        ids: &HashMap<String, ProjectId>,
        around: &Surroundings,
        keyring: Option<Arc<Keyring>>,
    ) -> anyhow::Result<Live> {
        let (mut hooks, mut access, mut apis) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut gates: Vec<((Forge, &SecretSource, &HookSettings), Gate)> = Vec::new();
        let all = config.projects.iter().chain(&config.patterns);
        for project in all.filter(|project| project.enabled && around.needs_secrets) {
            let name = project.name().to_owned();
            let of_project = || format!("project `{name}` ({})", project.place);
            access.insert(name.clone(), Access::of(project, around).with_context(of_project)?);
            if let Some(api) = api_access(project, around).with_context(of_project)? {
                apis.insert(name.clone(), api);
            }
            let forge: Forge = project.spec.forge.parse().with_context(of_project)?;
            let secrets = secrets(project, forge, around).with_context(of_project)?;
            let pattern = project.pattern.clone().map(|pattern| Target::Pattern(Arc::new(pattern)));
            let Some(target) = pattern.or_else(|| ids.get(&name).copied().map(Target::Project)) else {
                continue;
            };
            for (source, secret) in project.secrets.iter().zip(&secrets).filter(|_| project.gitpull) {
                let key = (forge, source, &project.hook);
                match gates.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, gate)) => gate.names.push(name.clone()),
                    None => {
                        let (secret, how) = (secret.clone(), project.hook.clone());
                        gates.push((key, Gate { names: vec![name.clone()], forge, secret, how }));
                    }
                }
            }
            if !secrets.is_empty() || project.hook.topic.is_some() {
                let (repository, how) = (project.spec.repository.clone(), project.hook.clone());
                let allow_from = project.allow_from.clone();
                hooks.insert(name, Hook { target, forge, repository, secrets, allow_from, how });
            }
        }
        let gitpull = gates.into_iter().map(|(_, gate)| gate).collect();
        let digest = boots::digest(&config);
        Ok(Live { config, digest, hooks, gitpull, access, apis, keyring, env: around.env.clone() })
    }

    /// Whether the project, or the pattern that it was made from, is configured here.
    pub fn knows(&self, spec: &ProjectSpec) -> bool {
        self.access.contains_key(spec.pattern.as_ref().map_or(spec.name.as_str(), PatternName::as_str))
    }

    /// The enabled projects of a repository, in the order of the configuration, with their webhooks.
    pub fn projects_of(&self, forge: Forge, repository: &RepoPath) -> Vec<Option<&Hook>> {
        let is_of = |project: &&Project| {
            let spec = &project.spec;
            project.enabled && spec.forge == forge.name() && is_same(&spec.repository, repository)
        };
        self.config.projects.iter().filter(is_of).map(|project| self.hooks.get(project.name())).collect()
    }
}

impl Access {
    /// Reads the token, and looks whether the key can be read.
    pub(crate) fn of(project: &Project, around: &Surroundings) -> anyhow::Result<Access> {
        if let Some(source) = &project.ssh_key {
            DeployKey::from_openssh(&Zeroizing::new(source.resolve(&*around.env)?))
                .with_context(|| format!("the ssh key in {source}"))?;
        }
        Ok(Access {
            origin: Some(origin(project)?),
            credentials: token(project, around)?,
            helper: helper(project, around)?,
            host_keys: project.host_keys.clone(),
            ssh_key: project.ssh_key.clone(),
        })
    }
}

/// Where the project is fetched from; of a pattern all are, for only the end of the path has the repository's name.
fn origin(project: &Project) -> anyhow::Result<Origin> {
    Ok(Origin::of(&project.spec.git.parse()?))
}

fn helper(project: &Project, around: &Surroundings) -> anyhow::Result<Option<CredentialHelper>> {
    if project.credential_helper.is_empty() {
        return Ok(None);
    }
    let command = project.credential_helper.iter().map(Into::into).collect();
    let names = HELPER_ENV.iter().chain(PASSED_ENV);
    let env = names.filter_map(|name| Some(((*name).into(), (around.env)(name)?.into()))).collect();
    CredentialHelper::new(command, env).context("the credential helper cannot be started so").map(Some)
}

fn token(project: &Project, around: &Surroundings) -> anyhow::Result<Option<Credentials>> {
    let Some(source) = &project.git_token else { return Ok(None) };
    let user = project.git_username.clone().unwrap_or(usual_user(project).to_owned());
    let token = String::from_utf8(source.resolve(&*around.env)?).ok();
    let credentials = token.and_then(|token| Credentials::new(user, token));
    credentials.context("the token has characters that no token has").map(Some)
}

/// The user that a token goes with where none is configured. Most forges take any; Bitbucket Cloud knows its access tokens
/// by this one ("Using access tokens" of its support pages).
fn usual_user(project: &Project) -> &'static str {
    if project.spec.forge == Forge::Bitbucket.name() { "x-token-auth" } else { "x-access-token" }
}

/// How the API of the project's forge is reached, where it may be asked.
pub(crate) fn api_access(project: &Project, around: &Surroundings) -> anyhow::Result<Option<ApiAccess>> {
    let credential = match &project.git_token {
        Some(source) => {
            let token = String::from_utf8(source.resolve(&*around.env)?).ok().unwrap_or_default();
            Some(Credential::new(&token, project.git_username.as_deref())?)
        }
        None if project.spec.fetch.is_git() => return Ok(None),
        None => None,
    };
    let base = project.api.as_deref().map(ApiBase::given).transpose()?;
    Ok(Some(ApiAccess { origin: origin(project)?, base, credential, statuses: project.statuses }))
}

fn secrets(project: &Project, forge: Forge, around: &Surroundings) -> anyhow::Result<Vec<Secret>> {
    let mut secrets = Vec::with_capacity(project.secrets.len());
    for source in &project.secrets {
        let secret = Secret::new(source.resolve(&*around.env)?)?;
        secret.check(forge, project.hook.basic)?;
        secrets.push(secret);
    }
    Ok(secrets)
}
