//! One byte of the database file is another one: it is found at the start, or what is read is an error, or it is right.
//!
//! `FLIPS` says how many bytes are tried (200 otherwise), each in a fresh copy; `FLIP` tries one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use gristmill_db::artifact::{self, Artifact};
use gristmill_db::publication::{self, Desire};
use gristmill_db::run::{self, NewRun};
use gristmill_db::step::{self, Begin};
use gristmill_db::{Db, DbError, Tx, delivery, head, job, project};
use gristmill_model::{ArtifactId, ManualClock, ObjectId, ObjectKey, ProjectId, Timestamp, TreeId};

use crate::bench::{
    Bench, START, boot, commit, delivery as webhook, desire, digest, jobs, main_branch, random, spec,
};

const FLIPS: u64 = 200;
const PROJECTS: [&str; 3] = ["acme/a", "acme/b", "acme/c"];
const MOVES: u8 = 40;

fn open(path: &Path) -> Result<Db, DbError> {
    Db::open(path, Arc::new(ManualClock::at(Timestamp(START))), random())
}

fn key(name: &str) -> ObjectKey {
    format!("{name}/main.zip").parse().unwrap()
}

/// A project with runs, artifacts and versions, as pushes make them.
fn fill(tx: &mut Tx<'_>, name: &str, id: ProjectId) -> Result<(), DbError> {
    for number in 1..=MOVES {
        delivery::accept(tx, id, &webhook(&format!("{name} {number}"), "{\"ref\":\"refs/heads/main\"}"))?;
        let seq = head::moved(tx, id, &main_branch(), Some(commit(number)), None)?;
        let new = NewRun { commit: commit(number), ..Bench::new_run(id, number, Some(seq)) };
        let made = run::create(tx, &new, &jobs(&["a"]), false)?;
        let bytes = format!("{name} {number}");
        let lease = job::lease_for(tx, boot(1), job::Place::Run, 1, &[])?.remove(0);
        assert_eq!(step::begin(tx, digest(&bytes), lease.job, Some(made))?, Begin::Make);
        step::made(tx, digest(&bytes), lease.job, Some(made), &bytes, &[digest(&bytes)])?;
        artifact::insert(
            tx,
            &Artifact {
                id: ArtifactId::new(tx.id_time(), tx.random()),
                run: made,
                project: id,
                pipeline: "archive".to_owned(),
                git_ref: main_branch(),
                commit: commit(number),
                tree: TreeId(ObjectId::Sha1([number; 20])),
                recipe: "zip/1".to_owned(),
                step: digest(&bytes),
                digest: digest(&bytes),
                size: 10,
                media_type: "application/zip".to_owned(),
                index: Some(digest("index")),
                key: key(name),
                created: tx.now(),
            },
        )?;
        let want = Desire { key: key(name), ..desire(id, made, seq, commit(number), &bytes) };
        publication::desire(tx, &want)?;
        publication::published(tx, &key(name), seq, Some("v"))?;
        let done = job::Finish::Succeeded { outcome: "{}".to_owned(), cached: false, expand: None };
        job::finish(tx, lease.job, lease.attempt, done).map_err(|error| DbError::Sql(error.to_string()))?;
    }
    Ok(())
}

/// All that a user is served, each question by its name.
fn served(db: &Db) -> BTreeMap<String, Result<String, DbError>> {
    let mut said = BTreeMap::new();
    let mut ask = |what: String, question: &dyn Fn(&mut Tx<'_>) -> Result<String, DbError>| {
        said.insert(what, db.read_blocking(question));
    };
    ask("keys".to_owned(), &|tx| Ok(format!("{:?}", publication::keys(tx, "", 100)?)));
    ask("projects".to_owned(), &|tx| {
        let fixed = |one: &project::Project| format!("{} {} {} {:?}", one.id, one.name, one.rev, one.spec);
        Ok(project::list(tx, "", 100)?.iter().map(fixed).collect())
    });
    // Without what changes while they go on, which has no checksum: when it began and ended, what is left, and why.
    ask("runs".to_owned(), &|tx| {
        let fixed = |run: &run::Run| {
            let about = (run.project, &run.pipeline, run.spec_rev, &run.git_ref, run.commit);
            format!("{} {about:?} {:?} {} {:?} {}", run.id, run.seq, run.cause, run.cause_id, run.state)
        };
        Ok(run::list(tx, None, "~", 1_000)?.iter().map(fixed).collect())
    });
    ask("deliveries".to_owned(), &|tx| {
        let fixed = |one: &delivery::Delivery| {
            format!(
                "{} {} {} {} {:?} {}",
                one.id, one.project, one.remote_id, one.event, one.received, one.state
            )
        };
        Ok(delivery::list(tx, None, "~", 1_000)?.iter().map(fixed).collect())
    });
    for name in PROJECTS {
        let key = key(name);
        ask(format!("top of {name}"), &|tx| Ok(format!("{:?}", publication::top(tx, &key)?)));
        ask(format!("versions of {name}"), &|tx| {
            Ok(format!("{:?}", publication::versions(tx, &key, i64::MAX, 100)?))
        });
        for number in 1..=MOVES {
            ask(format!("{name} @{number}"), &|tx| {
                Ok(format!("{:?}", artifact::of_commit(tx, &key, commit(number))?))
            });
        }
        let named = name.parse().unwrap();
        ask(format!("heads of {name}"), &|tx| {
            let found = project::by_name(tx, &named)?;
            let id = found.ok_or_else(|| DbError::Sql("no such project".to_owned()))?.id;
            Ok(format!("{:?}", head::list(tx, id)?))
        });
    }
    said
}

fn close(db: Db, path: &Path) {
    drop(db);
    // The thread that writes ends by itself, and the last connection puts the log into the file.
    let log = path.with_extension("db-wal");
    while log.exists() {
        std::thread::yield_now();
    }
}

/// What became of one damage.
fn try_one(folder: &Path, bytes: &[u8], right: &BTreeMap<String, Result<String, DbError>>) -> &'static str {
    // What a damaged database leaves beside it must not become another one's.
    let folder = tempfile::tempdir_in(folder).unwrap();
    let path = folder.path().join("damaged.db");
    std::fs::write(&path, bytes).unwrap();
    let Ok(db) = open(&path) else { return "refused when it is opened" };
    let is_found = !matches!(db.check_shown(), Ok(faults) if faults.is_empty());
    let mut is_told = false;
    let mut wrong = Vec::new();
    for (what, said) in served(&db) {
        match said {
            Err(_) => is_told = true,
            Ok(said) if right[&what].as_ref() == Ok(&said) => {}
            Ok(_) => wrong.push(what),
        }
    }
    drop(db);
    match (is_found, is_told, wrong.is_empty()) {
        (true, ..) => "found at the start",
        (false, true, _) => "an error when it is read",
        (false, false, true) => "nothing wrong was said",
        (false, false, false) => panic!("served silently wrong: {wrong:#?}"),
    }
}

#[test]
fn a_byte_that_fell_over_is_never_served_as_if_it_were_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("g.db");
    let db = open(&path).unwrap();
    db.transact_blocking(|tx| {
        project::import(tx, &PROJECTS.map(|name| spec(name, 5)), &[])?;
        for name in PROJECTS {
            let id = project::by_name(tx, &name.parse().unwrap())?.unwrap().id;
            fill(tx, name, id)?;
        }
        Ok::<_, DbError>(())
    })
    .unwrap();
    let right = served(&db);
    assert!(right.values().all(Result::is_ok), "{right:?}");
    assert_eq!(db.check().unwrap(), Vec::<String>::new());
    assert_eq!(db.check_shown().unwrap(), Vec::<String>::new());
    close(db, &path);
    let bytes = std::fs::read(&path).unwrap();
    let number =
        |name: &str| std::env::var_os(name).map(|text| text.to_str().unwrap().parse::<u64>().unwrap());
    let all: Vec<u64> = match number("FLIP") {
        Some(one) => vec![one],
        None => (0..number("FLIPS").unwrap_or(FLIPS)).collect(),
    };
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for seed in all {
        // Of good mixing, and the same everywhere.
        let bits = digest(&format!("flip {seed}"));
        let (at, flip) = bits.as_bytes().split_first_chunk::<8>().unwrap();
        let at = usize::try_from(u64::from_be_bytes(*at) % bytes.len() as u64).unwrap();
        let mut damaged = bytes.clone();
        damaged[at] ^= flip[0].max(1);
        println!("FLIP={seed}: byte {at}");
        *counts.entry(try_one(folder.path(), &damaged, &right)).or_default() += 1;
    }
    println!("{} bytes, {counts:?}", bytes.len());
}
