//! What was made durable, and in which order; only tests keep and read it.

use std::cell::RefCell;
use std::os::fd::AsRawFd;

thread_local!(static STEPS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });

/// Notes a step of this thread on an open file or folder.
pub(super) fn note(step: &str, fd: impl AsRawFd, name: &str) {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
    STEPS.with_borrow_mut(|steps| steps.push(format!("{step} {}{name}", path.display())));
}

/// The steps of this thread since the last call.
pub(super) fn take() -> Vec<String> {
    STEPS.take()
}
