//! [`Event`]: one change that a delivery tells of.

use serde::{Deserialize, Serialize};

use crate::git::{CommitId, GitRef};

/// What kind of change a forge told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A branch moved.
    Push,
    /// A tag was made or moved.
    Tag,
    /// A branch or tag is gone. Builds nothing.
    Delete,
    /// The forge published a release.
    Release,
    /// The forge tries whether anybody answers.
    Ping,
    /// Nothing to build. Where the event names a ref, the remote is looked at all the same.
    Ignored,
}

/// The repository as the forge named it. A hint: the project's configuration decides.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EventRepository {
    /// `owner/name`, with more slashes on forges that nest groups.
    pub full_name: String,
    /// The forge's own id, numeric at most forges, as text. Survives renames; a deleted and
    /// re-created name has another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// One change that a delivery tells of. A delivery has at least one, if only to say why nothing follows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Where, as the forge named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<EventRepository>,
    /// The full ref name.
    #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
    pub git_ref: Option<GitRef>,
    /// Where the ref pointed before; absent for a new ref.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<CommitId>,
    /// Where the ref points now; absent for a deleted one. For a tag push this is what the forge
    /// sent, which for an annotated tag may be the tag object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<CommitId>,
    /// Why nothing is built, for [`EventKind::Ignored`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Event {
    /// An event that builds nothing, and why.
    pub fn ignored(reason: impl Into<String>) -> Event {
        Event {
            kind: EventKind::Ignored,
            repository: None,
            git_ref: None,
            before: None,
            after: None,
            reason: Some(reason.into()),
        }
    }
}

#[cfg(test)]
mod tests;
