//! Who may read: everybody where the configuration says so, else whoever shows a token.
//!
//! A token is `gm_` and 64 hexadecimal digits. The database has only its hash, so that a copy of the
//! database lets nobody in, and looking it up takes the same time for near and far guesses.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use gristmill_db::{DbError, token};
use gristmill_model::{Digest, hex};

use super::error::ApiError;
use crate::app::App;

/// How every token begins, so that people and scanners of leaked secrets know it.
pub const TOKEN_PREFIX: &str = "gm_";
/// How many random bytes a token has.
pub const TOKEN_BYTES: usize = 32;

/// A right to read that was checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reader {
    /// Whether anybody may read, so that shared caches may keep what is sent.
    pub is_anonymous: bool,
}

/// The text of a token, to be shown once, and its hash, to be kept.
pub fn new_token(random: [u8; TOKEN_BYTES]) -> (String, Digest) {
    let token = format!("{TOKEN_PREFIX}{}", hex::encode(&random));
    let hash = Digest::of(token.as_bytes());
    (token, hash)
}

/// The hash under which a token is looked up; `None` for what cannot be a token.
pub fn token_hash(token: &str) -> Option<Digest> {
    let random = hex::decode(token.strip_prefix(TOKEN_PREFIX)?)?;
    (random.len() == TOKEN_BYTES).then(|| Digest::of(token.as_bytes()))
}

/// Whether the sender of these headers may read.
pub async fn may_read(app: &App, headers: &HeaderMap) -> bool {
    reader(app, headers).await.is_ok()
}

/// The right of the sender of these headers to read.
///
/// # Errors
///
/// [`ApiError::Unauthorized`] without a token that counts, [`ApiError::Unavailable`] where the
/// database cannot be asked.
pub async fn reader(app: &App, headers: &HeaderMap) -> Result<Reader, ApiError> {
    if app.live().config.server.anonymous_read {
        return Ok(Reader { is_anonymous: true });
    }
    let hash = shown_token(headers).and_then(|token| token_hash(&token)).ok_or(ApiError::Unauthorized)?;
    let is_valid: Result<bool, DbError> = app.db.read(move |tx| token::is_valid(tx, hash)).await;
    if is_valid? { Ok(Reader { is_anonymous: false }) } else { Err(ApiError::Unauthorized) }
}

/// The token in `Authorization`: as it is (`Bearer`), or as the password of any user (`Basic`).
fn shown_token(headers: &HeaderMap) -> Option<String> {
    let (scheme, credentials) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(credentials.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(credentials).ok()?).ok()?;
    text.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_prefix_and_32_bytes() {
        let (token, hash) = new_token([0xab; 32]);
        assert_eq!(token, format!("gm_{}", "ab".repeat(32)));
        assert_eq!(hash, Digest::of(token.as_bytes()));
        for (text, is_token) in [
            (token.clone(), true),
            (format!("gm_{}", "ab".repeat(31)), false),
            (format!("gm_{}", "ab".repeat(33)), false),
            (format!("gm_{}", "AB".repeat(32)), false),
            ("ab".repeat(32), false),
            (String::new(), false),
        ] {
            assert_eq!(token_hash(&text), is_token.then_some(hash), "{text}");
        }
    }

    #[test]
    fn a_token_is_shown_as_bearer_or_as_password() {
        let basic = |text: &str| format!("Basic {}", BASE64.encode(text));
        for (value, token) in [
            ("Bearer abc".to_owned(), Some("abc")),
            ("bearer  abc ".to_owned(), Some("abc")),
            ("Bearer".to_owned(), None),
            ("Digest abc".to_owned(), None),
            (basic("me:abc"), Some("abc")),
            (basic(":a:b"), Some("a:b")),
            (basic("abc"), None),
            ("BASIC bWU6YWJj".to_owned(), Some("abc")),
            ("Basic bWU6YWJ".to_owned(), None),
            ("Basic %%%".to_owned(), None),
        ] {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            assert_eq!(shown_token(&headers).as_deref(), token, "{value}");
        }
        assert_eq!(shown_token(&HeaderMap::new()), None);
    }
}
