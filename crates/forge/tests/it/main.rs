//! The crate's tests, one program so that they link once.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too, stop at what cannot be")]

mod api;
mod bare;
mod forge;
mod gitlab;
mod mistakes;
mod mutations;
mod parse;
mod payloads;
mod recorded;
mod rules;
mod senders;
mod sns;
mod verify;

use std::fmt::Write as _;

use bytes::Bytes;
use gristmill_forge::{Check, Forge, Headers, ParseError, Secret, Verified, VerifyError, parse_unverified};
use gristmill_model::Event;

use self::senders::{NOW, verified};

/// The commits of the fixtures.
const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const ZERO: &str = "0000000000000000000000000000000000000000";

const REPOSITORY: &str =
    r#""repository":{"id":42,"full_name":"acme/shop","clone_url":"https://elsewhere.invalid/x.git"}"#;

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

/// A push as GitHub sends it, less what is not needed.
fn push_body(git_ref: &str, before: &str, after: &str) -> String {
    let deleted = after == ZERO;
    format!(r#"{{"ref":"{git_ref}","before":"{before}","after":"{after}","deleted":{deleted},{REPOSITORY}}}"#)
}

/// Whom `check` lets in, with headers written as text.
fn verify_by(check: &Check<'_>, headers: &[(&str, &str)], body: &[u8]) -> Result<Verified, VerifyError> {
    let headers = Headers::new(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
    verified(check.verify(&headers, Bytes::copy_from_slice(body)))
}

/// Whom a project of GitHub's with these secrets lets in.
fn verify(headers: &[(&str, &str)], body: &[u8], secrets: &[Secret]) -> Result<Verified, VerifyError> {
    verify_by(&Check::new(Forge::Github, secrets, NOW), headers, body)
}

/// The one way in which results of a parser are shown to a snapshot: one line an event.
fn shown(parsed: Result<Vec<Event>, ParseError>) -> String {
    match parsed {
        Ok(events) => events.iter().map(line).collect(),
        Err(error) => format!("error: {error}\n"),
    }
}

fn line(event: &Event) -> String {
    let mut line = format!("{:?}", event.kind).to_lowercase();
    if let Some(repository) = &event.repository {
        write!(line, " {}#{}", repository.full_name, repository.id.as_deref().unwrap_or("?")).unwrap();
    }
    for (label, value) in [
        ("", event.git_ref.as_ref().map(ToString::to_string)),
        ("before=", event.before.map(|id| id.short())),
        ("after=", event.after.map(|id| id.short())),
        ("because ", event.reason.clone()),
    ] {
        value.iter().for_each(|value| write!(line, " {label}{value}").unwrap());
    }
    line + "\n"
}

/// What `body` tells of, as an event of that name.
fn parsed(event: &str, body: impl AsRef<[u8]>) -> String {
    shown(parse_unverified(Forge::Github, Some(event), body.as_ref()))
}

/// The same from another forge.
fn parsed_as(forge: Forge, event: Option<&str>, body: impl AsRef<[u8]>) -> String {
    shown(parse_unverified(forge, event, body.as_ref()))
}
