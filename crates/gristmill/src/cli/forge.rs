//! What `project add --token` makes at the forge, and `project purge` takes away there.

use std::io::Read as _;

use anyhow::{Context as _, bail};
use gristmill_db::forge_object::{self, ForgeObject, Kind};
use gristmill_forge::api::{
    Api, ApiBase, ApiError, Credential, Ensured, NewHook, NewKey, Operation, Repository,
};
use gristmill_forge::{Forge, Secret};
use gristmill_model::{ProjectName, RepoPath};

use super::{Context, check_owner, clicks, key, read, runtime, transact};
use crate::app::App;
use crate::config::{Config, Prepared, Project, SecretSource, TokenFrom};

/// The longest token read from standard input, in bytes.
const TOKEN_BYTES_MAX: u64 = 8_192;

/// Reads `--token`: `env:NAME`, `file:PATH`, or `-` for standard input. What is none of these is not repeated: it may be
/// the token itself.
pub(super) fn token_from(text: &str) -> anyhow::Result<TokenFrom> {
    if text == "-" {
        let mut token = String::new();
        std::io::stdin().lock().take(TOKEN_BYTES_MAX + 1).read_to_string(&mut token)?;
        let token = token.trim_end_matches(['\r', '\n']);
        Credential::new(token, None).context("the token on standard input")?;
        return Ok(TokenFrom::Given(token.to_owned()));
    }
    let is_variable =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match text.split_once(':') {
        Some(("env", name)) if is_variable(name) => Ok(TokenFrom::Env(name.to_owned())),
        Some(("file", path)) if !path.is_empty() => Ok(TokenFrom::File(path.into())),
        _ => bail!(
            "--token takes the place of the token, not the token: env:NAME, file:PATH, or - for standard input. \
             If the token itself stood there, other users of this machine could see it, and your shell remembers it: \
             revoke it at the forge and make another"
        ),
    }
}

/// The token that `source` leads to.
fn credential(context: &Context, source: &SecretSource, user: Option<&str>) -> anyhow::Result<Credential> {
    let token = source.resolve(&*context.around.env)?;
    let token = String::from_utf8(token).ok().context("the token is not text")?;
    Ok(Credential::new(&token, user)?)
}

/// The API of the repository that a project is of.
fn api_of(context: &Context, project: &Project) -> anyhow::Result<Api> {
    let source = project.git_token.as_ref().with_context(|| {
        format!("project `{}` has no `token`; add one to it in {}", project.name(), project.place)
    })?;
    let forge: Forge = project.spec.forge.parse()?;
    let base = match &project.api {
        Some(given) => ApiBase::given(given)?,
        None => ApiBase::derived(forge, &project.spec.git, project.spec.repository.as_str())?,
    };
    let credential = credential(context, source, project.git_username.as_deref())?;
    let api = Api::new(forge, base, Some(credential), project.spec.repository.clone())?;
    if api.can(Operation::Hooks) { Ok(api) } else { Err(ApiError::NoApi { forge }.into()) }
}

/// The address that the forge posts to.
fn hook_url(config: &Config, path: &str) -> anyhow::Result<String> {
    let base = config.server.public_url.as_ref().context(
        "the forge must be told an address that it can reach, and there is none; set server.public_url, or leave --token \
         out and enter the webhook by hand",
    )?;
    Ok(format!("{base}{path}"))
}

/// What is at the forge now.
struct Made {
    /// The repository, as the token sees it.
    repository: Repository,
    /// The webhook.
    hook: Ensured,
}

/// Makes what a new project needs at its forge, and then adds it to the configuration: all of it or nothing.
pub(super) fn add(context: &Context, name: &ProjectName, prepared: Prepared) -> anyhow::Result<()> {
    let added = prepared.added().clone();
    check_owner(&added.config)?;
    let project = configured(&added.config, name)?;
    let (url, api) = (hook_url(&added.config, &added.hook_path)?, api_of(context, project)?);
    let app = runtime()?.block_on(App::open_beside(added.config.clone(), &context.around))?;
    let made = make(context, &app, &api, project, &url)?;
    let recorded = record(&app, &api, project, &made);
    let written = recorded.and_then(|hook| match prepared.write() {
        Ok(written) => Ok(written),
        Err(error) => {
            transact(&app.db, move |tx| Ok(forge_object::remove(tx, &hook)?))?;
            Err(error.into())
        }
    });
    let written = written.map_err(|error| undo(&app, &api, &made, error))?;
    println!("{} is added to {}", project.name(), written.file.display());
    told(&made, &url);
    enter_key(context, &app, &written.config, &api, project)?;
    println!("A running server takes the project up within seconds; `gristmill serve` starts one.");
    Ok(())
}

/// The same for a project that is configured already: what is missing at the forge is made.
pub(super) fn again(
    context: &Context,
    config: &Config,
    name: &ProjectName,
    git: &str,
    forge: Forge,
) -> anyhow::Result<()> {
    let project = configured(config, name)?;
    if project.spec.git != git || project.spec.forge != forge.name() {
        bail!(
            "project `{name}` is already configured in {} with another `git` or `forge`; choose another name, or edit it there",
            project.place
        );
    }
    check_owner(config)?;
    let (url, api) = (hook_url(config, &format!("/hooks/{name}"))?, api_of(context, project)?);
    let app = runtime()?.block_on(App::open_beside(config.clone(), &context.around))?;
    let made = make(context, &app, &api, project, &url)?;
    record(&app, &api, project, &made).map_err(|error| undo(&app, &api, &made, error))?;
    println!("{name} is configured already, in {}", project.place);
    told(&made, &url);
    enter_key(context, &app, config, &api, project)
}

fn configured<'c>(config: &'c Config, name: &ProjectName) -> anyhow::Result<&'c Project> {
    let found = config.projects.iter().find(|project| project.spec.name == *name);
    found.with_context(|| format!("project `{name}` is not configured"))
}

/// Enters the ssh key that was made for the project, where it is reached over ssh. There is one only once the project
/// is known to the server, so this comes last; to call the command again is to try it again.
fn enter_key(
    context: &Context,
    app: &App,
    config: &Config,
    api: &Api,
    project: &Project,
) -> anyhow::Result<()> {
    let name = &project.spec.name;
    let Some(forge) = key::keeps_key(config, name)? else { return Ok(()) };
    let found = key::first(context, config, name)?;
    let found = found.with_context(|| {
        format!("the server has not made the ssh key of `{name}` yet; once it runs with the new configuration, run this again")
    })?;
    let (title, line) = (format!("gristmill {name}"), found.public_line.as_str());
    let wanted = NewKey { title: &title, key: line };
    let entered = match api.ensure_key(&wanted, &mut |call| app.forges.carry(call)) {
        Ok(entered) => entered,
        Err(error) => {
            print!("{}", clicks::key_told(forge, line, &found.fingerprint));
            return Err(anyhow::Error::new(error).context(
                "the project is added, but its ssh key could not be entered; run this again, or enter it by hand as above",
            ));
        }
    };
    let object = object(api, project, Kind::Key, &entered.id);
    transact(&app.db, move |tx| Ok(forge_object::put(tx, &object)?))?;
    let how = if entered.made { "entered" } else { "there already" };
    println!("the ssh key of {name} is {how}: number {}, {}", entered.id, found.fingerprint);
    Ok(())
}

fn make(context: &Context, app: &App, api: &Api, project: &Project, url: &str) -> anyhow::Result<Made> {
    let source = project.secrets.first().with_context(|| {
        format!("project `{}` has no `secret`, so it takes no webhook; add one to it", project.name())
    })?;
    let secret = Secret::new(source.resolve(&*context.around.env)?)?;
    let mut carry = |call| app.forges.carry(call);
    let repository = api.repository(&mut carry)?;
    let hook = api.ensure_hook(&NewHook { url, secret: &secret }, &mut carry)?;
    Ok(Made { repository, hook })
}

/// Takes a webhook away again that was made now, after this error.
fn undo(app: &App, api: &Api, made: &Made, error: anyhow::Error) -> anyhow::Error {
    let id = &made.hook.id;
    if made.hook.made && api.delete_hook(id, &mut |call| app.forges.carry(call)).is_err() {
        return error.context(format!("the webhook number {id} stays at the forge; remove it by hand"));
    }
    error
}

/// What is remembered of something that was made at the forge.
fn object(api: &Api, project: &Project, kind: Kind, id: &str) -> ForgeObject {
    let place = |source: &SecretSource| match source {
        SecretSource::Env(name) => format!("env:{name}"),
        SecretSource::File(path) => format!("file:{}", path.display()),
    };
    ForgeObject {
        project: project.name().to_owned(),
        kind,
        api: api.base().to_string(),
        remote_id: id.to_owned(),
        forge: api.forge().to_string(),
        repository: project.spec.repository.to_string(),
        token: project.git_token.as_ref().map(place),
        username: project.git_username.clone(),
    }
}

fn record(app: &App, api: &Api, project: &Project, made: &Made) -> anyhow::Result<ForgeObject> {
    let hook = object(api, project, Kind::Hook, &made.hook.id);
    let new = hook.clone();
    transact(&app.db, move |tx| {
        for known in forge_object::made_for(tx, &new.project)? {
            // A webhook that was made anew has another number.
            if known.kind == Kind::Hook && known.api == new.api && known.remote_id != new.remote_id {
                forge_object::remove(tx, &known)?;
            }
        }
        Ok(forge_object::put(tx, &new)?)
    })?;
    Ok(hook)
}

fn told(made: &Made, url: &str) {
    let how = if made.hook.made { "made" } else { "there already, and up to date" };
    println!("the webhook of {} is {how}: number {}, to {url}", made.repository.full_name, made.hook.id);
}

/// Takes away at the forge what was made there. What cannot be taken away is said, and is no error: the forge may be
/// gone.
pub(super) fn remove(
    context: &Context,
    app: &App,
    name: &ProjectName,
    token: Option<&str>,
) -> anyhow::Result<()> {
    let of = name.to_string();
    let objects = read(&app.db, |tx| Ok(forge_object::made_for(tx, &of)?))?;
    let given = token.map(token_from).transpose()?;
    for object in objects {
        let what = match object.kind {
            Kind::Hook => "webhook",
            Kind::Key => "deploy key",
        };
        match remove_one(context, app, &object, given.as_ref()) {
            Ok(true) => println!("the {what} number {} of {} is gone", object.remote_id, object.repository),
            Ok(false) => {
                println!("the {what} number {} of {} was gone already", object.remote_id, object.repository);
            }
            Err(error) => println!(
                "the {what} number {} of {} ({}) is left; remove it by hand: {error:#}",
                object.remote_id, object.repository, object.api
            ),
        }
        transact(&app.db, move |tx| Ok(forge_object::remove(tx, &object)?))?;
    }
    Ok(())
}

fn remove_one(
    context: &Context,
    app: &App,
    object: &ForgeObject,
    given: Option<&TokenFrom>,
) -> anyhow::Result<bool> {
    let user = object.username.as_deref();
    let credential = match (given, object.token.as_deref().and_then(|place| place.split_once(':'))) {
        (Some(TokenFrom::Given(token)), _) => Credential::new(token, user)?,
        (Some(TokenFrom::Env(name)), _) => credential(context, &SecretSource::Env(name.clone()), user)?,
        (Some(TokenFrom::File(path)), _) => {
            credential(context, &SecretSource::File(context.around.folder.join(path)), user)?
        }
        (None, Some(("env", name))) => credential(context, &SecretSource::Env(name.to_owned()), user)?,
        (None, Some(("file", path))) => credential(context, &SecretSource::File(path.into()), user)?,
        (None, _) => bail!("no token is known; give one with --token"),
    };
    let repository: RepoPath = object.repository.parse()?;
    let api = Api::new(object.forge.parse()?, ApiBase::given(&object.api)?, Some(credential), repository)?;
    let mut carry = |call| app.forges.carry(call);
    Ok(match object.kind {
        Kind::Hook => api.delete_hook(&object.remote_id, &mut carry)?,
        Kind::Key => api.delete_key(&object.remote_id, &mut carry)?,
    })
}
