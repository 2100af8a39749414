//! `asset check`, `upload`, `get`, `gc` as CI calls them: processes with an environment, folders, and a bucket.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod after;
mod concourse;
mod contract;
mod kills;
mod original;
mod races;
mod reach;
mod repositories;
mod right_here;
mod role;
mod server;
mod snippets;
mod trips;
mod world;
