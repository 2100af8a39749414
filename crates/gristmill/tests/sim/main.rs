//! The seeded simulator: the engine's whole state machine under lost, doubled and reordered deliveries,
//! dying and frozen workers, lost answers, a bucket that fails, people, collection and changing
//! settings. A checker compares what came of it with a history kept outside of the database.
//!
//! `SIM_SEEDS` says how many histories are run (10 000 otherwise), `SIM_SEED` runs one.

#![expect(clippy::print_stdout, reason = "what the histories held is for people to see")]
#![expect(clippy::unwrap_used, reason = "a test: what does not hold fails it")]
#![expect(unreachable_pub, reason = "one test binary: its modules see each other whole")]

mod bucket;
mod check;
mod forge;
mod history;
mod look;
mod paths;
mod people;
mod publish;
mod remote;
mod rng;
mod sabotage;
mod steps;
mod trouble;
mod worker;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use sabotage::{ALL, Sabotage};
use world::Stage;

/// The number of histories.
const SEEDS: u64 = 10_000;
const THREADS: u64 = 2;
/// A sabotage must be found within so many histories.
const SABOTAGE_SEEDS: u64 = 4_000;

/// What must happen in some history at least: otherwise the simulator has become blind to it.
const MUST_HAPPEN: &[&str] = &[
    "annotated tags",
    "answers to senders lost",
    "answers to workers lost",
    "blobs deleted",
    "blobs met while they are deleted",
    "cancels",
    "cancels that came too late",
    "cancels while it was published",
    "clocks set ahead",
    "clocks set back",
    "collections that wait",
    "dead letters",
    "deaths",
    "deaths of the only server",
    "deferred",
    "deliveries accepted",
    "deliveries again",
    "deliveries in conflict",
    "deliveries lost on the way",
    "deliveries refused",
    "deliveries that come late again",
    "deliveries without anything to build",
    "expansions",
    "freezes",
    "graceful stops",
    "hits",
    "holds taken again",
    "imports",
    "jobs of lost workers back",
    "jumps ahead seen",
    "jumps back seen",
    "keys found as they should be",
    "keys that hold the last tip",
    "keys that hold what a left-out tip has",
    "keys that moved three times and more",
    "leases",
    "leases given back",
    "leases of an earlier start back",
    "leases whose answer was lost",
    "looks applied",
    "looks at disabled projects",
    "looks that failed",
    "looks with more to answer than fits",
    "moves back to an older tip",
    "permanent failures",
    "polls",
    "projects disabled",
    "projects enabled",
    "publications already there",
    "publications overtaken",
    "pushes",
    "pushes compared again",
    "pushes left out",
    "refs deleted",
    "releases",
    "replays",
    "requests",
    "requests that failed",
    "requests to a bucket that is down",
    "requests without an answer",
    "retries",
    "runs again",
    "runs by delivery",
    "runs by hand",
    "runs by poll",
    "runs by schedule",
    "runs of overtaken commits",
    "runs superseded",
    "several refs in one push",
    "side jobs that fail",
    "steps collected",
    "steps condemned",
    "steps made",
    "transactions refused",
    "versions deleted",
    "versions published",
    "waits for a key",
    "waits for another job",
    "zombies fenced",
];

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var_os(name)?;
    Some(value.to_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{name} is a number")))
}

#[test]
fn histories() {
    if let Some(seed) = setting("SIM_SEED") {
        let counts = history::run(&Stage::new(), seed, None).unwrap_or_else(|found| panic!("{found}"));
        print_counts(1, &counts);
        return;
    }
    let seeds = setting("SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let run = || {
        let stage = Stage::new();
        let mut sums: BTreeMap<&'static str, u64> = BTreeMap::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return Ok(sums);
            }
            let counts = history::run(&stage, seed, None).inspect_err(|_| {
                next.store(seeds, Ordering::Relaxed);
            })?;
            counts.into_iter().for_each(|(what, times)| *sums.entry(what).or_default() += times);
        }
    };
    let mut sums: BTreeMap<&'static str, u64> = BTreeMap::new();
    let results: Vec<Result<_, String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no history panics")).collect()
    });
    for result in results {
        let counts = result.unwrap_or_else(|found| panic!("{found}"));
        counts.into_iter().for_each(|(what, times)| *sums.entry(what).or_default() += times);
    }
    print_counts(seeds, &sums);
    if seeds >= 2_000 {
        let never: Vec<_> = MUST_HAPPEN.iter().filter(|what| !sums.contains_key(**what)).collect();
        assert!(never.is_empty(), "never happened in {seeds} histories: {never:?}");
    }
}

fn print_counts(seeds: u64, counts: &BTreeMap<&'static str, u64>) {
    println!("{seeds} histories:");
    for (what, times) in counts {
        println!("{times:>10} {what}");
    }
}

/// The same seed is the same history, to the last event.
#[test]
fn a_seed_is_one_history() {
    let stage = Stage::new();
    let first = history::run(&stage, 7, None).unwrap();
    history::run(&stage, 8, None).unwrap();
    assert_eq!(history::run(&stage, 7, None).unwrap(), first);
    assert_eq!(history::run(&Stage::new(), 7, None).unwrap(), first);
}

/// The checker sees every fault that is made on purpose.
#[test]
fn sabotages_are_found() {
    let missed: Vec<Sabotage> = std::thread::scope(|scope| {
        let halves: Vec<_> = ALL
            .chunks(ALL.len().div_ceil(2))
            .map(|half| {
                scope.spawn(move || {
                    let stage = Stage::new();
                    half.iter().copied().filter(|sabotage| !is_found(&stage, *sabotage)).collect::<Vec<_>>()
                })
            })
            .collect();
        halves.into_iter().flat_map(|half| half.join().expect("no history panics")).collect()
    });
    assert!(missed.is_empty(), "not found in {SABOTAGE_SEEDS} histories: {missed:?}");
}

fn is_found(stage: &Stage, sabotage: Sabotage) -> bool {
    (0..SABOTAGE_SEEDS).any(|seed| match history::run(stage, seed, Some(sabotage)) {
        Ok(_) => false,
        Err(found) => {
            println!("{sabotage:?} found: {}", found.lines().next().unwrap_or_default());
            true
        }
    })
}
