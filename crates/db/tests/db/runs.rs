//! Runs: how they begin, end, are stopped, superseded and listed.

use gristmill_db::run::{self, NewRun, Stopped};
use gristmill_db::step::{self, Begin};
use gristmill_db::{job, publication};
use gristmill_model::{Plan, RunId, RunState, Timestamp};

use crate::bench::{Bench, START, chain, commit, desire, digest, failed, jobs, main_branch, spec, succeeded};

#[test]
fn a_run_keeps_what_it_is_about() {
    let (bench, project) = Bench::with_project(1);
    let new = NewRun { is_release: true, spec_rev: 3, ..Bench::new_run(project, 7, Some(12)) };
    let id = bench.tx(|tx| run::create(tx, &new, &jobs(&["a"]), false));
    let row = bench.run_row(id);
    assert_eq!((row.id, row.project, row.pipeline.as_str()), (id, project, "archive"));
    assert_eq!((row.spec_rev, row.git_ref, row.commit), (3, main_branch(), commit(7)));
    assert_eq!((row.seq, row.is_release), (Some(12), true));
    assert_eq!((row.cause.as_str(), row.cause_id.as_deref()), ("delivery", Some("d")));
    assert_eq!((row.state, row.jobs_left, row.created), (RunState::Queued, 1, Timestamp(START)));
    assert_eq!((row.reason, row.started, row.finished), (None, None, None));
    assert!(bench.tx(|tx| run::by_id(tx, RunId::new(Timestamp(1), 1))).is_none());
}

#[test]
fn a_run_without_jobs_is_skipped() {
    let (bench, project) = Bench::with_project(1);
    let id = bench.run(project, &Plan::default());
    let row = bench.run_row(id);
    assert_eq!((row.state, row.finished), (RunState::Skipped, Some(Timestamp(START))));
}

#[test]
fn a_run_of_a_commit_is_known_by_all_that_it_is_of() {
    let (bench, project) = Bench::with_project(1);
    bench.run(project, &jobs(&["a"]));
    let exists = |pipeline: &str, git_ref: &str, number, is_release| {
        bench.tx(|tx| {
            run::exists(tx, project, pipeline, &git_ref.parse().unwrap(), commit(number), is_release)
        })
    };
    assert!(exists("archive", "refs/heads/main", 1, false));
    assert!(!exists("other", "refs/heads/main", 1, false));
    assert!(!exists("archive", "refs/heads/dev", 1, false));
    assert!(!exists("archive", "refs/heads/main", 2, false));
    assert!(!exists("archive", "refs/heads/main", 1, true));
}

#[test]
fn runs_are_listed_newest_first_page_by_page() {
    let bench = Bench::new();
    let ids = bench.import(&[spec("acme/a", 1), spec("acme/b", 1)]);
    let runs: Vec<RunId> = (0..4)
        .map(|index| {
            bench.advance(1);
            bench.run(ids[index % 2], &jobs(&["a"]))
        })
        .collect();
    let list = |project, before: &str, limit| -> Vec<RunId> {
        bench.tx(|tx| run::list(tx, project, before, limit)).into_iter().map(|run| run.id).collect()
    };
    assert_eq!(list(None, "~", 9), [runs[3], runs[2], runs[1], runs[0]]);
    assert_eq!(list(None, "~", 2), [runs[3], runs[2]]);
    assert_eq!(list(None, &runs[2].to_string(), 9), [runs[1], runs[0]]);
    assert_eq!(list(Some(ids[0]), "~", 9), [runs[2], runs[0]]);
    assert_eq!(list(Some(ids[1]), &runs[3].to_string(), 9), [runs[1]]);
}

#[test]
fn open_runs_are_counted() {
    let (bench, project) = Bench::with_project(3);
    assert_eq!(bench.tx(run::open_count), 0);
    bench.run(project, &jobs(&["a"]));
    let cancelled = bench.run(project, &jobs(&["b"]));
    assert_eq!(bench.tx(run::open_count), 2);
    let open_of = |project, limit| bench.tx(|tx| run::open_of(tx, project, limit)).len();
    assert_eq!((open_of(project, 9), open_of(project, 1)), (2, 1));
    assert_eq!(open_of(gristmill_model::ProjectId::new(Timestamp(1), 1), 9), 0);
    bench.tx(|tx| run::cancel(tx, cancelled, "enough", None));
    bench.finish(&bench.lease_one(), succeeded());
    assert_eq!(bench.tx(run::open_count), 0);
    assert_eq!(bench.tx(|tx| run::open_of(tx, project, 9)), []);
}

#[test]
fn a_cancel_says_what_it_could_do() {
    let (bench, project) = Bench::with_project(3);
    let id = bench.run(project, &chain(&["a", "b"]));
    bench.advance(3);
    assert_eq!(bench.tx(|tx| run::cancel(tx, id, "enough", None)), Stopped::Now);
    let row = bench.run_row(id);
    assert_eq!((row.state, row.reason.as_deref(), row.jobs_left), (RunState::Cancelled, Some("enough"), 0));
    assert_eq!(row.finished, Some(Timestamp(START + 3)));
    assert_eq!(bench.tx(|tx| run::cancel(tx, id, "again", None)), Stopped::WasOver(RunState::Cancelled));
    assert_eq!(bench.run_row(id).reason.as_deref(), Some("enough"));
    assert_eq!(bench.tx(|tx| run::cancel(tx, RunId::new(Timestamp(1), 1), "x", None)), Stopped::Unknown);
    let other = bench.run(project, &jobs(&["a"]));
    bench.finish(&bench.lease_one(), failed("no"));
    assert_eq!(bench.tx(|tx| run::cancel(tx, other, "x", None)), Stopped::WasOver(RunState::Failed));
}

#[test]
fn a_run_that_readers_may_see_at_any_moment_is_not_cancelled() {
    let (bench, project) = Bench::with_project(3);
    let id = bench.run(project, &jobs(&["a"]));
    let want = desire(project, id, 1, commit(1), "bytes");
    bench.tx(|tx| publication::desire(tx, &want));
    assert_eq!(bench.tx(|tx| run::cancel(tx, id, "enough", None)), Stopped::Publishing);
    assert_eq!(bench.states(id), "a:ready");
    assert_eq!(bench.run_row(id).state, RunState::Queued);
    bench.tx(|tx| publication::published(tx, &want.key, 1, None));
    assert_eq!(bench.tx(|tx| run::cancel(tx, id, "enough", None)), Stopped::Now);
}

#[test]
fn a_run_holds_its_steps_until_it_is_over() {
    let (bench, project) = Bench::with_project(9);
    let pin = |kind: &str| {
        let id = bench.run(project, &jobs(&[kind]));
        let lease = bench.lease_one();
        let key = digest(kind);
        assert_eq!(bench.tx(|tx| step::begin(tx, key, lease.job, Some(id))), Begin::Make);
        assert!(bench.tx(|tx| step::made(tx, key, lease.job, Some(id), "{}", &[])));
        (id, lease)
    };
    let (_, finished) = pin("a");
    let (cancelled, _) = pin("b");
    let (_, failing) = pin("c");
    bench.advance(10);
    let condemn = || bench.tx(|tx| step::condemn(tx, Timestamp(i64::MAX), 9));
    assert_eq!(condemn(), 0);
    bench.finish(&finished, succeeded());
    assert_eq!(condemn(), 1);
    bench.tx(|tx| run::cancel(tx, cancelled, "enough", None));
    assert_eq!(condemn(), 1);
    bench.finish(&failing, failed("no"));
    assert_eq!(condemn(), 1);
}

#[test]
fn a_younger_run_takes_the_place_of_older_ones_of_its_ref() {
    let (bench, project) = Bench::with_project(9);
    let create = |new: &NewRun, supersede| bench.tx(|tx| run::create(tx, new, &jobs(&["a"]), supersede));
    let base = Bench::new_run(project, 1, Some(1));
    let queued = create(&base, false);
    let running = create(&base, false);
    let other_ref = create(&NewRun { git_ref: "refs/heads/dev".parse().unwrap(), ..base.clone() }, false);
    let other_pipeline = create(&NewRun { pipeline: "other".to_owned(), ..base.clone() }, false);
    let release = create(&NewRun { is_release: true, ..base.clone() }, false);
    let publishing = create(&base, false);
    bench.tx(|tx| publication::desire(tx, &desire(project, publishing, 1, commit(1), "bytes")));
    let lease = bench.lease(9).into_iter().find(|lease| lease.run == Some(running)).unwrap();
    let overtaken = create(&NewRun { seq: None, ..base.clone() }, true);
    assert_eq!(
        bench.run_row(queued).state,
        RunState::Running,
        "a commit that is no tip takes nobody's place"
    );
    let young = create(&NewRun { seq: Some(2), ..base.clone() }, true);
    for id in [queued, running, overtaken] {
        let row = bench.run_row(id);
        assert_eq!(row.state, RunState::Superseded);
        assert_eq!(row.reason, Some(format!("run {young} took its place")));
    }
    assert!(!bench.holds(&lease));
    for id in [other_ref, other_pipeline, release, publishing, young] {
        assert!(!bench.run_row(id).state.is_over(), "{id}");
    }
    create(&NewRun { seq: Some(3), ..base }, false);
    assert!(!bench.run_row(young).state.is_over(), "only where the settings say so");
}

#[test]
fn the_jobs_of_a_run_are_listed_in_the_order_of_the_plan() {
    let (bench, project) = Bench::with_project(9);
    let id = bench.run(project, &chain(&["z", "m", "a"]));
    let kinds: Vec<String> = bench.tx(|tx| job::of_run(tx, id, 2)).into_iter().map(|job| job.kind).collect();
    assert_eq!(kinds, ["z", "m"]);
    let ids = |run| -> Vec<String> {
        bench.tx(|tx| job::of_run(tx, run, 9)).iter().map(|job| job.id.to_string()).collect()
    };
    let (first, second) = (ids(id), ids(bench.run(project, &chain(&["z", "m"]))));
    assert_eq!(
        first.iter().chain(&second).map(|id| &id[23..]).collect::<Vec<_>>(),
        ["000", "001", "002", "000", "001"]
    );
    assert!(first.iter().all(|id| id[..22] == first[0][..22]));
    assert_ne!(first[0][10..22], second[0][10..22], "two plans of one millisecond share no ids");
}
