//! What people see: lines, in colour where that is seen, and the bar of an upload.

use std::io::{IsTerminal as _, Write as _};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::env;
use crate::assets::Tone;
use crate::assets::place::Place;
use crate::assets::upload::{Progress, Upload, Uploaded};

/// How often the bar of an upload moves.
const BAR: Duration = Duration::from_millis(100);

/// Writes a line for people; in colour where that is seen.
pub(super) fn line(colour: &str, text: &str) {
    let mut stderr = std::io::stderr().lock();
    // Nobody is told where nobody reads.
    let _ = if stderr.is_terminal() {
        let colour = if env("NO_COLOR").is_some_and(|no| !no.is_empty()) { "" } else { colour };
        writeln!(stderr, "\r\x1b[K{colour}{text}\x1b[0m")
    } else {
        writeln!(stderr, "{text}")
    };
}

/// Writes what a command answers.
pub(super) fn say(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

pub(super) fn tell(tone: Tone, text: &str) {
    let colour = match tone {
        Tone::Step | Tone::Warning => "\x1b[33m",
        Tone::Good => "\x1b[32m",
        Tone::File(number) if number % 2 == 0 => "\x1b[34m",
        Tone::File(_) => "\x1b[36m",
    };
    line(colour, text);
}

/// Uploads, with a bar where somebody sees it.
pub(super) async fn with_bar(upload: &Upload, place: &Place) -> anyhow::Result<Uploaded> {
    let progress = Progress::default();
    let work = upload.run(place, &progress, &tell);
    let mut work = std::pin::pin!(work);
    if !std::io::stderr().is_terminal() {
        return work.await;
    }
    let mut ticks = tokio::time::interval(BAR);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => bar(&progress),
        }
    }
}

fn bar(progress: &Progress) {
    const WIDTH: u64 = 30;
    let (done, all) = (progress.bytes.load(Ordering::Relaxed), progress.bytes_all.load(Ordering::Relaxed));
    if let Some(full) = done.saturating_mul(WIDTH).checked_div(all) {
        let full = usize::try_from(full).unwrap_or(0);
        let empty = usize::try_from(WIDTH).unwrap_or(0).saturating_sub(full);
        let megabytes = |bytes: u64| format!("{}.{}", bytes / 1_000_000, bytes / 100_000 % 10);
        let (done, all) = (megabytes(done), megabytes(all));
        eprint!("\r\x1b[K[{}{}] {done} of {all} MB", "#".repeat(full), ".".repeat(empty));
    }
}
