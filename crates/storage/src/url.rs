//! [`StorageUrl`]: where the storage is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the storage is: `file:` and a folder. What follows `file:` is taken as it is written;
/// nothing in it is percent-decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StorageUrl {
    /// `file:./relative`, `file:/absolute` or `file:///absolute`.
    File(PathBuf),
}

/// The text does not say where a storage is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageUrlError {
    /// A bucket, which this version cannot use.
    #[error("storage `{0}`: S3 is not supported yet; use a folder, such as `file:./gristmill-data/storage`")]
    S3(String),
    /// Another scheme, or none.
    #[error(
        "storage `{0}`: expected `file:` and a folder, such as `file:./storage` or `file:/var/lib/gristmill/storage`"
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
        if text.starts_with("s3:") {
            return Err(StorageUrlError::S3(text.to_owned()));
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

impl fmt::Display for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageUrl::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, StorageUrlError> {
        text.parse::<StorageUrl>().map(|StorageUrl::File(path)| path.display().to_string())
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
    fn refusals_say_what_to_write() {
        let s3 = parse("s3://bucket/prefix").unwrap_err();
        assert_eq!(s3, StorageUrlError::S3("s3://bucket/prefix".to_owned()));
        assert!(s3.to_string().contains("not supported yet"));
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
