//! Jumps of the clock: of an hour and of ten years, ahead and back, seen while the program runs or at its start.

use std::time::Duration;

use gristmill_db::clock::{self, Jump};
use gristmill_db::job::{self, LEASE, Rescue};
use gristmill_db::watch::Watch;
use gristmill_db::{blob, due, duty, head, project, publication, run, schedule, told};
use gristmill_model::{Digest, JobId, ProjectId, Timestamp};

use crate::bench::{Bench, boot, chain, commit, jobs, main_branch, retry, spec, succeeded};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const YEARS: i64 = 3_653 * DAY;
/// The jumps that every state must stand: the bar names these.
const JUMPS: [i64; 4] = [HOUR, -HOUR, YEARS, -YEARS];
/// Before nothing happened: a clock that can go back by ten years.
const LONG_AGO: i64 = 1_700_000_000_000;

fn ms(ms: i64) -> Duration {
    Duration::from_millis(ms.unsigned_abs())
}

/// A bench in the middle of time, whose clock was looked at.
fn begun() -> (Bench, ProjectId) {
    let bench = Bench::new();
    bench.clock.set(Timestamp(LONG_AGO));
    let mut spec = spec("acme/a", 5);
    spec.poll_seconds = 600;
    spec.pipelines[0].schedule = Some("0 3 * * *".to_owned());
    let ids = bench.import(&[spec]);
    assert_eq!(bench.tx(|tx| clock::look(tx, None)), Jump::None);
    (bench, ids[0])
}

/// The clock is set, and it is looked at: by who ran meanwhile, or at a start.
fn jump(bench: &Bench, by: i64, is_start: bool) -> Jump {
    let expected = bench.now_ms();
    bench.clock.set(Timestamp(expected + by));
    bench.tx(|tx| clock::look(tx, (!is_start).then_some(Timestamp(expected))))
}

fn every_jump(check: impl Fn(i64, bool)) {
    for by in JUMPS {
        for is_start in [false, true] {
            check(by, is_start);
        }
    }
}

#[test]
fn a_jump_is_told_once_and_by_its_length() {
    every_jump(|by, is_start| {
        let (bench, _) = begun();
        let expected = match by {
            HOUR => Jump::None,
            by if by > 0 => Jump::Ahead(ms(by)),
            by => Jump::Back(ms(by)),
        };
        assert_eq!(jump(&bench, by, is_start), expected, "{by} {is_start}");
        assert_eq!(jump(&bench, 0, is_start), Jump::None, "{by}: once");
        assert_eq!(jump(&bench, 60_000, false), Jump::None, "{by}: it goes on");
    });
    let (bench, _) = begun();
    assert_eq!(jump(&bench, HOUR + 1, false), Jump::Ahead(ms(HOUR + 1)));
    assert_eq!(jump(&bench, -2_000, false), Jump::None, "what clocks are corrected by");
    assert_eq!(jump(&bench, -1, false), Jump::Back(ms(2_001)), "together it is more");
    assert_eq!(jump(&bench, DAY, true), Jump::None, "a day's pause");
    assert_eq!(jump(&bench, DAY + 1, true), Jump::Ahead(ms(DAY + 1)));
}

/// Mistakes of leases: a jump ahead must not take what is held, a jump back must not leave what nobody holds.
#[test]
fn no_lease_is_taken_early_and_none_is_left() {
    every_jump(|by, is_start| {
        let (bench, project) = begun();
        bench.run(project, &jobs(&["a", "b"]));
        let kept = bench.tx(|tx| job::lease(tx, boot(1), 1)).remove(0);
        let lost = bench.tx(|tx| job::lease(tx, boot(2), 1)).remove(0);
        let mut watch = Watch::default();
        let mut rescued = Vec::new();
        for second in 0..40_u64 {
            if second == 3 {
                jump(&bench, by, is_start);
            }
            if second % 5 == 0 {
                bench.tx(|tx| job::heartbeat(tx, boot(1)));
            }
            let all = bench.tx(job::leases);
            let silent = watch.look(all, Duration::from_secs(second), LEASE);
            if bench.tx(|tx| job::rescue(tx, &Rescue::Silent(silent), 9)) > 0 {
                rescued.push(second);
            }
            bench.advance(1_000);
        }
        assert_eq!(rescued, [20], "{by}: a whole lease after the last sign of life, and once");
        assert!(bench.holds(&kept) && !bench.holds(&lost));
    });
}

#[test]
fn a_lease_that_shows_life_before_it_is_taken_back_stays() {
    let (bench, project) = begun();
    bench.run(project, &jobs(&["a"]));
    let lease = bench.lease_one();
    let seen = Rescue::Silent(bench.tx(job::leases));
    bench.advance(1);
    bench.tx(|tx| job::heartbeat(tx, boot(1)));
    assert_eq!(bench.tx(|tx| job::rescue(tx, &seen, 9)), 0);
    assert!(bench.holds(&lease));
}

/// A successor must never write while an old request may be under way, whatever the clock says.
#[test]
fn a_key_is_free_when_its_holder_was_seen_to_stand() {
    every_jump(|by, is_start| {
        let (bench, _) = begun();
        let key = "main.zip".parse().unwrap();
        let (first, second) = (JobId::new(Timestamp(1), 1), JobId::new(Timestamp(1), 2));
        let hold =
            |job, stood: i64| bench.tx(|tx| publication::hold(tx, &key, (job, 1), LEASE, |_| ms(stood)));
        assert_eq!(hold(first, 0), None);
        jump(&bench, by, is_start);
        assert_eq!(hold(second, 0), Some(LEASE), "{by}");
        assert_eq!(hold(second, 19_999), Some(ms(1)), "{by}");
        assert_eq!(hold(second, 20_000), None, "{by}");
    });
}

/// Retries, polls and statuses wait for as long as they had left, and no longer.
#[test]
fn what_waits_does_not_wait_for_years() {
    every_jump(|by, is_start| {
        let (bench, project) = begun();
        bench.tx(|tx| project::poll_due(tx, 9));
        bench.finish(&bench.lease_one(), succeeded());
        let run = bench.run(project, &jobs(&["a"]));
        bench.finish(&bench.lease_one(), retry("no answer"));
        let left = bench.jobs(run)["a"].not_before.0 - bench.now_ms();
        let after = Timestamp(bench.now_ms() + 60_000);
        bench.tx(|tx| told::later(tx, run, after));
        jump(&bench, by, is_start);
        let due_in = |wait: i64| by > 0 || wait <= 0;
        assert_eq!(bench.lease(9).len(), usize::from(due_in(left)), "{by}: the retry");
        assert_eq!(bench.tx(told::is_due), due_in(60_000), "{by}: the status");
        assert_eq!(bench.tx(due::polls), due_in(600_000), "{by}: the poll");
        bench.advance(left);
        assert_eq!(bench.lease(9).len(), usize::from(by < 0), "{by}: the retry in its time");
        bench.advance(60_000 - left);
        assert!(bench.tx(told::is_due), "{by}: the status in its time");
        assert_eq!(bench.tx(due::polls), by > 0, "{by}");
        bench.advance(540_000);
        assert!(bench.tx(due::polls), "{by}: the poll in its time");
    });
}

/// Duties, holds on blobs and programs that were told of in what is the future now: none of them for longer than as if
/// it had been told of now.
#[test]
fn nothing_is_kept_by_a_time_that_does_not_come() {
    let (bench, _) = begun();
    let (minute, period) = (ms(60_000), ms(5_000));
    bench.clock.set(Timestamp(LONG_AGO + 7 * DAY));
    assert!(bench.tx(|tx| duty::take(tx, "tell", boot(1), minute, period)));
    bench.tx(|tx| blob::hold(tx, "a backup that is killed", clock::HOLD_MAX));
    bench.clock.set(Timestamp(LONG_AGO));
    bench.tx(|tx| clock::look(tx, None));
    let digest = Digest::of(b"unused");
    let added = bench.db.transact(move |tx| blob::add(tx, digest, 6));
    added.expect("it is new");
    bench.advance(4_999);
    assert!(!bench.tx(|tx| duty::take(tx, "tell", boot(1), minute, period)));
    bench.advance(1);
    assert!(bench.tx(|tx| duty::take(tx, "tell", boot(1), minute, period)));
    let half_an_hour = i64::try_from(clock::HOLD_MAX.as_millis()).unwrap();
    bench.advance(half_an_hour - 5_001);
    assert!(!bench.tx(|tx| blob::mark_deleting(tx, digest)));
    bench.advance(1);
    assert!(bench.tx(|tx| blob::mark_deleting(tx, digest)));
}

/// A job that another one lets go is due at once, even where it was made in what is the future now.
#[test]
fn what_follows_goes_on_at_once() {
    every_jump(|by, is_start| {
        let (bench, project) = begun();
        bench.run(project, &chain(&["a", "b"]));
        let first = bench.lease_one();
        jump(&bench, by, is_start);
        bench.finish(&first, succeeded());
        assert_eq!(bench.kinds(9), ["b"], "{by}");
    });
}

/// Schedules: an occurrence is neither missed nor doubled by a jump back of an hour; after one of years the calendar
/// begins anew.
#[test]
fn schedules_keep_what_they_fired_last() {
    let (bench, _) = begun();
    let due = |bench: &Bench| bench.tx(|tx| schedule::due(tx, 9));
    let new = due(&bench).remove(0);
    assert_eq!(new.at, Timestamp(0), "it is new");
    let next = Timestamp(bench.now_ms() + DAY / 2);
    bench.tx(|tx| schedule::advance(tx, &new, next));
    jump(&bench, -HOUR, false);
    assert!(due(&bench).is_empty(), "what was fired is not fired again");
    bench.clock.set(next);
    assert_eq!(due(&bench)[0].at, next, "and the next one in its time");
    jump(&bench, 0, false);
    let fired = due(&bench).remove(0);
    bench.tx(|tx| schedule::advance(tx, &fired, next.plus(ms(DAY))));
    jump(&bench, YEARS, false);
    assert_eq!(due(&bench).len(), 1, "what was skipped is fired once");
    let (fired, after) = (due(&bench).remove(0), Timestamp(bench.now_ms() + DAY));
    bench.tx(|tx| schedule::advance(tx, &fired, after));
    jump(&bench, -YEARS, false);
    assert_eq!(due(&bench)[0].at, Timestamp(0), "it learns its next time, and fires nothing");
}

/// Nothing is deleted by its age for a day after a jump ahead; a clock that is set right again does not spare for years.
#[test]
fn what_is_deleted_by_age_is_spared() {
    let spares = |bench: &Bench| bench.tx(|tx| Ok(clock::read(tx)?.spares(tx.now())));
    for (by, is_start, is_spared) in [
        (HOUR, false, false),
        (HOUR + 1, false, true),
        (YEARS, false, true),
        (DAY, true, false),
        (YEARS, true, true),
        (-HOUR, false, false),
        (-YEARS, true, false),
    ] {
        let (bench, _) = begun();
        jump(&bench, by, is_start);
        assert_eq!(spares(&bench).is_some(), is_spared, "{by} {is_start}");
        jump(&bench, 0, true);
        assert_eq!(spares(&bench).is_some(), is_spared, "{by} {is_start}: a start does not end it");
        bench.advance(DAY);
        assert_eq!(spares(&bench), None, "{by} {is_start}");
    }
    let (bench, _) = begun();
    jump(&bench, YEARS, false);
    jump(&bench, -YEARS, false);
    assert_eq!(spares(&bench), Some(Timestamp(bench.now_ms() + DAY)));
}

/// A jump ahead that nobody saw, set right while the program was down: what it left in the far future is brought back.
#[test]
fn times_beyond_all_waits_are_brought_back_at_a_start() {
    let (bench, project) = begun();
    bench.clock.set(Timestamp(LONG_AGO + YEARS));
    bench.tx(|tx| project::poll_due(tx, 9));
    let run = bench.run(project, &jobs(&["a"]));
    let lease = bench.tx(|tx| job::lease_for(tx, boot(1), job::Place::Run, 1, &[])).remove(0);
    bench.finish(&lease, retry("no answer"));
    let after = Timestamp(bench.now_ms() + 60_000);
    bench.tx(|tx| told::later(tx, run, after));
    bench.clock.set(Timestamp(LONG_AGO));
    assert_eq!(bench.tx(|tx| clock::look(tx, None)), Jump::None);
    assert_eq!(bench.lease(9).len(), 2, "the retry and the look");
    assert!(bench.tx(due::polls) && bench.tx(told::is_due));
}

/// Ids say what is newer: they do not go back with the clock.
#[test]
fn ids_rise_whatever_the_clock_does() {
    for by in JUMPS {
        let (bench, project) = begun();
        let first = bench.run(project, &jobs(&["a"]));
        jump(&bench, by, false);
        let second = bench.run(project, &jobs(&["a"]));
        let third = bench.run(project, &jobs(&["a"]));
        assert!(first < second && (by > 0 || second < third), "{by}");
        assert_eq!(bench.tx(|tx| run::by_id(tx, second)).unwrap().created, Timestamp(bench.now_ms()), "{by}");
    }
    // The next program on the same database knows the newest one.
    let (bench, project) = begun();
    bench.advance(60_000);
    let first = bench.run(project, &jobs(&["a"]));
    bench.tx(|tx| clock::look(tx, Some(Timestamp(LONG_AGO + 60_000))));
    bench.db.forget_ids();
    jump(&bench, -YEARS, true);
    assert!(first < bench.run(project, &jobs(&["a"])));
}

/// The rule of who builds a move last goes by ids: a run by hand after a jump back publishes.
#[test]
fn a_run_after_a_jump_back_is_the_younger_one() {
    let (bench, project) = begun();
    let old = bench.run(project, &jobs(&["a"]));
    bench.tx(|tx| head::moved(tx, project, &main_branch(), Some(commit(1)), None));
    jump(&bench, -HOUR, false);
    let new = bench.run(project, &jobs(&["a"]));
    let desire = |run, bytes| crate::bench::desire(project, run, 1, commit(1), bytes);
    assert_eq!(
        bench.tx(|tx| publication::desire(tx, &desire(old, "a"))),
        publication::Desired::Committed { seq: 1 }
    );
    let again = bench.tx(|tx| publication::desire(tx, &desire(new, "b")));
    assert_eq!(again, publication::Desired::Committed { seq: 2 });
}
