//! What may be brought for one archive: one number of bytes and one deadline, however many repositories it is from.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gristmill_model::PublicReason;
use gristmill_model::public::Bytes;

use crate::worker::step::{Step, StepError};

/// What is left of both.
pub(super) struct Budget {
    /// For the reason where it is too little.
    what: &'static str,
    bytes_max: u64,
    bytes: AtomicU64,
    end: Instant,
}

impl Budget {
    /// `worker.repository_max` and `worker.git_timeout`, from now on.
    pub(super) fn of(step: &Step, what: &'static str) -> Budget {
        let worker = &step.app.live().config.worker;
        let time = Duration::from_secs(worker.git_timeout_seconds.unsigned_abs());
        Budget::new(what, worker.repository_bytes_max, time)
    }

    fn new(what: &'static str, bytes_max: u64, time: Duration) -> Budget {
        Budget { what, bytes_max, bytes: AtomicU64::new(bytes_max), end: Instant::now() + time }
    }

    /// When all must be here.
    pub(super) fn end(&self) -> Instant {
        self.end
    }

    /// How long the next part may take.
    pub(super) fn time(&self) -> Result<Duration, StepError> {
        let left = self.end.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => {
                let what = format!("{} take longer than worker.git_timeout", self.what);
                Err(StepError::retry(what).told(PublicReason::TooSlow))
            }
            false => Ok(left),
        }
    }

    /// How many bytes are left.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Takes what a part has.
    pub(super) fn take(&self, bytes: u64) -> Result<(), StepError> {
        let less = |left: u64| left.checked_sub(bytes);
        let taken = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        taken.map(drop).map_err(|_| self.too_much())
    }

    /// Why nothing more is brought.
    pub(super) fn too_much(&self) -> StepError {
        let (what, max) = (self.what, self.bytes_max);
        StepError::fail(format!("{what} are more than worker.repository_max ({max} bytes)"))
            .told(PublicReason::RepositoryTooLarge(Bytes(max)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_the_bytes_and_the_time() {
        let budget = Budget::new("all parts together", 10, Duration::from_secs(3600));
        for (bytes, is_enough, left) in
            [(4, true, 6), (7, false, 6), (6, true, 0), (0, true, 0), (1, false, 0)]
        {
            assert_eq!((budget.take(bytes).is_ok(), budget.bytes()), (is_enough, left), "{bytes}");
        }
        assert!(budget.time().is_ok());
        assert!(Budget::new("all parts together", 10, Duration::ZERO).time().is_err());
    }
}
