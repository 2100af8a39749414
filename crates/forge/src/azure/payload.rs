//! The payloads of Azure DevOps: the few fields that are needed of each.

use gristmill_model::{Event, EventRepository};
use serde::Deserialize;

use crate::change::{self, Parts};
use crate::parse::{Object, ParseError, from_json};
use crate::verify;

const PUSH: &str = "git.push";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    event_type: Option<String>,
    id: Option<String>,
    subscription_id: Option<String>,
}

#[derive(Deserialize)]
struct Push {
    resource: Object<Resource>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    ref_updates: Vec<Object<RefUpdate>>,
    repository: Object<Repository>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefUpdate {
    /// In full.
    name: String,
    old_object_id: String,
    new_object_id: String,
}

/// The organisation is not among its fields; the id is one of a kind without it.
#[derive(Deserialize)]
struct Repository {
    id: Option<String>,
    name: String,
    project: Object<Project>,
}

#[derive(Deserialize)]
struct Project {
    name: String,
}

#[derive(Deserialize)]
struct Other {
    resource: Option<Object<OtherResource>>,
}

#[derive(Deserialize)]
struct OtherResource {
    repository: Option<Object<Repository>>,
}

/// The event's name and the delivery's id in a body, where they are. An event has one id; with more than
/// one subscription it is delivered for each.
pub(super) fn names(json: &str) -> (Option<String>, Option<String>) {
    let Ok(named) = from_json::<Named>("webhook", json) else { return (None, None) };
    let event = named.event_type.and_then(|event| verify::event_name(event.as_bytes()));
    let id = match (named.subscription_id, named.id) {
        (Some(subscription), Some(id)) => Some(format!("{subscription}/{id}")),
        (_, id) => id,
    };
    (event, id.and_then(|id| verify::delivery_id(id.as_bytes())))
}

/// What a payload tells of.
pub(crate) fn parse(json: &str) -> Result<Vec<Event>, ParseError> {
    let named = match from_json::<Named>("webhook", json) {
        Ok(found) => found.event_type,
        Err(ParseError::Shape { .. }) => None,
        Err(error) => return Err(error),
    };
    match named.as_deref() {
        Some(PUSH) => push(json),
        Some(name) => Ok(vec![other(name, json)?]),
        None => {
            let reason = "the body names no event; expected `eventType`".to_owned();
            Ok(vec![Event { reason: Some(reason), ..other("webhook", json)? }])
        }
    }
}

fn push(json: &str) -> Result<Vec<Event>, ParseError> {
    let resource = from_json::<Push>(PUSH, json)?.resource.0;
    let repository = repository(PUSH, resource.repository.0)?;
    change::each(resource.ref_updates, Some(&repository), |index, Object(found)| {
        let field = |name| format!("resource.refUpdates[{index}].{name}");
        let git_ref = change::git_ref(PUSH, &field("name"), &found.name)?;
        let before = change::commit(PUSH, &field("oldObjectId"), Some(&found.old_object_id))?;
        let after = change::commit(PUSH, &field("newObjectId"), Some(&found.new_object_id))?;
        Ok(change::moved(Some(repository.clone()), git_ref, before, after))
    })
}

/// An event that nothing follows from. Its body need not be of a shape that we know.
fn other(event: &str, json: &str) -> Result<Event, ParseError> {
    let found = match from_json::<Other>(event, json) {
        Ok(payload) => payload.resource.and_then(|resource| resource.0.repository),
        Err(ParseError::Shape { .. }) => None,
        Err(error) => return Err(error),
    };
    let repository = found.and_then(|found| repository(event, found.0).ok());
    Ok(Event { repository, ..Event::ignored(change::uninteresting(event)) })
}

fn repository(event: &str, payload: Repository) -> Result<EventRepository, ParseError> {
    let name = format!("{}/{}", payload.project.0.name, payload.name);
    change::repository(event, "resource.repository.name", name, payload.id, Parts::TwoWithSpaces)
}
