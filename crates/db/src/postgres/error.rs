//! What PostgreSQL's errors and values mean here.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::error::DbError;
use crate::value::{Param, Value};

/// What an error of the driver means.
pub(crate) fn of(error: &tokio_postgres::Error) -> DbError {
    let Some(told) = error.as_db_error() else {
        // Before and without an answer of the server: it is not there, or not any more.
        let mut text = error.to_string();
        if let Some(cause) = error.source() {
            text = format!("{text}: {cause}");
        }
        // Our own fault, or one of the settings: calling again changes nothing.
        let begins = |known: &&str| text.starts_with(*known);
        return if ["error serializing", "error deserializing"].iter().any(begins) {
            DbError::Sql(text)
        } else if ["invalid configuration", "error performing TLS", "authentication error"].iter().any(begins)
        {
            DbError::Refused(text)
        } else {
            DbError::Unreachable(text)
        };
    };
    let text = told.message().to_owned();
    match told.code() {
        // Run again: the server could not order it among the others, or one of two waited for the other.
        &SqlState::T_R_SERIALIZATION_FAILURE
        | &SqlState::T_R_DEADLOCK_DETECTED
        | &SqlState::LOCK_NOT_AVAILABLE => DbError::Busy,
        &SqlState::DISK_FULL => DbError::Full,
        &SqlState::DATA_CORRUPTED | &SqlState::INDEX_CORRUPTED => DbError::Corrupt(text),
        // It stops, starts, is crashing, has no room for one more, or ended a session that froze.
        &SqlState::ADMIN_SHUTDOWN
        | &SqlState::CRASH_SHUTDOWN
        | &SqlState::CANNOT_CONNECT_NOW
        | &SqlState::TOO_MANY_CONNECTIONS
        | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
        | &SqlState::READ_ONLY_SQL_TRANSACTION => DbError::Unreachable(text),
        code if code.code().starts_with("08") => DbError::Unreachable(text),
        &SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            DbError::Refused(text)
        }
        &SqlState::UNDEFINED_DATABASE => DbError::Refused(text),
        &SqlState::UNIQUE_VIOLATION => DbError::Duplicate(format!("{text} (23505)")),
        code => DbError::Sql(format!("{text} ({})", code.code())),
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, ty) {
            (Param::Null, _) => Ok(IsNull::Yes),
            (Param::Int(value), &Type::INT4) => i32::try_from(*value)?.to_sql(ty, out),
            (Param::Int(value), &Type::INT8) => value.to_sql(ty, out),
            (Param::Bool(value), &Type::BOOL) => value.to_sql(ty, out),
            // PostgreSQL has no NUL in its texts.
            (Param::Text(value), &Type::TEXT) if value.contains('\0') => {
                value.replace('\0', "\u{fffd}").to_sql(ty, out)
            }
            (Param::Text(value), &Type::TEXT) => value.to_sql(ty, out),
            (Param::Bytes(value), &Type::BYTEA) => value.to_sql(ty, out),
            (value, ty) => Err(format!("{value:.20?} is no {ty}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value<'a> {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Value<'a>, Box<dyn Error + Sync + Send>> {
        Ok(match *ty {
            Type::INT8 => Value::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Value::Int(i64::from(i32::from_sql(ty, raw)?)),
            Type::BOOL => Value::Bool(bool::from_sql(ty, raw)?),
            Type::TEXT => Value::Text(<&str>::from_sql(ty, raw)?),
            Type::BYTEA => Value::Bytes(raw),
            _ => Value::Other("something else"),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Value<'a>, Box<dyn Error + Sync + Send>> {
        Ok(Value::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
