//! [`Pace`]: whether this server copies parts within itself faster than they are sent to it.
//!
//! Over a long line it does; beside it on one machine, or where it hashes what it copies, it may not. Nothing is tried
//! out for it: what is stored anyway is measured.

use std::time::Duration;

use tokio::time::Instant;

/// So many copies in a row must have taken longer than sending: one that did may have met a busy server.
const SLOW_MAX: u32 = 2;
/// Lines and servers change: after so long copying is tried again.
const FORGET: Duration = Duration::from_secs(3600);

/// What was measured since the start.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Bytes a second of objects that were sent whole; the last counts as much as all before.
    sent_per_second: Option<f64>,
    /// Copies in a row that took longer than sending would have.
    slow: u32,
    /// When the last of them was.
    slow_at: Option<Instant>,
}

/// Bytes a second.
#[expect(clippy::cast_precision_loss, reason = "a rate")]
pub(super) fn per_second(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64().max(1e-6)
}

impl Pace {
    /// An object was sent whole.
    pub(super) fn sent(&mut self, bytes: u64, took: Duration) {
        let rate = per_second(bytes, took);
        self.sent_per_second = Some(self.sent_per_second.map_or(rate, |before| f64::midpoint(before, rate)));
    }

    /// An object of so many bytes was made with parts that were copied. Of what was sent beside them, the fastest part says
    /// how fast sending is at least, until something was sent whole.
    pub(super) fn copied(&mut self, bytes: u64, took: Duration, part: Option<f64>, now: Instant) {
        let sent_per_second = self.sent_per_second.or(part);
        let is_slow = sent_per_second.is_some_and(|rate| per_second(bytes, took) < rate);
        (self.slow, self.slow_at) = if is_slow { (self.slow + 1, Some(now)) } else { (0, None) };
    }

    /// Whether parts should be copied, as far as is known.
    pub(super) fn is_worth_copying(&self, now: Instant) -> bool {
        self.slow < SLOW_MAX || self.slow_at.is_none_or(|at| now.duration_since(at) >= FORGET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn copying_ends_where_sending_is_faster_and_is_tried_again() {
        let now = Instant::now();
        let mut pace = Pace::default();
        // Without anything to compare with it goes on.
        for _ in 0..3 {
            pace.copied(100, SECOND * 100, None, now);
        }
        assert!(pace.is_worth_copying(now));
        let mut started = Pace::default();
        for _ in 0..2 {
            started.copied(100, SECOND * 2, Some(60.0), now);
        }
        assert!(!started.is_worth_copying(now), "a part was sent faster than that");
        pace.sent(100, SECOND);
        pace.copied(100, SECOND * 2, None, now);
        assert!(pace.is_worth_copying(now), "one may have been bad luck");
        pace.copied(100, SECOND / 2, None, now);
        pace.copied(100, SECOND * 2, None, now);
        assert!(pace.is_worth_copying(now), "in a row");
        pace.copied(100, SECOND * 2, None, now);
        assert!(!pace.is_worth_copying(now));
        assert!(!pace.is_worth_copying(now + FORGET - SECOND));
        let later = now + FORGET;
        assert!(pace.is_worth_copying(later));
        pace.copied(100, SECOND * 2, None, later);
        assert!(!pace.is_worth_copying(later));
        // The line has become slower.
        for _ in 0..10 {
            pace.sent(100, SECOND * 10);
        }
        pace.copied(100, SECOND * 2, None, later);
        assert!(pace.is_worth_copying(later));
    }
}
