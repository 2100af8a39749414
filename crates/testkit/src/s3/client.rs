//! [`Client`]: sends signed requests, one on each connection, for what a test wants to know besides the program.

use std::time::Duration;

use super::sign::{Signed, sha256};
use crate::forge::clock::{now_s, rfc3339};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// Whom requests go to and how they are signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// `http://127.0.0.1:<port>`, without a slash at its end.
    pub endpoint: String,
    /// Whom they are signed as.
    pub access_key: String,
    /// With what.
    pub secret_key: String,
    /// For which region.
    pub region: String,
}

/// What was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// 200, 404 …
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Client {
    /// Sends one request. `target` is path and query, percent-encoded. Names of `headers` are in lower case; all are
    /// signed.
    ///
    /// # Errors
    ///
    /// Where no whole answer came; an answer with a status that is not a success is none.
    pub fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, String> {
        let payload = sha256(body);
        let time = rfc3339(now_s()).replace(['-', ':'], "");
        let host = self.endpoint.trim_start_matches("http://");
        let own = [("host", host), ("x-amz-content-sha256", &payload), ("x-amz-date", &time)];
        let all = own.iter().chain(headers).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let signed = Signed {
            method,
            target,
            headers: all.collect(),
            payload: &payload,
            region: &self.region,
            time: &time,
        };
        let authorization = signed.authorization(&self.access_key, &self.secret_key);
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("{}{target}", self.endpoint));
        for (name, value) in own.iter().chain(headers).chain([&("authorization", authorization.as_str())]) {
            request = request.header(*name, *value);
        }
        run(request, body).map_err(|error| format!("{method} {target}: {error}"))
    }

    /// The same, with another status as an error.
    ///
    /// # Errors
    ///
    /// As before, and with what was answered.
    pub fn expect(
        &self,
        status: u16,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Reply, String> {
        let reply = self.send(method, target, headers, body)?;
        if reply.status == status {
            return Ok(reply);
        }
        Err(format!("{method} {target}: answered {}, expected {status}: {}", reply.status, reply.text()))
    }
}

fn run(request: ureq::http::request::Builder, body: &[u8]) -> Result<Reply, ureq::Error> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(PATIENCE))
        .build()
        .into();
    let has_body = request.method_ref().is_some_and(|method| method == "PUT" || method == "POST");
    let mut response =
        if has_body { agent.run(request.body(body)?)? } else { agent.run(request.body(())?)? };
    let pair = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Ok(Reply {
        status: response.status().as_u16(),
        headers: response.headers().iter().map(pair).collect(),
        body: response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?,
    })
}
