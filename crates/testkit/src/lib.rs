//! The test harness: fixtures and fakes that tests of every crate share. A dev-dependency only.

pub mod forge;
pub mod repo;
pub mod server;
pub mod skip;
mod text;
pub mod wire;

pub use forge::{FakeForge, FakeGithub};
pub use repo::TestRepo;
pub use server::Server;
pub use skip::skip;
pub use wire::Wire;
