//! Git, and every project's remote, secrets and webhook.

use std::time::Duration;

use gristmill_git::{
    Git, GitError, ListLimits, PARTIAL_VERSION_MIN, Protocol, Remote, RemoteUrl, SshAccess, VERSION_MIN,
};
use gristmill_model::FetchBy;

use super::keys::Keys;
use super::{Check, api};
use crate::app::git_options;
use crate::config::{Config, Project, Surroundings};
use crate::live::Access;

/// How long one remote may take to answer.
const REMOTE_MAX: Duration = Duration::from_secs(10);
/// How many remotes are asked at once.
const AT_ONCE: usize = 8;

/// Looks at git, then at all enabled projects.
pub(super) async fn examine(config: &Config, around: &Surroundings, keys: &Keys) -> Vec<Check> {
    // A folder of our own: the server's is in use, or not there yet.
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => return vec![Check::error("git", format!("no temporary folder: {error}"), "")],
    };
    let options = git_options(config, around, folder.path().to_owned());
    let git = match options.and_then(|options| Ok(Git::new(options)?)) {
        Ok(git) => git,
        Err(error) => return vec![Check::error("git", format!("{error:#}"), "")],
    };
    let version = version(&git).await;
    let git_works = version.state != super::CheckState::Error;
    let mut checks = vec![version];
    checks.extend(too_old(&git, config).await);
    let mut enabled = config.projects.iter().filter(|project| project.enabled);
    loop {
        let mut asking = tokio::task::JoinSet::new();
        let mut some: Vec<(&Project, Vec<Check>)> = Vec::new();
        for project in enabled.by_ref().take(AT_ONCE) {
            if !project.spec.fetch.is_git() {
                let (at, look) = (some.len(), api::Look::new(project, config, around));
                asking.spawn(async move { (at, Some(look.ask(REMOTE_MAX).await)) });
                some.push((project, Vec::new()));
                continue;
            }
            let ways = ways(project, around, keys).await;
            let git = git_works.then(|| git.clone());
            let (at, name) = (some.len(), title(project));
            asking.spawn(async move { (at, ask(git, ways, name).await) });
            some.push((project, Vec::new()));
        }
        if some.is_empty() {
            return checks;
        }
        while let Some(asked) = asking.join_next().await {
            if let Ok((at, check)) = asked {
                some[at].1.extend(check);
            }
        }
        for (project, asked) in some {
            checks.extend(asked);
            checks.push(webhook(project, config, around));
        }
    }
}

async fn version(git: &Git) -> Check {
    match git.version().await {
        Ok(version) => Check::ok("git", format!("{version} ({VERSION_MIN} or newer is needed)")),
        Err(error) => {
            let remedy = format!("install git {VERSION_MIN} or newer, or set worker.git to where it is");
            Check::error("git", error.to_string(), remedy)
        }
    }
}

/// Whether a project wants more of git than this one does.
async fn too_old(git: &Git, config: &Config) -> Option<Check> {
    let mut enabled = config.projects.iter().filter(|project| project.enabled);
    let project = enabled.find(|project| project.spec.fetch == FetchBy::Partial)?;
    let found = git.version().await.ok().filter(|found| *found < PARTIAL_VERSION_MIN)?;
    let remedy = format!("install git {PARTIAL_VERSION_MIN} or newer, or set worker.git to where it is");
    Some(Check::error("git", format!("{}: {}", title(project), GitError::PartialVersion { found }), remedy))
}

pub(super) fn title(project: &Project) -> String {
    format!("project {}", project.spec.name)
}

/// A way to a project's repository, and what is said where it is the way.
struct Way {
    remote: Remote,
    by: String,
}

/// How a project's repository is reached, the ways in the order in which they are tried; the fault where that
/// cannot be told.
async fn ways(project: &Project, around: &Surroundings, keys: &Keys) -> Result<Vec<Way>, String> {
    let url: RemoteUrl =
        project.spec.git.parse().map_err(|error: gristmill_git::UrlError| error.to_string())?;
    let Access { credentials, helper, host_keys, ssh_key, .. } =
        Access::of(project, around).map_err(|error| format!("{error:#}"))?;
    let is_ssh = url.protocol() == Protocol::Ssh;
    let remote = Remote { url, credentials, helper, ssh: None };
    if !is_ssh {
        return Ok(vec![Way { remote, by: String::new() }]);
    }
    let keys = keys.of(project, ssh_key.as_ref(), around).await?;
    let way = |key: gristmill_git::DeployKey| Way {
        by: format!(", let in by the ssh key {}", key.fingerprint()),
        remote: Remote { ssh: Some(SshAccess { key, host_keys: host_keys.clone() }), ..remote.clone() },
    };
    Ok(keys.into_iter().map(way).collect())
}

/// Asks the remote for its refs; `None` where there is no git to ask with.
async fn ask(git: Option<Git>, ways: Result<Vec<Way>, String>, name: String) -> Option<Check> {
    let ways = match ways {
        Ok(ways) => ways,
        Err(fault) => return Some(Check::error(name, fault, "mend the project's settings, then look again")),
    };
    let git = git?;
    let limits = ListLimits { time_max: REMOTE_MAX, ..ListLimits::default() };
    let mut refused = None;
    for Way { remote, by } in ways {
        let url = &remote.url;
        let refs = match git.ls_remote(&remote, limits).await {
            Err(error @ (GitError::Auth { .. } | GitError::NotFound { .. })) => {
                refused.get_or_insert(error);
                continue;
            }
            Err(error) => return Some(Check::error(name, error.to_string(), remedy(&error))),
            Ok(refs) => refs.refs.len(),
        };
        let text = told(url, refs, &by);
        return Some(match refused {
            Some(error) => Check::warning(
                name,
                format!("{text}, and not by the newer one: {error}"),
                "enter the newer key at the forge; `gristmill project key` says where",
            ),
            None => found(name, url, refs, &by),
        });
    }
    let error = refused?;
    Some(Check::error(name, error.to_string(), remedy(&error)))
}

fn told(url: &dyn std::fmt::Display, refs: usize, by: &str) -> String {
    format!("{url} has {refs} branches and tags{by}")
}

/// What is said of a remote that answers.
pub(super) fn found(name: String, url: &dyn std::fmt::Display, refs: usize, by: &str) -> Check {
    match refs {
        0 => Check::warning(
            name,
            format!("{url} has no branches and no tags"),
            "push a commit; until then there is nothing to make",
        ),
        _ => Check::ok(name, told(url, refs, by)),
    }
}

/// The errors of git say what to do themselves, but for the network's.
fn remedy(error: &GitError) -> &'static str {
    match error {
        GitError::Unreachable { .. } => "check the address, the network and the proxy settings",
        GitError::Auth { remote, .. } | GitError::NotFound { remote, .. } if is_ssh(remote) => {
            "enter the project's key at the forge; `gristmill project key` says where"
        }
        _ => "",
    }
}

fn is_ssh(remote: &str) -> bool {
    remote.parse::<RemoteUrl>().is_ok_and(|url| url.protocol() == Protocol::Ssh)
}

/// Whether webhooks can be verified, and where they are sent to.
fn webhook(project: &Project, config: &Config, around: &Surroundings) -> Check {
    let name = title(project);
    for source in &project.secrets {
        if let Err(error) = source.resolve(&*around.env) {
            return Check::error(name, error.to_string(), "put the secret there, as it stands at the forge");
        }
        if source.is_open_to_others() {
            let text = format!("everybody on this machine can read the secret in {source}");
            return Check::warning(name, text, format!("chmod 600 {source}"));
        }
    }
    if project.secrets.is_empty() {
        let text = match project.spec.poll_seconds {
            0 => {
                "no webhook and no polling: only `gristmill sync` and `project trigger` look at it".to_owned()
            }
            seconds => format!("no webhook; its remote is looked at every {seconds} s"),
        };
        return Check::ok(name, text);
    }
    let path = format!("/hooks/{}", project.spec.name);
    match &config.server.public_url {
        Some(url) => Check::ok(name, format!("webhook {url}{path}")),
        None => Check::warning(
            name,
            format!("webhook http://{}{path}, which no forge outside can reach", config.server.listen),
            "set server.public_url to the address under which forges reach this server",
        ),
    }
}
