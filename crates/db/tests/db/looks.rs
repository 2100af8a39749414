//! Looks: hints add up to one; dead letters and how they come back.

use gristmill_db::job::{self, PRIORITY_HOOK, PRIORITY_POLL};
use gristmill_db::request::{self, BuildRequest};
use gristmill_db::{delivery, due, project};
use gristmill_model::{DeliveryState, JobState, ProjectId, Timestamp};

use crate::bench::{Bench, START, delivery as webhook, failed, jobs, retry, spec, succeeded};

fn ask(bench: &Bench, project: ProjectId, priority: i64) {
    bench.tx(|tx| job::ask_for_look(tx, project, priority));
}

#[test]
fn hints_add_up_to_one_look() {
    let (bench, project) = Bench::with_project(1);
    ask(&bench, project, PRIORITY_HOOK);
    ask(&bench, project, PRIORITY_HOOK);
    ask(&bench, project, PRIORITY_POLL);
    let leases = bench.lease(9);
    assert_eq!(leases.len(), 1);
    assert_eq!((leases[0].kind.as_str(), leases[0].run, leases[0].project), ("look", None, Some(project)));
}

#[test]
fn a_look_that_runs_may_have_asked_already_so_that_one_more_waits() {
    let (bench, project) = Bench::with_project(1);
    ask(&bench, project, PRIORITY_HOOK);
    let first = bench.lease_one();
    ask(&bench, project, PRIORITY_HOOK);
    ask(&bench, project, PRIORITY_HOOK);
    assert_eq!(bench.lease(9).len(), 0, "two looks at one remote never overlap");
    bench.finish(&first, succeeded());
    assert_eq!(bench.lease(9).len(), 1);
    assert_eq!(bench.lease(9).len(), 0);
}

#[test]
fn looks_at_two_remotes_run_side_by_side() {
    let bench = Bench::new();
    let ids = bench.import(&[spec("acme/a", 1), spec("acme/b", 1)]);
    ask(&bench, ids[0], PRIORITY_HOOK);
    ask(&bench, ids[1], PRIORITY_HOOK);
    assert_eq!(bench.lease(9).len(), 2);
}

#[test]
fn a_hook_makes_a_polled_look_urgent() {
    let bench = Bench::new();
    let ids = bench.import(&[spec("acme/a", 9), spec("acme/b", 1)]);
    ask(&bench, ids[1], PRIORITY_POLL);
    bench.advance(1);
    bench.run(ids[0], &jobs(&["built"]));
    bench.advance(1);
    ask(&bench, ids[1], PRIORITY_HOOK);
    assert_eq!(bench.kinds(9), ["look", "built"], "it kept its place in time");
    ask(&bench, ids[0], PRIORITY_HOOK);
    ask(&bench, ids[0], PRIORITY_POLL);
    bench.polled(ids[0], &jobs(&["polled"]));
    assert_eq!(bench.kinds(1), ["look"], "a poll makes no hook's look less urgent");
}

#[test]
fn a_hint_brings_a_failed_look_forward_but_not_at_once() {
    let (bench, project) = Bench::with_project(1);
    ask(&bench, project, PRIORITY_HOOK);
    let mut lease = bench.lease_one();
    for _ in 0..6 {
        bench.finish(&lease, retry("no answer"));
        bench.advance(300_000);
        lease = bench.lease_one();
    }
    bench.finish(&lease, retry("no answer"));
    let now = START + 6 * 300_000;
    assert!(bench.job(lease.job).not_before > Timestamp(now + 30_000));
    ask(&bench, project, PRIORITY_HOOK);
    assert_eq!(bench.job(lease.job).not_before, Timestamp(now + 1_000));
    bench.advance(400);
    ask(&bench, project, PRIORITY_HOOK);
    assert_eq!(bench.job(lease.job).not_before, Timestamp(now + 1_000), "it is not put off again");
}

#[test]
fn a_look_that_failed_leaves_its_work_to_the_one_that_waits() {
    let (bench, project) = Bench::with_project(1);
    ask(&bench, project, PRIORITY_HOOK);
    let first = bench.lease_one();
    ask(&bench, project, PRIORITY_HOOK);
    assert_eq!(bench.finish(&first, retry("no answer")), JobState::Cancelled);
    let row = bench.job(first.job);
    assert_eq!((row.reason.as_deref(), row.tries), (Some("another one waits already"), 1));
    assert_eq!(row.finished, Some(Timestamp(START)));
    // The one that waits does not go to a remote at once that has just not answered.
    bench.advance(499);
    assert_eq!(bench.lease(9).len(), 0);
    bench.advance(501);
    assert_eq!(bench.lease(9).len(), 1, "after a second at the latest, however often it failed");
}

#[test]
fn what_waits_without_a_look_gets_one() {
    let bench = Bench::new();
    let ids = bench.import(&[spec("acme/a", 1), spec("acme/b", 1), spec("acme/c", 1)]);
    let seen = |limit| bench.tx(|tx| job::look_where_waiting(tx, limit));
    assert_eq!(seen(9), 0, "nothing waits");
    bench.tx(|tx| delivery::accept(tx, ids[0], &webhook("d1", "{}")));
    let build = BuildRequest { cause: "manual".to_owned(), ..BuildRequest::default() };
    bench.tx(|tx| request::add(tx, ids[1], &build));
    assert_eq!(seen(9), 0, "both have a look that is ready");
    let looks = bench.lease(9);
    assert_eq!(looks.len(), 2);
    assert_eq!(seen(9), 0, "both have a look that runs");
    for look in &looks {
        bench.finish(look, failed("given up"));
    }
    assert_eq!(seen(1), 1);
    assert_eq!(seen(9), 1);
    assert_eq!(seen(9), 0);
    let looks = bench.lease(9);
    assert_eq!(looks.len(), 2);
    for look in &looks {
        bench.finish(look, failed("given up"));
    }
    let waiting = bench.tx(|tx| delivery::waiting(tx, ids[0], 9, i64::MAX)).0.remove(0);
    bench.tx(|tx| delivery::settle(tx, waiting.id, &[], DeliveryState::Ignored, Some("x")));
    bench.tx(|tx| request::take(tx, ids[1]));
    assert_eq!(seen(9), 0, "nothing waits any more");
}

#[test]
fn disabled_projects_are_not_looked_at() {
    let bench = Bench::new();
    let ids = bench.import(&[spec("acme/a", 1)]);
    bench.tx(|tx| delivery::accept(tx, ids[0], &webhook("d1", "{}")));
    bench.finish(&bench.lease_one(), failed("given up"));
    bench.import(&[]);
    assert_eq!(bench.tx(|tx| job::look_where_waiting(tx, 9)), 0);
    bench.import(&[spec("acme/a", 1)]);
    assert_eq!(bench.kinds(9), ["look"], "coming back, it is looked at: the delivery waits, polled or not");
}

#[test]
fn looks_that_are_over_are_forgotten_in_time() {
    let (bench, project) = Bench::with_project(1);
    ask(&bench, project, PRIORITY_HOOK);
    let over = bench.lease_one();
    bench.finish(&over, succeeded());
    let run = bench.run(project, &jobs(&["a"]));
    bench.finish(&bench.lease_one(), succeeded());
    bench.advance(1_000);
    ask(&bench, project, PRIORITY_HOOK);
    let running = bench.lease_one();
    ask(&bench, project, PRIORITY_HOOK);
    assert_eq!(bench.tx(|tx| job::expire(tx, Timestamp(START), 9)), 0);
    assert_eq!(bench.tx(|tx| job::attempts(tx, over.job, 9)).len(), 1);
    assert_eq!(bench.tx(|tx| job::expire(tx, Timestamp(START + 1), 9)), 1);
    assert_eq!(bench.tx(|tx| job::attempts(tx, over.job, 9)).len(), 0);
    assert!(bench.tx(|tx| job::by_id(tx, over.job)).is_none());
    assert_eq!(bench.tx(|tx| job::expire(tx, Timestamp(i64::MAX), 9)), 0, "jobs of runs and open ones stay");
    assert!(bench.holds(&running));
    assert_eq!(bench.jobs(run).len(), 1);
}

#[test]
fn cheap_questions_have_exact_answers() {
    let mut polled = spec("acme/a", 1);
    polled.poll_seconds = 60;
    let bench = Bench::new();
    assert!(!bench.tx(due::work) && !bench.tx(due::polls));
    let ids = bench.import(&[polled]);
    assert!(bench.tx(due::polls));
    assert_eq!(bench.tx(|tx| project::poll_due(tx, 9)), 1);
    assert!(!bench.tx(due::polls));
    assert!(bench.tx(due::work), "the look is ready");
    let lease = bench.lease_one();
    assert!(bench.tx(due::work), "the look runs");
    bench.advance(20_001);
    bench.finish(&lease, retry("no answer"));
    assert!(!bench.tx(due::work), "it only waits out a failure");
    bench.advance(1_000);
    assert!(bench.tx(due::work));
    bench.finish(&bench.lease_one(), succeeded());
    bench.advance(38_998);
    assert!(!bench.tx(due::polls), "59.999 s after the one before");
    bench.advance(1);
    assert!(bench.tx(due::polls));
    let _ = ids;
}
