//! Keys by which projects' repositories are reached over ssh. The private half is sealed before it comes here.
//!
//! A project has one current key, and while it is changed for another one, the previous one.

use gristmill_model::{DeployKeyId, ProjectId, ProjectName, Timestamp};

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::{Row, Tx};

statements! {
    INSERT = "INSERT INTO deploy_key (id, project_id, state, public_line, fingerprint, sealed, created_ms) VALUES ($1, $2, 'current', $3, $4, $5, $6) ON CONFLICT (project_id, state) DO NOTHING";
    OF_PROJECT = "SELECT id, project_id, state, public_line, fingerprint, sealed, created_ms, retired_ms, accepted_ms, refused_ms FROM deploy_key WHERE project_id = $1 ORDER BY state";
    RETIRE = "UPDATE deploy_key SET state = 'previous', retired_ms = $2 WHERE project_id = $1 AND state = 'current' AND NOT EXISTS (SELECT 1 FROM deploy_key AS other WHERE other.project_id = $1 AND other.state = 'previous')";
    ACCEPTED = "UPDATE deploy_key SET accepted_ms = $2 WHERE id = $1";
    REFUSED = "UPDATE deploy_key SET refused_ms = $2 WHERE id = $1";
    DROP = "DELETE FROM deploy_key WHERE id = $1";
    DROP_PREVIOUS = "DELETE FROM deploy_key WHERE project_id = $1 AND state = 'previous'";
    DROP_REPLACED = "DELETE FROM deploy_key WHERE state = 'previous' AND retired_ms < $1 AND EXISTS (SELECT 1 FROM deploy_key AS newer WHERE newer.project_id = deploy_key.project_id AND newer.state = 'current' AND newer.accepted_ms IS NOT NULL AND (newer.refused_ms IS NULL OR newer.refused_ms < newer.accepted_ms)) RETURNING project_id";
    ANY_REPLACED = "SELECT 1 FROM deploy_key WHERE state = 'previous' AND retired_ms < $1 LIMIT 1";
    SEALED = "SELECT deploy_key.id, project_id, name, project.pattern, sealed FROM deploy_key JOIN project ON project.id = project_id WHERE deploy_key.id > $1 ORDER BY deploy_key.id LIMIT $2";
    RESEAL = "UPDATE deploy_key SET sealed = $3 WHERE id = $1 AND sealed = $2";
}

/// Which of a project's keys one is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyState {
    /// It is tried first.
    Current,
    /// It is tried where the current one is refused, until it is dropped.
    Previous,
}

impl KeyState {
    /// As in the table and in listings.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeyState::Current => "current",
            KeyState::Previous => "previous",
        }
    }
}

/// A key that was made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its id.
    pub id: DeployKeyId,
    /// Whose it is.
    pub project: ProjectId,
    /// The public half, as one line.
    pub public_line: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// The sealed private half.
    pub sealed: Vec<u8>,
}

/// A key as it is stored.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// Its id.
    pub id: DeployKeyId,
    /// Whose it is.
    pub project: ProjectId,
    /// Which of the project's keys it is.
    pub state: KeyState,
    /// The public half, as one line.
    pub public_line: String,
    /// `SHA256:…`.
    pub fingerprint: String,
    /// The sealed private half.
    pub sealed: Vec<u8>,
    /// When it was made.
    pub created: Timestamp,
    /// When another one took its place.
    pub retired: Option<Timestamp>,
    /// When the remote last let it in.
    pub accepted: Option<Timestamp>,
    /// When the remote last did not let it in.
    pub refused: Option<Timestamp>,
}

/// What has to be known of a key to open it or to say that it cannot be opened.
#[derive(Clone, Debug)]
pub struct SealedKey {
    /// Its id.
    pub id: DeployKeyId,
    /// Whose it is.
    pub project: ProjectId,
    /// The project's name.
    pub name: ProjectName,
    /// The pattern that the project was made from.
    pub pattern: Option<String>,
    /// The sealed private half.
    pub sealed: Vec<u8>,
}

fn read(row: &Row<'_, '_>) -> Result<StoredKey, DbError> {
    let is_current = row.get::<String>(2)? == KeyState::Current.as_str();
    Ok(StoredKey {
        id: row.get(0)?,
        project: row.get(1)?,
        state: if is_current { KeyState::Current } else { KeyState::Previous },
        public_line: row.get(3)?,
        fingerprint: row.get(4)?,
        sealed: row.get(5)?,
        created: row.get(6)?,
        retired: row.get(7)?,
        accepted: row.get(8)?,
        refused: row.get(9)?,
    })
}

/// Stores a project's current key. False where it has one: then nothing is changed.
pub fn add(tx: &mut Tx<'_>, key: &NewKey) -> Result<bool, DbError> {
    let now = tx.now();
    let values = params![key.id, key.project, &key.public_line, &key.fingerprint, &key.sealed, now];
    Ok(tx.execute(INSERT, values)? == 1)
}

/// A project's keys, the current one first.
pub fn of_project(tx: &mut Tx<'_>, project: ProjectId) -> Result<Vec<StoredKey>, DbError> {
    tx.query(OF_PROJECT, params![project], read)
}

/// Makes the current key the previous one, so that another can be added. False where there is a previous one
/// already, or no current one.
pub fn retire(tx: &mut Tx<'_>, project: ProjectId) -> Result<bool, DbError> {
    let now = tx.now();
    Ok(tx.execute(RETIRE, params![project, now])? == 1)
}

/// Remembers that the remote let the key in.
pub fn accepted(tx: &mut Tx<'_>, id: DeployKeyId) -> Result<(), DbError> {
    let now = tx.now();
    tx.execute(ACCEPTED, params![id, now]).map(drop)
}

/// Remembers that the remote did not let the key in.
pub fn refused(tx: &mut Tx<'_>, id: DeployKeyId) -> Result<(), DbError> {
    let now = tx.now();
    tx.execute(REFUSED, params![id, now]).map(drop)
}

/// Deletes one key.
pub fn remove(tx: &mut Tx<'_>, id: DeployKeyId) -> Result<(), DbError> {
    tx.execute(DROP, params![id]).map(drop)
}

/// Deletes the previous key. False where there is none.
pub fn remove_previous(tx: &mut Tx<'_>, project: ProjectId) -> Result<bool, DbError> {
    Ok(tx.execute(DROP_PREVIOUS, params![project])? == 1)
}

/// Whether any key was replaced before `before`, so that [`remove_replaced`] may have something to do.
pub fn any_replaced(tx: &mut Tx<'_>, before: Timestamp) -> Result<bool, DbError> {
    Ok(tx.query_one(ANY_REPLACED, params![before], |_| Ok(()))?.is_some())
}

/// Deletes the previous keys that were replaced before `before` by keys that the remotes let in; whose they were.
pub fn remove_replaced(tx: &mut Tx<'_>, before: Timestamp) -> Result<Vec<ProjectId>, DbError> {
    tx.query(DROP_REPLACED, params![before], |row| row.get(0))
}

/// All keys of all projects by id, those after `after`.
pub fn sealed(tx: &mut Tx<'_>, after: &str, limit: i64) -> Result<Vec<SealedKey>, DbError> {
    tx.query(SEALED, params![after, limit], |row| {
        Ok(SealedKey {
            id: row.get(0)?,
            project: row.get(1)?,
            name: row.get(2)?,
            pattern: row.get(3)?,
            sealed: row.get(4)?,
        })
    })
}

/// Puts another sealed form in the place of `old`. False where that is not there any more.
pub fn reseal(tx: &mut Tx<'_>, id: DeployKeyId, old: &[u8], new: &[u8]) -> Result<bool, DbError> {
    Ok(tx.execute(RESEAL, params![id, old, new])? == 1)
}
