//! What earlier systems of this kind got wrong, by number.

use bytes::Bytes;
use expect_test::expect;
use gristmill_forge::{Forge, Secret, SecretError, StoredDelivery, Verified, Verifier, VerifyError};
use gristmill_model::EventKind;

use crate::{A, B, REPOSITORY, ZERO, parsed, push_body, secret, verify};

/// What a stored delivery tells of.
fn kinds(event: &str, body: String) -> Vec<EventKind> {
    let verified = Verified::from_store(StoredDelivery {
        forge: Forge::Github,
        verifier: Verifier::GithubHmacSha256,
        event: event.to_owned(),
        delivery_id: "d-1".to_owned(),
        body: Bytes::from(body),
    });
    gristmill_forge::parse(&verified).unwrap().into_iter().map(|event| event.kind).collect()
}

#[test]
fn mistake_01_empty_secret_is_refused() {
    assert_eq!(Secret::new("").unwrap_err(), SecretError::Empty);
    // An HMAC pads its key with NULs: this is the empty key by another name.
    assert_eq!(Secret::new("\0\0\0").unwrap_err(), SecretError::Empty);
}

#[test]
fn mistake_01_an_hmac_under_the_empty_key_lets_nobody_in() {
    // HMAC-SHA256 of the empty body under the empty key.
    let value = "sha256=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad";
    let headers = [("X-GitHub-Event", "push"), ("X-Hub-Signature-256", value)];
    assert_eq!(verify(&headers, b"", &[secret("s")]).unwrap_err(), VerifyError::Mismatch);
    assert_eq!(verify(&headers, b"", &[]).unwrap_err(), VerifyError::NoSecret);
}

#[test]
fn mistake_04_tags_and_releases_are_understood() {
    assert_eq!(kinds("push", push_body("refs/tags/v1", ZERO, A)), [EventKind::Tag]);
    let release = format!(r#"{{"action":"published","release":{{"tag_name":"v1"}},{REPOSITORY}}}"#);
    assert_eq!(kinds("release", release), [EventKind::Release]);
    expect![[r#"
        tag acme/shop#42 refs/tags/v1 after=aaaaaaaaaaaa
    "#]]
    .assert_eq(&parsed("push", push_body("refs/tags/v1", ZERO, A)));
}

#[test]
fn mistake_05_ping_pull_request_and_delete_push_nothing() {
    assert_eq!(kinds("ping", format!(r#"{{"zen":"z","hook_id":1,{REPOSITORY}}}"#)), [EventKind::Ping]);
    let pull = format!(r#"{{"action":"opened","pull_request":{{"head":{{"ref":"main"}}}},{REPOSITORY}}}"#);
    assert_eq!(kinds("pull_request", pull), [EventKind::Ignored]);
    assert_eq!(kinds("push", push_body("refs/heads/main", A, ZERO)), [EventKind::Delete]);
    let deleted = format!(r#"{{"ref":"main","ref_type":"branch",{REPOSITORY}}}"#);
    assert_eq!(kinds("delete", deleted), [EventKind::Delete]);
}

#[test]
fn mistake_06_no_ref_of_a_body_is_left_out_in_silence() {
    // GitHub sends each ref as a delivery of its own; a body with two is none of GitHub's.
    let body = push_body("refs/heads/main", A, B);
    assert_eq!(kinds("push", body.clone()), [EventKind::Push]);
    let two = body.replacen('{', r#"{"ref":"refs/heads/other","#, 1);
    expect![[r#"
        error: the body is not a documented `push` event: duplicate field `ref` at line 1 column 31 (at `.`)
    "#]]
    .assert_eq(&parsed("push", two));
}

#[test]
fn mistake_08_a_secret_is_not_shown() {
    let text = format!("{:?} {:#?}", secret("hunter2"), secret("hunter2"));
    assert_eq!(text, "Secret(…) Secret(…)");
}

#[test]
fn mistake_14_an_address_in_the_payload_goes_nowhere() {
    let plain = push_body("refs/heads/main", A, B);
    let address =
        r#""full_name":"acme/shop","archive_url":"https://evil.invalid/","git_url":"git://evil.invalid/","#;
    let forged = plain.replace(r#""full_name":"acme/shop","#, address);
    assert_ne!(plain, forged);
    let parse = |body: &str| {
        let events = gristmill_forge::parse_unverified(Forge::Github, None, body.as_bytes()).unwrap();
        serde_json::to_string(&events).unwrap()
    };
    assert_eq!(parse(&plain), parse(&forged));
    expect![[r#"[{"kind":"push","repository":{"full_name":"acme/shop","id":"42"},"ref":"refs/heads/main","before":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","after":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}]"#]].assert_eq(&parse(&forged));
}
