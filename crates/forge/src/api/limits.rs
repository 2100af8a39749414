//! When a forge may be asked again.
//!
//! Sources: "Rate limits for the REST API" and "Best practices for using the REST API" of GitHub
//! (`retry-after`; `x-ratelimit-remaining: 0` with `x-ratelimit-reset` in seconds since 1970; else at least a
//! minute for secondary limits; both come as 403 or 429); "Rate limits" of GitLab (429 with `Retry-After`,
//! `RateLimit-Remaining`, `RateLimit-Reset` in seconds since 1970); "Rate limiting" of Bitbucket Data Center
//! and "API request limits" of Bitbucket Cloud (429). Gitea has no limits of its own; a proxy before it answers
//! 429.

use std::fmt;
use std::time::Duration;

use gristmill_model::Timestamp;
use x509_cert::der::DateTime;

use super::call::Answer;
use super::family::Family;

/// How long to wait where the forge does not say; GitHub asks for at least that.
const WAIT_DEFAULT: Duration = Duration::from_secs(60);
/// The longest wait taken from an answer. The forges' limits end within an hour.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// When the next request may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// After this span.
    For(Duration),
    /// At this moment, by the forge's clock.
    Until(Timestamp),
}

impl Wait {
    /// The moment, at least a second and at most a day ahead of `now`.
    pub fn until(self, now: Timestamp) -> Timestamp {
        let moment = match self {
            Wait::For(span) => now.plus(span),
            Wait::Until(moment) => moment,
        };
        moment.clamp(now.plus(Duration::from_secs(1)), now.plus(WAIT_MAX))
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::For(span) => write!(f, "in {} seconds", span.as_secs()),
            Wait::Until(moment) => {
                let since_1970 = Duration::from_millis(u64::try_from(moment.0).unwrap_or(0));
                match DateTime::from_unix_duration(since_1970) {
                    Ok(date) => write!(f, "at {date}"),
                    Err(_) => f.write_str("later"),
                }
            }
        }
    }
}

/// What the answer says of waiting, by whatever header. A date in `Retry-After` is taken for the default.
pub(crate) fn told(answer: &Answer) -> Option<Wait> {
    answer
        .header("Retry-After")
        .map(|text| Wait::For(text.trim().parse().map_or(WAIT_DEFAULT, Duration::from_secs)))
}

/// Whether the call was one too many, and when the next may follow.
pub(crate) fn limited(family: Family, answer: &Answer) -> Option<Wait> {
    let spent = |remaining: &str, reset: &str| {
        let reset = answer.number(reset).filter(|_| answer.number(remaining) == Some(0))?;
        Some(Wait::Until(Timestamp(i64::try_from(reset).ok()?.checked_mul(1000)?)))
    };
    match (answer.status, family) {
        (403 | 429, Family::Github) => {
            let secondary = || {
                let named =
                    String::from_utf8_lossy(&answer.body).to_lowercase().contains("secondary rate limit");
                (answer.status == 429 || named).then_some(Wait::For(WAIT_DEFAULT))
            };
            told(answer).or_else(|| spent("x-ratelimit-remaining", "x-ratelimit-reset")).or_else(secondary)
        }
        (429, Family::Gitlab) => Some(
            told(answer)
                .or_else(|| spent("RateLimit-Remaining", "RateLimit-Reset"))
                .unwrap_or(Wait::For(WAIT_DEFAULT)),
        ),
        (429, _) => Some(told(answer).unwrap_or(Wait::For(WAIT_DEFAULT))),
        _ => None,
    }
}
