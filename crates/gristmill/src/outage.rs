//! [`Outage`]: whether the storage is away.
//!
//! A bucket that does not answer is no fault of any job. As long as it is away no job that needs it is begun, so that
//! none is tried in vain, worked over again or given up; one call now and then asks whether it is back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::app::App;

/// The wait before the storage is asked again; it doubles.
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// Work goes on so long after the storage is back at most.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Whether the storage is away, and when it is asked again.
#[derive(Debug, Default)]
pub struct Outage(Mutex<Option<Away>>);

#[derive(Clone, Copy, Debug)]
struct Away {
    since: Instant,
    wait: Duration,
    ask_at: Instant,
}

impl Outage {
    fn lock(&self) -> MutexGuard<'_, Option<Away>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether jobs that need the storage are not begun.
    pub fn is_on(&self) -> bool {
        self.lock().is_some()
    }

    /// It begins, unless it has begun; whether it did now.
    fn begin(&self, now: Instant) -> bool {
        let mut away = self.lock();
        let is_new = away.is_none();
        away.get_or_insert(Away { since: now, wait: WAIT_FIRST, ask_at: now + WAIT_FIRST });
        is_new
    }

    /// Whether the storage is to be asked now; the next time is later.
    fn is_due(&self, now: Instant) -> bool {
        let mut away = self.lock();
        let Some(away) = away.as_mut().filter(|away| away.ask_at <= now) else { return false };
        away.wait = (away.wait * 2).min(WAIT_MAX);
        away.ask_at = now + away.wait;
        true
    }

    /// It is over; how long it was.
    fn end(&self, now: Instant) -> Option<Duration> {
        self.lock().take().map(|away| now.duration_since(away.since))
    }
}

/// After the storage failed a job: whether it is away, so that this says nothing of the job.
pub async fn is_away(app: &App) -> bool {
    let Err(error) = app.storage.answer().await else { return false };
    if app.outage.begin(Instant::now()) {
        tracing::error!(%error, "the storage does not answer: jobs that need it wait, uncounted, until it does");
    }
    true
}

/// Asks the storage, where it is away, whether it is back; then work goes on.
pub async fn ask(app: App) -> anyhow::Result<()> {
    if !app.outage.is_due(Instant::now()) {
        return Ok(());
    }
    match app.storage.answer().await {
        Ok(()) => {
            if let Some(lasted) = app.outage.end(Instant::now()) {
                tracing::info!(seconds = lasted.as_secs(), "the storage answers again: work goes on");
            }
            app.db.wake();
        }
        Err(error) => tracing::debug!(%error, "the storage still does not answer"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asked_again_with_growing_waits() {
        let outage = Outage::default();
        let start = Instant::now();
        assert!(!outage.is_on() && !outage.is_due(start) && outage.end(start).is_none());
        assert!(outage.begin(start) && !outage.begin(start) && outage.is_on());
        let after = |ms: u64| start + Duration::from_millis(ms);
        for (ms, is_due) in [
            (999, false),
            (1000, true),
            (1001, false),
            (2999, false),
            (3000, true),
            (7000, true),
            (15_000, true),
            // No longer than this.
            (24_999, false),
            (25_000, true),
            (35_000, true),
        ] {
            assert_eq!(outage.is_due(after(ms)), is_due, "{ms}");
        }
        assert_eq!(outage.end(after(40_000)), Some(Duration::from_secs(40)));
        assert!(!outage.is_on());
    }
}
