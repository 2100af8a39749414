//! The engine: reruns, failures that take back only their own, wake-ups across programs, servers that go and come.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gristmill_db::{Db, DbError, PostgresUrl, Tx, job, params};
use gristmill_model::{ManualClock, Timestamp};
use gristmill_testkit::Postgres;
use gristmill_testkit::postgres::{Mode, Options};

use crate::arena::{Arena, WORKERS};
use crate::bench::{START, random};

const PUT: &str = "INSERT INTO setting (name, value) VALUES ($1, $2)";
const SET: &str = "UPDATE setting SET value = $2 WHERE name = $1";
const GET: &str = "SELECT value FROM setting WHERE name = $1";
const SLEEP: &str = "SELECT CAST(pg_sleep(60) AS TEXT)";

fn put(tx: &mut Tx<'_>, name: &str) -> Result<(), DbError> {
    tx.execute(PUT, params![name, "0"]).map(drop)
}

fn get(db: &Db, name: &str) -> Option<String> {
    db.read_blocking(|tx| tx.query_one(GET, params![name], |row| row.get::<String>(0))).unwrap()
}

#[test]
fn what_cannot_be_put_in_order_is_run_again() {
    let Some(arena) = Arena::open("reruns on PostgreSQL", 1) else { return };
    arena.tx(|tx| put(tx, "n"));
    let runs = Arc::new(AtomicUsize::new(0));
    arena.race(|_, db| {
        for _ in 0..10 {
            let runs = runs.clone();
            db.transact_blocking(move |tx| {
                runs.fetch_add(1, Ordering::Relaxed);
                let value = tx.query_one(GET, params!["n"], |row| row.get::<String>(0))?.unwrap();
                let next = value.parse::<i64>().unwrap() + 1;
                tx.execute(SET, params!["n", next.to_string()]).map(drop)
            })
            .unwrap();
        }
    });
    assert_eq!(get(&arena.dbs[1], "n"), Some((WORKERS * 10).to_string()));
    assert!(runs.load(Ordering::Relaxed) > WORKERS * 10, "nobody got into the way of anybody");
}

#[test]
fn errors_panics_and_swallowed_faults_keep_nothing() {
    let Some(arena) = Arena::open("failures on PostgreSQL", 1) else { return };
    let db = &arena.dbs[0];
    let failed: Result<(), DbError> = db.transact_blocking(|tx| {
        put(tx, "failed")?;
        Err(DbError::Closed)
    });
    assert_eq!(failed, Err(DbError::Closed));
    let panicked: Result<(), DbError> = db.transact_blocking(|tx| {
        put(tx, "panicked")?;
        panic!("on purpose");
    });
    assert_eq!(panicked, Err(DbError::Panic));
    let twice = db.transact_blocking(|tx| put(tx, "twice").and_then(|()| put(tx, "twice")));
    assert!(matches!(&twice, Err(DbError::Duplicate(text)) if text.contains("23505")), "{twice:?}");
    let swallowed: Result<(), DbError> = db.transact_blocking(|tx| {
        put(tx, "swallowed")?;
        let _ = put(tx, "swallowed");
        Ok(())
    });
    assert!(matches!(&swallowed, Err(DbError::Duplicate(_))), "{swallowed:?}");
    db.transact_blocking(|tx| put(tx, "kept")).unwrap();
    let there = ["failed", "panicked", "twice", "swallowed", "kept"].map(|name| get(db, name).is_some());
    assert_eq!(there, [false, false, false, false, true]);
}

#[test]
fn readers_cannot_write_and_see_a_snapshot() {
    let Some(arena) = Arena::open("snapshots on PostgreSQL", 1) else { return };
    let [db, other] = &arena.dbs;
    let refused = db.read_blocking(|tx| put(tx, "a"));
    assert!(matches!(&refused, Err(DbError::Unreachable(_) | DbError::Sql(_))), "{refused:?}");
    let found = db.read_blocking(|tx| {
        let before = tx.query_one(GET, params!["b"], |_| Ok(()))?.is_some();
        other.transact_blocking(|tx| put(tx, "b"))?;
        Ok((before, tx.query_one(GET, params!["b"], |_| Ok(()))?.is_some()))
    });
    assert_eq!(found, Ok((false, false)));
    assert!(get(db, "b").is_some());
}

#[test]
fn texts_that_the_server_cannot_hold_are_held_without_what_it_cannot() {
    let Some(arena) = Arena::open("texts on PostgreSQL", 1) else { return };
    arena.tx(|tx| tx.execute(PUT, params!["nul", "a\0b"]).map(drop));
    assert_eq!(get(&arena.dbs[0], "nul").as_deref(), Some("a\u{fffd}b"));
}

#[test]
fn texts_are_in_the_order_of_their_bytes() {
    const NAMES: &str = "SELECT name FROM setting ORDER BY name";
    let Some(arena) = Arena::open("order on PostgreSQL", 1) else { return };
    for name in ["b", "B", "a", "_", "ä"] {
        arena.tx(move |tx| put(tx, name));
    }
    let names = arena.tx(|tx| tx.query(NAMES, params![], |row| row.get::<String>(0)));
    assert_eq!(names, ["B", "_", "a", "b", "ä"]);
}

#[test]
fn work_made_by_one_program_wakes_the_others() {
    let Some(arena) = Arena::open("wake-ups on PostgreSQL", 1) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (maker, waiter, project) = (arena.dbs[0].clone(), arena.dbs[1].clone(), arena.project);
    runtime.block_on(async move {
        let arrived = tokio::time::timeout(Duration::from_secs(20), async {
            // The listener wakes once when it is ready: asked until the notification itself was seen.
            waiter.work_arrived().await;
            let made = maker.transact(move |tx| job::ask_for_look(tx, project, 10));
            let (made, ()) = tokio::join!(made, waiter.work_arrived());
            made.unwrap();
        });
        arrived.await.expect("the other program is told");
    });
}

/// A server of the test's own, and a program on it.
fn own(test: &str) -> Option<(Postgres, Db)> {
    let server = Postgres::launch(test, Options::default())?;
    let url: PostgresUrl = server.create_database().parse().unwrap();
    let db = Db::connect(&url, Arc::new(ManualClock::at(Timestamp(START))), random()).unwrap();
    Some((server, db))
}

#[test]
fn a_server_that_was_restarted_or_killed_is_found_again_and_nothing_is_kept_by_half() {
    let Some((server, db)) = own("restarts of PostgreSQL") else { return };
    db.transact_blocking(|tx| put(tx, "before")).unwrap();
    server.stop(Mode::Fast);
    server.start();
    db.transact_blocking(|tx| put(tx, "restarted")).unwrap();
    server.kill();
    let refused = db.transact_blocking(|tx| put(tx, "nobody"));
    assert!(matches!(&refused, Err(DbError::Unreachable(_))), "{refused:?}");
    server.start();
    // Sessions from before are dead; transactions go on by themselves.
    db.transact_blocking(|tx| put(tx, "killed")).unwrap();
    let there = ["before", "restarted", "nobody", "killed"].map(|name| get(&db, name).is_some());
    assert_eq!(there, [true, true, false, true]);
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_transaction_makes_it_run_again() {
    let Some((server, db)) = own("a kill in the middle") else { return };
    let (server, runs) = (Arc::new(server), Arc::new(AtomicUsize::new(0)));
    let (killer, counter) = (server.clone(), runs.clone());
    let done = db.transact_blocking(move |tx| {
        put(tx, "n")?;
        if counter.fetch_add(1, Ordering::Relaxed) == 0 {
            killer.kill();
            killer.start();
        }
        tx.query_one(GET, params!["n"], |row| row.get::<String>(0))
    });
    assert_eq!(done, Ok(Some("0".to_owned())));
    assert_eq!(runs.load(Ordering::Relaxed), 2);
}

#[test]
fn times_are_the_servers_and_go_on_between_its_answers() {
    let Some((_server, db)) = own("the time of PostgreSQL") else { return };
    const NOW: &str = "SELECT CAST(extract(epoch FROM now()) * 1000 AS BIGINT)";
    let (ours, theirs) = db
        .transact_blocking(|tx| {
            let theirs: Option<i64> = tx.query_one(NOW, params![], |row| row.get(0))?;
            Ok::<_, DbError>((tx.now().0, theirs.unwrap()))
        })
        .unwrap();
    // The program was opened with a clock that shows 1970.
    assert!((ours - theirs).abs() < 5_000, "{ours} {theirs}");
    assert!((db.clock().now().0 - theirs).abs() < 60_000);
}

#[test]
fn a_statement_that_hangs_ends() {
    let Some(arena) = Arena::open("statements that hang on PostgreSQL", 1) else { return };
    let db = &arena.dbs[0];
    let ended = db.read_blocking(|tx| {
        tx.execute("SET LOCAL statement_timeout = '50ms'", params![])?;
        tx.query_one(SLEEP, params![], |row| row.get::<String>(0))
    });
    assert!(matches!(&ended, Err(DbError::Sql(text)) if text.contains("57014")), "{ended:?}");
    assert_eq!(get(db, "x"), None, "the next one goes on");
}

#[test]
fn who_is_refused_is_told_what_to_look_at_and_never_the_password() {
    let Some(arena) = Arena::open("refusals of PostgreSQL", 1) else { return };
    let clock = Arc::new(ManualClock::at(Timestamp(START)));
    let wrong = arena.url.clone().with_password("not-the-password-9471");
    let refused = Db::connect(&wrong, clock, random()).err().unwrap();
    assert!(matches!(&refused, DbError::Refused(_)), "{refused:?}");
    let shown = format!("{refused} {refused:?} {wrong} {wrong:?}");
    assert!(shown.contains("database.password") && !shown.contains("9471"), "{shown}");
}
