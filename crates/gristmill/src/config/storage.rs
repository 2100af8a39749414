//! `[storage]`: a folder, or a bucket and how it is reached.

use std::path::Path;
use std::time::Duration;

use gristmill_storage::{Role, S3Settings, Sse, StorageUrl as Url};

use super::StorageUrl;
use super::reader::{Field, Section};
use super::server::{clean_join, duration, path, size};
use super::url;

const MIB: u64 = 1024 * 1024;
/// How a role's session is called where nothing else is said.
const SESSION_NAME: &str = "gristmill";

const EXPECTED: &str = "a URL, such as \"file:./gristmill-data/storage\" or \"s3://bucket/prefix\"";

/// Reads the table; the URL and how a bucket is reached.
pub(super) fn read(mut section: Section<'_>, folder: &Path, storage: &mut StorageUrl, s3: &mut S3Settings) {
    if let Some(url) = section.get("url").and_then(|field| storage_url(&field, folder)) {
        *storage = url;
    }
    let is_bucket = storage.is_bucket();
    let mut get = |key: &'static str| {
        let field = section.get(key)?;
        if !is_bucket {
            field.error(format!("`{key}` is for a bucket; `url` begins with `file:`, or is not given"));
            return None;
        }
        Some(field)
    };
    let word = |field: Field<'_>, expected: &str, good: fn(&str) -> bool| {
        field.text_as(expected, |text| good(text).then(|| text.to_owned()))
    };
    s3.region = get("region").and_then(|field| word(field, "a region, such as \"eu-west-1\"", is_region));
    s3.endpoint = get("endpoint").and_then(|field| {
        let text = field.text("a URL, such as \"https://minio.example.org:9000\"")?;
        url::public_url(text).map_err(|fault| field.error(format!("`endpoint`: {fault}"))).ok()
    });
    let path_style = get("path_style").and_then(|field| field.bool());
    // Servers of one's own rarely have a name for each bucket.
    s3.path_style = path_style.unwrap_or(s3.endpoint.is_some());
    s3.profile = get("profile").and_then(|field| word(field, "the name of a profile", is_plain));
    let file = get("credentials_file").and_then(|field| path(&field));
    s3.credentials_file = file.map(|file| clean_join(folder, &file));
    let arn = get("role_arn")
        .and_then(|field| word(field, "an ARN, such as \"arn:aws:iam::123456789012:role/mill\"", is_role));
    let external_id = get("role_external_id").and_then(|field| word(field, "a text", is_plain));
    let session =
        get("role_session_name").and_then(|field| word(field, "2 to 64 letters and digits", is_session));
    let needs_role = external_id.is_some() || session.is_some();
    let session_name = session.unwrap_or_else(|| SESSION_NAME.to_owned());
    s3.expected_bucket_owner =
        get("expected_bucket_owner").and_then(|field| word(field, "an account of 12 digits", is_account));
    let sse = get("sse").and_then(|field| word(field, "\"AES256\" or \"aws:kms\"", is_sse));
    let kms_key = get("kms_key").and_then(|field| word(field, "a key's id or ARN", is_plain));
    let seconds =
        |field: Field<'_>| Some(Duration::from_secs(duration(&field, 1, 600, "15s")?.unsigned_abs()));
    s3.connect_timeout = get("connect_timeout").and_then(seconds).unwrap_or(s3.connect_timeout);
    s3.request_timeout = get("request_timeout").and_then(seconds).unwrap_or(s3.request_timeout);
    let cache = get("cache").and_then(|field| path(&field)).map(|cache| clean_join(folder, &cache));
    s3.cache = cache.unwrap_or_else(|| std::mem::take(&mut s3.cache));
    let cache_max = get("cache_max").and_then(|field| size(&field, MIB, "10GiB"));
    s3.cache_bytes_max = cache_max.unwrap_or(s3.cache_bytes_max);
    match (&arn, needs_role) {
        (None, true) => section.error("`role_external_id` and `role_session_name` need a `role_arn`"),
        _ => s3.role = arn.map(|arn| Role { arn, external_id, session_name }),
    }
    match (sse.as_deref(), &kms_key) {
        (Some("aws:kms"), _) => s3.sse = Some(Sse::Kms(kms_key)),
        (_, Some(_)) => section.error("`kms_key` needs `sse = \"aws:kms\"`"),
        (Some(_), None) => s3.sse = Some(Sse::Aes256),
        (None, None) => {}
    }
    section.finish();
}

fn is_region(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_plain(text: &str) -> bool {
    (1..=2048).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

fn is_role(text: &str) -> bool {
    text.starts_with("arn:") && text.contains(":role/") && is_plain(text)
}

fn is_session(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"=,.@_-".contains(&byte);
    (2..=64).contains(&text.len()) && text.bytes().all(good)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_sse(text: &str) -> bool {
    matches!(text, "AES256" | "aws:kms")
}

fn storage_url(field: &Field<'_>, folder: &Path) -> Option<StorageUrl> {
    let text = field.text(EXPECTED)?;
    if text.starts_with("s3:") {
        // The URL is not repeated: some write credentials there.
        let url = text.parse::<Url>().map_err(|error| field.error(error.to_string())).ok()?;
        return Some(StorageUrl(url.to_string()));
    }
    field.text_as(EXPECTED, |text| {
        let path = text.strip_prefix("file:")?;
        let path = match path.strip_prefix("//") {
            Some(absolute) => Some(absolute).filter(|absolute| absolute.starts_with('/'))?,
            None => path,
        };
        let good = !path.is_empty() && !path.contains('\0');
        good.then(|| StorageUrl(format!("file:{}", clean_join(folder, Path::new(path)).display())))
    })
}
