//! Names and values at the edge: [`Forge`], [`Verifier`], [`Secret`], [`Headers`].

use expect_test::expect;
use gristmill_forge::{DuplicateHeader, Forge, HeaderName, Headers, Secret, SecretError, Verifier};

/// Every forge, its name, and the headers with the event and the delivery's id.
const FORGES: [(Forge, &str, &str, &str); 11] = [
    (Forge::Github, "github", "X-GitHub-Event", "X-GitHub-Delivery"),
    (Forge::Gitlab, "gitlab", "X-Gitlab-Event", "Idempotency-Key"),
    (Forge::Bitbucket, "bitbucket", "X-Event-Key", "X-Request-UUID"),
    (Forge::BitbucketServer, "bitbucket-server", "X-Event-Key", "X-Request-Id"),
    (Forge::Gitea, "gitea", "X-Gitea-Event", "X-Gitea-Delivery"),
    (Forge::Forgejo, "forgejo", "X-Forgejo-Event", "X-Forgejo-Delivery"),
    (Forge::Gogs, "gogs", "X-Gogs-Event", "X-Gogs-Delivery"),
    (Forge::AzureDevops, "azure-devops", "", ""),
    (Forge::Codecommit, "codecommit", "x-amz-sns-message-type", ""),
    (Forge::Generic, "generic", "", ""),
    (Forge::Bare, "bare", "", "X-Gristmill-Delivery"),
];

#[test]
fn a_forge_is_its_name_in_every_form() {
    assert_eq!(Forge::ALL, FORGES.map(|(forge, ..)| forge));
    for (forge, name, event, delivery) in FORGES {
        assert_eq!(name.parse(), Ok(forge));
        assert_eq!(forge.to_string(), name);
        assert_eq!(serde_json::to_string(&forge).unwrap(), format!("\"{name}\""));
        assert_eq!(serde_json::from_str::<Forge>(&format!("\"{name}\"")).unwrap(), forge);
        assert_eq!((forge.event_header(), forge.delivery_header()), (event, delivery));
    }
    let error = serde_json::from_str::<Forge>(r#""gitfub""#).unwrap_err().to_string();
    assert!(error.starts_with("`gitfub` is not"), "{error}");
}

#[test]
fn an_unknown_forge_is_told_which_are_known() {
    let told = |name: &str| name.parse::<Forge>().unwrap_err().to_string();
    expect!["`sourceforge` is not a known forge; expected one of: github, gitlab, bitbucket, bitbucket-server, gitea, forgejo, gogs, azure-devops, codecommit, generic, bare"].assert_eq(&told("sourceforge"));
    expect!["`GitHub` is not a known forge; expected one of: github, gitlab, bitbucket, bitbucket-server, gitea, forgejo, gogs, azure-devops, codecommit, generic, bare"].assert_eq(&told("GitHub"));
    expect!["`a�b` is not a known forge; expected one of: github, gitlab, bitbucket, bitbucket-server, gitea, forgejo, gogs, azure-devops, codecommit, generic, bare"].assert_eq(&told("a\u{1b}b"));
}

#[test]
fn a_long_foreign_text_is_cut_in_the_middle() {
    let told = |name: &str| name.parse::<Forge>().unwrap_err().to_string();
    let known = FORGES.map(|(_, name, ..)| name).join(", ");
    let exact = "é".repeat(100);
    assert_eq!(told(&exact), format!("`{exact}` is not a known forge; expected one of: {known}"));
    let long = format!("{}{}{}", "a".repeat(40), "cut", "z".repeat(60));
    let cut = format!("{}…{}", "a".repeat(40), "z".repeat(60));
    assert_eq!(told(&long), format!("`{cut}` is not a known forge; expected one of: {known}"));
}

#[test]
fn a_verifier_is_its_name() {
    for (verifier, name) in [
        (Verifier::GithubHmacSha256, "github-hmac-sha256"),
        (Verifier::GithubHmacSha1, "github-hmac-sha1"),
        (Verifier::GitlabToken, "gitlab-token"),
        (Verifier::GitlabSigningToken, "gitlab-signing-token"),
        (Verifier::BitbucketHmacSha256, "bitbucket-hmac-sha256"),
        (Verifier::GiteaHmacSha256, "gitea-hmac-sha256"),
        (Verifier::Basic, "basic"),
        (Verifier::CustomHeader, "custom-header"),
        (Verifier::SnsRsaSha1, "sns-rsa-sha1"),
        (Verifier::SnsRsaSha256, "sns-rsa-sha256"),
        (Verifier::GitToken, "git-token"),
        (Verifier::GristmillHmacSha256, "gristmill-hmac-sha256"),
    ] {
        assert_eq!(verifier.to_string(), name);
        assert_eq!(name.parse(), Ok(verifier));
    }
    let error = "hmac".parse::<Verifier>().unwrap_err().to_string();
    expect!["`hmac` is not the name of a verifier; expected one of: github-hmac-sha256, github-hmac-sha1, gitlab-token, gitlab-signing-token, bitbucket-hmac-sha256, gitea-hmac-sha256, basic, custom-header, sns-rsa-sha1, sns-rsa-sha256, git-token, gristmill-hmac-sha256"]
        .assert_eq(&error);
}

#[test]
fn blank_secrets_are_refused_and_others_taken_as_they_are() {
    for blank in ["", " ", "\n", " \t\r\n", "\0", "\0\0", "\n\0"] {
        assert_eq!(Secret::new(blank).unwrap_err(), SecretError::Empty, "{blank:?}");
    }
    for good in ["x", " x", "x\n", "\0x", "\u{1}"] {
        assert!(Secret::new(good).is_ok(), "{good:?}");
    }
    expect![[r#"
        the secret is empty, which is an error in the configuration: anybody could sign with it. Make one (`openssl rand -hex 32`), enter it at the forge and in the project; a project that shall have no webhook has no `secret` at all"#]]
    .assert_eq(&SecretError::Empty.to_string());
}

#[test]
fn headers_are_found_in_any_case_and_only_once() {
    let headers = Headers::new([("x-a", b"1".as_slice()), ("X-B", b"2"), ("x-b", b"2"), ("x-c", b"")]);
    assert_eq!(headers.one("X-A"), Ok(Some(b"1".as_slice())));
    assert_eq!(headers.one("X-C"), Ok(Some(b"".as_slice())));
    assert_eq!(headers.one("X-D"), Ok(None));
    assert_eq!(headers.one("X-b"), Err(DuplicateHeader { name: "X-b" }));
    expect!["the header `X-b` came more than once; expected one"]
        .assert_eq(&headers.one("X-b").unwrap_err().to_string());
}

#[test]
fn a_header_name_is_letters_digits_and_dashes() {
    for good in ["X-Webhook-Token", "a", "9", &"x".repeat(100)] {
        let name: HeaderName = good.parse().unwrap();
        assert_eq!((name.as_str(), name.to_string().as_str()), (good, good));
    }
    for bad in ["", "a b", "a:", "a\r\nb", "é", "a_b", &"x".repeat(101)] {
        assert!(bad.parse::<HeaderName>().is_err(), "{bad:?}");
    }
    expect!["`a b` is not the name of a header; expected 1 to 100 letters, digits and `-`, such as `X-Webhook-Token`"]
        .assert_eq(&"a b".parse::<HeaderName>().unwrap_err().to_string());
}

#[test]
fn a_secret_that_its_forge_cannot_use_is_found_in_the_configuration() {
    let check = |text: &str, forge, basic| Secret::new(text).unwrap().check(forge, basic);
    for good in ["token", "whsec_MDEyMzQ1Njc4OWFiY2RlZg==", "whsec_MDEyMzQ1Njc4OWFiY2RlZg", "WHSEC_", "a:"] {
        assert_eq!(check(good, Forge::Gitlab, false), Ok(()), "{good}");
    }
    // The last two are keys of NULs, which is the empty key by another name.
    for bad in
        ["whsec_", "whsec_!", "whsec_MDEyMzQ1Njc4OWFiY2RlZ", "whsec_MDEy\n", "whsec_AAAA", "whsec_AA=="]
    {
        assert_eq!(check(bad, Forge::Gitlab, false), Err(SecretError::SigningToken), "{bad}");
        assert_eq!(check(bad, Forge::Gitea, false), Ok(()), "{bad}");
    }
    for (text, outcome) in [
        ("password", Ok(())),
        ("user:password", Ok(())),
        (":password", Ok(())),
        ("user:", Err(SecretError::NoPassword)),
        (":", Err(SecretError::NoPassword)),
        ("user: \0", Err(SecretError::NoPassword)),
    ] {
        assert_eq!(check(text, Forge::AzureDevops, true), outcome, "{text}");
        assert_eq!(check(text, Forge::AzureDevops, false), Ok(()), "{text}");
    }
    expect!["the secret begins with `whsec_`, as GitLab's signing tokens do, but what follows is not the base64 of a key; copy it once more, whole"]
        .assert_eq(&SecretError::SigningToken.to_string());
    expect!["the secret has a user and no password; expected `user:password`, as they are entered at the forge, or the password alone where it has no colon"]
        .assert_eq(&SecretError::NoPassword.to_string());
}
