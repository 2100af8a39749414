//! A real database on the mount, killed and cut off: what it acknowledged must be there, and what it never synced
//! must not.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says why it was skipped"
)]

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use gristmill_lossfs::{Killer, LossFs, Rules};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

/// What a row holds follows from its number, so that a mixed-up page shows.
fn payload(number: i64) -> Vec<u8> {
    let length = usize::try_from(number * 37 % 3000).unwrap();
    vec![number.to_le_bytes()[0] | 1; length]
}

/// Not a test of its own: the process the others kill. Reads the database's path and its `synchronous` setting
/// from the input and writes each row's number once its transaction is committed.
#[test]
#[ignore = "run by the tests beside it, as a process of its own"]
fn writer() {
    let mut lines = io::stdin().lines().map_while(Result::ok);
    let (Some(path), Some(synchronous)) = (lines.next(), lines.next()) else { return };
    let database = Connection::open(path).unwrap();
    database.pragma_update(None, "synchronous", &synchronous).unwrap();
    database.pragma_update(None, "journal_mode", "wal").unwrap();
    // Often enough that every round dies in some checkpoint or before or after one.
    database.pragma_update(None, "wal_autocheckpoint", 50).unwrap();
    database
        .execute_batch("CREATE TABLE IF NOT EXISTS row (number INTEGER PRIMARY KEY, payload BLOB)")
        .unwrap();
    let last: i64 =
        database.query_row("SELECT coalesce(max(number), 0) FROM row", [], |row| row.get(0)).unwrap();
    let mut insert = database.prepare("INSERT INTO row VALUES (?1, ?2)").unwrap();
    let mut out = io::stdout();
    for number in last + 1.. {
        insert.execute((number, payload(number))).unwrap();
        writeln!(out, "committed {number}").unwrap();
    }
}

fn spawn_writer(database: &Path, synchronous: &str) -> io::Result<(Child, ChildStdout)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["writer", "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let mut input = child.stdin.take().expect("piped");
    writeln!(input, "{}\n{synchronous}", database.display())?;
    let output = child.stdout.take().expect("piped");
    Ok((child, output))
}

/// The last number the dead writer said to have committed.
fn last_committed(output: ChildStdout) -> Option<i64> {
    let lines = BufReader::new(output).lines().map_while(Result::ok);
    lines.filter_map(|line| line.strip_prefix("committed ")?.parse().ok()).last()
}

/// The highest row of a database that is sound and has every row up to it.
fn last_row(path: &Path) -> rusqlite::Result<i64> {
    let database = Connection::open(path)?;
    // Without it SQLite would map a file of the mount, which the process that serves the mount must not.
    database.pragma_update(None, "locking_mode", "exclusive")?;
    // The next writer shall have the log to recover from, not only this reader.
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let verdict: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    assert_eq!(verdict, "ok");
    let mut select = database.prepare("SELECT number, payload FROM row ORDER BY number")?;
    let mut last = 0;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (number, bytes): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        assert_eq!(number, last + 1, "a row in the middle is missing");
        assert!(bytes == payload(number), "row {number} is not as it was written");
        last = number;
    }
    Ok(last)
}

struct Campaign {
    /// Rows acknowledged but not there after the crash, by round.
    lost: Vec<i64>,
    /// Rows acknowledged, overall.
    committed: i64,
    pages_dropped: u64,
    pages_kept: u64,
}

/// Kills a writer `rounds` times, drops what was not synced, and looks what is left. `None` where nothing can be
/// mounted.
fn campaign(seed: u64, rounds: u32, rules: Rules, synchronous: &str) -> Option<Campaign> {
    if let Err(reason) = LossFs::available() {
        println!("skipped: {reason}");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut lossfs = LossFs::mount(folder.path(), rules).unwrap();
    let path = lossfs.path().join("rows.db");
    let output = Cell::new(None);
    let mut campaign = Campaign { lost: Vec::new(), committed: 0, pages_dropped: 0, pages_kept: 0 };
    let mut before = 0;
    let summary = Killer::new(seed)
        .window(Duration::from_millis(3), Duration::from_millis(80))
        .run(
            rounds,
            |_| {
                let (child, stdout) = spawn_writer(&path, synchronous)?;
                output.set(Some(stdout));
                io::Result::Ok(child)
            },
            |round| {
                let committed = last_committed(output.take().expect("set by the spawn")).unwrap_or(before);
                let report = lossfs.crash(round.seed).map_err(io::Error::other)?;
                campaign.pages_dropped += report.pages_dropped;
                campaign.pages_kept += report.pages_kept;
                // Without syncs even the table may be gone.
                let left = last_row(&path).unwrap_or(0);
                assert!(left <= committed + 1, "more than was ever written");
                campaign.committed += committed - before;
                campaign.lost.push((committed - left).max(0));
                before = left;
                Ok(())
            },
        )
        .unwrap();
    assert_eq!((summary.killed, summary.exited), (rounds, 0), "a writer failed by itself");
    println!(
        "{synchronous}: {} commits, lost by round {:?}, pages dropped {} and kept {}",
        campaign.committed, campaign.lost, campaign.pages_dropped, campaign.pages_kept
    );
    Some(campaign)
}

#[test]
fn full_keeps_every_commit_through_torn_writes() {
    let rules = Rules { torn: true, journal: true, ..Rules::default() };
    let Some(campaign) = campaign(1, 50, rules, "FULL") else { return };
    assert_eq!(campaign.lost, [0; 50]);
    assert!(campaign.committed > 500, "too few commits to mean anything: {}", campaign.committed);
    assert!(campaign.pages_dropped > 20 && campaign.pages_kept > 20, "nothing was torn");
}

#[test]
fn full_keeps_every_commit_when_all_else_goes() {
    let Some(campaign) = campaign(2, 25, Rules::default(), "FULL") else { return };
    assert_eq!(campaign.lost, [0; 25]);
    assert!(campaign.committed > 250, "too few commits to mean anything: {}", campaign.committed);
    assert!(campaign.pages_dropped > 20, "nothing was dropped");
}

#[test]
fn off_loses_commits() {
    let Some(campaign) = campaign(3, 10, Rules::default(), "OFF") else { return };
    let rounds_with_loss = campaign.lost.iter().filter(|lost| **lost > 0).count();
    assert!(rounds_with_loss >= 1, "the file system drops nothing");
}
