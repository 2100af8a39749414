//! [`Gate`]: a proxy on the loopback for programs that connect by themselves.

mod forward;
mod onward;
mod pass;
mod watch;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use self::forward::Connection;
use self::pass::Passes;
pub use self::pass::{Pass, Refusal};
use self::watch::Watched;
use crate::proxy::Proxy;
use crate::reach::Reach;
use crate::resolve::{Checked, Resolve, System};
use crate::url::Url;

/// How long a request's head may take to arrive.
const HEAD: Duration = Duration::from_secs(10);
/// How large a request's head may be, in bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// What a [`Gate`] is made of.
#[derive(Debug, Clone)]
pub struct GateOptions {
    /// Where strangers' addresses may lie.
    pub reach: Reach,
    /// What looks names up.
    pub resolve: Arc<dyn Resolve>,
    /// The operator's own proxy, through which the gate goes on.
    pub upstream: Option<Proxy>,
    /// How long looking a name up and connecting may take, each.
    pub connect: Duration,
    /// How long nothing may come or go.
    pub idle: Duration,
    /// How long a connection may last.
    pub total: Duration,
    /// How many connections there may be; further ones wait.
    pub connections_max: usize,
}

impl GateOptions {
    /// The system's names, no proxy behind, and times that suit a clone of a large repository.
    pub fn new(reach: Reach) -> GateOptions {
        GateOptions {
            reach,
            resolve: Arc::new(System),
            upstream: None,
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            total: Duration::from_secs(6 * 3600),
            connections_max: 256,
        }
    }
}

/// A forward proxy (`CONNECT`, and http:// in absolute form) on a port of the loopback that the system chose.
///
/// `git` and `git-lfs` look names up themselves. Pointed here, they reach only what [`Reach`] has: the gate looks the
/// name up, checks every address, and connects to one that it checked. Whoever asks needs a [`Pass`]. Dropping
/// the gate ends all connections.
pub struct Gate {
    shared: Arc<Shared>,
    address: SocketAddr,
    listening: JoinHandle<()>,
}

/// What all connections know.
struct Shared {
    strangers: Checked,
    operators: Checked,
    options: GateOptions,
    passes: Arc<Passes>,
}

impl Gate {
    /// Opens a gate. To be called within a tokio runtime, in which it goes on.
    ///
    /// # Errors
    ///
    /// Where the system gives no port, and [`io::ErrorKind::Unsupported`] for an upstream proxy that is no
    /// `http://` one.
    pub async fn start(options: GateOptions) -> io::Result<Gate> {
        if options.upstream.as_ref().is_some_and(|proxy| proxy.inner.protocol() != ureq::ProxyProtocol::Http)
        {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "git's own connections can go on through an http:// proxy only",
            ));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let operators = Checked::new(Arc::clone(&options.resolve), Reach::anywhere());
        let strangers = Checked { reach: options.reach.clone(), ..operators.clone() };
        let shared = Arc::new(Shared { strangers, operators, options, passes: Arc::default() });
        let listening = tokio::spawn(listen(listener, Arc::clone(&shared)));
        Ok(Gate { shared, address, listening })
    }

    /// A pass for one piece of work. `own` are addresses that the operator configured for it: their hosts and
    /// ports may be reached wherever they are.
    ///
    /// # Errors
    ///
    /// Where the system has no randomness.
    pub fn pass(&self, own: &[Url]) -> io::Result<Pass> {
        let own = own.iter().map(|url| (url.host().clone(), url.port())).collect();
        Pass::new(Arc::clone(&self.shared.passes), self.address, own)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // With the task go the connections that it holds.
        self.listening.abort();
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let room = Arc::new(Semaphore::new(shared.options.connections_max));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let permit = Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files, say. What is open now will be closed some time.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let total = shared.options.total;
            // A connection that lasts too long is cut, and whoever has it says so.
            let _ = tokio::time::timeout(total, serve(stream, shared)).await;
            drop(permit);
        });
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let idle = shared.options.idle;
    let (stream, watch) = Watched::new(stream);
    let connection = Connection::new(shared);
    let work = async {
        let service = service_fn(|request| connection.answer(request));
        let http = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        if http.await.is_ok() {
            connection.tunnel().await;
        }
    };
    tokio::select! {
        () = work => {}
        () = watch.until_idle_for(idle) => {}
    }
}
