//! GitHub's payloads: the few fields that are needed of each. Those of Gitea and its family are alike.

use std::collections::BTreeMap;
use std::str::FromStr;

use gristmill_model::{Event, EventKind, EventRepository, GitRef};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::change::{self, Parts};
use crate::parse::{Object, ParseError, from_json};
use crate::text::shown;

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

/// Why a name is none.
pub(crate) type BadRef = <GitRef as FromStr>::Err;

/// Makes a full name of the one in `create` and `delete`.
pub(crate) type FullName = fn(kind: RefKind, name: &str) -> Result<GitRef, BadRef>;

/// What a short name is the name of.
#[derive(Clone, Copy)]
pub(crate) enum RefKind {
    Branch,
    Tag,
}

impl RefKind {
    /// The full name of a short one.
    pub(crate) fn full(self, name: &str) -> Result<GitRef, BadRef> {
        match self {
            RefKind::Branch => GitRef::from_branch(name),
            RefKind::Tag => GitRef::from_tag(name),
        }
    }
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
        return unknown(fields.into_keys(), json);
    };
    parse(event, json)
}

/// What a payload tells of whose fields say nothing.
pub(crate) fn unknown(fields: impl Iterator<Item = String>, json: &str) -> Result<Vec<Event>, ParseError> {
    let names = fields.collect::<Vec<_>>().join(", ");
    let reason = format!("the body is of no event that moves a ref; its fields are: {}", shown(&names));
    Ok(vec![Event { reason: Some(reason), ..other("webhook", json)? }])
}

/// What the payload of `event` tells of.
pub(crate) fn parse(event: &str, json: &str) -> Result<Vec<Event>, ParseError> {
    parse_with(event, json, RefKind::full)
}

/// The same for a forge whose `create` and `delete` name refs in its own way.
pub(crate) fn parse_with(event: &str, json: &str, full_name: FullName) -> Result<Vec<Event>, ParseError> {
    let found = match event {
        "push" => push(json)?,
        "create" => create(json, full_name)?,
        "delete" => short_ref("delete", json, full_name, EventKind::Delete, None)?,
        "release" => release(json)?,
        "ping" => Event { kind: EventKind::Ping, reason: None, ..other("ping", json)? },
        name => other(name, json)?,
    };
    Ok(vec![found])
}

fn push(json: &str) -> Result<Event, ParseError> {
    let payload: Push = from_json("push", json)?;
    let git_ref = change::git_ref("push", "ref", &payload.git_ref)?;
    let before = change::commit("push", "before", payload.before.as_deref())?;
    let after = change::commit("push", "after", payload.after.as_deref())?;
    let deleted = payload.deleted == Some(true);
    if payload.after.is_none() && !deleted {
        return Err(ParseError::shape("push", ".", "missing field `after`"));
    }
    let repository = Some(repository("push", payload.repository.0)?);
    Ok(change::moved(repository, git_ref, before, after.filter(|_| !deleted)))
}

/// A branch or tag was made. Its `push` is another delivery, or (with more than three tags at once)
/// there is none: so the remote is looked at, and nothing is built from this alone.
fn create(json: &str, full_name: FullName) -> Result<Event, ParseError> {
    let reason = "`create` only makes the remote be looked at; what it finds there is built";
    short_ref("create", json, full_name, EventKind::Ignored, Some(reason))
}

fn short_ref(
    event: &str,
    json: &str,
    full_name: FullName,
    kind: EventKind,
    reason: Option<&str>,
) -> Result<Event, ParseError> {
    let payload: ShortRef = from_json(event, json)?;
    let repository = Some(repository(event, payload.repository.0)?);
    let ref_kind = match payload.ref_type.as_str() {
        "branch" => RefKind::Branch,
        "tag" => RefKind::Tag,
        // Old servers also send it for a whole repository.
        other => {
            let reason = format!("`{event}` of a `{}` is neither of a branch nor of a tag", shown(other));
            return Ok(Event { repository, ..Event::ignored(reason) });
        }
    };
    let name = payload.name.ok_or_else(|| ParseError::shape(event, ".", "missing field `ref`"))?;
    let git_ref = full_name(ref_kind, &name).map_err(|error| ParseError::shape(event, "ref", error))?;
    let reason = reason.map(str::to_owned);
    Ok(Event { kind, repository, git_ref: Some(git_ref), before: None, after: None, reason })
}

fn release(json: &str) -> Result<Event, ParseError> {
    let payload: ReleaseEvent = from_json("release", json)?;
    let repository = Some(repository("release", payload.repository.0)?);
    let found = change::Release { action: &payload.action, publishes: "published" };
    found.event(repository, "release.tag_name", &payload.release.0.tag_name)
}

/// An event that nothing follows from.
fn other(event: &str, json: &str) -> Result<Event, ParseError> {
    change::of_no_move(event, json, repository)
}

fn repository(event: &str, payload: Repository) -> Result<EventRepository, ParseError> {
    let id = payload.id.map(|id| id.to_string());
    change::repository(event, "repository.full_name", payload.full_name, id, Parts::Two)
}
