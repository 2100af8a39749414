//! Gristmill takes a git push to a published artifact. See ARCHITECTURE.md.

pub mod app;
pub mod clock;
pub mod config;
pub mod intake;
pub mod logs;
pub mod look;
pub mod pipelines;
pub mod worker;
