//! GitHub's payloads: the few fields that are needed of each.

use std::collections::BTreeMap;

use gristmill_model::{CommitId, Event, EventKind, EventRepository, GitRef};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::parse::{Object, ParseError, from_json};
use crate::text::shown;

/// The longest `owner/name` taken, in bytes. GitHub allows 39 and 100.
const FULL_NAME_BYTES_MAX: usize = 200;

#[derive(Deserialize)]
struct Repository {
    full_name: String,
    id: Option<u64>,
}

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    git_ref: String,
    before: Option<String>,
    after: Option<String>,
    deleted: Option<bool>,
    repository: Object<Repository>,
}

/// `create` and `delete`: a short name and what it is the name of.
#[derive(Deserialize)]
struct ShortRef {
    #[serde(rename = "ref")]
    name: Option<String>,
    ref_type: String,
    repository: Object<Repository>,
}

#[derive(Deserialize)]
struct ReleaseEvent {
    action: String,
    release: Object<Release>,
    repository: Object<Repository>,
}

#[derive(Deserialize)]
struct Release {
    tag_name: String,
}

/// Any other event. A ping of an organisation's hook, for one, is of no repository.
#[derive(Deserialize)]
struct Other {
    repository: Option<Object<Repository>>,
}

/// The event that a payload without a name is of, where its fields tell; else what it tells of then.
pub(crate) fn parse_unnamed(json: &str) -> Result<Vec<Event>, ParseError> {
    let fields: BTreeMap<String, IgnoredAny> = from_json("webhook", json)?;
    let has = |names: &[&str]| names.iter().all(|name| fields.contains_key(*name));
    let event = if has(&["zen", "hook_id"]) {
        "ping"
    } else if has(&["ref", "before", "after"]) {
        "push"
    } else if has(&["ref_type", "master_branch"]) {
        "create"
    } else if has(&["ref_type"]) {
        "delete"
    } else if has(&["release", "action"]) {
        "release"
    } else {
        let names = fields.into_keys().collect::<Vec<_>>().join(", ");
        let reason = format!("the body is of no event that moves a ref; its fields are: {}", shown(&names));
        return Ok(vec![Event { reason: Some(reason), ..other("webhook", json)? }]);
    };
    parse(event, json)
}

/// What the payload of `event` tells of.
pub(crate) fn parse(event: &str, json: &str) -> Result<Vec<Event>, ParseError> {
    let found = match event {
        "push" => push(json)?,
        "create" => create(json)?,
        "delete" => delete(json)?,
        "release" => release(json)?,
        "ping" => Event { kind: EventKind::Ping, reason: None, ..other("ping", json)? },
        name => other(name, json)?,
    };
    Ok(vec![found])
}

fn push(json: &str) -> Result<Event, ParseError> {
    let payload: Push = from_json("push", json)?;
    let git_ref: GitRef = payload.git_ref.parse().map_err(|error| ParseError::shape("push", "ref", error))?;
    let before = commit("before", payload.before.as_deref())?;
    let after = commit("after", payload.after.as_deref())?;
    let deleted = payload.deleted == Some(true);
    if payload.after.is_none() && !deleted {
        return Err(ParseError::shape("push", ".", "missing field `after`"));
    }
    let (kind, reason) = if git_ref.branch().is_none() && git_ref.tag().is_none() {
        (
            EventKind::Ignored,
            Some(format!("`{git_ref}` is neither a branch nor a tag", git_ref = shown(git_ref.as_str()))),
        )
    } else if deleted || after.is_none() {
        (EventKind::Delete, None)
    } else if git_ref.tag().is_some() {
        (EventKind::Tag, None)
    } else {
        (EventKind::Push, None)
    };
    let repository = Some(repository("push", payload.repository.0)?);
    let after = after.filter(|_| !deleted);
    Ok(Event { kind, repository, git_ref: Some(git_ref), before, after, reason })
}

/// A branch or tag was made. Its `push` is another delivery, or (with more than three tags at once)
/// there is none: so the remote is looked at, and nothing is built from this alone.
fn create(json: &str) -> Result<Event, ParseError> {
    let reason = "`create` only makes the remote be looked at; what it finds there is built";
    short_ref("create", json, EventKind::Ignored, Some(reason))
}

fn delete(json: &str) -> Result<Event, ParseError> {
    short_ref("delete", json, EventKind::Delete, None)
}

fn short_ref(event: &str, json: &str, kind: EventKind, reason: Option<&str>) -> Result<Event, ParseError> {
    let payload: ShortRef = from_json(event, json)?;
    let repository = Some(repository(event, payload.repository.0)?);
    let full_name: fn(&str) -> _ = match payload.ref_type.as_str() {
        "branch" => GitRef::from_branch,
        "tag" => GitRef::from_tag,
        // Old servers also send it for a whole repository.
        other => {
            let reason = format!("`{event}` of a `{}` is neither of a branch nor of a tag", shown(other));
            return Ok(Event { repository, ..Event::ignored(reason) });
        }
    };
    let name = payload.name.ok_or_else(|| ParseError::shape(event, ".", "missing field `ref`"))?;
    let git_ref = full_name(&name).map_err(|error| ParseError::shape(event, "ref", error))?;
    let reason = reason.map(str::to_owned);
    Ok(Event { kind, repository, git_ref: Some(git_ref), before: None, after: None, reason })
}

fn release(json: &str) -> Result<Event, ParseError> {
    let payload: ReleaseEvent = from_json("release", json)?;
    let repository = Some(repository("release", payload.repository.0)?);
    let git_ref = GitRef::from_tag(&payload.release.0.tag_name);
    if payload.action != "published" {
        let reason = format!(
            "a release that was `{}` builds nothing; one that is `published` does",
            shown(&payload.action)
        );
        // A draft may have a name that is no tag's yet.
        return Ok(Event { repository, git_ref: git_ref.ok(), ..Event::ignored(reason) });
    }
    let git_ref = git_ref.map_err(|error| ParseError::shape("release", "release.tag_name", error))?;
    Ok(Event {
        kind: EventKind::Release,
        repository,
        git_ref: Some(git_ref),
        before: None,
        after: None,
        reason: None,
    })
}

/// An event that nothing follows from. Its body need not be of a shape that we know.
fn other(event: &str, json: &str) -> Result<Event, ParseError> {
    let found = match from_json::<Other>(event, json) {
        Ok(payload) => payload.repository.and_then(|payload| repository(event, payload.0).ok()),
        Err(ParseError::Shape { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Event {
        repository: found,
        ..Event::ignored(format!("nothing is built from `{}` events", shown(event)))
    })
}

fn repository(event: &str, payload: Repository) -> Result<EventRepository, ParseError> {
    let full_name = payload.full_name;
    let part = |text: &str| {
        !text.is_empty() && text.chars().all(|c| !c.is_control() && !c.is_whitespace() && c != '/')
    };
    let fits = full_name.len() <= FULL_NAME_BYTES_MAX
        && full_name.split_once('/').is_some_and(|(owner, name)| part(owner) && part(name));
    if !fits {
        let problem = format!("`{}` is not a repository; expected `owner/name`", shown(&full_name));
        return Err(ParseError::shape(event, "repository.full_name", problem));
    }
    Ok(EventRepository { full_name, id: payload.id.map(|id| id.to_string()) })
}

/// A commit's id in a push; all zeros, in either length, stand for "none".
fn commit(field: &str, text: Option<&str>) -> Result<Option<CommitId>, ParseError> {
    let is_zero = |text: &&str| matches!(text.len(), 40 | 64) && text.bytes().all(|digit| digit == b'0');
    let id = text.filter(|text| !is_zero(text)).map(str::parse).transpose();
    id.map_err(|error| ParseError::shape("push", field, error))
}
