//! [`Error`]: why a call came to nothing.

use std::io;

use crate::url::UrlError;

/// Why a call came to nothing. None of these holds a query, a header or a body: the host is all that is named.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address, or one of its addresses, must not be connected to.
    #[error(
        "{host} is not connected to: {why}, and addresses found in repositories and answers must be public or lie in [network] allow"
    )]
    Refused {
        /// The host as the URL has it.
        host: String,
        /// Of which kind the address is; which it is, only where the URL has it itself.
        why: String,
    },
    /// The name has no address, or nobody could say.
    #[error("{host} was not found: its name could not be looked up")]
    Lookup {
        /// The name.
        host: String,
    },
    /// No connection.
    #[error("{host} could not be connected to: {why}")]
    Connect {
        /// The host as the URL has it.
        host: String,
        /// The system's word for it.
        why: String,
    },
    /// A connection that could not be made private.
    #[error("{host} could not prove who it is, or speaks another TLS: {why}")]
    Tls {
        /// The host as the URL has it.
        host: String,
        /// What the TLS library found.
        why: String,
    },
    /// The proxy did not let us through.
    #[error("the proxy did not connect to {host}: {why}")]
    Proxy {
        /// The host behind it.
        host: String,
        /// Its status.
        why: String,
    },
    /// It took too long.
    #[error("{host} took too long: {what}")]
    Timeout {
        /// The host as the URL has it.
        host: String,
        /// What was waited for.
        what: &'static str,
    },
    /// The connection ended in the middle.
    #[error("the connection to {host} ended before the answer was whole: {why}")]
    Cut {
        /// The host as the URL has it.
        host: String,
        /// The system's word for it.
        why: String,
    },
    /// What came is not HTTP.
    #[error("{host} gave an answer that is not understood: {why}")]
    Protocol {
        /// The host as the URL has it.
        host: String,
        /// What was wrong.
        why: String,
    },
    /// The answer is larger than was asked for.
    #[error("{host} answered with more than {bytes_max} bytes")]
    TooLarge {
        /// The host as the URL has it.
        host: String,
        /// The limit of the body, or of the head.
        bytes_max: u64,
    },
    /// A redirect too many.
    #[error("{host} redirects further; at most {max} redirects are followed")]
    Redirects {
        /// The host that sent the last one.
        host: String,
        /// How many are followed.
        max: u8,
    },
    /// A redirect from https to http.
    #[error("{host} redirects from https to an address that is not encrypted, which is not followed")]
    Downgrade {
        /// The host that redirects.
        host: String,
    },
    /// A redirect to what is no address.
    #[error("{host} redirects to what cannot be called: {why}")]
    Location {
        /// The host that redirects.
        host: String,
        /// What is wrong with the address.
        why: UrlError,
    },
    /// The caller wanted no more.
    #[error("the call was cancelled")]
    Cancelled,
    /// Where the body was written to could not take it.
    #[error("the answer could not be written down: {0}")]
    Output(#[source] io::Error),
}

impl Error {
    /// Whether the same call may do better later.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Lookup { .. } | Error::Connect { .. } | Error::Timeout { .. } | Error::Cut { .. } => true,
            // 403 and 407 of a proxy are its rules; what is wrong with the server behind is 5xx.
            Error::Proxy { why, .. } => !why.contains("responded 4"),
            _ => false,
        }
    }

    /// Our error out of the library's, for a call of `host`.
    pub(crate) fn of(error: ureq::Error, host: &str) -> Error {
        let host = host.to_owned();
        match error {
            ureq::Error::Other(inner) => match inner.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(_) => Error::Protocol { host, why: "an unknown error".to_owned() },
            },
            ureq::Error::HostNotFound => Error::Lookup { host },
            ureq::Error::Timeout(what) => Error::Timeout { host, what: waited_for(what) },
            ureq::Error::ConnectProxyFailed(why) => Error::Proxy { host, why },
            ureq::Error::LargeResponseHeader(_, max) => Error::TooLarge { host, bytes_max: max as u64 },
            ureq::Error::Rustls(why) => Error::Tls { host, why: why.to_string() },
            ureq::Error::Tls(why) => Error::Tls { host, why: why.to_owned() },
            ureq::Error::Io(error) => Error::of_io(&error, host),
            ureq::Error::ConnectionFailed => Error::Connect { host, why: "no reason was given".to_owned() },
            ureq::Error::Protocol(_) => {
                Error::Protocol { host, why: "it is not HTTP/1.1 as expected".to_owned() }
            }
            // The others are about settings that are not used. Their texts may have addresses in them.
            _ => Error::Protocol { host, why: "the HTTP library refused it".to_owned() },
        }
    }

    fn of_io(error: &io::Error, host: String) -> Error {
        use io::ErrorKind::{
            AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable, PermissionDenied,
            TimedOut,
        };
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Error::Tls { host, why: tls.to_string() };
        }
        let why = error.to_string();
        match error.kind() {
            TimedOut => Error::Timeout { host, what: "connecting" },
            ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable
            | PermissionDenied => Error::Connect { host, why },
            _ => Error::Cut { host, why },
        }
    }
}

fn waited_for(what: ureq::Timeout) -> &'static str {
    match what {
        ureq::Timeout::Resolve => "looking its name up",
        ureq::Timeout::Connect => "connecting",
        ureq::Timeout::Global | ureq::Timeout::PerCall => "the whole call",
        ureq::Timeout::RecvResponse => "waiting for an answer",
        _ => "nothing was sent or received any more",
    }
}
