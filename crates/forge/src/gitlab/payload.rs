//! GitLab's payloads: the few fields that are needed of each. Webhooks name the event in `object_kind`,
//! system hooks in `event_name`; some have both.

use std::str;

use gristmill_model::{Event, EventKind, EventRepository};
use serde::Deserialize;

use crate::change::{self, Parts, Release};
use crate::parse::{Object, ParseError, from_json};
use crate::verify;

#[derive(Deserialize)]
struct Named {
    object_kind: Option<String>,
    event_name: Option<String>,
}

#[derive(Deserialize)]
struct Project {
    path_with_namespace: String,
    id: Option<u64>,
}

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    git_ref: String,
    before: Option<String>,
    after: String,
    project_id: Option<u64>,
    project: Object<Project>,
}

#[derive(Deserialize)]
struct ReleaseEvent {
    action: String,
    tag: String,
    project: Object<Project>,
}

/// A system hook's summary of a push.
#[derive(Deserialize)]
struct Update {
    project_id: Option<u64>,
    project: Object<Project>,
    changes: Vec<Object<Change>>,
}

#[derive(Deserialize)]
struct Change {
    #[serde(rename = "ref")]
    git_ref: String,
    before: Option<String>,
    after: Option<String>,
}

/// Any other event. Those of system hooks have the project's fields at the top.
#[derive(Deserialize)]
struct Other {
    project: Option<Object<Project>>,
    project_id: Option<u64>,
    path_with_namespace: Option<String>,
}

/// The event's name in a body, where there is one.
pub(super) fn event_name(body: &[u8]) -> Option<String> {
    verify::event_name(named(str::from_utf8(body).ok()?).ok()??.as_bytes())
}

fn named(json: &str) -> Result<Option<String>, ParseError> {
    match from_json::<Named>("webhook", json) {
        Ok(names) => Ok(names.object_kind.or(names.event_name)),
        Err(ParseError::Shape { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a payload tells of.
pub(crate) fn parse(json: &str) -> Result<Vec<Event>, ParseError> {
    let Some(event) = named(json)? else {
        let reason = "the body names no event; expected `object_kind` or `event_name`".to_owned();
        return Ok(vec![Event { reason: Some(reason), ..other("webhook", json)? }]);
    };
    match event.as_str() {
        "push" | "tag_push" => Ok(vec![push(&event, json)?]),
        "release" => Ok(vec![release(json)?]),
        "repository_update" => update(json),
        name => Ok(vec![other(name, json)?]),
    }
}

fn push(event: &str, json: &str) -> Result<Event, ParseError> {
    let payload: Push = from_json(event, json)?;
    let git_ref = change::git_ref(event, "ref", &payload.git_ref)?;
    let before = change::commit(event, "before", payload.before.as_deref())?;
    let after = change::commit(event, "after", Some(&payload.after))?;
    let repository = repository(event, payload.project.0, payload.project_id)?;
    Ok(change::moved(Some(repository), git_ref, before, after))
}

fn release(json: &str) -> Result<Event, ParseError> {
    let payload: ReleaseEvent = from_json("release", json)?;
    let repository = repository("release", payload.project.0, None)?;
    let found = Release { action: &payload.action, publishes: "create" };
    found.event(Some(repository), "tag", &payload.tag)
}

/// Comes once for each push, beside `push` and `tag_push` where these are switched on. So it is told as
/// `create` is: the remote is looked at, and no move is told twice.
fn update(json: &str) -> Result<Vec<Event>, ParseError> {
    let event = "repository_update";
    let payload: Update = from_json(event, json)?;
    let repository = repository(event, payload.project.0, payload.project_id)?;
    change::each(payload.changes, Some(&repository), |index, Object(found)| {
        let field = |name| format!("changes[{index}].{name}");
        let git_ref = change::git_ref(event, &field("ref"), &found.git_ref)?;
        let before = change::commit(event, &field("before"), found.before.as_deref())?;
        let after = change::commit(event, &field("after"), found.after.as_deref())?;
        let reason = "`repository_update` only makes the remote be looked at; what it finds there is built";
        let moved = change::moved(Some(repository.clone()), git_ref, before, after);
        Ok(Event { kind: EventKind::Ignored, reason: moved.reason.or(Some(reason.to_owned())), ..moved })
    })
}

/// An event that nothing follows from. Its body need not be of a shape that we know.
fn other(event: &str, json: &str) -> Result<Event, ParseError> {
    let found = match from_json::<Other>(event, json) {
        Ok(Other { project: Some(Object(project)), project_id, .. }) => Some((project, project_id)),
        Ok(Other { path_with_namespace: Some(path_with_namespace), project_id, .. }) => {
            Some((Project { path_with_namespace, id: None }, project_id))
        }
        Ok(_) | Err(ParseError::Shape { .. }) => None,
        Err(error) => return Err(error),
    };
    let repository = found.and_then(|(project, id)| repository(event, project, id).ok());
    Ok(Event { repository, ..Event::ignored(change::uninteresting(event)) })
}

fn repository(event: &str, project: Project, id: Option<u64>) -> Result<EventRepository, ParseError> {
    let id = id.or(project.id).map(|id| id.to_string());
    let name = project.path_with_namespace;
    change::repository(event, "project.path_with_namespace", name, id, Parts::Nested)
}
