//! What was made at the forges: webhooks and deploy keys, so that they can be taken away again.

use gristmill_model::Timestamp;

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::{Row, Tx};

statements! {
    PUT = "INSERT INTO forge_object (project, kind, api, remote_id, forge, repository, token, username, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (project, kind, api, remote_id) DO UPDATE SET forge = excluded.forge, repository = excluded.repository, token = excluded.token, username = excluded.username";
    MADE = "SELECT project, kind, api, remote_id, forge, repository, token, username, created_ms FROM forge_object WHERE project = $1 ORDER BY kind, created_ms, remote_id";
    REMOVE = "DELETE FROM forge_object WHERE project = $1 AND kind = $2 AND api = $3 AND remote_id = $4";
}

/// What kind of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A webhook.
    Hook,
    /// A deploy key.
    Key,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Kind::Hook => "hook",
            Kind::Key => "key",
        }
    }
}

/// Something that was made at a forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgeObject {
    /// The name of the project it was made for, which need not be in the database yet.
    pub project: String,
    /// What it is.
    pub kind: Kind,
    /// The address of the forge's API.
    pub api: String,
    /// Its id there.
    pub remote_id: String,
    /// Which forge.
    pub forge: String,
    /// The repository's name at the forge.
    pub repository: String,
    /// Where the token was read from: `env:NAME` or `file:PATH`. Never the token.
    pub token: Option<String>,
    /// The user that goes with the token.
    pub username: Option<String>,
}

fn read(row: &Row<'_, '_>) -> Result<ForgeObject, DbError> {
    let kind = row.get::<String>(1)?;
    let known = [Kind::Hook, Kind::Key].into_iter().find(|known| known.word() == kind);
    Ok(ForgeObject {
        project: row.get(0)?,
        kind: known
            .ok_or_else(|| DbError::Corrupt(format!("`{kind}` is nothing that is made at a forge")))?,
        api: row.get(2)?,
        remote_id: row.get(3)?,
        forge: row.get(4)?,
        repository: row.get(5)?,
        token: row.get(6)?,
        username: row.get(7)?,
    })
}

/// Records it; the same again changes only how it is reached.
pub fn put(tx: &mut Tx<'_>, made: &ForgeObject) -> Result<(), DbError> {
    let now: Timestamp = tx.now();
    let ForgeObject { project, kind, api, remote_id, forge, repository, token, username } = made;
    let (token, username) = (token.as_deref(), username.as_deref());
    tx.execute(PUT, params![project, kind.word(), api, remote_id, forge, repository, token, username, now])
        .map(drop)
}

/// What was made for the project of that name.
pub fn made_for(tx: &mut Tx<'_>, project: &str) -> Result<Vec<ForgeObject>, DbError> {
    tx.query(MADE, params![project], read)
}

/// It is not there any more, or nobody knows how to take it away.
pub fn remove(tx: &mut Tx<'_>, gone: &ForgeObject) -> Result<(), DbError> {
    tx.execute(REMOVE, params![&gone.project, gone.kind.word(), &gone.api, &gone.remote_id]).map(drop)
}
