//! Tokens: rights to read through the server. Only their hashes are kept.

use gristmill_model::{Digest, Timestamp, TokenId};

use crate::error::DbError;
use crate::params;
use crate::statements::statements;
use crate::tx::Tx;

statements! {
    INSERT = "INSERT INTO token (id, name, hash, created_ms) VALUES ($1, $2, $3, $4)";
    VALID = "SELECT 1 FROM token WHERE hash = $1 AND revoked_ms IS NULL";
    LIST = "SELECT id, name, created_ms, revoked_ms FROM token ORDER BY id LIMIT 1000";
    REVOKE = "UPDATE token SET revoked_ms = $2 WHERE id = $1 AND revoked_ms IS NULL";
}

/// A token, without its secret, which nobody can read back.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its id.
    pub id: TokenId,
    /// What it is for, in its maker's words.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

/// Records a token by its hash.
pub fn create(tx: &mut Tx<'_>, name: &str, hash: Digest) -> Result<TokenId, DbError> {
    let now = tx.now();
    let id = TokenId::new(tx.id_time(), tx.random());
    tx.execute(INSERT, params![id, name, hash, now])?;
    Ok(id)
}

/// Whether the hash is that of a token that counts.
pub fn is_valid(tx: &mut Tx<'_>, hash: Digest) -> Result<bool, DbError> {
    Ok(tx.query_one(VALID, params![hash], |_| Ok(()))?.is_some())
}

/// All tokens.
pub fn list(tx: &mut Tx<'_>) -> Result<Vec<Token>, DbError> {
    tx.query(LIST, params![], |row| {
        Ok(Token { id: row.get(0)?, name: row.get(1)?, created: row.get(2)?, revoked: row.get(3)? })
    })
}

/// Revokes a token. False where there is none of that id that counts.
pub fn revoke(tx: &mut Tx<'_>, id: TokenId) -> Result<bool, DbError> {
    let now = tx.now();
    Ok(tx.execute(REVOKE, params![id, now])? == 1)
}
