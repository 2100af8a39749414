//! Duties: what one program does for all that work on a database, such as collecting. Whoever has a duty keeps it for
//! a while, so that it moves only where its holder is gone.

use std::time::Duration;

use gristmill_model::BootId;

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::Tx;

statements! {
    TAKE = "INSERT INTO duty (name, boot_id, until_ms, begun_ms) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO UPDATE SET boot_id = excluded.boot_id, until_ms = excluded.until_ms, begun_ms = excluded.begun_ms WHERE (duty.boot_id = excluded.boot_id AND duty.begun_ms <= $5) OR (duty.until_ms <= $4 AND duty.begun_ms <= $6)";
    KEEP = "UPDATE duty SET until_ms = $3 WHERE name = $1 AND boot_id = $2 AND until_ms > $4";
    LEAVE = "UPDATE duty SET until_ms = 0 WHERE boot_id = $1";
}

/// Takes a duty until `hold` from now, where nobody else has it and it was not begun within `period`; whether it was
/// taken. Others than the one that did it last leave it to that one for as long again.
pub fn take(
    tx: &mut Tx<'_>,
    name: &str,
    boot: BootId,
    hold: Duration,
    period: Duration,
) -> Result<bool, DbError> {
    let now = tx.now();
    let (mine, others) = (now.minus(period), now.minus(period * 2));
    Ok(tx.execute(TAKE, params![name, boot, now.plus(hold), now, mine, others])? == 1)
}

/// Keeps a duty that is being done until `hold` from now; false where it is lost.
pub fn keep(tx: &mut Tx<'_>, name: &str, boot: BootId, hold: Duration) -> Result<bool, DbError> {
    let now = tx.now();
    Ok(tx.execute(KEEP, params![name, boot, now.plus(hold), now])? == 1)
}

/// Leaves all duties of a program that ends to the others.
pub fn leave(tx: &mut Tx<'_>, boot: BootId) -> Result<(), DbError> {
    tx.execute(LEAVE, params![boot]).map(drop)
}
