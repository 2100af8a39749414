//! The server's limits, over real connections.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::routing::{get, post};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// More than the system holds for a connection, in pipelined answers or in one.
const PAGES: usize = 1000;
const PAGE_BYTES: usize = 64 << 10;
/// A test that waits for longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same for one answer, shorter: so that it shows whether a server is silent or says the wrong thing.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A body in pieces.
struct Pieces(usize);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
        self.0 = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; PAGE_BYTES])))))
    }
}

struct Served {
    address: std::net::SocketAddr,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

impl Served {
    async fn start(limits: Limits) -> Served {
        let router = Router::new()
            .route("/", get(async || [b'x'; PAGE_BYTES].to_vec()))
            .route("/stream", get(async || Body::new(Pieces(PAGES))))
            .route("/healthz", get(async || "ok"))
            .route("/hooks/{*project}", post(async || StatusCode::ACCEPTED));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve_within(listener, router, stopped, limits));
        Served { address, stop, serving }
    }

    /// Sends requests, and reads nothing.
    async fn send(&self, request: &str, times: usize) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let text = format!("{request} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").repeat(times);
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn ask(&self, request: &str) -> String {
        head(&mut self.send(request, 1).await).await
    }

    async fn status(&self, request: &str) -> String {
        status(&self.ask(request).await)
    }

    async fn wait_for(&self, request: &str, status: &str) {
        let mut last = String::new();
        let asking = async {
            while last != status {
                last = self.status(request).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let asked = tokio::time::timeout(PATIENCE, asking).await;
        assert!(asked.is_ok(), "{request} is answered {last:?} and not {status}");
    }
}

/// The head of the answer. Once it is here, the answer is under way.
async fn head(stream: &mut TcpStream) -> String {
    let mut buffer = vec![0; 4096];
    let length = tokio::time::timeout(ANSWER_MAX, stream.read(&mut buffer)).await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    text.split("\r\n\r\n").next().unwrap().to_owned()
}

fn status(head: &str) -> String {
    head.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// How many bytes came before the connection was closed, or before `max` of them.
async fn read_until_closed(stream: &mut TcpStream, max: usize) -> usize {
    let reading = async {
        let (mut total, mut buffer) = (0, vec![0; 1 << 20]);
        while total < max {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(length) => total += length,
            }
        }
        total
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_read_are_closed_and_hooks_are_answered_meanwhile() {
    let time = Duration::from_millis(500);
    let served = Served::start(Limits { connections: 4, stall: time, ..Limits::default() }).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(served.send("GET /", PAGES).await);
    }
    for _ in 0..3 {
        assert_eq!(served.status("GET /healthz").await, "200");
        assert_eq!(served.status("POST /hooks/acme/shop").await, "202");
    }
    tokio::time::sleep(3 * time).await;
    for client in &mut clients {
        let got = read_until_closed(client, PAGES * PAGE_BYTES).await;
        assert!(got < PAGES * PAGE_BYTES, "all was sent after the client had read nothing for long");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_clients_are_waited_for() {
    let served = Served::start(Limits { stalled: 1, ..Limits::default() }).await;
    let mut first = served.send("GET /stream", 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut second = served.send("GET /stream", 1).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let got = read_until_closed(&mut second, PAGES * PAGE_BYTES).await;
    assert!(got < PAGES * PAGE_BYTES, "the second was waited for");
    let got = read_until_closed(&mut first, PAGES * PAGE_BYTES).await;
    assert!(got >= PAGES * PAGE_BYTES, "the first lost its answer after {got} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_leave_room_for_hooks() {
    let served = Served::start(Limits { readers: 1, ..Limits::default() }).await;
    // Asking for another answer before this one has its place might take that place, and this one were refused.
    let mut reader = served.send("GET /stream", 1).await;
    assert_eq!(status(&head(&mut reader).await), "200");
    let refused = served.ask("GET /").await;
    assert_eq!(status(&refused), "503");
    assert!(refused.to_lowercase().contains("\r\nretry-after: 5"), "{refused}");
    assert_eq!(served.status("GET /nothing/here").await, "503");
    assert_eq!(served.status("GET /hooksx").await, "503");
    assert_eq!(served.status("GET /healthz").await, "200");
    assert_eq!(served.status("GET /readyz").await, "404");
    assert_eq!(served.status("POST /hooks/acme/shop").await, "202");
    drop(reader);
    served.wait_for("GET /", "200").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_free_connection_stops() {
    let grace = Duration::from_millis(100);
    let served = Served::start(Limits { connections: 1, grace, ..Limits::default() }).await;
    let _reader = served.send("GET /stream", 1).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    served.stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(5), served.serving).await.unwrap().unwrap();
}
