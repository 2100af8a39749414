//! The fake forge's server: its doors, what befalls requests before they are answered, and who answers them.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::cgi::{self, Pipe};
use super::delivery::read_basic;
use super::fault::{Fault, Part};
use super::http::{Answer, Call, pairs, parts};
use super::state::Refusal;
use super::{Grant, Inner};

/// The addresses of one forge: ports of 127.0.0.1 here, hosts at the real ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// The forge's own: pages and git, and mostly the API.
    Web,
    /// The API, where it has an address of its own, as `api.github.com`.
    Api,
    /// Downloads, where they have one, as `codeload.github.com`.
    Downloads,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Doors {
    pub(super) web: SocketAddr,
    pub(super) api: SocketAddr,
    pub(super) downloads: SocketAddr,
}

/// A request as the server saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenRequest {
    /// Where it came in.
    pub door: Door,
    /// GET, POST …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The `Authorization` header, where one was sent.
    pub authorization: Option<String>,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// What was sent.
    pub body: Bytes,
}

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

type Listeners = [(Door, std::net::TcpListener); 3];

pub(super) fn listen() -> (Listeners, Doors) {
    let bind = || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        (listener, address)
    };
    let ((web, web_at), (api, api_at), (downloads, downloads_at)) = (bind(), bind(), bind());
    let doors = Doors { web: web_at, api: api_at, downloads: downloads_at };
    ([(Door::Web, web), (Door::Api, api), (Door::Downloads, downloads)], doors)
}

pub(super) fn start(listeners: Listeners, forge: Arc<Inner>) -> Stop {
    let (signal, stopped) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let [web, api, downloads] = listeners.map(|(door, listener)| {
                let listener = TcpListener::from_std(listener).expect("a listening socket");
                accept(listener, door, Arc::clone(&forge))
            });
            tokio::select! {
                () = web => {}
                () = api => {}
                () = downloads => {}
                _ = stopped => {}
            }
        });
        // Ends all connections, and with them their children; does not wait for what an API call still does.
        runtime.shutdown_background();
    });
    Stop { signal: Some(signal), thread: Some(thread) }
}

async fn accept(listener: TcpListener, door: Door, forge: Arc<Inner>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let forge = Arc::clone(&forge);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request| answer(request, door, &forge));
            // Connections that break are the clients' business.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// Who answers a request.
enum Target {
    /// The repository, and the path below it.
    Git(String, String),
    /// The path below the API's beginning.
    Api(String),
    Download,
}

impl Target {
    fn part(&self) -> Part {
        match self {
            Target::Git(..) => Part::Git,
            Target::Api(_) => Part::Api,
            Target::Download => Part::Downloads,
        }
    }
}

fn target(forge: &Inner, door: Door, path: &str) -> Target {
    let shape = forge.family.shape();
    match door {
        Door::Downloads => return Target::Download,
        Door::Api if shape.has_api_door() => return Target::Api(path.to_owned()),
        Door::Api | Door::Web => {}
    }
    if let Some((name, rest)) = shape.git_path(path) {
        return Target::Git(name, rest);
    }
    if shape.is_download(path) {
        return Target::Download;
    }
    Target::Api(path.strip_prefix(shape.api_prefix()).unwrap_or("/").to_owned())
}

/// An error closes the connection without an answer.
async fn answer(
    request: Request<Incoming>,
    door: Door,
    forge: &Arc<Inner>,
) -> Result<Response<Pipe>, &'static str> {
    let (head, body) = request.into_parts();
    let target = target(forge, door, head.uri.path());
    let headers: Vec<(String, String)> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let body = body.collect().await.map_err(|_| "the request broke off")?.to_bytes();
    let seen = SeenRequest {
        door,
        method: head.method.to_string(),
        target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        authorization: head
            .headers
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        headers,
        body: body.clone(),
    };
    let fault = {
        let mut state = forge.state();
        state.requests.push(seen.clone());
        state.faults.get_mut(&target.part()).map_or(Fault::None, Fault::next)
    };
    if let Some(answer) = misbehave(forge, &fault, &seen.target).await? {
        return respond(answer, &Fault::None);
    }
    let answer = match target {
        Target::Git(name, rest) => match refused_git(forge, &seen, &name) {
            Some(answer) => answer,
            None => {
                let slow = if let Fault::Slow(bytes_per_s) = fault { Some(bytes_per_s) } else { None };
                let path = format!("/{}.git{rest}", stored_name(forge, &name));
                return cgi::answer(Request::from_parts(head, body), forge.folder.path(), &path, slow).await;
            }
        },
        Target::Api(path) => called(forge, call(&seen, &path, door, forge), false).await?,
        Target::Download => {
            let path = head.uri.path().to_owned();
            called(forge, call(&seen, &path, door, forge), true).await?
        }
    };
    respond(answer, &fault)
}

/// What a fault answers instead of the forge, if anything.
async fn misbehave(forge: &Inner, fault: &Fault, target: &str) -> Result<Option<Answer>, &'static str> {
    Ok(Some(match fault {
        Fault::None | Fault::Slow(_) | Fault::Cut(_) | Fault::Times(..) => return Ok(None),
        Fault::Status(status) => Answer::text(*status, "a fault that was asked for"),
        Fault::Body(status, body) => Answer::text(*status, body),
        Fault::Hang => std::future::pending().await,
        Fault::Refuse => return Err("refused, as was asked for"),
        Fault::Redirect(base) => Answer::redirect(302, format!("{base}{target}")),
        Fault::RedirectTo(address) => Answer::redirect(302, address.clone()),
        Fault::Limited(seconds) => forge.family.shape().limited(*seconds),
    }))
}

/// Why git is not let in, where it is not.
fn refused_git(forge: &Inner, seen: &SeenRequest, name: &str) -> Option<Answer> {
    let sent = seen.authorization.as_deref().and_then(read_basic);
    let users = forge.family.shape().git_users();
    let is_user = |user: &str| users.is_empty() || users.contains(&user);
    let token = sent.filter(|(user, _)| is_user(user)).map(|(_, password)| password);
    let has_failed = seen.authorization.is_some() && token.is_none();
    let refusal = match forge.admit(token.as_deref(), name, Grant::Read) {
        Ok(_) if !has_failed => return None,
        // `git http-backend` says in its own words that there is nothing.
        Err(Refusal::Unseen) if !forge.state().is_private && !has_failed => return None,
        Ok(_) => Refusal::BadToken,
        Err(refusal) => refusal,
    };
    Some(match refusal {
        Refusal::Forbidden(_) => Answer::text(403, "this token may not fetch"),
        Refusal::Unseen if token.is_some() => Answer::text(404, "Repository not found."),
        _ => Answer::text(401, "a token is needed").with("www-authenticate", "Basic realm=\"fake\""),
    })
}

/// The name as the repository was made, whatever the case of the one asked for.
fn stored_name(forge: &Inner, name: &str) -> String {
    let state = forge.state();
    let stored = state.repositories.keys().find(|stored| stored.eq_ignore_ascii_case(name));
    stored.cloned().unwrap_or_else(|| name.to_owned())
}

fn call(seen: &SeenRequest, path: &str, door: Door, forge: &Inner) -> Call {
    let address = match door {
        Door::Web => forge.doors.web,
        Door::Api => forge.doors.api,
        Door::Downloads => forge.doors.downloads,
    };
    let (whole, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    Call {
        method: seen.method.clone(),
        parts: parts(path),
        query: pairs(query),
        headers: seen.headers.clone(),
        body: seen.body.clone(),
        url: format!("http://{address}{whole}"),
    }
}

/// Answers beside the server's own thread: git may be run for it.
async fn called(forge: &Arc<Inner>, call: Call, is_download: bool) -> Result<Answer, &'static str> {
    let forge = Arc::clone(forge);
    let work = tokio::task::spawn_blocking(move || {
        let shape = forge.family.shape();
        if is_download { shape.download(&forge, &call) } else { shape.api(&forge, &call) }
    });
    // A panic has been printed by then, and the client notices.
    work.await.map_err(|_| "the fake panicked")
}

fn respond(answer: Answer, fault: &Fault) -> Result<Response<Pipe>, &'static str> {
    let Answer { status, headers, mut body } = answer;
    let length = body.len();
    if let Fault::Cut(bytes) = fault {
        body.truncate(*bytes);
    }
    let slow = if let Fault::Slow(bytes_per_s) = fault { Some(*bytes_per_s) } else { None };
    let mut response = Response::new(Pipe::of(body, slow));
    *response.status_mut() = hyper::StatusCode::from_u16(status).map_err(|_| "not a status")?;
    for (name, value) in headers {
        response.headers_mut().append(name, value.parse().map_err(|_| "not a header")?);
    }
    if status != 204 && status != 304 {
        response.headers_mut().insert("content-length", length.into());
    }
    Ok(response)
}
