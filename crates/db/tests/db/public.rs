//! What everybody may know of runs that came to nothing.

use gristmill_db::job::{self, Finish, Rescue};
use gristmill_db::run;
use gristmill_model::retry::ATTEMPTS_MAX;
use gristmill_model::{PublicEnd, PublicReason, RunState};

use crate::bench::{Bench, boot, jobs, retry, succeeded};

/// Longer than any wait before the next attempt, in milliseconds.
const NEXT_MS: i64 = 400_000;

fn failed(reason: &str, public: Option<PublicReason>) -> Finish {
    Finish::Failed { reason: reason.to_owned(), public }
}

#[test]
fn the_first_reason_stays_whether_it_is_for_everybody_or_not() {
    for (first, second, told) in [
        (Some(PublicReason::NotLetIn), Some(PublicReason::Moved), Some(PublicReason::NotLetIn)),
        (Some(PublicReason::NotLetIn), None, Some(PublicReason::NotLetIn)),
        // The second is not why the run came to nothing.
        (None, Some(PublicReason::Moved), None),
        (None, None, None),
    ] {
        let (bench, project) = Bench::with_project(2);
        let id = bench.run(project, &jobs(&["a", "b"]));
        let leases = bench.lease(2);
        bench.finish(&leases[0], failed("10.1.2.3", first));
        assert_eq!(bench.run_row(id).public, PublicEnd::at_once(told));
        bench.finish(&leases[1], failed("10.4.5.6", second));
        let row = bench.run_row(id);
        assert_eq!((row.state, row.public), (RunState::Failed, PublicEnd::at_once(told)));
        assert_eq!(row.reason.as_deref(), Some("10.1.2.3"));
    }
}

#[test]
fn what_was_given_up_tells_after_how_many_attempts() {
    for public in [Some(PublicReason::NotReached), None] {
        let (bench, project) = Bench::with_project(1);
        let id = bench.run(project, &jobs(&["a"]));
        for _ in 0..ATTEMPTS_MAX {
            assert_eq!(bench.run_row(id).public, PublicEnd::default());
            let again = Finish::Retry { reason: "no".to_owned(), public, after: None, within: None };
            bench.finish(&bench.lease_one(), again);
            bench.advance(NEXT_MS);
        }
        let attempts = Some(u32::try_from(ATTEMPTS_MAX).unwrap());
        assert_eq!(bench.run_row(id).public, PublicEnd { why: public, attempts });
    }
}

#[test]
fn a_run_whose_workers_were_lost_says_so() {
    let (bench, project) = Bench::with_project(1);
    let id = bench.run(project, &jobs(&["a"]));
    for _ in 0..ATTEMPTS_MAX {
        assert_eq!(bench.lease(1).len(), 1);
        bench.tx(|tx| job::rescue(tx, &Rescue::OtherBoots(boot(99)), 9));
        bench.advance(NEXT_MS);
    }
    let why = Some(PublicReason::WorkerLost);
    assert_eq!(
        bench.run_row(id).public,
        PublicEnd { why, attempts: Some(u32::try_from(ATTEMPTS_MAX).unwrap()) }
    );
}

#[test]
fn what_was_mended_is_not_told() {
    let (bench, project) = Bench::with_project(1);
    let id = bench.run(project, &jobs(&["a"]));
    bench.finish(&bench.lease_one(), retry("no"));
    bench.advance(NEXT_MS);
    bench.finish(&bench.lease_one(), succeeded());
    let row = bench.run_row(id);
    assert_eq!((row.state, row.public), (RunState::Succeeded, PublicEnd::default()));
}

#[test]
fn a_cancelled_run_tells_by_whom() {
    let (bench, project) = Bench::with_project(1);
    for public in [Some(PublicReason::CancelledByPerson), Some(PublicReason::Purged), None] {
        let id = bench.run(project, &jobs(&["a"]));
        bench.tx(|tx| run::cancel(tx, id, "enough", public));
        assert_eq!(bench.run_row(id).public, PublicEnd::at_once(public));
    }
}
