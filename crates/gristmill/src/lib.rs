//! Gristmill takes a git push to a published artifact. See ARCHITECTURE.md.

pub mod app;
pub mod check;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod config;
mod database;
pub mod demo;
pub mod doctor;
pub mod fail;
mod folders;
pub mod forges;
pub mod http;
pub mod intake;
pub mod keys;
pub mod live;
pub mod logs;
pub mod look;
pub mod origin;
pub mod pipelines;
pub mod reach;
pub mod runs;
pub mod seal;
pub mod serve;
pub mod ticker;
mod upkeep;
pub mod worker;
