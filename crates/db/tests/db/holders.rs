//! Holders of keys.

use std::cell::Cell;
use std::time::Duration;

use gristmill_db::publication::{self, Holder};
use gristmill_model::{JobId, ObjectKey, Timestamp};

use crate::bench::Bench;

fn key() -> ObjectKey {
    "main.zip".parse().unwrap()
}

#[test]
fn a_key_has_one_holder_at_a_time() {
    let (bench, _) = Bench::with_project(1);
    let (first, second) = (JobId::new(Timestamp(1), 1), JobId::new(Timestamp(1), 2));
    // By one who has watched all the time; what the clock says meanwhile is of no account.
    let began = Cell::new(0_i64);
    let hold = |job, attempt, ms| {
        let stood = |_: &Holder| Duration::from_millis(bench.now_ms().abs_diff(began.get()));
        let held =
            bench.tx(|tx| publication::hold(tx, &key(), (job, attempt), Duration::from_millis(ms), stood));
        if held.is_none() {
            began.set(bench.now_ms());
        }
        held
    };
    assert_eq!(hold(first, 1, 1_000), None);
    bench.advance(400);
    assert_eq!(hold(second, 1, 1_000), Some(Duration::from_millis(600)));
    assert_eq!(
        hold(first, 2, 1_000),
        Some(Duration::from_millis(600)),
        "an earlier attempt may be at it still"
    );
    assert_eq!(hold(first, 1, 1_000), None, "it holds on");
    bench.advance(999);
    assert_eq!(hold(second, 1, 1_000), Some(Duration::from_millis(1)));
    bench.advance(1);
    assert_eq!(hold(second, 1, 1_000), None);
    bench.tx(|tx| publication::let_go(tx, &key(), first));
    assert_eq!(hold(first, 2, 1_000), Some(Duration::from_secs(1)), "only its holder lets a key go");
    bench.tx(|tx| publication::let_go(tx, &key(), second));
    assert_eq!(hold(first, 2, 1_000), None);
    let other: ObjectKey = "other.zip".parse().unwrap();
    assert_eq!(
        bench.tx(|tx| publication::hold(tx, &other, (second, 1), Duration::from_secs(1), |_| Duration::ZERO)),
        None
    );
    bench.tx(publication::let_all_go);
    assert_eq!(hold(first, 3, 9_000), None);
    bench.advance(2_000);
    let left = Some(Duration::from_secs(7));
    assert_eq!(
        hold(second, 8, 1_000),
        left,
        "as long as the holder's own request may take, not the next one's"
    );
    bench.tx(publication::let_all_go);
    assert_eq!(hold(second, 9, 1), None);
}
