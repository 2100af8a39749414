//! Heads, artifacts, tokens, and what the crate says of itself.

use gristmill_db::artifact::{self, Artifact};
use gristmill_db::run::{self, NewRun};
use gristmill_db::{all_statements, head, job, publication, token};
use gristmill_model::{ArtifactId, ObjectId, ProjectId, RunId, Timestamp, TreeId};

use crate::bench::{
    Bench, START, chain, commit, desire, digest, failed, jobs, main_branch, random, succeeded,
};

#[test]
fn every_statement_can_be_prepared() {
    let clock = std::sync::Arc::new(gristmill_model::ManualClock::at(Timestamp(START)));
    let db = crate::engine::open(clock, random());
    let statements = all_statements();
    for of_each_module in [
        "RESEAL",
        "CANCEL",
        "TAKE",
        "WAITERS",
        "FRONT_OF_ALL",
        "MADE",
        "UNUSED",
        "REVOKE",
        "ADVANCE",
        "NEXT_MOVE",
    ] {
        assert!(statements.iter().any(|(name, _)| *name == of_each_module), "{of_each_module}");
    }
    for (name, sql) in statements {
        assert_eq!(db.prepare(sql), Ok(()), "{name}: {sql}");
    }
}

#[test]
fn moves_are_numbered_over_all_refs() {
    let (bench, project) = Bench::with_project(1);
    let dev = "refs/heads/dev".parse().unwrap();
    assert_eq!(bench.tx(|tx| head::get(tx, project, &dev)), None);
    let tag = ObjectId::Sha1([7; 20]);
    assert_eq!(bench.tx(|tx| head::moved(tx, project, &dev, Some(commit(1)), Some(tag))), 1);
    assert_eq!(bench.tx(|tx| head::moved(tx, project, &main_branch(), Some(commit(2)), None)), 2);
    let found = bench.tx(|tx| head::get(tx, project, &dev)).unwrap();
    assert_eq!((found.git_ref, found.tip, found.object), (dev.clone(), Some(commit(1)), Some(tag)));
    assert_eq!((found.seq, found.seen), (1, Timestamp(START)));
    bench.advance(4);
    assert_eq!(bench.tx(|tx| head::moved(tx, project, &dev, None, None)), 3);
    let heads = bench.tx(|tx| head::list(tx, project));
    assert_eq!(heads.len(), 2);
    assert_eq!((heads[0].tip, heads[0].seq, heads[0].seen), (None, 3, Timestamp(START + 4)));
    assert_eq!(heads[1].git_ref, main_branch());
    assert_eq!(bench.tx(head::next_move), 4);
    assert_eq!(bench.tx(|tx| head::list(tx, ProjectId::new(Timestamp(1), 1))), []);
}

#[test]
fn a_tip_is_unbuilt_until_its_pipeline_has_a_run_of_it() {
    let (bench, project) = Bench::with_project(1);
    let dev = "refs/heads/dev".parse().unwrap();
    let gone = "refs/heads/gone".parse().unwrap();
    bench.tx(|tx| head::moved(tx, project, &main_branch(), Some(commit(1)), None));
    bench.tx(|tx| head::moved(tx, project, &dev, Some(commit(1)), None));
    bench.tx(|tx| head::moved(tx, project, &gone, None, None));
    let unbuilt = |pipeline: &str| -> Vec<String> {
        bench
            .tx(|tx| head::unbuilt(tx, project, pipeline))
            .iter()
            .map(|head| head.git_ref.to_string())
            .collect()
    };
    assert_eq!(unbuilt("archive"), ["refs/heads/dev", "refs/heads/main"]);
    let release = NewRun { is_release: true, ..Bench::new_run(project, 1, None) };
    bench.tx(|tx| run::create(tx, &release, &jobs(&["a"]), false));
    bench.tx(|tx| run::create(tx, &Bench::new_run(project, 2, None), &jobs(&["a"]), false));
    assert_eq!(unbuilt("archive").len(), 2, "another commit, and a release");
    bench.run(project, &jobs(&["a"]));
    assert_eq!(unbuilt("archive"), ["refs/heads/dev"]);
    assert_eq!(unbuilt("other"), ["refs/heads/dev", "refs/heads/main"]);
    assert_eq!(bench.tx(|tx| head::unbuilt(tx, ProjectId::new(Timestamp(1), 1), "archive")), []);
}

fn artifact(project: ProjectId, run: RunId, number: u8) -> Artifact {
    Artifact {
        id: ArtifactId::new(Timestamp(START), u128::from(number)),
        run,
        project,
        pipeline: "archive".to_owned(),
        git_ref: main_branch(),
        commit: commit(number),
        tree: TreeId(ObjectId::Sha1([9; 20])),
        recipe: "zip/1".to_owned(),
        step: digest("step"),
        digest: digest("bytes"),
        size: 10,
        media_type: "application/zip".to_owned(),
        index: Some(digest("index")),
        key: "main.zip".parse().unwrap(),
        created: Timestamp(START),
    }
}

#[test]
fn a_run_has_one_artifact_which_says_all_of_it() {
    let (bench, project) = Bench::with_project(1);
    let run = bench.run(project, &jobs(&["a"]));
    let first = artifact(project, run, 1);
    let second =
        Artifact { id: ArtifactId::new(Timestamp(START), 9), digest: digest("other"), ..first.clone() };
    bench.tx(|tx| artifact::insert(tx, &first));
    bench.tx(|tx| artifact::insert(tx, &second));
    let found = bench.tx(|tx| artifact::of_run(tx, run));
    assert_eq!(found.len(), 1);
    assert_eq!(format!("{:?}", found[0]), format!("{second:?}"));
}

#[test]
fn the_newest_artifact_with_an_index_is_the_next_ones_cache() {
    let (bench, project) = Bench::with_project(1);
    let runs: Vec<RunId> = (0..3).map(|_| bench.run(project, &jobs(&["a"]))).collect();
    bench.tx(|tx| artifact::insert(tx, &artifact(project, runs[0], 1)));
    bench.tx(|tx| artifact::insert(tx, &artifact(project, runs[1], 2)));
    bench.tx(|tx| artifact::insert(tx, &Artifact { index: None, ..artifact(project, runs[2], 3) }));
    let newest = |pipeline: &str, recipe: &str| {
        bench.tx(|tx| artifact::newest(tx, project, pipeline, recipe)).map(|found| found.commit)
    };
    assert_eq!(newest("archive", "zip/1"), Some(commit(2)));
    assert_eq!(newest("archive", "zip/2"), None);
    assert_eq!(newest("other", "zip/1"), None);
}

#[test]
fn an_artifact_is_old_when_its_run_is_over_and_no_version_is_left() {
    let (bench, project) = Bench::with_project(3);
    let run = bench.run(project, &jobs(&["a"]));
    let row = artifact(project, run, 1);
    bench.tx(|tx| artifact::insert(tx, &row));
    let old = |before| bench.tx(|tx| artifact::old(tx, project, "archive", Timestamp(before), 9));
    assert_eq!(old(i64::MAX), [], "its run is open");
    let want = desire(project, run, 1, commit(1), "bytes");
    bench.tx(|tx| publication::desire(tx, &want));
    bench.finish(&bench.lease_one(), succeeded());
    assert_eq!(old(i64::MAX), [], "a version is left");
    bench.tx(|tx| publication::delete(tx, &want.key, 1));
    assert_eq!(old(START), []);
    assert_eq!(old(START + 1), [row.id]);
    assert_eq!(bench.tx(|tx| artifact::old(tx, project, "other", Timestamp(i64::MAX), 9)), []);
    bench.tx(|tx| artifact::delete(tx, row.id));
    assert_eq!(old(i64::MAX), []);
}

#[test]
fn tokens_count_until_they_are_revoked() {
    let bench = Bench::new();
    let valid = |text: &str| bench.tx(|tx| token::is_valid(tx, digest(text)));
    assert!(!valid("secret"));
    let id = bench.tx(|tx| token::create(tx, "for ci", digest("secret")));
    assert!(valid("secret") && !valid("other"));
    bench.advance(2);
    assert!(bench.tx(|tx| token::revoke(tx, id)));
    assert!(!bench.tx(|tx| token::revoke(tx, id)), "once");
    assert!(!valid("secret"));
    let list = bench.tx(token::list);
    assert_eq!((list.len(), list[0].id, list[0].name.as_str()), (1, id, "for ci"));
    assert_eq!((list[0].created, list[0].revoked), (Timestamp(START), Some(Timestamp(START + 2))));
}

#[test]
fn runs_that_left_nothing_are_forgotten_in_time() {
    let (bench, project) = Bench::with_project(9);
    let end = |how: fn() -> job::Finish| {
        let run = bench.run(project, &chain(&["a", "b"]));
        bench.finish(&bench.lease_one(), how());
        while let [lease] = bench.lease(1).as_slice() {
            bench.finish(lease, how());
        }
        bench.advance(1);
        run
    };
    let failures = [end(|| failed("no")), end(|| failed("no")), end(|| failed("no"))];
    let with_artifact = end(succeeded);
    bench.tx(|tx| artifact::insert(tx, &artifact(project, with_artifact, 1)));
    let with_version = end(succeeded);
    bench.tx(|tx| publication::desire(tx, &desire(project, with_version, 1, commit(1), "one")));
    let open = bench.run(project, &jobs(&["a"]));
    let jobs_before = bench.tx(|tx| job::of_run(tx, failures[0], 9));

    // The memory of what was made of a tip stays as long as the ref is there: it would be built again.
    bench.advance(1);
    let cancelled = bench.run(project, &jobs(&["a"]));
    bench.tx(|tx| run::cancel(tx, cancelled, "enough", None));
    let tip = bench.run_row(cancelled).commit;
    bench.tx(|tx| head::moved(tx, project, &main_branch(), Some(tip), None));
    let expired = |after, before, max| bench.tx(|tx| run::expired(tx, after, Timestamp(before), max));
    let never = i64::from(u32::MAX) << 14;
    assert_eq!(expired(None, never, 9), [], "all are of the tip");
    assert_eq!(bench.tx(|tx| head::unbuilt(tx, project, "archive")), []);
    bench.tx(|tx| head::moved(tx, project, &main_branch(), None, None));
    assert_eq!(expired(None, START, 9), [], "none is older");
    assert_eq!(expired(None, START + 2, 9), failures[..2]);
    assert_eq!(expired(None, never, 1), failures[..1]);
    assert_eq!(expired(Some(failures[0]), never, 9), [failures[1], failures[2], cancelled]);
    let delete = |ids: &[RunId]| bench.tx(|tx| run::delete_expired(tx, ids));
    assert_eq!(delete(&failures), 3);
    assert_eq!(delete(&[with_artifact, with_version, failures[0]]), 0, "what has become wanted stays");

    let left = bench.tx(|tx| run::list(tx, None, "~", 9));
    assert_eq!(
        left.iter().map(|run| run.id).collect::<Vec<_>>(),
        [cancelled, open, with_version, with_artifact]
    );
    assert_eq!(bench.tx(|tx| job::of_run(tx, failures[0], 9)).len(), 0);
    assert_eq!(jobs_before.len(), 2);
    assert_eq!(bench.tx(|tx| job::attempts(tx, jobs_before[0].id, 9)).len(), 0);
    const EDGES: &str = "SELECT count(*) FROM job_edge";
    let edges: Option<i64> = bench.tx(|tx| tx.query_one(EDGES, gristmill_db::params![], |row| row.get(0)));
    assert_eq!(edges, Some(2), "those of the two runs that stay");
}
