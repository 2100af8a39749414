//! Which ready jobs are next: in the order of their priority, then of the time they became due, leaving
//! out projects that have as many jobs running as they may.
//!
//! A worker asks this all the time, so that it must cost the same with ten jobs waiting and with a
//! hundred thousand: the front of the queue is read first; only where that is taken up by projects that
//! are full, the front of each other project's queue is.

use std::collections::HashMap;
use std::time::Duration;

use gristmill_model::{JobId, ProjectId, Timestamp};

use super::lease::Lease;
use super::{PRIORITY_HOOK, PRIORITY_POLL};
use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::{Row, Tx};

/// Jobs read from the front of the queue before each project is asked on its own.
const FRONT: i64 = 64;
/// The same of one kind: projects that are full must not take all of it.
const ONLY_FRONT: i64 = 1024;

statements! {
    PRIORITY = "SELECT min(priority) FROM job WHERE state = 'ready' AND priority > $1";
    DUE = "SELECT not_before_ms FROM job WHERE state = 'ready' AND priority = $1 ORDER BY not_before_ms LIMIT 1";
    HELD = "SELECT project_id, count(*) FROM job WHERE state = 'leased' AND run_id IS NOT NULL GROUP BY project_id";
    LIMIT = "SELECT jobs_max FROM project WHERE id = $1";
    FRONT_OF_ALL = "SELECT id, run_id, project_id, kind, payload, tries, not_before_ms FROM job WHERE state = 'ready' AND priority = $1 AND not_before_ms <= $2 AND (only_one IS NULL OR NOT EXISTS (SELECT 1 FROM job AS other WHERE other.state = 'leased' AND other.only_one = job.only_one)) ORDER BY not_before_ms, id LIMIT $3";
    ALONE = "SELECT id, run_id, project_id, kind, payload, tries, not_before_ms FROM job WHERE state = 'ready' AND priority = $1 AND not_before_ms <= $2 AND run_id IS NULL AND (only_one IS NULL OR NOT EXISTS (SELECT 1 FROM job AS other WHERE other.state = 'leased' AND other.only_one = job.only_one)) ORDER BY not_before_ms, id LIMIT $3";
    ONLY = "SELECT id, run_id, project_id, kind, payload, tries, not_before_ms FROM job WHERE state = 'ready' AND priority = $1 AND not_before_ms <= $2 AND run_id IS NOT NULL AND kind = $3 ORDER BY not_before_ms, id LIMIT $4";
    WAITING_LONG = "SELECT id FROM job WHERE state = 'ready' AND priority = $1 AND not_before_ms <= $2 LIMIT $3";
    RAISE = "UPDATE job SET priority = $2 WHERE id = $1";
    NEXT_PROJECT = "SELECT min(project_id) FROM job WHERE state = 'ready' AND run_id IS NOT NULL AND project_id > $1";
    FRONT_OF_PROJECT = "SELECT id, run_id, project_id, kind, payload, tries, not_before_ms FROM job WHERE state = 'ready' AND run_id IS NOT NULL AND project_id = $1 AND priority = $2 AND not_before_ms <= $3 ORDER BY not_before_ms, id LIMIT $4";
}

/// Which jobs a place of a worker is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Any job.
    Any,
    /// Jobs of runs.
    Run,
    /// Work outside runs: looks, which mostly wait for a remote to answer.
    Alone,
    /// Jobs of runs of this kind: what the others need is away. Reads past all others, and is for a while only.
    Only(&'static str),
}

/// A ready job, and since when.
type Candidate = (Timestamp, Lease);

fn read(row: &Row<'_, '_>) -> Result<Candidate, DbError> {
    let lease = Lease {
        job: row.get(0)?,
        attempt: 0,
        run: row.get(1)?,
        project: row.get(2)?,
        kind: row.get(3)?,
        payload: row.get(4)?,
        tries: row.get(5)?,
    };
    Ok((row.get(6)?, lease))
}

/// How long jobs that nobody waits for let others go first.
const PATIENCE: Duration = Duration::from_secs(20);

/// Gives up to `max` jobs that have let others go first for long enough the same priority as those; how many.
/// Without it, what was found by polling would never be built where hooks alone keep the workers busy.
pub fn raise(tx: &mut Tx<'_>, max: i64) -> Result<usize, DbError> {
    let before = tx.now().minus(PATIENCE);
    let long = tx.query(WAITING_LONG, params![PRIORITY_POLL, before, max], |row| row.get::<JobId>(0))?;
    for id in &long {
        tx.execute(RAISE, params![*id, PRIORITY_HOOK])?;
    }
    Ok(long.len())
}

/// When the job that is due first may be leased; in the past where it waits for its project's limit.
pub fn next_due(tx: &mut Tx<'_>) -> Result<Option<Timestamp>, DbError> {
    let mut first = None;
    let mut priority = i64::MIN;
    while let Some(next) = priority_after(tx, priority)? {
        priority = next;
        let due = tx.query_one(DUE, params![priority], |row| row.get::<Timestamp>(0))?;
        first = first.into_iter().chain(due).min();
    }
    Ok(first)
}

/// The priorities of the jobs that are ready.
pub(crate) fn priorities(tx: &mut Tx<'_>) -> Result<Vec<i64>, DbError> {
    let mut found = Vec::new();
    while let Some(next) = priority_after(tx, found.last().copied().unwrap_or(i64::MIN))? {
        found.push(next);
    }
    Ok(found)
}

fn priority_after(tx: &mut Tx<'_>, priority: i64) -> Result<Option<i64>, DbError> {
    Ok(tx.query_one(PRIORITY, params![priority], |row| row.get::<Option<i64>>(0))?.flatten())
}

/// Up to `max` jobs whose turn it is.
pub(super) fn next(tx: &mut Tx<'_>, place: Place, max: usize, left: &[JobId]) -> Result<Vec<Lease>, DbError> {
    let mut room = Room::read(tx, left)?;
    let mut chosen = Vec::new();
    let mut priority = i64::MIN;
    while chosen.len() < max
        && let Some(next) = priority_after(tx, priority)?
    {
        priority = next;
        let wanted = i64::try_from(max - chosen.len()).unwrap_or(i64::MAX);
        let now = tx.now();
        match place {
            Place::Alone => {
                let front = tx.query(ALONE, params![priority, now, wanted], read)?;
                room.admit(tx, front, max, &mut chosen)?;
            }
            Place::Only(kind) => {
                let front = tx.query(ONLY, params![priority, now, kind, ONLY_FRONT], read)?;
                room.admit(tx, front, max, &mut chosen)?;
            }
            Place::Any | Place::Run => choose(tx, (priority, place), max, &mut room, &mut chosen)?,
        }
    }
    Ok(chosen)
}

/// Chooses among the jobs of one priority.
fn choose(
    tx: &mut Tx<'_>,
    (priority, place): (i64, Place),
    max: usize,
    room: &mut Room,
    chosen: &mut Vec<Lease>,
) -> Result<(), DbError> {
    let now = tx.now();
    let mut front = tx.query(FRONT_OF_ALL, params![priority, now, FRONT], read)?;
    let is_all = i64::try_from(front.len()).is_ok_and(|read| read < FRONT);
    front.retain(|(_, lease)| place == Place::Any || lease.run.is_some());
    let (mut room_after, mut chosen_after) = (room.clone(), chosen.clone());
    room_after.admit(tx, front, max, &mut chosen_after)?;
    if is_all || chosen_after.len() == max {
        (*room, *chosen) = (room_after, chosen_after);
        return Ok(());
    }
    let wanted = i64::try_from(max - chosen.len()).unwrap_or(i64::MAX);
    let mut fronts = match place {
        Place::Any => tx.query(ALONE, params![priority, now, wanted], read)?,
        _ => Vec::new(),
    };
    let mut project = String::new();
    while let Some(next) =
        tx.query_one(NEXT_PROJECT, params![&project], |row| row.get::<Option<String>>(0))?.flatten()
    {
        let id = next.parse().map_err(|_| DbError::Sql(format!("`{next}` is not a project's id")))?;
        let limit = room.left(tx, id)?.min(wanted);
        if limit > 0 {
            fronts.extend(tx.query(FRONT_OF_PROJECT, params![&next, priority, now, limit], read)?);
        }
        project = next;
    }
    fronts.sort_by_key(|(due, lease)| (*due, lease.job));
    room.admit(tx, fronts, max, chosen)
}

/// How many more jobs each project may have running.
#[derive(Clone)]
struct Room {
    held: HashMap<ProjectId, i64>,
    left: HashMap<ProjectId, i64>,
    /// Jobs that are left to others.
    others: Vec<JobId>,
}

impl Room {
    fn read(tx: &mut Tx<'_>, others: &[JobId]) -> Result<Room, DbError> {
        let held =
            tx.query(HELD, params![], |row| Ok((row.get::<Option<ProjectId>>(0)?, row.get::<i64>(1)?)))?;
        let held = held.into_iter().filter_map(|(project, jobs)| Some((project?, jobs))).collect();
        Ok(Room { held, left: HashMap::new(), others: others.to_owned() })
    }

    fn left(&mut self, tx: &mut Tx<'_>, project: ProjectId) -> Result<i64, DbError> {
        if let Some(left) = self.left.get(&project) {
            return Ok(*left);
        }
        let limit = tx.query_one(LIMIT, params![project], |row| row.get::<i64>(0))?;
        let held = self.held.get(&project).copied().unwrap_or(0);
        let left = limit.map_or(i64::MAX, |limit| limit - held);
        self.left.insert(project, left);
        Ok(left)
    }

    /// Takes candidates in, in their order, as long as their projects have room. Work outside runs is
    /// not limited, so that a project whose long builds fill its limit still sees new pushes.
    fn admit(
        &mut self,
        tx: &mut Tx<'_>,
        candidates: Vec<Candidate>,
        max: usize,
        chosen: &mut Vec<Lease>,
    ) -> Result<(), DbError> {
        for (_, lease) in candidates {
            if chosen.len() == max {
                break;
            }
            if self.others.contains(&lease.job) {
                continue;
            }
            if let (Some(project), Some(_)) = (lease.project, lease.run) {
                let left = self.left(tx, project)?;
                if left <= 0 {
                    continue;
                }
                self.left.insert(project, left.saturating_sub(1));
            }
            chosen.push(lease);
        }
        Ok(())
    }
}
