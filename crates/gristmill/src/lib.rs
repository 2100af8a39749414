//! Gristmill takes a git push to a published artifact. See ARCHITECTURE.md.

pub mod intake;
pub mod pipelines;
