//! Databases of older schemas, opened by this program: each released schema has a fixture, a database with rows as SQL
//! text for each engine, in `tests/fixtures`.
//!
//! A fixture is written once, by the program that first has the schema, and never changed after the release:
//! `GRISTMILL_WRITE_FIXTURES=1 cargo test -p gristmill-db upgrades`. Until the first release the newest one follows the
//! schema.

use std::fmt::Write as _;
use std::path::PathBuf;

use gristmill_db::artifact::{self, Artifact};
use gristmill_db::{DbError, Param, blob, delivery, dump, head, job, project, publication, run, step, token};
use gristmill_model::{
    ArtifactId, DeliveryState, JobState, ObjectId, ProjectId, PublicationState, RunId, RunState, Timestamp,
    TreeId,
};

use crate::bench::{
    Bench, START, chain, commit, delivery as webhook, desire, digest, main_branch, spec, succeeded,
};
use crate::engine;

/// The schemas that were released, and the newest one.
const FIXTURES: [i64; 1] = [1];

fn path(schema: i64) -> PathBuf {
    let name = format!("tests/fixtures/{schema:04}.{}.sql", engine::NAME);
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn artifact(project: ProjectId, run: RunId) -> Artifact {
    Artifact {
        id: ArtifactId::new(Timestamp(START), 1),
        run,
        project,
        pipeline: "archive".to_owned(),
        git_ref: main_branch(),
        commit: commit(1),
        tree: TreeId(ObjectId::Sha1([9; 20])),
        recipe: "zip/1".to_owned(),
        step: digest("step"),
        digest: digest("bytes"),
        size: 10,
        media_type: "application/zip".to_owned(),
        index: None,
        key: "main.zip".parse().unwrap(),
        created: Timestamp(START),
    }
}

/// Two projects, two deliveries, a run that published, and one whose second job a worker has.
fn rows() -> Bench {
    let (bench, project) = Bench::with_project(2);
    bench.import(&[spec("acme/a", 2), spec("acme/b", 1)]);
    for (id, body) in [("d-1", "{\"a\":1}"), ("d-2", "{\"b\":\"it's \u{e4}\u{1f600}\"}")] {
        bench.tx(|tx| delivery::accept(tx, project, &webhook(id, body)));
        bench.advance(1);
    }
    let first = bench.tx(|tx| delivery::list(tx, Some(project), "~", 10)).pop().unwrap();
    bench.tx(|tx| delivery::settle(tx, first.id, &[], DeliveryState::Ignored, Some("a ping")));
    bench.tx(|tx| head::moved(tx, project, &main_branch(), Some(commit(1)), Some(ObjectId::Sha1([9; 20]))));
    let done = bench.run(project, &chain(&["fetch", "publish"]));
    while bench.run_row(done).state != RunState::Succeeded {
        let lease = bench.lease_one();
        bench.finish(&lease, succeeded());
    }
    bench.tx(|tx| {
        let job = job::of_run(tx, done, 10)?[0].id;
        blob::add(tx, digest("bytes"), 10).unwrap();
        step::begin(tx, digest("step"), job, Some(done))?;
        step::made(tx, digest("step"), job, Some(done), "{}", &[digest("bytes")])?;
        publication::desire(tx, &desire(project, done, 1, commit(1), "bytes"))?;
        publication::published(tx, &"main.zip".parse().unwrap(), 1, Some("v1"))?;
        artifact::insert(tx, &artifact(project, done))?;
        token::create(tx, "ci", digest("token"))
    });
    let open = bench.run(project, &chain(&["fetch", "archive"]));
    let lease = bench.lease_one();
    bench.finish(&lease, succeeded());
    assert_eq!(bench.lease_one().run, Some(open));
    bench
}

fn literal(value: &Param<'_>) -> String {
    match value {
        Param::Null => "NULL".to_owned(),
        Param::Int(number) => number.to_string(),
        Param::Bool(truth) => truth.to_string().to_uppercase(),
        Param::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Param::Bytes(bytes) => engine::bytes(&gristmill_model::hex::encode(bytes)),
    }
}

/// The database as SQL text.
fn text(bench: &Bench, schema: i64) -> String {
    let mut text = format!("-- A database of schema {schema} with rows. See tests/db/upgrades.rs.\n\n");
    text.push_str(&dump::schema_text(schema, engine::NAME == "postgres"));
    bench.tx(|tx| {
        for table in dump::tables(tx)? {
            let _ = writeln!(text, "DELETE FROM {};", table.name);
            dump::rows(tx, &table, |row| {
                let values: Vec<String> = row.iter().map(literal).collect();
                let columns: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
                let (columns, values) = (columns.join(", "), values.join(", "));
                let _ = writeln!(text, "INSERT INTO {} ({columns}) VALUES ({values});", table.name);
                Ok(())
            })?;
        }
        Ok::<_, DbError>(())
    });
    text
}

#[test]
fn the_newest_schema_has_a_fixture() {
    let newest = dump::schema_known();
    assert_eq!(FIXTURES.last(), Some(&newest), "write one for the new schema, and list it");
    let expected = text(&rows(), newest);
    if std::env::var_os("GRISTMILL_WRITE_FIXTURES").is_some() {
        std::fs::write(path(newest), &expected).unwrap();
    }
    let found = std::fs::read_to_string(path(newest)).unwrap();
    assert!(
        found == expected,
        "the fixture is not what the schema and its rows are: see the head of this file"
    );
}

#[test]
fn a_database_of_each_released_schema_is_opened_and_everything_is_found() {
    for schema in FIXTURES {
        let Some((db, _folder)) = engine::made_of(&std::fs::read_to_string(path(schema)).unwrap()) else {
            return;
        };
        let tx = |work: &dyn Fn(&mut gristmill_db::Tx<'_>) -> Result<String, DbError>| {
            db.read_blocking(work).unwrap()
        };
        assert_eq!(db.read_blocking(dump::schema).unwrap(), dump::schema_known());
        let names = tx(&|tx| {
            Ok(format!(
                "{:?}",
                project::list(tx, "", 9)?.iter().map(|one| one.name.as_str()).collect::<Vec<_>>()
            ))
        });
        assert_eq!(names, "[\"acme/a\", \"acme/b\"]", "{schema}");
        let runs = db.read_blocking(|tx| run::list(tx, None, "~", 9)).unwrap();
        assert_eq!(
            runs.iter().map(|run| run.state).collect::<Vec<_>>(),
            [RunState::Running, RunState::Succeeded]
        );
        let done = runs[1].id;
        let jobs = db.read_blocking(move |tx| job::of_run(tx, done, 9)).unwrap();
        assert!(jobs.len() == 2 && jobs.iter().all(|job| job.state == JobState::Succeeded), "{schema}");
        let bodies = db.read_blocking(|tx| {
            let listed = delivery::list(tx, None, "~", 9)?;
            listed
                .iter()
                .map(|one| Ok(delivery::by_id(tx, one.id)?.unwrap().body.unwrap()))
                .collect::<Result<Vec<_>, DbError>>()
        });
        let expected = ["{\"b\":\"it's \u{e4}\u{1f600}\"}", "{\"a\":1}"].map(|text| text.as_bytes().to_vec());
        assert_eq!(bodies.unwrap(), expected, "{schema}");
        let key = "main.zip".parse().unwrap();
        let top = db.read_blocking(|tx| publication::top(tx, &key)).unwrap().unwrap();
        assert_eq!((top.state, top.seq, top.digest), (PublicationState::Published, 1, digest("bytes")));
        let made = db.read_blocking(move |tx| artifact::of_run(tx, done)).unwrap();
        assert_eq!((made.len(), made[0].commit), (1, commit(1)), "{schema}");
        assert!(db.read_blocking(|tx| token::is_valid(tx, digest("token"))).unwrap(), "{schema}");
        assert_eq!(db.read_blocking(|tx| blob::needed(tx, None, 9)).unwrap(), [digest("bytes")], "{schema}");
        // And it goes on: the job of the lost worker, and the next move.
        assert_eq!(db.transact_blocking(head::next_move).unwrap(), 2, "{schema}");
    }
}
