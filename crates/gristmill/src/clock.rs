//! The host's clock and randomness: the only places where the program asks for either.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gristmill_db::Random;
use gristmill_model::{Clock, Timestamp};

/// The host's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the clock that everything else asks")]
        let now = SystemTime::now();
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Random bits from the operating system.
pub fn system_random() -> Random {
    Arc::new(|| {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system has randomness after it has started");
        u128::from_ne_bytes(bytes)
    })
}

/// A moment as people and JSON read it: RFC 3339 in UTC, with milliseconds.
pub fn rfc3339(at: Timestamp) -> String {
    chrono::DateTime::from_timestamp_millis(at.0)
        .map_or_else(|| format!("{} ms", at.0), |at| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

/// The day of a moment in UTC, `YYYY-MM-DD`.
pub fn date(at: Timestamp) -> String {
    chrono::DateTime::from_timestamp_millis(at.0)
        .map_or_else(|| "0000-00-00".to_owned(), |at| at.format("%Y-%m-%d").to_string())
}
