//! Formats other than zip, and what makes the content of an archive other than the blobs.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod attributes;
mod git;
mod hostile;
mod interop;
mod write;

#[path = "../common/mod.rs"]
mod common;
