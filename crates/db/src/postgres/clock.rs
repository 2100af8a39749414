//! [`ServerClock`]: the time of the database's server, between its answers too.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gristmill_model::{Clock, Timestamp};

/// So far behind is an answer only where the server's clock was set in between.
const SET: Duration = Duration::from_secs(1);

/// The server's time of day, as it was last told, and as much later as has passed since. Programs of several
/// machines agree on it, whatever their own clocks say.
pub(crate) struct ServerClock(Mutex<(Timestamp, Instant)>);

impl ServerClock {
    /// A clock that shows `now` until the server says otherwise.
    pub(crate) fn new(now: Timestamp) -> ServerClock {
        ServerClock(Mutex::new((now, Instant::now())))
    }

    /// The server said that it is `now`, after it was asked at `asked`. Answers may come in another order than they
    /// were given: only a clock that was set turns this one back.
    pub(crate) fn learn(&self, now: Timestamp, asked: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = known.0.plus(known.1.elapsed());
        let behind = shown.since(now.plus(asked.elapsed()));
        if behind.is_zero() || behind > SET {
            *known = (now, asked);
        }
    }
}

impl Clock for ServerClock {
    fn now(&self) -> Timestamp {
        let (told, at) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.plus(at.elapsed())
    }
}
