//! What the forges send and what they are asked: verifies webhooks, reads what they tell of, speaks their APIs.
//!
//! The way of a delivery:
//!
//! 1. [`Check::verify`] checks the raw bytes against the project's secrets and gives a [`Verified`], a
//!    type that nothing else makes; bytes that were not verified cannot be parsed into something that acts.
//! 2. The caller stores it, answers, and comes back later with [`Verified::from_store`].
//! 3. [`parse`] tells which refs moved, as the forge puts it. That is a hint: owner, repository and
//!    address come from the project's configuration, and the remote is asked before anything is built.
//!
//! Which forge it is, is always said by the project's configuration and never guessed from the
//! headers that happen to be there: Forgejo also sends GitHub's.
//!
//! Each forge is one module of the same shape: header names, `verify`, `sign`, `parse`, and
//! `parse_unnamed` where a header names the event. [`Forge`] is the closed list of them. No IO, no async, no clock.
//!
//! The other way round, [`api`] makes the requests to the forges' HTTP APIs and reads the answers.

pub mod api;
mod azure;
mod bare;
mod bitbucket;
mod bitbucket_server;
mod change;
mod codecommit;
mod error;
mod forge;
mod form;
mod generic;
mod gitea;
mod github;
mod gitlab;
mod headers;
mod mac;
mod parse;
mod secret;
mod send;
mod text;
mod token;
mod verified;
mod verifier;
mod verify;

pub use bare::{PostReceiveError, post_receive_body};
pub use codecommit::{
    TopicArn, TopicArnError, certificate_url as sns_certificate_url, subscription_url as sns_subscription_url,
};
pub use error::VerifyError;
pub use forge::{Forge, UnknownForge};
pub use headers::{DuplicateHeader, HeaderName, HeaderNameError, Headers};
pub use parse::{ParseError, parse, parse_unverified};
pub use secret::{Secret, SecretError};
pub use send::{Sending, sign};
pub use verified::{StoredDelivery, Verified};
pub use verifier::{UnknownVerifier, Verifier};
pub use verify::{Check, Outcome};
