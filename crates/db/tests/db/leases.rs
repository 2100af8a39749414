//! Leases: order, limits, heartbeats, fencing, rescue.

use std::time::Duration;

use gristmill_db::job::{self, FinishError, LEASE, Place, Rescue};
use gristmill_db::run;
use gristmill_model::{JobState, Plan, RunState, Timestamp};

use crate::bench::{Bench, START, boot, chain, failed, jobs, retry, spec, succeeded};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_lease_tells_what_there_is_to_do() {
    let (bench, project) = Bench::with_project(5);
    let run = bench.run(project, &jobs(&["a"]));
    let lease = bench.lease_one();
    assert_eq!((lease.kind.as_str(), lease.payload.as_str()), ("a", "{\"of\":\"a\"}"));
    assert_eq!((lease.attempt, lease.tries), (1, 0));
    assert_eq!((lease.run, lease.project), (Some(run), Some(project)));
    let row = bench.job(lease.job);
    assert_eq!(
        (row.state, row.attempt, row.run, row.project),
        (JobState::Leased, 1, Some(run), Some(project))
    );
    assert_eq!(bench.run_row(run).state, RunState::Running);
    assert_eq!(bench.run_row(run).started, Some(Timestamp(START)));
    let attempts = bench.tx(|tx| job::attempts(tx, lease.job, 10));
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].attempt, attempts[0].boot, attempts[0].started), (1, boot(1), Timestamp(START)));
    assert_eq!((attempts[0].ended, attempts[0].result.as_deref()), (None, None));
}

#[test]
fn the_started_time_of_a_run_is_that_of_its_first_job() {
    let (bench, project) = Bench::with_project(5);
    let run = bench.run(project, &jobs(&["a", "b"]));
    bench.lease_one();
    bench.advance(7);
    bench.lease_one();
    assert_eq!(bench.run_row(run).started, Some(Timestamp(START)));
}

#[test]
fn no_more_than_asked_for_are_leased() {
    let (bench, project) = Bench::with_project(50);
    bench.run(project, &jobs(&["a", "b", "c"]));
    assert_eq!(bench.lease(0).len(), 0);
    assert_eq!(bench.lease(2).len(), 2);
    assert_eq!(bench.lease(9).len(), 1);
    assert_eq!(bench.lease(9).len(), 0);
}

#[test]
fn priority_goes_before_age_and_age_before_the_rest() {
    let (bench, project) = Bench::with_project(50);
    bench.polled(project, &jobs(&["polled"]));
    bench.advance(5);
    bench.run(project, &jobs(&["first"]));
    bench.advance(5);
    bench.run(project, &jobs(&["second"]));
    assert_eq!(bench.kinds(2), ["first", "second"]);
    assert_eq!(bench.kinds(2), ["polled"]);
}

#[test]
fn a_delayed_job_is_leased_at_its_time_and_not_a_millisecond_before() {
    let (bench, project) = Bench::with_project(5);
    let mut plan = jobs(&["a"]);
    plan.jobs[0].delay = Duration::from_millis(1_500);
    bench.run(project, &plan);
    assert_eq!(bench.tx(job::next_due), Some(Timestamp(START + 1_500)));
    bench.advance(1_499);
    assert_eq!(bench.lease(1).len(), 0);
    bench.advance(1);
    assert_eq!(bench.lease(1).len(), 1);
    assert_eq!(bench.tx(job::next_due), None);
}

#[test]
fn the_next_due_job_is_found_over_all_priorities() {
    let (bench, project) = Bench::with_project(5);
    let late = |ms: u64| {
        let mut plan = jobs(&["a"]);
        plan.jobs[0].delay = Duration::from_millis(ms);
        plan
    };
    assert_eq!(bench.tx(job::next_due), None);
    bench.run(project, &late(900));
    bench.polled(project, &late(300));
    assert_eq!(bench.tx(job::next_due), Some(Timestamp(START + 300)));
    bench.run(project, &late(100));
    assert_eq!(bench.tx(job::next_due), Some(Timestamp(START + 100)));
}

#[test]
fn a_project_never_has_more_jobs_leased_than_it_may() {
    let (bench, project) = Bench::with_project(2);
    bench.run(project, &jobs(&["a", "b", "c", "d"]));
    let leases = bench.lease(10);
    assert_eq!(leases.len(), 2);
    assert_eq!(bench.lease(10).len(), 0);
    bench.finish(&leases[0], succeeded());
    assert_eq!(bench.lease(10).len(), 1);
    assert_eq!(bench.lease(10).len(), 0);
}

#[test]
fn a_limit_that_changes_counts_from_the_next_lease_on() {
    let bench = Bench::new();
    let ids = bench.import(&[spec("acme/a", 3)]);
    bench.run(ids[0], &jobs(&["a", "b", "c", "d", "e", "f"]));
    let leases = bench.lease(10);
    assert_eq!(leases.len(), 3);
    bench.import(&[spec("acme/a", 1)]);
    bench.finish(&leases[0], succeeded());
    bench.finish(&leases[1], succeeded());
    assert_eq!(bench.lease(10).len(), 0);
    bench.finish(&leases[2], succeeded());
    assert_eq!(bench.lease(10).len(), 1);
    bench.import(&[spec("acme/a", 3)]);
    assert_eq!(bench.lease(10).len(), 2);
}

#[test]
fn a_full_project_holds_nobody_else_up() {
    let bench = Bench::new();
    let ids = bench.import(&[spec("acme/a", 1), spec("acme/b", 2)]);
    bench.run(ids[0], &jobs(&["a1", "a2"]));
    bench.advance(1);
    bench.run(ids[1], &jobs(&["b"]));
    bench.tx(|tx| job::ask_for_look(tx, ids[0], job::PRIORITY_HOOK));
    let kinds = bench.kinds(10);
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    assert!(kinds[0].starts_with('a') && kinds[1..].contains(&"b".to_owned()), "{kinds:?}");
    assert!(kinds.contains(&"look".to_owned()), "looks are not limited: {kinds:?}");
}

/// More jobs of a full project than are read from the front of the queue at once.
#[test]
fn a_long_queue_of_a_full_project_holds_nobody_else_up() {
    let bench = Bench::new();
    let ids = bench.import(&[spec("acme/a", 2), spec("acme/b", 3), spec("acme/c", 9)]);
    let many: Vec<String> = (0..100).map(|index| format!("a{index}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    bench.run(ids[0], &jobs(&many));
    for (index, kind) in ["b1", "c1", "b2", "b3", "b4", "c2"].into_iter().enumerate() {
        bench.advance(1);
        bench.run(ids[1 + usize::from(index % 2 == 1)], &jobs(&[kind]));
        let _ = kind;
    }
    bench.advance(1);
    bench.tx(|tx| job::ask_for_look(tx, ids[0], job::PRIORITY_HOOK));
    bench.polled(ids[2], &jobs(&["polled"]));
    let kinds = bench.kinds(6);
    assert!(kinds[0].starts_with('a') && kinds[1].starts_with('a'), "{kinds:?}");
    assert_eq!(kinds[2..], ["b1", "c1", "b2", "b3"]);
    assert_eq!(bench.kinds(1), ["b4"], "the limit is per project; this one is acme/c's");
    assert_eq!(bench.kinds(9), ["c2", "look", "polled"]);
    assert_eq!(bench.lease(9).len(), 0);
}

/// The kinds of the jobs that are leased for a place.
fn kinds_for(bench: &Bench, place: Place, max: usize) -> Vec<String> {
    let leases = bench.tx(|tx| job::lease_for(tx, boot(1), place, max, &[]));
    leases.into_iter().map(|lease| lease.kind).collect()
}

#[test]
fn places_are_kept_for_looks_and_for_runs() {
    let bench = Bench::new();
    let many: Vec<_> = (0..70).map(|index| spec(&format!("acme/p{index:02}"), 9)).collect();
    let ids = bench.import(&many);
    for id in &ids {
        bench.tx(|tx| job::ask_for_look(tx, *id, job::PRIORITY_HOOK));
    }
    bench.advance(1);
    bench.run(ids[0], &jobs(&["a", "b"]));
    bench.polled(ids[0], &jobs(&["polled"]));
    bench.tx(|tx| job::ask_for_look(tx, ids[1], job::PRIORITY_POLL));
    assert_eq!(kinds_for(&bench, Place::Run, 0), [""; 0]);
    assert_eq!(kinds_for(&bench, Place::Run, 9), ["a", "b", "polled"], "behind a page full of looks");
    assert_eq!(kinds_for(&bench, Place::Run, 9), [""; 0]);
    assert_eq!(kinds_for(&bench, Place::Alone, 3), ["look"; 3]);
    bench.run(ids[2], &jobs(&["c", "d"]));
    assert_eq!(kinds_for(&bench, Place::Alone, 99), ["look"; 67]);
    assert_eq!(kinds_for(&bench, Place::Alone, 99), [""; 0]);
    assert_eq!(kinds_for(&bench, Place::Any, 99), ["c", "d"]);
}

#[test]
fn a_place_for_runs_keeps_to_the_limits() {
    let (bench, project) = Bench::with_project(2);
    bench.run(project, &jobs(&["a", "b", "c"]));
    assert_eq!(kinds_for(&bench, Place::Run, 9), ["a", "b"]);
    assert_eq!(kinds_for(&bench, Place::Run, 9), [""; 0]);
}

#[test]
fn a_place_for_one_kind_reads_past_all_others() {
    let (bench, project) = Bench::with_project(3);
    for _ in 0..70 {
        bench.run(project, &jobs(&["other"]));
    }
    bench.run(project, &jobs(&["a", "a", "a", "a"]));
    bench.tx(|tx| job::ask_for_look(tx, project, job::PRIORITY_HOOK));
    assert_eq!(kinds_for(&bench, Place::Only("a"), 2), ["a"; 2]);
    assert_eq!(kinds_for(&bench, Place::Only("a"), 9), ["a"], "the limit of the project");
    assert_eq!(kinds_for(&bench, Place::Only("b"), 9), [""; 0]);
}

#[test]
fn leases_taken_from_the_front_count_against_the_limit() {
    let bench = Bench::new();
    let ids = bench.import(&[spec("acme/a", 70), spec("acme/b", 1)]);
    let many: Vec<String> = (0..80).map(|index| format!("a{index}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    bench.run(ids[0], &jobs(&many));
    bench.advance(1);
    bench.run(ids[1], &jobs(&["b1", "b2"]));
    let kinds = bench.kinds(200);
    assert_eq!(kinds.len(), 71);
    assert_eq!(kinds.iter().filter(|kind| kind.starts_with('b')).count(), 1);
}

#[test]
fn a_heartbeat_extends_all_leases_of_its_boot_and_no_others() {
    let (bench, project) = Bench::with_project(5);
    bench.run(project, &jobs(&["a", "b"]));
    let mine = bench.lease_one();
    let other = bench.tx(|tx| job::lease(tx, boot(2), 1)).remove(0);
    bench.advance(20_000);
    assert_eq!(bench.tx(|tx| job::heartbeat(tx, boot(1))), [(mine.job, mine.attempt)]);
    bench.advance(1);
    assert_eq!(bench.tx(|tx| crate::bench::rescue(tx, 10)), 1, "the other boot's is gone");
    assert!(bench.holds(&mine) && !bench.holds(&other));
    bench.advance(19_999);
    assert_eq!(bench.tx(|tx| crate::bench::rescue(tx, 10)), 0);
    bench.advance(1);
    assert_eq!(bench.tx(|tx| crate::bench::rescue(tx, 10)), 1);
    assert_eq!(bench.tx(|tx| job::heartbeat(tx, boot(1))), []);
}

#[test]
fn a_lease_lasts_twenty_seconds_to_the_millisecond() {
    assert_eq!(LEASE, seconds(20));
    let (bench, project) = Bench::with_project(5);
    bench.run(project, &jobs(&["a"]));
    let lease = bench.lease_one();
    bench.advance(20_000);
    assert_eq!(bench.tx(|tx| crate::bench::rescue(tx, 10)), 0);
    assert!(bench.holds(&lease));
    bench.advance(1);
    assert_eq!(bench.tx(|tx| crate::bench::rescue(tx, 10)), 1);
    assert!(!bench.holds(&lease));
    let attempts = bench.tx(|tx| job::attempts(tx, lease.job, 10));
    assert_eq!(attempts[0].result.as_deref(), Some("lost"));
    assert_eq!(attempts[0].reason.as_deref(), Some("its worker is gone"));
    assert_eq!(attempts[0].ended, Some(Timestamp(START + 20_001)));
}

#[test]
fn a_rescued_job_goes_on_at_once_the_first_time_and_later_after_a_wait() {
    let (bench, project) = Bench::with_project(5);
    bench.run(project, &jobs(&["a"]));
    let first = bench.lease_one();
    bench.advance(20_001);
    bench.tx(|tx| crate::bench::rescue(tx, 10));
    let row = bench.job(first.job);
    assert_eq!((row.state, row.losses, row.not_before), (JobState::Ready, 1, Timestamp(START + 20_001)));
    assert_eq!(row.tries, 0);
    let second = bench.lease_one();
    assert_eq!((second.attempt, second.tries), (2, 0));
    bench.advance(20_001);
    bench.tx(|tx| crate::bench::rescue(tx, 10));
    let row = bench.job(first.job);
    let wait = row.not_before.0 - (START + 40_002);
    assert!((500..=1_000).contains(&wait), "{wait}");
    assert_eq!((row.tries, row.losses), (0, 2));
}

#[test]
fn no_more_than_asked_for_are_rescued() {
    let (bench, project) = Bench::with_project(5);
    bench.run(project, &jobs(&["a", "b", "c"]));
    assert_eq!(bench.lease(3).len(), 3);
    bench.advance(20_001);
    assert_eq!(bench.tx(|tx| crate::bench::rescue(tx, 2)), 2);
    assert_eq!(bench.tx(|tx| crate::bench::rescue(tx, 2)), 1);
    assert_eq!(bench.tx(|tx| crate::bench::rescue(tx, 2)), 0);
}

#[test]
fn a_start_takes_the_leases_of_earlier_starts_back_and_leaves_its_own() {
    let (bench, project) = Bench::with_project(5);
    bench.run(project, &jobs(&["a", "b", "c"]));
    let old = bench.lease(2);
    let new = bench.tx(|tx| job::lease(tx, boot(2), 1)).remove(0);
    assert_eq!(bench.tx(|tx| job::rescue(tx, &Rescue::OtherBoots(boot(2)), 1)), 1);
    assert_eq!(bench.tx(|tx| job::rescue(tx, &Rescue::OtherBoots(boot(2)), 9)), 1);
    assert!(bench.holds(&new));
    assert!(old.iter().all(|lease| !bench.holds(lease)));
}

#[test]
fn what_a_zombie_writes_is_refused() {
    let (bench, project) = Bench::with_project(5);
    let run = bench.run(project, &jobs(&["a"]));
    let zombie = bench.lease_one();
    bench.advance(20_001);
    bench.tx(|tx| crate::bench::rescue(tx, 10));
    for how in [succeeded(), failed("no"), retry("no")] {
        assert!(matches!(bench.try_finish(&zombie, how), Err(FinishError::Stale)));
    }
    let next = bench.lease_one();
    assert!(matches!(bench.try_finish(&zombie, succeeded()), Err(FinishError::Stale)));
    bench.tx(|tx| job::release(tx, zombie.job, zombie.attempt));
    assert!(bench.holds(&next), "a zombie gives nothing back that is not its own");
    assert_eq!(bench.finish(&next, succeeded()), JobState::Succeeded);
    assert!(matches!(bench.try_finish(&next, succeeded()), Err(FinishError::Stale)), "once");
    assert_eq!(bench.run_row(run).state, RunState::Succeeded);
}

#[test]
fn a_release_gives_the_job_back_uncounted() {
    let (bench, project) = Bench::with_project(5);
    bench.run(project, &jobs(&["a"]));
    let lease = bench.lease_one();
    bench.tx(|tx| job::release(tx, lease.job, lease.attempt));
    let row = bench.job(lease.job);
    assert_eq!((row.state, row.tries, row.not_before), (JobState::Ready, 0, Timestamp(START)));
    let attempts = bench.tx(|tx| job::attempts(tx, lease.job, 10));
    assert_eq!(attempts[0].result.as_deref(), Some("released"));
    assert_eq!(bench.lease_one().attempt, 2);
}

#[test]
fn cancelling_ends_leases_at_once() {
    let (bench, project) = Bench::with_project(5);
    let run = bench.run(project, &chain(&["a", "b"]));
    let lease = bench.lease_one();
    bench.tx(|tx| run::cancel(tx, run, "enough", None));
    assert!(!bench.holds(&lease));
    assert!(matches!(bench.try_finish(&lease, succeeded()), Err(FinishError::Stale)));
    assert_eq!(bench.states(run), "a:cancelled b:cancelled");
    let attempts = bench.tx(|tx| job::attempts(tx, lease.job, 2));
    assert_eq!(attempts[0].result.as_deref(), Some("cancelled"));
    assert_eq!(attempts[0].reason.as_deref(), Some("enough"));
    assert_eq!(bench.job(lease.job).reason.as_deref(), Some("enough"));
    assert_eq!(bench.job(lease.job).finished, Some(Timestamp(START)));
}

#[test]
fn the_states_are_counted() {
    let (bench, project) = Bench::with_project(1);
    bench.run(project, &jobs(&["a", "b", "c"]));
    bench.run(project, &chain(&["d", "e"]));
    bench.lease_one();
    let counts = bench.tx(job::counts);
    let of = |state| counts.iter().find(|(other, _)| *other == state).map_or(0, |(_, count)| *count);
    assert_eq!((of(JobState::Leased), of(JobState::Ready), of(JobState::Blocked)), (1, 3, 1));
    assert_eq!(of(JobState::Dead), 0);
}

#[test]
fn whoever_waits_is_woken_when_there_is_work() {
    let (bench, project) = Bench::with_project(5);
    bench.db.take_woken();
    bench.run(project, &chain(&["a", "b"]));
    assert!(bench.db.take_woken() && !bench.db.take_woken(), "new jobs");
    let lease = bench.lease_one();
    assert!(!bench.db.take_woken(), "a lease makes no work");
    bench.finish(&lease, succeeded());
    assert!(bench.db.take_woken(), "the next job is ready");
    let lease = bench.lease_one();
    bench.tx(|tx| job::release(tx, lease.job, lease.attempt));
    assert!(bench.db.take_woken(), "a job was given back");
    bench.lease_one();
    bench.tx(|tx| crate::bench::rescue(tx, 10));
    assert!(!bench.db.take_woken(), "nothing was rescued");
    bench.advance(20_001);
    bench.tx(|tx| crate::bench::rescue(tx, 10));
    assert!(bench.db.take_woken(), "a job was rescued");
    let refused = bench.db.transact(|tx| {
        job::insert_plan(tx, None, None, 1, &Plan { jobs: Vec::new(), edges: Vec::new() })?;
        Err::<(), _>(gristmill_db::DbError::Closed)
    });
    assert!(refused.is_err() && !bench.db.take_woken(), "what was taken back wakes nobody");
}
