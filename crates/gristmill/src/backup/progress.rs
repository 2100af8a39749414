//! How far a long command is: one line that is written over on a terminal, else a line now and then.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// How often a line is written over.
const TERMINAL_EVERY: Duration = Duration::from_millis(100);
/// How often a line is added where nobody writes over it.
const LINES_EVERY: Duration = Duration::from_secs(5);

/// Tells of progress on standard error.
pub struct Progress {
    is_terminal: bool,
    is_quiet: bool,
    last: Instant,
    /// Whether a line stands there that is to be written over.
    stands: bool,
}

impl Progress {
    /// On standard error, as it is.
    pub fn stderr() -> Progress {
        let is_terminal = std::io::stderr().is_terminal();
        Progress { is_terminal, is_quiet: false, last: Instant::now(), stands: false }
    }

    /// Says nothing, for tests and for callers with words of their own.
    pub fn none() -> Progress {
        Progress { is_terminal: false, is_quiet: true, last: Instant::now(), stands: false }
    }

    /// `what` is at `done`, of `all` where that is known. Told now and then.
    pub(super) fn at(&mut self, what: &str, done: u64, all: Option<u64>) {
        let every = if self.is_terminal { TERMINAL_EVERY } else { LINES_EVERY };
        if self.last.elapsed() >= every {
            self.last = Instant::now();
            self.write(&line(what, done, all), self.is_terminal);
        }
    }

    /// A part is over; told always.
    pub(super) fn over(&mut self, text: &str) {
        self.write(text, false);
    }

    fn write(&mut self, text: &str, is_passing: bool) {
        if self.is_quiet {
            return;
        }
        let over = if self.stands { "\r\x1b[K" } else { "" };
        let end = if is_passing { "" } else { "\n" };
        // Nobody is there to be told that nobody can be told.
        let _ = write!(std::io::stderr(), "{over}{text}{end}");
        self.stands = is_passing;
    }
}

fn line(what: &str, done: u64, all: Option<u64>) -> String {
    match all {
        Some(all) => {
            let percent = (done.min(all) * 100).checked_div(all).unwrap_or(100);
            format!("{what}: {done} of {all} ({percent} %)")
        }
        None => format!("{what}: {done}"),
    }
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn lines() {
        assert_eq!(line("blobs", 5, Some(20)), "blobs: 5 of 20 (25 %)");
        assert_eq!(line("blobs", 0, Some(0)), "blobs: 0 of 0 (100 %)");
        assert_eq!(line("rows", 7, None), "rows: 7");
    }
}
