//! The little HTTP/1.1 that the benchmarks need: where a message ends, and a blocking client.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// The head of an answer and where the answer ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Bytes of head and body.
    pub(crate) len: usize,
    /// The server closes the connection after it.
    pub(crate) close: bool,
}

/// Finds the value of a header in a head, by its lower-case name.
pub(crate) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|&b| b == b'\n').skip(1).find_map(|line| {
        let colon = line.iter().position(|&b| b == b':')?;
        line[..colon].eq_ignore_ascii_case(name.as_bytes()).then(|| line[colon + 1..].trim_ascii())
    })
}

/// The length of a head with its empty line, once it is there.
pub(crate) fn head_len(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// A number in ASCII digits.
pub(crate) fn number(text: &[u8]) -> Option<usize> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The first answer in `bytes`, once it is whole. `Err` when it is not HTTP.
pub(crate) fn answer(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let Some(head_len) = head_len(bytes) else { return Ok(None) };
    let head = &bytes[..head_len];
    let not_http = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP/1.x");
    if !head.starts_with(b"HTTP/1.") {
        return Err(not_http());
    }
    let status = head.get(9..12).and_then(number).and_then(|n| u16::try_from(n).ok()).ok_or_else(not_http)?;
    let close = header(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    let body_len = if header(head, "transfer-encoding").is_some() {
        // Chunked: short answers of servers that do not count; their last chunk ends them.
        bytes[head_len..].windows(5).position(|five| five == b"0\r\n\r\n").map(|at| at + 5)
    } else {
        let len = header(head, "content-length").and_then(number).unwrap_or(0);
        (bytes.len() >= head_len + len).then_some(len)
    };
    Ok(body_len.map(|body_len| Answer { status, len: head_len + body_len, close }))
}

/// A client over one kept connection, made anew when the server has closed it.
pub(crate) struct Client {
    addr: SocketAddr,
    patience: Duration,
    stream: Option<TcpStream>,
}

impl Client {
    /// A client that waits at most `patience` for an answer.
    pub(crate) fn new(addr: SocketAddr, patience: Duration) -> Self {
        Self { addr, patience, stream: None }
    }

    /// Sends one request and returns the status and the whole answer.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.addr, self.patience)?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.set_write_timeout(Some(self.patience))?;
        stream.write_all(request)?;
        let deadline = Instant::now() + self.patience;
        let mut bytes = Vec::new();
        let mut part = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            stream.set_read_timeout(Some(left))?;
            let n = stream.read(&mut part)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(&part[..n]);
            if let Some(answer) = answer(&bytes)? {
                if !answer.close {
                    self.stream = Some(stream);
                }
                return Ok((answer.status, bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let text = b"HTTP/1.1 202 Accepted\r\ncontent-Length: 3\r\n\r\nabcHTTP";
        assert_eq!(answer(text).unwrap(), Some(Answer { status: 202, len: 47, close: false }));
        assert_eq!(answer(&text[..46]).unwrap(), None);
        assert_eq!(answer(&text[..20]).unwrap(), None);
    }

    #[test]
    fn a_chunked_answer_ends_with_its_last_chunk() {
        let text = b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        assert_eq!(answer(text).unwrap(), Some(Answer { status: 400, len: text.len(), close: true }));
        assert_eq!(answer(&text[..text.len() - 1]).unwrap(), None);
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        assert!(answer(b"SSH-2.0\r\n\r\n").is_err());
        assert!(answer(b"HTTP/1.1 xyz\r\n\r\n").is_err());
    }
}
