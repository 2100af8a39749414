//! The one webhook of an organisation (GitHub) or a group (GitLab) that a pattern's repositories have in common: one look
//! for all of them. A delivery goes to the repository that its payload names, and makes its project where the pattern
//! covers it and there is none yet, as it would have done if it had come.

use gristmill_db::project::{self, Project};
use gristmill_db::{DbError, job, missed, request};
use gristmill_forge::Forge;
use gristmill_forge::api::{Api, ApiError, Delivery, HooksOf};
use gristmill_model::{ProjectPattern, ProjectSpec, RepoPath};

use super::{
    CallError, DELIVERIES_MAX, Looked, NO_HOOK, Whose, api_for, begun, blocking, database, ended, events,
    listed, payload, requests,
};
use crate::app::App;
use crate::live::PROJECTS_OF_PATTERN_MAX;

/// A pattern that takes webhooks, and the API of the place that it covers.
struct Owner {
    pattern: ProjectPattern,
    api: Api,
}

/// Looks at all patterns whose forge keeps deliveries and has given us a token.
pub(super) async fn look(app: &App) {
    for owner in owners(app) {
        let (name, whose) = (owner.pattern.name.to_string(), Whose::Pattern(owner.pattern.name.clone()));
        let Some((mut looked, now)) = begun(app, &whose, &owner.api) else { continue };
        let found = find(app, &owner, &mut looked).await;
        ended(app, (whose, &name, &owner.api), looked, found, now);
    }
}

fn owners(app: &App) -> Vec<Owner> {
    let live = app.live();
    let all = live.config.patterns.iter().filter(|project| live.hooks.contains_key(project.name()));
    let owner = |spec: &ProjectSpec, pattern: &ProjectPattern| {
        Some(Owner { api: api_for(app, spec)?, pattern: pattern.clone() })
    };
    all.filter_map(|project| owner(&project.spec, project.pattern.as_ref()?)).collect()
}

/// Whether all that the forge told of is found.
async fn find(app: &App, owner: &Owner, looked: &mut Looked) -> Result<bool, CallError> {
    if looked.hook.is_none() {
        looked.hook = our_hook(app, owner, looked).await?;
    }
    // One that is found later may have missed something by then.
    let Some(hook) = looked.hook.clone() else { return Ok(false) };
    let (name, last) = (owner.pattern.name.as_str(), looked.at);
    let found = match listed(app, (name, &owner.api), HooksOf::Owner, &hook, last).await {
        Err(CallError::Api(error @ ApiError::Forbidden { .. })) => {
            if let Some(url) = url(app, owner) {
                remember(app, owner, looked, url, &error);
            }
            return Ok(false);
        }
        found => found?,
    };
    looked.nobodys.retain(|guid| found.iter().any(|delivery| delivery.guid == *guid));
    let somebodys = found.into_iter().filter(|delivery| !looked.nobodys.contains(&delivery.guid));
    let mut unknown = unknown(app, owner, somebodys.collect()).await.map_err(|error| database(&error))?;
    let is_all = unknown.len() <= DELIVERIES_MAX;
    unknown.truncate(DELIVERIES_MAX);
    for delivery in unknown {
        let guid = delivery.guid.clone();
        if !act(app, owner, &hook, delivery).await? {
            looked.nobodys.insert(guid);
        }
    }
    Ok(is_all)
}

/// Those that neither came to any of the pattern's projects nor were found before.
async fn unknown(app: &App, owner: &Owner, found: Vec<Delivery>) -> Result<Vec<Delivery>, DbError> {
    let name = owner.pattern.name.clone();
    let read = app.db.read(move |tx| {
        let mut unknown = Vec::new();
        for delivery in &found {
            if !missed::is_known_of_pattern(tx, &name, &delivery.guid)? {
                unknown.push(delivery.clone());
            }
        }
        Ok(unknown)
    });
    read.await
}

/// The address that the webhook has.
fn url(app: &App, owner: &Owner) -> Option<String> {
    let base = app.live().config.server.public_url.clone()?;
    Some(format!("{base}/hooks/{}", owner.pattern.name))
}

/// The number of the webhook with our address.
async fn our_hook(app: &App, owner: &Owner, looked: &mut Looked) -> Result<Option<String>, CallError> {
    let Some(url) = url(app, owner) else { return Ok(None) };
    let now = app.clock.now();
    if looked.no_hook.as_ref().is_some_and(|(of, until)| *of == url && now < *until) {
        return Ok(None);
    }
    let listing = owner.api.clone();
    let hooks = match blocking(app, move |mut carry| listing.owner_hooks(&mut carry)).await {
        // A person has the repositories, or the token is for some of them alone.
        Err(CallError::Api(error @ (ApiError::Forbidden { .. } | ApiError::NotFound { .. }))) => {
            remember(app, owner, looked, url, &error);
            return Ok(None);
        }
        hooks => hooks?,
    };
    // Some write the star of a pattern in another way.
    let ours = hooks.into_iter().find(|hook| hook.url.replace("%2A", "*") == url).map(|hook| hook.id);
    looked.no_hook = ours.is_none().then(|| (url, now.plus(NO_HOOK)));
    Ok(ours)
}

/// Nothing is asked for a day.
fn remember(app: &App, owner: &Owner, looked: &mut Looked, url: String, error: &ApiError) {
    tracing::debug!(project.name = %owner.pattern.name, %error, "the webhooks of the pattern's owner are not to be seen; polling finds what moved");
    looked.hook = None;
    looked.no_hook = Some((url, app.clock.now().plus(NO_HOOK)));
}

/// Whether it is for a repository of the pattern's.
async fn act(app: &App, owner: &Owner, hook: &str, delivery: Delivery) -> Result<bool, CallError> {
    let Some(payload) = payload(app, &owner.api, HooksOf::Owner, hook, &delivery).await? else {
        return Ok(false);
    };
    let events = events(&owner.pattern.forge, &delivery, &payload);
    let named = events.iter().find_map(|event| event.repository.as_ref());
    let Some(spec) = named.and_then(|named| covered(app, owner, &named.full_name)) else {
        return Ok(false);
    };
    let pattern = owner.pattern.name.clone();
    let noted = app.db.transact(move |tx| {
        let id = project::of_pattern(tx, &spec, &pattern, PROJECTS_OF_PATTERN_MAX)?;
        let Some(id) = id else { return Ok(None) };
        let Some(project) = project::by_id(tx, id)?.filter(|project: &Project| project.active) else {
            return Ok(None);
        };
        let requests = requests(&project, &delivery, &payload);
        if missed::note(tx, id, &delivery.guid)? {
            requests.iter().try_for_each(|asked| request::add(tx, id, asked).map(drop))?;
            job::ask_for_look(tx, id, job::PRIORITY_HOOK)?;
        }
        Ok(Some((project.name, delivery.guid.clone(), requests.len())))
    });
    let noted = noted.await.map_err(|error: DbError| database(&error))?;
    if let Some((name, guid, builds)) = &noted {
        tracing::info!(project.name = %name, delivery.remote_id = guid, builds, "a delivery that never came was found at the forge");
    }
    Ok(noted.is_some())
}

/// What the pattern makes of the repository. One that has a project of its own is not the pattern's.
fn covered(app: &App, owner: &Owner, full_name: &str) -> Option<ProjectSpec> {
    let repository: RepoPath = full_name.parse().ok()?;
    let forge: Forge = owner.pattern.forge.parse().ok()?;
    let is_own = !app.live().projects_of(forge, &repository).is_empty();
    owner.pattern.expand(&repository).filter(|_| !is_own)
}

#[cfg(test)]
mod tests;
