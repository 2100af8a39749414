//! What the forges send: verifies webhooks and reads what they tell of.
//!
//! The way of a delivery:
//!
//! 1. [`verify`] checks the raw bytes against the project's secrets and gives a [`Verified`], a type
//!    that nothing else makes; bytes that were not verified cannot be parsed into something that acts.
//! 2. The caller stores it, answers, and comes back later with [`Verified::from_store`].
//! 3. [`parse`] tells which refs moved, as the forge puts it. That is a hint: owner, repository and
//!    address come from the project's configuration, and the remote is asked before anything is built.
//!
//! Which forge it is, is always said by the project's configuration and never guessed from the
//! headers that happen to be there: Forgejo also sends GitHub's.
//!
//! Each forge is one module of the same shape: header names, `verify`, `sign`, `parse`, `parse_unnamed`.
//! [`Forge`] is the closed list of them. No IO, no async, no clock.

mod forge;
mod form;
mod github;
mod headers;
mod mac;
mod parse;
mod secret;
mod text;
mod verify;

pub use forge::{Forge, UnknownForge};
pub use headers::{DuplicateHeader, Headers};
pub use parse::{ParseError, parse, parse_unverified};
pub use secret::{Secret, SecretError};
pub use verify::{
    StoredDelivery, UnknownVerifier, Verified, Verifier, VerifyError, VerifyOptions, sign, verify,
    verify_dummy,
};
