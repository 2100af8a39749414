//! Why a set was not written.

use gristmill_model::AssetSet;
use gristmill_storage::StorageError;

/// Why a set was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The set is there with other bytes.
    #[error(
        "{place} is there already with other content ({what}); the same build should give the same bytes. To replace it, use --force"
    )]
    Other {
        /// Where.
        place: String,
        /// What differs.
        what: String,
    },
    /// Somebody else writes it now, with other bytes.
    #[error("{0} was taken over by another job that uploads other content; its set is the one that counts")]
    Overtaken(String),
    /// Its manifest is not one of this version's.
    #[error(
        "{0} cannot be read: another version of this program may have written it; use that one, or --force"
    )]
    Unreadable(String),
    /// What was to be copied is gone.
    #[error("{0} is not there any more")]
    SourceGone(String),
    /// A file changed while it was read.
    #[error("reading {path}: {source}")]
    File {
        /// Which.
        path: String,
        /// What happened.
        source: std::io::Error,
    },
    /// The bucket cannot be asked.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// In what two sets differ, for people.
pub(super) fn difference(theirs: &AssetSet, ours: &AssetSet) -> String {
    let of = |set: &AssetSet, path: &str| set.files.iter().find(|file| file.path == path).cloned();
    let mut paths: Vec<&str> =
        theirs.files.iter().chain(&ours.files).map(|file| file.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    let told = paths.into_iter().filter_map(|path| match (of(theirs, path), of(ours, path)) {
        (Some(theirs), Some(ours)) if (theirs.size, theirs.digest) == (ours.size, ours.digest) => None,
        (Some(_), Some(_)) => Some(format!("{path} differs")),
        (Some(_), None) => Some(format!("{path} is only there")),
        _ => Some(format!("{path} is only here")),
    });
    told.take(3).collect::<Vec<_>>().join(", ")
}
