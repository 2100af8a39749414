//! Where things lie in the bucket: public keys at `<prefix>/<key>`, ours below `<prefix>/.gristmill/`.

use gristmill_model::{Digest, KEY_BYTES_MAX, ObjectKey, hex};

use crate::error::ProjectError;

/// The first part of the names that are the storage's own.
pub(super) const RESERVED: &str = ".gristmill";
const BLOBS: &str = "blobs/sha256/";

/// The bucket's names for what the storage holds.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// Empty, or ends in a slash.
    prefix: String,
}

impl Names {
    /// `prefix` as in the URL: without slashes at its ends, maybe empty.
    pub(super) fn new(prefix: &str) -> Names {
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Names { prefix }
    }

    /// What all public keys begin with, and ours.
    pub(super) fn all(&self) -> &str {
        &self.prefix
    }

    /// What our own names begin with.
    pub(super) fn own(&self) -> String {
        format!("{}{RESERVED}/", self.prefix)
    }

    /// What the names of blobs begin with.
    pub(super) fn blobs(&self) -> String {
        format!("{}{BLOBS}", self.own())
    }

    pub(super) fn blob(&self, digest: &Digest) -> String {
        let hex = digest.to_hex();
        format!("{}{}/{hex}", self.blobs(), &hex[..2])
    }

    pub(super) fn probe(&self, run: &str, object: &str) -> String {
        format!("{}probe/{run}/{object}", self.own())
    }

    /// The digest that a name below [`Names::blobs`] tells.
    pub(super) fn digest(&self, name: &str) -> Option<Digest> {
        let (folder, hex) = name.strip_prefix(&self.blobs())?.split_once('/')?;
        let digest = Digest::from_slice(&hex::decode(hex)?)?;
        (hex.starts_with(folder) && folder.len() == 2 && digest.to_hex() == hex).then_some(digest)
    }

    /// The key of a name that is none of our own.
    pub(super) fn key(&self, name: &str) -> Option<ObjectKey> {
        let key = name.strip_prefix(&self.prefix)?;
        key.parse().ok().filter(|key: &ObjectKey| !is_reserved(key))
    }

    /// The name of a public key.
    pub(super) fn public(&self, key: &ObjectKey) -> Result<String, ProjectError> {
        if is_reserved(key) {
            let why = "the storage keeps its own objects there; begin the key with something else";
            return Err(ProjectError::NameRefused { key: key.clone(), part: RESERVED.to_owned(), why });
        }
        let name = format!("{}{key}", self.prefix);
        if name.len() > KEY_BYTES_MAX {
            return Err(ProjectError::KeyTooLong {
                key: key.clone(),
                bytes: name.len(),
                bytes_max: KEY_BYTES_MAX,
            });
        }
        Ok(name)
    }
}

fn is_reserved(key: &ObjectKey) -> bool {
    key.as_str().split('/').next() == Some(RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_back() {
        let digest = Digest::of(b"x");
        for (prefix, start) in [("", ""), ("a/b", "a/b/")] {
            let names = Names::new(prefix);
            let hex = digest.to_hex();
            let blob = names.blob(&digest);
            assert_eq!(blob, format!("{start}.gristmill/blobs/sha256/{}/{hex}", &hex[..2]));
            assert_eq!(names.digest(&blob), Some(digest));
            for stray in
                [blob.to_uppercase(), format!("{blob}0"), blob.replace(&format!("/{}/", &hex[..2]), "/zz/")]
            {
                assert_eq!(names.digest(&stray), None, "{stray}");
            }
            let key: ObjectKey = "x/.gristmill/y.zip".parse().unwrap();
            assert_eq!(names.public(&key).unwrap(), format!("{start}x/.gristmill/y.zip"));
            assert_eq!(names.key(&format!("{start}x/.gristmill/y.zip")), Some(key));
            assert_eq!(names.key(&blob), None);
        }
    }

    #[test]
    fn keys_that_cannot_be_are_refused() {
        let names = Names::new("p");
        for text in [".gristmill", ".gristmill/blobs/x"] {
            let refused = names.public(&text.parse().unwrap());
            assert!(matches!(refused, Err(ProjectError::NameRefused { .. })), "{text}");
        }
        assert!(names.public(&".gristmill-x".parse().unwrap()).is_ok());
        assert!(names.public(&"k".repeat(KEY_BYTES_MAX - 2).parse().unwrap()).is_ok());
        let long: ObjectKey = "k".repeat(KEY_BYTES_MAX - 1).parse().unwrap();
        assert!(matches!(names.public(&long), Err(ProjectError::KeyTooLong { bytes: 1025, .. })));
    }
}
