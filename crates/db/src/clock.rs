//! What becomes of the times in the database when the clock jumps.
//!
//! The newest time that was seen is kept. A clock that shows an earlier one was set back: what waits goes on waiting
//! for as long as it had left, and no longer. A clock that goes ahead harms nothing but what is deleted by its age,
//! which therefore is spared for a while. Who is gone is not asked of this clock at all: see [`crate::watch`].

use std::time::Duration;

use gristmill_model::Timestamp;

use crate::error::DbError;
use crate::statements::statements;
use crate::tx::Tx;
use crate::{job, params};

/// Clocks that are kept right by the network move by less than this.
const SLACK: Duration = Duration::from_secs(2);
/// A clock that went ahead by more than this while somebody watched has jumped.
const JUMP: Duration = Duration::from_secs(3600);
/// While nobody watched: it may also have been a long pause.
const PAUSE: Duration = Duration::from_secs(24 * 3600);
/// How long nothing is deleted by its age after a jump ahead: somebody can set the clock right in time.
pub const SPARE: Duration = Duration::from_secs(24 * 3600);
/// Schedules that the clock was set back behind by more than this begin anew.
const ANEW: Duration = Duration::from_secs(24 * 3600);
/// No job, look or status waits for longer, beyond what its pipeline or project says.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// No poll is further apart than this.
const POLL_MAX: Duration = Duration::from_secs(31 * 24 * 3600);
/// No two times of a schedule are further apart: the 29th of February around a year 2100.
const SCHEDULE_MAX: Duration = Duration::from_secs(9 * 366 * 24 * 3600);
/// No duty is held for longer without being kept, and no blob.
pub const HOLD_MAX: Duration = Duration::from_secs(30 * 60);
/// Ids made since the newest time was kept last are not newer than it by more than this.
const KEPT: Duration = Duration::from_secs(120);

statements! {
    READ = "SELECT name, value FROM counter WHERE name IN ('clock', 'ids', 'spared')";
    KEEP = "UPDATE counter SET value = $2 WHERE name = $1 AND value <> $2";
    JOBS = "UPDATE job SET not_before_ms = not_before_ms - $1 WHERE state = 'ready' AND not_before_ms > $2";
    POLLS = "UPDATE project SET next_look_ms = next_look_ms - $1 WHERE next_look_ms > $2";
    TELLS = "UPDATE run SET tell_after_ms = tell_after_ms - $1 WHERE (told IS NULL OR (told = 'pending' AND finished_ms IS NOT NULL)) AND tell_after_ms > $2";
    SCHEDULES = "UPDATE schedule SET next_ms = 0 WHERE next_ms > $1";
    FAR_JOBS = "UPDATE job SET not_before_ms = $1 WHERE state = 'ready' AND priority = $3 AND not_before_ms > $2 AND not_before_ms - delay_ms > $2";
    FAR_POLLS = "UPDATE project SET next_look_ms = $1 WHERE next_look_ms > $2";
    FAR_READY = "UPDATE job SET ready_ms = $1 WHERE state = 'ready' AND priority = $2 AND ready_ms > $1";
    FAR_DUTIES = "UPDATE duty SET begun_ms = $1 WHERE begun_ms > $1";
    FAR_KEPT = "UPDATE duty SET until_ms = $1 WHERE until_ms > $1";
    FAR_HOLDS = "UPDATE blob_hold SET until_ms = $1 WHERE until_ms > $1";
    FAR_BOOTS = "UPDATE boot SET seen_ms = $1 WHERE seen_ms > $1";
    FAR_TELLS = "UPDATE run SET tell_after_ms = $1 WHERE (told IS NULL OR (told = 'pending' AND finished_ms IS NOT NULL)) AND tell_after_ms > $2";
}

/// What the clock did since it was looked at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// It went on.
    None,
    /// It went ahead by so much, or nobody looked for so long.
    Ahead(Duration),
    /// It was set back by so much.
    Back(Duration),
}

/// What is kept of the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The newest time that was seen since the clock was last set back; zero: none yet.
    pub newest: Timestamp,
    /// No id may be older than this.
    ids: Timestamp,
    /// Until when nothing is deleted by its age.
    pub spared_until: Timestamp,
}

impl Seen {
    /// How far the clock is behind the newest time that was seen, where that is no wear.
    pub fn behind(&self, now: Timestamp) -> Option<Duration> {
        Some(self.newest.since(now)).filter(|behind| *behind > SLACK)
    }

    /// Until when nothing is to be deleted by its age, where that is not over.
    pub fn spares(&self, now: Timestamp) -> Option<Timestamp> {
        Some(self.spared_until).filter(|until| *until > now)
    }
}

/// What is kept of the clock.
pub fn read(tx: &mut Tx<'_>) -> Result<Seen, DbError> {
    let mut seen = Seen::default();
    for (name, value) in
        tx.query(READ, params![], |row| Ok((row.get::<String>(0)?, row.get::<Timestamp>(1)?)))?
    {
        match name.as_str() {
            "clock" => seen.newest = value,
            "ids" => seen.ids = value,
            _ => seen.spared_until = value,
        }
    }
    Ok(seen)
}

/// Looks at the clock and puts right what a jump has made wrong. `expected` is what it should show by the monotonic
/// clock of this process; `None` at its start.
pub fn look(tx: &mut Tx<'_>, expected: Option<Timestamp>) -> Result<Jump, DbError> {
    let now = tx.now();
    let seen = read(tx)?;
    let mut spared = seen.spared_until;
    let jump = match (seen.newest.since(now), expected) {
        _ if seen.newest == Timestamp(0) => Jump::None,
        (back, _) if back > SLACK => Jump::Back(back),
        (_, Some(expected)) if now.since(expected) > JUMP => Jump::Ahead(now.since(expected)),
        (_, None) if now.since(seen.newest) > PAUSE => Jump::Ahead(now.since(seen.newest)),
        _ => Jump::None,
    };
    match jump {
        Jump::None => {}
        Jump::Ahead(_) => spared = now.plus(SPARE),
        Jump::Back(by) => {
            set_back(tx, by, now)?;
            spared = spared.min(now.plus(SPARE));
        }
    }
    bring_near(tx, now)?;
    let ids = if seen.ids > now {
        seen.ids.plus(if expected.is_none() { KEPT } else { Duration::ZERO })
    } else {
        now
    };
    let ids = tx.newest_id(ids);
    let newest = if matches!(jump, Jump::Back(_)) { now } else { seen.newest.max(now) };
    for (name, value) in [("clock", newest), ("ids", ids), ("spared", spared)] {
        tx.execute(KEEP, params![name, value])?;
    }
    Ok(jump)
}

/// What waits has as long to wait as before.
fn set_back(tx: &mut Tx<'_>, by: Duration, now: Timestamp) -> Result<(), DbError> {
    let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    for sql in [JOBS, POLLS, TELLS] {
        tx.execute(sql, params![by_ms, now])?;
    }
    // What was due in the hours that come again was done in them. After more, it is another calendar.
    if by > ANEW {
        tx.execute(SCHEDULES, params![now])?;
    }
    tx.wake_workers();
    Ok(())
}

/// Times further ahead than any can be, which a jump left that nobody saw.
fn bring_near(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), DbError> {
    for priority in job::priorities(tx)? {
        tx.execute(FAR_JOBS, params![now, now.plus(WAIT_MAX), priority])?;
        tx.execute(FAR_READY, params![now, priority])?;
    }
    for (sql, max) in [(FAR_POLLS, POLL_MAX), (FAR_TELLS, WAIT_MAX)] {
        tx.execute(sql, params![now, now.plus(max)])?;
    }
    for sql in [FAR_DUTIES, FAR_BOOTS] {
        tx.execute(sql, params![now])?;
    }
    for sql in [FAR_KEPT, FAR_HOLDS] {
        tx.execute(sql, params![now.plus(HOLD_MAX)])?;
    }
    tx.execute(SCHEDULES, params![now.plus(SCHEDULE_MAX)]).map(drop)
}
