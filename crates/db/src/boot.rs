//! Starts of programs that work on one database together: which of them are up, on which data folder, with which
//! configuration. With SQLite there is one program, the lock of its data folder says so, and this stays empty.

use std::time::Duration;

use gristmill_model::{BootId, Digest, FolderId, Timestamp};

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::Tx;

/// How often a program says that it is up.
pub const RENEW: Duration = Duration::from_secs(3);
/// One that has not said so for this long is taken for gone, until it says so again. Nothing is taken from it for
/// that: leases end by their own time.
pub const UP: Duration = Duration::from_secs(15);

statements! {
    INSERT = "INSERT INTO boot (id, folder, kind, place, version, works, draining, started_ms, seen_ms) VALUES ($1, $2, $3, $4, $5, $6, FALSE, $7, $7)";
    RENEWED = "UPDATE boot SET seen_ms = $2, draining = $3, config = $4 WHERE id = $1";
    ENDED = "DELETE FROM boot WHERE id = $1";
    EARLIER = "DELETE FROM boot WHERE folder = $1 AND id <> $2";
    GONE = "DELETE FROM boot WHERE seen_ms < $1";
    LIST = "SELECT id, folder, kind, place, version, works, config, draining, started_ms, seen_ms FROM boot WHERE seen_ms > $1 ORDER BY id LIMIT 1000";
    IMPORTED = "INSERT INTO setting (name, value) VALUES ('configuration', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    IN_FORCE = "SELECT value FROM setting WHERE name = 'configuration'";
}

/// What a program does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It accepts webhooks.
    Serve,
    /// It works, and accepts nothing.
    Worker,
    /// It does what is due and ends.
    Sync,
}

impl Kind {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Serve => "serve",
            Kind::Worker => "worker",
            Kind::Sync => "sync",
        }
    }

    /// What a newer version may write is no `serve`.
    fn parse(text: &str) -> Kind {
        [Kind::Serve, Kind::Sync].into_iter().find(|kind| kind.as_str() == text).unwrap_or(Kind::Worker)
    }
}

/// A program that is up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Boot {
    /// Its start.
    pub id: BootId,
    /// The data folder it works on.
    pub folder: FolderId,
    /// What it does.
    pub kind: Kind,
    /// Where it runs, for people.
    pub place: String,
    /// The program's version.
    pub version: String,
    /// Whether it leases jobs.
    pub works: bool,
    /// The projects that its configuration has in force.
    pub config: Option<Digest>,
    /// Whether it was asked to stop.
    pub draining: bool,
    /// When it started.
    pub started: Timestamp,
    /// When it last said that it is up.
    pub seen: Timestamp,
}

/// A program is up.
pub fn begin(tx: &mut Tx<'_>, boot: &Boot) -> Result<(), DbError> {
    let now = tx.now();
    let Boot { id, folder, kind, place, version, works, .. } = boot;
    tx.execute(INSERT, params![*id, *folder, kind.as_str(), place, version, *works, now]).map(drop)
}

/// It still is. False where somebody has forgotten it: it begins again.
pub fn renew(tx: &mut Tx<'_>, id: BootId, draining: bool, config: Option<Digest>) -> Result<bool, DbError> {
    let now = tx.now();
    Ok(tx.execute(RENEWED, params![id, now, draining, config])? == 1)
}

/// It has ended in good order.
pub fn end(tx: &mut Tx<'_>, id: BootId) -> Result<(), DbError> {
    tx.execute(ENDED, params![id]).map(drop)
}

/// Forgets the starts on a data folder before this one, which holds its lock. Their leases were taken back.
pub fn forget_earlier(tx: &mut Tx<'_>, folder: FolderId, mine: BootId) -> Result<(), DbError> {
    tx.execute(EARLIER, params![folder, mine]).map(drop)
}

/// Forgets starts that were last seen before `before`.
pub fn expire(tx: &mut Tx<'_>, before: Timestamp) -> Result<usize, DbError> {
    tx.execute(GONE, params![before])
}

/// The programs that are up, in the order in which they started; at most a thousand.
pub fn up(tx: &mut Tx<'_>) -> Result<Vec<Boot>, DbError> {
    let after = tx.now().minus(UP);
    tx.query(LIST, params![after], |row| {
        Ok(Boot {
            id: row.get(0)?,
            folder: row.get(1)?,
            kind: Kind::parse(&row.get::<String>(2)?),
            place: row.get(3)?,
            version: row.get(4)?,
            works: row.get(5)?,
            config: row.get(6)?,
            draining: row.get(7)?,
            started: row.get(8)?,
            seen: row.get(9)?,
        })
    })
}

/// The configuration that was imported last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imported {
    /// Its projects.
    pub config: Digest,
    /// By whom.
    pub by: BootId,
}

/// Notes whose configuration is in force, in the transaction that imports it.
pub fn imported(tx: &mut Tx<'_>, import: Imported) -> Result<(), DbError> {
    let value = format!("{} {}", import.config, import.by);
    tx.execute(IMPORTED, params![value]).map(drop)
}

/// The configuration that was imported last, where that is known.
pub fn in_force(tx: &mut Tx<'_>) -> Result<Option<Imported>, DbError> {
    let value = tx.query_one(IN_FORCE, params![], |row| row.get::<String>(0))?;
    Ok(value.as_deref().and_then(|value| {
        let (config, by) = value.split_once(' ')?;
        Some(Imported { config: config.parse().ok()?, by: by.parse().ok()? })
    }))
}
