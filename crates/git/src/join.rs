//! Joining a mirror's packs and refs: each fetch brings one of both, and git looks at all of them.

use std::fs::File;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::GitError;
use crate::mirror::{Maintained, Mirror};
use crate::partial::MirrorKind;
use crate::repair;

/// With so many packs a fetch looks at too many index files; [`Mirror::maintain`] then joins them.
const PACKS_MAX: usize = 20;

/// With so many loose refs each listing opens too many files.
const LOOSE_PINS_MAX: usize = 200;

/// With so many times as many a fetch joins them itself: while thousands are queued no idle moment comes, and each of them
/// would take longer than the one before.
const BURST: usize = 4;

/// How long a fetch may spend on that, besides its own time.
const JOIN_TIME_MAX: Duration = Duration::from_secs(120);

/// The file beside the repository whose age says when that failed last; and for how long it is left then.
const FAILED: &str = "unjoined";
const PAUSE: Duration = Duration::from_secs(600);

/// Of what a mirror has too many.
struct Many {
    packs: bool,
    pins: bool,
}

impl Many {
    fn any(&self) -> bool {
        self.packs || self.pins
    }
}

impl Mirror {
    /// Joins packs and refs where there are too many of them; otherwise looks and does nothing. For an idle moment
    /// after a fetch. Removes no object.
    ///
    /// # Errors
    ///
    /// [`GitError::Locked`] at once where the mirror is in use; [`GitError::Timeout`].
    pub async fn maintain(&self, time_max: Duration) -> Result<Maintained, GitError> {
        let packs_before = repair::count_packs(&self.repo)?;
        if self.has_many(1)?.any() {
            let lock = self.lock(Duration::ZERO).await?;
            repair::tidy(&self.repo)?;
            self.join(&lock, time_max).await?;
        }
        Ok(Maintained { packs_before, packs_after: repair::count_packs(&self.repo)? })
    }

    /// Whether there are more than so many times what may be.
    fn has_many(&self, times: usize) -> Result<Many, GitError> {
        let packs = repair::count_packs(&self.repo)? > times * PACKS_MAX;
        Ok(Many { packs, pins: repair::count_loose_pins(&self.repo)? > times * LOOSE_PINS_MAX })
    }

    /// For whoever has just brought something, and holds the lock. That was done whatever becomes of this: what fails is told,
    /// and not tried again for a while.
    pub(crate) async fn join_in_a_burst(&self, lock: &File) {
        let failed = self.dir().join(FAILED);
        let is_paused = || {
            let failed_at = std::fs::metadata(&failed).and_then(|found| found.modified());
            failed_at.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < PAUSE))
        };
        let joined = match self.has_many(BURST) {
            Ok(many) if many.any() && !is_paused() => self.join(lock, JOIN_TIME_MAX).await,
            outcome => outcome.map(drop),
        };
        if let Err(error) = joined {
            tracing::warn!(%error, git.mirror = %self.dir().display(), "packs and refs could not be joined");
            // What it has left would count as the mirror's. Where no note can be made it is tried again.
            let _ = (repair::tidy(&self.repo), std::fs::write(&failed, ""));
        }
    }

    async fn join(&self, lock: &File, time_max: Duration) -> Result<(), GitError> {
        let (many, end) = (self.has_many(1)?, Instant::now() + time_max);
        if many.pins {
            self.git.run("pack-refs", self.call(&["pack-refs", "--all"], Some(lock), time_max)).await?;
        }
        if many.packs {
            // Geometric: rewrites small packs often and large ones seldom, whatever the mirror's size.
            let args = ["repack", "-d", "--geometric=2", "--quiet", "--no-write-bitmap-index"];
            let left = end.saturating_duration_since(Instant::now());
            self.git.run("repack", self.call(&args, Some(lock), left)).await?;
            if self.kind() == MirrorKind::Partial {
                repair::promise(&self.repo)?;
            }
        }
        Ok(())
    }
}
