//! Several programs on one database: who is up, who does what for all, whose leases are whose, and what is left to whom.
//! The same on SQLite, where nobody needs it.

use std::time::Duration;

use gristmill_db::boot::{self, Boot, Imported, Kind};
use gristmill_db::job::{self, Place, Rescue};
use gristmill_db::{duty, job_log, mirror, project, publication, run};
use gristmill_model::{Digest, FolderId, JobId, JobState, ObjectKey, ProjectId, Timestamp};

use crate::bench::{Bench, START, boot as id, chain, digest, jobs, succeeded};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn folder(number: u128) -> FolderId {
    FolderId::new(Timestamp(1), number)
}

fn program(number: u128, kind: Kind) -> Boot {
    Boot {
        id: id(number),
        folder: folder(number),
        kind,
        place: format!("host-{number}:/data"),
        version: "0.1.0".to_owned(),
        works: true,
        config: None,
        draining: false,
        started: Timestamp(START),
        seen: Timestamp(START),
    }
}

fn begin(bench: &Bench, boot: &Boot) {
    bench.tx(|tx| boot::begin(tx, boot));
}

fn up(bench: &Bench) -> Vec<Boot> {
    bench.tx(boot::up)
}

#[test]
fn a_program_is_up_for_fifteen_seconds_after_it_said_so() {
    let bench = Bench::new();
    let (one, two) = (program(1, Kind::Serve), program(2, Kind::Sync));
    begin(&bench, &one);
    begin(&bench, &two);
    assert_eq!(up(&bench), [one.clone(), two.clone()]);
    bench.advance(14_999);
    assert_eq!(up(&bench).len(), 2);
    let config = Some(digest("projects"));
    assert!(bench.tx(|tx| boot::renew(tx, id(1), true, config)));
    assert!(!bench.tx(|tx| boot::renew(tx, id(9), true, None)), "nobody has begun so");
    bench.advance(1);
    let seen = Timestamp(START + 14_999);
    assert_eq!(up(&bench), [Boot { seen, draining: true, config, ..one }]);
    bench.tx(|tx| boot::end(tx, id(1)));
    assert_eq!(up(&bench), []);
}

#[test]
fn a_start_forgets_the_earlier_ones_on_its_folder_and_time_the_rest() {
    let bench = Bench::new();
    let earlier = program(1, Kind::Serve);
    let (other, new) = (program(2, Kind::Worker), Boot { id: id(3), ..earlier.clone() });
    for boot in [&earlier, &other, &new] {
        begin(&bench, boot);
    }
    bench.tx(|tx| boot::forget_earlier(tx, folder(1), id(3)));
    assert_eq!(up(&bench), [other, new]);
    assert_eq!(bench.tx(|tx| boot::expire(tx, Timestamp(START))), 0);
    assert_eq!(bench.tx(|tx| boot::expire(tx, Timestamp(START + 1))), 2);
}

#[test]
fn the_last_import_is_the_one_in_force() {
    let bench = Bench::new();
    assert_eq!(bench.tx(boot::in_force), None);
    for (config, by) in [("old", 1), ("new", 2), ("old", 3)] {
        let import = Imported { config: digest(config), by: id(by) };
        bench.tx(|tx| boot::imported(tx, import));
        assert_eq!(bench.tx(boot::in_force), Some(import));
    }
}

#[test]
fn a_start_takes_back_what_its_own_folder_left_and_nobody_elses() {
    let (bench, project) = Bench::with_project(9);
    bench.run(project, &jobs(&["a", "b", "c"]));
    let (mine, other) = (program(1, Kind::Serve), program(2, Kind::Worker));
    let new = Boot { id: id(3), ..mine.clone() };
    for boot in [&mine, &other, &new] {
        begin(&bench, boot);
    }
    let lease = |boot: &Boot| bench.tx(|tx| job::lease(tx, boot.id, 1)).remove(0);
    let (left, others, own) = (lease(&mine), lease(&other), lease(&new));
    let key = |name: &str| -> ObjectKey { name.parse().unwrap() };
    let hold = |name: &str, lease: &job::Lease| {
        let (job, attempt) = (lease.job, lease.attempt);
        bench.tx(|tx| publication::hold(tx, &key(name), (job, attempt), seconds(9), |_| seconds(0)))
    };
    for (name, lease) in [("left", &left), ("others", &others), ("own", &own)] {
        assert_eq!(hold(name, lease), None);
    }
    bench.tx(|tx| publication::let_go_of_earlier(tx, folder(1), id(3)));
    let rescue = || bench.tx(|tx| job::rescue(tx, &Rescue::EarlierBoots(folder(1), id(3)), 9));
    assert_eq!((rescue(), rescue()), (1, 0));
    assert_eq!([&left, &others, &own].map(|lease| bench.holds(lease)), [false, true, true]);
    assert_eq!(hold("left", &own), None, "the dead one's key is free");
    assert_eq!(hold("others", &own), Some(seconds(9)), "the others may be writing to theirs");
    assert_eq!(hold("own", &others), Some(seconds(9)));
}

#[test]
fn a_duty_has_one_holder_who_keeps_it_and_is_followed_when_it_is_gone() {
    let bench = Bench::new();
    let (hold, period) = (seconds(60), seconds(100));
    let take = |boot| bench.tx(|tx| duty::take(tx, "collect", id(boot), hold, period));
    let keep = |boot| bench.tx(|tx| duty::keep(tx, "collect", id(boot), hold));
    assert!(!keep(1), "nobody has taken it");
    assert!(take(1));
    assert!(!take(2) && !take(1), "it was begun just now");
    bench.advance(59_999);
    assert!(keep(1) && !keep(2));
    bench.advance(40_000);
    assert!(!take(1), "a millisecond is missing");
    bench.advance(1);
    assert!(!take(2), "its holder comes first");
    assert!(take(1), "once in a period");
    // The holder is killed.
    bench.advance(199_999);
    assert!(!take(2));
    bench.advance(1);
    assert!(take(2), "after two periods");
    assert!(!keep(1), "the first has lost it");
    // The holder ends in good order.
    bench.tx(|tx| duty::leave(tx, id(2)));
    assert!(!keep(2));
    bench.advance(200_000);
    assert!(take(1));
}

#[test]
fn a_duty_without_a_period_moves_as_soon_as_it_is_let_go() {
    let bench = Bench::new();
    let take = |boot| bench.tx(|tx| duty::take(tx, "tell", id(boot), seconds(60), Duration::ZERO));
    assert!(take(1) && take(1) && !take(2));
    bench.advance(59_999);
    assert!(!take(2));
    bench.advance(1);
    assert!(take(2) && !take(1), "its time has passed");
    bench.tx(|tx| duty::leave(tx, id(2)));
    assert!(take(1));
}

/// Two programs on two folders, and the mirror is with the second.
fn with_mirror() -> (Bench, ProjectId) {
    let (bench, project) = Bench::with_project(9);
    begin(&bench, &program(1, Kind::Serve));
    begin(&bench, &program(2, Kind::Worker));
    bench.tx(|tx| mirror::have(tx, project, folder(2)));
    (bench, project)
}

fn left_by(bench: &Bench, number: u128) -> Vec<JobId> {
    bench.tx(|tx| mirror::elsewhere(tx, folder(number), "publish"))
}

/// What a program leases, without what it leaves to others.
fn leased_by(bench: &Bench, number: u128) -> usize {
    let left = left_by(bench, number);
    bench.tx(|tx| job::lease_for(tx, id(number), Place::Run, 9, &left)).len()
}

#[test]
fn a_job_is_left_for_two_seconds_to_the_program_that_has_its_mirror() {
    let (bench, project) = with_mirror();
    bench.run(project, &jobs(&["fetch"]));
    assert_eq!((left_by(&bench, 1).len(), left_by(&bench, 2).len()), (1, 0));
    bench.advance(1_999);
    assert_eq!(leased_by(&bench, 1), 0);
    bench.advance(1);
    assert_eq!(leased_by(&bench, 1), 1, "nothing starves");
    bench.run(project, &jobs(&["fetch", "publish"]));
    assert_eq!(leased_by(&bench, 1), 1, "publishing needs no mirror");
    assert_eq!(leased_by(&bench, 2), 1);
}

#[test]
fn nothing_is_left_to_those_who_cannot_take_it() {
    for (what, change) in [
        ("it is gone", (|bench| bench.tx(|tx| boot::end(tx, id(2)))) as fn(&Bench)),
        ("it is stopping", |bench| assert!(bench.tx(|tx| boot::renew(tx, id(2), true, None)))),
        ("it has not said for long that it is up", |bench| {
            bench.advance(15_000);
            assert!(bench.tx(|tx| boot::renew(tx, id(1), false, None)));
        }),
        ("it does not work", |bench| {
            bench.tx(|tx| boot::end(tx, id(2)));
            begin(bench, &Boot { works: false, ..program(2, Kind::Serve) });
        }),
        ("its mirror was forgotten", |bench| {
            assert_eq!(bench.tx(|tx| mirror::expire(tx, Timestamp(START))), 0);
            assert_eq!(bench.tx(|tx| mirror::expire(tx, Timestamp(START + 1))), 1);
        }),
    ] {
        let (bench, project) = with_mirror();
        change(&bench);
        bench.run(project, &jobs(&["fetch"]));
        assert_eq!(leased_by(&bench, 1), 1, "{what}");
    }
    let (bench, project) = with_mirror();
    bench.tx(|tx| mirror::have(tx, project, folder(1)));
    bench.run(project, &jobs(&["fetch"]));
    assert_eq!(leased_by(&bench, 1), 1, "the mirror is here too");
}

#[test]
fn the_two_seconds_begin_when_the_job_before_ends() {
    let (bench, project) = with_mirror();
    bench.run(project, &chain(&["fetch", "archive"]));
    let fetch = bench.lease_one();
    bench.advance(60_000);
    for number in [1, 2] {
        assert!(bench.tx(|tx| boot::renew(tx, id(number), false, None)));
    }
    assert_eq!(bench.finish(&fetch, succeeded()), JobState::Succeeded);
    assert_eq!((left_by(&bench, 1).len(), left_by(&bench, 2).len()), (1, 0));
    bench.advance(2_000);
    assert_eq!(left_by(&bench, 1), []);
}

#[test]
fn a_log_is_read_from_any_byte_and_written_again_without_harm() {
    let bench = Bench::new();
    let job = JobId::new(Timestamp(START), 1);
    let put = |at, text: &[u8]| bench.tx(|tx| job_log::put(tx, job, at, text));
    let read = |offset| bench.tx(|tx| job_log::read(tx, job, offset));
    assert_eq!((bench.tx(|tx| job_log::length(tx, job)), read(0)), (0, Vec::new()));
    put(0, b"one\n");
    put(4, b"tw");
    put(4, b"two\n");
    put(8, b"three\n");
    assert_eq!(bench.tx(|tx| job_log::length(tx, job)), 14);
    for (offset, rest) in
        [(0, "one\ntwo\nthree\n"), (3, "\ntwo\nthree\n"), (4, "two\nthree\n"), (13, "\n"), (14, ""), (99, "")]
    {
        assert_eq!(String::from_utf8(read(offset)).unwrap(), rest, "{offset}");
    }
    let long: Vec<u8> = (0..3 << 20).map(|at: u32| b'a' + u8::try_from(at % 26).unwrap()).collect();
    put(14, &long);
    let mut found = Vec::new();
    loop {
        let next = read(14 + i64::try_from(found.len()).unwrap());
        assert!(next.len() <= 1 << 20, "{}", next.len());
        if next.is_empty() {
            break;
        }
        found.extend(next);
    }
    assert!(found == long);
}

#[test]
fn logs_go_with_their_jobs_their_projects_and_time() {
    let (bench, project) = Bench::with_project(9);
    let run = bench.run(project, &jobs(&["a"]));
    let job = bench.tx(|tx| job::of_run(tx, run, 9))[0].id;
    let write = || bench.tx(|tx| job_log::put(tx, job, 0, b"x"));
    let length = || bench.tx(|tx| job_log::length(tx, job));
    write();
    assert_eq!(bench.tx(|tx| job_log::expire(tx, Timestamp(START), 9)), 0);
    assert_eq!(length(), 1);
    assert_eq!(bench.tx(|tx| job_log::expire(tx, Timestamp(START + 1), 9)), 1);
    assert_eq!(length(), 0);
    write();
    bench.finish(&bench.lease_one(), succeeded());
    assert_eq!(bench.tx(|tx| run::delete_expired(tx, &[run])), 1);
    assert_eq!(length(), 0);
    let run = bench.run(project, &jobs(&["a"]));
    let job = bench.tx(|tx| job::of_run(tx, run, 9))[0].id;
    bench.tx(|tx| job_log::put(tx, job, 0, b"x"));
    bench.tx(|tx| mirror::have(tx, project, folder(1)));
    bench.tx(|tx| project::purge(tx, project));
    assert_eq!(bench.tx(|tx| job_log::length(tx, job)), 0);
    assert_eq!(bench.tx(|tx| mirror::expire(tx, Timestamp(i64::MAX))), 0);
}

#[test]
fn digests_of_configurations_are_kept_whole() {
    let bench = Bench::new();
    begin(&bench, &program(1, Kind::Serve));
    let config = Some(Digest::of(b"x"));
    bench.tx(|tx| boot::renew(tx, id(1), false, config));
    assert_eq!(up(&bench)[0].config, config);
}
