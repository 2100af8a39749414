//! Gristmill's rows: one module per table, migrations, and the job queue with its rules.
//!
//! Functions take a [`Tx`] and run in the caller's transaction, so that a job, the data it guards and
//! the jobs that follow change together. SQL stands beside the function that runs it.

mod body;
mod direct;
mod error;
mod extra;
mod hold;
mod migrate;
mod pool;
mod postgres;
mod sqlite;
mod statements;
mod sum;
mod tx;
mod value;

pub mod artifact;
pub mod base;
pub mod blob;
pub mod boot;
pub mod clock;
pub mod delivery;
pub mod deploy_key;
pub mod due;
pub mod dump;
pub mod duty;
pub mod forge_object;
pub mod head;
pub mod job;
pub mod job_log;
pub mod mirror;
pub mod missed;
pub mod project;
pub mod publication;
pub mod request;
pub mod run;
pub mod schedule;
pub mod step;
pub mod token;
pub mod told;
pub mod verify;
pub mod watch;

pub use direct::DirectDb;
pub use error::DbError;
pub use pool::{Db, Random};
pub use postgres::{PostgresUrl, PostgresUrlError};
pub use tx::{Row, Tx};
pub use value::{FromColumn, Param, Value};

/// Every SQL text of the crate, for the test that prepares them.
pub fn all_statements() -> Vec<(&'static str, &'static str)> {
    [
        artifact::STATEMENTS,
        base::STATEMENTS,
        blob::STATEMENTS,
        boot::STATEMENTS,
        clock::STATEMENTS,
        delivery::STATEMENTS,
        deploy_key::STATEMENTS,
        due::STATEMENTS,
        extra::STATEMENTS,
        dump::STATEMENTS,
        duty::STATEMENTS,
        forge_object::STATEMENTS,
        head::STATEMENTS,
        hold::STATEMENTS,
        job_log::STATEMENTS,
        mirror::STATEMENTS,
        missed::STATEMENTS,
        project::STATEMENTS,
        publication::STATEMENTS,
        request::STATEMENTS,
        run::STATEMENTS,
        schedule::STATEMENTS,
        step::STATEMENTS,
        told::STATEMENTS,
        token::STATEMENTS,
        verify::STATEMENTS,
    ]
    .into_iter()
    .flatten()
    .chain(job::all_statements())
    .copied()
    .collect()
}
