//! Who is let in, and what the others are told.

use bytes::Bytes;
use expect_test::{Expect, expect};
use gristmill_forge::{Check, Forge, Headers, Secret, StoredDelivery, Verified, Verifier, VerifyError};

use crate::senders::NOW;
use crate::{secret, verify, verify_by};

/// The vector of GitHub's documentation, and the same under HMAC-SHA1.
pub(crate) const SECRET: &str = "It's a Secret to Everybody";
pub(crate) const BODY: &[u8] = b"Hello, World!";
pub(crate) const SHA256: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
const SHA1: &str = "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59";

/// A project that wants SHA-256, and one that opted in to the legacy signature too.
const DEFAULT: bool = false;
const LEGACY: bool = true;

fn verify_sha1(
    allow_sha1: bool,
    headers: &[(&str, &str)],
    secrets: &[Secret],
) -> Result<Verified, VerifyError> {
    verify_by(&Check { allow_sha1, ..Check::new(Forge::Github, secrets, NOW) }, headers, BODY)
}

pub(crate) fn outcome(result: Result<Verified, VerifyError>) -> String {
    match result {
        Ok(verified) => format!("{verified:?}"),
        Err(error) if error.is_authenticated() => format!("refused, the sender may know: {error}"),
        Err(error) => format!("refused: {error}"),
    }
}

#[track_caller]
fn check(headers: &[(&str, &str)], allow_sha1: bool, expected: Expect) {
    let headers = [&[("X-GitHub-Event", "push"), ("X-GitHub-Delivery", "d-1")], headers].concat();
    expected.assert_eq(&outcome(verify_sha1(allow_sha1, &headers, &[secret(SECRET)])));
}

#[test]
fn the_documented_vector_is_let_in() {
    check(
        &[("X-Hub-Signature-256", SHA256)],
        DEFAULT,
        expect![[
            r#"Verified { forge: Github, verifier: GithubHmacSha256, secret_index: Some(0), event: "push", delivery_id: "d-1", body_bytes: 13 }"#
        ]],
    );
}

#[test]
fn signatures_that_are_not_there_or_not_well_formed() {
    check(
        &[("X-Hub-Signature-256", "")],
        DEFAULT,
        expect![
            "refused: `X-Hub-Signature-256` is malformed; expected `sha256=` and 64 lower-case hexadecimal digits"
        ],
    );
    check(
        &[],
        DEFAULT,
        expect![
            "refused: the request is not signed; expected `X-Hub-Signature-256`: enter the project's secret at the forge"
        ],
    );
    let digits = &SHA256["sha256=".len()..];
    for value in [
        "",
        "sha256=",
        digits,
        SHA1,
        &SHA256[..SHA256.len() - 1],
        &format!("{SHA256}0"),
        &format!("{SHA256}00"),
        &format!(" {SHA256}"),
        &format!("{SHA256} "),
        &format!("sha256={}", digits.to_uppercase()),
        &format!("SHA256={digits}"),
        &format!("sha256=sha256={digits}"),
        "sha256=é57107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    ] {
        let headers = [("X-GitHub-Event", "push"), ("X-Hub-Signature-256", value)];
        let error = verify(&headers, BODY, &[secret(SECRET)]).unwrap_err();
        assert!(
            matches!(error, VerifyError::MalformedSignature { header: "X-Hub-Signature-256", .. }),
            "{value}"
        );
    }
}

#[test]
fn a_header_value_that_is_not_text_is_malformed() {
    let headers = Headers::new([("X-Hub-Signature-256", b"sha256=\xff".as_slice())]);
    let result = Check::new(Forge::Github, &[secret("s")], NOW).verify(&headers, Bytes::new()).unwrap_err();
    assert!(matches!(result, VerifyError::MalformedSignature { header: "X-Hub-Signature-256", .. }));
}

#[test]
fn a_signature_that_is_one_digit_off() {
    for at in ["sha256=".len(), SHA256.len() / 2, SHA256.len() - 1] {
        let mut wrong = SHA256.to_owned();
        let digit = if wrong.as_bytes()[at] == b'0' { "1" } else { "0" };
        wrong.replace_range(at..=at, digit);
        let headers = [("X-GitHub-Event", "push"), ("X-Hub-Signature-256", wrong.as_str())];
        let error = verify(&headers, BODY, &[secret(SECRET)]).unwrap_err();
        assert_eq!(error, VerifyError::Mismatch, "digit {at}");
    }
    expect!["the signature fits none of the project's secrets; compare the one entered at the forge"]
        .assert_eq(&VerifyError::Mismatch.to_string());
}

#[test]
fn the_legacy_signature_needs_the_projects_consent() {
    let wrong = SHA1.replace("sha1=0", "sha1=1");
    check(
        &[("X-Hub-Signature", SHA1)],
        DEFAULT,
        expect![
            "refused: only the legacy SHA-1 signature came; expected `X-Hub-Signature-256`: a sender that cannot send it is let in by `allow_sha1` in the project"
        ],
    );
    check(
        &[("X-Hub-Signature", &wrong)],
        DEFAULT,
        expect![
            "refused: only the legacy SHA-1 signature came; expected `X-Hub-Signature-256`: a sender that cannot send it is let in by `allow_sha1` in the project"
        ],
    );
    check(
        &[("X-Hub-Signature", SHA1)],
        LEGACY,
        expect![[
            r#"Verified { forge: Github, verifier: GithubHmacSha1, secret_index: Some(0), event: "push", delivery_id: "d-1", body_bytes: 13 }"#
        ]],
    );
    check(
        &[("X-Hub-Signature", &wrong)],
        LEGACY,
        expect![
            "refused: the signature fits none of the project's secrets; compare the one entered at the forge"
        ],
    );
    check(
        &[("X-Hub-Signature", SHA256)],
        LEGACY,
        expect![
            "refused: `X-Hub-Signature` is malformed; expected `sha1=` and 40 lower-case hexadecimal digits"
        ],
    );
    check(
        &[],
        LEGACY,
        expect![
            "refused: the request is not signed; expected `X-Hub-Signature-256`: enter the project's secret at the forge"
        ],
    );
}

#[test]
fn of_both_signatures_the_sha256_one_counts() {
    let wrong_256 = SHA256.replace("sha256=7", "sha256=8");
    let wrong_1 = SHA1.replace("sha1=0", "sha1=1");
    let check = |sha256: &str, sha1: &str, expected: Result<Verifier, VerifyError>| {
        let headers =
            [("X-GitHub-Event", "push"), ("X-Hub-Signature", sha1), ("X-Hub-Signature-256", sha256)];
        for allow_sha1 in [DEFAULT, LEGACY] {
            let result = verify_sha1(allow_sha1, &headers, &[secret(SECRET)]);
            assert_eq!(result.map(|verified| verified.verifier()), expected);
        }
    };
    check(SHA256, SHA1, Ok(Verifier::GithubHmacSha256));
    check(SHA256, &wrong_1, Ok(Verifier::GithubHmacSha256));
    check(SHA256, "", Ok(Verifier::GithubHmacSha256));
    check(&wrong_256, SHA1, Err(VerifyError::Mismatch));
    let malformed = "`sha256=` and 64 lower-case hexadecimal digits";
    check(
        "",
        SHA1,
        Err(VerifyError::MalformedSignature { header: "X-Hub-Signature-256", expected: malformed }),
    );
}

#[test]
fn headers_that_decide_something_come_once() {
    check(
        &[("X-Hub-Signature-256", SHA256), ("x-hub-signature-256", SHA256)],
        DEFAULT,
        expect!["refused: the header `X-Hub-Signature-256` came more than once; expected one"],
    );
    check(
        &[("X-Hub-Signature-256", SHA256), ("X-Hub-Signature", SHA1), ("X-Hub-Signature", SHA1)],
        DEFAULT,
        expect!["refused: the header `X-Hub-Signature` came more than once; expected one"],
    );
    check(
        &[("X-Hub-Signature-256", SHA256), ("x-github-event", "ping")],
        DEFAULT,
        expect!["refused: the header `X-GitHub-Event` came more than once; expected one"],
    );
    check(
        &[("X-Hub-Signature-256", SHA256), ("x-github-delivery", "d-1")],
        DEFAULT,
        expect!["refused: the header `X-GitHub-Delivery` came more than once; expected one"],
    );
}

/// One delivery signed rightly, with these values for event and id.
fn named(event: Option<&str>, id: Option<&str>) -> Result<Verified, VerifyError> {
    let event = event.map(|event| ("X-GitHub-Event", event));
    let id = id.map(|id| ("X-GitHub-Delivery", id));
    let headers: Vec<_> = [Some(("X-Hub-Signature-256", SHA256)), event, id].into_iter().flatten().collect();
    verify(&headers, BODY, &[secret(SECRET)])
}

#[test]
fn an_event_has_a_name() {
    for good in ["p", "check_run", &"e".repeat(100)] {
        assert_eq!(named(Some(good), None).unwrap().event(), good);
    }
    for bad in [None, Some(""), Some("a b"), Some("a\n"), Some("é"), Some(&*"e".repeat(101))] {
        let error = named(bad, Some("d-1")).unwrap_err();
        assert_eq!(error, VerifyError::Event { header: "X-GitHub-Event" }, "{bad:?}");
        assert!(error.is_authenticated());
    }
    expect!["refused, the sender may know: `X-GitHub-Event` is missing or malformed; expected the name of an event"].assert_eq(&outcome(named(None, None)));
}

#[test]
fn a_delivery_id_is_short_and_printable() {
    for good in ["1", "72d3162e-cc78-11e3-81ab-4c9367dc0958", "!~", &"d".repeat(200)] {
        assert_eq!(named(Some("push"), Some(good)).unwrap().delivery_id(), good);
    }
    for bad in ["", " ", "a b", "a\u{7f}", "é", &"d".repeat(201)] {
        let error = named(Some("push"), Some(bad)).unwrap_err();
        assert_eq!(error, VerifyError::DeliveryId { header: "X-GitHub-Delivery" }, "{bad:?}");
        assert!(error.is_authenticated());
    }
    expect!["refused, the sender may know: `X-GitHub-Delivery` is malformed; expected 1 to 200 printable ASCII characters"].assert_eq(&outcome(named(Some("push"), Some(""))));
}

#[test]
fn no_secrets_let_nobody_in() {
    let headers = [("X-GitHub-Event", "push"), ("X-Hub-Signature-256", SHA256)];
    expect!["refused: the project has no secret, so it takes no webhook; add a `secret` to it"]
        .assert_eq(&outcome(verify_sha1(LEGACY, &headers, &[])));
}

#[test]
fn only_senders_that_know_a_secret_are_authenticated() {
    for error in [VerifyError::NoSecret, VerifyError::Mismatch, VerifyError::Sha1Refused] {
        assert!(!error.is_authenticated());
    }
}

#[test]
fn sign_makes_what_verify_takes() {
    let (name, value) = gristmill_forge::sign(Forge::Github, &secret(SECRET), BODY);
    assert_eq!((name, value.as_str()), ("X-Hub-Signature-256", SHA256));
    let other = Secret::new(*b"\xff\x00binary").unwrap();
    let (name, value) = gristmill_forge::sign(Forge::Github, &other, BODY);
    let headers = [(name, value.as_str()), ("X-GitHub-Event", "push")];
    assert!(verify(&headers, BODY, &[other]).is_ok());
}

#[test]
fn a_stored_delivery_comes_back_as_it_was() {
    let verified = named(Some("push"), Some("d-1")).unwrap();
    let back = Verified::from_store(StoredDelivery {
        forge: verified.forge(),
        verifier: verified.verifier(),
        event: verified.event().to_owned(),
        delivery_id: verified.delivery_id().to_owned(),
        body: verified.body().clone(),
    });
    assert_eq!(back.forge(), Forge::Github);
    assert_eq!(back.verifier(), Verifier::GithubHmacSha256);
    assert_eq!((back.event(), back.delivery_id(), &back.body()[..]), ("push", "d-1", BODY));
    assert_eq!((verified.secret_index(), back.secret_index()), (Some(0), None));
    let legacy = StoredDelivery {
        forge: Forge::Github,
        verifier: Verifier::GithubHmacSha1,
        event: "ping".to_owned(),
        delivery_id: "d-2".to_owned(),
        body: Bytes::new(),
    };
    assert_eq!(Verified::from_store(legacy).verifier(), Verifier::GithubHmacSha1);
}
