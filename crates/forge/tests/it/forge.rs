//! Names and values at the edge: [`Forge`], [`Verifier`], [`Secret`], [`Headers`].

use expect_test::expect;
use gristmill_forge::{DuplicateHeader, Forge, Headers, Secret, SecretError, Verifier};

#[test]
fn a_forge_is_its_name_in_every_form() {
    assert_eq!("github".parse(), Ok(Forge::Github));
    assert_eq!(Forge::Github.to_string(), "github");
    assert_eq!(serde_json::to_string(&Forge::Github).unwrap(), r#""github""#);
    assert_eq!(serde_json::from_str::<Forge>(r#""github""#).unwrap(), Forge::Github);
    assert!(
        serde_json::from_str::<Forge>(r#""gitfub""#).unwrap_err().to_string().starts_with("`gitfub` is not")
    );
    assert_eq!(Forge::Github.event_header(), "X-GitHub-Event");
    assert_eq!(Forge::Github.delivery_header(), "X-GitHub-Delivery");
}

#[test]
fn an_unknown_forge_is_told_which_are_known() {
    let told = |name: &str| name.parse::<Forge>().unwrap_err().to_string();
    expect!["`sourceforge` is not a known forge; expected one of: github"].assert_eq(&told("sourceforge"));
    expect!["`GitHub` is not a known forge; expected one of: github"].assert_eq(&told("GitHub"));
    expect!["`a\u{fffd}b` is not a known forge; expected one of: github"].assert_eq(&told("a\u{1b}b"));
}

#[test]
fn a_long_foreign_text_is_cut_in_the_middle() {
    let told = |name: &str| name.parse::<Forge>().unwrap_err().to_string();
    let exact = "é".repeat(100);
    assert_eq!(told(&exact), format!("`{exact}` is not a known forge; expected one of: github"));
    let long = format!("{}{}{}", "a".repeat(40), "cut", "z".repeat(60));
    let cut = format!("{}…{}", "a".repeat(40), "z".repeat(60));
    assert_eq!(told(&long), format!("`{cut}` is not a known forge; expected one of: github"));
}

#[test]
fn a_verifier_is_its_name() {
    for (verifier, name) in
        [(Verifier::GithubHmacSha256, "github-hmac-sha256"), (Verifier::GithubHmacSha1, "github-hmac-sha1")]
    {
        assert_eq!(verifier.to_string(), name);
        assert_eq!(name.parse(), Ok(verifier));
    }
    let error = "hmac".parse::<Verifier>().unwrap_err().to_string();
    expect!["`hmac` is not the name of a verifier; expected one of: github-hmac-sha256, github-hmac-sha1"]
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
