//! Addresses in messages: nothing but Amazon's is ever fetched or visited.

use expect_test::expect;
use gristmill_forge::{
    Forge, Headers, StoredDelivery, Verified, Verifier, VerifyError, sns_certificate_url,
    sns_subscription_url,
};

use super::{TOPIC, check, message};

#[test]
fn addresses_of_certificates() {
    let url = |text: &str| {
        let body = message("notification-2", &[("SigningCertURL", Some(text))]);
        sns_certificate_url(&Headers::default(), &body, &TOPIC)
    };
    for good in [
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
        "https://sns.us-gov-west-1.amazonaws.com/a.pem",
        "https://sns.cn-north-1.amazonaws.com.cn/a.pem",
        "https://sns.eu-west-1.amazonaws.com:443/a/b.pem",
    ] {
        assert_eq!(url(good).as_deref(), Ok(good));
    }
    let refused = VerifyError::ForeignHost { field: "SigningCertURL" };
    for bad in FOREIGN {
        assert_eq!(url(bad), Err(refused.clone()), "{bad}");
        // Not even with the right certificate at hand.
        assert_eq!(
            check(message("notification-2", &[("SigningCertURL", Some(bad))])).unwrap_err(),
            refused,
            "{bad}"
        );
    }
    let long = format!("https://sns.eu-west-1.amazonaws.com/{}.pem", "a".repeat(2_000 - 40));
    assert_eq!(
        (long.len(), url(&long).is_ok(), url(&long.replacen("/a", "/aa", 1)).is_ok()),
        (2_000, true, false)
    );
    expect!["`SigningCertURL` in the message is not an address of Amazon SNS; expected https://sns.<region>.amazonaws.com/…"]
        .assert_eq(&refused.to_string());
}

/// What is no certificate of SNS's, in many spellings.
const FOREIGN: [&str; 40] = [
    "",
    "https://",
    "http://sns.eu-west-1.amazonaws.com/a.pem",
    "HTTPS://sns.eu-west-1.amazonaws.com/a.pem",
    "ftp://sns.eu-west-1.amazonaws.com/a.pem",
    "//sns.eu-west-1.amazonaws.com/a.pem",
    " https://sns.eu-west-1.amazonaws.com/a.pem",
    "https:/sns.eu-west-1.amazonaws.com/a.pem",
    "https://sns.eu-west-1.amazonaws.com",
    "https://sns.eu-west-1.amazonaws.com/",
    "https://sns.eu-west-1.amazonaws.com/.pem",
    "https://sns.eu-west-1.amazonaws.com/a.pem?x=.pem",
    "https://sns.eu-west-1.amazonaws.com/a#.pem",
    "https://sns.eu-west-1.amazonaws.com/a.crt",
    "https://sns.eu-west-1.amazonaws.com/a.PEM",
    "https://sns.eu-west-1.amazonaws.com/../a.pem",
    "https://sns.eu-west-1.amazonaws.com/%2e%2e/a.pem",
    "https://sns.eu-west-1.amazonaws.com\\@evil.invalid/a.pem",
    "https://sns.eu-west-1.amazonaws.com@evil.invalid/a.pem",
    "https://user@sns.eu-west-1.amazonaws.com/a.pem",
    "https://user:pw@sns.eu-west-1.amazonaws.com/a.pem",
    "https://sns.eu-west-1.amazonaws.com:8443/a.pem",
    "https://sns.eu-west-1.amazonaws.com:/a.pem",
    "https://sns.eu-west-1.amazonaws.com:443:443/a.pem",
    "https://sns.eu-west-1.amazonaws.com./a.pem",
    "https://sns.eu-west-1.amazonaws.com.evil.invalid/a.pem",
    "https://sns.eu-west-1.amazonaws.com.cn.evil.invalid/a.pem",
    "https://sns.eu-west-1.amazonaws.org/a.pem",
    "https://sns.eu-west-1.amazonaws.com.de/a.pem",
    "https://sns.eu-west-1.xamazonaws.com/a.pem",
    "https://sns.evil.invalid/.amazonaws.com/a.pem",
    "https://sns.a.b.amazonaws.com/a.pem",
    "https://sns..amazonaws.com/a.pem",
    "https://sns.amazonaws.com/a.pem",
    "https://sns.-eu.amazonaws.com/a.pem",
    "https://sns.eu-.amazonaws.com/a.pem",
    "https://SNS.eu-west-1.amazonaws.com/a.pem",
    "https://xsns.eu-west-1.amazonaws.com/a.pem",
    "https://s3.eu-west-1.amazonaws.com/sns.eu-west-1.amazonaws.com/a.pem",
    "https://127.0.0.1/a.pem",
];

#[test]
fn addresses_that_confirm() {
    let confirms = |url: &str| {
        let stored = StoredDelivery {
            forge: Forge::Codecommit,
            verifier: Verifier::SnsRsaSha256,
            event: "SubscriptionConfirmation".to_owned(),
            delivery_id: "d".to_owned(),
            body: message("confirmation-2", &[("SubscribeURL", Some(url))]),
        };
        sns_subscription_url(&Verified::from_store(stored)).is_some()
    };
    assert!(confirms("https://sns.cn-north-1.amazonaws.com.cn/?Action=ConfirmSubscription&Token=a%2Fb"));
    for bad in [
        "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&",
        "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription",
        "https://sns.eu-west-1.amazonaws.com/?Action=DeleteTopic&Token=1",
        "https://sns.eu-west-1.amazonaws.com/x?Action=ConfirmSubscription&Token=1",
        "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1#x",
        "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1 HTTP/1.1",
        "https://evil.invalid/?Action=ConfirmSubscription&Token=1",
        "http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1",
    ] {
        assert!(!confirms(bad), "{bad}");
    }
}
