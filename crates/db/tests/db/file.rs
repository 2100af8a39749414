//! The database file: group commit, failures that take back only their own, a full disk, migrations.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use gristmill_db::delivery::{self, Accepted};
use gristmill_db::{Db, DbError, Tx, job, params, token};
use gristmill_model::{Digest, ManualClock, ProjectId, Timestamp};

use crate::bench::{START, delivery as webhook, digest, random};

const PUT: &str = "INSERT INTO setting (name, value) VALUES ($1, $2)";
const GET: &str = "SELECT value FROM setting WHERE name = $1";
const COUNT: &str = "SELECT count(*) FROM setting";
const LIMIT: &str = "PRAGMA max_page_count = 200";
const NO_LIMIT: &str = "PRAGMA max_page_count = 1000000";
const PAGES: &str = "PRAGMA page_count";

fn open(path: &Path) -> Result<Db, DbError> {
    Db::open(path, Arc::new(ManualClock::at(Timestamp(START))), random())
}

struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Folder {
        Folder { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("g.db")
    }

    fn open(&self) -> Db {
        open(&self.path()).unwrap()
    }
}

fn put(tx: &mut Tx<'_>, name: &str) -> Result<(), DbError> {
    tx.execute(PUT, params![name, "v"]).map(drop)
}

fn has(db: &Db, name: &'static str) -> bool {
    db.read_blocking(|tx| Ok(tx.query_one(GET, params![name], |_| Ok(()))?.is_some())).unwrap()
}

fn count(db: &Db) -> i64 {
    db.read_blocking(|tx| tx.query_one(COUNT, params![], |row| row.get(0))).unwrap().unwrap()
}

/// Holds the writer in a transaction until the returned sender is dropped, so that what is asked for
/// meanwhile shares the next group.
fn hold_writer(db: &Db) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let entered = Arc::new(Barrier::new(2));
    let (db, inside) = (db.clone(), entered.clone());
    std::thread::spawn(move || {
        db.transact_blocking(move |_| {
            inside.wait();
            let _ = released.recv();
            Ok::<_, DbError>(())
        })
        .unwrap();
    });
    entered.wait();
    release
}

#[test]
fn what_was_committed_is_there_after_it_is_opened_again() {
    let folder = Folder::new();
    let db = folder.open();
    db.transact_blocking(|tx| put(tx, "a")).unwrap();
    drop(db);
    let db = folder.open();
    assert!(has(&db, "a") && !has(&db, "b"));
    assert_eq!(db.check(), Ok(Vec::new()));
}

#[test]
fn an_error_takes_the_writes_of_its_transaction_back() {
    let folder = Folder::new();
    let db = folder.open();
    let refused: Result<(), DbError> = db.transact_blocking(|tx| {
        put(tx, "a")?;
        Err(DbError::Closed)
    });
    assert_eq!(refused, Err(DbError::Closed));
    assert!(!has(&db, "a"));
}

#[test]
fn a_failing_and_a_panicking_member_take_only_their_own_writes_back() {
    let folder = Folder::new();
    let db = folder.open();
    let release = hold_writer(&db);
    let spawn = |work: fn(&mut Tx<'_>) -> Result<(), DbError>| {
        let db = db.clone();
        std::thread::spawn(move || db.transact_blocking(work))
    };
    let members = [
        spawn(|tx| put(tx, "before")),
        spawn(|tx| {
            put(tx, "failed")?;
            Err(DbError::Busy)
        }),
        spawn(|tx| {
            put(tx, "panicked")?;
            panic!("on purpose");
        }),
        spawn(|tx| put(tx, "twice").and_then(|()| put(tx, "twice"))),
        spawn(|tx| put(tx, "after")),
    ];
    std::thread::park_timeout(Duration::from_millis(50));
    drop(release);
    let results: Vec<_> = members.into_iter().map(|member| member.join().unwrap()).collect();
    assert_eq!(results[..3], [Ok(()), Err(DbError::Busy), Err(DbError::Panic)]);
    assert!(matches!(&results[3], Err(DbError::Sql(text)) if text.contains("UNIQUE")), "{:?}", results[3]);
    assert_eq!(results[4], Ok(()));
    assert_eq!(
        ["before", "failed", "panicked", "twice", "after"].map(|name| has(&db, name)),
        [true, false, false, false, true]
    );
}

#[test]
fn many_accept_at_once_and_each_gets_its_answer_after_its_row_is_there() {
    let folder = Folder::new();
    let db = folder.open();
    let project = ProjectId::new(Timestamp(1), 1);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= 600 {
                        return;
                    }
                    let new = webhook(&format!("d{}", number / 2), "{}");
                    let answer = db.transact_blocking(move |tx| delivery::accept(tx, project, &new)).unwrap();
                    let (Accepted::New(id) | Accepted::Again(id)) = answer else { panic!("{answer:?}") };
                    let kept = db.read_blocking(|tx| delivery::by_id(tx, id)).unwrap();
                    assert!(kept.is_some(), "answered before it could be read");
                }
            });
        }
    });
    assert_eq!(db.read_blocking(delivery::waiting_count), Ok(300));
    assert_eq!(db.read_blocking(|tx| Ok(job::counts(tx)?.len())), Ok(1));
}

#[test]
fn transactions_that_wait_together_share_a_commit() {
    let folder = Folder::new();
    let db = folder.open();
    let before = db.data_version().unwrap();
    let release = hold_writer(&db);
    let members: Vec<_> = (0..8)
        .map(|number| {
            let db = db.clone();
            std::thread::spawn(move || {
                db.transact_blocking(move |tx| put(tx, &format!("s{number}"))).unwrap();
                // Everybody of the group sees everybody's writes once the first is answered.
                count(&db)
            })
        })
        .collect();
    std::thread::park_timeout(Duration::from_millis(100));
    drop(release);
    let seen: Vec<i64> = members.into_iter().map(|member| member.join().unwrap()).collect();
    assert_eq!(seen, [8; 8]);
    assert_ne!(db.data_version().unwrap(), before, "others are told");
}

#[test]
fn readers_cannot_write_and_see_a_snapshot() {
    let folder = Folder::new();
    let db = folder.open();
    let refused = db.read_blocking(|tx| put(tx, "a"));
    assert!(matches!(refused, Err(DbError::Sql(_))), "{refused:?}");
    let writer = db.clone();
    let counts = db.read_blocking(|tx| {
        let before: Option<i64> = tx.query_one(COUNT, params![], |row| row.get(0))?;
        writer.transact_blocking(|tx| put(tx, "b"))?;
        let after: Option<i64> = tx.query_one(COUNT, params![], |row| row.get(0))?;
        Ok((before, after))
    });
    assert_eq!(counts, Ok((Some(0), Some(0))));
    assert_eq!(count(&db), 1);
    let failed: Result<(), DbError> = db.read_blocking(|_| Err(DbError::Busy));
    assert_eq!(failed, Err(DbError::Busy));
    assert_eq!(count(&db), 1, "the connection is of use afterwards");
}

/// Fills the file up to its limit.
fn fill(db: &Db) -> DbError {
    for number in 0..10_000 {
        let large = "x".repeat(2_000);
        let added = db
            .transact_blocking(move |tx| tx.execute(PUT, params![format!("fill{number}"), &large]).map(drop));
        if let Err(error) = added {
            return error;
        }
    }
    panic!("the limit was never reached");
}

#[test]
fn a_full_disk_refuses_takes_back_and_passes() {
    let folder = Folder::new();
    let db = folder.open();
    let limited = db.transact_blocking(|tx| tx.query_one(LIMIT, params![], |row| row.get::<i64>(0)));
    assert!(matches!(limited, Ok(Some(pages)) if pages >= 200), "{limited:?}");
    assert_eq!(fill(&db), DbError::Full);
    let kept = count(&db);
    let project = ProjectId::new(Timestamp(1), 1);
    let numbers: String = (0..30_000).map(|number| number.to_string()).collect();
    let large = webhook("d1", &numbers);
    let copy = large.clone();
    let refused = db.transact_blocking(move |tx| delivery::accept(tx, project, &copy));
    assert_eq!(refused, Err(DbError::Full));
    assert_eq!(db.check(), Ok(Vec::new()), "the file is whole");
    assert_eq!((count(&db), db.read_blocking(delivery::waiting_count)), (kept, Ok(0)));
    db.transact_blocking(|tx| tx.query_one(NO_LIMIT, params![], |row| row.get::<i64>(0))).unwrap();
    let accepted = db.transact_blocking(move |tx| delivery::accept(tx, project, &large));
    assert!(matches!(accepted, Ok(Accepted::New(_))), "it goes on by itself: {accepted:?}");
    assert!(
        db.read_blocking(|tx| tx.query_one(PAGES, params![], |row| row.get::<i64>(0))).unwrap() > Some(200)
    );
}

#[test]
fn a_full_disk_in_the_middle_of_a_group_answers_nobody_falsely() {
    let folder = Folder::new();
    let db = folder.open();
    db.transact_blocking(|tx| tx.query_one(LIMIT, params![], |row| row.get::<i64>(0))).unwrap();
    fill(&db);
    let release = hold_writer(&db);
    let members: Vec<_> = (0..6)
        .map(|number| {
            let db = db.clone();
            std::thread::spawn(move || {
                let value = if number % 2 == 0 { "small".to_owned() } else { "x".repeat(200_000) };
                let name = format!("group{number}");
                let result =
                    db.transact_blocking(move |tx| tx.execute(PUT, params![&name, &value]).map(drop));
                (number, result)
            })
        })
        .collect();
    std::thread::park_timeout(Duration::from_millis(50));
    drop(release);
    for member in members {
        let (number, result) = member.join().unwrap();
        let name = format!("group{number}");
        let is_there =
            db.read_blocking(move |tx| Ok(tx.query_one(GET, params![&name], |_| Ok(()))?.is_some()));
        assert_eq!(is_there, Ok(result.is_ok()), "{number}: {result:?}");
        assert!(matches!(result, Ok(()) | Err(DbError::Full)), "{result:?}");
    }
    assert_eq!(db.check(), Ok(Vec::new()));
}

#[test]
fn two_that_open_at_once_make_one_database() {
    let folder = Folder::new();
    let path = folder.path();
    let opened: Vec<Result<Db, DbError>> = std::thread::scope(|scope| {
        let openers: Vec<_> = (0..4).map(|_| scope.spawn(|| open(&path))).collect();
        openers.into_iter().map(|opener| opener.join().unwrap()).collect()
    });
    let dbs: Vec<Db> = opened.into_iter().map(Result::unwrap).collect();
    for (number, db) in dbs.iter().enumerate() {
        db.transact_blocking(move |tx| put(tx, &format!("n{number}"))).unwrap();
    }
    assert!(dbs.iter().all(|db| count(db) == 4));
}

#[test]
fn a_database_of_a_newer_program_is_refused_and_left_alone() {
    const NEWER: &str = "INSERT INTO schema (version) VALUES (99)";
    let folder = Folder::new();
    let db = folder.open();
    db.transact_blocking(|tx| tx.execute(NEWER, params![])).unwrap();
    drop(db);
    let refused = open(&folder.path()).err();
    assert_eq!(refused, Some(DbError::Newer { found: 99, known: 1 }));
    assert_eq!(
        refused.unwrap().to_string(),
        "the database has schema 99, this program knows up to 1; use the newer program"
    );
}

#[test]
fn what_is_no_database_is_refused() {
    let folder = Folder::new();
    std::fs::write(folder.path(), "not a database, and long enough to be looked at: ".repeat(40)).unwrap();
    assert!(matches!(open(&folder.path()).err(), Some(DbError::Corrupt(_))));
}

#[test]
fn a_column_that_holds_something_else_is_named() {
    const BAD: &str = "INSERT INTO token (id, name, hash, created_ms) VALUES ('x', 'n', x'00', 1)";
    let folder = Folder::new();
    let db = folder.open();
    db.transact_blocking(|tx| tx.execute(BAD, params![])).unwrap();
    let found = db.read_blocking(token::list);
    assert!(
        matches!(&found, Err(DbError::Row { column: 0, fault }) if fault.contains("`x` is not an id")),
        "{found:?}"
    );
    const HASH: &str = "SELECT hash FROM token";
    let found = db.read_blocking(|tx| tx.query(HASH, params![], |row| row.get::<Digest>(0)));
    assert_eq!(found, Err(DbError::Row { column: 0, fault: "a digest of 1 bytes".to_owned() }));
    let _ = digest("x");
}

#[test]
fn work_that_arrives_wakes_whoever_waits() {
    let folder = Folder::new();
    let db = folder.open();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let arrived = |db: &Db| {
            let db = db.clone();
            async move { tokio::time::timeout(Duration::from_millis(200), db.work_arrived()).await.is_ok() }
        };
        db.transact(|tx| put(tx, "a")).await.unwrap();
        assert!(!arrived(&db).await, "this made no work");
        let project = ProjectId::new(Timestamp(1), 1);
        db.transact(move |tx| job::ask_for_look(tx, project, 10)).await.unwrap();
        assert!(arrived(&db).await && !arrived(&db).await);
        let refused = db.transact(move |tx| {
            job::ask_for_look(tx, project, 10)?;
            Err::<(), _>(DbError::Busy)
        });
        assert!(refused.await.is_err() && !arrived(&db).await, "it was taken back");
        db.wake();
        assert!(arrived(&db).await);
        assert_eq!(db.read(|tx| Ok(job::counts(tx)?.len())).await, Ok(1));
    });
}
