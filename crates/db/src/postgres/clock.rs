//! [`ServerClock`]: the time of the database's server, between its answers too.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use gristmill_model::{Clock, Timestamp};

/// The server's time of day, as it was last told, and as much later as has passed since. Programs of several
/// machines agree on it, whatever their own clocks say.
pub(crate) struct ServerClock(Mutex<(Timestamp, Instant)>);

impl ServerClock {
    /// A clock that shows `now` until the server says otherwise.
    pub(crate) fn new(now: Timestamp) -> ServerClock {
        ServerClock(Mutex::new((now, Instant::now())))
    }

    /// The server has just said that it is `now`.
    pub(crate) fn learn(&self, now: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (now, Instant::now());
    }
}

impl Clock for ServerClock {
    fn now(&self) -> Timestamp {
        let (told, at) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.plus(at.elapsed())
    }
}
