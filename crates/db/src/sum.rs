//! Checksums of rows that decide what readers see: written and compared where the rows are, so that a bit that fell over
//! on the disk is an error and never another commit, name or blob.

use gristmill_model::Digest;

use crate::error::DbError;
use crate::value::Param;

/// The checksum of a row's columns, in their order.
pub(crate) fn of(columns: &[Param<'_>]) -> i64 {
    let mut parts = Vec::with_capacity(columns.len());
    for column in columns {
        let mut part = Vec::with_capacity(48);
        match column {
            Param::Null => part.push(0),
            Param::Int(number) => {
                part.push(1);
                part.extend(number.to_be_bytes());
            }
            // As SQLite, which has no truth values of its own, stores them.
            Param::Bool(truth) => {
                part.push(1);
                part.extend(i64::from(*truth).to_be_bytes());
            }
            Param::Text(text) => {
                part.push(2);
                part.extend(text.as_bytes());
            }
            Param::Bytes(bytes) => {
                part.push(3);
                part.extend(bytes.iter());
            }
        }
        parts.push(part);
    }
    let digest = Digest::of_parts(parts.iter().map(Vec::as_slice));
    let (first, _) = digest.as_bytes().split_first_chunk().expect("32 bytes");
    i64::from_be_bytes(*first)
}

/// The row is as it was written.
pub(crate) fn check(what: &str, columns: &[Param<'_>], stored: i64) -> Result<(), DbError> {
    if of(columns) == stored { Ok(()) } else { Err(damaged(what)) }
}

/// A row is not what was written.
pub(crate) fn damaged(what: &str) -> DbError {
    DbError::Corrupt(format!("a row of `{what}` is not what was written there"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params;

    #[test]
    fn every_column_and_its_kind_counts() {
        let sums = [
            of(params![]),
            of(params![1_i64]),
            of(params![2_i64]),
            of(params!["1"]),
            of(params![None::<i64>]),
            of(params!["a", "b"]),
            of(params!["ab", ""]),
            of(params!["", "ab"]),
            of(params!["b", "a"]),
        ];
        for (at, sum) in sums.iter().enumerate() {
            assert!(!sums[at + 1..].contains(sum), "{at}");
        }
        assert_eq!(of(params![true]), of(params![1_i64]), "as SQLite reads it");
    }
}
