//! Eight workers of two programs at once: what holds where one follows the other must hold here.

use std::collections::BTreeSet;
use std::sync::Mutex;

use gristmill_db::delivery::{self, Accepted};
use gristmill_db::job::{self, FinishError};
use gristmill_db::publication::{self, Desired};
use gristmill_db::run::{self, NewRun};
use gristmill_db::step::{self, Begin};
use gristmill_db::{Db, DbError, head, params};
use gristmill_model::{EdgeKind, JobId, RunState, Timestamp};

use crate::arena::{Arena, WORKERS};
use crate::bench::{Bench, boot, commit, delivery as webhook, desire, digest, jobs, main_branch, succeeded};

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
        db.transact_blocking(move |tx| {
            publication::hold(tx, &key, (job, 1), std::time::Duration::from_secs(60), |_| {
                std::time::Duration::ZERO
            })
        })
        .unwrap()
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
