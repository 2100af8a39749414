//! A proxy before a server of S3 that counts calls and plays tricks on answers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What happens to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trick {
    /// The server does it, and the answer is lost.
    LoseAnswer,
    /// The server does it, and the answer ends after so many bytes of its body.
    CutAfter(usize),
    /// The server never sees it; this is the answer.
    Answer(&'static str),
}

/// A call as it was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    /// `HEAD`, `PUT`, `COPY` …, with `PART` for what concerns parts.
    pub(crate) kind: String,
    pub(crate) body_bytes: usize,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    /// Each is played once, on the next call of its kind.
    tricks: Vec<(&'static str, Trick)>,
}

pub(crate) struct Proxy {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Before the server at `http://host:port`.
    pub(crate) fn start(upstream: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        // Ends with the process: it waits for connections that never come.
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (shared, upstream) = (Arc::clone(&shared), upstream.clone());
                std::thread::spawn(move || while serve(&connection, &upstream, &shared).is_some() {});
            }
        });
        Proxy { url, state }
    }

    /// The next call of this kind is played this trick.
    pub(crate) fn play(&self, kind: &'static str, trick: Trick) {
        self.state.lock().unwrap().tricks.push((kind, trick));
    }

    /// The calls since this was asked last.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let mut state = self.state.lock().unwrap();
        assert!(state.tricks.is_empty(), "never played: {:?}", state.tricks);
        std::mem::take(&mut state.calls)
    }

    /// Their kinds.
    pub(crate) fn kinds(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.kind).collect()
    }
}

/// The head of a message and what was read beyond it.
fn read_head(mut stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            return Some((String::from_utf8(bytes).ok()?, rest));
        }
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let line = |line: &'a str| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name));
    head.lines().find_map(line).map(|(_, value)| value)
}

fn kind(head: &str) -> String {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let is_copy = header(head, "x-amz-copy-source").is_some();
    let part = if path.contains("uploadId") || path.contains("uploads") { " PART" } else { "" };
    format!("{}{part}", if is_copy { "COPY" } else { method })
}

/// One call; `None` where the connection ends.
fn serve(mut client: &TcpStream, upstream: &str, state: &Mutex<State>) -> Option<()> {
    let (head, mut body) = read_head(client)?;
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    if header(&head, "expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let mut rest = vec![0; length - body.len()];
    client.read_exact(&mut rest).ok()?;
    body.append(&mut rest);
    let kind = kind(&head);
    let trick = {
        let mut state = state.lock().unwrap();
        state.calls.push(Call { kind: kind.clone(), body_bytes: body.len() });
        let at = state.tricks.iter().position(|(of, _)| *of == kind);
        at.map(|at| state.tricks.remove(at).1)
    };
    if let Some(Trick::Answer(answer)) = trick {
        client.write_all(answer.as_bytes()).ok()?;
        return None; // the connection ends: no length has to be said
    }
    let answer = forward(&head, &body, upstream);
    let until = match trick {
        Some(Trick::LoseAnswer) => 0,
        Some(Trick::CutAfter(bytes)) => answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4 + bytes,
        _ => answer.len(),
    };
    client.write_all(&answer[..until]).ok()?;
    // Each answer of the server ends its connection, and so does ours.
    client.shutdown(std::net::Shutdown::Both).ok()?;
    None
}

fn forward(head: &str, body: &[u8], upstream: &str) -> Vec<u8> {
    let mut server = TcpStream::connect(upstream).unwrap();
    let lines = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let lines = lines.filter(|line| !line.is_empty() && !line.to_ascii_lowercase().starts_with("expect:"));
    let head = lines.map(|line| format!("{line}\r\n")).collect::<String>();
    server.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
    server.write_all(body).unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).unwrap();
    answer
}

/// A call that is not signed right; moto does not look. Its status.
pub(crate) fn call(url: &str, method: &str, path: &str, body: &str) -> u16 {
    let signed = "Authorization: AWS4-HMAC-SHA256 Credential=AKIATEST/20200101/us-east-1/s3/aws4_request";
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{signed}\r\n");
    let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
    let answer = forward(&head, body.as_bytes(), url.trim_start_matches("http://"));
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
}
