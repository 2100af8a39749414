//! The one webhook of an organisation (GitHub) or a group (GitLab) that a pattern's repositories have in common: one look
//! for all of them. A delivery goes to the repository that its payload names, and makes its project where the pattern
//! covers it and there is none yet, as it would have done if it had come.

use gristmill_db::project;
use gristmill_db::{DbError, Tx, job, missed, request};
use gristmill_forge::Forge;
use gristmill_forge::api::{Api, ApiError, Delivery, HooksOf};
use gristmill_model::{PatternName, ProjectId, ProjectPattern, ProjectSpec, RepoPath, Timestamp};

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

/// When the look began that leaves nothing of what the forge tells of; None where something is left.
async fn find(app: &App, owner: &Owner, looked: &mut Looked) -> Result<Option<Timestamp>, CallError> {
    if looked.hook.is_none() {
        looked.hook = our_hook(app, owner, looked).await?;
    }
    // One that is found later may have missed something by then.
    let Some(hook) = looked.hook.clone() else { return Ok(None) };
    let found = match listed(app, &owner.api, HooksOf::Owner, &hook, looked).await {
        Err(CallError::Api(error @ ApiError::Forbidden { .. })) => {
            if let Some(url) = url(app, owner) {
                remember(app, owner, looked, url, &error);
            }
            return Ok(None);
        }
        found => found?,
    };
    let mut unknown = strangers(app, owner, looked, found.deliveries).await?;
    let is_all = unknown.len() <= DELIVERIES_MAX;
    unknown.truncate(DELIVERIES_MAX);
    for delivery in unknown {
        let guid = delivery.guid.clone();
        if act(app, owner, &hook, delivery).await? == Found::Nobodys {
            looked.nobodys.insert(guid, app.clock.now());
        }
    }
    let at = looked.took(is_all, found.began, found.rest);
    if let Some(at) = at {
        // All that is still told of was told of since then.
        looked.nobodys.retain(|_, told| *told >= at);
    }
    Ok(at)
}

/// Those that are not known, neither to a project of the pattern's nor as nobody's.
async fn strangers(
    app: &App,
    owner: &Owner,
    looked: &mut Looked,
    found: Vec<Delivery>,
) -> Result<Vec<Delivery>, CallError> {
    let now = app.clock.now();
    let mut rest = Vec::new();
    for delivery in found {
        match looked.nobodys.get_mut(&delivery.guid) {
            Some(told) => *told = now,
            None => rest.push(delivery),
        }
    }
    unknown(app, owner, rest).await.map_err(|error| database(&error))
}

/// Those that neither came to any of the pattern's projects, deleted ones among them, nor were found before.
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

/// Whose a delivery is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    /// A project of the pattern's: it looks at its remote.
    Ours,
    /// A project that is disabled: its remote is looked at once it is enabled.
    Waits,
    /// For no repository of the pattern's, or from before its project was purged.
    Nobodys,
}

async fn act(app: &App, owner: &Owner, hook: &str, delivery: Delivery) -> Result<Found, CallError> {
    let payload = payload(app, &owner.api, HooksOf::Owner, hook, &delivery).await?;
    let events = payload.as_ref().map(|payload| events(&owner.pattern.forge, &delivery, payload));
    let named = events.iter().flatten().find_map(|event| event.repository.as_ref());
    let spec = named.and_then(|named| covered(app, owner, &named.full_name));
    if spec.is_none() && (named.is_some() || delivery.repository_id.is_none()) {
        return Ok(Found::Nobodys);
    }
    let pattern = owner.pattern.name.clone();
    let noted = app.db.transact(move |tx| {
        let id = match (&spec, &delivery.repository_id) {
            (Some(spec), _) => of_payload(tx, spec, &pattern, delivery.delivered_at)?,
            (None, Some(repository)) => project::of_pattern_with_repository(tx, &pattern, repository)?,
            (None, None) => None,
        };
        let project = id.map(|id| project::by_id(tx, id)).transpose()?.flatten();
        let Some(project) = project else { return Ok((Found::Nobodys, None)) };
        if !project.active {
            return Ok((Found::Waits, None));
        }
        let asked =
            payload.as_ref().map(|payload| requests(&project, &delivery, payload)).unwrap_or_default();
        if missed::note(tx, project.id, &delivery.guid)? {
            asked.iter().try_for_each(|one| request::add(tx, project.id, one).map(drop))?;
            job::ask_for_look(tx, project.id, job::PRIORITY_HOOK)?;
        }
        Ok((Found::Ours, Some((project.name, delivery.guid.clone(), asked.len()))))
    });
    let (found, noted) = noted.await.map_err(|error: DbError| database(&error))?;
    if let Some((name, guid, builds)) = &noted {
        tracing::info!(project.name = %name, delivery.remote_id = guid, builds, "a delivery that never came was found at the forge");
    }
    Ok(found)
}

/// The project that a payload is for, made where there is none. What is from before its purge does not make it anew.
fn of_payload(
    tx: &mut Tx<'_>,
    spec: &ProjectSpec,
    pattern: &PatternName,
    at: Option<Timestamp>,
) -> Result<Option<ProjectId>, DbError> {
    let purged = missed::purged(tx, pattern, &spec.name)?;
    if let (Some(purged), Some(at)) = (purged, at)
        && at <= purged
    {
        return Ok(None);
    }
    project::of_pattern(tx, spec, pattern, PROJECTS_OF_PATTERN_MAX)
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
