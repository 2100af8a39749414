//! [`Secret`]: what a project and its forge share.

use std::fmt;

/// A secret that a forge signs with. Never shown by `Debug`, and there is no way to print it.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

/// The secret protects nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing at all, or only white space and NUL bytes: an HMAC under a key of NULs is the same
    /// as under the empty key, and a blank file or variable is a mistake.
    #[error(
        "the secret is empty, which is an error in the configuration: anybody could sign with it. \
         Make one (`openssl rand -hex 32`), enter it at the forge and in the project; \
         a project that shall have no webhook has no `secret` at all"
    )]
    Empty,
}

impl Secret {
    /// Takes a secret as the forge has it, byte by byte: nothing is trimmed or decoded.
    ///
    /// # Errors
    /// [`SecretError::Empty`] where it holds nothing but white space and NUL bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Secret, SecretError> {
        let bytes = bytes.into();
        if bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return Err(SecretError::Empty);
        }
        Ok(Secret(bytes))
    }

    /// The key for a signature.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
