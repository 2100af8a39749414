//! `[[project]]`: a source and what only the configuration knows of it.

use std::path::Path;

use gristmill_forge::Forge;
use gristmill_git::{Protocol, RemoteUrl};
use gristmill_model::{
    FetchBy, PatternName, PipelineSpec, ProjectName, ProjectPattern, ProjectSpec, REPO_PLACEHOLDER, RepoPath,
};
use ipnet::IpNet;

use super::Surroundings;
use super::access::{self, Access};
use super::error::Place;
use super::fetch;
use super::network::networks;
use super::pipeline::{self, ParsedPipeline};
use super::reader::{Field, Section, nearest, shown};
use super::secret::SecretSource;
use super::{HookSettings, Project, server, topic, url as urls};

/// Seconds between looks at a remote that nobody asked for.
const POLL_SECONDS: i64 = 300;
/// The most jobs of one project at once: one project does not fill a worker.
const JOBS_MAX: i64 = 4;
/// Secrets beyond a rotation's two or three are a mistake; each costs a hash a delivery.
const SECRETS_MAX: usize = 8;

/// A project and where its parts stand.
pub(super) struct Parsed {
    pub(super) project: Project,
    /// One for each pipeline, in the same order.
    pub(super) places: Vec<Place>,
}

/// Reads one project; `None` where it is not whole. All that is wrong is reported.
pub(super) fn read(mut section: Section<'_>, folder: &Path, around: &Surroundings) -> Option<Parsed> {
    let place = section.place();
    let name = section.need("name", "\"acme/shop\"").and_then(|field| read_name(&field));
    let pattern = name.as_ref().and_then(Name::pattern).cloned();
    let allow_http = section.get("allow_http").and_then(|field| field.bool()).unwrap_or(false);
    let git_field = section.need("git", "\"https://github.com/acme/shop.git\"");
    let git = git_field.as_ref().and_then(|field| read_git(field, allow_http, pattern.is_some()));
    let url = git.as_ref().map(|(_, url)| url);
    let forge = section.get("forge").map_or(Some(Forge::Github), |field| read_forge(&field));
    check_ssh(git_field.as_ref(), forge, url);
    let hook = read_hook(&mut section, forge);
    let known =
        topic::repository(&mut section, hook.topic.as_ref(), git.as_ref().map(|(git, _)| git.as_str()));
    // The path of a bare repository says where it lies on its server, and its hook calls it what we do.
    let named = url.map(|url| path_of(url).filter(|_| forge != Some(Forge::Bare)));
    let repository = match (&pattern, known) {
        (Some(_), Some(known)) => known.parse().ok().map(Repository::AllOf),
        (None, Some(known)) => known.parse().ok().map(Repository::One),
        (Some(name), None) => read_repositories(&mut section, name, named).map(Repository::AllOf),
        (None, None) => read_repository(&mut section, name.as_ref(), named).map(Repository::One),
    };
    let repository_id = section.get("repository_id").and_then(|field| {
        if pattern.is_some() {
            field.error("`repository_id` is one repository's; a pattern has many, leave it out");
            return None;
        }
        read_id(&field)
    });
    let enabled = section.get("enabled").and_then(|field| field.bool()).unwrap_or(true);
    let allow_from = section.get("allow_from").map_or(Some(Vec::new()), |field| networks(&field));
    let gitpull = section.get("gitpull").and_then(|field| field.bool()).unwrap_or(false);
    let fields = section.get("secret").and_then(|field| secret_fields(&field)).unwrap_or_default();
    let of = access::For { url, git: git_field.as_ref(), allow_http, enabled, folder, around };
    let secrets: Vec<SecretSource> = fields.iter().filter_map(|field| of.source(field)).collect();
    let access = access::read(&mut section, &of);
    let poll_seconds = section.get("poll").map_or(Some(POLL_SECONDS), |field| match field.as_text() {
        Some("off") => Some(0),
        _ => server::duration(&field, 1, 30 * 86_400, "5m"),
    });
    let jobs_max = section.get("jobs_max").map_or(Some(JOBS_MAX), |field| field.integer(1..=1000));
    let pipelines = read_pipelines(&mut section);
    let has_helper = !access.credential_helper.is_empty();
    let repository_at = git.as_ref().zip(repository.as_ref()).filter(|_| access.api.is_none());
    let api_from = repository_at.map(|((git, _), repository)| repository.example(git));
    let of = fetch::For { forge, url, api_from, has_helper, pipelines: &pipelines };
    let fetch = fetch::read(&mut section, &of);
    section.finish();
    let (pipelines, places) = pipelines.into_iter().map(|parsed| (parsed.spec, parsed.place)).unzip();
    let (git, forge) = (git?.0, forge?.name().to_owned());
    let made = Made {
        git,
        fetch: fetch?,
        forge,
        repository_id,
        poll_seconds: poll_seconds?,
        jobs_max: jobs_max?,
        pipelines,
    };
    let (spec, pattern) = made.called(name?, repository?)?;
    let hooks = Hooks { secrets, allow_from: allow_from?, gitpull, hook };
    let project = project(spec, pattern, enabled, hooks, access, place);
    Some(Parsed { project, places })
}

/// What is read of its webhooks.
struct Hooks {
    secrets: Vec<SecretSource>,
    allow_from: Vec<IpNet>,
    gitpull: bool,
    hook: HookSettings,
}

fn project(
    spec: ProjectSpec,
    pattern: Option<ProjectPattern>,
    enabled: bool,
    hooks: Hooks,
    access: Access,
    place: Place,
) -> Project {
    let Hooks { secrets, allow_from, gitpull, hook } = hooks;
    let Access {
        git_token,
        git_username,
        credential_helper,
        ssh_key,
        host_keys,
        host_keys_file,
        api,
        statuses,
    } = access;
    Project {
        spec,
        pattern,
        enabled,
        secrets,
        allow_from,
        gitpull,
        hook,
        git_token,
        git_username,
        credential_helper,
        ssh_key,
        host_keys,
        host_keys_file,
        api,
        statuses,
        place,
    }
}

/// What is the same for a project and for a pattern.
struct Made {
    git: String,
    fetch: FetchBy,
    forge: String,
    repository_id: Option<String>,
    poll_seconds: i64,
    jobs_max: i64,
    pipelines: Vec<PipelineSpec>,
}

impl Made {
    /// The project, or the pattern and the project it makes of a sample. The repository was read as the name
    /// was, so that both are of one kind.
    fn called(self, name: Name, repository: Repository) -> Option<(ProjectSpec, Option<ProjectPattern>)> {
        let Made { git, fetch, forge, repository_id, poll_seconds, jobs_max, pipelines } = self;
        match (name, repository) {
            (Name::Pattern(name), Repository::AllOf(repositories)) => {
                let pattern = ProjectPattern {
                    name,
                    git,
                    fetch,
                    forge,
                    repositories,
                    poll_seconds,
                    jobs_max,
                    pipelines,
                };
                Some((sample(&pattern), Some(pattern)))
            }
            (Name::One(name), Repository::One(repository)) => {
                let spec = ProjectSpec {
                    name,
                    pattern: None,
                    git,
                    fetch,
                    forge,
                    repository,
                    repository_id,
                    poll_seconds,
                    jobs_max,
                    pipelines,
                };
                Some((spec, None))
            }
            _ => None,
        }
    }
}

/// What a project is called.
enum Name {
    One(ProjectName),
    Pattern(PatternName),
}

impl Name {
    fn pattern(&self) -> Option<&PatternName> {
        if let Name::Pattern(name) = self { Some(name) } else { None }
    }
}

/// What it is at its forge.
enum Repository {
    One(RepoPath),
    AllOf(PatternName),
}

impl Repository {
    /// The repository, of a pattern its sample, and where that is by `git`.
    fn example(&self, git: &str) -> (String, String) {
        match self {
            Repository::One(path) => (git.to_owned(), path.as_str().to_owned()),
            Repository::AllOf(name) => {
                (git.replace(REPO_PLACEHOLDER, "sample"), format!("{}/sample", name.owner()))
            }
        }
    }
}

fn read_name(field: &Field<'_>) -> Option<Name> {
    let expected = "a name, such as \"acme/shop\", or a pattern, such as \"acme/*\"";
    if field.text(expected)?.contains('*') {
        field.parsed(expected).map(Name::Pattern)
    } else {
        field.parsed(expected).map(Name::One)
    }
}

/// The project that the pattern makes of a repository called `sample`: what holds for it holds for all.
fn sample(pattern: &ProjectPattern) -> ProjectSpec {
    let repository = format!("{}/sample", pattern.repositories.owner()).parse().expect("an owner and a name");
    pattern.expand(&repository).expect("the owner is the pattern's")
}

/// The address as it is written, and what it means; for a pattern, what its sample means.
fn read_git(field: &Field<'_>, allow_http: bool, is_pattern: bool) -> Option<(String, RemoteUrl)> {
    let text = field.text("the repository's URL, such as \"https://github.com/acme/shop.git\"")?;
    if text.contains(REPO_PLACEHOLDER) != is_pattern {
        field.error(if is_pattern {
            "`git` has no {repo}, so that all repositories of the pattern would be fetched from one; expected such as \"https://github.com/acme/{repo}.git\""
        } else {
            "`git` has {repo}, which stands for the names that a pattern matches; `name` is none, such as \"acme/*\""
        });
        return None;
    }
    match urls::git_remote(&text.replace(REPO_PLACEHOLDER, "sample"), allow_http) {
        Ok(url) => Some((text.to_owned(), url)),
        Err(fault) => {
            field.error(format!("`git`: {fault}"));
            None
        }
    }
}

/// The keys for ssh are ed25519, which these two do not take. Azure DevOps: Microsoft's "Use SSH key authentication";
/// CodeCommit: `UploadSSHPublicKey` in the API reference of IAM.
fn check_ssh(git: Option<&Field<'_>>, forge: Option<Forge>, url: Option<&RemoteUrl>) {
    let takes_rsa_only = matches!(forge, Some(Forge::AzureDevops | Forge::Codecommit));
    if let (true, Some(git), Some(url)) = (takes_rsa_only, git, url)
        && url.protocol() == Protocol::Ssh
    {
        git.error("over ssh this forge takes keys of the kind RSA alone, and those of Gristmill are ed25519; let `git` be its https:// address, and set `token` or `credential_helper`");
    }
}

fn read_forge(field: &Field<'_>) -> Option<Forge> {
    let text = field.text("the name of a forge, such as \"github\"")?;
    let known = Forge::ALL.into_iter().find(|known| known.name() == text);
    if known.is_none() {
        let near = nearest(text, Forge::ALL.into_iter().map(Forge::name))
            .map_or_else(|| ".".to_owned(), |near| format!("; did you mean `{near}`?"));
        field.error(format!(
            "forge `{}` is not supported by this version{near} Known forges: {}",
            shown(text),
            Forge::ALL.map(Forge::name).join(", ")
        ));
    }
    known
}

/// What only some forges leave a choice of.
fn read_hook(section: &mut Section<'_>, forge: Option<Forge>) -> HookSettings {
    let mut only = |key: &'static str, of: Forge| {
        let field = section.get(key)?;
        if forge.is_some_and(|forge| forge != of) {
            field.error(format!("`{key}` is for `forge = \"{of}\"` only; leave it out"));
            return None;
        }
        Some(field)
    };
    let header = only("secret_header", Forge::AzureDevops)
        .and_then(|field| field.parsed("the name of a header, such as \"X-Webhook-Token\""));
    HookSettings {
        allow_sha1: only("secret_sha1", Forge::Github).and_then(|field| field.bool()).unwrap_or(false),
        basic: only("secret_basic", Forge::BitbucketServer).and_then(|field| field.bool()).unwrap_or(false),
        header,
        topic: topic::read(section, forge),
    }
}

/// The path on the server without `.git`, which is the repository's name at most forges.
fn path_of(url: &RemoteUrl) -> Option<&str> {
    url.host()?;
    let path = url.path().trim_matches('/');
    Some(path.strip_suffix(".git").unwrap_or(path))
}

/// `path` is the URL's, where it tells; nothing more is said where the URL itself is wrong.
fn read_repository(
    section: &mut Section<'_>,
    name: Option<&Name>,
    path: Option<Option<&str>>,
) -> Option<RepoPath> {
    if let Some(field) = section.get("repository") {
        return field.parsed("the repository's name at its forge, such as \"acme/shop\"");
    }
    let from_url = path?.and_then(|path| path.parse().ok());
    let repository =
        from_url.or_else(|| if let Name::One(name) = name? { name.as_str().parse().ok() } else { None });
    if repository.is_none() {
        section.error("neither `git` nor `name` tells the repository's name at its forge; add `repository = \"owner/name\"`, as its webhooks have it");
    }
    repository
}

/// The repositories of a pattern: `repository`, else what the URL says, else the pattern itself.
fn read_repositories(
    section: &mut Section<'_>,
    name: &PatternName,
    path: Option<Option<&str>>,
) -> Option<PatternName> {
    if let Some(field) = section.get("repository") {
        return field.parsed("the repositories' names at their forge, such as \"acme/*\"");
    }
    let from_url = path?.and_then(|path| format!("{}/*", path.strip_suffix("/sample")?).parse().ok());
    Some(from_url.unwrap_or_else(|| name.clone()))
}

fn read_id(field: &Field<'_>) -> Option<String> {
    if let Some(number) = field.as_integer().filter(|number| *number >= 0) {
        return Some(number.to_string());
    }
    let good = |text: &str| (1..=100).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic());
    field.text_as("the forge's id of the repository, such as 1296269", |text| {
        good(text).then(|| text.to_owned())
    })
}

/// The fields of `secret`: one, or those of a list while a secret is rotated.
fn secret_fields<'a>(field: &Field<'a>) -> Option<Vec<Field<'a>>> {
    if !field.is_list() {
        return Some(vec![field.clone()]);
    }
    let fields = field.list("secrets")?;
    if fields.is_empty() || fields.len() > SECRETS_MAX {
        field.error(format!(
            "`secret` lists {} secrets; expected 1 to {SECRETS_MAX} (without a webhook, leave it out)",
            fields.len()
        ));
        return None;
    }
    Some(fields)
}

fn read_pipelines(section: &mut Section<'_>) -> Vec<ParsedPipeline> {
    let expected = "a list of tables, each beginning with [[project.pipeline]] in double brackets";
    let Some(field) = section.get("pipeline") else {
        section.error("the project has no pipeline, so nothing would be made; add one: [[project.pipeline]] with kind = \"archive\"");
        return Vec::new();
    };
    let fields = field.list(expected).unwrap_or_default();
    let sections = fields.iter().filter_map(|field| field.section("[[project.pipeline]]", expected));
    sections.filter_map(pipeline::read).collect()
}
