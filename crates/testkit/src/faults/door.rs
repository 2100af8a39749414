//! The proxy's listener and its connections: open, and closed as if its machine were gone.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use super::{Shared, serve};
use crate::server::{PATIENCE, wait_for};

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 128;

/// See the module.
#[derive(Debug)]
pub(super) struct Door {
    address: SocketAddrV4,
    crowd: Arc<Crowd>,
    accepting: Option<JoinHandle<()>>,
    /// Holds the port while nobody listens: connections to a socket that is only bound are refused.
    held: Option<OwnedFd>,
}

/// The connections that are open.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    is_closed: AtomicBool,
    next: AtomicUsize,
    open: Mutex<BTreeMap<usize, Arc<TcpStream>>>,
}

impl Door {
    pub(super) fn open(shared: Arc<Shared>) -> Door {
        let socket = bound(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let SocketAddr::V4(address) = listening(&socket).local_addr().expect("it is bound") else {
            panic!("bound to IPv4 above")
        };
        let mut door = Door { address, crowd: Arc::default(), accepting: None, held: Some(socket) };
        door.reopen(shared);
        door
    }

    pub(super) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    pub(super) fn reopen(&mut self, shared: Arc<Shared>) {
        let socket = self.held.take().expect("it is closed");
        listen(&socket, BACKLOG).expect("a bound socket can listen");
        let listener = TcpListener::from(socket);
        self.crowd.is_closed.store(false, Ordering::SeqCst);
        let crowd = Arc::clone(&self.crowd);
        self.accepting = Some(thread::spawn(move || accept(&listener, &crowd, &shared)));
    }

    pub(super) fn close(&mut self) {
        let accepting = self.accepting.take().expect("it is open");
        self.end(accepting);
        // A program that another thread has just started holds what is open here until it runs.
        let again = wait_for(PATIENCE, || bound(self.address).ok());
        self.held = Some(again.unwrap_or_else(|| panic!("{} is taken", self.address)));
    }

    fn end(&self, accepting: JoinHandle<()>) {
        self.crowd.is_closed.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
        // A panic has been printed by then.
        let _ = accepting.join();
        self.crowd.reset_all();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            self.end(accepting);
        }
    }
}

impl Crowd {
    fn open(&self) -> MutexGuard<'_, BTreeMap<usize, Arc<TcpStream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever reads from one of them, or writes to it, sees its end.
    fn reset_all(&self) {
        for stream in std::mem::take(&mut *self.open()).into_values() {
            reset_at_close(&stream);
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Has the other side see a reset instead of an end in good order, once nobody holds the socket any more.
pub(super) fn reset_at_close(stream: &TcpStream) {
    // Fails where the other side has gone.
    let _ = sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

fn bound(address: SocketAddrV4) -> rustix::io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let socket = socket.expect("a socket");
    // Connections that were there before do not hold the port.
    sockopt::set_socket_reuseaddr(&socket, true).expect("a socket of our own");
    bind(&socket, &address)?;
    Ok(socket)
}

/// Only for its address.
fn listening(socket: &OwnedFd) -> TcpListener {
    TcpListener::from(socket.try_clone().expect("a descriptor"))
}

fn accept(listener: &TcpListener, crowd: &Arc<Crowd>, shared: &Arc<Shared>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if crowd.is_closed.load(Ordering::SeqCst) {
            reset_at_close(&stream);
            return;
        }
        let number = crowd.next.fetch_add(1, Ordering::SeqCst);
        let stream = Arc::new(stream);
        crowd.open().insert(number, Arc::clone(&stream));
        let (crowd, shared) = (Arc::clone(crowd), Arc::clone(shared));
        thread::spawn(move || {
            // How its connection ends is for the test to see at the client.
            let _ = serve::serve(&stream, number, &shared);
            crowd.open().remove(&number);
        });
    }
}
