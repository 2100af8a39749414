//! [`Bucket`]: plain objects under keys that others chose, with metadata, in a bucket of S3 or in a folder.
//!
//! It is beside [`Storage`](crate::Storage) and knows nothing of it: no blobs, no versions, no cache, and nothing is
//! tried out. Conditions are asked of the server; one that ignores them is not found out here.

mod folder;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gristmill_model::{Digest, Timestamp};

use crate::error::StorageError;
use crate::s3::plain::{Plain, Proxies};
use crate::s3::settings::Role;
use crate::storage::blocking;
use crate::url::StorageUrl;
use folder::Folder;

/// How a bucket is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BucketAccess {
    /// The bucket's region, where it is known. No instance is asked for it, and a server that says another is believed.
    pub region: Option<String>,
    /// The server's URL, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path of URLs and not in the host's name.
    pub path_style: bool,
    /// As whom.
    pub credentials: BucketCredentials,
    /// The role to take with these credentials, for so long each time.
    pub role: Option<(Role, Duration)>,
    /// What is gone through.
    pub proxies: Proxies,
    /// The certificates that are trusted, in PEM, rather than those of the system.
    pub certificates: Option<Vec<u8>>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long one try of a call without a body may take; those with one get more by their size.
    pub request_timeout: Duration,
}

impl Default for BucketAccess {
    fn default() -> BucketAccess {
        BucketAccess {
            region: None,
            endpoint: None,
            path_style: false,
            credentials: BucketCredentials::Found,
            role: None,
            proxies: Proxies::default(),
            certificates: None,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(15),
        }
    }
}

/// As whom a bucket is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BucketCredentials {
    /// As AWS's own programs find them.
    Found,
    /// These; nothing is looked for.
    Keys(BucketKeys),
    /// Those of a role for whom a token of an identity provider is in a file.
    WebIdentity {
        /// The file; read each time.
        token_file: PathBuf,
        /// The role's ARN.
        role_arn: String,
        /// What the role's owner sees in the logs.
        session_name: String,
    },
}

/// Credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct BucketKeys {
    /// The key's name.
    pub id: String,
    /// The secret.
    pub secret: String,
    /// Of a session.
    pub token: Option<String>,
}

impl fmt::Debug for BucketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BucketKeys({}, …)", self.id)
    }
}

/// An object as a listing shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Changes with the bytes; a folder has none.
    pub etag: Option<String>,
    /// When it was written, by the storage's clock.
    pub modified: Timestamp,
}

/// What is known of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Its size in bytes.
    pub size: u64,
    /// What a condition may name.
    pub etag: String,
    /// Its media type.
    pub content_type: Option<String>,
    /// Its metadata; a folder has none.
    pub metadata: BTreeMap<String, String>,
}

/// What stands with an object.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct About {
    /// Its media type.
    pub content_type: String,
    /// Its metadata: names and values of visible ASCII.
    pub metadata: BTreeMap<String, String>,
}

/// The bytes of an object that is written.
#[derive(Clone, Debug)]
pub enum Body {
    /// In memory.
    Bytes(Bytes),
    /// All of a file, whose size and digest are known.
    File(Arc<File>, u64, Digest),
}

impl Body {
    /// How many bytes.
    pub fn size(&self) -> u64 {
        match self {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File(_, size, _) => *size,
        }
    }
}

/// What must hold for a write to happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WriteIf {
    /// Nothing.
    Always,
    /// There is no such object.
    Absent,
    /// The object has this ETag.
    Is(String),
}

/// What came of a write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Write {
    /// It is there, with this ETag.
    Done(Option<String>),
    /// The condition did not hold, or what was to be copied is not there any more as it was. Or the end of a large write was
    /// not answered, and something is there now.
    Refused,
}

#[derive(Clone, Debug)]
enum Place {
    Folder(Arc<Folder>),
    S3(Arc<Plain>),
}

/// Plain objects. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bucket {
    place: Place,
}

impl Bucket {
    /// Opens it without asking it anything. The URL's prefix counts for nothing here: keys are whole.
    pub async fn open(url: &StorageUrl, access: &BucketAccess) -> Bucket {
        let place = match url {
            StorageUrl::File(path) => Place::Folder(Arc::new(Folder::new(path))),
            StorageUrl::S3 { bucket, .. } => Place::S3(Arc::new(Plain::open(bucket, access).await)),
        };
        Bucket { place }
    }

    /// All objects whose keys begin with `prefix`, sorted by key.
    ///
    /// # Errors
    /// Where the storage cannot be asked, here and below.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StorageError> {
        match self.place.clone() {
            Place::S3(plain) => plain.list(prefix).await,
            Place::Folder(folder) => {
                let prefix = prefix.to_owned();
                blocking(move || folder.list(&prefix)).await
            }
        }
    }

    /// A small object's bytes and ETag; `None` where there is none.
    pub async fn get(&self, key: &str) -> Result<Option<(Bytes, String)>, StorageError> {
        match self.place.clone() {
            Place::S3(plain) => plain.get(key).await,
            Place::Folder(folder) => {
                let key = key.to_owned();
                blocking(move || folder.get(&key)).await
            }
        }
    }

    /// What is known of an object; `None` where there is none.
    pub async fn head(&self, key: &str) -> Result<Option<Head>, StorageError> {
        match self.place.clone() {
            Place::S3(plain) => plain.head(key).await,
            Place::Folder(folder) => {
                let key = key.to_owned();
                blocking(move || folder.head(&key)).await
            }
        }
    }

    /// Writes an object. Readers have the one before or this one, whole.
    pub async fn put(
        &self,
        key: &str,
        body: Body,
        about: &About,
        condition: WriteIf,
    ) -> Result<Write, StorageError> {
        match self.place.clone() {
            Place::S3(plain) => plain.put(key, body, about, condition).await,
            Place::Folder(folder) => {
                let key = key.to_owned();
                blocking(move || folder.put(&key, &body, &condition)).await
            }
        }
    }

    /// Makes an object of another one's bytes, within the storage.
    pub async fn copy(
        &self,
        from: &Listed,
        to: &str,
        about: &About,
        condition: WriteIf,
    ) -> Result<Write, StorageError> {
        match self.place.clone() {
            Place::S3(plain) => plain.copy(from, to, about, condition).await,
            Place::Folder(folder) => {
                let (from, to) = (from.key.clone(), to.to_owned());
                blocking(move || folder.copy(&from, &to, &condition)).await
            }
        }
    }

    /// Writes an object's bytes into an empty file; their size and digest, `None` where there is no such object.
    pub async fn download(&self, key: &str, to: Arc<File>) -> Result<Option<(u64, Digest)>, StorageError> {
        match self.place.clone() {
            Place::S3(plain) => plain.download(key, to).await,
            Place::Folder(folder) => {
                let key = key.to_owned();
                blocking(move || folder.download(&key, &to)).await
            }
        }
    }

    /// Takes an object away, whether or not it was there.
    pub async fn delete(&self, key: &str) -> Result<(), StorageError> {
        match self.place.clone() {
            Place::S3(plain) => plain.delete(key).await,
            Place::Folder(folder) => {
                let key = key.to_owned();
                blocking(move || folder.delete(&key)).await
            }
        }
    }

    /// Takes away what killed writers left unfinished below `prefix` before that time; how many.
    pub async fn clear_unfinished(&self, prefix: &str, before: Timestamp) -> Result<usize, StorageError> {
        match self.place.clone() {
            Place::S3(plain) => plain.clear_unfinished(prefix, before).await,
            Place::Folder(folder) => blocking(move || folder.clear_unfinished(before)).await,
        }
    }
}
