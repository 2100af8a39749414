//! What the payloads of all forges have in common: refs that moved in a repository.

use std::str::FromStr;

use gristmill_model::{CommitId, Event, EventKind, EventRepository, GitRef};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::parse::{Object, ParseError, from_json};
use crate::text::shown;

/// The most changes of one delivery that are told. Whoever moves more refs at once mirrors a repository;
/// the look at the remote that every delivery leads to finds the rest.
pub(crate) const CHANGES_MAX: usize = 5_000;

/// The longest name of a repository taken, in bytes, where groups are nested.
const NESTED_BYTES_MAX: usize = 1_000;
/// The longest `owner/name` taken, in bytes. GitHub allows 39 and 100.
const PAIR_BYTES_MAX: usize = 200;
/// The longest id of a repository taken, in bytes. A UUID in braces has 38.
const ID_BYTES_MAX: usize = 100;

/// Of how many parts the name of a repository is.
#[derive(Clone, Copy)]
pub(crate) enum Parts {
    /// `owner/name`.
    Two,
    /// Two or more, between slashes.
    Nested,
    /// One or more.
    Any,
    /// Two, in which spaces are allowed.
    TwoWithSpaces,
}

impl Parts {
    fn expected(self) -> &'static str {
        match self {
            Parts::Two => "`owner/name`",
            Parts::Nested => "`group/name`, with more slashes for nested groups",
            Parts::Any => "parts between slashes",
            Parts::TwoWithSpaces => "`project/name`",
        }
    }
}

/// Whether `text` is the full name of a repository.
pub(crate) fn is_full_name(text: &str, parts: Parts) -> bool {
    let spaces = matches!(parts, Parts::TwoWithSpaces);
    let is_part = |part: &str| {
        let blank = part.trim().is_empty();
        !blank && part.chars().all(|c| !c.is_control() && (!c.is_whitespace() || (spaces && c == ' ')))
    };
    let count = text.split('/').count();
    let (fits, bytes_max) = match parts {
        Parts::Two | Parts::TwoWithSpaces => (count == 2, PAIR_BYTES_MAX),
        Parts::Nested => (count >= 2, NESTED_BYTES_MAX),
        Parts::Any => (true, NESTED_BYTES_MAX),
    };
    fits && text.len() <= bytes_max && text.split('/').all(is_part)
}

/// The repository of this name and id, both checked. `field` is where the name stands.
pub(crate) fn repository(
    event: &str,
    field: &str,
    full_name: String,
    id: Option<String>,
    parts: Parts,
) -> Result<EventRepository, ParseError> {
    if !is_full_name(&full_name, parts) {
        let problem = format!("`{}` is not a repository; expected {}", shown(&full_name), parts.expected());
        return Err(ParseError::shape(event, field, problem));
    }
    let is_id = |id: &String| {
        (1..=ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if let Some(id) = id.as_ref().filter(|id| !is_id(id)) {
        let problem = format!("`{}` is not the id of a repository", shown(id));
        return Err(ParseError::shape(event, field, problem));
    }
    Ok(EventRepository { full_name, id })
}

/// A full ref name.
pub(crate) fn git_ref(event: &str, field: &str, text: &str) -> Result<GitRef, ParseError> {
    text.parse().map_err(|error| ParseError::shape(event, field, error))
}

/// A commit's id; all zeros, in either length, stand for "none".
pub(crate) fn commit(event: &str, field: &str, text: Option<&str>) -> Result<Option<CommitId>, ParseError> {
    let id = text.map(commit_or_zero).transpose();
    id.map(Option::flatten).map_err(|error| ParseError::shape(event, field, error))
}

/// The same without a place to blame.
pub(crate) fn commit_or_zero(text: &str) -> Result<Option<CommitId>, <CommitId as FromStr>::Err> {
    let is_zero = matches!(text.len(), 40 | 64) && text.bytes().all(|digit| digit == b'0');
    if is_zero { Ok(None) } else { text.parse().map(Some) }
}

/// A ref that points to `after` now, or to nothing any more.
pub(crate) fn moved(
    repository: Option<EventRepository>,
    git_ref: GitRef,
    before: Option<CommitId>,
    after: Option<CommitId>,
) -> Event {
    let mut reason = None;
    let kind = if git_ref.branch().is_none() && git_ref.tag().is_none() {
        reason = Some(format!("`{}` is neither a branch nor a tag", shown(git_ref.as_str())));
        EventKind::Ignored
    } else if after.is_none() {
        EventKind::Delete
    } else if git_ref.tag().is_some() {
        EventKind::Tag
    } else {
        EventKind::Push
    };
    Event { kind, repository, git_ref: Some(git_ref), before, after, reason }
}

/// One event for each change, at least one in all. Where it is of no change, it is of `repository`.
pub(crate) fn each<T>(
    changes: Vec<T>,
    repository: Option<&EventRepository>,
    read: impl Fn(usize, T) -> Result<Event, ParseError>,
) -> Result<Vec<Event>, ParseError> {
    let ignored = |reason: &str| Event { repository: repository.cloned(), ..Event::ignored(reason) };
    if changes.is_empty() {
        return Ok(vec![ignored("the delivery tells of no change")]);
    }
    let left_out = changes.len().saturating_sub(CHANGES_MAX);
    let taken = changes.into_iter().take(CHANGES_MAX).enumerate();
    let mut events = taken.map(|(index, change)| read(index, change)).collect::<Result<Vec<Event>, _>>()?;
    if left_out > 0 {
        let reason =
            format!("{left_out} more changes are not told; what they left at the remote is found there");
        events.push(ignored(&reason));
    }
    Ok(events)
}

/// Any event that nothing follows from. A ping of an organisation's hook, for one, is of no repository.
#[derive(Deserialize)]
#[serde(bound = "R: Deserialize<'de>")]
struct NoMove<R> {
    repository: Option<Object<R>>,
}

/// An event that nothing follows from, of the repository that `read` finds in it. Its body need not be of a
/// shape that we know.
pub(crate) fn of_no_move<R: DeserializeOwned>(
    event: &str,
    json: &str,
    read: fn(&str, R) -> Result<EventRepository, ParseError>,
) -> Result<Event, ParseError> {
    let repository = match from_json::<NoMove<R>>(event, json) {
        Ok(found) => found.repository.and_then(|found| read(event, found.0).ok()),
        Err(ParseError::Shape { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Event { repository, ..Event::ignored(uninteresting(event)) })
}

/// The reason for everything that nothing follows from.
pub(crate) fn uninteresting(event: &str) -> String {
    format!("nothing is built from `{}` events", shown(event))
}

/// A release of the forge's: something with a name, made of a tag.
pub(crate) struct Release<'a> {
    /// What was done with it.
    pub(crate) action: &'a str,
    /// What would have published it.
    pub(crate) publishes: &'static str,
}

impl Release<'_> {
    /// What follows from it. `field` is where the tag's name stands.
    pub(crate) fn event(
        &self,
        repository: Option<EventRepository>,
        field: &str,
        tag: &str,
    ) -> Result<Event, ParseError> {
        let git_ref = GitRef::from_tag(tag);
        if self.action != self.publishes {
            let (action, publishes) = (shown(self.action), self.publishes);
            let reason =
                format!("a release that was `{action}` builds nothing; one that is `{publishes}` does");
            // A draft may have a name that is no tag's yet.
            return Ok(Event { repository, git_ref: git_ref.ok(), ..Event::ignored(reason) });
        }
        let git_ref = Some(git_ref.map_err(|error| ParseError::shape("release", field, error))?);
        Ok(Event { kind: EventKind::Release, repository, git_ref, before: None, after: None, reason: None })
    }
}
