//! Finds deliveries that never came: the forge sent them, and nobody took them.
//!
//! What they tell is a hint like any payload, and signed by nobody. It makes the remote be looked at; what only they
//! know, commits that are not the tip any more and releases, is asked for as a build request, which the look carries
//! out against what the remote says. Each counts once, by its id, and not at all where it came after all. [`owner`]
//! does it for the one webhook that a pattern's repositories may have in common.

mod owner;

use std::collections::HashMap;
use std::time::Duration;

use gristmill_db::forge_object::{self, Kind};
use gristmill_db::project::{self, Project};
use gristmill_db::request::{self, BuildRequest};
use gristmill_db::{DbError, job, missed};
use gristmill_forge::api::{Api, ApiError, Delivery, HooksOf, Place, UnsignedPayload};
use gristmill_forge::{Forge, parse_unverified};
use gristmill_model::{Event, EventKind, PatternName, ProjectId, ProjectSpec, Timestamp};

use super::{CallError, access, blocking, locked};
use crate::app::App;
use crate::intake;

/// How far the first look goes back. GitHub keeps its deliveries for three days, Enterprise Server and GitLab for seven.
const FIRST: Duration = Duration::from_secs(7 * 24 * 3600);
/// How much of the time before the last look is looked at again: a delivery may still have been on its way.
const OVERLAP: Duration = Duration::from_secs(3600);
/// How many deliveries one look takes, the newest first; the next ones take the rest.
const DELIVERIES_MAX: usize = 100;
/// For how long it is taken that there is no webhook of ours, once the forge was asked: those of a pattern's
/// repositories may be one webhook of their organisation, which is no repository's.
const NO_HOOK: Duration = Duration::from_secs(24 * 3600);
/// How many builds one delivery may ask for.
const REQUESTS_MAX: usize = 50;
/// Projects read at once.
const PAGE: i64 = 100;

/// Whose webhook is looked at.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Whose {
    /// A repository's.
    Project(ProjectId),
    /// That of the organisation or group whose repositories a pattern covers.
    Pattern(PatternName),
}

/// What is known of a webhook from looks before.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// When the last look that left nothing began.
    at: Option<Timestamp>,
    /// What the last look did not reach, and when the first of the looks began that go through all of it.
    rest: Option<(Timestamp, Place)>,
    /// Which webhook is ours.
    hook: Option<String>,
    /// The number of a webhook that we made and that is not there any more.
    gone: Option<String>,
    /// The address that no webhook there had, or none that is to be seen, and until when the forge is not asked for it again.
    no_hook: Option<(String, Timestamp)>,
    /// Of an owner's: the deliveries that are for no repository of ours, and when they were last told of.
    nobodys: HashMap<String, Timestamp>,
    /// What went wrong last, so that it is said once.
    error: Option<String>,
}

/// Looks at all projects whose forge keeps deliveries and has given us a token.
pub async fn look(app: &App) -> anyhow::Result<()> {
    let mut after = String::new();
    loop {
        let from = after.clone();
        let page = app.db.read(move |tx| project::list(tx, &from, PAGE)).await?;
        let Some(last) = page.last() else { break };
        after = last.name.to_string();
        for project in page.iter().filter(|project| project.active) {
            look_at(app, project).await;
        }
    }
    owner::look(app).await;
    Ok(())
}

async fn look_at(app: &App, project: &Project) {
    let Some(api) = api_for(app, &project.spec) else { return };
    let whose = Whose::Project(project.id);
    let Some((mut looked, now)) = begun(app, &whose, &api) else { return };
    let found = find(app, project, &api, &mut looked).await;
    ended(app, (whose, project.name.as_str(), &api), looked, found, now);
}

/// What is known, and when this look begins; None while the API is left alone.
fn begun(app: &App, whose: &Whose, api: &Api) -> Option<(Looked, Timestamp)> {
    let now = app.clock.now();
    let looked = || locked(&app.forges.missed).get(whose).cloned().unwrap_or_default();
    (!app.forges.is_paused(api.base(), now)).then(|| (looked(), now))
}

/// Keeps what a look learnt, or says why it came to nothing.
fn ended(
    app: &App,
    (whose, name, api): (Whose, &str, &Api),
    mut looked: Looked,
    found: Result<Option<Timestamp>, CallError>,
    now: Timestamp,
) {
    match found {
        Ok(at) => {
            looked.error = None;
            looked.at = at.or(looked.at);
        }
        Err(error) => {
            if error.is_transient() {
                app.forges.pause(api.base(), &error, now);
            } else {
                // It may be the place that the forge does not know any more.
                looked.rest = None;
            }
            // A webhook that was made anew has another number.
            let hook = looked.hook.take();
            if matches!(error, CallError::Api(ApiError::NotFound { .. })) {
                looked.gone = hook.or(looked.gone);
            }
            let error = error.to_string();
            if looked.error.as_ref() != Some(&error) {
                tracing::warn!(
                    project.name = name,
                    error,
                    "deliveries that were missed cannot be looked for; polling finds what moved"
                );
            }
            looked.error = Some(error);
        }
    }
    locked(&app.forges.missed).insert(whose, looked);
}

fn api_for(app: &App, spec: &ProjectSpec) -> Option<Api> {
    let keeps = matches!(spec.forge.parse(), Ok(Forge::Github | Forge::Gitlab));
    let live = app.live();
    access(&live, spec).filter(|_| keeps)?.api(spec).ok()
}

/// When the look began that leaves nothing of what the forge tells of; None where something is left.
async fn find(
    app: &App,
    project: &Project,
    api: &Api,
    looked: &mut Looked,
) -> Result<Option<Timestamp>, CallError> {
    if looked.hook.is_none() {
        looked.hook = our_hook(app, project, api, looked).await?;
    }
    // One that is found later may have missed something by then.
    let Some(hook) = looked.hook.clone() else { return Ok(None) };
    let found = listed(app, api, HooksOf::Repository, &hook, looked).await?;
    let mut unknown = unknown(app, project, found.deliveries).await.map_err(|error| database(&error))?;
    let is_all = unknown.len() <= DELIVERIES_MAX;
    unknown.truncate(DELIVERIES_MAX);
    for delivery in unknown {
        act(app, project, api, &hook, delivery).await?;
    }
    Ok(looked.took(is_all, found.began, found.rest))
}

/// A part of what the forge tells of.
struct Listed {
    deliveries: Vec<Delivery>,
    /// When the first of the looks began that go through all of it.
    began: Timestamp,
    rest: Option<Place>,
}

impl Looked {
    /// Where the next look begins, after one that found this: where it left off, or at the top. When the look began
    /// that leaves nothing; None where something is left.
    fn took(&mut self, is_all: bool, began: Timestamp, rest: Option<Place>) -> Option<Timestamp> {
        if !is_all {
            return None;
        }
        self.rest = rest.map(|place| (began, place));
        self.rest.is_none().then_some(began)
    }
}

/// What the forge tells of since the last look that left nothing, from where the look before this one left off.
async fn listed(app: &App, api: &Api, of: HooksOf, hook: &str, looked: &Looked) -> Result<Listed, CallError> {
    let now = app.clock.now();
    let since = looked.at.map_or_else(|| now.minus(FIRST), |at| at.minus(OVERLAP));
    let (began, place) = looked.rest.clone().map_or((now, None), |(began, place)| (began, Some(place)));
    let (listing, hook) = (api.clone(), hook.to_owned());
    let found =
        blocking(app, move |mut carry| listing.missed_deliveries(of, &hook, since, place, &mut carry))
            .await?;
    Ok(Listed { deliveries: found.deliveries, began, rest: found.rest })
}

/// Those that neither came nor were found before.
async fn unknown(app: &App, project: &Project, found: Vec<Delivery>) -> Result<Vec<Delivery>, DbError> {
    let id = project.id;
    let read = app.db.read(move |tx| {
        let mut unknown = Vec::new();
        for delivery in &found {
            if !missed::is_known(tx, id, &delivery.guid)? {
                unknown.push(delivery.clone());
            }
        }
        Ok(unknown)
    });
    read.await
}

/// The number of the project's webhook at the forge: of the one that was made by us, else of the one with our address.
async fn our_hook(
    app: &App,
    project: &Project,
    api: &Api,
    looked: &mut Looked,
) -> Result<Option<String>, CallError> {
    let name = project.spec.pattern.as_ref().map_or(project.name.to_string(), ToString::to_string);
    let of = name.clone();
    let made =
        app.db.read(move |tx| forge_object::made_for(tx, &of)).await.map_err(|error| database(&error))?;
    let ours = |one: &&forge_object::ForgeObject| {
        one.kind == Kind::Hook
            && one.api == api.base().as_str()
            && one.repository == project.spec.repository.as_str()
            && Some(&one.remote_id) != looked.gone.as_ref()
    };
    // The newest: of those before it nobody may have said that they are gone.
    if let Some(made) = made.iter().rev().find(ours) {
        return Ok(Some(made.remote_id.clone()));
    }
    let Some(url) = app.live().config.server.public_url.clone() else { return Ok(None) };
    let url = format!("{url}/hooks/{name}");
    let now = app.clock.now();
    if looked.no_hook.as_ref().is_some_and(|(of, until)| *of == url && now < *until) {
        return Ok(None);
    }
    let listing = api.clone();
    let hooks = blocking(app, move |mut carry| listing.hooks(&mut carry)).await?;
    let ours = hooks.into_iter().find(|hook| hook.url == url).map(|hook| hook.id);
    looked.no_hook = ours.is_none().then(|| (url, now.plus(NO_HOOK)));
    Ok(ours)
}

async fn act(
    app: &App,
    project: &Project,
    api: &Api,
    hook: &str,
    delivery: Delivery,
) -> Result<(), CallError> {
    // Where there is none the remote is looked at all the same.
    let payload = payload(app, api, HooksOf::Repository, hook, &delivery).await?;
    let requests = payload.map(|payload| requests(project, &delivery, &payload)).unwrap_or_default();
    let (id, guid) = (project.id, delivery.guid);
    tracing::info!(project.name = %project.name, delivery.remote_id = guid, builds = requests.len(), "a delivery that never came was found at the forge");
    let noted = app.db.transact(move |tx| {
        if missed::note(tx, id, &guid)? {
            requests.iter().try_for_each(|asked| request::add(tx, id, asked).map(drop))?;
            job::ask_for_look(tx, id, job::PRIORITY_HOOK)?;
        }
        Ok(())
    });
    noted.await.map_err(|error: DbError| database(&error))
}

/// The payload; None where it is gone by now, or not to be read.
async fn payload(
    app: &App,
    api: &Api,
    of: HooksOf,
    hook: &str,
    delivery: &Delivery,
) -> Result<Option<UnsignedPayload>, CallError> {
    let (asking, hook, one) = (api.clone(), hook.to_owned(), delivery.clone());
    match blocking(app, move |mut carry| asking.payload(of, &hook, &one, &mut carry)).await {
        Err(CallError::Api(ApiError::NotFound { .. } | ApiError::Shape { .. })) => Ok(None),
        payload => payload,
    }
}

/// What a payload asks to be built, as far as it is of this repository.
fn requests(project: &Project, delivery: &Delivery, payload: &UnsignedPayload) -> Vec<BuildRequest> {
    let builds = |kind: EventKind| matches!(kind, EventKind::Push | EventKind::Tag | EventKind::Release);
    let events = events(&project.spec.forge, delivery, payload).into_iter();
    let ours =
        events.filter(|event| builds(event.kind) && intake::repository_fault(project, event).is_none());
    let asked = ours.filter_map(|event| {
        let is_release = event.kind == EventKind::Release;
        Some(BuildRequest {
            pipeline: None,
            git_ref: Some(event.git_ref?),
            commit: event.after,
            is_release,
            cause: "missed".to_owned(),
            cause_id: Some(delivery.guid.clone()),
        })
        .filter(|asked| asked.commit.is_some() || is_release)
    });
    asked.take(REQUESTS_MAX).collect()
}

/// What a payload tells; nothing where it cannot be read.
fn events(forge: &str, delivery: &Delivery, payload: &UnsignedPayload) -> Vec<Event> {
    let event = Some(delivery.event.as_str()).filter(|event| !event.is_empty());
    let Ok(forge) = forge.parse::<Forge>() else { return Vec::new() };
    parse_unverified(forge, event, payload.json()).unwrap_or_default()
}

fn database(error: &DbError) -> CallError {
    CallError::Carry { text: format!("the database: {error}"), is_transient: true, public: None }
}

#[cfg(test)]
mod tests;
