//! The proxy before S3: what befalls requests is what the test said, and what is counted is what was sent.

mod clients;
mod raw;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use gristmill_testkit::Wire;
use gristmill_testkit::faults::{Fault, Odds, Operation, Proxy, Rule};
use gristmill_testkit::server::{PATIENCE, wait_for};
use gristmill_testkit::wire;

use raw::{Raw, closing, request};

/// A server that has done what it got whole.
fn server() -> Wire {
    Wire::start(|_, body| wire::answer("200 OK", &[], format!("got {} bytes", body.len()).as_bytes()))
}

fn before(server: &Wire) -> Proxy {
    Proxy::start(&format!("http://{}", server.address()))
}

/// What a client saw of an answer.
#[derive(Debug)]
enum Saw {
    /// It begins with this and has that in it.
    Answer(&'static str, &'static str),
    /// Exactly so much of the body, and then an end.
    Cut(&'static str),
    Reset,
}

#[test]
fn each_fault_does_what_its_name_says() {
    let got = "got 5 bytes";
    for (fault, saw, done) in [
        (Fault::Pass, Saw::Answer("HTTP/1.1 200 OK\r\n", got), 1),
        (Fault::Delay(Duration::from_millis(1)), Saw::Answer("HTTP/1.1 200 OK\r\n", got), 1),
        (Fault::Status(500), Saw::Answer("HTTP/1.1 500 ", "<Code>InternalError</Code>"), 0),
        (Fault::Status(503), Saw::Answer("HTTP/1.1 503 ", "<Code>SlowDown</Code>"), 0),
        (Fault::Status(403), Saw::Answer("HTTP/1.1 403 ", "<Code>AccessDenied</Code>"), 0),
        (Fault::DoneThenStatus(500), Saw::Answer("HTTP/1.1 500 ", "<Code>InternalError</Code>"), 1),
        (Fault::ErrorIn200, Saw::Answer("HTTP/1.1 200 ", "<Error><Code>InternalError</Code>"), 0),
        (Fault::ResetBefore, Saw::Reset, 0),
        (Fault::ResetMidway, Saw::Reset, 0),
        (Fault::ResetAfter, Saw::Reset, 1),
        (Fault::Truncate(4), Saw::Cut("got "), 1),
        (Fault::Truncate(0), Saw::Cut(""), 1),
        // All but the last byte, where more is asked for than there is.
        (Fault::Truncate(100), Saw::Cut("got 5 byte"), 1),
    ] {
        let server = server();
        let proxy = before(&server);
        proxy.rule(Rule::new(fault).times(1));
        let answer = Raw::to(&proxy).exchange(&closing("PUT", "/bucket/key", b"hello"));
        match (&saw, &answer) {
            (Saw::Answer(start, part), Ok(answer)) => {
                assert!(answer.starts_with(start) && answer.contains(part), "{fault:?}: {answer}");
            }
            (Saw::Cut(body), Ok(answer)) => {
                assert!(answer.contains("\r\ncontent-length: 11\r\n"), "{fault:?}: {answer}");
                assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{fault:?}: {answer}");
            }
            (Saw::Reset, Err(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{fault:?}"),
            _ => panic!("{fault:?}: expected {saw:?}, saw {answer:?}"),
        }
        assert_eq!(server.requests().len(), done, "{fault:?}: what the server did");
        let seen = proxy.take_seen();
        assert_eq!((seen.len(), seen[0].fault, seen[0].operation), (1, fault, Operation::PutObject));
        assert_eq!(seen[0].server_status, (done == 1).then_some(200), "{fault:?}");
        assert_eq!(seen[0].status.is_some(), !matches!(saw, Saw::Reset), "{fault:?}");
        // The rule was for one request.
        let answer = Raw::to(&proxy).exchange(&closing("GET", "/bucket/key", b"")).expect("an answer");
        assert!(answer.ends_with("got 0 bytes"), "{fault:?}: {answer}");
    }
}

#[test]
fn what_hangs_hangs_until_somebody_ends_it() {
    for (fault, done) in [(Fault::Hang, 0), (Fault::DoneThenHang, 1)] {
        let server = server();
        let proxy = before(&server);
        proxy.rule(Rule::new(fault));
        let mut raw = Raw::to(&proxy);
        raw.send(&request("PUT", "/bucket/key", b"hello"));
        let came = || proxy.seen().first().is_some_and(|seen| seen.body_bytes == 5);
        let did = || server.requests().len() == done;
        assert!(wait_for(PATIENCE, || (came() && did()).then_some(())).is_some(), "{fault:?}");
        assert_eq!(proxy.seen()[0].status, None, "{fault:?}");
        drop(proxy);
        assert!(raw.rest().unwrap_or_default().is_empty(), "{fault:?}: it was answered");
        assert_eq!(server.requests().len(), done, "{fault:?}");
    }
}

#[test]
fn a_server_that_is_gone_refuses_and_comes_back_where_it_was() {
    let server = server();
    let proxy = before(&server);
    let endpoint = proxy.endpoint();
    let mut open = Raw::to(&proxy);
    open.send(&request("GET", "/bucket/key", b""));
    open.answer();
    for _ in 0..2 {
        proxy.go_away();
        assert!(open.rest().unwrap_or_default().is_empty(), "the connection goes on");
        assert_eq!(Raw::try_to(&proxy).expect_err("nobody listens").kind(), ErrorKind::ConnectionRefused);
        proxy.come_back();
        assert_eq!(proxy.endpoint(), endpoint);
        open = Raw::to(&proxy);
        open.send(&request("GET", "/bucket/key", b""));
        assert!(open.answer().ends_with("got 0 bytes"));
    }
}

#[test]
fn what_is_sent_is_counted_to_the_byte() {
    let server = server();
    let proxy = before(&server);
    let (put, get) =
        (request("PUT", "/bucket/a%2Fb", &[b'x'; 1000]), request("GET", "/bucket?list-type=2", b""));
    let mut one = Raw::to(&proxy);
    one.send(&put);
    one.answer();
    one.send(&get);
    one.answer();
    let mut other = Raw::to(&proxy);
    other.send(&get);
    other.answer();
    let seen = proxy.seen();
    let rows: Vec<_> = seen
        .iter()
        .map(|seen| {
            (seen.connection, seen.is_first, seen.operation, seen.bytes_sent, seen.body_bytes, &*seen.key)
        })
        .collect();
    let (put_bytes, get_bytes) = (bytes(&put), bytes(&get));
    assert_eq!(
        rows,
        [
            (0, true, Operation::PutObject, put_bytes, 1000, "a/b"),
            (0, false, Operation::ListObjectsV2, get_bytes, 0, ""),
            (1, true, Operation::ListObjectsV2, get_bytes, 0, ""),
        ]
    );
    assert_eq!(proxy.bytes_sent(), put_bytes + 2 * get_bytes);
    assert_eq!((proxy.round_trips(), proxy.count(Operation::ListObjectsV2)), (5, 2));
    let table = format!(
        "operation                    count    bytes sent   trips\n\
         ListObjectsV2                    2{:>14}       3\n\
         PutObject                        1{put_bytes:>14}       2\n",
        2 * get_bytes
    );
    assert_eq!(proxy.table(), table);
}

fn bytes(request: &[u8]) -> u64 {
    u64::try_from(request.len()).expect("few")
}

#[test]
fn who_waits_to_send_a_body_is_told_to_go_on() {
    let server = server();
    let proxy = before(&server);
    let mut raw = Raw::to(&proxy);
    raw.send(b"PUT /bucket/key HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(raw.answer(), "HTTP/1.1 100 Continue\r\n\r\n");
    raw.send(b"hello");
    assert!(raw.answer().ends_with("got 5 bytes"));
    let seen = proxy.seen();
    assert_eq!((seen[0].has_waited, seen[0].round_trips()), (true, 3));
    assert!(!server.requests()[0].contains("expect"), "{:?}", server.requests());
}

#[test]
fn the_host_is_passed_on_as_it_was_sent() {
    let server = server();
    let proxy = before(&server);
    let answer = Raw::to(&proxy)
        .exchange(b"GET /bucket/a%20b?x=%2F HTTP/1.1\r\nHost: some.example:81\r\nConnection: close\r\n\r\n");
    assert!(answer.expect("an answer").starts_with("HTTP/1.1 200"));
    assert_eq!(
        server.requests(),
        ["GET /bucket/a%20b?x=%2F HTTP/1.1\r\nHost: some.example:81\r\nConnection: close\r\n\r\n"]
    );
}

#[test]
fn the_same_seed_has_the_same_requests_fail_whatever_the_order() {
    let run = |seed: u64, threads: u32| {
        let server = server();
        let proxy = Arc::new(before(&server));
        let faults = vec![Fault::Status(503), Fault::ResetBefore, Fault::ResetAfter];
        proxy.odds(Some(Odds { seed, per_thousand: 300, faults }));
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let proxy = Arc::clone(&proxy);
                scope.spawn(move || {
                    for number in (0..60).filter(|number| number % threads == thread) {
                        let target = format!("/bucket/key-{number}");
                        // Whether it failed is in what the proxy saw.
                        let _ = Raw::to(&proxy).exchange(&closing("PUT", &target, b"hello"));
                    }
                });
            }
        });
        let mut faults: Vec<_> = proxy.seen().into_iter().map(|seen| (seen.key, seen.fault)).collect();
        faults.sort_by(|a, b| a.0.cmp(&b.0));
        proxy.heal();
        let answer = Raw::to(&proxy).exchange(&closing("GET", "/bucket/key", b"")).expect("it is healed");
        assert!(answer.ends_with("got 0 bytes"));
        faults
    };
    let faults = run(3, 1);
    assert_eq!(faults.len(), 60);
    assert!(
        (8..30).contains(&faults.iter().filter(|(_, fault)| *fault != Fault::Pass).count()),
        "{faults:?}"
    );
    assert_eq!(faults, run(3, 4));
    assert_ne!(faults, run(4, 1));
}
