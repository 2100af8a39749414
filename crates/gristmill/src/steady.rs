//! [`Steady`]: what this process knows by its own monotonic clock, which nobody can set; and what it does when the
//! time of day jumps. What a jump makes of the times in the database is `gristmill_db::clock`'s.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gristmill_db::DbError;
use gristmill_db::clock::{self, Jump};
use gristmill_db::job::{self, Beat};
use gristmill_db::publication::{self, Holder};
use gristmill_db::watch::Watch;
use gristmill_model::{JobId, ObjectKey, Timestamp};

use crate::app::App;
use crate::clock::rfc3339;

/// What was seen since the process began.
#[derive(Debug)]
pub struct Steady {
    began: Instant,
    /// A time of day, and the moment at which it was that.
    told: Mutex<Option<(Timestamp, Duration)>>,
    leases: Mutex<Watch<JobId, Beat>>,
    holders: Mutex<Watch<ObjectKey, Holder>>,
}

impl Steady {
    /// From now on.
    pub fn begin() -> Steady {
        Steady {
            began: Instant::now(),
            told: Mutex::default(),
            leases: Mutex::default(),
            holders: Mutex::default(),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// How long this process has seen a key's holder stand.
    pub fn stood(&self, key: &ObjectKey, holder: &Holder) -> Duration {
        locked(&self.holders).stood(key, holder, self.now())
    }

    /// What the time of day should be, where it was told before.
    fn expected(&self) -> Option<Timestamp> {
        let (told, at) = (*locked(&self.told))?;
        Some(told.plus(self.now().saturating_sub(at)))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The leases that were seen to stand without a heartbeat for as long as a lease lasts. To be asked every few seconds.
pub(crate) async fn silent(app: &App) -> Result<Vec<(JobId, Beat)>, DbError> {
    let (leases, holders) = app.db.read(|tx| Ok((job::leases(tx)?, publication::holders(tx)?))).await?;
    let (steady, now) = (&app.steady, app.steady.now());
    locked(&steady.holders).look(holders, now, job::LEASE);
    Ok(locked(&steady.leases).look(leases, now, job::LEASE))
}

/// Looks whether the clock has jumped, at the start of a program and each minute, and puts right what that makes wrong.
pub(crate) async fn look(app: &App) -> anyhow::Result<()> {
    let expected = app.steady.expected();
    let looked = app.db.transact(move |tx| Ok::<_, DbError>((clock::look(tx, expected)?, tx.now())));
    let (jump, now) = looked.await?;
    *locked(&app.steady.told) = Some((now, app.steady.now()));
    let shown = rfc3339(now);
    match jump {
        Jump::None => {}
        Jump::Ahead(by) => tracing::warn!(
            seconds = by.as_secs(),
            now = shown,
            "the clock went ahead, or nobody was here for long: for a day nothing is deleted by its age; is the clock right?"
        ),
        Jump::Back(by) => {
            tracing::warn!(
                seconds = by.as_secs(),
                now = shown,
                "the clock was set back: what waits has as long to wait as before; is the clock right?"
            );
            app.forges.forget_times();
        }
    }
    Ok(())
}

/// Until when nothing is to be deleted by its age, because the clock may be wrong.
pub(crate) async fn spares(app: &App) -> anyhow::Result<Option<Timestamp>> {
    look(app).await?;
    Ok(app.db.read(|tx| Ok(clock::read(tx)?.spares(tx.now()))).await?)
}
