//! The test harness: fixtures and fakes that tests of every crate share. A dev-dependency only.

pub mod assets;
pub mod aws;
mod faketime;
pub mod faults;
pub mod forge;
mod keeper;
pub mod postgres;
pub mod repo;
pub mod s3;
pub mod server;
pub mod skip;
pub mod sns;
mod text;
pub mod wire;

pub use aws::FakeAws;
pub use faketime::faketime;
pub use forge::{FakeForge, FakeGithub};
pub use postgres::Postgres;
pub use repo::TestRepo;
pub use server::Server;
pub use skip::skip;
pub use sns::FakeSns;
pub use wire::Wire;
