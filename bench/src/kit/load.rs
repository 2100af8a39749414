//! The load generator: one thread, epoll, as many requests under way as there are connections.
//!
//! A closed loop: a connection sends its next request when it has read the answer to the last one. All that can
//! be done beforehand is (signatures); in the measured time a request costs one write and one read.

use super::http;
use super::payload::{Signed, Template};
use super::stats::Latencies;
use anyhow::{Context, Result, bail};
use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// After the measured time, how long answers to what was sent may take.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// A server that breaks more connections than this is not worth measuring.
const BROKEN_MAX: u64 = 1_000;

/// What to send, to whom, and for how long: until the time or the signatures are used up.
pub(crate) struct Load<'a> {
    pub(crate) addr: SocketAddr,
    pub(crate) template: &'a Template,
    pub(crate) signed: &'a Signed,
    pub(crate) connections: usize,
    pub(crate) time_max: Duration,
}

/// What came back.
#[derive(Default)]
pub(crate) struct Outcome {
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// From before the write of a request to after the read of its answer.
    pub(crate) latencies: Latencies,
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Connections that broke, or stayed without an answer.
    pub(crate) broken: u64,
    /// How many requests were sent.
    pub(crate) sent: usize,
}

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    written: usize,
    answer: Vec<u8>,
    started: Instant,
    under_way: bool,
}

struct Run<'a> {
    load: &'a Load<'a>,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    deadline: Instant,
    under_way: usize,
    outcome: Outcome,
}

impl Load<'_> {
    /// Sends, and returns when every answer has come or is overdue.
    pub(crate) fn run(&self) -> Result<Outcome> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let connections =
            (0..self.connections).map(|n| connect(self.addr, &epoll, n)).collect::<Result<_>>()?;
        let start = Instant::now();
        let outcome = Outcome::default();
        let mut run =
            Run { load: self, epoll, connections, deadline: start + self.time_max, under_way: 0, outcome };
        run.all()?;
        let mut outcome = run.outcome;
        outcome.elapsed = start.elapsed();
        Ok(outcome)
    }
}

impl Outcome {
    /// How many answers had this status.
    pub(crate) fn with_status(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    /// Answers with another status, and connections that broke.
    pub(crate) fn errors(&self, accepted: u16) -> u64 {
        self.statuses.values().sum::<u64>() - self.with_status(accepted) + self.broken
    }
}

impl Run<'_> {
    fn all(&mut self) -> Result<()> {
        for n in 0..self.connections.len() {
            self.send_next(n)?;
        }
        let drained = self.deadline + DRAIN_TIME_MAX;
        let mut events = Vec::with_capacity(self.connections.len());
        while self.under_way > 0 {
            events.clear();
            let step = Timespec { tv_sec: 1, tv_nsec: 0 };
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&step)) {
                Err(rustix::io::Errno::INTR) => continue,
                waited => waited?,
            };
            for event in &events {
                self.go_on(event.data.u64() as usize)?;
            }
            if Instant::now() > drained {
                self.outcome.broken += self.under_way as u64;
                break;
            }
        }
        Ok(())
    }

    /// Starts the next request of a connection, unless the time or the signatures are used up.
    fn send_next(&mut self, n: usize) -> Result<()> {
        let now = Instant::now();
        let sent = self.outcome.sent;
        let Some(signature) = self.load.signed.signatures.get(sent).filter(|_| now < self.deadline) else {
            return Ok(());
        };
        let connection = &mut self.connections[n];
        self.load.template.write(&mut connection.request, self.load.signed.first + sent as u64, signature);
        connection.written = 0;
        connection.under_way = true;
        connection.started = now;
        self.outcome.sent += 1;
        self.under_way += 1;
        match connection.write() {
            Ok(()) => Ok(()),
            Err(_) => self.replace(n),
        }
    }

    /// The connection `n` can be written or read.
    fn go_on(&mut self, n: usize) -> Result<()> {
        let connection = &mut self.connections[n];
        let answer = match connection.write().and_then(|()| connection.read()) {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(()),
            Err(_) => return self.replace(n),
        };
        let latency = connection.started.elapsed();
        connection.under_way = false;
        self.under_way -= 1;
        self.outcome.latencies.record(latency);
        *self.outcome.statuses.entry(answer.status).or_default() += 1;
        if answer.close {
            self.connections[n] = connect(self.load.addr, &self.epoll, n)?;
        }
        self.send_next(n)
    }

    /// A connection broke: counts it if a request was under way, and opens another.
    fn replace(&mut self, n: usize) -> Result<()> {
        if self.connections[n].under_way {
            self.under_way -= 1;
            self.outcome.broken += 1;
        }
        if self.outcome.broken > BROKEN_MAX {
            bail!("the server broke more than {BROKEN_MAX} connections");
        }
        self.connections[n] = connect(self.load.addr, &self.epoll, n)?;
        self.send_next(n)
    }
}

fn connect(addr: SocketAddr, epoll: &OwnedFd, n: usize) -> Result<Connection> {
    let stream = TcpStream::connect(addr).with_context(|| format!("cannot connect to {addr}"))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
    epoll::add(epoll, &stream, epoll::EventData::new_u64(n as u64), flags)?;
    Ok(Connection {
        stream,
        request: Vec::new(),
        written: 0,
        answer: Vec::with_capacity(1024),
        started: Instant::now(),
        under_way: false,
    })
}

impl Connection {
    /// Writes what is left of the request, as far as the socket takes it.
    fn write(&mut self) -> io::Result<()> {
        while self.written < self.request.len() {
            match self.stream.write(&self.request[self.written..]) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads the answer; `None` while it is not whole.
    fn read(&mut self) -> io::Result<Option<http::Answer>> {
        let mut part = [0; 4096];
        loop {
            match self.stream.read(&mut part) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.answer.extend_from_slice(&part[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
            if !self.under_way {
                return Err(ErrorKind::InvalidData.into());
            }
            if let Some(answer) = http::answer(&self.answer)? {
                self.answer.clear();
                return Ok(Some(answer));
            }
        }
    }
}
