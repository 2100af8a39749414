//! Addresses as text.

use gristmill_outgoing::{Url, UrlError};

fn read(text: &str) -> Result<String, UrlError> {
    text.parse::<Url>().map(|url| url.as_str().to_owned())
}

#[test]
fn an_address_has_one_spelling() {
    for (text, expected) in [
        ("https://example.org", "https://example.org/"),
        ("HTTPS://Example.ORG:443/A/b?c=D#e", "https://example.org/A/b?c=D"),
        ("http://example.org:80/", "http://example.org/"),
        ("https://example.org:80/", "https://example.org:80/"),
        ("https://example.org?x=1", "https://example.org/?x=1"),
        ("https://example.org./x", "https://example.org./x"),
        ("http://2130706433/", "http://127.0.0.1/"),
        ("http://0x7f.1:8080/x", "http://127.0.0.1:8080/x"),
        ("http://0177.0.0.01/", "http://127.0.0.1/"),
        ("http://0x7F000001/", "http://127.0.0.1/"),
        ("http://127.1/", "http://127.0.0.1/"),
        ("http://10.65535/", "http://10.0.255.255/"),
        ("http://1.2.3.4./", "http://1.2.3.4/"),
        ("http://0x/", "http://0.0.0.0/"),
        // Not a number after all, so a name.
        ("http://example.0x1g/", "http://example.0x1g/"),
        ("http://[0:0::1]:81/", "http://[::1]:81/"),
        ("http://[::FFFF:7f00:1]/", "http://[::ffff:127.0.0.1]/"),
        ("https://a_b-c.example/%20?a=%2F", "https://a_b-c.example/%20?a=%2F"),
    ] {
        assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_address_is_refused_for_its_reason() {
    for (text, expected) in [
        ("", UrlError::Scheme),
        ("example.org/x", UrlError::Scheme),
        ("ftp://example.org/", UrlError::Scheme),
        ("file:///etc/passwd", UrlError::Scheme),
        ("gopher://127.0.0.1:6379/_x", UrlError::Scheme),
        ("https:/example.org/", UrlError::Scheme),
        ("https://user@example.org/", UrlError::UserInfo),
        ("https://a:b@example.org/", UrlError::UserInfo),
        ("https://@example.org/", UrlError::UserInfo),
        ("https://", UrlError::Host),
        ("https:///x", UrlError::Host),
        ("https://?x", UrlError::Host),
        ("https://.example.org/", UrlError::Host),
        ("https://example..org/", UrlError::Host),
        ("https://example.org../", UrlError::Host),
        ("https://exam%70le.org/", UrlError::Host),
        ("https://[::1/", UrlError::Host),
        ("https://::1/", UrlError::Host),
        ("https://[::1%25eth0]/", UrlError::Host),
        ("https://[127.0.0.1]/", UrlError::Host),
        ("https://1.2.3.4.5/", UrlError::Host),
        ("https://256.1.1.1/", UrlError::Host),
        ("https://1.2.3.256/", UrlError::Host),
        ("https://4294967296/", UrlError::Host),
        ("https://99999999999999999999999/", UrlError::Host),
        ("https://1.2.3.08/", UrlError::Host),
        ("https://example.org:/", UrlError::Port),
        ("https://example.org:0/", UrlError::Port),
        ("https://example.org:65536/", UrlError::Port),
        ("https://example.org:+80/", UrlError::Port),
        ("https://example.org\\@evil.invalid/", UrlError::Characters),
        ("https://example.org/a b", UrlError::Characters),
        ("https://example.org/\r\nX: y", UrlError::Characters),
        ("https://exämple.org/", UrlError::Characters),
        ("https://example.org/\u{0}", UrlError::Characters),
    ] {
        assert_eq!(read(text), Err(expected), "{text}");
    }
    let label = |len: usize| read(&format!("https://{}.org/", "a".repeat(len)));
    assert_eq!((label(63).is_ok(), label(64)), (true, Err(UrlError::Host)));
    let long = |len: usize| read(&format!("https://a.org/{}", "a".repeat(len - 14)));
    assert_eq!((long(16 << 10).is_ok(), long((16 << 10) + 1)), (true, Err(UrlError::TooLong)));
    assert_eq!(Url::https("http://example.org/").unwrap_err(), UrlError::Cleartext);
    assert!(Url::https("https://example.org/").is_ok());
}

#[test]
fn references_are_resolved() {
    let base: Url = "https://example.org:8443/a/b?c".parse().expect("an address");
    for (reference, expected) in [
        ("https://x.org/y", "https://x.org/y"),
        ("//x.org/y", "https://x.org/y"),
        ("/y?z", "https://example.org:8443/y?z"),
        ("?z", "https://example.org:8443/a/b?z"),
        ("y", "https://example.org:8443/a/y"),
        ("y?q=./../z", "https://example.org:8443/a/y?q=./../z"),
        ("../y", "https://example.org:8443/y"),
        ("../../../y", "https://example.org:8443/y"),
        ("./", "https://example.org:8443/a/"),
        ("..", "https://example.org:8443/"),
        ("", "https://example.org:8443/a/b?c"),
        ("#f", "https://example.org:8443/a/b?c"),
    ] {
        assert_eq!(base.join(reference).map(|url| url.as_str().to_owned()).as_deref(), Ok(expected));
    }
    for (reference, expected) in [
        ("javascript:alert(1)", UrlError::Scheme),
        ("file:///etc/passwd", UrlError::Scheme),
        ("//user@x.org/", UrlError::UserInfo),
        ("\\\\x.org/", UrlError::Characters),
    ] {
        assert_eq!(base.join(reference).unwrap_err(), expected, "{reference}");
    }
}

#[test]
fn what_is_shown_has_no_query() {
    let url: Url = "https://example.org/a?token=hunter2#hunter2".parse().expect("an address");
    assert_eq!(format!("{url} {url:?}"), "https://example.org/a https://example.org/a");
    assert_eq!((url.path(), url.origin(), url.port()), ("/a", "https://example.org", 443));
}
