//! Named places where a test may end the process as `kill -9` does. Only in builds with debug assertions;
//! a release has none of it.

#[cfg(debug_assertions)]
use std::sync::OnceLock;

/// Every place, for the test that visits them all.
pub const POINTS: [&str; 11] = [
    "accept.stored",
    "look.seen",
    "look.applied",
    "fetch.fetched",
    "archive.begun",
    "archive.stored",
    "archive.recorded",
    "publish.desired",
    "publish.held",
    "publish.projected",
    "publish.recorded",
];

/// The places on the way of a restore, which no push comes by.
pub const RESTORE_POINTS: [&str; 2] = ["restore.stored", "restore.brought"];

#[cfg(debug_assertions)]
static ARMED: OnceLock<String> = OnceLock::new();

/// Arms one place for the life of the process.
pub fn arm(name: String) {
    #[cfg(debug_assertions)]
    {
        tracing::warn!(name, "the process ends when it comes to this place");
        // Armed once: by the start of the program.
        let _ = ARMED.set(name);
    }
    #[cfg(not(debug_assertions))]
    tracing::warn!(name, "this build has no such places");
}

/// Ends the process here, if this place is armed.
pub fn point(name: &str) {
    debug_assert!(POINTS.contains(&name) || RESTORE_POINTS.contains(&name), "every place is in the list");
    #[cfg(debug_assertions)]
    if ARMED.get().is_some_and(|armed| armed == name) {
        let ended = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        unreachable!("the process outlived its end: {ended:?}");
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}
