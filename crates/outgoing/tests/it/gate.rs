//! The gate as a program sees it.

use std::sync::Arc;
use std::time::Duration;

use gristmill_outgoing::{Gate, GateOptions, Pass, Reach, Url};
use gristmill_testkit::Wire;
use gristmill_testkit::wire::answer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::names::Names;

/// Sends a head to the gate and reads all that comes.
async fn said(address: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the gate listens");
    stream.write_all(head.as_bytes()).await.expect("it takes the head");
    let mut found = Vec::new();
    // What is cut is judged by what came before.
    let _ = stream.read_to_end(&mut found).await;
    String::from_utf8_lossy(&found).into_owned()
}

fn parts(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status in `{answer}`")), body.to_owned())
}

/// Address and credentials of a pass.
fn credentials(pass: &Pass) -> (String, String) {
    let url = pass.proxy_url();
    let (user, address) = url.strip_prefix("http://").and_then(|rest| rest.split_once('@')).expect("both");
    (address.to_owned(), base64(user))
}

fn base64(text: &str) -> String {
    use std::fmt::Write as _;
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut coded = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits =
            three.iter().fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[((bits >> (18 - 6 * place)) & 63) as usize] as char;
            write!(coded, "{}", if place > three.len() { '=' } else { digit }).expect("a string takes it");
        }
    }
    coded
}

/// `CONNECT`, and what is said to it.
pub(crate) async fn connect(pass: &Pass, target: &str) -> (u16, String) {
    let (address, basic) = credentials(pass);
    let head = format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {basic}\r\nConnection: close\r\n\r\n"
    );
    parts(&said(&address, &head).await)
}

/// A GET in absolute form.
pub(crate) async fn absolute(pass: &Pass, url: &str) -> (u16, String) {
    let (address, basic) = credentials(pass);
    let head = format!(
        "GET {url} HTTP/1.1\r\nHost: elsewhere.test\r\nProxy-Authorization: Basic {basic}\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-Kept: 2\r\n\r\n"
    );
    parts(&said(&address, &head).await)
}

async fn gate(allow: &[&str]) -> Gate {
    let allow = allow.iter().map(|net| net.parse().expect("a network")).collect();
    let names = Names::default().with("open.test", &["127.0.0.1"]).with("other.test", &["127.0.0.1"]);
    let options = GateOptions { resolve: Arc::new(names), ..GateOptions::new(Reach::strangers(allow)) };
    Gate::start(options).await.expect("a gate")
}

#[tokio::test]
async fn what_may_be_reached_is_reached() {
    let server = Wire::start(|_, body| answer("200 OK", &[("x-server", "1")], body));
    let port = server.address().port();
    let gate = gate(&["127.0.0.0/8"]).await;
    let pass = gate.pass(&[]).expect("a pass");
    assert_eq!(absolute(&pass, &format!("http://open.test:{port}/a?b")).await, (200, String::new()));
    let head = server.requests().remove(0);
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: open.test:{port}\r\n")) && head.contains("x-kept: 2"), "{head}");
    for gone in ["proxy-authorization", "x-hop", "elsewhere"] {
        assert!(!head.to_ascii_lowercase().contains(gone), "{head}");
    }

    let (address, basic) = credentials(&pass);
    let mut tunnel = TcpStream::connect(&address).await.expect("the gate listens");
    let head = format!("CONNECT open.test:{port} HTTP/1.1\r\nProxy-Authorization: basic {basic}\r\n\r\n");
    tunnel.write_all(head.as_bytes()).await.expect("it takes the head");
    let mut granted = [0; 12];
    tunnel.read_exact(&mut granted).await.expect("an answer");
    assert_eq!(&granted, b"HTTP/1.1 200");
    tunnel
        .write_all(b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello")
        .await
        .expect("the tunnel takes it");
    let mut found = String::new();
    tunnel.read_to_string(&mut found).await.expect("the server ends the connection");
    assert!(found.contains("x-server: 1") && found.ends_with("\r\n\r\nhello"), "{found}");
    assert!(pass.refusals().is_empty());
}

#[tokio::test]
async fn nobody_passes_without_a_pass() {
    let server = Wire::start(|_, _| answer("200 OK", &[], b""));
    let port = server.address().port();
    let gate = gate(&["127.0.0.0/8"]).await;
    let pass = gate.pass(&[]).expect("a pass");
    let other = gate.pass(&[]).expect("a pass");
    let (address, basic) = credentials(&pass);
    let user = |pass: &Pass| pass.proxy_url()[7..39].to_owned();
    let password = |pass: &Pass| pass.proxy_url()[40..72].to_owned();
    for authorization in [
        String::new(),
        "Proxy-Authorization: Basic\r\n".to_owned(),
        "Proxy-Authorization: Basic !\r\n".to_owned(),
        format!("Proxy-Authorization: Bearer {basic}\r\n"),
        format!("Authorization: Basic {basic}\r\n"),
        format!("Proxy-Authorization: Basic {}\r\n", base64(&user(&pass))),
        format!("Proxy-Authorization: Basic {}\r\n", base64(&format!("{}:", user(&pass)))),
        format!(
            "Proxy-Authorization: Basic {}\r\n",
            base64(&format!("{}:{}", user(&pass), password(&other)))
        ),
        format!("Proxy-Authorization: Basic {}\r\n", base64(&format!(":{}", password(&pass)))),
    ] {
        for line in [format!("CONNECT open.test:{port}"), format!("GET http://open.test:{port}/")] {
            let head = format!("{line} HTTP/1.1\r\nConnection: close\r\n{authorization}\r\n");
            let found = said(&address, &head).await;
            assert_eq!(parts(&found).0, 407, "{authorization}");
            // git sends credentials only when it was asked for them.
            assert!(found.to_ascii_lowercase().contains("proxy-authenticate: basic realm="), "{found}");
        }
    }
    assert_eq!(absolute(&pass, &format!("http://open.test:{port}/")).await.0, 200);
    let shown = format!("{pass:?} {gate:?}");
    assert!(!shown.contains(&password(&pass)), "{shown}");
    let head = format!(
        "GET http://open.test:{port}/ HTTP/1.1\r\nConnection: close\r\nProxy-Authorization: Basic {basic}\r\n\r\n"
    );
    drop(pass);
    assert_eq!(parts(&said(&address, &head).await).0, 407);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn what_the_operator_configured_is_his_own_by_host_and_port() {
    let server = Wire::start(|_, _| answer("200 OK", &[], b"mine"));
    let port = server.address().port();
    let gate = gate(&[]).await;
    let own: Url = format!("http://open.test:{port}/a.git").parse().expect("an address");
    let pass = gate.pass(std::slice::from_ref(&own)).expect("a pass");
    assert_eq!(absolute(&pass, own.as_str()).await, (200, "mine".to_owned()));
    let other = Wire::start(|_, _| answer("200 OK", &[], b"not mine"));
    for url in [
        format!("http://other.test:{port}/a.git"),
        format!("http://127.0.0.1:{port}/a.git"),
        format!("http://open.test:{}/a.git", other.address().port()),
    ] {
        assert_eq!(absolute(&pass, &url).await.0, 403, "{url}");
        let target = url.trim_start_matches("http://").trim_end_matches("/a.git");
        assert_eq!(pass.refusals()[0].target, target);
    }
    assert_eq!(absolute(&gate.pass(&[]).expect("a pass"), own.as_str()).await.0, 403);
    assert_eq!((server.connections(), other.connections()), (1, 0));
}

#[tokio::test]
async fn what_is_no_request_to_a_proxy_is_refused() {
    let gate = gate(&["127.0.0.0/8"]).await;
    let pass = gate.pass(&[]).expect("a pass");
    for target in ["open.test", "open.test:0", "open.test:65536", "open.test:http", "a..b:80", "[::1:80"] {
        assert_eq!(connect(&pass, target).await.0, 400, "{target}");
    }
    for url in ["/", "https://open.test/", "ftp://open.test/", "http://u:p@open.test/"] {
        assert_eq!(absolute(&pass, url).await.0, 400, "{url}");
    }
    assert_eq!(connect(&pass, "nobody.test:443").await.0, 502);
    let refusals = pass.refusals();
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].to_string(), "nobody.test was not found: its name could not be looked up");
    assert!(refusals[0].error.is_transient());
    for _ in 0..20 {
        assert_eq!(connect(&pass, "10.0.0.1:443").await.0, 403);
    }
    assert_eq!((pass.refusals().len(), pass.refusals().len()), (16, 0));
}

#[tokio::test]
async fn what_stands_still_is_cut_and_so_is_all_when_the_gate_closes() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = server.local_addr().expect("an address").port();
    let options = |idle| GateOptions {
        idle,
        ..GateOptions::new(Reach::strangers(vec!["127.0.0.0/8".parse().expect("a network")]))
    };
    for idle in [Duration::from_millis(50), Duration::from_secs(3600)] {
        let gate = Gate::start(options(idle)).await.expect("a gate");
        let pass = gate.pass(&[]).expect("a pass");
        let (address, basic) = credentials(&pass);
        let mut tunnel = TcpStream::connect(&address).await.expect("the gate listens");
        let head = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nProxy-Authorization: Basic {basic}\r\n\r\n");
        tunnel.write_all(head.as_bytes()).await.expect("it takes the head");
        let (mut far, _) = server.accept().await.expect("a connection");
        if idle.as_secs() > 1 {
            drop(gate);
        }
        let mut rest = Vec::new();
        let _ = tunnel.read_to_end(&mut rest).await;
        let _ = far.read_to_end(&mut rest).await;
        if idle.as_secs() > 1 {
            assert!(TcpStream::connect(&address).await.is_err(), "nobody listens any more");
        }
    }
}

#[tokio::test]
async fn further_connections_wait() {
    let server = Wire::start(|_, _| answer("200 OK", &[], b""));
    let options = GateOptions {
        connections_max: 1,
        ..GateOptions::new(Reach::strangers(vec!["127.0.0.0/8".parse().expect("a network")]))
    };
    let gate = Gate::start(options).await.expect("a gate");
    let pass = gate.pass(&[]).expect("a pass");
    let (address, _) = credentials(&pass);
    let first = TcpStream::connect(&address).await.expect("the gate listens");
    let url = format!("http://{}/", server.address());
    let mut second = Box::pin(absolute(&pass, &url));
    let waiting = tokio::time::timeout(Duration::from_millis(100), &mut second).await;
    assert!(waiting.is_err(), "{waiting:?}");
    assert_eq!(server.connections(), 0);
    drop(first);
    assert_eq!(second.await.0, 200);
}
