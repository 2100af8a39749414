//! [`parse`]: from verified bytes to events.

use std::fmt;
use std::marker::PhantomData;
use std::str;

use gristmill_model::Event;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::forge::Forge;
use crate::text::shown;
use crate::verified::Verified;
use crate::verify::UNNAMED;
use crate::{azure, bare, bitbucket, bitbucket_server, codecommit, form, generic, gitea, github, gitlab};

/// A body is not what the forge documents. Such a delivery is recorded as ignored, with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The body is a form, but not `payload=` and one value.
    #[error("the form is malformed: {problem}")]
    Form {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The body is not text.
    #[error("the body is not UTF-8 text, from byte {offset} on")]
    Utf8 {
        /// Where the first foreign byte lies, from 0.
        offset: usize,
    },
    /// The body is not JSON.
    #[error("the body is not JSON: {problem}")]
    Json {
        /// What the JSON parser said.
        problem: String,
    },
    /// The body is JSON of another shape.
    #[error("the body is not a documented `{event}` event: {problem} (at `{field}`)")]
    Shape {
        /// The event it should have been.
        event: String,
        /// Where in the body; `.` for the whole.
        field: String,
        /// What was found and expected.
        problem: String,
    },
}

impl ParseError {
    /// What is wrong with a field. The caller bounds what `problem` repeats of the body.
    pub(crate) fn shape(event: &str, field: &str, problem: impl fmt::Display) -> ParseError {
        ParseError::Shape { event: shown(event), field: shown(field), problem: problem.to_string() }
    }
}

/// What a delivery tells of: at least one event, if only one that says why nothing follows.
///
/// # Errors
/// [`ParseError`] where the body is not what the forge documents for this event.
pub fn parse(verified: &Verified) -> Result<Vec<Event>, ParseError> {
    read(verified.forge(), Some(verified.event()), verified.body())
}

/// What a body **would** tell of, had it been verified: for showing to a person, never for acting on.
/// Without an `event`, it is read off the body's fields where that is possible.
///
/// # Errors
/// As [`parse`].
pub fn parse_unverified(forge: Forge, event: Option<&str>, body: &[u8]) -> Result<Vec<Event>, ParseError> {
    read(forge, event, body)
}

fn read(forge: Forge, event: Option<&str>, body: &[u8]) -> Result<Vec<Event>, ParseError> {
    let json = form::json_of(body).map_err(|problem| ParseError::Form { problem })?;
    let json = str::from_utf8(&json).map_err(|error| ParseError::Utf8 { offset: error.valid_up_to() })?;
    // What the body names counts, where it does: a header is signed by nobody.
    match (forge, event.filter(|event| *event != UNNAMED)) {
        (Forge::Github, Some(event)) => github::parse(event, json),
        (Forge::Github, None) => github::parse_unnamed(json),
        (Forge::Bitbucket, Some(event)) => bitbucket::parse(event, json),
        (Forge::Bitbucket, None) => bitbucket::parse_unnamed(json),
        (Forge::BitbucketServer, Some(event)) => bitbucket_server::parse(event, json),
        (Forge::BitbucketServer, None) => bitbucket_server::parse_unnamed(json),
        (Forge::Gitea | Forge::Forgejo | Forge::Gogs, Some(event)) => gitea::parse(event, json),
        (Forge::Gitea | Forge::Forgejo | Forge::Gogs, None) => gitea::parse_unnamed(json),
        (Forge::Gitlab, _) => gitlab::parse(json),
        (Forge::AzureDevops, _) => azure::parse(json),
        (Forge::Codecommit, _) => codecommit::parse(json),
        (Forge::Generic, _) => generic::parse(json),
        (Forge::Bare, _) => bare::parse(json),
    }
}

/// Reads `json` as a `T`, which names only the fields that are needed; all others are skipped
/// without recursion and without being kept.
pub(crate) fn from_json<'a, T: Deserialize<'a>>(event: &str, json: &'a str) -> Result<T, ParseError> {
    let mut parser = serde_json::Deserializer::from_str(json);
    let read = serde_path_to_error::deserialize::<_, Object<T>>(&mut parser).map_err(|error| {
        let (path, cause) = (error.path().to_string(), error.into_inner());
        if cause.is_data() {
            ParseError::shape(event, &path, shown(&cause.to_string()))
        } else {
            not_json(&cause)
        }
    })?;
    parser.end().map_err(|error| not_json(&error))?;
    Ok(read.0)
}

fn not_json(error: &serde_json::Error) -> ParseError {
    ParseError::Json { problem: shown(&error.to_string()) }
}

/// A JSON object and nothing else: serde alone would also read a struct from an array of its fields.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct OfMap<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfMap<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(OfMap(PhantomData))
    }
}
