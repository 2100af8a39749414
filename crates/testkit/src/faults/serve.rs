//! One connection of a client: its requests, what befalls them, and what it is answered.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use super::door::reset_at_close;
use super::http::{Head, Length, read_body};
use super::operation::subject;
use super::{Fault, Seen, Shared};
use crate::server::pause;

/// A whole message.
struct Message {
    head: Head,
    body: Vec<u8>,
}

/// What becomes of the connection.
#[derive(PartialEq, Eq)]
enum Next {
    Request,
    End,
    Reset,
}

/// Until the client leaves, or is made to.
pub(super) fn serve(stream: &TcpStream, connection: usize, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut is_first = true;
    while let Some(head) = Head::read(&mut reader)? {
        let next = answer(stream, &mut reader, head, (connection, is_first), shared);
        is_first = false;
        match next {
            Ok(Next::Request) => {}
            Ok(Next::End) => return stream.shutdown(Shutdown::Both),
            Ok(Next::Reset) => {
                reset_at_close(stream);
                return Ok(());
            }
            Err(error) => {
                reset_at_close(stream);
                return Err(error);
            }
        }
    }
    Ok(())
}

fn answer(
    mut stream: &TcpStream,
    reader: &mut BufReader<&TcpStream>,
    mut head: Head,
    connection: (usize, bool),
    shared: &Shared,
) -> io::Result<Next> {
    let has_waited = head.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
    let (number, fault, method) = note(&head, connection, has_waited, shared)?;
    if fault == Fault::ResetBefore {
        return Ok(Next::Reset);
    }
    if has_waited {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        head.remove("expect");
    }
    let body = read_body(reader, head.length(Length::Exact(0))?)?;
    update(shared, number, |seen| {
        seen.body_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
        seen.bytes_sent += seen.body_bytes;
    });
    let request = Message { head, body };
    let own = match fault {
        Fault::Hang => return hang(reader),
        Fault::Status(status) => Some(error_document(status)),
        Fault::ErrorIn200 => Some(error_document(200)),
        Fault::ResetMidway => {
            send_half(&request, shared)?;
            return Ok(Next::Reset);
        }
        Fault::Delay(time) => {
            pause(time);
            None
        }
        _ => None,
    };
    let answer = match own {
        Some(answer) => answer,
        None => {
            let answer = ask(&request, &method, shared)?;
            update(shared, number, |seen| seen.server_status = answer.head.status());
            match fault {
                Fault::ResetAfter => return Ok(Next::Reset),
                Fault::DoneThenHang => return hang(reader),
                Fault::DoneThenStatus(status) => error_document(status),
                _ => answer,
            }
        }
    };
    // Noted first: whoever has the answer may look at once.
    update(shared, number, |seen| seen.status = answer.head.status());
    let is_last = request.head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    let next = respond(stream, answer, &method, fault)?;
    Ok(if is_last && next == Next::Request { Next::End } else { next })
}

/// Writes the request down. Returns its number, what befalls it, and its method.
fn note(
    head: &Head,
    (connection, is_first): (usize, bool),
    has_waited: bool,
    shared: &Shared,
) -> io::Result<(usize, Fault, String)> {
    let mut words = head.first.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a request of HTTP"));
    };
    let subject = subject(method, target, head.header("x-amz-copy-source").is_some());
    let fault = shared.script().next(&subject);
    let lower = |(name, value): &(String, String)| (name.to_ascii_lowercase(), value.clone());
    let mut list = shared.list();
    list.seen.push(Seen {
        connection,
        is_first,
        has_waited,
        method: method.to_owned(),
        target: target.to_owned(),
        headers: head.headers.iter().map(lower).collect(),
        operation: subject.operation,
        bucket: subject.bucket,
        key: subject.key,
        bytes_sent: head.bytes,
        body_bytes: 0,
        fault,
        server_status: None,
        status: None,
    });
    Ok((list.taken + list.seen.len() - 1, fault, method.to_owned()))
}

/// It may have been taken since.
fn update(shared: &Shared, number: usize, change: impl FnOnce(&mut Seen)) {
    let mut list = shared.list();
    let place = number.checked_sub(list.taken);
    if let Some(seen) = place.and_then(|place| list.seen.get_mut(place)) {
        change(seen);
    }
}

/// Until the client or the test ends the connection. What the client still sends does not matter.
fn hang(reader: &mut BufReader<&TcpStream>) -> io::Result<Next> {
    let mut piece = [0; 4096];
    while reader.read(&mut piece)? > 0 {}
    Ok(Next::Reset)
}

fn send_half(request: &Message, shared: &Shared) -> io::Result<()> {
    let mut server = TcpStream::connect(shared.upstream)?;
    let mut bytes = request.head.to_bytes();
    bytes.extend_from_slice(&request.body[..request.body.len() / 2]);
    server.write_all(&bytes)?;
    reset_at_close(&server);
    Ok(())
}

/// The server's answer.
fn ask(request: &Message, method: &str, shared: &Shared) -> io::Result<Message> {
    let mut server = TcpStream::connect(shared.upstream)?;
    server.set_nodelay(true)?;
    server.write_all(&request.head.to_bytes())?;
    // A server that has refused it by its head may not read all of this; what it said is then read all the same.
    let _ = server.write_all(&request.body);
    let mut reader = BufReader::new(&server);
    let mut head = loop {
        let head = Head::read(&mut reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if head.status().is_some_and(|status| status >= 200) {
            break head;
        }
    };
    let has_body = method != "HEAD" && !matches!(head.status(), Some(204 | 304));
    let length = head.length(Length::ToEnd)?;
    let body = if has_body { read_body(&mut reader, length)? } else { Vec::new() };
    head.remove("connection");
    head.remove("keep-alive");
    if has_body && length == Length::ToEnd {
        head.headers.push(("content-length".to_owned(), body.len().to_string()));
    }
    head.first = head.first.replacen("HTTP/1.0", "HTTP/1.1", 1);
    Ok(Message { head, body })
}

fn respond(mut stream: &TcpStream, answer: Message, method: &str, fault: Fault) -> io::Result<Next> {
    let Message { head, mut body } = answer;
    let is_success = head.status().is_some_and(|status| (200..300).contains(&status));
    let mut next = Next::Request;
    if method == "HEAD" {
        body.clear();
    }
    if let Fault::Truncate(bytes) = fault
        && is_success
        && !body.is_empty()
    {
        body.truncate(bytes.min(body.len() - 1));
        next = Next::End;
    }
    let mut bytes = head.to_bytes();
    bytes.append(&mut body);
    stream.write_all(&bytes)?;
    Ok(next)
}

/// An error as S3 writes it.
fn error_document(status: u16) -> Message {
    let (code, message) = match status {
        403 => ("AccessDenied", "Access Denied"),
        503 => ("SlowDown", "Please reduce your request rate."),
        _ => ("InternalError", "We encountered an internal error. Please try again."),
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>\
         <RequestId>FAULT</RequestId><HostId>fault</HostId></Error>"
    );
    let header = |name: &str, value: String| (name.to_owned(), value);
    let head = Head {
        first: format!("HTTP/1.1 {status} {code}"),
        headers: vec![
            header("content-type", "application/xml".to_owned()),
            header("content-length", body.len().to_string()),
            header("x-amz-request-id", "FAULT".to_owned()),
        ],
        bytes: 0,
    };
    Message { head, body: body.into_bytes() }
}

impl Head {
    /// Of an answer.
    fn status(&self) -> Option<u16> {
        self.first.split(' ').nth(1)?.parse().ok()
    }
}
