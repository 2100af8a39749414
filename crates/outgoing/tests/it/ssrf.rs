//! No private address is reached for a stranger's URL: one list, against the client, against redirects and
//! against the gate, with a listener that counts who comes.

use std::sync::Arc;
use std::time::Duration;

use gristmill_outgoing::{Error, Gate, GateOptions, Reach, Request, Url, Whose};
use gristmill_testkit::Wire;
use gristmill_testkit::wire::answer;

use crate::gate::{absolute, connect};
use crate::names::{Names, client};

/// What stands for the port of the listener.
const PORT: &str = "PORT";

/// A stranger's address, and a part of the reason for which it is refused. What has a port listens there.
const REFUSED: [(&str, &str); 84] = [
    ("http://127.0.0.1:PORT/", "loopback"),
    ("http://127.0.0.1.:PORT/", "loopback"),
    ("http://127.1:PORT/", "loopback"),
    ("http://127.0.1:PORT/", "loopback"),
    ("http://127.8.9.10:PORT/", "loopback"),
    ("http://2130706433:PORT/", "loopback"),
    ("http://2130706433.:PORT/", "loopback"),
    ("http://0x7f000001:PORT/", "loopback"),
    ("http://0X7F.0X0.0X0.0X1:PORT/", "loopback"),
    ("http://0x7f.1:PORT/", "loopback"),
    ("http://0x7f.0.0.1:PORT/", "loopback"),
    ("http://017700000001:PORT/", "loopback"),
    ("http://0177.0.0.1:PORT/", "loopback"),
    ("http://0177.1:PORT/", "loopback"),
    ("http://127.0x1:PORT/", "loopback"),
    ("http://127.000.000.001:PORT/", "loopback"),
    ("http://0:PORT/", "unspecified"),
    ("http://0.0.0.0:PORT/", "unspecified"),
    ("http://0x0:PORT/", "unspecified"),
    ("http://00000000:PORT/", "unspecified"),
    ("http://0.1.2.3:PORT/", "unspecified"),
    ("http://[::1]:PORT/", "loopback"),
    ("http://[0:0:0:0:0:0:0:1]:PORT/", "loopback"),
    ("http://[0000::0001]:PORT/", "loopback"),
    ("http://[::]:PORT/", "unspecified"),
    ("http://[::ffff:127.0.0.1]:PORT/", "loopback"),
    ("http://[::ffff:7f00:1]:PORT/", "loopback"),
    ("http://[0:0:0:0:0:ffff:127.0.0.1]:PORT/", "loopback"),
    ("http://[::ffff:0:127.0.0.1]:PORT/", "loopback"),
    ("http://[::127.0.0.1]:PORT/", "loopback"),
    ("http://[::ffff:0.0.0.0]:PORT/", "unspecified"),
    ("http://[64:ff9b::127.0.0.1]:PORT/", "loopback"),
    ("http://[64:ff9b::a9fe:a9fe]/", "link-local"),
    ("http://[64:ff9b:1::7f00:1]:PORT/", "NAT"),
    ("http://[2002:7f00:1::]:PORT/", "loopback"),
    ("http://[2002:a9fe:a9fe::1]/", "link-local"),
    ("http://[2002:c0a8:101::]/", "private"),
    ("http://[2001:0:7f00:1::]:PORT/", "protocols"),
    ("http://[fe80::1]:PORT/", "link-local"),
    ("http://[fec0::1]:PORT/", "site-local"),
    ("http://[fc00::1]:PORT/", "private"),
    ("http://[fd00:ec2::254]/latest/meta-data/", "private"),
    ("http://[ff02::1]:PORT/", "multicast"),
    ("http://[2001:db8::1]:PORT/", "documentation"),
    ("http://169.254.169.254/latest/meta-data/", "link-local"),
    ("http://2852039166/latest/meta-data/", "link-local"),
    ("http://0xa9fea9fe/", "link-local"),
    ("http://0251.0376.0251.0376/", "link-local"),
    ("http://169.254.43518/", "link-local"),
    ("http://[::ffff:169.254.169.254]/", "link-local"),
    ("http://169.254.170.2/v2/credentials", "link-local"),
    ("http://168.63.129.16/machine?comp=goalstate", "cloud"),
    ("http://100.100.100.200/latest/meta-data/", "carrier"),
    ("http://192.0.0.192/latest/", "protocols"),
    ("http://10.0.0.1:PORT/", "private"),
    ("http://167772161/", "private"),
    ("http://172.16.0.1/", "private"),
    ("http://192.168.1.1/", "private"),
    ("http://3232235777/", "private"),
    ("http://100.64.0.1/", "carrier"),
    ("http://198.18.0.1/", "benchmarks"),
    ("http://203.0.113.1/", "documentation"),
    ("http://224.0.0.1/", "multicast"),
    ("http://240.0.0.1/", "reserved"),
    ("http://255.255.255.255/", "broadcast"),
    ("https://127.0.0.1:PORT/", "loopback"),
    ("https://[::1]:PORT/", "loopback"),
    // Names, as the tests' resolver and every other one has them.
    ("http://localhost:PORT/", "loopback"),
    ("http://localhost.:PORT/", "loopback"),
    ("http://LOCALHOST:PORT/", "loopback"),
    ("http://a.localhost:PORT/", "loopback"),
    ("http://loopback.test:PORT/", "loopback"),
    ("http://six.test:PORT/", "loopback"),
    ("http://mapped.test:PORT/", "loopback"),
    ("http://mixed.test:PORT/", "loopback"),
    ("http://any.test:PORT/", "unspecified"),
    ("http://metadata.google.internal/computeMetadata/v1/", "link-local"),
    ("http://instance-data.ec2.internal/latest/", "link-local"),
    ("http://private.test/", "private"),
    ("https://loopback.test:PORT/", "loopback"),
    // Other readers see another host in these.
    ("http://public.test@127.0.0.1:PORT/", "user name"),
    ("http://127.0.0.1:PORT\\@public.test/", "characters"),
    ("http://127.0.0.1:PORT#@public.test/", "loopback"),
    ("http://[::1%25lo]:PORT/", "valid host"),
];

fn names() -> Names {
    Names::default()
        .with("localhost", &["127.0.0.1", "::1"])
        .with("a.localhost", &["127.0.0.1"])
        .with("loopback.test", &["127.0.0.1"])
        .with("six.test", &["::1"])
        .with("mapped.test", &["::ffff:127.0.0.1"])
        .with("mixed.test", &["198.51.100.7", "127.0.0.1"])
        .with("any.test", &["0.0.0.0"])
        .with("metadata.google.internal", &["169.254.169.254"])
        .with("instance-data.ec2.internal", &["169.254.169.254"])
        .with("private.test", &["10.1.2.3"])
}

/// So that `mixed.test` is refused for its second address, and not for its first.
const ALLOWED: [&str; 1] = ["198.51.100.0/24"];

fn gate_options(names: Names, allow: &[&str]) -> GateOptions {
    let allow = allow.iter().map(|net| net.parse().expect("a network")).collect();
    GateOptions {
        resolve: Arc::new(names),
        connect: Duration::from_millis(500),
        // So that a tunnel that must not be there does not keep the test.
        idle: Duration::from_secs(2),
        ..GateOptions::new(Reach::strangers(allow))
    }
}

#[test]
fn strangers_urls_reach_nothing_private() {
    let listener = Wire::start(|_, _| answer("200 OK", &[], b"secret"));
    let client = client(names(), &ALLOWED);
    for (url, reason) in REFUSED {
        let url = url.replace(PORT, &listener.address().port().to_string());
        let found = match url.parse::<Url>() {
            Err(error) => error.to_string(),
            Ok(parsed) => {
                let error = client.call(&Request::get(parsed, Whose::Strangers)).unwrap_err();
                assert!(matches!(error, Error::Refused { .. }) && !error.is_transient(), "{url}: {error}");
                error.to_string()
            }
        };
        assert!(found.contains(reason), "{url}: {found}");
    }
    assert_eq!(listener.connections(), 0);
}

#[test]
fn redirects_reach_nothing_private() {
    let listener = Wire::start(|_, _| answer("200 OK", &[], b"secret"));
    let port = listener.address().port().to_string();
    let client = client(names(), &ALLOWED);
    for (url, reason) in REFUSED {
        let target = url.replace(PORT, &port);
        let location = target.clone();
        let first = Wire::start(move |_, _| answer("302 Found", &[("location", &location)], b""));
        let url = format!("http://{}/", first.address()).parse().expect("an address");
        let request = Request::get(url, Whose::Operators).follow(5);
        let error = client.call(&request).unwrap_err();
        assert!(matches!(error, Error::Refused { .. } | Error::Location { .. }), "{target}: {error}");
        assert!(error.to_string().contains(reason), "{target}: {error}");
        assert_eq!(first.connections(), 1);
    }
    assert_eq!(listener.connections(), 0);
}

#[tokio::test]
async fn the_gate_reaches_nothing_private() {
    let listener = Wire::start(|_, _| answer("200 OK", &[], b"secret"));
    let gate = Gate::start(gate_options(names(), &ALLOWED)).await.expect("a gate");
    let pass = gate.pass(&[]).expect("a pass");
    for (url, reason) in REFUSED {
        let url = url.replace(PORT, &listener.address().port().to_string());
        let authority = url.split("//").nth(1).and_then(|rest| rest.split(['/', '#', '?']).next());
        let mut target = authority.expect("an authority").to_owned();
        if !target.ends_with(&listener.address().port().to_string()) {
            target.push_str(":80");
        }
        let (status, body) = connect(&pass, &target).await;
        let refusals = pass.refusals();
        assert_eq!(refusals.len(), usize::from(status == 403), "{url}: {refusals:?}");
        if status == 403 {
            assert!(body.contains(reason) && refusals[0].to_string().contains(reason), "{url}: {body}");
        } else {
            assert_eq!(status, 400, "{url}: {body}");
        }
        if url.starts_with("http://") {
            let (status, body) = absolute(&pass, &url).await;
            assert!(matches!(status, 400 | 403), "{url}: {status} {body}");
            assert_eq!(pass.refusals().len(), usize::from(status == 403), "{url}");
        }
    }
    assert_eq!(listener.connections(), 0);
}

/// A name that is public when it is looked at, and private when it is connected to.
fn rebinding() -> Names {
    // The first is a network for documentation that the test opens: nobody is there.
    Names::default().with("rebind.test", &["203.0.113.7"]).with("rebind.test", &["127.0.0.1"])
}

#[tokio::test]
async fn a_name_that_changes_its_mind_is_looked_at_each_time() {
    let listener = Wire::start(|_, _| answer("200 OK", &[], b"secret"));
    let allow = ["203.0.113.0/24"];
    let url: Url = format!("http://rebind.test:{}/", listener.address().port()).parse().expect("an address");
    let asked = url.clone();
    let errors = tokio::task::spawn_blocking(move || {
        let client = client(rebinding(), &allow);
        let request = Request::get(asked, Whose::Strangers);
        [(); 3].map(|()| client.call(&request).unwrap_err())
    });
    let errors = errors.await.expect("no panic");
    assert!(!matches!(errors[0], Error::Refused { .. }), "{}", errors[0]);
    assert!(errors[1..].iter().all(|error| error.to_string().contains("loopback")), "{errors:?}");

    let gate = Gate::start(gate_options(rebinding(), &allow)).await.expect("a gate");
    let pass = gate.pass(&[]).expect("a pass");
    let target = format!("rebind.test:{}", listener.address().port());
    let (first, _) = connect(&pass, &target).await;
    assert!(matches!(first, 502 | 504), "{first}");
    assert_eq!((connect(&pass, &target).await.0, absolute(&pass, url.as_str()).await.0), (403, 403));
    assert_eq!(listener.connections(), 0);
}

#[test]
fn a_connection_of_the_operators_is_not_used_for_a_stranger() {
    let listener = Wire::start(|_, _| {
        // Kept open, so that it could be used again.
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec()
    });
    let client = client(names(), &[]);
    let url: Url = format!("http://{}/", listener.address()).parse().expect("an address");
    assert_eq!(client.call(&Request::get(url.clone(), Whose::Operators)).expect("an answer").status(), 200);
    assert!(matches!(client.call(&Request::get(url, Whose::Strangers)).unwrap_err(), Error::Refused { .. }));
    assert_eq!(listener.connections(), 1);
}
