//! How long to wait before trying again.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_secs(1);
/// No wait is longer: after an outage of an hour, work goes on within this time.
const LONGEST: Duration = Duration::from_secs(300);

/// How often a job is tried when it fails for reasons that may pass. With the waits of [`backoff`]
/// the last try comes more than an hour after the first (1 + 2 + … + 256 s, then every 5 minutes,
/// each at least half): an outage of an hour loses nothing.
pub const ATTEMPTS_MAX: i64 = 40;

/// The wait after the `attempt`-th failure (from 1): doubling from a second to five minutes, of
/// which a random half is taken off at most, so that many jobs hit by one outage do not return together.
pub fn backoff(attempt: i64, random: u64) -> Duration {
    let doublings = u32::try_from(attempt.clamp(1, 20) - 1).expect("between 0 and 19");
    let full = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let half_ms = u64::try_from(full.as_millis() / 2).expect("at most 150 000");
    Duration::from_millis(half_ms + random % (half_ms + 1))
}

#[cfg(test)]
mod tests;
