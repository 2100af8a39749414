//! [`Tx`]: one transaction; parameters and rows in our own types, so that callers know no driver.

use std::borrow::Cow;

use gristmill_model::{
    ArtifactId, BlobId, BootId, CommitId, DeliveryId, DeliveryState, DeployKeyId, Digest, EdgeKind, GitRef,
    JobId, JobState, ObjectId, ObjectKey, ProjectId, ProjectName, PublicationId, PublicationState, RunId,
    RunState, StepState, Timestamp, TokenId, TreeId,
};
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::error::DbError;

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

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Param::Null => ValueRef::Null,
            Param::Int(value) => ValueRef::Integer(*value),
            Param::Bool(value) => ValueRef::Integer(i64::from(*value)),
            Param::Text(value) => ValueRef::Text(value.as_bytes()),
            Param::Bytes(value) => ValueRef::Blob(value),
        }))
    }
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

/// A value on its way out of a row.
pub trait FromColumn: Sized {
    /// Reads the column; the error says what was expected.
    fn from_column(value: ValueRef<'_>) -> Result<Self, String>;
}

impl FromColumn for i64 {
    fn from_column(value: ValueRef<'_>) -> Result<i64, String> {
        value.as_i64().map_err(|fault| fault.to_string())
    }
}

impl FromColumn for bool {
    fn from_column(value: ValueRef<'_>) -> Result<bool, String> {
        i64::from_column(value).map(|number| number != 0)
    }
}

impl FromColumn for Timestamp {
    fn from_column(value: ValueRef<'_>) -> Result<Timestamp, String> {
        i64::from_column(value).map(Timestamp)
    }
}

impl FromColumn for String {
    fn from_column(value: ValueRef<'_>) -> Result<String, String> {
        value.as_str().map(str::to_owned).map_err(|fault| fault.to_string())
    }
}

impl FromColumn for Vec<u8> {
    fn from_column(value: ValueRef<'_>) -> Result<Vec<u8>, String> {
        value.as_bytes().map(<[u8]>::to_vec).map_err(|fault| fault.to_string())
    }
}

impl FromColumn for Digest {
    fn from_column(value: ValueRef<'_>) -> Result<Digest, String> {
        let bytes = value.as_bytes().map_err(|fault| fault.to_string())?;
        Digest::from_slice(bytes).ok_or_else(|| format!("a digest of {} bytes", bytes.len()))
    }
}

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(value: ValueRef<'_>) -> Result<Option<T>, String> {
        if value == ValueRef::Null { Ok(None) } else { T::from_column(value).map(Some) }
    }
}

macro_rules! as_text {
    ($($type:ty),* $(,)?) => {$(
        impl FromColumn for $type {
            fn from_column(value: ValueRef<'_>) -> Result<$type, String> {
                let text = value.as_str().map_err(|fault| fault.to_string())?;
                text.parse::<$type>().map_err(|fault| fault.to_string())
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

as_text!(ArtifactId, BootId, DeliveryId, DeployKeyId, JobId, ProjectId, PublicationId, RunId, TokenId);
as_text!(ObjectId, CommitId, TreeId, BlobId, GitRef, ObjectKey, ProjectName);
as_text!(RunState, JobState, DeliveryState, PublicationState, StepState);
written_as_text!(
    ArtifactId,
    BootId,
    DeliveryId,
    DeployKeyId,
    JobId,
    ProjectId,
    PublicationId,
    RunId,
    TokenId
);
written_as_text!(ObjectId, CommitId, TreeId, BlobId);

/// One row of an answer.
pub struct Row<'r, 's>(pub(crate) &'r rusqlite::Row<'s>);

impl Row<'_, '_> {
    /// The column at `index`.
    pub fn get<T: FromColumn>(&self, index: usize) -> Result<T, DbError> {
        let value = self.0.get_ref(index).map_err(DbError::from)?;
        T::from_column(value).map_err(|fault| DbError::Row { column: index, fault })
    }
}

/// The parameters of a statement, in order: `$1`, `$2`, ….
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::Param::from($value)),*] };
}

/// One transaction. Everything in it becomes durable together, or not at all.
pub struct Tx<'c> {
    pub(crate) conn: &'c rusqlite::Connection,
    pub(crate) now: Timestamp,
    pub(crate) random: &'c (dyn Fn() -> u128 + Send + Sync),
    pub(crate) wake: bool,
}

impl Tx<'_> {
    /// The moment the transaction began.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// 128 random bits.
    pub fn random(&self) -> u128 {
        (self.random)()
    }

    /// After this transaction somebody may have work: idle workers are woken when it is durable.
    pub fn wake_workers(&mut self) {
        self.wake = true;
    }

    /// Runs a statement; the number of rows it changed.
    pub fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<usize, DbError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        bind(&mut statement, params)?;
        Ok(statement.raw_execute()?)
    }

    /// Runs a query; every row through `read`.
    pub fn query<T>(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
        mut read: impl FnMut(&Row<'_, '_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        let mut statement = self.conn.prepare_cached(sql)?;
        bind(&mut statement, params)?;
        let mut rows = statement.raw_query();
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(&Row(row))?);
        }
        Ok(found)
    }

    /// Runs a query for at most one row.
    pub fn query_one<T>(
        &mut self,
        sql: &'static str,
        params: &[Param<'_>],
        read: impl FnMut(&Row<'_, '_>) -> Result<T, DbError>,
    ) -> Result<Option<T>, DbError> {
        Ok(self.query(sql, params, read)?.into_iter().next())
    }
}

/// Binds `$n` by its number: SQLite itself would number the names in the order it meets them.
fn bind(statement: &mut rusqlite::Statement<'_>, params: &[Param<'_>]) -> Result<(), DbError> {
    for index in 1..=statement.parameter_count() {
        let number = statement.parameter_name(index).and_then(|name| name.strip_prefix('$')?.parse().ok());
        let position: usize = number.expect("statements number their parameters: $1, $2, …");
        statement.raw_bind_parameter(index, &params[position - 1])?;
    }
    Ok(())
}
