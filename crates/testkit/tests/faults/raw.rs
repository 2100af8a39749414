//! A client that sends bytes and sees how its connection ends.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use gristmill_testkit::faults::Proxy;
use gristmill_testkit::server::PATIENCE;

#[derive(Debug)]
pub(crate) struct Raw {
    reader: BufReader<TcpStream>,
}

impl Raw {
    pub(crate) fn to(proxy: &Proxy) -> Raw {
        Raw::try_to(proxy).expect("somebody listens")
    }

    pub(crate) fn try_to(proxy: &Proxy) -> io::Result<Raw> {
        let stream = TcpStream::connect(proxy.endpoint().trim_start_matches("http://"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Raw { reader: BufReader::new(stream) })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("sent");
    }

    /// Sends a request and reads until the end of the connection.
    pub(crate) fn exchange(mut self, bytes: &[u8]) -> io::Result<String> {
        self.reader.get_mut().write_all(bytes)?;
        self.rest()
    }

    /// One answer, on a connection that goes on.
    pub(crate) fn answer(&mut self) -> String {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            assert_ne!(self.reader.read_line(&mut text).expect("an answer"), 0, "{text}");
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.reader.read_exact(&mut body).expect("a body");
        text + std::str::from_utf8(&body).expect("text")
    }

    /// What comes until the end.
    pub(crate) fn rest(&mut self) -> io::Result<String> {
        let mut text = String::new();
        self.reader.read_to_string(&mut text)?;
        Ok(text)
    }
}

pub(crate) fn request(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    with(method, target, "", body)
}

/// The last of its connection.
pub(crate) fn closing(method: &str, target: &str, body: &[u8]) -> Vec<u8> {
    with(method, target, "connection: close\r\n", body)
}

fn with(method: &str, target: &str, header: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{header}\r\n");
    [head.as_bytes(), body].concat()
}
