//! Messages of HTTP/1.1 as bytes: they are passed on as they came, since signatures cover them.

use std::io::{self, BufRead, Read as _};

/// The longest head, in bytes.
const HEAD_BYTES_MAX: u64 = 1 << 16;

/// The largest body that is held: an upload in one request may have 5 GiB, tests have far less.
const BODY_BYTES_MAX: u64 = 1 << 30;

/// The beginning of a message, up to the empty line.
#[derive(Debug)]
pub(super) struct Head {
    /// Without its end of line.
    pub(super) first: String,
    /// In their order, values trimmed.
    pub(super) headers: Vec<(String, String)>,
    /// How long it was.
    pub(super) bytes: u64,
}

/// How a body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Length {
    Exact(u64),
    Chunked,
    /// With the connection.
    ToEnd,
}

impl Head {
    /// `None` where the other side has ended the connection in good order.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Head>> {
        let mut from = from.take(HEAD_BYTES_MAX);
        let mut head = Head { first: String::new(), headers: Vec::new(), bytes: 0 };
        loop {
            let mut line = String::new();
            let read = from.read_line(&mut line)?;
            if read == 0 && head.bytes == 0 {
                return Ok(None);
            }
            head.bytes += u64::try_from(read).map_err(io::Error::other)?;
            let Some(text) = line.strip_suffix('\n') else { return Err(broken("a head without an end")) };
            let text = text.strip_suffix('\r').unwrap_or(text);
            if text.is_empty() {
                return Ok(Some(head));
            }
            if head.first.is_empty() {
                head.first = text.to_owned();
            } else {
                let (name, value) = text.split_once(':').ok_or_else(|| broken("a header without a colon"))?;
                head.headers.push((name.to_owned(), value.trim().to_owned()));
            }
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// Of a message that has a body at all; `otherwise` where nothing is said.
    pub(super) fn length(&self, otherwise: Length) -> io::Result<Length> {
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Ok(Length::Chunked);
        }
        match self.header("content-length") {
            None => Ok(otherwise),
            Some(text) => text.parse().map(Length::Exact).map_err(|_| broken("a length that is no number")),
        }
    }

    /// As it is sent, with the empty line.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let lines: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{lines}\r\n", self.first).into_bytes()
    }
}

/// The bytes of a body as they are on the wire: with their sizes, where they come in chunks.
pub(super) fn read_body(from: &mut impl BufRead, length: Length) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match length {
        Length::Exact(bytes) => read_exact(from, bytes, &mut body)?,
        Length::Chunked => read_chunks(from, &mut body)?,
        Length::ToEnd => {
            from.take(BODY_BYTES_MAX).read_to_end(&mut body)?;
        }
    }
    Ok(body)
}

fn read_exact(from: &mut impl BufRead, bytes: u64, body: &mut Vec<u8>) -> io::Result<()> {
    if bytes > BODY_BYTES_MAX {
        return Err(broken("a body that is too large for this proxy"));
    }
    let read = from.take(bytes).read_to_end(body)?;
    if u64::try_from(read) == Ok(bytes) { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn read_chunks(from: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(from, body)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| broken("a chunk without a size"))?;
        if size == 0 {
            break;
        }
        read_exact(from, size, body)?;
        read_line(from, body)?;
    }
    // What follows the last chunk, up to an empty line.
    while !read_line(from, body)?.is_empty() {}
    Ok(())
}

/// Adds a line to the body, and returns it without its end.
fn read_line(from: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<String> {
    let mut line = String::new();
    from.take(HEAD_BYTES_MAX).read_line(&mut line)?;
    if !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    body.extend_from_slice(line.as_bytes());
    Ok(line.trim_end().to_owned())
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::{Head, Length, read_body};

    #[test]
    fn bodies_end_where_their_heads_say() {
        for (head, body, rest, expected) in [
            ("content-length: 5\r\n", "hello", "more", Some(Length::Exact(5))),
            ("Content-Length: 0\r\n", "", "more", Some(Length::Exact(0))),
            ("Transfer-Encoding: chunked\r\n", "5;a=b\r\nhello\r\n0\r\n\r\n", "more", Some(Length::Chunked)),
            (
                "transfer-encoding: chunked\r\n",
                "1\r\nx\r\n0\r\nx-sum: 1\r\n\r\n",
                "more",
                Some(Length::Chunked),
            ),
            ("", "all", "", Some(Length::ToEnd)),
            ("content-length: five\r\n", "", "", None),
        ] {
            let text = format!("PUT / HTTP/1.1\r\n{head}\r\n{body}{rest}");
            let mut from = text.as_bytes();
            let head = Head::read(&mut from).expect("a head").expect("one");
            assert_eq!(head.first, "PUT / HTTP/1.1");
            assert_eq!(head.length(Length::ToEnd).ok(), expected, "{text}");
            let Some(length) = expected else { continue };
            assert_eq!(read_body(&mut from, length).expect("a body"), body.as_bytes(), "{text}");
            assert_eq!(from, rest.as_bytes(), "{text}");
        }
    }

    #[test]
    fn what_breaks_off_is_an_error() {
        assert!(Head::read(&mut &b""[..]).expect("an end in good order").is_none());
        for head in ["PUT / HTTP/1.1\r\nhost: x\r\n", "PUT / HTTP/1.1", "PUT / HTTP/1.1\r\nhost\r\n\r\n"] {
            assert!(Head::read(&mut head.as_bytes()).is_err(), "{head}");
        }
        for (length, body) in
            [(Length::Exact(6), "hello"), (Length::Chunked, "5\r\nhel"), (Length::Chunked, "5\r\nhello\r\n")]
        {
            assert!(read_body(&mut body.as_bytes(), length).is_err(), "{body}");
        }
    }
}
