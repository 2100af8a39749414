//! Eight workers of two programs at once: what holds where one follows the other must hold here.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use gristmill_db::delivery::{self, Accepted};
use gristmill_db::job::{self, FinishError};
use gristmill_db::publication::{self, Desired};
use gristmill_db::request::{self, BuildRequest};
use gristmill_db::run::{self, NewRun};
use gristmill_db::step::{self, Begin};
use gristmill_db::{Db, DbError, Tx, duty, head, params, project, schedule};
use gristmill_model::{EdgeKind, JobId, RunState, Timestamp};

use crate::arena::{Arena, WORKERS};
use crate::bench::{
    Bench, boot, commit, delivery as webhook, desire, digest, jobs, main_branch, retry, spec, succeeded,
};

/// The most jobs of the project that were leased at any one moment: counted where leases begin.
const HELD: &str = "SELECT count(*) FROM job WHERE state = 'leased' AND run_id IS NOT NULL";
const ATTEMPTS: &str = "SELECT count(*), max(attempt) FROM job_attempt";

/// Leases and ends jobs until none is left; how many this worker did, and the most it saw leased.
fn work(db: &Db, number: usize, left: &Mutex<usize>) -> (usize, i64) {
    let (mut done, mut most) = (0, 0);
    while *left.lock().unwrap() > 0 {
        let leased = db.transact_blocking(move |tx| {
            let leases = job::lease(tx, boot(number as u128), 1)?;
            let held = tx.query_one(HELD, params![], |row| row.get::<i64>(0))?;
            Ok::<_, DbError>((leases, held.unwrap_or(0)))
        });
        let Ok((leases, held)) = leased else { continue };
        most = most.max(held);
        for lease in leases {
            let ended = db.transact_blocking(move |tx| {
                job::finish(tx, lease.job, lease.attempt, succeeded()).map_err(|error| match error {
                    FinishError::Db(error) => error,
                    other => DbError::Sql(other.to_string()),
                })
            });
            ended.unwrap();
            done += 1;
            *left.lock().unwrap() -= 1;
        }
    }
    (done, most)
}

#[test]
fn what_waits_for_several_goes_once_after_the_last() {
    let Some(arena) = Arena::open("fan-in on PostgreSQL", 1_000) else { return };
    let project = arena.project;
    let names = ["a", "b", "c", "d", "e", "f", "join"];
    let runs: Vec<_> = (0..6)
        .map(|_| {
            let mut plan = jobs(&names);
            for from in 0..6 {
                plan = plan.edge(from, 6, EdgeKind::OnSuccess);
            }
            arena.tx(move |tx| run::create(tx, &Bench::new_run(project, 1, Some(1)), &plan, false))
        })
        .collect();
    let left = Mutex::new(runs.len() * names.len());
    let done = arena.race(|number, db| work(db, number, &left).0);
    assert_eq!(done.iter().sum::<usize>(), 42);
    for id in runs {
        let row = arena.tx(move |tx| run::by_id(tx, id)).unwrap();
        assert_eq!((row.state, row.jobs_left), (RunState::Succeeded, 0));
    }
    let attempts = arena.tx(|tx| tx.query_one(ATTEMPTS, params![], |row| Ok((row.get(0)?, row.get(1)?))));
    assert_eq!(attempts, Some((42_i64, 1_i64)), "no job was leased twice");
}

#[test]
fn a_project_never_has_more_jobs_running_than_it_may() {
    let Some(arena) = Arena::open("limits on PostgreSQL", 3) else { return };
    let project = arena.project;
    for _ in 0..40 {
        arena.tx(move |tx| run::create(tx, &Bench::new_run(project, 1, Some(1)), &jobs(&["a"]), false));
    }
    let left = Mutex::new(40);
    let worked = arena.race(|number, db| work(db, number, &left));
    assert_eq!(worked.iter().map(|(done, _)| done).sum::<usize>(), 40);
    let most = worked.iter().map(|(_, most)| *most).max();
    assert!(matches!(most, Some(1..=3)), "{most:?}");
}

#[test]
fn of_runs_that_take_each_others_place_the_newest_is_left() {
    let Some(arena) = Arena::open("supersede on PostgreSQL", 100) else { return };
    let project = arena.project;
    let made = arena.race(|number, db| {
        (0..5)
            .map(|round| {
                let seq = i64::try_from(round * WORKERS + number).unwrap();
                let new = NewRun { seq: Some(seq), ..Bench::new_run(project, 1, None) };
                db.transact_blocking(move |tx| run::create(tx, &new, &jobs(&["a", "b"]), true)).unwrap()
            })
            .collect::<Vec<_>>()
    });
    let ids: Vec<_> = made.into_iter().flatten().collect();
    let states: Vec<RunState> = ids
        .iter()
        .map(|id| {
            arena
                .tx({
                    let id = *id;
                    move |tx| run::by_id(tx, id)
                })
                .unwrap()
                .state
        })
        .collect();
    let count = |wanted| states.iter().filter(|state| **state == wanted).count();
    // Ids are drawn at random within a millisecond, so that which one counts as newest is too; but one does.
    assert_eq!((count(RunState::Queued), count(RunState::Superseded)), (1, 39));
}

#[test]
fn a_key_never_goes_back_and_has_one_holder() {
    let Some(arena) = Arena::open("publications on PostgreSQL", 100) else { return };
    let project = arena.project;
    let new = Bench::new_run(project, 1, Some(1));
    let run = arena.tx(move |tx| run::create(tx, &new, &jobs(&["a"]), false));
    let tops = arena.race(|number, db| {
        let mut tops = Vec::new();
        for round in 0..5 {
            // Each thread goes down where the next goes up.
            let step = if number % 2 == 0 { round } else { 4 - round };
            let seq = i64::try_from(step * WORKERS + number).unwrap() + 1;
            let want = desire(project, run, seq, commit(u8::try_from(seq).unwrap()), &format!("bytes {seq}"));
            let key = want.key.clone();
            let outcome = db.transact_blocking(move |tx| publication::desire(tx, &want)).unwrap();
            assert!(matches!(outcome, Desired::Committed { .. } | Desired::Overtaken { .. }), "{outcome:?}");
            tops.push(db.read_blocking(|tx| publication::top(tx, &key)).unwrap().unwrap().seq);
        }
        tops
    });
    for seen in tops {
        assert!(seen.is_sorted(), "{seen:?}");
    }
    let key: gristmill_model::ObjectKey = "main.zip".parse().unwrap();
    let top = arena
        .tx({
            let key = key.clone();
            move |tx| publication::top(tx, &key)
        })
        .unwrap();
    assert_eq!(top.seq, 40);
    let held = arena.race(|number, db| {
        let (key, job) = (key.clone(), JobId::new(Timestamp(1), number as u128));
        let hold = move |tx: &mut Tx<'_>| {
            publication::hold(tx, &key, (job, 1), Duration::from_secs(60), |_| Duration::ZERO)
        };
        db.transact_blocking(hold).unwrap()
    });
    assert_eq!(held.iter().filter(|held| held.is_none()).count(), 1, "{held:?}");
}

#[test]
fn one_delivery_that_comes_eight_times_is_one() {
    let Some(arena) = Arena::open("deliveries on PostgreSQL", 100) else { return };
    let project = arena.project;
    for round in 0..5 {
        let answers = arena.race(|_, db| {
            let new = webhook(&format!("d{round}"), "{}");
            db.transact_blocking(move |tx| delivery::accept(tx, project, &new)).unwrap()
        });
        let new = answers.iter().filter(|answer| matches!(answer, Accepted::New(_))).count();
        let ids: BTreeSet<_> = answers
            .iter()
            .map(|answer| match answer {
                Accepted::New(id) | Accepted::Again(id) => *id,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!((new, ids.len()), (1, 1));
    }
    assert_eq!(arena.tx(delivery::waiting_count), 5);
    assert_eq!(
        arena.tx(|tx| Ok(job::counts(tx)?.iter().map(|(_, count)| count).sum::<i64>())),
        1,
        "one look"
    );
}

#[test]
fn looks_that_end_badly_while_others_are_asked_for_are_no_errors() {
    let Some(arena) = Arena::open("looks on PostgreSQL", 100) else { return };
    let project = arena.project;
    // Both make "the one look that waits": whoever comes second finds a row that was not there a moment before.
    arena.race(|number, db| {
        for _ in 0..10 {
            if number % 2 == 0 {
                db.transact_blocking(move |tx| job::ask_for_look(tx, project, 10)).unwrap();
                continue;
            }
            let leased = db.transact_blocking(move |tx| job::lease(tx, boot(number as u128), 1));
            for lease in leased.unwrap() {
                let ended = db.transact_blocking(move |tx| {
                    job::finish(tx, lease.job, lease.attempt, retry("no answer"))
                });
                ended.unwrap();
            }
        }
    });
    const WAITING: &str = "SELECT count(*) FROM job WHERE state IN ('ready', 'leased')";
    let waiting = arena.tx(|tx| tx.query_one(WAITING, params![], |row| row.get::<i64>(0)));
    assert!(matches!(waiting, Some(0..=1)), "{waiting:?}");
}

#[test]
fn one_makes_a_step_and_the_others_wait_for_it() {
    let Some(arena) = Arena::open("steps on PostgreSQL", 100) else { return };
    let project = arena.project;
    let plan = jobs(&["a"; WORKERS]);
    arena.tx(move |tx| run::create(tx, &Bench::new_run(project, 1, Some(1)), &plan, false));
    let leases = arena.tx(|tx| job::lease(tx, boot(1), WORKERS));
    let begun = arena.race(|number, db| {
        let job = leases[number].job;
        db.transact_blocking(move |tx| step::begin(tx, digest("tree"), job, None)).unwrap()
    });
    let makes = begun.iter().filter(|begun| matches!(begun, Begin::Make)).count();
    assert_eq!(makes, 1, "{begun:?}");
}

#[test]
fn moves_have_numbers_of_their_own() {
    let Some(arena) = Arena::open("moves on PostgreSQL", 100) else { return };
    let project = arena.project;
    let seqs = arena.race(|number, db| {
        let tip = commit(u8::try_from(number).unwrap());
        let moving = || {
            db.transact_blocking(move |tx| head::moved(tx, project, &main_branch(), Some(tip), None)).unwrap()
        };
        (0..5).map(|_| moving()).collect::<Vec<i64>>()
    });
    let all: BTreeSet<i64> = seqs.iter().flatten().copied().collect();
    assert_eq!(all, (1..=40).collect());
    assert!(seqs.iter().all(|seqs| seqs.is_sorted()));
}

#[test]
fn a_duty_is_taken_by_one_and_a_schedule_fires_once() {
    let Some(arena) = Arena::open("duties and schedules on PostgreSQL", 1) else { return };
    let mut scheduled = spec("acme/timed", 1);
    scheduled.pipelines[0].schedule = Some("0 3 * * *".to_owned());
    let timed = arena.tx(move |tx| {
        project::import(tx, std::slice::from_ref(&scheduled), &[])?;
        Ok(project::by_name(tx, &scheduled.name)?.unwrap().id)
    });
    let due = arena.tx(|tx| schedule::due(tx, 9)).remove(0);
    let done = arena.race(|number, db| {
        let id = boot(number as u128);
        let hold = Duration::from_secs(60);
        let taken = db.transact_blocking(move |tx| duty::take(tx, "collect", id, hold, hold));
        let due = due.clone();
        let fired = db.transact_blocking(move |tx| {
            let is_first = schedule::advance(tx, &due, Timestamp(i64::MAX))?;
            if is_first {
                request::add(tx, timed, &BuildRequest::default())?;
            }
            Ok::<_, DbError>(is_first)
        });
        (taken.map_err(|error: DbError| error).unwrap(), fired.unwrap())
    });
    assert_eq!(done.iter().filter(|(taken, _)| *taken).count(), 1);
    assert_eq!(done.iter().filter(|(_, fired)| *fired).count(), 1);
    let asked =
        arena.tx(|tx| tx.query_one("SELECT count(*) FROM build_request", params![], |row| row.get(0)));
    assert_eq!(asked, Some(1_i64));
}
