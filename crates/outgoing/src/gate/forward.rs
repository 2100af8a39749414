//! One connection of a program to the gate.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::Shared;
use super::onward::{self, Stream};
use super::pass::Holder;
use crate::error::Error;
use crate::url::{Host, Url, host_and_port};

type Body = BoxBody<Bytes, hyper::Error>;

/// What a connection is, beyond its bytes.
pub(super) struct Connection {
    shared: Arc<Shared>,
    /// What is to be joined when the program has read that its `CONNECT` was granted.
    tunnel: Mutex<Option<(OnUpgrade, Box<dyn Stream>)>>,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>) -> Connection {
        Connection { shared, tunnel: Mutex::default() }
    }

    /// Answers a request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let authorization = request.headers().get(PROXY_AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(holder) = authorization.and_then(|value| self.shared.passes.holder(value)) else {
            let mut response =
                said(StatusCode::PROXY_AUTHENTICATION_REQUIRED, "The gate is for its owner only.");
            let basic = HeaderValue::from_static("Basic realm=\"gristmill\"");
            response.headers_mut().insert(PROXY_AUTHENTICATE, basic);
            return Ok(response);
        };
        Ok(if request.method() == Method::CONNECT {
            self.connect(request, &holder).await
        } else {
            self.forward(request, &holder).await
        })
    }

    /// Joins the two sides, where a tunnel was asked for, until one of them ends.
    pub(super) async fn tunnel(&self) {
        let waiting = self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((upgrade, mut server)) = waiting else { return };
        if let Ok(program) = upgrade.await {
            // How it ends is the two sides' own matter.
            let _ = copy_bidirectional(&mut TokioIo::new(program), &mut server).await;
        }
    }

    async fn connect(&self, mut request: Request<Incoming>, holder: &Holder) -> Response<Body> {
        let target = request.uri().authority().map(|authority| host_and_port(authority.as_str(), None));
        let Some(Ok((host, port))) = target else {
            return said(StatusCode::BAD_REQUEST, "Expected CONNECT host:port.");
        };
        match self.onward(&host, port, holder).await {
            Ok(server) => {
                let upgrade = hyper::upgrade::on(&mut request);
                *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some((upgrade, server));
                Response::new(empty())
            }
            Err(refused) => refused,
        }
    }

    async fn forward(&self, request: Request<Incoming>, holder: &Holder) -> Response<Body> {
        let Ok(url) = request.uri().to_string().parse::<Url>() else {
            return said(StatusCode::BAD_REQUEST, "Expected CONNECT host:port, or a whole http:// address.");
        };
        if url.is_https() {
            return said(StatusCode::BAD_REQUEST, "Expected CONNECT for https.");
        }
        let server = match self.onward(url.host(), url.port(), holder).await {
            Ok(server) => server,
            Err(refused) => return refused,
        };
        let failed = || {
            let error = Error::Cut { host: url.host().to_string(), why: "it gave no answer".to_owned() };
            problem(holder, url.host(), url.port(), error)
        };
        let Ok((mut sender, connection)) = hyper::client::conn::http1::handshake(TokioIo::new(server)).await
        else {
            return failed();
        };
        // It ends with the request and the answer, which are this connection's.
        tokio::spawn(connection);
        match sender.send_request(onto(request, &url)).await {
            Ok(mut response) => {
                without_hops(response.headers_mut());
                response.map(BodyExt::boxed)
            }
            Err(_) => failed(),
        }
    }

    async fn onward(
        &self,
        host: &Host,
        port: u16,
        holder: &Holder,
    ) -> Result<Box<dyn Stream>, Response<Body>> {
        let is_own = holder.owns(host, port);
        let connected = onward::connect(&self.shared, host, port, is_own).await;
        connected.map_err(|error| problem(holder, host, port, error))
    }
}

/// The request as it goes to the server: its path alone, and nothing that was for the gate.
fn onto(mut request: Request<Incoming>, url: &Url) -> Request<Incoming> {
    let path = url.as_str()[url.origin().len()..].parse();
    *request.uri_mut() = path.expect("it was part of an address that was read");
    without_hops(request.headers_mut());
    let host = url.origin().trim_start_matches("http://");
    request.headers_mut().insert(HOST, HeaderValue::from_str(host).expect("a host can be sent"));
    request
}

/// Takes out what is between two neighbours only, RFC 9110, 7.6.1.
fn without_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let always = [CONNECTION, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
    let more = ["proxy-connection", "keep-alive"].map(HeaderName::from_static);
    for name in named.iter().chain(&always).chain(&more) {
        headers.remove(name);
    }
}

/// Records why there is no connection, and says it.
fn problem(holder: &Holder, host: &Host, port: u16, error: Error) -> Response<Body> {
    let status = match &error {
        Error::Refused { .. } => StatusCode::FORBIDDEN,
        Error::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    let text = error.to_string();
    holder.record(format!("{host}:{port}"), error);
    said(status, &text)
}

fn said(status: StatusCode, text: &str) -> Response<Body> {
    let whole = Full::new(Bytes::from(format!("{text}\n"))).map_err(|never| match never {}).boxed();
    let mut response = Response::new(whole);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn empty() -> Body {
    Full::new(Bytes::new()).map_err(|never| match never {}).boxed()
}
