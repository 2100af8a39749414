//! [`Secret`]: what a project and its forge share.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use crate::forge::Forge;

/// What a signing token of the Standard Webhooks specification begins with.
const SIGNING_TOKEN: &[u8] = b"whsec_";

/// Tokens are made with padding; libraries of the specification also take them without.
const TOKEN_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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
    /// It looks like a signing token of GitLab's and is none.
    #[error(
        "the secret begins with `whsec_`, as GitLab's signing tokens do, but what follows is not the base64 of a key; \
         copy it once more, whole"
    )]
    SigningToken,
    /// A user without a password.
    #[error(
        "the secret has a user and no password; expected `user:password`, as they are entered at the forge, \
         or the password alone where it has no colon"
    )]
    NoPassword,
}

impl Secret {
    /// Takes a secret as the forge has it, byte by byte: nothing is trimmed or decoded.
    ///
    /// # Errors
    /// [`SecretError::Empty`] where it holds nothing but white space and NUL bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Secret, SecretError> {
        let bytes = bytes.into();
        if is_blank(&bytes) {
            return Err(SecretError::Empty);
        }
        Ok(Secret(bytes))
    }

    /// Whether `forge` can use the secret. One that it cannot use lets nobody in; this says so when the
    /// configuration is read. `basic` says that it is a password: [`crate::Check::basic`], or Azure DevOps
    /// without a header of the project's own.
    ///
    /// # Errors
    /// [`SecretError`] for a `whsec_…` of GitLab that cannot be decoded, and for a user without a password.
    pub fn check(&self, forge: Forge, basic: bool) -> Result<(), SecretError> {
        if forge == Forge::Gitlab && self.is_signing_token() && self.signing_key().is_none() {
            return Err(SecretError::SigningToken);
        }
        if basic && self.password().is_none() {
            return Err(SecretError::NoPassword);
        }
        Ok(())
    }

    /// The key for a signature, or the token as it is sent.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is a signing token by its form, and not one that is sent.
    pub(crate) fn is_signing_token(&self) -> bool {
        self.0.starts_with(SIGNING_TOKEN)
    }

    /// The key within a signing token. `None` for other secrets, and for a key that protects nothing.
    pub(crate) fn signing_key(&self) -> Option<Vec<u8>> {
        let key = TOKEN_BASE64.decode(self.0.strip_prefix(SIGNING_TOKEN)?).ok()?;
        (!is_blank(&key)).then_some(key)
    }

    /// Whether this names a user too: `user:password`.
    pub(crate) fn has_user(&self) -> bool {
        self.0.contains(&b':')
    }

    /// The password within `user:password`, or the whole where no user is named. `None` where it is blank.
    pub(crate) fn password(&self) -> Option<&[u8]> {
        let colon = self.0.iter().position(|byte| *byte == b':');
        let password = &self.0[colon.map_or(0, |colon| colon + 1)..];
        (!is_blank(password)).then_some(password)
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
