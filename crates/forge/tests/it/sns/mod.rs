//! Messages of Amazon SNS. They were signed with a key that was thrown away; the certificate is valid
//! from 2026-11-20T17:15:13Z to 2036-11-17T17:15:13Z.

mod addresses;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use expect_test::expect;
use gristmill_forge::{
    Check, Forge, Headers, TopicArn, Verified, Verifier, VerifyError, parse, sns_certificate_url,
    sns_subscription_url,
};
use gristmill_model::Timestamp;
use serde_json::{Map, Value};

use crate::senders::verified;
use crate::{secret, shown};

const TOPIC_TEXT: &str = "arn:aws:sns:eu-west-1:123456789012:pushes";
static TOPIC: LazyLock<TopicArn> = LazyLock::new(|| topic(TOPIC_TEXT));
const CERTIFICATE: &[u8] = include_bytes!("rsa.pem");
const FROM: i64 = 1_795_194_913_000;
const UNTIL: i64 = 2_110_554_913_000;
const NOW: Timestamp = Timestamp(FROM + 1000);

fn topic(text: &str) -> TopicArn {
    text.parse().unwrap()
}

fn messages() -> BTreeMap<String, Map<String, Value>> {
    serde_json::from_str(include_str!("messages.json")).unwrap()
}

/// A recorded message, some fields of which are changed: with a value, or taken out.
fn message(name: &str, changes: &[(&str, Option<&str>)]) -> Bytes {
    let mut message = messages().remove(name).unwrap();
    for (field, value) in changes {
        match value {
            Some(value) => drop(message.insert((*field).to_owned(), Value::from(*value))),
            None => assert!(message.remove(*field).is_some(), "{field}"),
        }
    }
    serde_json::to_vec(&message).unwrap().into()
}

fn check(body: Bytes) -> Result<Verified, VerifyError> {
    check_with(body, Check { certificate: Some(CERTIFICATE), ..plain() })
}

fn plain() -> Check<'static> {
    Check { topic_arn: Some(&TOPIC), ..Check::new(Forge::Codecommit, &[], NOW) }
}

fn check_with(body: Bytes, check: Check<'_>) -> Result<Verified, VerifyError> {
    let headers = Headers::new([("x-amz-sns-message-type", b"Nonsense".as_slice())]);
    verified(check.verify(&headers, body))
}

const GOOD: [(&str, &str, Verifier); 7] = [
    ("notification-1", "Notification", Verifier::SnsRsaSha1),
    ("notification-2", "Notification", Verifier::SnsRsaSha256),
    ("subject-1", "Notification", Verifier::SnsRsaSha1),
    ("subject-2", "Notification", Verifier::SnsRsaSha256),
    ("confirmation-1", "SubscriptionConfirmation", Verifier::SnsRsaSha1),
    ("confirmation-2", "SubscriptionConfirmation", Verifier::SnsRsaSha256),
    ("unsubscribe-2", "UnsubscribeConfirmation", Verifier::SnsRsaSha256),
];

#[test]
fn both_versions_and_all_kinds_of_message_are_let_in() {
    for (name, event, verifier) in GOOD {
        let found = check(message(name, &[])).unwrap();
        assert_eq!((found.event(), found.verifier()), (event, verifier), "{name}");
        assert_eq!((found.secret_index(), found.id_stands_for()), (None, None), "{name}");
        assert_eq!(found.delivery_id(), messages()[name]["MessageId"].as_str().unwrap());
        assert_eq!(found.body(), &message(name, &[]));
    }
}

#[test]
fn every_field_that_is_signed_is_noticed_when_it_changes() {
    for (name, _, _) in GOOD {
        for field in messages()[name].keys() {
            let signed = !matches!(
                field.as_str(),
                "SignatureVersion" | "Signature" | "SigningCertURL" | "Type" | "TopicArn"
            );
            let other = if field == "MessageId" { "another" } else { "another value" };
            let outcome = check(message(name, &[(field, Some(other))]));
            match field.as_str() {
                _ if signed => assert_eq!(outcome.unwrap_err(), VerifyError::Mismatch, "{name} {field}"),
                "TopicArn" => {
                    let topic = other.to_owned();
                    assert_eq!(outcome.unwrap_err(), VerifyError::OtherTopic { topic }, "{name}");
                }
                _ => assert!(outcome.is_err(), "{name} {field}"),
            }
        }
    }
    // A kind that is signed in the same way is still another one.
    let kind = ("Type", Some("UnsubscribeConfirmation"));
    assert_eq!(check(message("confirmation-2", &[kind])).unwrap_err(), VerifyError::Mismatch);
    // A subject that was not signed, and one that was and is gone.
    let added = check(message("notification-2", &[("Subject", Some("s"))])).unwrap_err();
    let gone = check(message("subject-2", &[("Subject", None)])).unwrap_err();
    assert_eq!((added, gone), (VerifyError::Mismatch, VerifyError::Mismatch));
    // One version's signature is none of the other's.
    for (name, version) in [("notification-1", "2"), ("notification-2", "1")] {
        let outcome = check(message(name, &[("SignatureVersion", Some(version))]));
        assert_eq!(outcome.unwrap_err(), VerifyError::Mismatch, "{name}");
    }
    // Nor is that of a weak key, which its own certificate does not save.
    let small = include_bytes!("small.pem");
    for certificate in [CERTIFICATE, small] {
        let outcome =
            check_with(message("small-key-2", &[]), Check { certificate: Some(certificate), ..plain() });
        assert_eq!(outcome.unwrap_err(), VerifyError::Mismatch);
    }
}

#[test]
fn fields_that_are_not_signed_do_not_matter() {
    let more = check(message(
        "notification-1",
        &[("UnsubscribeURL", Some("https://evil.invalid/")), ("X", Some("y"))],
    ));
    assert_eq!(more.unwrap().event(), "Notification");
    // A notification's own address is not signed, and leads nowhere.
    let url = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1";
    let found = check(message("notification-1", &[("SubscribeURL", Some(url))])).unwrap();
    assert_eq!(sns_subscription_url(&found), None);
}

#[test]
fn rule_1_only_the_projects_topic_is_taken() {
    let other = "arn:aws:sns:eu-west-1:999999999999:pushes";
    let refused = VerifyError::OtherTopic { topic: other.to_owned() };
    assert_eq!(check(message("other-topic-2", &[])).unwrap_err(), refused);
    assert!(!refused.is_authenticated());
    let its_own = Check { topic_arn: Some(&topic(other)), certificate: Some(CERTIFICATE), ..plain() };
    assert!(check_with(message("other-topic-2", &[]), its_own).is_ok());
    let none = Check { topic_arn: None, certificate: Some(CERTIFICATE), ..plain() };
    assert_eq!(check_with(message("notification-2", &[]), none).unwrap_err(), VerifyError::NoTopic);
    expect!["the message is of the topic `arn:aws:sns:eu-west-1:999999999999:pushes`; expected the one that the project names"]
        .assert_eq(&refused.to_string());
    for near in [
        "arn:aws:sns:eu-west-1:123456789012:Pushes",
        "arn:aws:sns:eu-west-2:123456789012:pushes",
        "arn:aws-cn:sns:eu-west-1:123456789012:pushes",
        "arn:aws:sns:eu-west-1:123456789012:pushes2",
    ] {
        let near = &topic(near);
        let check = Check { topic_arn: Some(near), certificate: Some(CERTIFICATE), ..plain() };
        let error = check_with(message("notification-2", &[]), check).unwrap_err();
        assert_eq!(error, VerifyError::OtherTopic { topic: TOPIC_TEXT.to_owned() }, "{near}");
    }
}

#[test]
fn the_certificate_is_valid_in_its_time_only() {
    let at = |now| {
        check_with(
            message("notification-2", &[]),
            Check { certificate: Some(CERTIFICATE), now: Timestamp(now), ..plain() },
        )
    };
    for now in [FROM, FROM + 1, UNTIL, UNTIL + 999] {
        assert!(at(now).is_ok(), "{now}");
    }
    for (now, problem) in [
        (FROM - 1, "is not valid yet"),
        (-1, "is not valid yet"),
        (0, "is not valid yet"),
        (UNTIL + 1000, "is no longer valid"),
        (i64::MAX, "is no longer valid"),
    ] {
        assert_eq!(at(now).unwrap_err(), VerifyError::Certificate { problem }, "{now}");
    }
}

#[test]
fn certificates_that_cannot_be_used() {
    let with = |certificate: Option<&[u8]>| {
        check_with(message("notification-2", &[]), Check { certificate, ..plain() }).unwrap_err()
    };
    assert_eq!(with(None), VerifyError::NoCertificate);
    let problem = "has no RSA key";
    assert_eq!(with(Some(include_bytes!("ec.pem"))), VerifyError::Certificate { problem });
    let text = str::from_utf8(CERTIFICATE).unwrap();
    let problem = "is not X.509 in PEM";
    for bad in [
        "",
        "x",
        &text[..text.len() / 2],
        &text.replace("CERTIFICATE", "PUBLIC KEY"),
        &text.replacen("MII", "MIJ", 1),
    ] {
        assert_eq!(with(Some(bad.as_bytes())), VerifyError::Certificate { problem }, "{bad}");
    }
    expect!["the certificate of Amazon SNS is not X.509 in PEM"].assert_eq(&with(Some(b"")).to_string());
}

#[test]
fn nothing_is_fetched_for_a_message_of_another_topic() {
    let ask = |name| sns_certificate_url(&Headers::default(), &message(name, &[]), &TOPIC);
    assert_eq!(
        ask("other-topic-2"),
        Err(VerifyError::OtherTopic { topic: TOPIC_TEXT.replace("123456789012", "999999999999") })
    );
    let expected = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem";
    assert_eq!(ask("confirmation-1").as_deref(), Ok(expected));
}

#[test]
fn a_subscription_is_confirmed_only_by_a_verified_message_with_an_address_of_amazons() {
    let url = |name| sns_subscription_url(&check(message(name, &[])).unwrap());
    let expected = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:123456789012:pushes&Token=2336412f37";
    assert_eq!(url("confirmation-1").as_deref(), Some(expected));
    assert_eq!(url("confirmation-2").as_deref(), Some(expected));
    // Signed all the same, for whoever may publish cannot make these, but a mistake of theirs could.
    assert_eq!(url("foreign-subscribe-2"), None);
    for name in ["notification-2", "unsubscribe-2"] {
        assert_eq!(url(name), None, "{name}");
    }
    let github = Verified::from_store(gristmill_forge::StoredDelivery {
        forge: Forge::Github,
        verifier: Verifier::GithubHmacSha256,
        event: "push".to_owned(),
        delivery_id: "d".to_owned(),
        body: message("confirmation-2", &[]),
    });
    assert_eq!(sns_subscription_url(&github), None);
}

#[test]
fn raw_delivery_is_refused() {
    let raw = |value: &str| {
        let headers = [("X-Amz-Sns-Rawdelivery", value.as_bytes())];
        let certain = Check { certificate: Some(CERTIFICATE), ..plain() };
        verified(certain.verify(&Headers::new(headers), message("notification-2", &[]))).map(|_| ())
    };
    assert_eq!(raw("true"), Err(VerifyError::RawDelivery));
    assert_eq!(raw("True"), Err(VerifyError::RawDelivery));
    assert_eq!(raw("false"), Ok(()));
    let headers = Headers::new([("x-amz-sns-rawdelivery", b"true".as_slice())]);
    assert_eq!(sns_certificate_url(&headers, b"{}", &TOPIC), Err(VerifyError::RawDelivery));
    expect!["the message came without SNS's envelope, so it is not signed; turn raw message delivery off for this subscription"]
        .assert_eq(&VerifyError::RawDelivery.to_string());
}

#[test]
fn messages_that_are_none() {
    let told = |body: &[u8]| check(Bytes::copy_from_slice(body)).unwrap_err().to_string();
    expect![
        "the body is not a message of Amazon SNS: it is not UTF-8; let the topic send to this URL by https"
    ]
    .assert_eq(&told(b"\xff"));
    expect!["the body is not a message of Amazon SNS: the body is not a documented `SNS` event: missing field `Type` at line 1 column 2 (at `.`); let the topic send to this URL by https"].assert_eq(&told(b"{}"));
    expect!["the body is not a message of Amazon SNS: the body is not JSON: expected ident at line 1 column 2; let the topic send to this URL by https"].assert_eq(&told(b"no"));
    let changed = |name, field, value| check(message(name, &[(field, value)])).unwrap_err();
    for (name, field, value) in [
        ("notification-2", "SignatureVersion", Some("3")),
        ("notification-2", "Type", Some("Other")),
        ("notification-2", "Signature", None),
        ("notification-2", "SigningCertURL", None),
        ("confirmation-2", "Token", None),
        ("confirmation-2", "SubscribeURL", None),
        ("confirmation-2", "Token", Some("a\nb")),
        ("subject-2", "Subject", Some("a\nTimestamp")),
        ("notification-2", "MessageId", Some("a\nb")),
        ("notification-2", "TopicArn", Some("a\nb")),
        ("notification-2", "Timestamp", Some("a\nb")),
        ("confirmation-2", "SubscribeURL", Some("a\nb")),
    ] {
        let error = changed(name, field, value);
        assert!(matches!(error, VerifyError::Envelope { .. }), "{name} {field} {value:?}: {error}");
        assert!(!error.is_authenticated());
    }
    let malformed =
        VerifyError::MalformedSignature { header: "Signature", expected: "the base64 of an RSA signature" };
    assert_eq!(changed("notification-2", "Signature", Some("!")), malformed);
    let signature = messages()["notification-2"]["Signature"].as_str().unwrap().to_owned();
    assert_eq!(changed("notification-2", "Signature", Some(&signature[..signature.len() - 1])), malformed);
    assert_eq!(
        changed("notification-2", "Signature", Some(&signature[..signature.len() - 4])),
        VerifyError::Mismatch
    );
    assert_eq!(changed("notification-2", "Signature", Some("")), VerifyError::Mismatch);
    let error = check(message("bad-id-2", &[])).unwrap_err();
    assert_eq!(error, VerifyError::DeliveryId { header: "MessageId" });
    assert!(error.is_authenticated());
}

#[test]
fn rule_2_an_unknown_project_gets_the_error_of_a_bad_signature_from_sns() {
    let secrets = [secret("random")];
    let dummy = Check::new(Forge::Codecommit, &secrets, NOW);
    for name in ["notification-1", "notification-2", "confirmation-2"] {
        let error = dummy.verify_dummy(&Headers::default(), message(name, &[])).unwrap_err();
        assert_eq!(error, VerifyError::Mismatch, "{name}");
        let foreign = message(name, &[("SigningCertURL", Some("https://evil.invalid/a.pem"))]);
        let known = check(foreign.clone()).unwrap_err();
        assert_eq!(dummy.verify_dummy(&Headers::default(), foreign).unwrap_err(), known);
    }
    // Not even one for which everything is right.
    let right = Check { certificate: Some(CERTIFICATE), ..plain() };
    let error = right.verify_dummy(&Headers::default(), message("bad-id-2", &[])).unwrap_err();
    assert_eq!(error, VerifyError::Mismatch);
    assert_eq!(
        right.verify_dummy(&Headers::default(), message("subject-1", &[])).unwrap_err(),
        VerifyError::Mismatch
    );
}

#[test]
fn what_the_messages_tell_of() {
    let told = |name| shown(parse(&check(message(name, &[])).unwrap()));
    expect![[r#"
        push 123456789012/shop#? refs/heads/main after=bbbbbbbbbbbb
        tag 123456789012/shop#? refs/tags/v1 after=aaaaaaaaaaaa
        delete 123456789012/shop#? refs/heads/old
    "#]]
    .assert_eq(&told("notification-1"));
    assert_eq!(told("notification-1"), told("subject-2"));
    expect![[r#"
        ping
    "#]]
    .assert_eq(&told("confirmation-2"));
    expect![[r#"
        ignored because nothing is built from `UnsubscribeConfirmation` events
    "#]]
    .assert_eq(&told("unsubscribe-2"));
}

#[test]
fn a_topic_is_named_in_full() {
    let longest = format!("arn:aws:sns:eu-west-1:123456789012:{}", "n".repeat(256));
    for good in [TOPIC_TEXT, "arn:aws-us-gov:sns:us-gov-west-1:123456789012:A_b-9", &longest] {
        let topic: TopicArn = good.parse().unwrap();
        assert_eq!((topic.as_str(), topic.to_string().as_str()), (good, good));
    }
    for bad in [
        "",
        "pushes",
        "arn:aws:sqs:eu-west-1:123456789012:pushes",
        "urn:aws:sns:eu-west-1:123456789012:pushes",
        "arn::sns:eu-west-1:123456789012:pushes",
        "arn:aws:sns::123456789012:pushes",
        "arn:aws:sns:EU:123456789012:pushes",
        "arn:aws:sns:eu-west-1:12345678901:pushes",
        "arn:aws:sns:eu-west-1:12345678901x:pushes",
        "arn:aws:sns:eu-west-1:123456789012:",
        "arn:aws:sns:eu-west-1:123456789012:a b",
        "arn:aws:sns:eu-west-1:123456789012:pushes:2bcfbf39",
        &format!("{longest}n"),
    ] {
        assert!(bad.parse::<TopicArn>().is_err(), "{bad}");
    }
    expect!["`pushes` is not the ARN of a topic of Amazon SNS; expected one such as `arn:aws:sns:eu-west-1:123456789012:pushes`"]
        .assert_eq(&"pushes".parse::<TopicArn>().unwrap_err().to_string());
}
