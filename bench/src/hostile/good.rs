//! The good sender: signed deliveries at a fixed rate, whatever the server does.

use crate::kit::http::Client;
use crate::kit::pause;
use crate::kit::stats::Latencies;
use crate::kit::target::Target;
use anyhow::Result;
use std::thread;
use std::time::{Duration, Instant};

/// Connections that share the rate, so that one late answer does not hold back the next delivery.
const SENDERS: u32 = 8;
/// After this a forge counts a delivery as failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Deliveries at a fixed rate.
pub(super) struct Sender<'a> {
    pub(super) target: &'a Target,
    /// Deliveries a second.
    pub(super) rate: u32,
}

/// What became of the deliveries.
#[derive(Default)]
pub(super) struct Outcome {
    /// From the time at which a delivery was due, so that one that had to wait for another counts its waiting.
    pub(super) latencies: Latencies,
    /// Not accepted, or without an answer.
    pub(super) failed: usize,
    first_failure: Option<String>,
}

impl Sender<'_> {
    pub(super) fn run_for(&self, time: Duration, first: u64) -> Result<Outcome> {
        let end = Instant::now() + time;
        self.run(first, || Instant::now() >= end)
    }

    /// Sends the deliveries numbered from `first` until `over` says so.
    pub(super) fn run(&self, first: u64, over: impl Fn() -> bool + Sync) -> Result<Outcome> {
        let start = Instant::now();
        let mut outcome = Outcome::default();
        let over = &over;
        thread::scope(|scope| {
            let threads: Vec<_> =
                (0..SENDERS).map(|n| scope.spawn(move || self.share(start, first, n, over))).collect();
            for thread in threads {
                outcome.extend(thread.join().expect("a sender does not panic"));
            }
        });
        Ok(outcome)
    }

    /// Every [`SENDERS`]-th delivery.
    fn share(&self, start: Instant, first: u64, n: u32, over: impl Fn() -> bool) -> Outcome {
        let mut client = Client::new(self.target.addr, PATIENCE);
        let mut outcome = Outcome::default();
        for number in (n..).step_by(SENDERS as usize) {
            let request = self.target.template.request(first + u64::from(number));
            let due = start + Duration::from_secs(1) * number / self.rate;
            pause(due.saturating_duration_since(Instant::now()));
            if over() {
                break;
            }
            let answer = client.send(&request);
            outcome.latencies.record(due.elapsed());
            let failure = match answer {
                Ok((status, _)) if status == self.target.accepted => continue,
                Ok((status, _)) => format!("status {status}"),
                Err(error) => error.to_string(),
            };
            outcome.failed += 1;
            outcome.first_failure.get_or_insert(failure);
        }
        outcome
    }
}

impl Outcome {
    fn extend(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or(other.first_failure);
    }

    pub(super) fn print(&mut self, what: &str) {
        println!(
            "{what}: {} deliveries, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms, failed {}{}",
            self.latencies.len(),
            self.latencies.percentile_ms(50.0),
            self.latencies.percentile_ms(99.0),
            self.latencies.max_ms(),
            self.failed,
            self.first_failure.as_ref().map(|failure| format!(" (first: {failure})")).unwrap_or_default(),
        );
    }
}
