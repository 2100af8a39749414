//! The fake forge's git server: `git http-backend` as CGI (RFC 3875) behind hyper, in a thread of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::ChildStdout;
use tokio::sync::{mpsc, oneshot};

use super::{Fault, SeenRequest, State};

/// The largest head that a CGI program may send.
const CGI_HEAD_BYTES_MAX: usize = 64 * 1024;

/// How much is passed on at once.
const CHUNK_BYTES: usize = 16 * 1024;

type Shared = Arc<Mutex<State>>;

/// Ends the server when it is dropped.
#[derive(Debug)]
pub(super) struct Stop {
    signal: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Stop {
    fn drop(&mut self) {
        drop(self.signal.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server has been printed by then.
            let _ = thread.join();
        }
    }
}

pub(super) fn start(root: PathBuf, state: Shared) -> (SocketAddr, Stop) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket can be non-blocking");
    let address = listener.local_addr().expect("a bound socket has an address");
    let (signal, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).expect("a listening socket");
            tokio::select! {
                () = accept(listener, root, state) => {}
                _ = stopped => {}
            }
        });
        // Dropping the runtime ends all connections, and with them their children.
    });
    (address, Stop { signal: Some(signal), thread: Some(thread) })
}

async fn accept(listener: TcpListener, root: PathBuf, state: Shared) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (root, state) = (root.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request| answer(request, &root, &state));
            // Connections that break are the clients' business.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// An error closes the connection without an answer.
async fn answer(
    request: Request<Incoming>,
    root: &Path,
    state: &Shared,
) -> Result<Response<Pipe>, &'static str> {
    let authorization = header(&request, "authorization");
    let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let (fault, token) = {
        let mut state = state.lock().expect("no test panics while it holds the state");
        state.requests.push(SeenRequest { target: target.clone(), authorization: authorization.clone() });
        (state.fault.clone(), state.token.clone())
    };
    match &fault {
        Fault::None | Fault::Slow(_) => {}
        Fault::Status(status) => return Ok(plain(*status, "a fault that was asked for")),
        Fault::Hang => std::future::pending().await,
        Fault::Refuse => return Err("refused, as was asked for"),
        Fault::Redirect(base) => {
            let mut response = plain(302, "elsewhere");
            let location = format!("{base}{target}").parse().map_err(|_| "not an address")?;
            response.headers_mut().insert("location", location);
            return Ok(response);
        }
    }
    if let Some(token) = token
        && authorization.as_deref().and_then(basic_password).as_ref() != Some(&token)
    {
        let mut response = plain(401, "a token is needed");
        let basic = "Basic realm=\"fake\"".parse().map_err(|_| "not a header")?;
        response.headers_mut().insert("www-authenticate", basic);
        return Ok(response);
    }
    let pause = match fault {
        Fault::Slow(bytes_per_s) => Some(bytes_per_s),
        _ => None,
    };
    cgi(request, root, pause).await
}

fn header(request: &Request<Incoming>, name: &str) -> Option<String> {
    request.headers().get(name)?.to_str().ok().map(str::to_owned)
}

fn plain(status: u16, text: &'static str) -> Response<Pipe> {
    let (sender, receiver) = mpsc::channel(1);
    sender.try_send(Bytes::from_static(text.as_bytes())).expect("an empty channel takes one");
    let mut response = Response::new(Pipe(receiver));
    *response.status_mut() = hyper::StatusCode::from_u16(status).expect("tests ask for valid statuses");
    response
}

/// Runs `git http-backend` for one request.
async fn cgi(
    request: Request<Incoming>,
    root: &Path,
    pause: Option<u32>,
) -> Result<Response<Pipe>, &'static str> {
    let mut command = tokio::process::Command::from(crate::repo::git_command());
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", request.method().as_str())
        .env("PATH_INFO", request.uri().path())
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
        if let Some(value) = header(&request, name) {
            command.env(variable, value);
        }
    }
    let body = request.into_body().collect().await.map_err(|_| "the request broke off")?.to_bytes();
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
        pass_on(rest, stdout, sender, pause).await;
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
    mut stdout: ChildStdout,
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
        chunk = vec![0; CHUNK_BYTES];
        match stdout.read(&mut chunk).await {
            Ok(count) if count > 0 => chunk.truncate(count),
            _ => return,
        }
    }
}

/// A response body whose pieces come through a channel.
struct Pipe(mpsc::Receiver<Bytes>);

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

/// The password of a Basic `Authorization` header (RFC 7617).
fn basic_password(header: &str) -> Option<String> {
    let encoded = header.strip_prefix("Basic ")?;
    let plain = String::from_utf8(base64_decode(encoded)?).ok()?;
    plain.split_once(':').map(|(_, password)| password.to_owned())
}

fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}
