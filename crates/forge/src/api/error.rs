//! [`ApiError`]: what a forge's API refused, and what to do about it.

use gristmill_model::Timestamp;

use crate::forge::Forge;

use super::limits::Wait;

/// What went wrong with a call. No text of it holds a secret; what the forge said is cut and cleaned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The forge has no API that is spoken here.
    #[error(
        "forge `{forge}` has no API that is spoken here; enter webhook and keys by hand, and leave `token` to git"
    )]
    NoApi {
        /// Which one.
        forge: Forge,
    },
    /// The forge has an API, but not for this.
    #[error("{forge} cannot do this: {why}")]
    Unsupported {
        /// Which one.
        forge: Forge,
        /// What it lacks, and what to do instead.
        why: &'static str,
    },
    /// An address, name or id that cannot be used.
    #[error("{problem}")]
    Input {
        /// What is wrong with it, and what was expected.
        problem: String,
    },
    /// 401: the token is none of the forge's, or was revoked.
    #[error(
        "{forge} does not know the token ({message}); it has ended, was revoked, or is of another server. Needed to {what}: {needs}"
    )]
    Unauthorized {
        /// Who said it.
        forge: Forge,
        /// In its own words.
        message: String,
        /// What was to be done.
        what: &'static str,
        /// What the token must be allowed to do.
        needs: &'static str,
    },
    /// 403: the token may not do this.
    #[error("{forge} does not allow the token to {what} ({message}). Needed: {needs}{}", has.as_ref().map_or_else(String::new, |has| format!("; the token has: {has}")))]
    Forbidden {
        /// Who said it.
        forge: Forge,
        /// In its own words.
        message: String,
        /// What was to be done.
        what: &'static str,
        /// What the token must be allowed to do.
        needs: &'static str,
        /// What it is allowed to do, where the forge says.
        has: Option<String>,
    },
    /// 404: not there, or the token may not know that it is.
    #[error(
        "{forge} finds no repository `{repository}` or not what was asked of it, or hides it from this token; compare the name. Needed to {what}: {needs}"
    )]
    NotFound {
        /// Who said it.
        forge: Forge,
        /// Whose.
        repository: String,
        /// What was to be done.
        what: &'static str,
        /// What the token must be allowed to do.
        needs: &'static str,
    },
    /// 3xx: the repository has another name now.
    #[error(
        "{forge} says that `{repository}` has moved ({status}); set `git` and `repository` to its new name"
    )]
    Moved {
        /// Who said it.
        forge: Forge,
        /// Whose.
        repository: String,
        /// The status code.
        status: u16,
    },
    /// Too many requests in a short time.
    #[error("{forge} takes no more requests for now; the next one may be made {wait}")]
    Limited {
        /// Who said it.
        forge: Forge,
        /// When.
        wait: Wait,
    },
    /// 5xx or 408: the forge is not well.
    #[error("{forge} answered {status} ({message}); it may pass")]
    Unavailable {
        /// Who said it.
        forge: Forge,
        /// The status code.
        status: u16,
        /// In its own words.
        message: String,
        /// When the next request may be made, where it says.
        wait: Option<Wait>,
    },
    /// Any other refusal.
    #[error("{forge} refused to {what} with {status}: {message}")]
    Refused {
        /// Who said it.
        forge: Forge,
        /// What was to be done.
        what: &'static str,
        /// The status code.
        status: u16,
        /// In its own words.
        message: String,
    },
    /// The answer is not what the forge documents.
    #[error(
        "the answer of {forge} is not as documented: {problem} (at `{field}`); is the address that of its API?"
    )]
    Shape {
        /// Who gave it.
        forge: Forge,
        /// Where in the answer; `.` for the whole.
        field: String,
        /// What was found and expected.
        problem: String,
    },
    /// More pages than are read.
    #[error("{forge} lists more than {pages} pages, which are not read; take away what is not needed there")]
    TooMany {
        /// Who lists them.
        forge: Forge,
        /// How many are read.
        pages: usize,
    },
}

impl ApiError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, ApiError::Limited { .. } | ApiError::Unavailable { .. })
    }

    /// The earliest moment at which the forge wants to be asked again, where it says.
    pub fn not_before(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            ApiError::Limited { wait, .. } | ApiError::Unavailable { wait: Some(wait), .. } => {
                Some(wait.until(now))
            }
            _ => None,
        }
    }
}
