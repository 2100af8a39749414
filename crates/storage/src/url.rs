//! [`StorageUrl`]: where the storage is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The longest prefix, in bytes: half of what a key may have.
const PREFIX_BYTES_MAX: usize = 512;

/// Where the storage is: `file:` and a folder, or `s3://`, a bucket and maybe a prefix. It is taken as it is written;
/// nothing in it is percent-decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StorageUrl {
    /// `file:./relative`, `file:/absolute` or `file:///absolute`.
    File(PathBuf),
    /// `s3://bucket` or `s3://bucket/prefix`.
    S3 {
        /// The bucket.
        bucket: String,
        /// What all its objects begin with, without slashes at its ends; maybe empty.
        prefix: String,
    },
}

/// The text does not say where a storage is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageUrlError {
    /// `s3:` without the name of a bucket. What was written is not repeated: some write credentials there.
    #[error(
        "storage `s3:…`: expected a bucket and maybe a prefix, such as `s3://bucket/prefix`; credentials, endpoint and region have settings of their own"
    )]
    Bucket,
    /// A prefix that cannot begin an object's name.
    #[error(
        "storage `s3://{0}/…`: its prefix may have no part that is empty, `.`, `..` or `.gristmill`, and 512 bytes"
    )]
    Prefix(String),
    /// Another scheme, or none.
    #[error(
        "storage `{0}`: expected `file:` and a folder, such as `file:./storage`, or `s3://bucket/prefix`"
    )]
    Scheme(String),
    /// `file:` and nothing after it.
    #[error("storage `{0}` names no folder; expected one after `file:`, such as `file:./storage`")]
    Empty(String),
    /// `file://host/…`.
    #[error("storage `{0}` names a host; a folder on this machine is `file:/path` or `file:///path`")]
    Host(String),
}

impl FromStr for StorageUrl {
    type Err = StorageUrlError;

    fn from_str(text: &str) -> Result<StorageUrl, StorageUrlError> {
        if let Some(rest) = text.strip_prefix("s3:") {
            return bucket(rest);
        }
        let path = text.strip_prefix("file:").ok_or_else(|| StorageUrlError::Scheme(text.to_owned()))?;
        let path = match path.strip_prefix("//") {
            None => path,
            Some(absolute) if absolute.starts_with('/') => absolute,
            Some("") => "",
            Some(_) => return Err(StorageUrlError::Host(text.to_owned())),
        };
        if path.is_empty() || path.contains('\0') {
            return Err(StorageUrlError::Empty(text.to_owned()));
        }
        Ok(StorageUrl::File(PathBuf::from(path)))
    }
}

fn bucket(rest: &str) -> Result<StorageUrl, StorageUrlError> {
    let rest = rest.strip_prefix("//").ok_or(StorageUrlError::Bucket)?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if !(3..=255).contains(&bucket.len()) || !bucket.bytes().all(good) {
        return Err(StorageUrlError::Bucket);
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let is_part = |part: &str| !matches!(part, "" | "." | ".." | ".gristmill");
    let is_whole = prefix.len() <= PREFIX_BYTES_MAX && !prefix.contains(char::is_control);
    let is_prefix = prefix.is_empty() || is_whole && prefix.split('/').all(is_part);
    if !is_prefix {
        return Err(StorageUrlError::Prefix(bucket.to_owned()));
    }
    Ok(StorageUrl::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

impl fmt::Display for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageUrl::File(path) => write!(f, "file:{}", path.display()),
            StorageUrl::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            StorageUrl::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, StorageUrlError> {
        text.parse().map(|url| match url {
            StorageUrl::File(path) => path.display().to_string(),
            StorageUrl::S3 { bucket, prefix } => format!("{bucket} {prefix}"),
        })
    }

    #[test]
    fn folders() {
        for (text, path) in [
            ("file:./x", "./x"),
            ("file:x", "x"),
            ("file:/a/b c", "/a/b c"),
            ("file:///a", "/a"),
            ("file:/a%20b", "/a%20b"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(path), "{text}");
        }
        let url: StorageUrl = "file:///a/b".parse().unwrap();
        assert_eq!(url.to_string(), "file:/a/b");
        assert_eq!(url.to_string().parse(), Ok(url));
    }

    #[test]
    fn buckets() {
        for (text, parts, shown) in [
            ("s3://bucket", "bucket ", "s3://bucket"),
            ("s3://bucket/", "bucket ", "s3://bucket"),
            ("s3://my.bucket-1/a/b/", "my.bucket-1 a/b", "s3://my.bucket-1/a/b"),
            ("s3://bucket/grüße", "bucket grüße", "s3://bucket/grüße"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(parts), "{text}");
            assert_eq!(text.parse::<StorageUrl>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn refusals_say_what_to_write() {
        for text in
            ["s3:", "s3://", "s3:/b", "s3://ab", "s3://key:word@bucket/x", "s3://bu cket", "s3://b?x=1/p"]
        {
            let error = parse(text).unwrap_err();
            assert_eq!(error, StorageUrlError::Bucket, "{text}");
            assert!(!error.to_string().contains("word"));
        }
        for prefix in ["//", "a//b", "a/../b", ".", ".gristmill", "a\nb", &"p".repeat(513)] {
            assert_eq!(
                parse(&format!("s3://bucket/{prefix}")),
                Err(StorageUrlError::Prefix("bucket".to_owned()))
            );
        }
        for text in ["./x", "/x", "http://x", "", "FILE:/x"] {
            assert_eq!(parse(text), Err(StorageUrlError::Scheme(text.to_owned())));
        }
        for text in ["file:", "file://", "file:/a\0b"] {
            assert_eq!(parse(text), Err(StorageUrlError::Empty(text.to_owned())));
        }
        for text in ["file://host/a", "file://a"] {
            assert_eq!(parse(text), Err(StorageUrlError::Host(text.to_owned())));
        }
    }
}
