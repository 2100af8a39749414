//! Keys as paths, and back as file names.

use axum::http::HeaderValue;
use gristmill_model::{CommitId, ObjectKey};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What has to be encoded in a path; slashes stay.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'@')
    .remove(b'+');
/// What has to be encoded in `filename*` (RFC 8187, `attr-char`).
const ATTRIBUTE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'+');

/// Decodes a path. Unlike most decoders it refuses a `%` that two hexadecimal digits do not follow:
/// one name has one meaning.
pub(super) fn decode_path(path: &str) -> Result<String, String> {
    let mut rest = path;
    while let Some((_, after)) = rest.split_once('%') {
        let digits = after.as_bytes().get(..2);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err("a `%` is not followed by two hexadecimal digits".to_owned());
        }
        rest = &after[2..];
    }
    let decoded = percent_decode_str(path).decode_utf8();
    decoded.map(Into::into).map_err(|_| "it is not UTF-8".to_owned())
}

/// A key as the path of a URL.
pub(super) fn encode_path(key: &str) -> impl std::fmt::Display {
    utf8_percent_encode(key, PATH)
}

/// `<key>@<full commit id>`.
pub(super) fn split_commit(text: &str) -> Option<(ObjectKey, CommitId)> {
    let (key, commit) = text.rsplit_once('@')?;
    Some((key.parse().ok()?, commit.parse().ok()?))
}

/// `attachment` with the last part of the key as the name to save it under (RFC 6266).
pub(super) fn content_disposition(key: &ObjectKey) -> HeaderValue {
    let name = key.as_str().rsplit('/').next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._+@ ()".contains(c);
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let mut text = format!("attachment; filename=\"{plain}\"");
    if plain != name {
        text.push_str(&format!("; filename*=UTF-8''{}", utf8_percent_encode(name, ATTRIBUTE)));
    }
    HeaderValue::try_from(text).expect("nothing but visible ASCII is left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_strictly() {
        for (path, decoded) in [
            ("a/b.zip", Some("a/b.zip")),
            ("a%2Fb%2fc", Some("a/b/c")),
            ("gr%C3%B6%C3%9Fe", Some("größe")),
            ("a%25b", Some("a%b")),
            ("a+b", Some("a+b")),
            ("%41", Some("A")),
            ("a%", None),
            ("a%4", None),
            ("a%zz", None),
            ("%41%4", None),
            ("%+1", None),
            ("a%ff", None),
            ("a%é", None),
        ] {
            assert_eq!(decode_path(path).ok().as_deref(), decoded, "{path}");
        }
    }

    #[test]
    fn paths_come_back_as_they_were() {
        for key in ["a/b-c_d.e~f@g+h.zip", "größe/a b/100%", "q?x=1&y#z", "<\"'>"] {
            let encoded = encode_path(key).to_string();
            assert_eq!(decode_path(&encoded).as_deref(), Ok(key));
            assert!(
                encoded.bytes().all(|c| c.is_ascii_alphanumeric() || b"/-._~@+%".contains(&c)),
                "{encoded}"
            );
        }
        assert_eq!(encode_path("a/b-c_d.e~f@g+h.zip").to_string(), "a/b-c_d.e~f@g+h.zip");
    }

    #[test]
    fn commits_behind_an_at() {
        let sha1 = "0123456789abcdef0123456789abcdef01234567";
        let sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for (text, key) in [
            (format!("a/b.zip@{sha1}"), Some("a/b.zip")),
            (format!("a/b.zip@{sha256}"), Some("a/b.zip")),
            (format!("a@b@{sha1}"), Some("a@b")),
            (format!("a/b.zip@{}", &sha1[1..]), None),
            (format!("a/b.zip@{}", sha1.to_uppercase()), None),
            (format!("a/b.zip@{}", "0".repeat(40)), None),
            (format!("@{sha1}"), None),
            (format!("a/b.zip{sha1}"), None),
            (format!("a@{sha1}/b"), None),
            (format!("../b@{sha1}"), None),
        ] {
            let split = split_commit(&text);
            assert_eq!(split.as_ref().map(|(key, _)| key.as_str()), key, "{text}");
            if let Some((key, commit)) = split {
                assert_eq!(format!("{key}@{commit}"), text);
            }
        }
    }

    #[test]
    fn file_names_are_safe() {
        for (key, expected) in [
            ("a/b.zip", "attachment; filename=\"b.zip\""),
            ("b (1).zip", "attachment; filename=\"b (1).zip\""),
            ("a/x\"y\\z;", "attachment; filename=\"x_y_z_\"; filename*=UTF-8''x%22y%5Cz%3B"),
            ("größe.zip", "attachment; filename=\"gr__e.zip\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.zip"),
        ] {
            assert_eq!(content_disposition(&key.parse().unwrap()), expected);
        }
    }
}
