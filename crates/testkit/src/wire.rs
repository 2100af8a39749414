//! [`Wire`]: a server on the loopback that says exactly what a test wants, over TCP or TLS, and counts who
//! came.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Who signed the certificate of servers over TLS, in PEM. It is for `tls.test`, `other.test`, `codeload.tls.test`,
/// `sns.eu-west-1.amazonaws.com` and 127.0.0.1. The key of the authority was thrown away.
pub const ROOT: &str = include_str!("wire/root.pem");
const CERTIFICATE: &str = include_str!("wire/server.pem");
const KEY: &str = include_str!("wire/server.key");

/// The longest head that a request to this server has, in bytes.
const HEAD_BYTES_MAX: usize = 1 << 20;

/// What is answered to a request: its head and its body in, all bytes of the answer out.
pub trait Answer: Fn(&str, &[u8]) -> Vec<u8> + Send + Sync + 'static {}

impl<F: Fn(&str, &[u8]) -> Vec<u8> + Send + Sync + 'static> Answer for F {}

/// A server on 127.0.0.1. It answers one request on each connection, and stops when it is dropped.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

impl Wire {
    /// A server over TCP.
    pub fn start(answer: impl Answer) -> Wire {
        Wire::start_at((Ipv4Addr::LOCALHOST, 0).into(), answer)
    }

    /// A server over TCP at this very address.
    pub fn start_at(address: SocketAddr, answer: impl Answer) -> Wire {
        Wire::listen(address, answer, None)
    }

    /// A server over TLS, see [`ROOT`].
    pub fn start_tls(answer: impl Answer) -> Wire {
        let chain = CertificateDer::pem_slice_iter(CERTIFICATE.as_bytes()).collect::<Result<_, _>>();
        let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(chain.expect("certificates"), key)
            .expect("the key belongs to the certificate");
        Wire::listen((Ipv4Addr::LOCALHOST, 0).into(), answer, Some(Arc::new(config)))
    }

    fn listen(address: SocketAddr, answer: impl Answer, tls: Option<Arc<ServerConfig>>) -> Wire {
        let listener = TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen: Arc<Seen> = Arc::default();
        let (shared, answer) = (Arc::clone(&seen), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.stopped.load(Ordering::SeqCst) {
                    return;
                }
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let (shared, answer, tls) = (Arc::clone(&shared), Arc::clone(&answer), tls.clone());
                // How a client takes the answer is for the test to see at the client.
                thread::spawn(move || drop(serve(stream, tls, &shared, &*answer)));
            }
        });
        Wire { address, seen }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The heads of the requests that came, in their order.
    pub fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.seen.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(
    mut stream: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    seen: &Seen,
    answer: &dyn Answer,
) -> io::Result<()> {
    match tls {
        None => talk(&mut stream, seen, answer),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(connection, stream);
            talk(&mut stream, seen, answer)?;
            stream.conn.send_close_notify();
            stream.flush()
        }
    }
}

fn talk(stream: &mut (impl Read + Write), seen: &Seen, answer: &dyn Answer) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        let read = stream.read(&mut piece)?;
        if read == 0 || bytes.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
        bytes.extend_from_slice(&piece[..read]);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    while bytes.len() < end + length.unwrap_or(0) {
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&piece[..read]);
    }
    seen.requests.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
    stream.write_all(&answer(&head, &bytes[end..]))?;
    stream.flush()
}

/// An answer with a body, after which the connection ends.
pub fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n", body.len());
    for (name, value) in headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    bytes.push_str("\r\n");
    let mut bytes = bytes.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
