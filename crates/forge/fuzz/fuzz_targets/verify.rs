//! Any headers: whoever does not know the secret is not let in, and there is no panic.
#![no_main]

use bytes::Bytes;
use gristmill_forge::{Check, Forge, Headers, Outcome, Secret, TopicArn, sns_certificate_url};
use gristmill_model::Timestamp;
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 14] = [
    "X-Hub-Signature-256",
    "x-hub-signature",
    "X-GitHub-Event",
    "X-GitHub-Delivery",
    "X-Gitea-Signature",
    "X-Gitlab-Token",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "Authorization",
    "X-Git-Token",
    "X-Gristmill-Signature-256",
    "X-Event-Key",
    "x-amz-sns-rawdelivery",
];

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:pushes";

fuzz_target!(|input: (u8, Vec<(u8, &[u8])>, &[u8], bool, bool)| {
    let (forge, headers, body, allow_sha1, signing) = input;
    let headers =
        Headers::new(headers.iter().map(|(name, value)| (NAMES[usize::from(*name) % NAMES.len()], *value)));
    let text = if signing { "whsec_bm8gaW5wdXQgY2FuIGd1ZXNzIHRoaXM=" } else { "no input can guess this" };
    let secrets = [Secret::new(text).expect("it is not empty")];
    let forge = Forge::ALL[usize::from(forge) % Forge::ALL.len()];
    let topic: TopicArn = TOPIC.parse().expect("it is a topic");
    let check = Check {
        allow_sha1,
        topic_arn: Some(&topic),
        certificate: Some(include_bytes!("../../tests/it/sns/rsa.pem")),
        ..Check::new(forge, &secrets, Timestamp(1_800_000_000_000))
    };
    let body = Bytes::copy_from_slice(body);
    let (known, dummy) = (check.verify(&headers, body.clone()), check.verify_dummy(&headers, body.clone()));
    match (known, dummy) {
        (Err(known), Err(dummy)) => {
            assert!(!known.is_authenticated());
            assert_eq!(known, dummy);
        }
        (Ok(Outcome::Probe), Ok(Outcome::Probe)) => {}
        other => panic!("{other:?}"),
    }
    if let Ok(url) = sns_certificate_url(&headers, &body, &topic) {
        assert!(url.starts_with("https://sns.") && url.ends_with(".pem"), "{url}");
    }
});
