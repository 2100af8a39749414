//! [`Client`]: HTTP calls with bounds on everything.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http;
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

use crate::connect::connector;
use crate::error::Error;
use crate::proxy::Proxy;
use crate::reach::Reach;
use crate::request::{Request, Response, Whose, redirect};
use crate::resolve::{Checked, Resolve, System};
use crate::tls::{self, RootError};
use crate::url::Host;

/// How long looking a name up and connecting may take, each.
const CONNECT: Duration = Duration::from_secs(10);
/// How long nothing may come.
const IDLE: Duration = Duration::from_secs(30);
/// How large the head of an answer may be, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How much is kept of what a server says about a download that it refuses, in bytes.
const REFUSAL_BYTES_MAX: u64 = 16 << 10;
/// A piece of a body, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// What a [`Client`] is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where strangers' URLs may lead.
    pub reach: Reach,
    /// The operator's proxy.
    pub proxy: Option<Proxy>,
    /// Root certificates in PEM besides the system's, or empty.
    pub roots: Vec<u8>,
    /// What looks names up.
    pub resolve: Arc<dyn Resolve>,
    /// `User-Agent`.
    pub user_agent: String,
    /// How long looking a name up and connecting may take, each.
    pub connect: Duration,
    /// How long nothing may come or go.
    pub idle: Duration,
}

impl Options {
    /// The system's names and roots, no proxy.
    pub fn new(reach: Reach, user_agent: &str) -> Options {
        Options {
            reach,
            proxy: None,
            roots: Vec::new(),
            resolve: Arc::new(System),
            user_agent: user_agent.to_owned(),
            connect: CONNECT,
            idle: IDLE,
        }
    }
}

/// Makes HTTP calls; each blocks its thread. Clones share their connections.
///
/// It keeps no cookies. Connections for the operator's URLs and for strangers' are never mixed: one that was
/// made for the first kind is not taken again for the second.
#[derive(Clone)]
pub struct Client {
    operators: Agents,
    strangers: Agents,
    reach: Reach,
    proxy: Option<Proxy>,
    roots: usize,
}

#[derive(Clone)]
struct Agents {
    direct: Agent,
    proxied: Option<Agent>,
}

impl Client {
    /// A client by these options.
    ///
    /// # Errors
    ///
    /// [`RootError`].
    pub fn new(options: Options) -> Result<Client, RootError> {
        let (tls, roots) = tls::config(&options.roots)?;
        let operators = Checked::new(Arc::clone(&options.resolve), Reach::anywhere());
        let strangers = Checked { reach: options.reach.clone(), ..operators.clone() };
        let agent = |checked: &Checked, proxy: Option<&Proxy>| {
            let config = config(&options, &tls, proxy);
            Agent::with_parts(config, connector(&operators), checked.clone())
        };
        let agents = |checked: &Checked| Agents {
            direct: agent(checked, None),
            proxied: options.proxy.as_ref().map(|proxy| agent(checked, Some(proxy))),
        };
        Ok(Client {
            operators: agents(&operators),
            strangers: agents(&strangers),
            reach: options.reach.clone(),
            proxy: options.proxy.clone(),
            roots,
        })
    }

    /// How many root certificates there are. Without any, no https call succeeds.
    pub fn roots(&self) -> usize {
        self.roots
    }

    /// Makes a call whose answer is kept in memory, whatever its status.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn call(&self, request: &Request) -> Result<Response, Error> {
        let mut body = Vec::new();
        let never = AtomicBool::new(false);
        let (mut response, mut incoming) = self.answer(request)?;
        let mut reading = Reading { host: response.url.host(), max: request.body_bytes_max, cancel: &never };
        let bytes = reading.copy(&mut incoming, &mut body)?;
        (response.body, response.body_bytes) = (body, bytes);
        Ok(response)
    }

    /// Makes a call whose answer is written to `output` where the status is 2xx; else [`Response::body`] is the
    /// beginning of it. `cancel` is looked at between pieces. After an error `output` may have a part of the answer.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn download(
        &self,
        request: &Request,
        output: &mut dyn Write,
        cancel: &AtomicBool,
    ) -> Result<Response, Error> {
        let (mut response, mut incoming) = self.answer(request)?;
        if !response.is_success() {
            let mut limited = incoming.as_reader().take(REFUSAL_BYTES_MAX);
            // The status says enough where this is broken.
            let _ = limited.read_to_end(&mut response.body);
            response.body_bytes = response.body.len() as u64;
            return Ok(response);
        }
        let mut reading = Reading { host: response.url.host(), max: request.body_bytes_max, cancel };
        response.body_bytes = reading.copy(&mut incoming, output)?;
        Ok(response)
    }

    /// The head of the answer, after redirects, and its body to be read.
    fn answer(&self, request: &Request) -> Result<(Response, Body), Error> {
        let started = Instant::now();
        let mut request = request.clone();
        let max = request.follow;
        let follows = max > 0 && matches!(request.method, http::Method::GET | http::Method::HEAD);
        for hop in 0.. {
            let (parts, body) = self.once(&request, started)?.into_parts();
            let (status, headers) = (parts.status.as_u16(), parts.headers);
            let next = redirect(status, &headers, &request.url).filter(|_| follows);
            let Some(next) = next else {
                let url = request.url;
                return Ok((Response { status, headers, body: Vec::new(), body_bytes: 0, url }, body));
            };
            let (next, host) = (next?, request.url.host().to_string());
            if hop >= max {
                return Err(Error::Redirects { host, max });
            }
            if request.url.is_https() && !next.is_https() {
                return Err(Error::Downgrade { host });
            }
            request.redirect_to(next);
        }
        unreachable!("the loop ends at the latest when the redirects are too many")
    }

    fn once(&self, request: &Request, started: Instant) -> Result<http::Response<Body>, Error> {
        let host = request.url.host().to_string();
        let agent = self.agent(request)?;
        let left = request.total.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(Error::Timeout { host, what: "the whole call" });
        }
        let mut message = http::Request::new(());
        *message.method_mut() = request.method.clone();
        *message.uri_mut() = request.url.as_str().parse().expect("a Url was parsed as a Uri before");
        *message.headers_mut() = request.headers.clone();
        let has_body = !request.body.is_empty()
            || matches!(request.method, http::Method::POST | http::Method::PUT | http::Method::PATCH);
        let answer = if has_body {
            let message = message.map(|()| request.body.as_slice());
            agent.run(agent.configure_request(message).timeout_global(Some(left)).build())
        } else {
            agent.run(agent.configure_request(message).timeout_global(Some(left)).build())
        };
        answer.map_err(|error| Error::of(error, &host))
    }

    /// Who is to connect. Where a proxy looks names up, what can be judged here is judged here.
    fn agent(&self, request: &Request) -> Result<&Agent, Error> {
        let host = request.url.host();
        let agents = match request.whose {
            Whose::Operators => &self.operators,
            Whose::Strangers => &self.strangers,
        };
        let proxy = self.proxy.as_ref().filter(|proxy| !proxy.skips(host));
        let (Some(_), Some(proxied)) = (proxy, &agents.proxied) else { return Ok(&agents.direct) };
        if request.whose == Whose::Strangers {
            judge_unresolved(&self.reach, host)?;
        }
        Ok(proxied)
    }
}

/// Refuses a host that a proxy is asked for, where it needs no lookup to be sure.
pub(crate) fn judge_unresolved(reach: &Reach, host: &Host) -> Result<(), Error> {
    let refused = |why: String| Error::Refused { host: host.to_string(), why };
    match host {
        Host::Address(address) => reach.check(*address).map_err(|why| refused(why.to_string())),
        Host::Name(_) if host.is_special_name() && !reach.is_anywhere() => {
            Err(refused("it is a name of this machine or of a cloud's metadata service".to_owned()))
        }
        Host::Name(_) => Ok(()),
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("reach", &self.reach)
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

fn config(options: &Options, tls: &TlsConfig, proxy: Option<&Proxy>) -> Config {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(proxy.map(|proxy| proxy.inner.clone()))
        .tls_config(tls.clone())
        .user_agent(options.user_agent.as_str())
        // What comes is stored or parsed as it is: there is nothing to unpack, and no bomb.
        .accept_encoding("identity")
        .max_response_header_size(HEAD_BYTES_MAX)
        .timeout_resolve(Some(options.connect))
        .timeout_connect(Some(options.connect))
        .timeout_recv_response(Some(options.idle))
        .timeout_per_read(Some(options.idle))
        .timeout_per_write(Some(options.idle))
        .build()
}

/// Reads a body to its end, within bounds.
struct Reading<'a> {
    host: &'a Host,
    max: u64,
    cancel: &'a AtomicBool,
}

impl Reading<'_> {
    fn copy(&mut self, body: &mut Body, output: &mut dyn Write) -> Result<u64, Error> {
        let too_large = || Error::TooLarge { host: self.host.to_string(), bytes_max: self.max };
        if body.content_length().is_some_and(|length| length > self.max) {
            return Err(too_large());
        }
        let mut reader = body.as_reader();
        let mut piece = vec![0; PIECE_BYTES];
        let mut bytes = 0;
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            let read = reader
                .read(&mut piece)
                .map_err(|error| Error::of(ureq::Error::from(error), &self.host.to_string()))?;
            if read == 0 {
                return Ok(bytes);
            }
            bytes += read as u64;
            if bytes > self.max {
                return Err(too_large());
            }
            output.write_all(&piece[..read]).map_err(Error::Output)?;
        }
    }
}
