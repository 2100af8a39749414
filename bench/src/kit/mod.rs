//! What the benchmarks share: payloads, the load generator, handles of servers, `/proc`, figures and bars.

pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod payload;
pub(crate) mod proc;
pub(crate) mod report;
pub(crate) mod server;
pub(crate) mod stats;
pub(crate) mod target;

use std::time::Duration;

/// Waits; the one place that does, since a benchmark paces its load by the wall clock.
#[expect(
    clippy::disallowed_methods,
    reason = "pacing a load against another process has no condition to wait on"
)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
