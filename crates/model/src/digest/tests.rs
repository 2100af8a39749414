use super::*;

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn digests_are_sha_256() {
    let digest = Digest::of(b"abc");
    assert_eq!(digest.to_hex(), ABC);
    assert_eq!(digest.to_string(), format!("sha256:{ABC}"));
    assert_eq!(format!("{digest:?}"), format!("sha256:{ABC}"));
    assert_eq!(format!("sha256:{ABC}").parse(), Ok(digest));
}

#[test]
fn parts_are_told_apart() {
    let of = |parts: &[&str]| Digest::of_parts(parts.iter().map(|part| part.as_bytes()));
    assert_eq!(of(&["ab", "c"]), of(&["ab", "c"]));
    let lists: [&[&str]; 6] = [&[], &[""], &["", ""], &["abc"], &["a", "bc"], &["ab", "c"]];
    for (at, left) in lists.iter().enumerate() {
        for right in &lists[at + 1..] {
            assert_ne!(of(left), of(right), "{left:?} {right:?}");
        }
    }
    assert_eq!(of(&["a"]), Digest::of(b"\0\0\0\0\0\0\0\x01a"));
}

#[test]
fn bytes_come_back() {
    let bytes = [7; 32];
    assert_eq!(Digest::from_bytes(bytes).as_bytes(), &bytes);
    assert_eq!(Digest::from_slice(&bytes), Some(Digest::from_bytes(bytes)));
    assert_eq!(Digest::from_slice(&bytes[..31]), None);
    assert_eq!(Digest::from_slice(&[7; 33]), None);
}

#[test]
fn only_the_one_spelling_is_read() {
    for text in [
        String::new(),
        ABC.to_owned(),
        format!("sha256:{}", ABC.to_uppercase()),
        format!("SHA256:{ABC}"),
        format!("sha256:{ABC}00"),
        format!("sha256:{}", &ABC[..62]),
        format!("sha256:{}", &ABC[..63]),
        format!("sha256: {ABC}"),
    ] {
        let error = text.parse::<Digest>().unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("`{text}` is not a digest; expected `sha256:`")),
            "{error}"
        );
    }
}

#[test]
fn json_is_the_text() {
    let digest = Digest::of(b"abc");
    let json = serde_json::to_string(&digest).unwrap();
    assert_eq!(json, format!("\"sha256:{ABC}\""));
    assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
    assert!(serde_json::from_str::<Digest>("\"sha256:\"").is_err());
    assert!(serde_json::from_str::<Digest>("1").is_err());
}
