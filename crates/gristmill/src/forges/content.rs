//! Refs, trees and archives, of projects whose source is not fetched by git.

use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use gristmill_forge::api::{Api, ApiError, Packed, RefTip, Told};
use gristmill_model::public::Bytes;
use gristmill_model::{CommitId, ProjectSpec, PublicReason};

use super::{CallError, blocking, carrier, reading};
use crate::app::App;
use crate::worker::step::StepError;

/// How many redirects of an archive's address are followed. GitHub's takes one, to the host of its downloads.
const REDIRECTS_MAX: u8 = 3;

impl CallError {
    /// The end of a step that rests on a call for a commit: later, where that may help, and not before the forge wants it.
    pub(crate) fn into_step_error(self, app: &App) -> StepError {
        let (now, why) = (app.clock.now(), self.public());
        match self.not_before(now) {
            Some(until) => {
                let after = Some(until.since(now));
                StepError::Retry { reason: self.to_string(), public: why, after }
            }
            None => StepError::when(self.is_transient(), self).told(why),
        }
    }

    /// What everybody may know of it, where it kept a commit from being brought. That the repository is there was seen
    /// when its refs were listed, so what is not found is the commit.
    fn public(&self) -> Option<PublicReason> {
        let error = match self {
            CallError::Api(error) => error,
            CallError::Carry { public, .. } => return *public,
        };
        match error {
            ApiError::Unauthorized { .. } | ApiError::Forbidden { .. } => Some(PublicReason::NotLetIn),
            ApiError::NotFound { .. } => Some(PublicReason::CommitGone),
            ApiError::Moved { .. } => Some(PublicReason::Moved),
            ApiError::Limited { .. } | ApiError::Unavailable { .. } => Some(PublicReason::NotReached),
            _ => None,
        }
    }
}

/// The API of the project's repository.
fn api(app: &App, spec: &ProjectSpec) -> Result<Api, CallError> {
    let live = app.live();
    let access = reading(&live, spec).ok_or_else(|| CallError::Carry {
        text: "the project is not configured here, so its forge is not asked".to_owned(),
        is_transient: true,
        public: None,
    })?;
    Ok(access.api(spec)?)
}

/// All branches and tags. No call begins after `time_max`.
///
/// # Errors
/// [`CallError`].
pub async fn refs(app: &App, spec: &ProjectSpec, time_max: Duration) -> Result<Vec<RefTip>, CallError> {
    let api = api(app, spec)?;
    let listed = blocking(app, move |carry| {
        let begun = Instant::now();
        api.refs(&mut |call| {
            if begun.elapsed() < time_max {
                return carry(call);
            }
            let text = format!("{} has not listed its refs within {} s", api.forge(), time_max.as_secs());
            Err(CallError::Carry { text, is_transient: true, public: Some(PublicReason::TooSlow) })
        })
    });
    listed.await
}

/// The tree of a commit and when it was committed, where the forge tells it.
///
/// # Errors
/// [`CallError`].
pub async fn tree(app: &App, spec: &ProjectSpec, commit: CommitId) -> Result<Told, CallError> {
    let api = api(app, spec)?;
    blocking(app, move |mut carry| api.tree(commit, &mut carry)).await
}

/// Bounds of one download.
#[derive(Clone, Copy, Debug)]
pub struct DownloadLimits {
    /// The most bytes.
    pub bytes_max: u64,
    /// How long it may take, with redirects.
    pub time_max: Duration,
}

/// Writes the archive of a commit to `output`; how many bytes it has, and how it is packed. The address is made of the
/// configuration alone (mistake 14). Where the forge leads to another host, that is a stranger's address, and the token
/// does not go there. Blocks.
///
/// # Errors
/// [`CallError`]. Then `output` may have a part of it.
pub fn download(
    app: &App,
    spec: &ProjectSpec,
    commit: CommitId,
    limits: DownloadLimits,
    output: &mut dyn Write,
    cancel: &AtomicBool,
) -> Result<(u64, Packed), CallError> {
    let api = api(app, spec)?;
    let call = api.archive(commit, usize::try_from(limits.bytes_max).unwrap_or(usize::MAX));
    let request = carrier::request(call)?.follow(REDIRECTS_MAX).total(limits.time_max);
    let response = app.outgoing.download(&request, output, cancel).map_err(|error| {
        let hint = match &error {
            gristmill_outgoing::Error::TooLarge { .. } => "; `download_max` says how large an archive may be",
            _ => "",
        };
        // The program stops, or the disk is full: neither is the archive's fault.
        let is_ours =
            matches!(error, gristmill_outgoing::Error::Cancelled | gristmill_outgoing::Error::Output(_));
        CallError::Carry {
            text: format!("the archive of {commit} cannot be had: {error}{hint}"),
            is_transient: is_ours || error.is_transient(),
            public: match &error {
                gristmill_outgoing::Error::TooLarge { .. } => {
                    Some(PublicReason::ForgeArchiveTooLarge(Bytes(limits.bytes_max)))
                }
                error => error.is_transient().then_some(PublicReason::NotReached),
            },
        }
    })?;
    api.archive_refusal(carrier::answer(&response))?;
    Ok((response.body_bytes(), api.packed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_forges_answer_for_a_commit_the_kind_is_told_and_no_detail() {
        let (forge, what, needs, message) =
            (gristmill_forge::Forge::Github, "", "", || "10.1.2.3".to_owned());
        for (error, told) in [
            (ApiError::Unauthorized { forge, message: message(), what, needs }, Some(PublicReason::NotLetIn)),
            (
                ApiError::Forbidden { forge, message: message(), what, needs, has: None },
                Some(PublicReason::NotLetIn),
            ),
            // A commit that was forced away.
            (
                ApiError::NotFound { forge, repository: message(), what, needs },
                Some(PublicReason::CommitGone),
            ),
            (ApiError::Moved { forge, repository: message(), status: 301 }, Some(PublicReason::Moved)),
            (
                ApiError::Unavailable { forge, status: 503, message: message(), wait: None },
                Some(PublicReason::NotReached),
            ),
            (ApiError::Refused { forge, what, status: 422, message: message() }, None),
        ] {
            let text = error.to_string();
            assert_eq!(CallError::Api(error).public(), told, "{text}");
        }
    }
}
