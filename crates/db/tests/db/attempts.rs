//! Attempts that end badly: waits between them, and when a job is given up.

use std::time::Duration;

use gristmill_db::job;
use gristmill_model::retry::ATTEMPTS_MAX;
use gristmill_model::{JobState, RunState, Timestamp};

use crate::bench::{Bench, START, chain, jobs, retry};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_retry_waits_longer_each_time() {
    let (bench, project) = Bench::with_project(5);
    bench.run(project, &jobs(&["a"]));
    for (tries, longest) in [(1, 1_000), (2, 2_000), (3, 4_000), (4, 8_000)] {
        let lease = bench.lease_one();
        assert_eq!(bench.finish(&lease, retry("the network")), JobState::Ready);
        let row = bench.job(lease.job);
        let wait = row.not_before.0 - bench.tx(|tx| Ok(tx.now().0));
        assert!((longest / 2..=longest).contains(&wait), "{wait} after {tries}");
        assert_eq!(row.tries, tries);
        bench.advance(wait - 1);
        assert_eq!(bench.lease(1).len(), 0);
        bench.advance(1);
    }
    let lease = bench.lease_one();
    let attempts = bench.tx(|tx| job::attempts(tx, lease.job, 3));
    assert_eq!(attempts.iter().map(|attempt| attempt.attempt).collect::<Vec<_>>(), [5, 4, 3]);
    assert_eq!(attempts[1].result.as_deref(), Some("retry"));
    assert_eq!(attempts[1].reason.as_deref(), Some("the network"));
}

#[test]
fn a_retry_waits_no_shorter_than_it_is_told() {
    let (bench, project) = Bench::with_project(5);
    bench.run(project, &jobs(&["a"]));
    let lease = bench.lease_one();
    let after = Some(seconds(90));
    bench
        .finish(&lease, job::Finish::Retry { reason: "later".to_owned(), public: None, after, within: None });
    assert_eq!(bench.job(lease.job).not_before, Timestamp(START + 90_000));
    bench.advance(90_000);
    let lease = bench.lease_one();
    let after = Some(Duration::from_millis(1));
    bench
        .finish(&lease, job::Finish::Retry { reason: "later".to_owned(), public: None, after, within: None });
    assert!(bench.job(lease.job).not_before >= Timestamp(START + 90_000 + 1_000));
}

#[test]
fn a_retry_waits_no_longer_than_it_is_told_but_counts() {
    let (bench, project) = Bench::with_project(5);
    bench.run(project, &jobs(&["a"]));
    for tries in 1..=9 {
        let lease = bench.lease_one();
        let before = bench.tx(|tx| Ok(tx.now().0));
        let again = job::Finish::Retry {
            reason: "mended".to_owned(),
            public: None,
            after: None,
            within: Some(seconds(10)),
        };
        bench.finish(&lease, again);
        let row = bench.job(lease.job);
        assert!(row.not_before.0 - before <= 10_000, "{tries}: {:?}", row.not_before);
        assert_eq!(row.tries, tries);
        bench.advance(10_000);
    }
}

#[test]
fn a_job_is_given_up_after_so_many_bad_ends() {
    let (bench, project) = Bench::with_project(5);
    let run = bench.run(project, &chain(&["a", "b"]));
    for tries in 1..=ATTEMPTS_MAX {
        let lease = bench.lease_one();
        let state = bench.finish(&lease, retry("never works"));
        let expected = if tries == ATTEMPTS_MAX { JobState::Dead } else { JobState::Ready };
        assert_eq!(state, expected, "after {tries}");
        bench.advance(300_000);
    }
    let a = &bench.jobs(run)["a"];
    assert_eq!((a.state, a.tries), (JobState::Dead, 40));
    assert_eq!(a.reason.as_deref(), Some("given up after 40 attempts: never works"));
    assert_eq!(bench.states(run), "a:dead b:cancelled");
    let row = bench.run_row(run);
    assert_eq!((row.state, row.jobs_left), (RunState::Failed, 0));
    assert_eq!(row.reason.as_deref(), Some("given up after 40 attempts: never works"));
    assert_eq!(bench.lease(1).len(), 0);
}

#[test]
fn a_job_that_takes_its_workers_down_is_given_up_too() {
    let (bench, project) = Bench::with_project(5);
    let run = bench.run(project, &jobs(&["a"]));
    for _ in 0..ATTEMPTS_MAX {
        bench.lease_one();
        bench.advance(320_001);
        assert_eq!(bench.tx(|tx| crate::bench::rescue(tx, 10)), 1);
        bench.advance(300_000);
    }
    let a = &bench.jobs(run)["a"];
    assert_eq!(a.state, JobState::Dead);
    assert_eq!(a.reason.as_deref(), Some("given up after 40 attempts: its worker was lost too often"));
    assert_eq!(bench.run_row(run).state, RunState::Failed);
}

#[test]
fn losses_do_not_lengthen_the_wait_after_a_failure() {
    let (bench, project) = Bench::with_project(5);
    bench.run(project, &jobs(&["a"]));
    for _ in 0..9 {
        bench.lease_one();
        bench.advance(20_001);
        assert_eq!(bench.tx(|tx| crate::bench::rescue(tx, 10)), 1);
        bench.advance(10_000);
    }
    let lease = bench.lease_one();
    let before = bench.tx(|tx| Ok(tx.now().0));
    bench.finish(&lease, retry("no answer"));
    let row = bench.job(lease.job);
    assert_eq!((row.tries, row.losses), (1, 9));
    assert!((500..=1_000).contains(&(row.not_before.0 - before)), "{:?}", row.not_before);
}

fn deferred(wait: u64) -> job::Finish {
    job::Finish::Deferred { reason: "not its turn".to_owned(), wait: seconds(wait) }
}

#[test]
fn deferring_costs_no_attempt() {
    let (bench, project) = Bench::with_project(5);
    bench.run(project, &jobs(&["a"]));
    for _ in 0..ATTEMPTS_MAX + 2 {
        let lease = bench.lease_one();
        let before = bench.tx(|tx| Ok(tx.now().0));
        assert_eq!(bench.finish(&lease, deferred(3)), JobState::Ready);
        let row = bench.job(lease.job);
        assert_eq!((row.tries, row.not_before), (0, Timestamp(before + 3_000)));
        bench.advance(3_000);
    }
    let lease = bench.lease_one();
    let attempts = bench.tx(|tx| job::attempts(tx, lease.job, 2));
    assert_eq!(attempts[1].result.as_deref(), Some("deferred"));
    assert_eq!(attempts[1].reason.as_deref(), Some("not its turn"));
}
