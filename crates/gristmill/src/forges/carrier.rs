//! Carries the calls of the forges' APIs over HTTP.

use std::sync::Arc;

use gristmill_forge::api::{Answer, Call, Method};
use gristmill_model::PublicReason;
use gristmill_outgoing::{Client, Request, Response, Url, Whose};

use super::{CallError, Carry};

/// By this client. The addresses are the operator's: they follow from the configuration alone.
pub fn over(client: Client) -> Arc<Carry> {
    Arc::new(move |call| {
        let request = request(call)?;
        let response = client.call(&request);
        let failed = |error: gristmill_outgoing::Error| CallError::Carry {
            text: error.to_string(),
            is_transient: error.is_transient(),
            public: error.is_transient().then_some(PublicReason::NotReached),
        };
        Ok(answer(&response.map_err(failed)?))
    })
}

pub(super) fn request(call: Call) -> Result<Request, CallError> {
    let failed = |text: String| CallError::Carry { text, is_transient: false, public: None };
    let url: Url = call.url.parse().map_err(|error| failed(format!("the forge's API: {error}")))?;
    let method = match call.method {
        Method::Get => gristmill_outgoing::Method::GET,
        Method::Post => gristmill_outgoing::Method::POST,
        Method::Put => gristmill_outgoing::Method::PUT,
        Method::Patch => gristmill_outgoing::Method::PATCH,
        Method::Delete => gristmill_outgoing::Method::DELETE,
    };
    let mut request = Request::new(method, url, Whose::Operators)
        .body_bytes_max(u64::try_from(call.answer_bytes_max).unwrap_or(u64::MAX));
    for header in &call.headers {
        let with = if header.secret {
            request.secret(header.name, &header.value)
        } else {
            request.header(header.name, &header.value)
        };
        request = with.map_err(|error| failed(error.to_string()))?;
    }
    Ok(match call.body {
        Some(body) => request.body(body),
        None => request,
    })
}

pub(super) fn answer(response: &Response) -> Answer {
    let headers = response.headers().iter();
    Answer {
        status: response.status(),
        headers: headers
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect(),
        body: response.body().to_vec(),
    }
}
