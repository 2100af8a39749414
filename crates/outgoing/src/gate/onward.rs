//! From the gate to the server.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Shared;
use crate::client::judge_unresolved;
use crate::error::Error;
use crate::proxy::Proxy;
use crate::resolve::Checked;
use crate::url::Host;

/// A connection to a server, direct or through a proxy.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects to what may be connected to.
pub(super) async fn connect(
    shared: &Shared,
    host: &Host,
    port: u16,
    is_own: bool,
) -> Result<Box<dyn Stream>, Error> {
    let rules = if is_own { &shared.operators } else { &shared.strangers };
    let time = shared.options.connect;
    match shared.options.upstream.as_ref().filter(|proxy| !proxy.skips(host)) {
        None => Ok(Box::new(direct(rules, host, port, time).await?)),
        Some(proxy) => {
            judge_unresolved(&rules.reach, host)?;
            through(shared, proxy, host, port).await
        }
    }
}

/// Looks up, checks, connects to what was checked.
async fn direct(rules: &Checked, host: &Host, port: u16, time: Duration) -> Result<TcpStream, Error> {
    let failed = |why: String| Error::Connect { host: host.to_string(), why };
    let (asked, name) = (rules.clone(), host.clone());
    let addresses = spawn_blocking(move || asked.addresses(&name, port, time))
        .await
        .map_err(|_| failed("the lookup broke down".to_owned()))??;
    match timeout(time, TcpStream::connect(addresses.as_slice())).await {
        Ok(Ok(stream)) => {
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(Error::Timeout { host: host.to_string(), what: "connecting" }),
    }
}

/// Asks the operator's proxy for a tunnel.
async fn through(shared: &Shared, proxy: &Proxy, host: &Host, port: u16) -> Result<Box<dyn Stream>, Error> {
    let refused = |why: String| Error::Proxy { host: host.to_string(), why };
    let time = shared.options.connect;
    let server = Host::parse(proxy.inner.host()).map_err(|_| refused("it has no valid name".to_owned()))?;
    let stream = direct(&shared.operators, &server, proxy.inner.port(), time).await?;
    let tunnel = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the tunnel, whose other half it is.
        tokio::spawn(connection.with_upgrades());
        let response = sender.send_request(ask(proxy, host, port)).await?;
        let status = response.status();
        if !status.is_success() {
            return Ok(Err(status.as_u16()));
        }
        hyper::upgrade::on(response).await.map(Ok)
    };
    match timeout(time, tunnel).await {
        Ok(Ok(Ok(upgraded))) => Ok(Box::new(TokioIo::new(upgraded))),
        Ok(Ok(Err(status))) => Err(refused(format!("proxy server responded {status}"))),
        Ok(Err(error)) => Err(refused(io::Error::other(error).to_string())),
        Err(_) => Err(Error::Timeout { host: host.to_string(), what: "waiting for the proxy" }),
    }
}

fn ask(proxy: &Proxy, host: &Host, port: u16) -> Request<Empty<Bytes>> {
    let target = format!("{host}:{port}");
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = target.parse().expect("a host and a port are the target of CONNECT");
    let header = |text: String| HeaderValue::from_str(&text).expect("a host or base64 can be sent");
    request.headers_mut().insert(HOST, header(target));
    if let Some(user) = proxy.inner.username() {
        let both = format!("{user}:{}", proxy.inner.password().unwrap_or_default());
        request.headers_mut().insert(PROXY_AUTHORIZATION, header(format!("Basic {}", STANDARD.encode(both))));
    }
    request
}
