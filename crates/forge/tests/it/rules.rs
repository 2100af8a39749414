//! The rules for webhooks, by number. (3, 8 and 9 are the server's: addresses, looking again, answering in time.)

use std::slice;

use bytes::Bytes;
use expect_test::expect;
use gristmill_forge::{Check, Forge, Headers, Secret, VerifyError, parse, parse_unverified, sign};
use gristmill_model::EventKind;

use crate::senders::{NOW, verified};
use crate::verify::{BODY, SECRET, SHA256, outcome};
use crate::{A, B, REPOSITORY, ZERO, parsed, push_body, secret, shown, verify};

/// The headers and the body of a delivery with this event, signed.
fn signed(event: &str, body: &str, secrets: &[Secret]) -> Result<gristmill_forge::Verified, VerifyError> {
    let (name, value) = sign(Forge::Github, &secrets[0], body.as_bytes());
    verify(&[(name, &value), ("X-GitHub-Event", event)], body.as_bytes(), secrets)
}

#[test]
fn rule_1_verifier_is_chosen_by_configuration_not_by_the_headers_there() {
    let digits = &SHA256["sha256=".len()..];
    // Each of these would let the sender in, were the verifier chosen by what came.
    for other in [
        ("X-Gitea-Signature", digits),
        ("X-Forgejo-Signature", digits),
        ("X-Gogs-Signature", digits),
        ("X-Gitlab-Token", SECRET),
        ("X-Git-Token", SECRET),
    ] {
        let headers = [other, ("X-GitHub-Event", "push"), ("X-Gitea-Event", "push")];
        let error = verify(&headers, BODY, &[secret(SECRET)]).unwrap_err();
        assert_eq!(error, VerifyError::Unsigned { header: "X-Hub-Signature-256" }, "{}", other.0);
    }
    // Forgejo sends GitHub's names too: to a project of GitHub's only those say anything.
    let headers = [("X-Forgejo-Event", "ping"), ("X-GitHub-Event", "push"), ("X-Hub-Signature-256", SHA256)];
    assert_eq!(verify(&headers, BODY, &[secret(SECRET)]).unwrap().event(), "push");
}

#[test]
fn rule_1_header_names_are_case_insensitive() {
    let headers = [("x-github-EVENT", "push"), ("X-HUB-SIGNATURE-256", SHA256), ("x-GITHUB-delivery", "d")];
    let verified = verify(&headers, BODY, &[secret(SECRET)]).unwrap();
    assert_eq!((verified.event(), verified.delivery_id()), ("push", "d"));
}

#[test]
fn rule_2_several_secrets_may_be_valid_at_once() {
    let headers = [("X-GitHub-Event", "push"), ("X-Hub-Signature-256", SHA256)];
    let (right, other, third) = (secret(SECRET), secret("other"), secret("third"));
    let index = |secrets: &[&Secret]| {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| (*secret).clone()).collect();
        verify(&headers, BODY, &secrets).map(|verified| verified.secret_index())
    };
    assert_eq!(index(&[&right, &other, &third]), Ok(Some(0)));
    assert_eq!(index(&[&other, &right, &third]), Ok(Some(1)));
    assert_eq!(index(&[&other, &third, &right]), Ok(Some(2)));
    assert_eq!(index(&[&other, &right, &right]), Ok(Some(1)));
    assert_eq!(index(&[&other, &third]), Err(VerifyError::Mismatch));
}

/// Every kind of request by somebody who knows no secret.
const STRANGERS: [&[(&str, &str)]; 6] = [
    &[],
    &[("X-Hub-Signature-256", "sha256=00")],
    &[("X-Hub-Signature-256", "sha256=857107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")],
    &[("X-Hub-Signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59")],
    &[("X-Hub-Signature-256", SHA256), ("X-Hub-Signature-256", SHA256)],
    &[
        ("X-Hub-Signature-256", "sha256=857107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
        ("X-GitHub-Event", "no event"),
        ("X-GitHub-Delivery", ""),
    ],
];

fn dummy(headers: &[(&str, &str)], secret: &Secret) -> VerifyError {
    let headers = Headers::new(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
    let outcome = Check::new(Forge::Github, slice::from_ref(secret), NOW)
        .verify_dummy(&headers, Bytes::from_static(BODY));
    verified(outcome).expect_err("nobody is let in")
}

#[test]
fn rule_2_an_unknown_project_gets_the_error_of_a_bad_signature() {
    for headers in STRANGERS {
        let known = verify(headers, BODY, &[secret(SECRET)]).unwrap_err();
        assert_eq!(dummy(headers, &secret("random")), known);
        assert!(!known.is_authenticated(), "{known}");
    }
}

#[test]
fn rule_2_the_dummy_secret_never_lets_anybody_in() {
    let right = ("X-Hub-Signature-256", SHA256);
    assert_eq!(dummy(&[right, ("X-GitHub-Event", "push")], &secret(SECRET)), VerifyError::Mismatch);
    assert_eq!(dummy(&[right], &secret(SECRET)), VerifyError::Mismatch);
}

#[test]
fn rule_2_an_error_never_holds_a_secret_or_an_expected_signature() {
    let expected = &SHA256["sha256=".len()..];
    for headers in STRANGERS {
        let error = verify(headers, BODY, &[secret(SECRET)]).unwrap_err();
        for text in [error.to_string(), format!("{error:?}")] {
            for hidden in [SECRET, expected, "857107ea", "01dc10d0"] {
                assert!(!text.contains(hidden), "{text}");
            }
        }
    }
}

#[test]
fn rule_4_raw_bytes_are_verified_before_anything_is_parsed() {
    // The same JSON with one more space is not what was signed.
    let body = push_body("refs/heads/main", A, B);
    let (name, value) = sign(Forge::Github, &secret("s"), body.as_bytes());
    let headers = [(name, value.as_str()), ("X-GitHub-Event", "push")];
    assert!(verify(&headers, body.as_bytes(), &[secret("s")]).is_ok());
    let spaced = body.replace(',', ", ");
    assert_eq!(verify(&headers, spaced.as_bytes(), &[secret("s")]).unwrap_err(), VerifyError::Mismatch);
    // And what is signed is verified, whatever it is.
    let verified = signed("push", "not JSON", &[secret("s")]).unwrap();
    expect![[r#"
        error: the body is not JSON: expected ident at line 1 column 2
    "#]]
    .assert_eq(&shown(parse(&verified)));
}

#[test]
fn rule_4_in_form_mode_the_raw_form_is_what_is_signed() {
    let form = format!("payload={}", percent_encoded(&push_body("refs/heads/a+b%", A, B)));
    let verified = signed("push", &form, &[secret("s")]).unwrap();
    assert_eq!(verified.body(), form.as_bytes());
    expect![[r#"
        push acme/shop#42 refs/heads/a+b% before=aaaaaaaaaaaa after=bbbbbbbbbbbb
    "#]]
    .assert_eq(&shown(parse(&verified)));
    expect![[r#"
        push acme/shop#42 refs/heads/a+b% before=aaaaaaaaaaaa after=bbbbbbbbbbbb
    "#]]
    .assert_eq(&shown(parse_unverified(Forge::Github, None, form.as_bytes())));
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ if byte.is_multiple_of(2) => format!("%{byte:02x}"),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[test]
fn rule_5_short_names_of_create_and_delete_become_full() {
    let body = |kind: &str| {
        format!(r#"{{"ref":"feature/x","ref_type":"{kind}","master_branch":"main",{REPOSITORY}}}"#)
    };
    expect![[r#"
        ignored acme/shop#42 refs/heads/feature/x because `create` only makes the remote be looked at; what it finds there is built
    "#]].assert_eq(&parsed("create", body("branch")));
    expect![[r#"
        ignored acme/shop#42 refs/tags/feature/x because `create` only makes the remote be looked at; what it finds there is built
    "#]].assert_eq(&parsed("create", body("tag")));
    expect![[r#"
        delete acme/shop#42 refs/heads/feature/x
    "#]]
    .assert_eq(&parsed("delete", body("branch")));
    expect![[r#"
        delete acme/shop#42 refs/tags/feature/x
    "#]]
    .assert_eq(&parsed("delete", body("tag")));
}

#[test]
fn rule_5_create_is_recorded_and_never_builds() {
    for kind in ["branch", "tag"] {
        let body = format!(r#"{{"ref":"v1","ref_type":"{kind}","master_branch":"main",{REPOSITORY}}}"#);
        let events = parse(&signed("create", &body, &[secret("s")]).unwrap()).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].kind, EventKind::Ignored);
        assert!(events[0].git_ref.is_some(), "the engine looks at the remote's ref");
        assert!(events[0].reason.is_some());
    }
}

#[test]
fn rule_5_deletes_are_deletes_however_they_are_told() {
    let deleted = |flag: &str, after: &str| {
        parsed(
            "push",
            format!(r#"{{"ref":"refs/heads/x","before":"{A}",{after}"deleted":{flag},{REPOSITORY}}}"#),
        )
    };
    let expected = "delete acme/shop#42 refs/heads/x before=aaaaaaaaaaaa\n";
    assert_eq!(deleted("true", &format!(r#""after":"{ZERO}","#)), expected);
    assert_eq!(deleted("false", &format!(r#""after":"{ZERO}","#)), expected);
    assert_eq!(deleted("null", &format!(r#""after":"{}","#, "0".repeat(64))), expected);
    assert_eq!(deleted("true", &format!(r#""after":"{B}","#)), expected);
    assert_eq!(deleted("true", ""), expected);
    assert_eq!(parsed("push", push_body("refs/tags/v1", A, ZERO)), expected.replace("heads/x", "tags/v1"));
}

#[test]
fn rule_5_only_a_published_release_is_one() {
    let body =
        |action: &str| format!(r#"{{"action":"{action}","release":{{"tag_name":"v1"}},{REPOSITORY}}}"#);
    expect![[r#"
        release acme/shop#42 refs/tags/v1
    "#]]
    .assert_eq(&parsed("release", body("published")));
    for action in ["created", "prereleased", "edited", "deleted", "released", "unpublished", "Published", ""]
    {
        let expected = format!(
            "ignored acme/shop#42 refs/tags/v1 because a release that was `{action}` builds nothing; \
             one that is `published` does\n"
        );
        assert_eq!(parsed("release", body(action)), expected);
    }
}

#[test]
fn rule_5_ping_is_recorded() {
    expect![[r#"
        ping acme/shop#42
    "#]]
    .assert_eq(&parsed("ping", format!(r#"{{"zen":"z","hook_id":1,{REPOSITORY}}}"#)));
    expect![[r#"
        ping
    "#]]
    .assert_eq(&parsed("ping", r#"{"zen":"z","hook_id":1}"#));
}

#[test]
fn rule_5_everything_else_is_ignored_with_the_reason() {
    expect![[r#"
        ignored acme/shop#42 because nothing is built from `pull_request` events
    "#]]
    .assert_eq(&parsed("pull_request", format!(r#"{{"action":"opened",{REPOSITORY}}}"#)));
    expect![[r#"
        ignored because nothing is built from `team` events
    "#]]
    .assert_eq(&parsed("team", "{}"));
    expect![[r#"
        ignored acme/shop#42 refs/notes/commits before=aaaaaaaaaaaa after=bbbbbbbbbbbb because `refs/notes/commits` is neither a branch nor a tag
    "#]].assert_eq(&parsed("push", push_body("refs/notes/commits", A, B)));
    expect![[r#"
        ignored acme/shop#42 refs/notes/commits before=aaaaaaaaaaaa because `refs/notes/commits` is neither a branch nor a tag
    "#]].assert_eq(&parsed("push", push_body("refs/notes/commits", A, ZERO)));
}

#[test]
fn rule_6_the_delivery_id_is_the_forges_or_the_bodys_digest() {
    let headers = [("X-GitHub-Event", "push"), ("X-Hub-Signature-256", SHA256)];
    let delivery = verify(&headers, BODY, &[secret(SECRET)]).unwrap();
    expect!["sha256:dffd6021bb2bd5b0af676290809ec3a53191dd81c7f70a4b28688a362182986f"]
        .assert_eq(delivery.delivery_id());
    let other = signed("push", "another body", &[secret(SECRET)]).unwrap();
    assert_ne!(other.delivery_id(), delivery.delivery_id());
    let named = [headers[0], headers[1], ("X-GitHub-Delivery", "72d3162e")];
    let again = |_| verify(&named, BODY, &[secret(SECRET)]).unwrap().delivery_id().to_owned();
    assert_eq!([0, 1].map(again), ["72d3162e", "72d3162e"]);
    // The forge's own ids stand for their deliveries as long as ids are kept, however they look.
    for id in ["72d3162e", "sha256:72d3162e"] {
        let named = [headers[0], headers[1], ("X-GitHub-Delivery", id)];
        assert_eq!(verify(&named, BODY, &[secret(SECRET)]).unwrap().id_stands_for(), None, "{id}");
    }
}

#[test]
fn rule_7_the_repositorys_numeric_id_is_told_as_text() {
    let with = |repository: &str| {
        parsed("push", format!(r#"{{"ref":"refs/heads/x","after":"{B}","repository":{repository}}}"#))
    };
    expect![[r#"
        push acme/shop#18446744073709551615 refs/heads/x after=bbbbbbbbbbbb
    "#]]
    .assert_eq(&with(r#"{"id":18446744073709551615,"full_name":"acme/shop"}"#));
    expect![[r#"
        push acme/shop#? refs/heads/x after=bbbbbbbbbbbb
    "#]]
    .assert_eq(&with(r#"{"full_name":"acme/shop"}"#));
    expect![[r#"
        error: the body is not a documented `push` event: invalid type: string "42", expected u64 at line 1 column 96 (at `repository.id`)
    "#]].assert_eq(&with(r#"{"id":"42","full_name":"acme/shop"}"#));
    expect![[r#"
        error: the body is not a documented `push` event: invalid value: integer `-1`, expected u64 at line 1 column 94 (at `repository.id`)
    "#]].assert_eq(&with(r#"{"id":-1,"full_name":"acme/shop"}"#));
}

#[test]
fn the_outcome_of_a_stranger_is_one_a_person_can_act_on() {
    expect!["refused: the request is not signed; expected `X-Hub-Signature-256`: enter the project's secret at the forge"].assert_eq(&outcome(verify(STRANGERS[0], BODY, &[secret(SECRET)])));
}
