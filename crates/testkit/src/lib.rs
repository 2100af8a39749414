//! The test harness: fixtures and fakes that tests of every crate share. A dev-dependency only.

pub mod forge;
pub mod repo;
mod text;

pub use forge::FakeGithub;
pub use repo::TestRepo;
