//! What is asked all the time costs the same however much there is: every hot statement is served by an
//! index, and with a hundred thousand rows it takes no more steps than with a few.

use gristmill_db::job;
use gristmill_db::{DbError, Tx, all_statements, artifact, delivery, due, project, publication, run};
use gristmill_model::{ObjectKey, ProjectId, Timestamp};

use crate::bench::{Bench, boot, commit, delivery as webhook, jobs, main_branch, spec, succeeded};

const PLAN: &str = "EXPLAIN QUERY PLAN ";

/// Statements that read a whole table: collection and retention (which look at all there is), listings
/// for people, and tables with one row per project.
const MAY_SCAN: &[&str] = &[
    // the collector and retention
    "CONDEMN",
    "PARDON",
    "WOULD_CONDEMN",
    "TO_DELETE",
    "UNUSED",
    "DELETING",
    // backups, and rows that were brought from one
    "NEEDED",
    "FORGET_UNNEEDED",
    "FORGET_VERSION_IDS",
    // `project purge`, by hand
    "PURGE_EVENTS",
    "PURGE_EDGES",
    "PURGE_ATTEMPTS",
    "PURGE_PINS",
    "PURGE_RUN",
    "PURGE_JOB",
    "PURGE_SCHEDULE",
    "PURGE_LOGS",
    // listings and counts for people
    "LIST",
    "DEAD",
    "COUNTS",
    "KEYS",
    // one row per project or fewer
    "DUE",
    "POLL",
    "KEPT",
    "UNSEEN",
    "LET_ALL_GO",
    "LET_GO_OF",
    // one row per program that is up, or per duty
    "GONE",
    "LEAVE",
    "FAR_DUTIES",
    "FAR_KEPT",
    "FAR_BOOTS",
    // once, at the end of a restore
    "FORGET_DELETING",
    // no table at all, or as many rows as jobs are running
    "HELD",
    "HOLDERS",
    // a clock that was set back, or the start of a program
    "POLLS",
    "SCHEDULES",
    "FAR_POLLS",
    // `doctor`, and the start of a program
    "PAGE",
    "LOST_REVISIONS",
];

#[test]
fn no_hot_statement_reads_a_whole_table() {
    let bench = Bench::new();
    let mut scans = Vec::new();
    for (name, sql) in all_statements() {
        let plan: &'static str = Box::leak(format!("{PLAN}{sql}").into_boxed_str());
        let nulls = vec![gristmill_db::Param::Null; 20];
        let lines = bench.tx(|tx| tx.query(plan, &nulls, |row| row.get::<String>(3)));
        let is_scan = |line: &&String| {
            line.starts_with("SCAN ")
                && !line.contains("USING")
                && !line.contains("CONSTANT")
                && *line != "SCAN newest"
                && *line != "SCAN front"
        };
        if !MAY_SCAN.contains(&name) && lines.iter().any(|line| is_scan(&line)) {
            scans.push(format!("{name}: {lines:?}"));
        }
    }
    assert!(scans.is_empty(), "{scans:#?}");
}

/// A project with `count` rows of everything, full of jobs, and a small one behind it.
fn filled(count: usize) -> (Bench, ProjectId, ProjectId) {
    let bench = Bench::new();
    let ids = bench.import(&[spec("acme/a", 2), spec("acme/b", 2)]);
    const JOB: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) INSERT INTO job (id, run_id, project_id, kind, payload, state, deps_left, delay_ms, not_before_ms, priority, attempt, tries, created_ms, finished_ms) SELECT printf('%s%010d', $2, i), printf('0%025d', i / 100), $3, 'k', '{}', $4, 0, 0, $5, 10, 0, 0, 0, 1 FROM n";
    const RUN: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) INSERT INTO run (id, project_id, pipeline, spec_rev, ref, commit_id, seq, is_release, cause, state, jobs_left, created_ms, sum) SELECT printf('0%025d', i), $2, 'archive', 1, 'refs/heads/' || i, printf('%040d', i), i, 0, 'poll', 'succeeded', 0, 0, 0 FROM n";
    const VERSION: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) INSERT INTO publication (id, key, seq, digest, size, content_type, metadata, state, project_id, pipeline, ref, commit_id, run_id, created_ms, sum) SELECT printf('0%025d', i), 'main.zip', i, randomblob(32), 1, 't', '{}', 'published', $2, 'archive', 'refs/heads/main', printf('%040d', 1), printf('0%025d', i), 0, 0 FROM n";
    const ARTIFACT: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) INSERT INTO artifact (id, run_id, project_id, pipeline, ref, commit_id, tree_id, recipe, step_key, digest, size, media_type, index_digest, key, created_ms, sum) SELECT printf('0%025d', i), printf('0%025d', i), $2, 'archive', 'refs/heads/main', printf('%040d', i), printf('%040d', i), 'zip/1', randomblob(32), randomblob(32), 1, 't', randomblob(32), 'main.zip', 0, 0 FROM n";
    const DELIVERY: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) INSERT INTO delivery (id, project_id, remote_id, event, verifier, body_bytes, received_ms, state, replays, body, sum) SELECT printf('0%025d', i), $2, 'x' || i, 'push', 'v', 0, 500, 'handled', 0, x'00', 0 FROM n";
    let n = i64::try_from(count).unwrap();
    let project = ids[0];
    bench.tx(|tx| {
        let p = gristmill_db::params![n, project];
        tx.execute(JOB, gristmill_db::params![n, "0READY0000000000", project, "ready", 5_i64])?;
        tx.execute(JOB, gristmill_db::params![n, "0LATER0000000000", project, "ready", 9_000_000_i64])?;
        tx.execute(JOB, gristmill_db::params![n, "0OVER00000000000", project, "succeeded", 5_i64])?;
        tx.execute(JOB, gristmill_db::params![n, "0BLCKD0000000000", project, "blocked", 5_i64])?;
        for sql in [RUN, VERSION, ARTIFACT, DELIVERY] {
            tx.execute(sql, p)?;
        }
        gristmill_db::verify::renew(tx)
    });
    (bench, ids[0], ids[1])
}

/// What the transactions of the hot paths cost, each by its name.
fn costs(count: usize) -> Vec<(&'static str, u64)> {
    let (mut bench, full, small) = filled(count);
    assert_eq!(bench.lease(9).len(), 2, "the first project is full from now on");
    bench.run(small, &jobs(&["a", "b", "c"]));
    let key: ObjectKey = "main.zip".parse().unwrap();
    let mut costs = Vec::new();
    let mut cost = |name, work: &dyn Fn(&mut Tx<'_>) -> Result<(), DbError>| {
        let (_, steps) = bench.db.cost(work).unwrap();
        costs.push((name, steps));
    };
    cost("lease one behind a full project", &|tx| {
        assert_eq!(job::lease(tx, boot(1), 1)?.len(), 1);
        Ok(())
    });
    cost("next due", &|tx| job::next_due(tx).map(drop));
    cost("heartbeat", &|tx| {
        assert_eq!(job::heartbeat(tx, boot(1))?.len(), 3);
        Ok(())
    });
    cost("rescue", &|tx| crate::bench::rescue(tx, 9).map(drop));
    cost("leases", &|tx| job::leases(tx).map(drop));
    cost("work", &|tx| due::work(tx).map(drop));
    cost("accept", &|tx| delivery::accept(tx, full, &webhook("new", "{}")).map(drop));
    cost("waiting", &|tx| {
        assert_eq!(delivery::waiting(tx, full, 9, 99)?.0.len(), 1);
        Ok(())
    });
    cost("waiting count", &|tx| delivery::waiting_count(tx).map(drop));
    cost("known commit", &|tx| run::exists(tx, full, "archive", &main_branch(), commit(1), false).map(drop));
    cost("supersede", &|tx| {
        run::create(tx, &Bench::new_run(small, 1, Some(1)), &jobs(&["a"]), true).map(drop)
    });
    cost("open runs", &|tx| run::open_count(tx).map(drop));
    cost("top of a key", &|tx| publication::top(tx, &key).map(drop));
    cost("versions of a key", &|tx| publication::versions(tx, &key, 50, 9).map(drop));
    cost("newest artifact", &|tx| artifact::newest(tx, full, "archive", "zip/1").map(drop));
    cost("old looks", &|tx| job::expire(tx, Timestamp(0), 9).map(drop));
    cost("old deliveries", &|tx| delivery::expire(tx, Timestamp(0), 9).map(drop));
    cost("polls", &|tx| project::poll_due(tx, 9).map(drop));
    cost("unseen", &|tx| job::look_where_waiting(tx, 9).map(drop));
    cost("retention by count", &|tx| publication::more_than(tx, full, "archive", 5, 9).map(drop));
    cost("retention by age", &|tx| publication::older_than(tx, full, "archive", Timestamp(1), 9).map(drop));
    let lease = bench.lease_one();
    let (state, steps) = bench
        .db
        .cost(|tx| job::finish(tx, lease.job, lease.attempt, succeeded()).map_err(|_| DbError::Closed))
        .unwrap();
    assert!(state.is_success());
    costs.push(("finish", steps));
    costs
}

#[test]
fn hot_transactions_cost_the_same_with_a_hundred_thousand_rows() {
    let (few, many) = (costs(1_000), costs(100_000));
    let grown: Vec<String> = few
        .iter()
        .zip(&many)
        .filter(|((_, few), (_, many))| *many > *few + 50)
        .map(|((name, few), (_, many))| format!("{name}: {few} steps with 1 000 rows, {many} with 100 000"))
        .collect();
    assert!(grown.is_empty(), "{grown:#?}");
    for ((name, few), (_, many)) in few.iter().zip(&many) {
        println!("{few:>6} {many:>6} steps: {name}");
    }
    let worst = many.iter().max_by_key(|(_, steps)| *steps).unwrap();
    assert!(worst.1 < 10_000, "{worst:?}");
}
