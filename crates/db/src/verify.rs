//! Whether the rows that decide what readers see are what was written there, all of them.

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::{Row, Tx};
use crate::{artifact, head, project, publication, run, step};

statements! {
    LOST_REVISIONS = "SELECT count(*) FROM project WHERE rev <> (SELECT coalesce(max(rev), 0) FROM project_spec WHERE project_id = project.id)";
}

/// The most faults that are told.
const FAULTS_MAX: usize = 20;

/// What is wrong with the rows.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<String>);

impl Faults {
    /// Rows read at once.
    pub(crate) const PAGE: i64 = 500;

    pub(crate) fn note<T>(&mut self, read: Result<T, DbError>) {
        if let Err(error) = read
            && self.0.len() < FAULTS_MAX
        {
            self.0.push(match error {
                DbError::Corrupt(fault) => fault,
                other => other.to_string(),
            });
        }
    }

    /// Reads a table page by page; `read` returns what a row is found by. Of a page with a damaged row the first fault
    /// is told, and no page after it can be found.
    pub(crate) fn go_through(
        &mut self,
        tx: &mut Tx<'_>,
        page: &'static str,
        read: impl Fn(&Row<'_, '_>) -> Result<String, DbError>,
    ) -> Result<(), DbError> {
        let mut after = String::new();
        loop {
            let keys = match tx.query(page, params![&after, Faults::PAGE], &read) {
                Ok(keys) => keys,
                Err(fault @ (DbError::Corrupt(_) | DbError::Row { .. })) => {
                    self.note::<()>(Err(fault));
                    return Ok(());
                }
                Err(other) => return Err(other),
            };
            let Some(last) = keys.into_iter().next_back() else { return Ok(()) };
            after = last;
        }
    }
}

/// Writes the checksums of versions and artifacts anew, for tests that put rows there by themselves.
pub fn renew(tx: &mut Tx<'_>) -> Result<(), DbError> {
    publication::renew(tx)?;
    artifact::renew(tx)
}

/// What is wrong with the rows that decide what readers see; empty where all are what was written there.
pub fn rows(tx: &mut Tx<'_>) -> Result<Vec<String>, DbError> {
    let mut faults = Faults::default();
    publication::verify(tx, &mut faults)?;
    artifact::verify(tx, &mut faults)?;
    head::verify(tx, &mut faults)?;
    run::verify(tx, &mut faults)?;
    step::verify(tx, &mut faults)?;
    project::verify(tx, &mut faults)?;
    let lost = tx.query_one(LOST_REVISIONS, params![], |row| row.get::<i64>(0))?;
    if lost.is_some_and(|lost| lost > 0) {
        faults.0.push("a project does not have the newest of its settings".to_owned());
    }
    Ok(faults.0)
}
