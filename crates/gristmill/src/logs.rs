//! Job logs: only ever appended to, bounded, readable while they grow.
//!
//! With SQLite one file a job: a worker's death loses nothing that was written. On a database of several programs rows
//! ([`rows`]), so that any of them may be asked: a worker's death loses the last second of them.

mod rows;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gristmill_db::{Db, DbError, Tx, job_log};
use gristmill_model::{Clock, JobId, Timestamp};

use crate::clock;
use rows::Rows;

/// The most bytes a job's log holds; what comes later is counted out with one last line.
pub const LOG_BYTES_MAX: u64 = 4 << 20;
/// The longest line.
const LINE_BYTES_MAX: usize = 4096;
/// How often what a job wrote goes into the database while it runs.
const FLUSH: Duration = Duration::from_secs(1);
/// The most bytes one read returns.
const READ_BYTES_MAX: u64 = 1 << 20;

/// Where the logs are.
#[derive(Clone)]
pub struct Logs(Place);

#[derive(Clone)]
enum Place {
    Files(PathBuf),
    Rows(Db),
}

impl Logs {
    /// The logs of the jobs of a database. Those that are files lie below `folder`, which is made where it is missing.
    pub fn of(db: &Db, folder: PathBuf) -> io::Result<Logs> {
        if db.is_shared() {
            return Ok(Logs(Place::Rows(db.clone())));
        }
        std::fs::create_dir_all(&folder)?;
        Ok(Logs(Place::Files(folder)))
    }

    /// The log of a job, to be written.
    pub fn writer(&self, job: JobId, clock: Arc<dyn Clock>) -> JobLog {
        let to = match &self.0 {
            Place::Files(folder) => To::File(path(folder, job), Arc::default()),
            Place::Rows(_) => To::Rows(Rows::default()),
        };
        JobLog { to, clock }
    }

    /// What the log holds from `offset` on, at most a MiB; empty where there is nothing (yet). Blocks.
    pub fn read(&self, job: JobId, offset: u64) -> io::Result<Vec<u8>> {
        let folder = match &self.0 {
            Place::Files(folder) => folder,
            Place::Rows(db) => {
                let offset = i64::try_from(offset).unwrap_or(i64::MAX);
                return db.read_blocking(|tx| job_log::read(tx, job, offset)).map_err(io::Error::other);
            }
        };
        let mut file = match File::open(path(folder, job)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Deletes files not written to since `before`; how many. Rows go with the other rows.
    pub fn expire(&self, before: Timestamp) -> io::Result<usize> {
        let Place::Files(folder) = &self.0 else { return Ok(0) };
        let mut deleted = 0;
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let written =
                entry.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            if i64::try_from(written.as_millis()).unwrap_or(i64::MAX) < before.0 {
                std::fs::remove_file(entry.path())?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}

fn path(folder: &Path, job: JobId) -> PathBuf {
    folder.join(format!("{job}.log"))
}

/// A job's log while the job runs. A log that cannot be written never fails the job.
#[derive(Clone)]
pub struct JobLog {
    to: To,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
enum To {
    File(PathBuf, Arc<Mutex<Option<File>>>),
    Rows(Rows),
}

impl JobLog {
    /// Appends a line. Never a secret: the caller says only what may be read by anyone who may read the run.
    pub fn line(&self, text: &str) {
        let line = self.format(text);
        match &self.to {
            To::Rows(rows) => rows.push(&line),
            To::File(path, file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = append(&mut file, path, &line) {
                    tracing::warn!(%error, log.path = %path.display(), "a line of a job's log was lost");
                }
            }
        }
    }

    /// Writes what is still in memory, now and then until this is dropped, as long as the lease holds.
    pub(crate) async fn keep_written(&self, db: &Db, job: JobId, attempt: i64) {
        let To::Rows(rows) = &self.to else { return std::future::pending().await };
        loop {
            tokio::time::sleep(FLUSH).await;
            if let Err(error) = rows.flush(db, job, attempt).await {
                tracing::debug!(%error, job.id = %job, "a job's log is written a moment later");
            }
        }
    }

    /// How much is in memory, for [`JobLog::rewind`].
    pub(crate) fn mark(&self) -> usize {
        if let To::Rows(rows) = &self.to { rows.len() } else { 0 }
    }

    /// Takes back what was written since the mark, by a transaction that is run again.
    pub(crate) fn rewind(&self, mark: usize) {
        if let To::Rows(rows) = &self.to {
            rows.truncate(mark);
        }
    }

    /// Writes what is still in memory in the transaction that ends the job, which proves the lease.
    pub(crate) fn finish(&self, tx: &mut Tx<'_>, job: JobId) -> Result<(), DbError> {
        if let To::Rows(rows) = &self.to { rows.write(tx, job) } else { Ok(()) }
    }

    fn format(&self, text: &str) -> String {
        let mut line = format!("{} ", clock::rfc3339(self.clock.now()));
        line.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
        if line.len() > LINE_BYTES_MAX {
            let cut = (0..=LINE_BYTES_MAX).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
            line.truncate(cut);
            line.push('…');
        }
        line.push('\n');
        line
    }
}

fn append(slot: &mut Option<File>, path: &Path, line: &str) -> io::Result<()> {
    let file = match slot {
        Some(file) => file,
        None => slot.insert(OpenOptions::new().create(true).append(true).open(path)?),
    };
    let room = LOG_BYTES_MAX.saturating_sub(file.metadata()?.len());
    if room == 0 {
        return Ok(());
    }
    if line.len() as u64 >= room {
        // Filled up to the bound, so that the next line finds no room.
        let last =
            format!("{:width$}\n", "(the log is full)", width = usize::try_from(room - 1).unwrap_or(0));
        return file.write_all(last.as_bytes());
    }
    // One write a line: a reader never sees half of one.
    file.write_all(line.as_bytes())
}
