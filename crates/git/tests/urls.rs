//! Which addresses are taken, and what becomes of hostile ones.

use gristmill_git::{Protocol, RemoteUrl, UrlError};

/// The address as displayed and its protocol.
fn taken(text: &str) -> (String, Protocol) {
    let url: RemoteUrl = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    (url.to_string(), url.protocol())
}

#[test]
fn good_addresses_are_taken() {
    for (text, shown, protocol) in [
        ("https://github.com/acme/shop.git", None, Protocol::Https),
        ("https://GitHub.com/acme/shop", Some("https://github.com/acme/shop"), Protocol::Https),
        ("https://git.example.org:8443/a/b", None, Protocol::Https),
        ("https://git.example.org:65535/a", None, Protocol::Https),
        ("https://[2001:db8::1]:8443/a/b", None, Protocol::Https),
        ("https://example.org/with%20blank/x", None, Protocol::Https),
        ("http://127.0.0.1:3000/a/b.git", None, Protocol::Http),
        ("git://example.org/a/b.git", None, Protocol::Git),
        ("file:///srv/git/a.git", Some("/srv/git/a.git"), Protocol::File),
        ("file:///srv/with%20blank", Some("/srv/with blank"), Protocol::File),
        ("/srv/git/a.git", None, Protocol::File),
        ("/srv/a::b", None, Protocol::File),
        ("ssh://git@github.com/acme/shop.git", None, Protocol::Ssh),
        ("ssh://git@github.com:22/acme/shop.git", None, Protocol::Ssh),
        ("git@github.com:acme/shop.git", None, Protocol::Ssh),
        ("github.com:acme/shop.git", None, Protocol::Ssh),
    ] {
        assert_eq!(taken(text), (shown.unwrap_or(text).to_owned(), protocol));
    }
}

/// Whether an error is the one that was expected.
type Check = fn(&UrlError) -> bool;

#[test]
fn hostile_and_mistaken_addresses_are_refused() {
    use UrlError::{Character, Empty, Helper, Host, OptionLike, Path, Port, Scheme, Secret, TooLong};
    let long = format!("https://example.org/{}", "a".repeat(1981));
    let cases: &[(&str, Check)] = &[
        ("", |e| matches!(e, Empty)),
        (&long, |e| matches!(e, TooLong)),
        ("-uhttps://example.org/a", |e| matches!(e, OptionLike("address"))),
        ("--upload-pack=touch /tmp/x", |e| matches!(e, OptionLike("address"))),
        ("ext::sh -c touch% /tmp/x", |e| matches!(e, Helper(name) if name == "ext")),
        ("fd::17", |e| matches!(e, Helper(name) if name == "fd")),
        ("ext::https://example.org/a", |e| matches!(e, Helper(name) if name == "ext")),
        ("hg::/srv/x", |e| matches!(e, Helper(_))),
        ("ftp://example.org/a", |e| matches!(e, Scheme(name) if name == "ftp")),
        ("HTTPS://example.org/a", |e| matches!(e, Scheme(_))),
        ("git+ssh://example.org/a", |e| matches!(e, Scheme(name) if name == "git+ssh")),
        ("://example.org/a", |e| matches!(e, Scheme(_))),
        ("a b c d://example.org/a", |e| matches!(e, Scheme(name) if name == "that")),
        ("https://user:pass@example.org/a", |e| matches!(e, Secret)),
        ("https://ghp_token@example.org/a", |e| matches!(e, Secret)),
        ("http://u@127.0.0.1/a", |e| matches!(e, Secret)),
        ("git://u@example.org/a", |e| matches!(e, Secret)),
        ("ssh://git:pass@example.org/a", |e| matches!(e, Secret)),
        ("ssh://-oProxyCommand=x@example.org/a", |e| matches!(e, OptionLike("user"))),
        ("ssh://-oProxyCommand=x/a", |e| matches!(e, OptionLike("host"))),
        ("-oProxyCommand=x:a", |e| matches!(e, OptionLike("address"))),
        ("git@-oProxyCommand:a", |e| matches!(e, OptionLike("host"))),
        ("git@example.org:-a", |e| matches!(e, OptionLike("path"))),
        ("ssh://a;b@example.org/a", |e| matches!(e, Character(_))),
        ("git://-host/a", |e| matches!(e, OptionLike("host"))),
        ("https:///a", |e| matches!(e, Host(_))),
        ("https://:80/a", |e| matches!(e, Host(_))),
        ("https://.example.org/a", |e| matches!(e, Host(_))),
        ("https://a..b/a", |e| matches!(e, Host(_))),
        ("https://ex ample.org/a", |e| matches!(e, Host(_))),
        ("https://exämple.org/a", |e| matches!(e, Host(_))),
        ("https://ex%61mple.org/a", |e| matches!(e, Host(_))),
        ("https://$(touch x)/a", |e| matches!(e, Host(_))),
        ("https://[::1/a", |e| matches!(e, Host(_))),
        ("https://[::zz]/a", |e| matches!(e, Host(_))),
        ("https://[::1]x/a", |e| matches!(e, Host(_))),
        ("https://example.org:0/a", |e| matches!(e, Port)),
        ("https://example.org:65536/a", |e| matches!(e, Port)),
        ("https://example.org:/a", |e| matches!(e, Port)),
        ("https://example.org:+80/a", |e| matches!(e, Port)),
        ("https://example.org:80:81/a", |e| matches!(e, Port)),
        ("https://example.org", |e| matches!(e, Path(_))),
        ("https://example.org/", |e| matches!(e, Path(_))),
        ("https://example.org//", |e| matches!(e, Path(_))),
        ("https://example.org/a?service=x", |e| matches!(e, Path(_))),
        ("https://example.org/a#b", |e| matches!(e, Path(_))),
        ("https://example.org/a/../b", |e| matches!(e, Path(_))),
        ("https://example.org/a/%2e%2e/b", |e| matches!(e, Path(_))),
        ("https://example.org/%ff", |e| matches!(e, Path(_))),
        ("https://example.org/a b", |e| matches!(e, Character(_))),
        ("https://example.org/a\\b", |e| matches!(e, Character(_))),
        ("https://example.org/a\nb", |e| matches!(e, Character(_))),
        ("https://example.org/a%0ab", |e| matches!(e, Character(_))),
        ("https://example.org/a%00", |e| matches!(e, Character(_))),
        ("https://example.org/\u{85}a", |e| matches!(e, Character(_))),
        ("file://host/srv/a", |e| matches!(e, Host(_))),
        ("file://", |e| matches!(e, Host(_))),
        ("file:///", |e| matches!(e, Path(_))),
        ("file:///srv/%ff", |e| matches!(e, Path(_))),
        ("file:///srv/../etc", |e| matches!(e, Path(_))),
        ("/", |e| matches!(e, Path(_))),
        ("/srv/..", |e| matches!(e, Path(_))),
        ("./repo", |e| matches!(e, Path(_))),
        ("repo", |e| matches!(e, Path(_))),
        ("../repo:x", |e| matches!(e, Path(_))),
        ("host:", |e| matches!(e, Path(_))),
    ];
    for (text, expected) in cases {
        let error = text.parse::<RemoteUrl>().expect_err(text);
        assert!(expected(&error), "{text}: {error:?}");
    }
}

#[test]
fn lengths_are_bounded_exactly() {
    let prefix = "https://example.org/";
    let longest = format!("{prefix}{}", "a".repeat(2000 - prefix.len()));
    assert!(longest.parse::<RemoteUrl>().is_ok());
    assert_eq!(format!("{longest}a").parse::<RemoteUrl>(), Err(UrlError::TooLong));
    let host = |bytes: usize| format!("https://{}/a", "h".repeat(bytes)).parse::<RemoteUrl>();
    assert!(host(253).is_ok());
    assert!(host(254).is_err());
}

#[test]
fn an_error_never_repeats_a_secret() {
    for text in [
        "https://user:hunter2secret@example.org/a",
        "https://hunter2secret@example.org/a",
        "hunter2secret-and-more-of-it://example.org",
        "ssh://git:hunter2secret@example.org/a",
        "user:hunter2secret@example.org:a",
        "https://example.org/hunter2secret?x",
    ] {
        let error = text.parse::<RemoteUrl>().expect_err(text);
        assert!(!format!("{error} {error:?}").contains("hunter2secret"), "{error:?}");
    }
}

#[test]
fn loopback_is_told_without_a_name_server() {
    for (text, loopback) in [
        ("http://127.0.0.1/a", true),
        ("http://127.9.9.9:80/a", true),
        ("http://[::1]/a", true),
        ("http://localhost/a", true),
        ("http://localhost.example.org/a", false),
        ("http://10.0.0.1/a", false),
        ("http://[fe80::1]/a", false),
        ("http://0.0.0.0/a", false),
    ] {
        let url: RemoteUrl = text.parse().expect(text);
        assert_eq!(url.host().expect("a host").is_loopback(), loopback, "{text}");
    }
}
