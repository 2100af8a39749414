//! Whose turn it is.

use gristmill_db::run::{self, NewRun};
use gristmill_db::{due, job};

use crate::bench::{Bench, chain, jobs, succeeded};

#[test]
fn older_runs_are_finished_before_younger_ones_go_on() {
    let (bench, project) = Bench::with_project(1);
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(bench.run(project, &chain(&["a", "b", "c"])));
        bench.advance(1);
    }
    let mut order = Vec::new();
    while let [lease] = bench.lease(1).as_slice() {
        let run = runs.iter().position(|run| lease.run == Some(*run)).unwrap();
        order.push(format!("{}{run}", lease.kind));
        bench.finish(lease, succeeded());
        bench.advance(1);
    }
    assert_eq!(order.join(" "), "a0 b0 c0 a1 b1 c1 a2 b2 c2");
}

#[test]
fn who_lets_others_go_first_has_its_turn_in_time() {
    let (bench, project) = Bench::with_project(1);
    let polled = NewRun { cause: "poll".to_owned(), ..Bench::new_run(project, 1, None) };
    let polled = bench.tx(|tx| run::create(tx, &polled, &jobs(&["a"]), false));
    let raise = |max| bench.tx(|tx| job::raise(tx, max));
    bench.advance(19_999);
    assert_eq!(raise(9), 0);
    assert!(bench.tx(due::patient_jobs));
    bench.advance(1);
    let hooked = bench.run(project, &jobs(&["a"]));
    assert_eq!(raise(0), 0);
    assert_eq!(raise(9), 1);
    assert_eq!(raise(9), 0);
    assert!(!bench.tx(due::patient_jobs));
    let first = bench.lease_one();
    assert_eq!(first.run, Some(polled), "it waited for longer");
    bench.finish(&first, succeeded());
    assert_eq!(bench.lease_one().run, Some(hooked));
}
