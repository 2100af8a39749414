//! The nouns of Gristmill: ids, digests, git names, events, plans and states.
//!
//! No IO, no async, no clock of its own: everything here is a value or a pure function.

pub mod asset;
pub mod digest;
pub mod event;
pub mod git;
pub mod hex;
pub mod id;
pub mod key;
pub mod path_filter;
pub mod pattern;
pub mod plan;
pub mod public;
mod repo;
pub mod retry;
pub mod spec;
pub mod state;
pub mod time;

pub use asset::{AssetFile, AssetKeys, AssetOrigin, AssetSet, AssetState};
pub use digest::Digest;
pub use event::{Event, EventKind, EventRepository};
pub use git::{BlobId, CommitId, GitRef, ObjectFormat, ObjectId, TreeId};
pub use id::{
    ArtifactId, BootId, DeliveryId, DeployKeyId, FolderId, JobId, ProjectId, PublicationId, RunId, TokenId,
};
pub use key::{KEY_BYTES_MAX, KeyFields, KeyTemplate, ObjectKey};
pub use path_filter::{NameGlob, PathFilter, PathFilterError};
pub use pattern::{NamePattern, RefFilter};
pub use plan::{EdgeKind, Plan, PlanError, PlannedEdge, PlannedJob};
pub use public::{PublicEnd, PublicReason};
pub use repo::{RepoPath, RepoPathError, Repositories};
pub use spec::{
    ArchiveFormat, ArchiveOptions, ArchiveSpec, Attributes, Download, FetchBy, FirstLook, Keep, PatternName,
    PatternNameError, PipelineKind, PipelineSpec, ProjectName, ProjectPattern, ProjectSpec, REPO_PLACEHOLDER,
};
pub use state::{DeliveryState, JobState, PublicationState, RunState, StepState};
pub use time::{Clock, ManualClock, Timestamp};

/// Serialises a type by `Display` and reads it by `FromStr`.
macro_rules! serde_as_text {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use serde_as_text;

/// How much of a refused text an error repeats.
const SHOWN_CHARS_MAX: usize = 100;

/// A refused text as an error may show it: cut, and without control characters, because it ends up
/// in terminals and logs.
pub(crate) fn shorten(text: &str) -> String {
    let mut shown: String =
        text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::shorten;

    #[test]
    fn refused_texts_are_cut_and_cleaned() {
        assert_eq!(shorten("a\nb\u{1b}\u{85}c"), "a\u{fffd}b\u{fffd}\u{fffd}c");
        assert_eq!(shorten(&"é".repeat(100)), "é".repeat(100));
        assert_eq!(shorten(&"é".repeat(101)), format!("{}…", "é".repeat(100)));
        assert_eq!(shorten(""), "");
    }
}
