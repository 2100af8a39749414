//! Calls that succeed, and calls that are bounded.

use std::io;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use gristmill_outgoing::{Error, Method, Request, Url, Whose};
use gristmill_testkit::Wire;
use gristmill_testkit::wire::answer;

use crate::names::{Names, client, options};

fn url(server: &Wire, path: &str) -> Url {
    format!("http://{}{path}", server.address()).parse().expect("an address")
}

fn get(server: &Wire, path: &str) -> Request {
    Request::get(url(server, path), Whose::Operators)
}

#[test]
fn a_call_is_made_as_it_is_asked_for() {
    let server = Wire::start(|_, body| answer("404 Not Found", &[("x-a", "b")], body));
    let client = client(Names::default(), &[]);
    let request = Request::new(Method::POST, url(&server, "/a?b=c"), Whose::Operators)
        .header("accept", "application/json")
        .expect("a header")
        .secret("authorization", "Bearer hunter2")
        .expect("a header")
        .body(b"{}".to_vec());
    let response = client.call(&request).expect("an answer");
    assert_eq!((response.status(), response.is_success(), response.is_transient()), (404, false, false));
    assert_eq!((response.header("X-A"), response.body(), response.body_bytes()), (Some("b"), &b"{}"[..], 2));
    let head = server.requests().remove(0).to_ascii_lowercase();
    for line in [
        "post /a?b=c http/1.1\r\n",
        "authorization: bearer hunter2\r\n",
        "accept: application/json\r\n",
        "accept-encoding: identity\r\n",
        "user-agent: gristmill-test\r\n",
        "content-length: 2\r\n",
    ] {
        assert!(head.contains(line), "{head}");
    }
    let shown = format!("{request:?} {response:?} {client:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("b=c"), "{shown}");
    for (name, value) in [("host", "x"), ("Cookie", "a=b"), ("te", "x"), ("a b", "x"), ("a", "x\r\ny: z")] {
        let error = get(&server, "/").header(name, value).unwrap_err();
        assert!(!error.to_string().contains("y: z"), "{error}");
    }
    // More than a map of headers takes.
    let many = (0..40_000)
        .try_fold(get(&server, "/"), |request, number| request.header(&format!("x-{number}"), "v"));
    assert!(many.is_err_and(|error| error.to_string().contains("too many")));
}

#[test]
fn an_allowed_network_is_reached_and_what_is_beside_it_is_not() {
    let server = Wire::start(|_, _| answer("200 OK", &[], b"hello"));
    let names = || Names::default().with("a.test", &["127.0.0.1"]);
    let url: Url = format!("http://a.test:{}/", server.address().port()).parse().expect("an address");
    let request = Request::get(url, Whose::Strangers);
    assert_eq!(client(names(), &["127.0.0.1/32"]).call(&request).expect("an answer").body(), b"hello");
    let error = client(names(), &["127.0.0.2/31", "::1/128"]).call(&request).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a.test is not connected to: it has a loopback address, and addresses found in repositories and answers must be public or lie in [network] allow"
    );
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_redirect_is_an_answer_unless_it_is_to_be_followed() {
    let server = Wire::start(|head, _| match head.split(' ').nth(1) {
        Some("/a") => answer("302 Found", &[("location", "b?x=1")], b"moved"),
        Some("/b?x=1") => answer("307 Temporary Redirect", &[("location", "/c")], b""),
        Some("/c") => answer("200 OK", &[], b"here"),
        Some("/loop") => answer("301 Moved Permanently", &[("location", "/loop")], b""),
        Some("/bad") => answer("302 Found", &[("location", "ftp://x/")], b""),
        _ => answer("304 Not Modified", &[], b""),
    });
    let client = client(Names::default(), &[]);
    let response = client.call(&get(&server, "/a")).expect("an answer");
    assert_eq!((response.status(), response.body()), (302, &b"moved"[..]));
    assert_eq!(
        response.redirect().expect("one").expect("an address").as_str(),
        url(&server, "/b?x=1").as_str()
    );
    assert!(client.call(&get(&server, "/x")).expect("an answer").redirect().is_none());
    let found = client.call(&get(&server, "/a").follow(2)).expect("an answer");
    assert_eq!((found.status(), found.body(), found.url().path()), (200, &b"here"[..], "/c"));
    for (path, follow) in [("/a", 1), ("/loop", 5)] {
        let before = server.connections();
        let error = client.call(&get(&server, path).follow(follow)).unwrap_err();
        assert!(matches!(error, Error::Redirects { max, .. } if max == follow), "{error}");
        assert_eq!(server.connections() - before, usize::from(follow) + 1);
    }
    assert!(matches!(client.call(&get(&server, "/bad").follow(1)).unwrap_err(), Error::Location { .. }));
    let post = Request::new(Method::POST, url(&server, "/a"), Whose::Operators).follow(5);
    assert_eq!(client.call(&post).expect("an answer").status(), 302);
}

#[test]
fn secrets_stay_with_the_origin_that_they_are_for() {
    let far = Wire::start(|_, _| answer("200 OK", &[], b""));
    let target = format!("http://far.test:{}/x", far.address().port());
    let near = Wire::start(move |head, _| match head.split(' ').nth(1) {
        Some("/far") => answer("302 Found", &[("location", &target)], b""),
        Some("/near") => answer("302 Found", &[("location", "/here")], b""),
        _ => answer("200 OK", &[], b""),
    });
    let client = client(Names::default().with("far.test", &["127.0.0.1"]), &["127.0.0.0/8"]);
    let request = |path: &str| {
        let request = get(&near, path).follow(1).header("accept", "text/x").expect("a header");
        let request = request.secret("authorization", "hunter2").expect("a header");
        request.header("private-token", "hunter2").expect("a header").header("x-a", "b").expect("a header")
    };
    for (path, server, kept) in [("/near", &near, true), ("/far", &far, false)] {
        client.call(&request(path)).expect("an answer");
        let head = server.requests().pop().expect("a request").to_ascii_lowercase();
        assert_eq!(head.matches("hunter2").count(), if kept { 2 } else { 0 }, "{head}");
        assert_eq!((head.contains("x-a: b"), head.contains("accept: text/x")), (kept, true), "{head}");
    }
}

#[test]
fn nothing_is_larger_or_longer_than_asked_for() {
    let server = Wire::start(|head, _| match head.split(' ').nth(1) {
        Some("/ten") => answer("200 OK", &[], b"0123456789"),
        Some("/endless") => {
            let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000)).repeat(64);
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunk}").into_bytes()
        }
        Some("/head") => format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(70_000)).into_bytes(),
        Some("/cut") => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n01234".to_vec(),
        Some("/closed") => Vec::new(),
        Some("/noise") => b"\x00\x01\x02 not http at all\r\n\r\n".to_vec(),
        _ => answer("500 Internal Server Error", &[], &[b'x'; 40_000]),
    });
    let client = client(Names::default(), &[]);
    let call = |path, max| client.call(&get(&server, path).body_bytes_max(max));
    assert_eq!(call("/ten", 10).expect("an answer").body(), b"0123456789");
    for (path, max) in [("/ten", 9), ("/endless", 5000), ("/endless", 0), ("/head", 10)] {
        let error = call(path, max).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }) && !error.is_transient(), "{path}: {error}");
    }
    for path in ["/cut", "/closed"] {
        let error = call(path, 100).unwrap_err();
        assert!(matches!(error, Error::Cut { .. }) && error.is_transient(), "{path}: {error}");
    }
    assert!(matches!(call("/noise", 100).unwrap_err(), Error::Protocol { .. }));

    let go = AtomicBool::new(false);
    let download = |path, max, cancel: &AtomicBool| {
        let mut output = Vec::new();
        let found = client.download(&get(&server, path).body_bytes_max(max), &mut output, cancel);
        found.map(|response| (response.status(), response.body().len(), response.body_bytes(), output.len()))
    };
    assert_eq!(download("/ten", 10, &go).expect("an answer"), (200, 0, 10, 10));
    assert_eq!(download("/500", 10, &go).expect("an answer"), (500, 16_384, 16_384, 0));
    assert!(matches!(download("/endless", 200_000, &go).unwrap_err(), Error::TooLarge { .. }));
    assert!(matches!(download("/ten", 10, &AtomicBool::new(true)).unwrap_err(), Error::Cancelled));
    struct Full;
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = client.download(&get(&server, "/ten"), &mut Full, &go).unwrap_err();
    assert!(matches!(error, Error::Output(_)), "{error}");
}

#[test]
fn nobody_is_waited_for_without_end() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url: Url =
        format!("http://{}/?token=hunter2", silent.local_addr().expect("one")).parse().expect("one");
    let request = Request::get(url, Whose::Operators);
    let mut short = options(Names::default(), &[]);
    short.idle = Duration::from_millis(100);
    let idle = gristmill_outgoing::Client::new(short).expect("a client");
    let patient = client(Names::default(), &[]);
    for (client, request) in [(idle, request.clone()), (patient, request.total(Duration::from_millis(100)))] {
        let error = client.call(&request).unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }) && error.is_transient(), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    let free = silent.local_addr().expect("an address");
    drop(silent);
    let client = client(Names::default().with("empty.test", &[]), &[]);
    for (url, part) in [
        (format!("http://{free}/"), "could not be connected to"),
        ("http://nobody.test/".to_owned(), "was not found"),
        ("http://empty.test/".to_owned(), "was not found"),
    ] {
        let error = client.call(&Request::get(url.parse().expect("one"), Whose::Operators)).unwrap_err();
        assert!(error.is_transient() && error.to_string().contains(part), "{error}");
    }
}
