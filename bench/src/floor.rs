//! A server that does nothing: reads each request to its end and answers `202`. One thread, epoll.
//!
//! With `--sync FILE` it first appends the requests to a file, and answers all that were waiting after one
//! `fdatasync`: what durability alone costs.

use crate::kit::http;
use anyhow::{Context, Result};
use rustix::event::epoll;
use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;

/// Larger requests are refused.
const REQUEST_BYTES_MAX: usize = 26 << 20;
/// The token of the listening socket; connections count from 0.
const LISTENER: u64 = u64::MAX;
const ACCEPTED: &[u8] =
    b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n{\"accepted\":true}";
const REFUSED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Arguments of the servers `nothing` and `syncing`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Append what was read to this file, and answer after a sync.
    #[arg(long)]
    sync: Option<PathBuf>,
}

/// Serves until it is killed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    listener.set_nonblocking(true)?;
    println!("listening on http://{}", listener.local_addr()?);
    let file = args.sync.as_ref().map(File::create).transpose().context("cannot write the file to sync")?;
    Floor { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, listener, file, connections: HashMap::new() }
        .serve()
}

struct Floor {
    epoll: rustix::fd::OwnedFd,
    listener: TcpListener,
    file: Option<File>,
    connections: HashMap<u64, Connection>,
}

struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
}

/// What the bytes of a connection amount to.
enum Progress {
    Waiting,
    Whole(usize),
    Bad,
}

impl Floor {
    fn serve(mut self) -> Result<()> {
        let readable = epoll::EventFlags::IN;
        epoll::add(&self.epoll, &self.listener, epoll::EventData::new_u64(LISTENER), readable)?;
        let mut events = Vec::with_capacity(256);
        let mut buffer = vec![0; 64 << 10];
        let mut next_token = 0;
        loop {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                // Stopped and continued, or traced.
                Err(rustix::io::Errno::INTR) => continue,
                waited => waited?,
            };
            let mut whole = Vec::new();
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept(&mut next_token)?,
                    token => whole.extend(self.read(token, &mut buffer).map(|answers| (token, answers))),
                }
            }
            if let Some(file) = self.file.as_mut().filter(|_| !whole.is_empty()) {
                file.sync_data()?;
            }
            for (token, answers) in whole {
                self.answer(token, answers);
            }
        }
    }

    fn accept(&mut self, next_token: &mut u64) -> Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let data = epoll::EventData::new_u64(*next_token);
            epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)?;
            self.connections.insert(*next_token, Connection { stream, bytes: Vec::new() });
            *next_token += 1;
        }
        Ok(())
    }

    /// Reads what is there; how many whole requests it ended, or `None` when there is nothing to answer.
    fn read(&mut self, token: u64, buffer: &mut [u8]) -> Option<usize> {
        let connection = self.connections.get_mut(&token)?;
        match connection.stream.read(buffer) {
            Ok(0) => {
                self.connections.remove(&token);
                return None;
            }
            Ok(n) => connection.bytes.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
            Err(_) => {
                self.connections.remove(&token);
                return None;
            }
        }
        let mut answers = 0;
        loop {
            match progress(&connection.bytes) {
                Progress::Waiting => break,
                Progress::Whole(len) => {
                    if let Some(file) = &mut self.file {
                        file.write_all(&connection.bytes[..len]).ok()?;
                    }
                    connection.bytes.drain(..len);
                    answers += 1;
                }
                Progress::Bad => {
                    let _ = connection.stream.write(REFUSED);
                    self.connections.remove(&token);
                    return None;
                }
            }
        }
        (answers > 0).then_some(answers)
    }

    fn answer(&mut self, token: u64, answers: usize) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        for _ in 0..answers {
            // A client that does not read its short answers is cut off.
            if connection.stream.write(ACCEPTED).ok() != Some(ACCEPTED.len()) {
                self.connections.remove(&token);
                return;
            }
        }
    }
}

fn progress(bytes: &[u8]) -> Progress {
    if bytes.is_empty() {
        return Progress::Waiting;
    }
    let Some(head_len) = http::head_len(bytes) else {
        return if bytes.len() > 64 << 10 { Progress::Bad } else { Progress::Waiting };
    };
    let length = http::header(&bytes[..head_len], "content-length").and_then(http::number);
    match length.and_then(|len| len.checked_add(head_len)) {
        Some(len) if len > REQUEST_BYTES_MAX => Progress::Bad,
        Some(len) if len <= bytes.len() => Progress::Whole(len),
        Some(_) => Progress::Waiting,
        None => Progress::Bad,
    }
}
