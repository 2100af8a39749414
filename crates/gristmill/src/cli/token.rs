//! `token …`.

use std::process::ExitCode;

use clap::Subcommand;
use gristmill_db::{Db, token};
use gristmill_model::TokenId;
use serde_json::json;

use super::{Context, output, read, transact};
use crate::clock::rfc3339;
use crate::http::access;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a token that may read archives and pages; it is shown once
    Create {
        /// What it is for
        name: String,
    },
    /// All tokens, without their secrets
    List,
    /// End a token's rights
    Revoke {
        /// Its id, from `token list`
        id: TokenId,
    },
}

pub(super) fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let db = context.db()?;
    match command {
        Command::Create { name } => {
            let (secret, hash) = access::new_token(random_bytes(&db));
            let id = transact(&db, move |tx| Ok(token::create(tx, &name, hash)?))?;
            eprintln!("token {id}; it is shown this once:");
            println!("{secret}");
        }
        Command::List => {
            let tokens = read(&db, |tx| Ok(token::list(tx)?))?;
            let state = |token: &token::Token| if token.revoked.is_some() { "revoked" } else { "active" };
            let rows: Vec<Vec<String>> = tokens
                .iter()
                .map(|token| {
                    vec![
                        token.id.to_string(),
                        state(token).to_owned(),
                        rfc3339(token.created),
                        token.name.clone(),
                    ]
                })
                .collect();
            let json = tokens.iter().map(|token| json!({ "id": token.id, "state": state(token), "created": rfc3339(token.created), "name": token.name })).collect();
            output::list(context.format, &["id", "state", "created", "name"], &rows, json);
        }
        Command::Revoke { id } => {
            if !transact(&db, move |tx| Ok(token::revoke(tx, id)?))? {
                anyhow::bail!("there is no active token {id}; `gristmill token list` shows them");
            }
            println!("token {id} is revoked");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn random_bytes(db: &Db) -> [u8; access::TOKEN_BYTES] {
    let mut bytes = [0; access::TOKEN_BYTES];
    for half in bytes.chunks_exact_mut(size_of::<u128>()) {
        half.copy_from_slice(&db.random().to_ne_bytes());
    }
    bytes
}
