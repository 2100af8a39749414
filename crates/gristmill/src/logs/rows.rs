//! The log of a job on its way into the database.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gristmill_db::{Db, DbError, Tx, job, job_log};
use gristmill_model::JobId;

use super::LOG_BYTES_MAX;

/// What stands at the end of a log that is full.
const FULL: &str = "(the log is full)\n";

/// What a job wrote and the database may not have yet; clones share it.
#[derive(Clone, Default)]
pub(super) struct Rows(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Where `pending` begins in the log, once that is known.
    at: Option<i64>,
    pending: Vec<u8>,
}

impl Rows {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, line: &str) {
        let mut state = self.state();
        // More than a log holds is not kept in memory either, whatever the database does.
        if state.pending.len() as u64 <= LOG_BYTES_MAX {
            state.pending.extend_from_slice(line.as_bytes());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.state().pending.len()
    }

    pub(super) fn truncate(&self, len: usize) {
        self.state().pending.truncate(len);
    }

    /// Writes what is pending into the transaction that ends the job.
    pub(super) fn write(&self, tx: &mut Tx<'_>, job: JobId) -> Result<(), DbError> {
        let state = self.state();
        if state.pending.is_empty() {
            return Ok(());
        }
        let at = match state.at {
            Some(at) => at,
            None => job_log::length(tx, job)?,
        };
        job_log::put(tx, job, at, &within(at, &state.pending))
    }

    /// Writes what is pending, as long as the lease holds.
    pub(super) async fn flush(&self, db: &Db, job: JobId, attempt: i64) -> Result<(), DbError> {
        let (at, pending) = {
            let state = self.state();
            (state.at, state.pending.clone())
        };
        if pending.is_empty() {
            return Ok(());
        }
        // Learnt before anything is written: a write that was not answered may be there.
        let at = match at {
            Some(at) => at,
            None => db.read(move |tx| job_log::length(tx, job)).await?,
        };
        self.state().at = Some(at);
        let len = pending.len();
        let written = db.transact(move |tx| {
            let bytes = within(at, &pending);
            if job::still_mine(tx, job, attempt)? {
                job_log::put(tx, job, at, &bytes)?;
            }
            Ok::<_, DbError>(bytes.len())
        });
        let written = written.await?;
        let mut state = self.state();
        state.at = Some(at + i64::try_from(written).unwrap_or(0));
        state.pending.drain(..len);
        Ok(())
    }
}

/// As much as the log has room for behind its first `at` bytes; what is cut is told by a last line.
fn within(at: i64, bytes: &[u8]) -> Vec<u8> {
    let room = usize::try_from(LOG_BYTES_MAX).unwrap_or(0).saturating_sub(usize::try_from(at).unwrap_or(0));
    if bytes.len() < room {
        return bytes.to_vec();
    }
    // Filled up to the bound, so that what comes next finds no room.
    let mut found = bytes[..room.saturating_sub(FULL.len())].to_vec();
    found.truncate(found.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    let left = room - found.len();
    found.extend(format!("{FULL:>left$}").into_bytes().into_iter().take(left));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_ends_at_its_bound_with_a_line_that_says_so() {
        let max = i64::try_from(LOG_BYTES_MAX).unwrap();
        let lines = b"one\ntwo\nthree\n".as_slice();
        assert_eq!(within(0, lines), lines);
        assert_eq!(within(max - 15, lines), lines);
        let mut room_for_one = lines.repeat(2);
        room_for_one.truncate(24);
        let cut = within(max - 24, &room_for_one);
        assert_eq!(String::from_utf8(cut).unwrap(), "one\n  (the log is full)\n");
        assert_eq!(within(max - 3, lines), b"(th");
        assert_eq!(within(max, lines), b"");
        assert_eq!(within(max + 1, lines), b"");
    }
}
