//! Git, and every project's remote, secrets and webhook.

use std::time::Duration;

use gristmill_git::{
    Credentials, Git, GitError, GitOptions, ListLimits, PASSED_ENV, Protocol, Remote, RemoteUrl, VERSION_MIN,
};

use super::Check;
use crate::config::{Config, Project, Surroundings};

/// How long one remote may take to answer.
const REMOTE_MAX: Duration = Duration::from_secs(10);
/// How many remotes are asked at once.
const AT_ONCE: usize = 8;

/// Looks at git, then at all enabled projects.
pub(super) async fn examine(config: &Config, around: &Surroundings) -> Vec<Check> {
    // A folder of our own: the server's is in use, or not there yet.
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => return vec![Check::error("git", format!("no temporary folder: {error}"), "")],
    };
    let git = match Git::new(options(config, around, folder.path())) {
        Ok(git) => git,
        Err(error) => return vec![Check::error("git", error.to_string(), "")],
    };
    let version = version(&git).await;
    let git_works = version.state != super::CheckState::Error;
    let mut checks = vec![version];
    let mut enabled = config.projects.iter().filter(|project| project.enabled);
    loop {
        let mut asking = tokio::task::JoinSet::new();
        let mut some: Vec<(&Project, Vec<Check>)> = Vec::new();
        for project in enabled.by_ref().take(AT_ONCE) {
            let remote = remote(project, around);
            let git = git_works.then(|| git.clone());
            let (at, name) = (some.len(), title(project));
            asking.spawn(async move { (at, ask(git, remote, name).await) });
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

fn options(config: &Config, around: &Surroundings, folder: &std::path::Path) -> GitOptions {
    let mut options = GitOptions::new(folder);
    options.program = config.worker.git.clone();
    if let Some(path) = (around.env)("PATH") {
        options.search_path = path.into();
    }
    options.protocols = vec![Protocol::Https, Protocol::Http, Protocol::Git, Protocol::File];
    let passed = PASSED_ENV.iter();
    options.env = passed.filter_map(|name| Some(((*name).to_owned(), (around.env)(name)?.into()))).collect();
    options
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

fn title(project: &Project) -> String {
    format!("project {}", project.spec.name)
}

/// Where a project is fetched from; the fault where that cannot be told.
fn remote(project: &Project, around: &Surroundings) -> Result<Remote, String> {
    let url: RemoteUrl =
        project.spec.git.parse().map_err(|error: gristmill_git::UrlError| error.to_string())?;
    let Some(source) = &project.git_token else { return Ok(Remote::open(url)) };
    let token = source.resolve(&*around.env).map_err(|error| error.to_string())?;
    let user = project.git_username.clone().unwrap_or("x-access-token".to_owned());
    let credentials = String::from_utf8(token).ok().and_then(|token| Credentials::new(user, token));
    match credentials {
        Some(credentials) => Ok(Remote::with_token(url, Some(credentials))),
        None => Err(format!("the token in {source} has characters that no token has")),
    }
}

/// Asks the remote for its refs; `None` where there is no git to ask with.
async fn ask(git: Option<Git>, remote: Result<Remote, String>, name: String) -> Option<Check> {
    let remote = match remote {
        Ok(remote) => remote,
        Err(fault) => return Some(Check::error(name, fault, "mend the project's settings, then look again")),
    };
    let limits = ListLimits { time_max: REMOTE_MAX, ..ListLimits::default() };
    Some(match git?.ls_remote(&remote, limits).await {
        Ok(refs) if refs.refs.is_empty() => Check::warning(
            name,
            format!("{} has no branches and no tags", remote.url),
            "push a commit; until then there is nothing to make",
        ),
        Ok(refs) => Check::ok(name, format!("{} has {} branches and tags", remote.url, refs.refs.len())),
        Err(error) => Check::error(name, error.to_string(), remedy(&error)),
    })
}

/// The errors of git say what to do themselves, but for the network's.
fn remedy(error: &GitError) -> &'static str {
    match error {
        GitError::Unreachable { .. } => "check the address, the network and the proxy settings",
        _ => "",
    }
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
