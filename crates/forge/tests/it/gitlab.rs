//! GitLab's two ways: a token that is sent, and one that signs.

use std::time::Duration;

use bytes::Bytes;
use expect_test::expect;
use gristmill_forge::{Check, Forge, Headers, Secret, Verified, Verifier, VerifyError};
use gristmill_model::Timestamp;

use crate::secret;
use crate::senders::{NOW, verified};

/// The vector of the Standard Webhooks specification's libraries.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const SENT: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
/// The same message under another key.
const FOREIGN: &str = "v1,5SdC0eyCmt0wX4ADufFtCIxLz7B930AA3o9+5kIoqnk=";

type Pair<'a> = (&'a str, &'a str);

fn check(headers: &[Pair<'_>], secrets: &[&str], now: Timestamp) -> Result<Verified, VerifyError> {
    let secrets: Vec<Secret> = secrets.iter().map(|text| secret(text)).collect();
    let headers = Headers::new(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
    verified(Check::new(Forge::Gitlab, &secrets, now).verify(&headers, Bytes::from_static(BODY)))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1000)
}

const SIGNED: [Pair<'static>; 3] =
    [("webhook-id", ID), ("webhook-timestamp", "1614265330"), ("webhook-signature", SIGNATURE)];

/// The signed delivery with another value for one header.
fn with<'a>(name: &str, value: &'a str) -> Vec<Pair<'a>> {
    SIGNED.iter().map(|pair| if pair.0 == name { (pair.0, value) } else { *pair }).collect()
}

#[test]
fn the_specifications_vector_is_let_in() {
    let found = check(&SIGNED, &[SECRET], at(SENT)).unwrap();
    assert_eq!((found.verifier(), found.delivery_id()), (Verifier::GitlabSigningToken, ID));
    // What is not signed does not count.
    let more = [&SIGNED[..], &[("Idempotency-Key", "other"), ("X-Gitlab-Event-UUID", "u")]].concat();
    assert_eq!(check(&more, &[SECRET], at(SENT)).unwrap().delivery_id(), ID);
    assert_eq!(check(&SIGNED, &[SECRET.trim_end_matches('=')], at(SENT)).unwrap().secret_index(), Some(0));
    // One that is right twice is right.
    let twice = format!("{SIGNATURE} {SIGNATURE}");
    assert!(check(&with("webhook-signature", &twice), &[SECRET], at(SENT)).is_ok());
}

#[test]
fn a_signature_is_good_for_five_minutes_to_either_side() {
    for now in [at(SENT - 300), at(SENT), at(SENT + 300)] {
        assert!(check(&SIGNED, &[SECRET], now).is_ok(), "{now:?}");
    }
    let stale = |now: Timestamp| check(&SIGNED, &[SECRET], now).unwrap_err();
    assert_eq!(stale(Timestamp(SENT * 1000 + 300_001)), VerifyError::Stale { seconds: 300, ahead: false });
    assert_eq!(stale(Timestamp(SENT * 1000 - 300_001)), VerifyError::Stale { seconds: 300, ahead: true });
    assert_eq!(stale(at(SENT + 86_400)), VerifyError::Stale { seconds: 86_400, ahead: false });
    // Whoever sends it again need not know the secret.
    assert!(!stale(at(SENT + 86_400)).is_authenticated());
    expect![
        "the signature is right, but 86400 seconds old; expected at most 300: set the clocks of both sides"
    ]
    .assert_eq(&stale(at(SENT + 86_400)).to_string());
    expect!["the signature is right, but 301 seconds ahead of this host's clock; expected at most 300: set the clocks of both sides"]
        .assert_eq(&stale(at(SENT - 301)).to_string());
}

#[test]
fn a_time_that_is_changed_is_not_the_one_that_was_signed() {
    let now = at(SENT + 86_400);
    let late = (SENT + 86_400).to_string();
    assert_eq!(check(&with("webhook-timestamp", &late), &[SECRET], now).unwrap_err(), VerifyError::Mismatch);
    assert_eq!(check(&with("webhook-id", "msg_2"), &[SECRET], at(SENT)).unwrap_err(), VerifyError::Mismatch);
    // Nor is the same number written otherwise.
    let padded = check(&with("webhook-timestamp", "01614265330"), &[SECRET], at(SENT));
    assert_eq!(padded.unwrap_err(), VerifyError::Mismatch);
}

#[test]
fn times_and_ids_that_are_none() {
    for bad in [
        "",
        " ",
        "-1",
        "+1614265330",
        "1614265330.5",
        "x",
        "1e9",
        "99999999999999999999",
        "9223372036854775807",
    ] {
        let error = check(&with("webhook-timestamp", bad), &[SECRET], at(SENT)).unwrap_err();
        let expected = "seconds since 1970 in decimal digits";
        assert_eq!(error, VerifyError::MalformedSignature { header: "webhook-timestamp", expected }, "{bad}");
    }
    for bad in ["", "msg.1"] {
        let error = check(&with("webhook-id", bad), &[SECRET], at(SENT)).unwrap_err();
        let expected = "an id without a dot";
        assert_eq!(error, VerifyError::MalformedSignature { header: "webhook-id", expected }, "{bad}");
    }
    for (name, _) in SIGNED {
        let left: Vec<Pair<'_>> = SIGNED.into_iter().filter(|pair| pair.0 != name).collect();
        assert_eq!(check(&left, &[SECRET], at(SENT)).unwrap_err(), VerifyError::Unsigned { header: name });
    }
}

#[test]
fn of_several_signatures_one_is_enough() {
    let cut = &SIGNATURE[..SIGNATURE.len() - 1];
    for good in [
        format!("{SIGNATURE} {FOREIGN}"),
        format!("{FOREIGN} {SIGNATURE}"),
        format!("v2,x v1a,AAAA {cut} {SIGNATURE}"),
        format!("{}{SIGNATURE}", format!("{FOREIGN} ").repeat(7)),
    ] {
        assert!(check(&with("webhook-signature", &good), &[SECRET], at(SENT)).is_ok(), "{good}");
    }
    let nine = format!("{}{SIGNATURE}", format!("{FOREIGN} ").repeat(8));
    for (bad, expected) in [
        (FOREIGN, VerifyError::Mismatch),
        (&nine, VerifyError::Mismatch),
        (cut, malformed()),
        (&SIGNATURE[3..], malformed()),
        ("", malformed()),
        ("v1,", malformed()),
        ("v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", malformed()),
        ("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1A==", malformed()),
    ] {
        assert_eq!(
            check(&with("webhook-signature", bad), &[SECRET], at(SENT)).unwrap_err(),
            expected,
            "{bad}"
        );
    }
}

fn malformed() -> VerifyError {
    let expected = "`v1,` and the base64 of an HMAC-SHA256, several between spaces";
    VerifyError::MalformedSignature { header: "webhook-signature", expected }
}

#[test]
fn mistake_01_a_signing_token_without_a_key_lets_nobody_in() {
    // HMAC-SHA256 under the empty key of `i.1614265330.` and the body.
    let empty = [
        ("webhook-id", "i"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,MkUdVT9kdJ6s6h59q9tmiPj/jQf1HJOn/xYdZ231vPo="),
    ];
    for secret in ["whsec_", "whsec_AAAA", "whsec_!"] {
        assert_eq!(check(&empty, &[secret], at(SENT)).unwrap_err(), VerifyError::Mismatch, "{secret}");
    }
}

#[test]
fn rule_1_the_secrets_form_says_which_of_both_ways_counts() {
    // A signing token is never taken as one that is sent, and the other way round.
    let sent = [("X-Gitlab-Token", SECRET)];
    assert_eq!(
        check(&sent, &[SECRET], at(SENT)).unwrap_err(),
        VerifyError::Unsigned { header: "webhook-signature" }
    );
    let both = [&SIGNED[..], &sent].concat();
    assert_eq!(check(&both, &["token"], at(SENT)).unwrap_err(), VerifyError::Mismatch);
    assert_eq!(
        check(&SIGNED, &["token"], at(SENT)).unwrap_err(),
        VerifyError::Unsigned { header: "X-Gitlab-Token" }
    );
    assert_eq!(check(&both, &[SECRET], at(SENT)).unwrap().verifier(), Verifier::GitlabSigningToken);
    // A sent token beside a bad signature does not help where only a signing token is configured.
    let forged = [with("webhook-signature", FOREIGN), vec![("X-Gitlab-Token", "token")]].concat();
    assert_eq!(check(&forged, &[SECRET], at(SENT)).unwrap_err(), VerifyError::Mismatch);
}

#[test]
fn while_one_way_replaces_the_other_both_are_taken() {
    let secrets = ["token", SECRET];
    let token = [("X-Gitlab-Token", "token"), ("Idempotency-Key", "k")];
    let found = |headers: &[Pair<'_>], now| {
        check(headers, &secrets, now).map(|found| (found.verifier(), found.secret_index()))
    };
    assert_eq!(found(&token, at(SENT)), Ok((Verifier::GitlabToken, Some(0))));
    assert_eq!(found(&SIGNED, at(SENT)), Ok((Verifier::GitlabSigningToken, Some(1))));
    // With both proofs right the first secret names the way; a stale signature is not asked then.
    let both = [&SIGNED[..], &token].concat();
    assert_eq!(found(&both, at(SENT + 1000)), Ok((Verifier::GitlabToken, Some(0))));
    assert_eq!(found(&[], at(SENT)), Err(VerifyError::Unsigned { header: "webhook-signature" }));
    assert_eq!(found(&[("X-Gitlab-Token", "tokem")], at(SENT)), Err(VerifyError::Mismatch));
}

#[test]
fn rule_6_ids_of_deliveries_that_are_not_signed() {
    let names = |headers: &[Pair<'_>]| {
        let headers = [&[("X-Gitlab-Token", "t")], headers].concat();
        check(&headers, &["t"], NOW).map(|found| (found.delivery_id().to_owned(), found.id_stands_for()))
    };
    let (key, uuid) = (("Idempotency-Key", "key-1"), ("X-Gitlab-Event-UUID", "uuid-1"));
    assert_eq!(names(&[key, uuid]), Ok(("key-1".to_owned(), None)));
    // One push of two branches makes two deliveries with this one id.
    let found = names(&[uuid]).unwrap();
    assert_eq!(found.1, None);
    let digest = gristmill_model::Digest::of(BODY);
    assert_eq!(found.0, format!("uuid-1/{}", digest.to_hex()));
    assert_eq!(names(&[]), Ok((digest.to_string(), Some(Duration::from_secs(600)))));
    assert_eq!(
        names(&[("Idempotency-Key", "a b")]),
        Err(VerifyError::DeliveryId { header: "Idempotency-Key" })
    );
    let longest = "u".repeat(135);
    assert_eq!(names(&[("X-Gitlab-Event-UUID", &longest)]).unwrap().0.len(), 200);
    let long = "u".repeat(136);
    assert_eq!(
        names(&[("X-Gitlab-Event-UUID", &long)]),
        Err(VerifyError::DeliveryId { header: "X-Gitlab-Event-UUID" })
    );
}

#[test]
fn the_event_is_read_off_the_body() {
    let secrets = [secret("t")];
    let event = |body: &'static str| {
        let headers = Headers::new([("X-Gitlab-Token", b"t".as_slice()), ("X-Gitlab-Event", b"Push Hook")]);
        let found =
            Check::new(Forge::Gitlab, &secrets, NOW).verify(&headers, Bytes::from_static(body.as_bytes()));
        verified(found).unwrap().event().to_owned()
    };
    assert_eq!(event(r#"{"object_kind":"tag_push","event_name":"x"}"#), "tag_push");
    assert_eq!(event(r#"{"event_name":"repository_update"}"#), "repository_update");
    for body in ["{}", "not JSON", r#"{"object_kind":7}"#, r#"{"object_kind":"a b"}"#, "[]"] {
        assert_eq!(event(body), "unnamed", "{body}");
    }
}
