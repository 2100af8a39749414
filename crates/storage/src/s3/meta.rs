//! What stands with a public object as its metadata, so that the object alone says what it is.
//!
//! `gristmill-seq` and `gristmill-sha256` are ours; everything else is the publisher's. Metadata travels in HTTP
//! headers: bytes other than visible ASCII, and `%`, are percent-encoded. S3 takes 2 KiB of it; where it is more,
//! the longest values are cut and end in `…`.

use std::collections::{BTreeMap, HashMap};

use gristmill_model::Digest;

use crate::object::PublicObject;

const SEQ: &str = "gristmill-seq";
const SHA256: &str = "gristmill-sha256";

/// S3 counts names and values; some servers count the `x-amz-meta-` of each too.
const BYTES_MAX: usize = 2048;
const PREFIX_BYTES: usize = "x-amz-meta-".len();
const CUT: &str = "%E2%80%A6";

fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// What is no encoding of ours is left as it is: others may have set it.
fn decode(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok()).filter(|hex| !hex.starts_with('+'));
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| value.to_owned())
}

/// Cuts an encoded value down by at least `bytes`.
fn cut(value: &mut String, bytes: usize) {
    let mut keep = value.len().saturating_sub(bytes + CUT.len());
    while keep > 0 && splits(value, keep) {
        keep -= 1;
    }
    value.truncate(keep);
    value.push_str(CUT);
}

/// Whether a cut at `at` would divide an encoded byte, or the bytes of one character.
fn splits(value: &str, at: usize) -> bool {
    let bytes = value.as_bytes();
    let within = (1..3).any(|back| at >= back && bytes[at - back] == b'%');
    // A byte 10xxxxxx goes on with the character before.
    within || bytes[at] == b'%' && matches!(bytes.get(at + 1), Some(b'8' | b'9' | b'A' | b'B'))
}

fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    !name.is_empty() && name.bytes().all(good) && name != SEQ && name != SHA256
}

/// The metadata of an object that holds this version.
pub(super) fn write(object: &PublicObject) -> HashMap<String, String> {
    let ours = [(SEQ.to_owned(), object.seq.to_string()), (SHA256.to_owned(), object.digest.to_hex())];
    // What cannot be the name of a header cannot be sent; our own publishers have no such names.
    let theirs = object.metadata.iter().filter(|(name, _)| is_name(name));
    let theirs = theirs.map(|(name, value)| (name.clone(), encode(value)));
    let mut all: BTreeMap<String, String> = ours.into_iter().chain(theirs).collect();
    loop {
        let bytes: usize = all.iter().map(|(name, value)| PREFIX_BYTES + name.len() + value.len()).sum();
        let over = bytes.saturating_sub(BYTES_MAX);
        let theirs = all.iter_mut().filter(|(name, _)| is_name(name));
        let Some((name, longest)) = theirs.max_by_key(|(_, value)| value.len()) else { break };
        if over == 0 {
            break;
        }
        if longest.len() > 2 * CUT.len() {
            cut(longest, over.min(longest.len() / 2));
        } else {
            // So many that even cut they are too much.
            let name = name.clone();
            all.remove(&name);
        }
    }
    all.into_iter().collect()
}

/// What [`read`] makes of what [`write()`] wrote.
pub(crate) fn as_shown(object: &PublicObject) -> PublicObject {
    let shown = read(Some(&write(object)), object.size, Some(&object.content_type));
    shown.unwrap_or_else(|| object.clone())
}

/// The version that an object says it holds; `None` where it is none of ours.
pub(super) fn read(
    metadata: Option<&HashMap<String, String>>,
    size: u64,
    content_type: Option<&str>,
) -> Option<PublicObject> {
    let metadata = metadata?;
    let seq = metadata.get(SEQ)?.parse().ok().filter(|seq| *seq >= 0)?;
    let digest = Digest::from_slice(&gristmill_model::hex::decode(metadata.get(SHA256)?)?)?;
    let theirs = metadata.iter().filter(|(name, _)| is_name(name));
    Some(PublicObject {
        seq,
        digest,
        size,
        content_type: content_type.unwrap_or_default().to_owned(),
        metadata: theirs.map(|(name, value)| (name.clone(), decode(value))).collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(metadata: &[(&str, &str)]) -> PublicObject {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        PublicObject {
            seq: 7,
            digest: Digest::of(b"x"),
            size: 1,
            content_type: "text/plain".to_owned(),
            metadata: metadata.iter().map(owned).collect(),
        }
    }

    fn bytes(metadata: &HashMap<String, String>) -> usize {
        metadata.iter().map(|(name, value)| PREFIX_BYTES + name.len() + value.len()).sum()
    }

    #[test]
    fn values_are_visible_ascii_and_come_back() {
        for (value, sent) in [
            ("refs/heads/main", "refs/heads/main"),
            ("grüße", "gr%C3%BC%C3%9Fe"),
            ("100%", "100%25"),
            (" a  b ", "%20a%20%20b%20"),
            ("", ""),
        ] {
            let object = object(&[("ref", value)]);
            let written = write(&object);
            assert_eq!(written["ref"], sent);
            assert_eq!(written["gristmill-seq"], "7");
            assert_eq!(read(Some(&written), 1, Some("text/plain")), Some(object));
        }
        for foreign in ["50%", "%zz", "%+1", "%FF"] {
            assert_eq!(decode(foreign), foreign);
        }
    }

    #[test]
    fn what_is_none_of_ours_is_told_apart() {
        let good = write(&object(&[]));
        let with = |name: &str, value: &str| {
            let mut changed = good.clone();
            changed.insert(name.to_owned(), value.to_owned());
            read(Some(&changed), 1, None)
        };
        assert_eq!(read(None, 1, None), None);
        assert_eq!(read(Some(&HashMap::new()), 1, None), None);
        assert_eq!(with("gristmill-seq", "x"), None);
        assert_eq!(with("gristmill-seq", "-1"), None);
        assert_eq!(with("gristmill-sha256", "ab"), None);
        assert!(with("gristmill-seq", "0").is_some_and(|object| object.seq == 0));
    }

    #[test]
    fn too_much_is_cut_where_it_is_longest() {
        let long = format!("refs/heads/{}", "ü".repeat(600));
        let written = write(&object(&[("ref", &long), ("commit", "c0ffee")]));
        assert!(bytes(&written) <= BYTES_MAX, "{}", bytes(&written));
        assert_eq!(written["commit"], "c0ffee");
        let back = read(Some(&written), 1, None).unwrap().metadata["ref"].clone();
        let kept = back.strip_suffix('…').unwrap();
        assert!(long.starts_with(kept) && kept.len() > 300, "{back}");
    }

    proptest! {
        #[test]
        fn whatever_is_given_fits(values in proptest::collection::vec(".{0,900}", 0..40)) {
            let names: Vec<String> = (0..values.len()).map(|at| format!("name-{at}")).collect();
            let pairs: Vec<(&str, &str)> =
                names.iter().map(String::as_str).zip(values.iter().map(String::as_str)).collect();
            let written = write(&object(&pairs));
            prop_assert!(bytes(&written) <= BYTES_MAX);
            for (name, value) in &written {
                prop_assert!(value.bytes().all(|byte| byte.is_ascii_graphic()));
                let at = name.strip_prefix("name-").and_then(|at| at.parse::<usize>().ok());
                if let Some(at) = at {
                    let back = decode(value);
                    let is_prefix = back.strip_suffix('…').is_some_and(|kept| values[at].starts_with(kept));
                    prop_assert!(back == values[at] || is_prefix, "{back}");
                }
            }
        }
    }
}
