//! The tests of `tests/db`, on a PostgreSQL that they start themselves; and what is peculiar to it.
#![expect(clippy::unwrap_used, reason = "tests: what does not hold fails them")]
#![expect(unreachable_pub, reason = "one test binary: its modules see each other whole")]

mod arena;
#[path = "../db/attempts.rs"]
mod attempts;
#[path = "../db/bases.rs"]
mod bases;
#[path = "../db/bench.rs"]
mod bench;
#[path = "../db/clocks.rs"]
mod clocks;
#[path = "../db/deliveries.rs"]
mod deliveries;
#[path = "../db/deploy_keys.rs"]
mod deploy_keys;
#[path = "../db/dump.rs"]
mod dump;
mod engine;
#[path = "../db/forges.rs"]
mod forges;
#[path = "../db/graph.rs"]
mod graph;
#[path = "../db/holders.rs"]
mod holders;
mod interleave;
#[path = "../db/leases.rs"]
mod leases;
#[path = "../db/looks.rs"]
mod looks;
#[path = "../db/order.rs"]
mod order;
#[path = "../db/projects.rs"]
mod projects;
#[path = "../db/publications.rs"]
mod publications;
#[path = "../db/records.rs"]
mod records;
#[path = "../db/runs.rs"]
mod runs;
mod server;
#[path = "../db/several.rs"]
mod several;
#[path = "../db/steps.rs"]
mod steps;
#[path = "../db/upgrades.rs"]
mod upgrades;
