//! [`S3Settings`]: how a bucket is reached.

use std::path::PathBuf;
use std::time::Duration;

use aws_sdk_s3::types::ServerSideEncryption;

/// What S3's CopyObject copies at most.
pub(super) const COPY_BYTES_MAX: u64 = 5 << 30;

/// How a bucket is reached and written. Credentials themselves are none of it: they come from where AWS's own programs
/// look for them (environment, profile, web identity, container, instance), or from a file of theirs that is named, and
/// from the role where one is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct S3Settings {
    /// The bucket's region; where it is not given, the environment's or the profile's.
    pub region: Option<String>,
    /// The server's URL, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path of URLs and not in the host's name.
    pub path_style: bool,
    /// The profile in AWS's configuration files; where it is given, credentials come from it alone.
    pub profile: Option<String>,
    /// A file in the form of AWS's `credentials`; where it is given, credentials come from it alone.
    pub credentials_file: Option<PathBuf>,
    /// The role to take with the credentials that are found.
    pub role: Option<Role>,
    /// The account that must own the bucket; every call is refused where another does.
    pub expected_bucket_owner: Option<String>,
    /// How the server encrypts what is written; where it is not given, as the bucket is set.
    pub sse: Option<Sse>,
    /// What is larger is copied in parts: the limit of S3's CopyObject. Tests lower it.
    pub copy_bytes_max: u64,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long one try of a call without a body may take; those with one get more by their size.
    pub request_timeout: Duration,
    /// The folder for files on their way to the bucket and for copies of blobs that are read.
    pub cache: PathBuf,
    /// The most bytes of copies that are kept there.
    pub cache_bytes_max: u64,
}

/// A role of AWS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// What the role's owner asks for besides, against a confused deputy. No secret.
    pub external_id: Option<String>,
    /// What the owner sees in the logs.
    pub session_name: String,
}

/// How the server encrypts what is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sse {
    /// `AES256`: with the server's own keys.
    Aes256,
    /// `aws:kms`: with a key of KMS; the account's default key for S3 where none is given.
    Kms(Option<String>),
}

impl S3Settings {
    /// The settings with everything at its default but the folder of the cache.
    pub fn new(cache: impl Into<PathBuf>) -> S3Settings {
        S3Settings {
            region: None,
            endpoint: None,
            path_style: false,
            profile: None,
            credentials_file: None,
            role: None,
            expected_bucket_owner: None,
            sse: None,
            copy_bytes_max: COPY_BYTES_MAX,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(15),
            cache: cache.into(),
            cache_bytes_max: 10 << 30,
        }
    }
}

impl Sse {
    /// How the server is to encrypt what is written, as its calls say it.
    pub(super) fn said(sse: Option<&Sse>) -> (Option<ServerSideEncryption>, Option<String>) {
        match sse {
            None => (None, None),
            Some(Sse::Aes256) => (Some(ServerSideEncryption::Aes256), None),
            Some(Sse::Kms(key)) => (Some(ServerSideEncryption::AwsKms), key.clone()),
        }
    }
}
