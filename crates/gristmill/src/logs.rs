//! Job logs: one file a job, only ever appended to, bounded, readable while it grows. A worker's death
//! loses nothing that was written.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gristmill_model::{Clock, JobId};

use crate::clock;

/// The most bytes a job's log holds; what comes later is counted out with one last line.
pub const LOG_BYTES_MAX: u64 = 4 << 20;
/// The longest line.
const LINE_BYTES_MAX: usize = 4096;
/// The most bytes one read returns.
const READ_BYTES_MAX: u64 = 1 << 20;

/// The folder of the logs.
#[derive(Clone, Debug)]
pub struct Logs {
    folder: PathBuf,
}

impl Logs {
    /// Logs below `folder`, which is made where it is missing.
    pub fn open(folder: PathBuf) -> io::Result<Logs> {
        std::fs::create_dir_all(&folder)?;
        Ok(Logs { folder })
    }

    fn path(&self, job: JobId) -> PathBuf {
        self.folder.join(format!("{job}.log"))
    }

    /// The log of a job, to be written.
    pub fn writer(&self, job: JobId, clock: Arc<dyn Clock>) -> JobLog {
        JobLog { path: self.path(job), file: Arc::new(Mutex::new(None)), clock }
    }

    /// What the log holds from `offset` on, at most a MiB; empty where there is nothing (yet).
    pub fn read(&self, job: JobId, offset: u64) -> io::Result<Vec<u8>> {
        let mut file = match File::open(self.path(job)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Deletes logs not written to since `before`; how many.
    pub fn expire(&self, before: gristmill_model::Timestamp) -> io::Result<usize> {
        let mut deleted = 0;
        for entry in std::fs::read_dir(&self.folder)? {
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

/// A job's log while the job runs. A log that cannot be written never fails the job.
#[derive(Clone)]
pub struct JobLog {
    path: PathBuf,
    file: Arc<Mutex<Option<File>>>,
    clock: Arc<dyn Clock>,
}

impl JobLog {
    /// Appends a line. Never a secret: the caller says only what may be read by anyone who may read the run.
    pub fn line(&self, text: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = append(&mut file, &self.path, &self.format(text)) {
            tracing::warn!(%error, log.path = %self.path.display(), "a line of a job's log was lost");
        }
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
