//! The payloads of Bitbucket Cloud: the few fields that are needed of each.

use std::collections::BTreeMap;

use gristmill_model::{Event, EventRepository, GitRef};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::change::{self, Parts};
use crate::parse::{Object, ParseError, from_json};
use crate::text::shown;

const PUSH: &str = "repo:push";

#[derive(Deserialize)]
struct Repository {
    full_name: String,
    /// In braces.
    uuid: Option<String>,
}

#[derive(Deserialize)]
struct Push {
    repository: Object<Repository>,
    push: Object<Changes>,
}

#[derive(Deserialize)]
struct Changes {
    changes: Vec<Object<Change>>,
}

/// Without `old` the ref is new, without `new` it is gone.
#[derive(Deserialize)]
struct Change {
    old: Option<Object<Ref>>,
    new: Option<Object<Ref>>,
}

#[derive(Deserialize)]
struct Ref {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    target: Object<Target>,
}

#[derive(Deserialize)]
struct Target {
    hash: String,
}

/// What a payload without a name tells of. A push alone has a field of its own.
pub(crate) fn parse_unnamed(json: &str) -> Result<Vec<Event>, ParseError> {
    let fields: BTreeMap<String, IgnoredAny> = from_json("webhook", json)?;
    if fields.contains_key("push") {
        return parse(PUSH, json);
    }
    let names = fields.into_keys().collect::<Vec<_>>().join(", ");
    let reason = format!("the body is of no event that moves a ref; its fields are: {}", shown(&names));
    Ok(vec![Event { reason: Some(reason), ..other("webhook", json)? }])
}

/// What the payload of `event` tells of.
pub(crate) fn parse(event: &str, json: &str) -> Result<Vec<Event>, ParseError> {
    if event != PUSH {
        return Ok(vec![other(event, json)?]);
    }
    let payload: Push = from_json(PUSH, json)?;
    let repository = repository(PUSH, payload.repository.0)?;
    change::each(payload.push.0.changes, Some(&repository), |index, Object(found)| {
        change(index, found, &repository)
    })
}

fn change(index: usize, change: Change, repository: &EventRepository) -> Result<Event, ParseError> {
    let (old, new) = (change.old.map(|old| old.0), change.new.map(|new| new.0));
    let repository = Some(repository.clone());
    let Some(either) = new.as_ref().or(old.as_ref()) else {
        let reason = "a change has neither `old` nor `new`: it tells of no ref";
        return Ok(Event { repository, ..Event::ignored(reason) });
    };
    let field = |name: &str| format!("push.changes[{index}].{name}");
    let side = if new.is_some() { "new" } else { "old" };
    let full_name: fn(&str) -> _ = match either.kind.as_str() {
        "branch" => GitRef::from_branch,
        "tag" => GitRef::from_tag,
        other => {
            let reason = format!("a `{}` is neither a branch nor a tag", shown(other));
            return Ok(Event { repository, ..Event::ignored(reason) });
        }
    };
    let git_ref = full_name(&either.name)
        .map_err(|error| ParseError::shape(PUSH, &field(&format!("{side}.name")), error))?;
    let commit = |side: &Option<Ref>, name: &str| {
        let hash = side.as_ref().map(|side| side.target.0.hash.as_str());
        change::commit(PUSH, &field(&format!("{name}.target.hash")), hash)
    };
    Ok(change::moved(repository, git_ref, commit(&old, "old")?, commit(&new, "new")?))
}

/// An event that nothing follows from.
fn other(event: &str, json: &str) -> Result<Event, ParseError> {
    change::of_no_move(event, json, repository)
}

fn repository(event: &str, payload: Repository) -> Result<EventRepository, ParseError> {
    change::repository(event, "repository.full_name", payload.full_name, payload.uuid, Parts::Two)
}
