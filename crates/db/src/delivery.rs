//! Deliveries: webhooks as they came, and the events found in them.

use std::time::Duration;

use gristmill_model::{DeliveryId, DeliveryState, Event, GitRef, ProjectId, Timestamp};

use crate::body;
use crate::error::DbError;
use crate::statements::statements;
use crate::tx::{Row, Tx};
use crate::value::Param;
use crate::{job, params, sum};

statements! {
    INSERT = "INSERT INTO delivery (id, project_id, remote_id, event, verifier, body_bytes, body, received_ms, state, replays, sum) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'received', 0, $9) ON CONFLICT (project_id, remote_id) DO NOTHING";
    KNOWN = "SELECT id, body_bytes, body FROM delivery WHERE project_id = $1 AND remote_id = $2";
    OUTLIVED = "UPDATE delivery SET remote_id = remote_id || '@' || id WHERE project_id = $1 AND remote_id = $2 AND received_ms <= $3";
    WAITING = "SELECT id, body_bytes FROM delivery WHERE project_id = $1 AND state = 'received' ORDER BY id LIMIT $2";
    SHOW = "SELECT id, project_id, remote_id, event, verifier, body_bytes, body, received_ms, state, reason, replays, sum FROM delivery WHERE id = $1";
    LIST = "SELECT id, project_id, remote_id, event, verifier, body_bytes, NULL, received_ms, state, reason, replays, sum FROM delivery WHERE (CAST($1 AS TEXT) IS NULL OR project_id = $1) AND id < $2 ORDER BY id DESC LIMIT $3";
    SETTLE = "UPDATE delivery SET state = $2, reason = $3 WHERE id = $1";
    FORGET_EVENTS = "DELETE FROM event WHERE delivery_id = $1";
    INSERT_EVENT = "INSERT INTO event (delivery_id, n, kind, ref, before_id, after_id, reason) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    EVENTS = "SELECT kind, ref, before_id, after_id, reason FROM event WHERE delivery_id = $1 ORDER BY n";
    REPLAY = "UPDATE delivery SET state = 'received', reason = NULL, replays = replays + 1 WHERE id = $1 RETURNING project_id";
    EXPIRED = "SELECT id FROM delivery WHERE state <> 'received' AND received_ms < $1 LIMIT $2";
    DELETE = "DELETE FROM delivery WHERE id = $1";
    WAITING_COUNT = "SELECT count(*) FROM delivery WHERE state = 'received'";
}

pub use crate::body::{Body, DamagedBody};

/// A verified webhook on its way to the disk.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// The forge's id of it.
    pub remote_id: String,
    /// How long the same id with the same body is the same delivery; for as long as it is kept, where not set.
    pub id_stands_for: Option<Duration>,
    /// The forge's name of the event.
    pub event: String,
    /// How it was verified.
    pub verifier: String,
    /// The raw body.
    pub body: Body,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is stored now.
    New(DeliveryId),
    /// It was stored before, with the same body: the first answer again.
    Again(DeliveryId),
    /// Another body came under the same id before.
    Conflict(DeliveryId),
}

/// A stored delivery.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Our id.
    pub id: DeliveryId,
    /// The project.
    pub project: ProjectId,
    /// The forge's id.
    pub remote_id: String,
    /// The forge's name of the event.
    pub event: String,
    /// How it was verified.
    pub verifier: String,
    /// The raw body, or how it is damaged; empty in listings.
    pub body: Result<Vec<u8>, DamagedBody>,
    /// When it came.
    pub received: Timestamp,
    /// What became of it.
    pub state: DeliveryState,
    /// Why, where it was ignored.
    pub reason: Option<String>,
    /// How often a person asked for it to be handled again.
    pub replays: i64,
}

fn read(row: &Row<'_, '_>) -> Result<Delivery, DbError> {
    let found = Delivery {
        id: row.get(0)?,
        project: row.get(1)?,
        remote_id: row.get(2)?,
        event: row.get(3)?,
        verifier: row.get(4)?,
        body: match row.get::<Option<Vec<u8>>>(6)? {
            Some(packed) => body::unpack(&packed, row.get(5)?),
            None => Ok(Vec::new()),
        },
        received: row.get(7)?,
        state: row.get(8)?,
        reason: row.get(9)?,
        replays: row.get(10)?,
    };
    // See `OUTLIVED`.
    let outlived = format!("@{}", found.id);
    let remote_id = found.remote_id.strip_suffix(&outlived).unwrap_or(&found.remote_id);
    let what = (remote_id, found.event.as_str(), found.verifier.as_str());
    sum::check("delivery", &fixed(found.id, found.project, what, found.received), row.get(11)?)?;
    Ok(found)
}

/// What never changes of a delivery, beside its body.
fn fixed<'a>(
    id: DeliveryId,
    project: ProjectId,
    (remote_id, event, verifier): (&'a str, &'a str, &'a str),
    received: Timestamp,
) -> [Param<'a>; 6] {
    [id.into(), project.into(), remote_id.into(), event.into(), verifier.into(), received.into()]
}

/// Stores a delivery and sees to it that the project's remote will be looked at. The same delivery
/// again changes nothing.
pub fn accept(tx: &mut Tx<'_>, project: ProjectId, new: &NewDelivery) -> Result<Accepted, DbError> {
    if let Some(window) = new.id_stands_for {
        let since = tx.now().minus(window);
        tx.execute(OUTLIVED, params![project, &new.remote_id, since])?;
    }
    let now = tx.now();
    let id = DeliveryId::new(tx.id_time(), tx.random());
    let what = (new.remote_id.as_str(), new.event.as_str(), new.verifier.as_str());
    let sum = sum::of(&fixed(id, project, what, now));
    let inserted = tx.execute(
        INSERT,
        params![
            id,
            project,
            &new.remote_id,
            &new.event,
            &new.verifier,
            new.body.length,
            &new.body.packed,
            now,
            sum
        ],
    )?;
    if inserted == 1 {
        job::ask_for_look(tx, project, job::PRIORITY_HOOK)?;
        return Ok(Accepted::New(id));
    }
    let known = tx.query_one(KNOWN, params![project, &new.remote_id], |row| {
        let first: Vec<u8> = row.get(2)?;
        let is_same = new.body.is(&first, row.get(1)?);
        Ok((row.get::<DeliveryId>(0)?, is_same.map_err(|fault| DbError::Corrupt(fault.to_string()))?))
    })?;
    let (id, is_same) = known.ok_or(DbError::Sql("a delivery vanished while it was looked up".to_owned()))?;
    Ok(if is_same { Accepted::Again(id) } else { Accepted::Conflict(id) })
}

/// Deliveries of a project whose events are not handled yet, oldest first: up to `limit`, and as many as
/// have `bytes_max` bytes together, but always one. Whether there are more.
pub fn waiting(
    tx: &mut Tx<'_>,
    project: ProjectId,
    limit: i64,
    bytes_max: i64,
) -> Result<(Vec<Delivery>, bool), DbError> {
    let ids = tx.query(WAITING, params![project, limit.saturating_add(1)], |row| {
        Ok((row.get::<DeliveryId>(0)?, row.get::<i64>(1)?))
    })?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    for (id, length) in &ids {
        bytes += length;
        let is_full = bytes > bytes_max || i64::try_from(found.len()).is_ok_and(|found| found >= limit);
        if is_full && !found.is_empty() {
            return Ok((found, true));
        }
        found.extend(by_id(tx, *id)?);
    }
    Ok((found, false))
}

/// How many deliveries wait, over all projects.
pub fn waiting_count(tx: &mut Tx<'_>) -> Result<i64, DbError> {
    Ok(tx.query_one(WAITING_COUNT, params![], |row| row.get(0))?.unwrap_or(0))
}

/// One delivery with its body.
pub fn by_id(tx: &mut Tx<'_>, id: DeliveryId) -> Result<Option<Delivery>, DbError> {
    tx.query_one(SHOW, params![id], read)
}

/// Deliveries without their bodies, newest first, those before `before`.
pub fn list(
    tx: &mut Tx<'_>,
    project: Option<ProjectId>,
    before: &str,
    limit: i64,
) -> Result<Vec<Delivery>, DbError> {
    tx.query(LIST, params![project, before, limit], read)
}

/// Records the events of a delivery and what became of it.
pub fn settle(
    tx: &mut Tx<'_>,
    id: DeliveryId,
    events: &[Event],
    state: DeliveryState,
    reason: Option<&str>,
) -> Result<(), DbError> {
    tx.execute(FORGET_EVENTS, params![id])?;
    for (n, event) in (0_i64..).zip(events) {
        let kind = event_kind(event);
        tx.execute(
            INSERT_EVENT,
            params![id, n, kind, event.git_ref.as_ref(), event.before, event.after, event.reason.as_deref()],
        )?;
    }
    tx.execute(SETTLE, params![id, state, reason]).map(drop)
}

fn event_kind(event: &Event) -> String {
    let quoted = serde_json::to_string(&event.kind).expect("a word");
    quoted.trim_matches('"').to_owned()
}

/// One recorded event.
#[derive(Clone, Debug, serde::Serialize)]
pub struct EventRow {
    /// push, tag, delete, release, ping or ignored.
    pub kind: String,
    /// The full ref.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub git_ref: Option<GitRef>,
    /// Where it pointed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Where it points since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Why nothing is built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The events found in a delivery.
pub fn events(tx: &mut Tx<'_>, id: DeliveryId) -> Result<Vec<EventRow>, DbError> {
    tx.query(EVENTS, params![id], |row| {
        Ok(EventRow {
            kind: row.get(0)?,
            git_ref: row.get(1)?,
            before: row.get(2)?,
            after: row.get(3)?,
            reason: row.get(4)?,
        })
    })
}

/// Has a delivery handled again: a person asked for it. False where there is no such delivery.
pub fn replay(tx: &mut Tx<'_>, id: DeliveryId) -> Result<bool, DbError> {
    let Some(project) = tx.query_one(REPLAY, params![id], |row| row.get(0))? else { return Ok(false) };
    job::ask_for_look(tx, project, job::PRIORITY_HOOK)?;
    Ok(true)
}

/// Deletes up to `max` deliveries received before `before`, and with them the memory that makes a late
/// copy harmless: keep them for 30 days at least. How many.
pub fn expire(tx: &mut Tx<'_>, before: Timestamp, max: i64) -> Result<usize, DbError> {
    let expired = tx.query(EXPIRED, params![before, max], |row| row.get::<DeliveryId>(0))?;
    for id in &expired {
        tx.execute(FORGET_EVENTS, params![*id])?;
        tx.execute(DELETE, params![*id])?;
    }
    Ok(expired.len())
}
