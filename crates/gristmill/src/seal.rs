//! Secrets at rest: what stands in the database is sealed with the server's key, which does not stand there.
//!
//! Sealed text is a version byte, the first 8 bytes that tell the server's key from others, a nonce of 12 random bytes,
//! and ChaCha20-Poly1305 (RFC 8439) of the secret with its tag. The row that it is for is bound to it: the sealed text
//! of one row opens in no other. The key of the cipher and what tells server keys apart are made of the server's key by
//! HKDF-SHA-256 (RFC 5869), each with a purpose of its own, so that neither says anything about the other.
//!
//! Random nonces of 96 bits are good for 2^32 messages under one key (NIST SP 800-38D, section 8.3, says so of GCM,
//! whose nonces are as long); a server seals one for each project and rotation.

use std::fmt;
use std::path::PathBuf;

use gristmill_model::{DeployKeyId, ProjectId, hex};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use crate::config::{Config, SecretError, SecretSource};
use crate::folders;

/// The name of the key in the data folder, where none is configured.
pub const FILE_NAME: &str = "server.key";

/// The length of a server's key, in bytes.
const KEY_BYTES: usize = 32;
/// The form of sealed texts.
const VERSION: u8 = 1;
/// What tells server keys apart, in bytes.
const MARK_BYTES: usize = 8;
/// What stands before the cipher's text.
const HEAD_BYTES: usize = 1 + MARK_BYTES + NONCE_LEN;

/// The row that a secret belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// The private half of a project's key.
    DeployKey(ProjectId, DeployKeyId),
}

impl Owner {
    /// Ids have a fixed length and purposes have no NUL, so no two owners have the same text.
    fn bound(self) -> Vec<u8> {
        let Owner::DeployKey(project, key) = self;
        format!("gristmill\0deploy_key\0{project}\0{key}").into_bytes()
    }
}

/// Why a key is none, or a sealed text was not opened. Nothing of either is repeated.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The secret cannot be read.
    #[error(transparent)]
    Source(#[from] SecretError),
    /// Its text is not a key.
    #[error(
        "the server's key in {0} is not 64 hexadecimal digits (32 bytes); `openssl rand -hex 32` makes such a key"
    )]
    Format(SecretSource),
    /// The file in the data folder cannot be made.
    #[error("the server's key {} cannot be made: {error}", path.display())]
    Make {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It was sealed with a key that is not here.
    #[error("it was sealed with another server key than the configured ones")]
    OtherKey,
    /// It was changed, belongs to another row, or is no sealed text.
    #[error("it was changed since it was sealed, or belongs to another row")]
    Damaged,
}

/// One server's key, ready to be used.
struct ServerKey {
    mark: [u8; MARK_BYTES],
    cipher: LessSafeKey,
}

/// How many bytes are derived.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl ServerKey {
    fn new(key: &[u8; KEY_BYTES]) -> ServerKey {
        // The key is uniformly random; the salt only sets this use of it apart from others.
        let prk = Salt::new(HKDF_SHA256, b"gristmill server key").extract(key);
        let derive = |purpose: &[u8], into: &mut [u8]| {
            let okm = prk.expand(&[purpose], Bytes(into.len())).map(|okm| okm.fill(into));
            okm.and_then(|filled| filled).expect("far less than 255 blocks");
        };
        let mut mark = [0; MARK_BYTES];
        derive(b"mark", &mut mark);
        let mut cipher = Zeroizing::new([0; KEY_BYTES]);
        derive(b"chacha20-poly1305", cipher.as_mut_slice());
        let cipher = UnboundKey::new(&CHACHA20_POLY1305, cipher.as_slice()).expect("32 bytes");
        ServerKey { mark, cipher: LessSafeKey::new(cipher) }
    }
}

/// 64 hexadecimal digits.
fn parse(text: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let text = Zeroizing::new(std::str::from_utf8(text).ok()?.trim().to_ascii_lowercase());
    let bytes = Zeroizing::new(hex::decode(&text)?);
    Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
}

/// Whether the secret is a server's key, for the configuration.
pub(crate) fn check(source: &SecretSource, env: &dyn Fn(&str) -> Option<String>) -> Result<(), SealError> {
    read(source, env).map(drop)
}

fn read(source: &SecretSource, env: &dyn Fn(&str) -> Option<String>) -> Result<ServerKey, SealError> {
    let text = Zeroizing::new(source.resolve(env)?);
    let key = parse(&text).ok_or_else(|| SealError::Format(source.clone()))?;
    Ok(ServerKey::new(&key))
}

/// The server's keys: the first one seals, each opens.
pub struct Keyring {
    keys: Vec<ServerKey>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| hex::encode(&key.mark))).finish()
    }
}

/// Where the server's key lies, where none is configured.
pub(crate) fn default_file(config: &Config) -> PathBuf {
    config.data_dir.join(FILE_NAME)
}

/// The server's keys as they stand, a line each, the one that seals first: for a backup that was asked to hold them.
///
/// # Errors
///
/// Where one of them cannot be read, is none, or none is there.
pub(crate) fn texts(
    config: &Config,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let made = [SecretSource::File(default_file(config))];
    let sources = if config.server.key.is_empty() { &made[..] } else { &config.server.key };
    let mut lines = Zeroizing::new(Vec::new());
    for source in sources {
        let text = Zeroizing::new(source.resolve(env)?);
        let key = parse(&text).ok_or_else(|| SealError::Format(source.clone()))?;
        lines.extend_from_slice(hex::encode(key.as_slice()).as_bytes());
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Puts the first key of a backup into the data folder. One that is there stays.
pub(crate) fn put_back(config: &Config, lines: &[u8]) -> Result<(), SealError> {
    let path = default_file(config);
    let first = lines.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
    parse(first).ok_or_else(|| SealError::Format(SecretSource::File(path.clone())))?;
    folders::write_new(&path, first).map_err(|error| SealError::Make { path, error })
}

impl Keyring {
    /// The configured keys, else the one in the data folder; `None` where that is not made yet.
    ///
    /// # Errors
    ///
    /// Where one of them cannot be read, or is none.
    pub(crate) fn open(
        config: &Config,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Keyring>, SealError> {
        let sources = &config.server.key;
        if !sources.is_empty() {
            let keys = sources.iter().map(|source| read(source, env)).collect::<Result<_, _>>()?;
            return Ok(Some(Keyring { keys }));
        }
        let source = SecretSource::File(default_file(config));
        match read(&source, env) {
            Ok(key) => Ok(Some(Keyring { keys: vec![key] })),
            Err(SealError::Source(SecretError::Unreadable { error, .. }))
                if error.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the key in the data folder of 32 random bytes. One that another process made meanwhile stays and is
    /// the one that counts.
    pub(crate) fn make(config: &Config, random: &[u8; KEY_BYTES]) -> Result<Keyring, SealError> {
        let path = default_file(config);
        let text = Zeroizing::new(format!("{}\n", hex::encode(random)));
        folders::write_new(&path, text.as_bytes())
            .map_err(|error| SealError::Make { path: path.clone(), error })?;
        Ok(Keyring { keys: vec![read(&SecretSource::File(path), &|_| None)?] })
    }

    /// Seals a secret for a row. `random` is used for nothing else.
    pub(crate) fn seal(&self, owner: Owner, secret: &[u8], random: u128) -> Vec<u8> {
        let key = &self.keys[0];
        let random = random.to_ne_bytes();
        let nonce: [u8; NONCE_LEN] = random[..NONCE_LEN].try_into().expect("12 of 16 bytes");
        let mut text = secret.to_vec();
        let sealed = key.cipher.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad(&key.mark, owner)),
            &mut text,
        );
        sealed.expect("a secret has less than 256 GiB");
        [&[VERSION][..], &key.mark, &nonce, &text].concat()
    }

    /// Opens what was sealed for this row.
    pub(crate) fn open_sealed(&self, owner: Owner, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (mark, nonce, text) = split(sealed).ok_or(SealError::Damaged)?;
        let key = self.keys.iter().find(|key| key.mark == mark).ok_or(SealError::OtherKey)?;
        let mut text = Zeroizing::new(text.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = key.cipher.open_in_place(nonce, Aad::from(aad(&mark, owner)), &mut text);
        let length = opened.map_err(|_| SealError::Damaged)?.len();
        text.truncate(length);
        Ok(text)
    }

    /// Whether one of the keys here sealed it.
    pub(crate) fn knows(&self, sealed: &[u8]) -> bool {
        split(sealed).is_some_and(|(mark, ..)| self.keys.iter().any(|key| key.mark == mark))
    }

    /// Whether the first key sealed it, so that it need not be sealed again.
    pub(crate) fn is_newest(&self, sealed: &[u8]) -> bool {
        split(sealed).is_some_and(|(mark, ..)| self.keys[0].mark == mark)
    }
}

fn aad(mark: &[u8; MARK_BYTES], owner: Owner) -> Vec<u8> {
    [&[VERSION][..], mark, &owner.bound()].concat()
}

fn split(sealed: &[u8]) -> Option<([u8; MARK_BYTES], [u8; NONCE_LEN], &[u8])> {
    let (head, text) = sealed.split_at_checked(HEAD_BYTES)?;
    let (mark, nonce) = head.strip_prefix(&[VERSION])?.split_at(MARK_BYTES);
    Some((mark.try_into().ok()?, nonce.try_into().ok()?, text))
}

#[cfg(test)]
mod tests;
