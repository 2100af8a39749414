//! Versions of public keys that the retention rules of their pipelines let go. Part of [`crate::publication`].

use gristmill_model::{ObjectKey, ProjectId, Timestamp};

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::{Row, Tx};

statements! {
    EXTRA_BY_AGE = "SELECT key, seq, size, version_id FROM publication WHERE project_id = $1 AND pipeline = $2 AND created_ms < $3 AND state <> 'desired' AND seq < (SELECT max(seq) FROM publication AS other WHERE other.key = publication.key AND other.state = 'published') ORDER BY seq LIMIT $4";
    EXTRA_BY_COUNT = "SELECT key, seq, size, version_id FROM publication WHERE project_id = $1 AND pipeline = $2 AND state <> 'desired' AND (SELECT count(*) FROM (SELECT 1 FROM publication AS newer WHERE newer.key = publication.key AND newer.seq > publication.seq AND newer.state = 'published' LIMIT $3) AS newest) >= $3 ORDER BY seq LIMIT $4";
}

/// A version that the retention rules let go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extra {
    /// The key.
    pub key: ObjectKey,
    /// The version.
    pub seq: i64,
    /// How many bytes it has.
    pub size: i64,
    /// The storage's own name of it, where it was projected.
    pub version_id: Option<String>,
}

fn read_extra(row: &Row<'_, '_>) -> Result<Extra, DbError> {
    Ok(Extra { key: row.get(0)?, seq: row.get(1)?, size: row.get(2)?, version_id: row.get(3)? })
}

/// Versions of a pipeline's keys made before `before`, without the one of each key that readers see: a
/// newer one that is only desired does not replace it yet.
pub fn older_than(
    tx: &mut Tx<'_>,
    project: ProjectId,
    pipeline: &str,
    before: Timestamp,
    limit: i64,
) -> Result<Vec<Extra>, DbError> {
    tx.query(EXTRA_BY_AGE, params![project, pipeline, before, limit], read_extra)
}

/// Versions of a pipeline's keys that have at least `keep` newer ones that were published.
pub fn more_than(
    tx: &mut Tx<'_>,
    project: ProjectId,
    pipeline: &str,
    keep: i64,
    limit: i64,
) -> Result<Vec<Extra>, DbError> {
    tx.query(EXTRA_BY_COUNT, params![project, pipeline, keep.max(1), limit], read_extra)
}
