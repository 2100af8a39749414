//! The rules of the queue, of steps, publications and deliveries, with exact values at their
//! boundaries; and the database file itself.
#![expect(clippy::unwrap_used, reason = "tests: what does not hold fails them")]
#![expect(unreachable_pub, reason = "one test binary: its modules see each other whole")]

mod attempts;
mod bases;
mod bench;
mod clocks;
mod costs;
mod deliveries;
mod deploy_keys;
mod dump;
mod engine;
mod file;
mod flips;
mod forges;
mod graph;
mod holders;
mod leases;
mod looks;
mod order;
mod projects;
mod public;
mod publications;
mod records;
mod runs;
mod several;
mod steps;
mod upgrades;
