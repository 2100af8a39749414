//! [`DeployKey`]: the private key that lets us in by ssh.

use std::fmt;
use std::sync::Arc;

use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey};

/// The longest key file read, in bytes. Those of ed25519 have about 400 and their comment.
const KEY_BYTES_MAX: usize = 16 * 1024;

/// The longest comment, in bytes.
const COMMENT_BYTES_MAX: usize = 200;

/// An ed25519 private key. Cheap to clone. Neither `Debug` nor errors show the secret.
#[derive(Clone)]
pub struct DeployKey {
    key: Arc<PrivateKey>,
}

/// Why a key was refused. Nothing of the key is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeployKeyError {
    /// Too long to be a key.
    #[error("the ssh key has more than 16 KiB, which no key has")]
    TooLong,
    /// Not what `ssh-keygen` writes.
    #[error(
        "the ssh key is not a private key in OpenSSH's format (it begins with `-----BEGIN OPENSSH PRIVATE KEY-----`); make one with `ssh-keygen -t ed25519`"
    )]
    Format,
    /// The public key was given.
    #[error("the ssh key is a public key; the private one is needed (the file without `.pub`)")]
    Public,
    /// It has a passphrase.
    #[error("the ssh key has a passphrase, and nobody is there to type it; remove it with `ssh-keygen -p`")]
    Encrypted,
    /// RSA, ECDSA or a hardware key.
    #[error("the ssh key is not of the kind ed25519; make one with `ssh-keygen -t ed25519`")]
    Algorithm,
    /// The comment cannot stand in a line.
    #[error("the comment of an ssh key may have at most 200 bytes and no control characters")]
    Comment,
}

impl DeployKey {
    /// A new key from 32 bytes of the operating system's randomness, which must be used for nothing else.
    /// `comment` says to whoever administers the forge what the key is for, such as `gristmill shop`.
    ///
    /// # Errors
    ///
    /// [`DeployKeyError::Comment`].
    pub fn generate(random: &[u8; 32], comment: &str) -> Result<DeployKey, DeployKeyError> {
        check_comment(comment)?;
        let keypair = KeypairData::Ed25519(Ed25519Keypair::from_seed(random));
        let key = PrivateKey::new(keypair, comment).map_err(|_| DeployKeyError::Format)?;
        Ok(DeployKey { key: Arc::new(key) })
    }

    /// Reads a private key as `ssh-keygen` writes it.
    ///
    /// # Errors
    ///
    /// Refuses everything but an ed25519 key without a passphrase, and says how to get one.
    pub fn from_openssh(bytes: &[u8]) -> Result<DeployKey, DeployKeyError> {
        if bytes.len() > KEY_BYTES_MAX {
            return Err(DeployKeyError::TooLong);
        }
        if bytes.starts_with(b"ssh-") || bytes.starts_with(b"ecdsa-") || bytes.starts_with(b"sk-") {
            return Err(DeployKeyError::Public);
        }
        // Blank lines at either end come from copying; Windows' line ends too.
        let text = std::str::from_utf8(bytes).map_err(|_| DeployKeyError::Format)?.trim();
        let text = text.replace("\r\n", "\n") + "\n";
        let key = PrivateKey::from_openssh(text.as_bytes()).map_err(|_| DeployKeyError::Format)?;
        if key.is_encrypted() {
            return Err(DeployKeyError::Encrypted);
        }
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(DeployKeyError::Algorithm);
        }
        check_comment(key.comment().as_str().map_err(|_| DeployKeyError::Comment)?)?;
        Ok(DeployKey { key: Arc::new(key) })
    }

    /// The private key in OpenSSH's format, to be sealed and kept. The text is wiped when it is dropped.
    pub fn to_openssh(&self) -> impl AsRef<str> + use<> {
        Secret(self.key.to_openssh(LineEnding::LF).expect("it was encoded or decoded before"))
    }

    /// The public key as one line without its end, for a forge's page of deploy keys: `ssh-ed25519 AAAA… comment`.
    pub fn public_line(&self) -> String {
        self.key.public_key().to_openssh().expect("it was encoded or decoded before")
    }

    /// `SHA256:…`, as `ssh-keygen -l` and forges show it.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }
}

fn check_comment(comment: &str) -> Result<(), DeployKeyError> {
    let good = comment.len() <= COMMENT_BYTES_MAX && !comment.contains(char::is_control);
    if good { Ok(()) } else { Err(DeployKeyError::Comment) }
}

/// Holds the library's wiping string without naming its type.
struct Secret<T>(T);

impl<T: std::ops::Deref<Target = String>> AsRef<str> for Secret<T> {
    fn as_ref(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for DeployKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeployKey({})", self.fingerprint())
    }
}
