//! The operator's proxy in between.

use std::sync::Arc;

use gristmill_outgoing::{
    Client, Error, Gate, GateOptions, Options, Proxy, ProxyError, Reach, Request, Url, Whose,
};
use gristmill_testkit::Wire;
use gristmill_testkit::wire::answer;

use crate::gate::{absolute, connect};
use crate::names::{Names, options};

/// The operator's proxy is a gate of ours: it speaks the same protocol.
async fn proxy_to(names: Names) -> (Gate, gristmill_outgoing::Pass) {
    let options = GateOptions { resolve: Arc::new(names), ..GateOptions::new(Reach::anywhere()) };
    let gate = Gate::start(options).await.expect("a gate");
    let pass = gate.pass(&[]).expect("a pass");
    (gate, pass)
}

fn names() -> Names {
    Names::default().with("far.test", &["127.0.0.1"]).with("localhost", &["127.0.0.1"])
}

const STRANGERS: [(&str, bool); 7] = [
    ("far.test", true),
    ("127.0.0.1", false),
    ("0x7f.1", false),
    ("[::ffff:127.0.0.1]", false),
    ("localhost", false),
    ("a.localhost.", false),
    ("metadata.google.internal", false),
];

#[tokio::test]
async fn behind_a_proxy_what_can_be_judged_here_is_judged_here() {
    let server = Wire::start(|_, _| answer("200 OK", &[], b"far"));
    let port = server.address().port();
    let (_gate, pass) = proxy_to(names()).await;
    let proxy: Proxy = pass.proxy_url().parse().expect("a proxy");
    // Nothing is looked up here: the name is known to the proxy alone.
    let client = Client::new(Options { proxy: Some(proxy), ..options(Names::default(), &[]) }).expect("one");
    let found = tokio::task::spawn_blocking(move || {
        STRANGERS.map(|(host, _)| {
            let url: Url = format!("http://{host}:{port}/").parse().expect("an address");
            client.call(&Request::get(url, Whose::Strangers)).map(|response| response.body().to_vec())
        })
    });
    for ((host, reached), found) in STRANGERS.iter().zip(found.await.expect("no panic")) {
        match found {
            Ok(body) => assert!(*reached && body == b"far", "{host}"),
            Err(error) => assert!(!reached && matches!(error, Error::Refused { .. }), "{host}: {error}"),
        }
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_gate_goes_on_through_the_proxy_by_the_same_rules() {
    let server = Wire::start(|_, _| answer("200 OK", &[], b"far"));
    let port = server.address().port();
    let (_proxy, upstream) = proxy_to(names()).await;
    let options = GateOptions {
        resolve: Arc::new(Names::default()),
        upstream: Some(upstream.proxy_url().parse().expect("a proxy")),
        ..GateOptions::new(Reach::strangers(Vec::new()))
    };
    let gate = Gate::start(options.clone()).await.expect("a gate");
    let pass = gate.pass(&[]).expect("a pass");
    for (host, reached) in STRANGERS {
        let (status, body) = absolute(&pass, &format!("http://{host}:{port}/")).await;
        assert_eq!(status, if reached { 200 } else { 403 }, "{host}: {body}");
        if !reached {
            assert_eq!(connect(&pass, &format!("{host}:{port}")).await.0, 403, "{host}");
        }
    }
    assert_eq!(server.connections(), 1);
    // The proxy's own refusal is told as such.
    drop(upstream);
    pass.refusals();
    assert_eq!(absolute(&pass, &format!("http://far.test:{port}/")).await.0, 502);
    let refusal = pass.refusals().remove(0);
    assert_eq!(refusal.to_string(), "the proxy did not connect to far.test: proxy server responded 407");
    assert!(!refusal.error.is_transient());
    let socks = GateOptions { upstream: Some("socks5h://127.0.0.1".parse().expect("a proxy")), ..options };
    assert_eq!(Gate::start(socks).await.unwrap_err().kind(), std::io::ErrorKind::Unsupported);
}

#[test]
fn hosts_without_proxy_are_looked_up_and_judged() {
    let server = Wire::start(|_, _| answer("200 OK", &[], b"direct"));
    let port = server.address().port();
    let dead: Proxy = "http://127.0.0.1:1".parse().expect("a proxy");
    let call = |no_proxy: &str, host: &str, whose| {
        let proxy = Some(dead.clone().without(no_proxy).expect("a list"));
        let names = Names::default().with("far.test", &["127.0.0.1"]).with("a.far.test", &["127.0.0.1"]);
        let client = Client::new(Options { proxy, ..options(names, &[]) }).expect("a client");
        let url: Url = format!("http://{host}:{port}/").parse().expect("an address");
        client.call(&Request::get(url, whose))
    };
    for (no_proxy, host, direct) in [
        ("far.test", "far.test", true),
        ("far.test", "a.far.test", true),
        (".far.test", "a.far.test", true),
        ("*.far.test", "far.test", true),
        ("x, FAR.test", "far.test.", true),
        ("r.test", "far.test", false),
        ("*", "far.test", true),
        ("127.0.0.0/8", "127.0.0.1", true),
        ("127.0.0.1", "127.1", true),
        ("127.0.0.2", "127.0.0.1", false),
        ("[::1],::2", "127.0.0.1", false),
        ("127.0.0.0/8", "far.test", false),
        ("", "far.test", false),
    ] {
        let found = call(no_proxy, host, Whose::Operators);
        assert_eq!(found.is_ok(), direct, "{no_proxy} {host}: {found:?}");
        if direct {
            let error = call(no_proxy, host, Whose::Strangers).unwrap_err();
            assert!(matches!(error, Error::Refused { .. }), "{host}: {error}");
        }
    }
}

#[test]
fn a_proxy_is_named_as_everywhere_and_its_password_never_shown() {
    for good in [
        "http://p.test",
        "http://p.test:3128/",
        "https://u:p%40@p.test",
        "socks5://[::1]:1080",
        "socks5h://p",
        "socks4a://p",
    ] {
        assert!(good.parse::<Proxy>().is_ok(), "{good}");
    }
    for bad in [
        "",
        "p.test",
        "ftp://p.test",
        "socks4://p",
        "http://",
        "http://p/x",
        "http://p?x",
        "http://p:x",
        "http://u:%ff@p",
        "http://p p",
    ] {
        assert_eq!(bad.parse::<Proxy>().unwrap_err(), ProxyError::Address, "{bad}");
    }
    let proxy: Proxy = "http://user:hunter2@p.test:3128".parse().expect("a proxy");
    assert_eq!(format!("{proxy} {proxy:?}"), "p.test:3128 p.test:3128");
    for bad in ["a b/c", "a..b", "10.0.0.0/33", "http://a"] {
        assert!(matches!(proxy.clone().without(bad), Err(ProxyError::NoProxy)), "{bad}");
    }
}
