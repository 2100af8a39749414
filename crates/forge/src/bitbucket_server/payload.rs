//! The payloads of Bitbucket Server and Data Center: the few fields that are needed of each.

use gristmill_model::{Event, EventKind, EventRepository};
use serde::Deserialize;

use super::PING;
use crate::change::{self, Parts};
use crate::parse::{Object, ParseError, from_json};

const PUSH: &str = "repo:refs_changed";

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "eventKey")]
    event_key: Option<String>,
}

/// Two projects may each have a repository of one name: only with the project's key it is one.
#[derive(Deserialize)]
struct Repository {
    slug: String,
    id: Option<u64>,
    project: Object<Project>,
}

#[derive(Deserialize)]
struct Project {
    key: String,
}

#[derive(Deserialize)]
struct Push {
    repository: Object<Repository>,
    changes: Vec<Object<Change>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    /// In full.
    ref_id: String,
    from_hash: String,
    to_hash: String,
}

/// What a payload tells of that names its event itself. A test of the connection does not.
pub(crate) fn parse_unnamed(json: &str) -> Result<Vec<Event>, ParseError> {
    let named = match from_json::<Named>("webhook", json) {
        Ok(found) => found.event_key,
        Err(ParseError::Shape { .. }) => None,
        Err(error) => return Err(error),
    };
    match named {
        Some(event) => parse(&event, json),
        None => {
            let reason = "the body names no event; expected `eventKey`".to_owned();
            Ok(vec![Event { reason: Some(reason), ..other("webhook", json)? }])
        }
    }
}

/// What the payload of `event` tells of.
pub(crate) fn parse(event: &str, json: &str) -> Result<Vec<Event>, ParseError> {
    match event {
        PUSH => push(json),
        PING => Ok(vec![Event { kind: EventKind::Ping, reason: None, ..other(PING, json)? }]),
        name => Ok(vec![other(name, json)?]),
    }
}

fn push(json: &str) -> Result<Vec<Event>, ParseError> {
    let payload: Push = from_json(PUSH, json)?;
    let repository = repository(PUSH, payload.repository.0)?;
    change::each(payload.changes, Some(&repository), |index, Object(found)| {
        let field = |name| format!("changes[{index}].{name}");
        let git_ref = change::git_ref(PUSH, &field("refId"), &found.ref_id)?;
        let before = change::commit(PUSH, &field("fromHash"), Some(&found.from_hash))?;
        let after = change::commit(PUSH, &field("toHash"), Some(&found.to_hash))?;
        Ok(change::moved(Some(repository.clone()), git_ref, before, after))
    })
}

/// An event that nothing follows from.
fn other(event: &str, json: &str) -> Result<Event, ParseError> {
    change::of_no_move(event, json, repository)
}

fn repository(event: &str, payload: Repository) -> Result<EventRepository, ParseError> {
    let name = format!("{}/{}", payload.project.0.key, payload.slug);
    change::repository(event, "repository.slug", name, payload.id.map(|id| id.to_string()), Parts::Two)
}
