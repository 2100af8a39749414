//! Graphs: what waits for what, expansion, fan-out and fan-in, waits for another job's step.

use std::time::Duration;

use gristmill_db::job::{self, Finish, FinishError};
use gristmill_db::run;
use gristmill_db::step::{self, Begin};
use gristmill_model::{EdgeKind, JobState, Plan, PlanError, PlannedJob, RunState, Timestamp};

use crate::bench::{Bench, START, chain, digest, failed, jobs, retry, succeeded};

fn fan_in(kind: EdgeKind) -> Plan {
    jobs(&["a", "b", "join"]).edge(0, 2, kind).edge(1, 2, kind)
}

fn expand(plan: Plan) -> Finish {
    Finish::Succeeded { outcome: "{}".to_owned(), cached: false, expand: Some(plan) }
}

#[test]
fn a_chain_goes_link_by_link() {
    let (bench, project) = Bench::with_project(9);
    let run = bench.run(project, &chain(&["a", "b", "c"]));
    assert_eq!(bench.run_row(run).jobs_left, 3);
    assert_eq!(bench.states(run), "a:ready b:blocked c:blocked");
    assert_eq!(bench.jobs(run)["b"].deps_left, 1);
    for (kind, left) in [("a", 2), ("b", 1), ("c", 0)] {
        let mut leases = bench.lease(9);
        assert_eq!(leases.len(), 1);
        let lease = leases.remove(0);
        assert_eq!(lease.kind, kind);
        bench.advance(10);
        bench.finish(
            &lease,
            Finish::Succeeded { outcome: format!("\"{kind}\""), cached: kind == "b", expand: None },
        );
        assert_eq!(bench.run_row(run).jobs_left, left);
    }
    assert_eq!(bench.states(run), "a:succeeded b:cached c:succeeded");
    let row = bench.run_row(run);
    assert_eq!(
        (row.state, row.finished, row.reason),
        (RunState::Succeeded, Some(Timestamp(START + 30)), None)
    );
    let c = &bench.jobs(run)["c"];
    assert_eq!((c.outcome.as_deref(), c.finished), (Some("\"c\""), Some(Timestamp(START + 30))));
    assert_eq!(bench.tx(|tx| job::run_outcome(tx, run, "b")).as_deref(), Some("\"b\""));
    assert_eq!(bench.tx(|tx| job::run_outcome(tx, run, "x")), None);
    assert_eq!(bench.tx(|tx| job::needed_outcomes(tx, c.id)), [("b".to_owned(), "\"b\"".to_owned())]);
}

#[test]
fn a_failure_ends_what_needs_success_all_the_way() {
    let (bench, project) = Bench::with_project(9);
    let run = bench.run(project, &chain(&["a", "b", "c"]));
    let lease = bench.lease_one();
    assert_eq!(bench.finish(&lease, failed("broken")), JobState::Failed);
    assert_eq!(bench.states(run), "a:failed b:cancelled c:cancelled");
    let row = bench.run_row(run);
    assert_eq!((row.state, row.jobs_left, row.reason.as_deref()), (RunState::Failed, 0, Some("broken")));
    let b = &bench.jobs(run)["b"];
    assert_eq!(b.reason.as_deref(), Some("a job it needs did not succeed"));
    assert_eq!(b.finished, Some(Timestamp(START)));
    assert_eq!(bench.job(lease.job).reason.as_deref(), Some("broken"));
}

#[test]
fn a_fan_in_waits_for_all() {
    for kind in [EdgeKind::OnSuccess, EdgeKind::OnFinish] {
        let (bench, project) = Bench::with_project(9);
        let run = bench.run(project, &fan_in(kind));
        assert_eq!(bench.jobs(run)["join"].deps_left, 2);
        let leases = bench.lease(9);
        assert_eq!(leases.len(), 2);
        bench.finish(&leases[0], succeeded());
        assert_eq!(bench.lease(9).len(), 0);
        assert_eq!(bench.jobs(run)["join"].deps_left, 1);
        bench.finish(&leases[1], succeeded());
        assert_eq!(bench.kinds(9), ["join"]);
    }
}

#[test]
fn a_fan_in_on_success_ends_with_the_first_failure_and_the_run_with_the_last_job() {
    let (bench, project) = Bench::with_project(9);
    let run = bench.run(project, &fan_in(EdgeKind::OnSuccess));
    let leases = bench.lease(9);
    bench.finish(&leases[0], failed("first"));
    assert_eq!(bench.states(run), "a:failed b:leased join:cancelled");
    assert_eq!((bench.run_row(run).state, bench.run_row(run).jobs_left), (RunState::Running, 1));
    bench.finish(&leases[1], failed("second"));
    let row = bench.run_row(run);
    assert_eq!((row.state, row.reason.as_deref()), (RunState::Failed, Some("first")));
}

#[test]
fn a_fan_in_on_finish_goes_on_after_failures_and_the_run_has_failed_all_the_same() {
    let (bench, project) = Bench::with_project(9);
    let run = bench.run(project, &fan_in(EdgeKind::OnFinish));
    let leases = bench.lease(9);
    bench.finish(&leases[0], failed("first"));
    assert_eq!(bench.states(run), "a:failed b:leased join:blocked");
    bench.finish(&leases[1], succeeded());
    let join = bench.lease_one();
    assert_eq!(join.kind, "join");
    bench.finish(&join, succeeded());
    assert_eq!(bench.run_row(run).state, RunState::Failed);
}

#[test]
fn a_job_that_was_ended_with_another_counts_as_finished_for_those_behind_it() {
    let (bench, project) = Bench::with_project(9);
    let plan = jobs(&["a", "b", "after"]).edge(0, 1, EdgeKind::OnSuccess).edge(1, 2, EdgeKind::OnFinish);
    let run = bench.run(project, &plan);
    bench.finish(&bench.lease_one(), failed("no"));
    assert_eq!(bench.states(run), "a:failed after:ready b:cancelled");
    assert_eq!(bench.run_row(run).jobs_left, 1);
    bench.finish(&bench.lease_one(), succeeded());
    assert_eq!(bench.run_row(run).state, RunState::Failed);
}

#[test]
fn two_edges_between_the_same_jobs_count_once_and_the_stricter_holds() {
    for (first, second) in [
        (EdgeKind::OnSuccess, EdgeKind::OnFinish),
        (EdgeKind::OnFinish, EdgeKind::OnSuccess),
        (EdgeKind::OnFinish, EdgeKind::OnFinish),
    ] {
        let (bench, project) = Bench::with_project(9);
        let plan = jobs(&["a", "b"]).edge(0, 1, first).edge(0, 1, second);
        let run = bench.run(project, &plan);
        assert_eq!(bench.jobs(run)["b"].deps_left, 1);
        bench.finish(&bench.lease_one(), failed("no"));
        let is_strict = [first, second].contains(&EdgeKind::OnSuccess);
        assert_eq!(bench.states(run), if is_strict { "a:failed b:cancelled" } else { "a:failed b:ready" });
    }
}

#[test]
fn a_delay_counts_from_when_the_job_is_free_to_go() {
    let (bench, project) = Bench::with_project(9);
    let mut plan = chain(&["a", "b"]);
    plan.jobs[1].delay = Duration::from_secs(5);
    let run = bench.run(project, &plan);
    let lease = bench.lease_one();
    bench.advance(60_000);
    bench.finish(&lease, succeeded());
    assert_eq!(bench.jobs(run)["b"].not_before, Timestamp(START + 65_000));
    bench.advance(4_999);
    assert_eq!(bench.lease(1).len(), 0);
    bench.advance(1);
    assert_eq!(bench.lease(1).len(), 1);
}

#[test]
fn an_expansion_comes_between_a_job_and_those_that_wait_for_it() {
    let (bench, project) = Bench::with_project(9);
    let run = bench.run(project, &chain(&["a", "z"]));
    let lease = bench.lease_one();
    let plan = jobs(&["x", "y1", "y2"]).edge(0, 1, EdgeKind::OnSuccess).edge(0, 2, EdgeKind::OnFinish);
    assert_eq!(bench.finish(&lease, expand(plan)), JobState::Succeeded);
    assert_eq!(bench.states(run), "a:succeeded x:ready y1:blocked y2:blocked z:blocked");
    assert_eq!(bench.run_row(run).jobs_left, 4);
    assert_eq!(bench.jobs(run)["z"].deps_left, 2, "of the last ones, y1 and y2");
    bench.finish(&bench.lease_one(), succeeded());
    let leases = bench.lease(9);
    assert_eq!(leases.iter().map(|lease| lease.kind.as_str()).collect::<Vec<_>>(), ["y1", "y2"]);
    bench.finish(&leases[0], succeeded());
    assert_eq!(bench.states(run), "a:succeeded x:succeeded y1:succeeded y2:leased z:blocked");
    bench.finish(&leases[1], succeeded());
    bench.finish(&bench.lease_one(), succeeded());
    assert_eq!(bench.run_row(run).state, RunState::Succeeded);
}

#[test]
fn an_edge_to_an_expansion_is_of_the_kind_of_the_edge_before_it() {
    for (kind, states) in [
        (EdgeKind::OnSuccess, "a:succeeded x:failed z:cancelled"),
        (EdgeKind::OnFinish, "a:succeeded x:failed z:ready"),
    ] {
        let (bench, project) = Bench::with_project(9);
        let run = bench.run(project, &jobs(&["a", "z"]).edge(0, 1, kind));
        bench.finish(&bench.lease_one(), expand(jobs(&["x"])));
        bench.finish(&bench.lease_one(), failed("no"));
        assert_eq!(bench.states(run), states);
    }
}

#[test]
fn an_expansion_keeps_the_priority_of_its_job() {
    let (bench, project) = Bench::with_project(9);
    bench.polled(project, &jobs(&["polled"]));
    bench.finish(&bench.lease_one(), expand(jobs(&["expanded"])));
    bench.advance(5);
    bench.run(project, &jobs(&["hooked"]));
    assert_eq!(bench.kinds(9), ["hooked", "expanded"]);
}

#[test]
fn an_expansion_that_cannot_be_carried_out_leaves_all_as_it_was() {
    let (bench, project) = Bench::with_project(9);
    let run = bench.run(project, &chain(&["a", "z"]));
    let lease = bench.lease_one();
    let circle = jobs(&["x", "y"]).edge(0, 1, EdgeKind::OnFinish).edge(1, 0, EdgeKind::OnFinish);
    let result = bench.try_finish(&lease, expand(circle));
    assert!(matches!(result, Err(FinishError::Plan(PlanError::Circle))));
    let large = Plan { jobs: vec![PlannedJob::new("x", String::new()); 10_001], edges: Vec::new() };
    assert!(matches!(
        bench.try_finish(&lease, expand(large)),
        Err(FinishError::Plan(PlanError::TooLarge(10_001)))
    ));
    assert_eq!(bench.states(run), "a:leased z:blocked");
    assert_eq!(bench.run_row(run).jobs_left, 2);
    assert!(bench.holds(&lease));
}

#[test]
fn an_expansion_of_a_job_without_a_run_has_none_either() {
    let (bench, project) = Bench::with_project(9);
    let ids = bench.tx(|tx| job::insert_plan(tx, None, Some(project), 10, &chain(&["a", "z"])));
    let lease = bench.lease_one();
    assert_eq!((lease.job, lease.run), (ids[0], None));
    bench.finish(&lease, expand(jobs(&["x"])));
    assert_eq!(bench.job(ids[1]).state, JobState::Blocked);
    bench.finish(&bench.lease_one(), succeeded());
    assert_eq!(bench.job(ids[1]).state, JobState::Ready);
}

#[test]
fn nothing_to_do_ends_the_run_as_skipped() {
    let (bench, project) = Bench::with_project(9);
    let run = bench.run(project, &jobs(&["a", "b", "c"]).edge(0, 1, EdgeKind::OnFinish));
    let leases = bench.lease(9);
    let skip = Finish::Skipped { reason: "no file of it changed".to_owned() };
    assert_eq!(bench.finish(&leases[0], skip), JobState::Succeeded);
    assert_eq!(bench.states(run), "a:succeeded b:cancelled c:cancelled");
    let row = bench.run_row(run);
    assert_eq!((row.state, row.jobs_left), (RunState::Skipped, 0));
    assert_eq!(row.reason.as_deref(), Some("no file of it changed"));
    assert_eq!(row.finished, Some(Timestamp(START)));
    assert_eq!(bench.job(leases[0].job).reason.as_deref(), Some("no file of it changed"));
    assert!(!bench.holds(&leases[1]));
    let attempts = bench.tx(|tx| job::attempts(tx, leases[0].job, 1));
    assert_eq!(attempts[0].result.as_deref(), Some("succeeded"));
}

#[test]
fn nothing_to_do_outside_a_run_lets_the_next_go_on() {
    let (bench, project) = Bench::with_project(9);
    let ids = bench.tx(|tx| job::insert_plan(tx, None, Some(project), 10, &chain(&["a", "z"])));
    bench.finish(&bench.lease_one(), Finish::Skipped { reason: "nothing".to_owned() });
    assert_eq!(bench.job(ids[1]).state, JobState::Ready);
}

/// Two runs whose jobs want the same step: the first makes it, the second waits.
struct Flight {
    bench: Bench,
    maker: job::Lease,
    waiter: job::Lease,
    waiting_run: gristmill_model::RunId,
}

fn flight() -> Flight {
    let (bench, project) = Bench::with_project(9);
    bench.run(project, &chain(&["maker", "after"]));
    let maker = bench.lease_one();
    let waiting_run = bench.run(project, &chain(&["waiter", "behind"]));
    let waiter = bench.lease_one();
    let begin = |lease: &job::Lease| bench.tx(|tx| step::begin(tx, digest("k"), lease.job, lease.run));
    assert_eq!(begin(&maker), Begin::Make);
    assert_eq!(begin(&waiter), Begin::Wait(maker.job));
    assert_eq!(bench.finish(&waiter, Finish::WaitFor { job: maker.job }), JobState::Blocked);
    assert_eq!(bench.states(waiting_run), "behind:blocked waiter:blocked");
    assert_eq!(bench.run_row(waiting_run).jobs_left, 2);
    let attempts = bench.tx(|tx| job::attempts(tx, waiter.job, 1));
    assert_eq!(attempts[0].result.as_deref(), Some("deferred"));
    bench.db.take_woken();
    Flight { bench, maker, waiter, waiting_run }
}

impl Flight {
    /// The waiter went on at once, at no cost.
    fn check_released(&self) {
        let row = self.bench.job(self.waiter.job);
        assert_eq!((row.state, row.tries, row.not_before), (JobState::Ready, 0, row.created));
        assert_eq!(row.deps_left, 0);
        assert!(self.bench.db.take_woken());
    }
}

#[test]
fn a_wait_ends_when_the_maker_succeeds() {
    let flight = flight();
    flight.bench.advance(9);
    flight.bench.finish(&flight.maker, succeeded());
    flight.check_released();
}

#[test]
fn a_wait_ends_when_the_maker_fails_and_the_failure_is_not_the_waiters() {
    let flight = flight();
    flight.bench.finish(&flight.maker, failed("no"));
    flight.check_released();
    assert_eq!(flight.bench.run_row(flight.waiting_run).state, RunState::Running);
}

#[test]
fn a_wait_ends_when_the_maker_tries_again_later() {
    let flight = flight();
    flight.bench.finish(&flight.maker, retry("later"));
    flight.check_released();
    let waiter = flight.bench.lease_one();
    let begun = flight.bench.tx(|tx| step::begin(tx, digest("k"), waiter.job, waiter.run));
    assert_eq!(begun, Begin::Make, "the waiter makes it now");
}

#[test]
fn a_wait_ends_when_the_maker_is_released_lost_skipped_or_cancelled() {
    let released = flight();
    released.bench.tx(|tx| job::release(tx, released.maker.job, released.maker.attempt));
    released.check_released();
    let lost = flight();
    lost.bench.advance(20_001);
    lost.bench.tx(|tx| crate::bench::rescue(tx, 9));
    lost.check_released();
    let skipped = flight();
    skipped.bench.finish(&skipped.maker, Finish::Skipped { reason: "nothing".to_owned() });
    skipped.check_released();
    let cancelled = flight();
    cancelled.bench.tx(|tx| run::cancel(tx, cancelled.maker.run.unwrap(), "enough", None));
    cancelled.check_released();
}

#[test]
fn nobody_waits_for_a_job_that_has_ended() {
    let (bench, project) = Bench::with_project(9);
    bench.run(project, &jobs(&["maker"]));
    let maker = bench.lease_one();
    bench.run(project, &jobs(&["waiter"]));
    let waiter = bench.lease_one();
    // It ends between the question and the wait.
    bench.finish(&maker, succeeded());
    assert_eq!(bench.finish(&waiter, Finish::WaitFor { job: maker.job }), JobState::Ready);
    let row = bench.job(waiter.job);
    assert_eq!((row.tries, row.not_before), (0, Timestamp(START)));
}

#[test]
fn a_wait_that_was_cancelled_stays_so_when_the_maker_ends() {
    let flight = flight();
    flight.bench.tx(|tx| run::cancel(tx, flight.waiting_run, "enough", None));
    flight.bench.finish(&flight.maker, succeeded());
    assert_eq!(flight.bench.states(flight.waiting_run), "behind:cancelled waiter:cancelled");
}
