//! One process at a time in a mirror.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::error::GitError;
use crate::orphan;

/// How often a busy lock is tried.
const PAUSE: Duration = Duration::from_millis(10);

/// In which turns it is looked whether the holder is a git that nobody waits for: the first, then one a second.
const ORPHAN_TURNS: u64 = 100;

/// Takes an exclusive `flock` on `path`, which is made where missing. It lasts until the file and all its copies
/// are closed: each git command gets one as its standard input, so that a mirror whose server was killed stays
/// locked until the git it had started is gone too; whoever waits ends such a git.
///
/// # Errors
///
/// [`GitError::Locked`] after `wait_max`.
pub(crate) async fn lock(path: &Path, wait_max: Duration) -> Result<File, GitError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| GitError::io("open the lock", path, error))?;
    let taken = async {
        let mut turn = 0u64;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(error) => return Err(GitError::io("lock", path, io::Error::from(error))),
            }
            if turn.is_multiple_of(ORPHAN_TURNS) {
                orphan::end(path);
            }
            turn += 1;
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(wait_max, taken).await {
        Ok(taken) => taken.map(|()| file),
        Err(_) => {
            let dir = path.parent().unwrap_or(path).to_owned();
            Err(GitError::Locked { dir, waited: wait_max, by: orphan::holder(path) })
        }
    }
}
