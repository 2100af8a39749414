//! The payloads of Gitea, Forgejo and Gogs, which are GitHub's but for this.

use std::collections::BTreeMap;

use gristmill_model::{Event, GitRef};
use serde::de::IgnoredAny;

use crate::github::{BadRef, RefKind, parse_with, unknown};
use crate::parse::{ParseError, from_json};

/// The event that a payload without a name is of, where its fields tell; else what it tells of then.
pub(crate) fn parse_unnamed(json: &str) -> Result<Vec<Event>, ParseError> {
    let fields: BTreeMap<String, IgnoredAny> = from_json("webhook", json)?;
    let has = |names: &[&str]| names.iter().all(|name| fields.contains_key(*name));
    let event = if has(&["ref", "before", "after"]) {
        "push"
    } else if has(&["ref_type", "pusher_type"]) {
        "delete"
    } else if has(&["ref_type"]) {
        // From this one the remote is looked at and nothing else follows, should it be wrong.
        "create"
    } else if has(&["release", "action"]) {
        "release"
    } else {
        return unknown(fields.into_keys(), json);
    };
    parse(event, json)
}

/// What the payload of `event` tells of.
pub(crate) fn parse(event: &str, json: &str) -> Result<Vec<Event>, ParseError> {
    parse_with(event, json, full_name)
}

/// Some versions name refs in full where others do not. A branch whose own name begins with
/// `refs/heads/` is taken for the shorter one; from `create` and `delete` nothing is built anyway.
fn full_name(kind: RefKind, name: &str) -> Result<GitRef, BadRef> {
    let prefix = match kind {
        RefKind::Branch => "refs/heads/",
        RefKind::Tag => "refs/tags/",
    };
    kind.full(name.strip_prefix(prefix).unwrap_or(name))
}
