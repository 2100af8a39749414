//! Tables of what is refused at the edge, each with a word of its reason, and none repeating a secret.

mod common;

use common::sshd::{has_ssh, key};
use gristmill_git::{DeployKey, DeployKeyError, HostKeys, Proxy, ProxyError, RemoteUrl};

const SECRET: &str = "hunter2secret";

/// Addresses, and a word of why each is refused.
const SSH_ADDRESSES: &[(&str, &str)] = &[
    ("ssh://-oProxyCommand=x@host/a", "option"),
    ("ssh://-x/a", "option"),
    ("ssh://-x:22/a", "option"),
    ("ssh://git@-x/a", "option"),
    ("ssh://git@-x:22/a", "option"),
    ("ssh://git@[-x]/a", "IPv6"),
    ("ssh://git@host/-a", "option"),
    ("ssh://git@host//-a", "option"),
    ("ssh://git@host/%2da", "option"),
    ("ssh://%2dx/a", "host"),
    ("ssh://%2dx@host/a", "user"),
    ("ssh://git@host:-1/a", "port"),
    ("ssh://git@host:0/a", "port"),
    ("ssh://git@host:22x/a", "port"),
    ("ssh://git@host:65536/a", "port"),
    ("ssh://git@host:%32/a", "port"),
    ("ssh://git@@host/a", "user may"),
    ("ssh://git;x@host/a", "user may"),
    ("ssh://git$x@host/a", "user may"),
    ("ssh://g it@host/a", "user may"),
    ("ssh://@host/a", "user may"),
    ("ssh://git:hunter2secret@host/a", "password"),
    ("ssh://:hunter2secret@host/a", "password"),
    ("ssh:///a", "empty"),
    ("ssh://git@/a", "empty"),
    ("ssh://git@host", "owner/name"),
    ("ssh://git@host/", "no repository"),
    ("ssh://git@ho$t/a", "letters"),
    ("ssh://git@ho`t/a", "letters"),
    ("ssh://git@ho;t/a", "letters"),
    ("ssh://git@ho,t/a", "letters"),
    ("ssh://git@ho%t/a", "letters"),
    ("ssh://git@höst/a", "punycode"),
    ("ssh://git@host..x/a", "host name"),
    ("ssh://git@.host/a", "host name"),
    ("ssh://git@[::1/a", "without"),
    ("ssh://git@[::1]x/a", "between"),
    ("ssh://git@[fe80::1%25eth0]/a", "IPv6"),
    ("ssh://git@host/a b", "blank"),
    ("ssh://git@host/a\tb", "control"),
    ("ssh://git@host/a\nb", "control"),
    ("ssh://git@host/a%0ab", "control"),
    ("ssh://git@host/a%00b", "control"),
    ("ssh://git@host/a\u{85}b", "control"),
    ("ssh://git@host/a\\b", "backslash"),
    ("ssh://git@host/a'b", "may have"),
    ("ssh://git@host/a%27b", "may have"),
    ("ssh://git@host/a\"b", "may have"),
    ("ssh://git@host/a%22b", "may have"),
    ("ssh://git@host/$(a)", "may have"),
    ("ssh://git@host/${IFS}", "may have"),
    ("ssh://git@host/`a`", "may have"),
    ("ssh://git@host/a;b", "may have"),
    ("ssh://git@host/a&b", "may have"),
    ("ssh://git@host/a|b", "may have"),
    ("ssh://git@host/a>b", "may have"),
    ("ssh://git@host/a<b", "may have"),
    ("ssh://git@host/a!b", "may have"),
    ("ssh://git@host/a*b", "may have"),
    ("ssh://git@host/a%3fb", "may have"),
    ("ssh://git@host/a[b]", "may have"),
    ("ssh://git@host/{a,b}", "may have"),
    ("ssh://git@host/a^b", "may have"),
    ("ssh://git@host/a%25b", "may have"),
    ("ssh://git@host/a%5cb", "may have"),
    ("ssh://git@host/a?b", "mean nothing"),
    ("ssh://git@host/a#b", "mean nothing"),
    ("ssh://git@host/../a", "not taken"),
    ("ssh://git@host/a/..", "not taken"),
    ("ssh://git@host/%2e%2e/a", "not taken"),
    ("ssh://git@host/%ff", "UTF-8"),
    ("-git@host:a", "option"),
    ("git@-host:a", "option"),
    ("git@host:-a", "option"),
    ("-host:a", "option"),
    ("git@host:", "no repository"),
    ("git@host:/", "no repository"),
    ("git@:a", "empty"),
    (":a", "empty"),
    ("@host:a", "user may"),
    ("git@host:a b", "blank"),
    ("git@host:a'b", "may have"),
    ("git@host:$(a)", "may have"),
    ("git@host:`a`", "may have"),
    ("git@host:a;b", "may have"),
    ("git@host:a|b", "may have"),
    ("git@host:a&b", "may have"),
    ("git@host:a%20b", "may have"),
    ("git@host:../a", "not taken"),
    ("git@host:a@b", "password"),
    ("git:hunter2secret@host:a", "password"),
    ("git@host::a", "run a program"),
    ("git@[::1:a", "host"),
    ("git@[x]:a", "IPv6"),
    ("git+ssh://git@host/a", "not a scheme"),
    ("ssh+git://git@host/a", "not a scheme"),
    ("SSH://git@host/a", "not a scheme"),
    ("ssh:/git@host/a", "password"),
    ("ssh::git@host/a", "run a program"),
];

#[test]
fn ssh_addresses_that_could_become_something_else_are_refused() {
    for (text, why) in SSH_ADDRESSES {
        let error = text.parse::<RemoteUrl>().expect_err(text);
        let shown = error.to_string();
        assert!(shown.contains(why), "{text}: {shown}");
        assert!(!format!("{shown} {error:?}").contains(SECRET), "{text}: {shown}");
    }
    for (text, shown) in [
        ("ssh://git@HOST/a/b.git", "ssh://git@host/a/b.git"),
        ("ssh://git@host:2222/a/b", "ssh://git@host:2222/a/b"),
        ("ssh://host/~me/a%20b", "ssh://host/~me/a%20b"),
        ("ssh://git@[::1]:22/a", "ssh://git@[::1]:22/a"),
        ("git@[::1]:a/b", "git@[::1]:a/b"),
        ("git@host:v3/a/b:c", "git@host:v3/a/b:c"),
        ("host.example.org:grüße/x", "host.example.org:grüße/x"),
    ] {
        assert_eq!(text.parse::<RemoteUrl>().expect(text).to_string(), shown);
    }
}

#[test]
fn host_keys_that_pin_nothing_are_refused() {
    if !has_ssh("host_keys_that_pin_nothing_are_refused") {
        return;
    }
    let key = key(1).public_line();
    let key = key.trim_end_matches(" test");
    let base64 = key.trim_start_matches("ssh-ed25519 ");
    let small_rsa = String::from_utf8(made(&["-t", "rsa", "-b", "1024", "-N", ""], ".pub")).expect("a line");
    let cases = [
        (format!("@cert-authority *.example.org {key}"), "markers"),
        (format!("@revoked host {key}"), "markers"),
        (format!("@x host {key}"), "markers"),
        (format!("|1|c2FsdHNhbHRzYWx0c2FsdHNhbHQ=|aGFzaGhhc2hoYXNoaGFzaGhhc2g= {key}"), "hashed"),
        (format!("|2|x|y {key}"), "hashed"),
        (format!("* {key}"), "patterns"),
        (format!("*.example.org {key}"), "patterns"),
        (format!("host? {key}"), "patterns"),
        (format!("!host {key}"), "patterns"),
        (format!("host,!other {key}"), "patterns"),
        (format!("host,* {key}"), "patterns"),
        (format!("host,, {key}"), "patterns"),
        (format!("-host {key}"), "patterns"),
        (format!(".host {key}"), "patterns"),
        (format!("ho$t {key}"), "patterns"),
        (format!("höst {key}"), "patterns"),
        (format!("[host] {key}"), "patterns"),
        (format!("[host]: {key}"), "patterns"),
        (format!("[host]:0 {key}"), "patterns"),
        (format!("[host]:65536 {key}"), "patterns"),
        (format!("[host]:+22 {key}"), "patterns"),
        (format!("[host]:22x {key}"), "patterns"),
        (format!("[]:22 {key}"), "patterns"),
        (format!("[*]:22 {key}"), "patterns"),
        (format!("host:22 {key}"), "patterns"),
        (format!("{} {key}", "h".repeat(254)), "patterns"),
        (format!("{} {key}", vec!["h"; 21].join(",")), "20 names"),
        ("host".to_owned(), "expected"),
        ("host ssh-ed25519".to_owned(), "expected"),
        (key.to_owned(), "expected"),
        (format!("host ssh-rsa {base64}"), "not a public key"),
        (format!("host ssh-ed25519 {}", &base64[..40]), "not a public key"),
        ("host ssh-ed25519 !!!!".to_owned(), "not a public key"),
        ("host ssh-ed25519 AAAA".to_owned(), "not a public key"),
        (format!("host ssh-ed25519 {base64}AAAA"), "not a public key"),
        (format!("host {small_rsa}"), "less than 2048"),
        (format!("host 2048 65537 {base64}"), "not a public key"),
        (format!("host ssh-dss {base64}"), "not a public key"),
        (format!("host x-unknown {base64}"), "not a public key"),
        (format!("ho\u{7}st {key}"), "control"),
        (format!("host\0 {key}"), "control"),
        (format!("host {key} {}", "c".repeat(9000)), "8 KiB"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(), "patterns"),
        ("<html>".to_owned(), "expected"),
    ];
    for (line, why) in cases {
        let error = HostKeys::parse(&format!("# first\n{line}\n")).expect_err(&line);
        assert_eq!(error.line, 2, "{line}");
        assert!(error.why.contains(why), "{line}: {error}");
    }
    assert!(HostKeys::parse(&format!("{}\n", "#".repeat(70_000))).is_err());
    for line in [
        format!("host {key}"),
        format!("Host,[other]:2222,10.0.0.1,::1,[::1]:22 {key} a comment"),
        format!("host\t{key}"),
        "host ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=".to_owned(),
        String::new(),
    ] {
        let keys = HostKeys::parse(&line).expect(&line);
        let url: RemoteUrl = "git@host:a/b".parse().expect("an address");
        assert_eq!(keys.knows(&url), !line.is_empty());
    }
}

/// A key that ssh-keygen makes: the private one, or with `.pub` the public one.
fn made(args: &[&str], ending: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    let status =
        std::process::Command::new("ssh-keygen").args(["-q", "-C", "x", "-f"]).arg(&path).args(args).status();
    assert!(status.expect("ssh-keygen starts").success());
    std::fs::read(folder.path().join(format!("key{ending}"))).expect("a key")
}

#[test]
fn keys_that_cannot_be_used_are_refused_without_being_shown() {
    if !has_ssh("keys_that_cannot_be_used_are_refused_without_being_shown") {
        return;
    }
    use DeployKeyError::{Algorithm, Comment, Encrypted, Format, Public, TooLong};
    let good = key(1).to_openssh().as_ref().to_owned();
    let half = good.len() / 2;
    let mut flipped = good.clone().into_bytes();
    flipped[half] ^= 1;
    let broken_lines = good.replace("-----END", "----END");
    let cases = vec![
        (Vec::new(), Format),
        (b"\n\n".to_vec(), Format),
        (b"\xff\xfe".to_vec(), Format),
        (vec![0; 500], Format),
        (vec![b'x'; 17_000], TooLong),
        (key(1).public_line().into_bytes(), Public),
        (b"ssh-rsa AAAA x".to_vec(), Public),
        (b"ecdsa-sha2-nistp256 AAAA".to_vec(), Public),
        (b"sk-ssh-ed25519@openssh.com AAAA".to_vec(), Public),
        (good.as_bytes()[..half].to_vec(), Format),
        (broken_lines.into_bytes(), Format),
        (good.replace("OPENSSH", "RSA").into_bytes(), Format),
        (good.replace("BEGIN OPENSSH PRIVATE", "BEGIN PRIVATE").into_bytes(), Format),
        (format!("x{good}").into_bytes(), Format),
        (format!("{good}{good}").into_bytes(), Format),
        (b"PuTTY-User-Key-File-3: ssh-ed25519".to_vec(), Format),
        (made(&["-t", "ed25519", "-N", "a passphrase"], ""), Encrypted),
        (made(&["-t", "ecdsa", "-N", ""], ""), Algorithm),
        (made(&["-t", "rsa", "-b", "2048", "-N", ""], ""), Algorithm),
        (made(&["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""], ""), Format),
        (made(&["-t", "ed25519", "-N", "", "-C", &"c".repeat(201)], ""), Comment),
    ];
    for (bytes, expected) in cases {
        let error = DeployKey::from_openssh(&bytes).expect_err("it cannot be used");
        assert_eq!(error, expected, "{}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]));
    }
    assert!(DeployKey::from_openssh(&flipped).is_err_and(|error| error == Format));
    let windows = format!("\r\n{}\r\n", good.replace('\n', "\r\n"));
    let read = DeployKey::from_openssh(windows.as_bytes()).expect("line ends of Windows");
    assert_eq!(read.public_line(), key(1).public_line());
    let secret = good.lines().nth(3).expect("base64");
    assert!(!format!("{read:?}").contains(secret));
    for comment in ["a\nb", "a\0b", &"c".repeat(201)] {
        assert!(matches!(DeployKey::generate(&[1; 32], comment), Err(Comment)));
    }
    assert!(DeployKey::generate(&[1; 32], &"c".repeat(200)).is_ok());
}

#[test]
fn proxies_that_are_none_are_refused_without_their_password() {
    use ProxyError::{NoProxy, Rest, Scheme, Server, User};
    let long = format!("http://{}", "h".repeat(4000));
    for (text, expected) in [
        ("", Scheme),
        ("proxy", Scheme),
        ("proxy:3128", Scheme),
        ("ftp://proxy", Scheme),
        ("HTTP://proxy", Scheme),
        ("file:///x", Scheme),
        ("-x://proxy", Scheme),
        ("http://", Server),
        ("http://:3128", Server),
        ("http://-proxy", Server),
        ("http://pro xy", Server),
        ("http://proxy:0", Server),
        ("http://proxy:x", Server),
        ("http://proxy\n", Server),
        ("http://proxy\"]", Server),
        ("http://[::1", Server),
        (&long, Server),
        ("http://proxy/x", Rest),
        ("http://proxy?x", Rest),
        ("http://proxy#x", Rest),
        ("http://me:hunter2secret@proxy/x", Rest),
        ("http://:hunter2secret@proxy", User),
        ("http://me:hunter2secret%0a@proxy", User),
        ("http://me%3a:hunter2secret@proxy", User),
        ("http://me:hunter2secret%ff@proxy", User),
        ("http://me:hunter2secret\n@proxy", User),
        ("http://me:hunter2secret@", Server),
    ] {
        let error = text.parse::<Proxy>().expect_err(text);
        assert_eq!(error, expected, "{text}");
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error}");
    }
    let proxy: Proxy = "http://proxy".parse().expect("a proxy");
    for list in ["a\nb", "a\"b", "$x", "a;b", "höst", &"h".repeat(4001)] {
        assert_eq!(proxy.clone().without(list), Err(NoProxy), "{list}");
    }
    for list in ["", "*", ".example.org,10.0.0.0/8, [::1]", "localhost,127.0.0.1:80"] {
        assert!(proxy.clone().without(list).is_ok(), "{list}");
    }
}
