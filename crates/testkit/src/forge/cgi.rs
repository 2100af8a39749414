//! Git over smart HTTP: `git http-backend` as CGI (RFC 3875).

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::ChildStdout;
use tokio::sync::mpsc;

/// The largest head that a CGI program may send.
const CGI_HEAD_BYTES_MAX: usize = 64 * 1024;

/// How much is passed on at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// Runs `git http-backend` for one request. `path` is below `root`.
pub(super) async fn answer(
    request: Request<Bytes>,
    root: &Path,
    path: &str,
    bytes_per_s: Option<u32>,
) -> Result<Response<Pipe>, &'static str> {
    let mut command = tokio::process::Command::from(crate::repo::git_command());
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", request.method().as_str())
        .env("PATH_INFO", path)
        .env("QUERY_STRING", request.uri().query().unwrap_or_default())
        .env("SERVER_PROTOCOL", "HTTP/1.1")
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    for (name, variable) in [
        ("content-type", "CONTENT_TYPE"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "GIT_PROTOCOL"),
    ] {
        if let Some(value) = request.headers().get(name).and_then(|value| value.to_str().ok()) {
            command.env(variable, value);
        }
    }
    let body = request.into_body();
    let mut child =
        command.env("CONTENT_LENGTH", body.len().to_string()).spawn().map_err(|_| "git does not start")?;
    let mut stdin = child.stdin.take().expect("piped above");
    let mut stdout = child.stdout.take().expect("piped above");
    tokio::spawn(async move {
        // The program may answer without reading everything.
        let _ = stdin.write_all(&body).await;
    });
    let (head, rest) = read_head(&mut stdout).await.ok_or("git http-backend gave no answer")?;
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        pass_on(rest, Some(stdout), sender, bytes_per_s).await;
        let _ = child.wait().await;
    });
    let mut response = Response::new(Pipe(receiver));
    for line in head.lines() {
        let (name, value) = line.split_once(": ").ok_or("a CGI header without a value")?;
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().and_then(|code| code.parse().ok()).ok_or("a CGI status")?;
            *response.status_mut() = hyper::StatusCode::from_u16(code).map_err(|_| "a CGI status")?;
        } else {
            let name: hyper::header::HeaderName = name.parse().map_err(|_| "a CGI header")?;
            response.headers_mut().insert(name, value.parse().map_err(|_| "a CGI header")?);
        }
    }
    Ok(response)
}

/// The lines up to the empty one, and what was read behind it.
async fn read_head(stdout: &mut ChildStdout) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            read.truncate(end);
            return Some((String::from_utf8(read).ok()?, rest));
        }
        if read.len() > CGI_HEAD_BYTES_MAX || stdout.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

/// Sends everything on; `bytes_per_s` slows that down.
async fn pass_on(
    rest: Vec<u8>,
    mut stdout: Option<ChildStdout>,
    sender: mpsc::Sender<Bytes>,
    bytes_per_s: Option<u32>,
) {
    let mut chunk = rest;
    loop {
        let pieces = chunk.chunks(bytes_per_s.map_or(CHUNK_BYTES, |bytes| (bytes / 20).max(1) as usize));
        for piece in pieces {
            if sender.send(Bytes::copy_from_slice(piece)).await.is_err() {
                return;
            }
            if bytes_per_s.is_some() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let Some(stdout) = &mut stdout else { return };
        chunk = vec![0; CHUNK_BYTES];
        match stdout.read(&mut chunk).await {
            Ok(count) if count > 0 => chunk.truncate(count),
            _ => return,
        }
    }
}

/// A response body whose pieces come through a channel.
pub(super) struct Pipe(mpsc::Receiver<Bytes>);

impl Pipe {
    /// All of it is there already, but may be sent slowly.
    pub(super) fn of(body: Vec<u8>, bytes_per_s: Option<u32>) -> Pipe {
        let (sender, receiver) = mpsc::channel(4);
        tokio::spawn(pass_on(body, None, sender, bytes_per_s));
        Pipe(receiver)
    }
}

impl Body for Pipe {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
