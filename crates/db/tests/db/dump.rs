//! All rows, table by table: every table is carried or left out with a reason; holds on blobs.

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_db::dump::{self, Kind, Table};
use gristmill_db::{DbError, DirectDb, Param, blob};
use gristmill_model::{BootId, Timestamp};

use crate::bench::{Bench, digest, random};

/// Two rows of a table, made up from what its columns hold.
fn made_up(table: &Table) -> Vec<Vec<Param<'static>>> {
    let value = |row: i64, index: usize, kind: Kind| match kind {
        Kind::Text => Param::Text(format!("{}{index} \u{1f600}\n{row}", table.name).into()),
        Kind::Int => Param::Int(row * 1_000_000_007 + i64::try_from(index).unwrap()),
        Kind::Bool => Param::Bool(row == 1),
        Kind::Bytes => Param::Bytes(vec![0, 255, u8::try_from(row).unwrap()].into()),
    };
    (1..=2)
        .map(|row| table.columns.iter().enumerate().map(|(at, (_, kind))| value(row, at, *kind)).collect())
        .collect()
}

/// The rows of every table that is carried, in no order.
fn carried(db: &DirectDb) -> BTreeMap<String, Vec<String>> {
    db.transact(|tx| {
        let mut all = BTreeMap::new();
        for table in dump::tables(tx)? {
            let mut rows = Vec::new();
            dump::rows(tx, &table, |row| {
                rows.push(format!("{row:?}"));
                Ok(())
            })?;
            rows.sort();
            all.insert(table.name, rows);
        }
        Ok::<_, DbError>(all)
    })
    .unwrap()
}

/// Fills every table.
fn fill(db: &DirectDb) {
    db.transact(|tx| {
        for table in dump::all_tables(tx)? {
            if table.name != "schema" {
                dump::make_room(tx, &table)?;
                dump::insert(tx, &table, &made_up(&table))?;
            }
        }
        Ok::<_, DbError>(())
    })
    .unwrap();
}

/// Carries all rows from one database to another.
fn carry(from: &DirectDb, to: &DirectDb) {
    let rows = from
        .transact(|tx| {
            let mut all = Vec::new();
            for table in dump::tables(tx)? {
                let mut rows: Vec<Vec<Param<'static>>> = Vec::new();
                dump::rows(tx, &table, |row| {
                    rows.push(row.iter().map(owned).collect());
                    Ok(())
                })?;
                all.push((table, rows));
            }
            Ok::<_, DbError>(all)
        })
        .unwrap();
    to.transact(|tx| {
        for (table, rows) in &rows {
            dump::make_room(tx, table)?;
            rows.chunks(dump::INSERT_ROWS_MAX).try_for_each(|rows| dump::insert(tx, table, rows))?;
        }
        Ok::<_, DbError>(())
    })
    .unwrap();
}

fn owned(param: &Param<'_>) -> Param<'static> {
    match param {
        Param::Null => Param::Null,
        Param::Int(value) => Param::Int(*value),
        Param::Bool(value) => Param::Bool(*value),
        Param::Text(value) => Param::Text(value.to_string().into()),
        Param::Bytes(value) => Param::Bytes(value.to_vec().into()),
    }
}

#[test]
fn every_table_is_carried_or_left_out_with_a_reason() {
    let (from, to) = (Bench::new(), Bench::new());
    assert_eq!(from.db.transact(dump::first_used).unwrap(), None);
    fill(&from.db);
    assert!(from.db.transact(dump::first_used).unwrap().is_some());
    // Through SQLite and back, whatever these tests run on.
    let sqlite = DirectDb::in_memory(from.clock.clone(), random()).unwrap();
    carry(&from.db, &sqlite);
    carry(&sqlite, &to.db);
    let there = carried(&to.db);
    assert_eq!(there, carried(&from.db));
    assert_eq!(there, carried(&sqlite));
    let tables = from.db.transact(dump::all_tables).unwrap();
    for table in &tables {
        let is_left_out = dump::LEFT_OUT.iter().any(|(name, _)| *name == table.name);
        let rows = there.get(&table.name).map_or(0, Vec::len);
        assert_eq!(
            rows,
            if is_left_out { 0 } else { 2 },
            "{}: carried, or in LEFT_OUT with a reason",
            table.name
        );
    }
    for (name, reason) in dump::LEFT_OUT {
        assert!(tables.iter().any(|table| table.name == *name), "{name} is left out and is not there");
        assert!(reason.split(' ').count() >= 5, "{name}: say why");
    }
}

#[test]
fn every_column_that_names_a_blob_is_known_to_what_keeps_blobs() {
    // Digests that name no blob.
    const OTHERS: [&str; 2] = ["blob.digest", "project_spec.digest"];
    let tables = Bench::new().db.transact(dump::all_tables).unwrap();
    let digests = tables.iter().flat_map(|table| {
        let columns =
            table.columns.iter().filter(|(name, kind)| *kind == Kind::Bytes && name.contains("digest"));
        columns.map(|(name, _)| format!("{}.{name}", table.name))
    });
    let mut expected: Vec<&str> = blob::REFERRING.iter().chain(&OTHERS).copied().collect();
    expected.sort_unstable();
    let mut found: Vec<String> = digests.collect();
    found.sort();
    assert_eq!(found, expected, "blob::REFERRING, and the statements beside it");
}

#[test]
fn while_somebody_copies_no_blob_is_marked_as_going() {
    let bench = Bench::new();
    let minute = Duration::from_secs(60);
    bench.db.transact(|tx| blob::add(tx, digest("x"), 1)).unwrap();
    let mark = || bench.db.transact(|tx| blob::mark_deleting(tx, digest("x"))).unwrap();
    bench.db.transact(|tx| blob::hold(tx, "a", minute)).unwrap();
    bench.db.transact(|tx| blob::hold(tx, "b", minute)).unwrap();
    assert!(!mark());
    bench.db.transact(|tx| blob::let_go(tx, "a")).unwrap();
    assert!(!mark(), "b still copies");
    bench.clock.advance(minute - Duration::from_millis(1));
    assert!(!mark());
    assert!(bench.db.transact(|tx| blob::hold_on(tx, "b", minute)).unwrap());
    bench.clock.advance(minute);
    assert!(!bench.db.transact(|tx| blob::hold_on(tx, "b", minute)).unwrap(), "it ran out");
    assert!(mark());
}

#[test]
fn rows_that_were_brought_are_unfinished_until_their_keys_are_there() {
    let bench = Bench::new();
    assert_eq!(bench.db.transact(dump::unfinished).unwrap(), None);
    bench.db.transact(|tx| dump::brought(tx, BootId::new(Timestamp(1), 1), "this")).unwrap();
    assert_eq!(bench.db.transact(dump::unfinished).unwrap().as_deref(), Some("this"));
    assert_eq!(bench.db.transact(dump::first_used).unwrap().as_deref(), Some("setting"));
    bench.db.transact(dump::finished).unwrap();
    assert_eq!(bench.db.transact(dump::unfinished).unwrap(), None);
    let next = bench.db.transact(gristmill_db::head::next_move).unwrap();
    bench.db.transact(|tx| dump::leap(tx, 1000)).unwrap();
    assert_eq!(bench.db.transact(gristmill_db::head::next_move).unwrap(), next + 1001);
}
