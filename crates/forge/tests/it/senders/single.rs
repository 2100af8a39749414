//! What is peculiar to one sender.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use expect_test::expect;
use gristmill_forge::{Check, Forge, Outcome, Sending, Verifier, VerifyError, sign};

use super::{AZURE, BODY, ID, NOW, Pairs, WAYS, pairs};
use crate::{parsed_as, secret};

#[test]
fn bare_deliveries_have_a_ulid() {
    let way = &WAYS[13];
    let check = |id: &str| {
        let sent = way.send(way.secret, BODY);
        let sent = sent.into_iter().map(|(name, value)| {
            if name.ends_with("Delivery") { (name, id.to_owned()) } else { (name, value) }
        });
        way.check(&sent.collect(), BODY, &[way.secret]).map(|found| found.delivery_id().to_owned())
    };
    for good in [ID, "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "00000000000000000000000000"] {
        assert_eq!(check(good).as_deref(), Ok(good));
    }
    let lower = ID.to_lowercase();
    for bad in [
        "",
        &ID[1..],
        "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "01ARZ3NDEKTSV4RRFFQ69G5FAI",
        "01ARZ3NDEKTSV4RRFFQ69G5FAL",
        "01ARZ3NDEKTSV4RRFFQ69G5FAO",
        "01ARZ3NDEKTSV4RRFFQ69G5FAU",
        "01ARZ3NDEKTSV4RRFFQ69G5FA-",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV0",
        &lower,
    ] {
        assert_eq!(
            check(bad).unwrap_err(),
            VerifyError::DeliveryUlid { header: "X-Gristmill-Delivery" },
            "{bad}"
        );
    }
}

#[test]
fn rule_4_in_form_mode_gitea_and_its_family_sign_the_json() {
    let form = b"payload=%7B%22a%22%3A+1%7D";
    for way in &WAYS[6..9] {
        let sent = way.send(way.secret, br#"{"a": 1}"#);
        let found = way.check(&sent, form, &[way.secret]).unwrap();
        assert_eq!(&found.body()[..], br#"{"a": 1}"#, "{}", way.named());
        let over_the_form = way.send(way.secret, form);
        assert_eq!(way.check(&over_the_form, form, &[way.secret]).unwrap_err(), VerifyError::Mismatch);
        let error = way.check(&sent, b"payload=%7", &[way.secret]).unwrap_err();
        assert_eq!(error, VerifyError::Form { problem: "`%` without two hexadecimal digits after it" });
        assert!(!error.is_authenticated());
    }
}

#[test]
fn passwords() {
    let basic = |credentials: &str, secret: &str| {
        let value = format!("bAsIc {}", STANDARD.encode(credentials));
        AZURE.check(&vec![("Authorization".to_owned(), value)], BODY, &[secret]).map(|found| found.verifier())
    };
    for (credentials, secret) in [
        ("ann:right", "ann:right"),
        ("ann:right", "right"),
        (":right", "right"),
        ("ann:ri:ght", "ann:ri:ght"),
        (":right", ":right"),
    ] {
        assert_eq!(basic(credentials, secret), Ok(Verifier::Basic), "{credentials} for {secret}");
    }
    for (credentials, secret) in [
        ("bob:right", "ann:right"),
        ("ann:", "ann:"),
        (":", ":"),
        ("ann:right", ":right"),
        ("ann:ri:ght", "ri:ght"),
        ("ann:", "right"),
        ("right:", "right"),
    ] {
        assert_eq!(basic(credentials, secret), Err(VerifyError::Mismatch), "{credentials} for {secret}");
    }
    let malformed = VerifyError::MalformedSignature {
        header: "Authorization",
        expected: "`Basic ` and the base64 of `user:password`",
    };
    assert_eq!(basic("right", "right"), Err(malformed.clone()));
    for value in ["Basic", "Basic ", "Bearer cmlnaHQ=", "Basic YW5uOnJpZ2h0=", "Basic YW5uOnJpZ2h"] {
        let sent = vec![("Authorization".to_owned(), value.to_owned())];
        assert_eq!(AZURE.check(&sent, BODY, &["right"]).unwrap_err(), malformed, "{value}");
    }
}

#[test]
fn rule_1_a_project_with_a_header_of_its_own_takes_no_password() {
    let mut own = WAYS[11].send("right", BODY);
    assert_eq!(own, [("X-My-Token".to_owned(), "right".to_owned())]);
    own[0].1 = "Right".to_owned();
    assert_eq!(WAYS[11].check(&own, BODY, &["right"]).unwrap_err(), VerifyError::Mismatch);
    let error = WAYS[11].check(&AZURE.send("right", BODY), BODY, &["right"]).unwrap_err();
    expect!["the request is not signed; expected `the header that the project names`: enter the project's secret at the forge"]
        .assert_eq(&error.to_string());
}

#[test]
fn azure_names_event_and_id_in_the_body() {
    let names = |body: &str| {
        let found = AZURE.check(&AZURE.send("right", body.as_bytes()), body.as_bytes(), &["right"]).unwrap();
        (found.event().to_owned(), found.delivery_id().to_owned())
    };
    let pair = |event: &str, id: &str| (event.to_owned(), id.to_owned());
    assert_eq!(names(r#"{"eventType":"git.push","id":"e","subscriptionId":"s"}"#), pair("git.push", "s/e"));
    assert_eq!(names(r#"{"eventType":"build.complete","id":"e"}"#), pair("build.complete", "e"));
    let digest = |body: &str| gristmill_model::Digest::of(body.as_bytes()).to_string();
    for (body, event) in [
        (r#"{"eventType":"a b","id":"a b"}"#, "unnamed"),
        (r#"{"eventType":"git.push","subscriptionId":"s"}"#, "git.push"),
        (r#"{"eventType":7,"id":"e"}"#, "unnamed"),
        ("not JSON", "unnamed"),
    ] {
        assert_eq!(names(body), pair(event, &digest(body)), "{body}");
    }
}

#[test]
fn github_enterprise_says_more_than_is_needed() {
    let way = &WAYS[0];
    let mut sent = way.send(way.secret, BODY);
    sent.push(("X-GitHub-Enterprise-Host".to_owned(), "git.example.org".to_owned()));
    sent.push(("X-GitHub-Enterprise-Version".to_owned(), "3.14.0".to_owned()));
    sent.push(("X-GitHub-Hook-ID".to_owned(), "7".to_owned()));
    assert_eq!(way.check(&sent, BODY, &[way.secret]).unwrap().verifier(), Verifier::GithubHmacSha256);
}

#[test]
fn rule_1_forgejo_also_sends_the_names_of_the_others() {
    let forgejo = &WAYS[7];
    let mut sent = forgejo.send("right", BODY);
    // All of them right, were they asked: but each project asks for its own.
    for way in [&WAYS[0], &WAYS[6], &WAYS[8]] {
        sent.extend(way.send("right", BODY));
    }
    for way in [forgejo, &WAYS[0], &WAYS[6], &WAYS[8]] {
        assert_eq!(way.check(&sent, BODY, &["right"]).unwrap().verifier(), way.proof.1);
    }
    sent.iter_mut()
        .filter(|(name, _)| name == "X-Forgejo-Signature")
        .for_each(|(_, value)| *value = "0".repeat(64));
    assert_eq!(forgejo.check(&sent, BODY, &["right"]).unwrap_err(), VerifyError::Mismatch);
}

#[test]
fn a_probe_of_bitbucket_server_is_neither_error_nor_delivery() {
    let probe = |forge, headers: &[(&str, &str)]| {
        let secrets = [secret("right")];
        let headers: Pairs = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let check = Check::new(forge, &secrets, NOW);
        let known = check.verify(&pairs(&headers), Bytes::from_static(b"{\"test\": true}"));
        let dummy = check.verify_dummy(&pairs(&headers), Bytes::from_static(b"{\"test\": true}"));
        [known, dummy].map(|outcome| matches!(outcome, Ok(Outcome::Probe)))
    };
    let ping = ("x-event-key", "diagnostics:ping");
    for forge in Forge::ALL {
        assert_eq!(probe(forge, &[ping]), [true, true], "{forge}");
        assert_eq!(probe(forge, &[ping, ("X-Hub-Signature", "sha256=00")]), [false, false], "{forge}");
        assert_eq!(probe(forge, &[ping, ("Authorization", "Basic YTpi")]), [false, false], "{forge}");
        assert_eq!(probe(forge, &[ping, ping]), [false, false], "{forge}");
        assert_eq!(probe(forge, &[("X-Event-Key", "diagnostics:pings")]), [false, false], "{forge}");
        assert_eq!(probe(forge, &[]), [false, false], "{forge}");
    }
    // One that is signed is a delivery as others are.
    let body = b"{\"test\":true}";
    let (name, value) = sign(Forge::BitbucketServer, &secret("right"), body);
    let sent = vec![(name.to_owned(), value), (ping.0.to_owned(), ping.1.to_owned())];
    assert_eq!(WAYS[4].check(&sent, body, &["right"]).unwrap().event(), "diagnostics:ping");
    assert_eq!(parsed_as(Forge::BitbucketServer, Some("diagnostics:ping"), body), "ping\n");
}

#[test]
fn what_only_the_forge_can_sign_is_not_signed_here() {
    let sending = Sending {
        forge: Forge::Codecommit,
        event: "push",
        delivery_id: ID,
        now: NOW,
        basic: false,
        header: None,
    };
    assert_eq!(sending.headers(&secret("s"), b""), None);
    assert_eq!(sign(Forge::Codecommit, &secret("s"), b"").0, "X-Gristmill-Signature-256");
    let gitlab = Sending { forge: Forge::Gitlab, ..sending };
    assert_eq!(gitlab.headers(&secret("whsec_!"), b""), None);
}
