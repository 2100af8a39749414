//! Parameters and columns in our own types, so that callers know no driver.

use std::borrow::Cow;

use gristmill_model::{
    ArtifactId, BlobId, BootId, CommitId, DeliveryId, DeliveryState, DeployKeyId, Digest, EdgeKind, FolderId,
    GitRef, JobId, JobState, ObjectId, ObjectKey, ProjectId, ProjectName, PublicationId, PublicationState,
    RunId, RunState, StepState, Timestamp, TokenId, TreeId,
};

/// A value on its way into a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Param<'a> {
    /// SQL NULL.
    Null,
    /// BIGINT.
    Int(i64),
    /// BOOLEAN.
    Bool(bool),
    /// TEXT.
    Text(Cow<'a, str>),
    /// BYTEA.
    Bytes(Cow<'a, [u8]>),
}

macro_rules! from {
    ($($type:ty => |$value:ident| $param:expr;)*) => {$(
        impl<'a> From<$type> for Param<'a> {
            fn from($value: $type) -> Param<'a> { $param }
        }
    )*};
}

from! {
    i64 => |value| Param::Int(value);
    bool => |value| Param::Bool(value);
    &'a str => |value| Param::Text(Cow::Borrowed(value));
    &'a String => |value| Param::Text(Cow::Borrowed(value));
    String => |value| Param::Text(Cow::Owned(value));
    &'a [u8] => |value| Param::Bytes(Cow::Borrowed(value));
    &'a Vec<u8> => |value| Param::Bytes(Cow::Borrowed(value));
    Timestamp => |value| Param::Int(value.0);
    Digest => |value| Param::Bytes(Cow::Owned(value.as_bytes().to_vec()));
    &'a GitRef => |value| Param::Text(Cow::Borrowed(value.as_str()));
    &'a ObjectKey => |value| Param::Text(Cow::Borrowed(value.as_str()));
    &'a ProjectName => |value| Param::Text(Cow::Borrowed(value.as_str()));
    RunState => |value| Param::Text(Cow::Borrowed(value.as_str()));
    JobState => |value| Param::Text(Cow::Borrowed(value.as_str()));
    DeliveryState => |value| Param::Text(Cow::Borrowed(value.as_str()));
    PublicationState => |value| Param::Text(Cow::Borrowed(value.as_str()));
    StepState => |value| Param::Text(Cow::Borrowed(value.as_str()));
    EdgeKind => |value| Param::Text(Cow::Borrowed(value.as_str()));
}

impl<'a, T: Into<Param<'a>>> From<Option<T>> for Param<'a> {
    fn from(value: Option<T>) -> Param<'a> {
        value.map_or(Param::Null, Into::into)
    }
}

/// A column as a driver hands it out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// A whole number; in SQLite also a BOOLEAN.
    Int(i64),
    /// BOOLEAN.
    Bool(bool),
    /// TEXT.
    Text(&'a str),
    /// BYTEA.
    Bytes(&'a [u8]),
    /// What no column of ours holds, by its name.
    Other(&'static str),
}

impl<'a> Value<'a> {
    fn expected(self, what: &str) -> String {
        let found = match self {
            Value::Null => "NULL",
            Value::Int(_) => "a number",
            Value::Bool(_) => "a truth value",
            Value::Text(_) => "text",
            Value::Bytes(_) => "bytes",
            Value::Other(name) => name,
        };
        format!("{what} was expected, and it holds {found}")
    }

    fn text(self) -> Result<&'a str, String> {
        if let Value::Text(text) = self { Ok(text) } else { Err(self.expected("text")) }
    }

    fn bytes(self) -> Result<&'a [u8], String> {
        if let Value::Bytes(bytes) = self { Ok(bytes) } else { Err(self.expected("bytes")) }
    }
}

/// A value on its way out of a row.
pub trait FromColumn: Sized {
    /// Reads the column; the error says what was expected.
    fn from_column(value: Value<'_>) -> Result<Self, String>;
}

impl FromColumn for i64 {
    fn from_column(value: Value<'_>) -> Result<i64, String> {
        if let Value::Int(number) = value { Ok(number) } else { Err(value.expected("a number")) }
    }
}

impl FromColumn for bool {
    fn from_column(value: Value<'_>) -> Result<bool, String> {
        match value {
            Value::Bool(truth) => Ok(truth),
            Value::Int(number) => Ok(number != 0),
            _ => Err(value.expected("a truth value")),
        }
    }
}

impl FromColumn for Timestamp {
    fn from_column(value: Value<'_>) -> Result<Timestamp, String> {
        i64::from_column(value).map(Timestamp)
    }
}

impl FromColumn for String {
    fn from_column(value: Value<'_>) -> Result<String, String> {
        value.text().map(str::to_owned)
    }
}

impl FromColumn for Vec<u8> {
    fn from_column(value: Value<'_>) -> Result<Vec<u8>, String> {
        value.bytes().map(<[u8]>::to_vec)
    }
}

impl FromColumn for Digest {
    fn from_column(value: Value<'_>) -> Result<Digest, String> {
        let bytes = value.bytes()?;
        Digest::from_slice(bytes).ok_or_else(|| format!("a digest of {} bytes", bytes.len()))
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(value: Value<'_>) -> Result<Option<T>, String> {
        if value == Value::Null { Ok(None) } else { T::from_column(value).map(Some) }
    }
}

macro_rules! as_text {
    ($($type:ty),* $(,)?) => {$(
        impl FromColumn for $type {
            fn from_column(value: Value<'_>) -> Result<$type, String> {
                value.text()?.parse::<$type>().map_err(|fault| fault.to_string())
            }
        }
    )*};
}

macro_rules! written_as_text {
    ($($type:ty),* $(,)?) => {$(
        impl<'a> From<$type> for Param<'a> {
            fn from(value: $type) -> Param<'a> { Param::Text(Cow::Owned(value.to_string())) }
        }
    )*};
}

/// What reads itself from text and writes itself as that.
macro_rules! text_both_ways {
    ($($type:ty),* $(,)?) => {
        as_text!($($type),*);
        written_as_text!($($type),*);
    };
}

text_both_ways!(ArtifactId, BootId, DeliveryId, DeployKeyId, FolderId, JobId, ProjectId, PublicationId);
text_both_ways!(RunId, TokenId, ObjectId, CommitId, TreeId, BlobId);
as_text!(GitRef, ObjectKey, ProjectName, RunState, JobState, DeliveryState, PublicationState, StepState);

/// The parameters of a statement, in order: `$1`, `$2`, ….
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::Param::from($value)),*] };
}
