//! Connections to other machines, and the border around them: no private address is reached for a
//! stranger's URL.
//!
//! Strangers write URLs: in lists of submodules, in answers of large-file servers, in redirects. Such a URL
//! may name a machine that only we can reach: the database beside us, or the cloud's metadata service. So what
//! is checked is not the name or how an address is written, but each address that is about to be connected to
//! ([`Reach`]). What the operator wrote into the configuration is not a stranger's: his forge may stand in his
//! own network.
//!
//! - [`Client`] makes HTTP calls, with bounds on everything.
//! - [`Gate`] is a proxy on the loopback for programs that connect by themselves: `git` and `git-lfs`.
//!
//! Both know no forge and read no settings; the system's root certificates are read the way other programs
//! read them, `SSL_CERT_FILE` and `SSL_CERT_DIR` included.

mod address;
mod client;
mod connect;
mod error;
mod gate;

mod proxy;
mod reach;
mod request;
mod resolve;
mod tls;
mod url;

pub use crate::client::{Client, Options};
pub use crate::error::Error;
pub use crate::gate::{Gate, GateOptions, Pass, Refusal};
pub use crate::proxy::{Proxy, ProxyError};
pub use crate::reach::{NotPublic, Reach};
pub use crate::request::{HeaderError, Request, Response, Whose};
pub use crate::resolve::{Resolve, System};
pub use crate::tls::{RootError, check_roots};
pub use crate::url::{Host, Url, UrlError};
pub use ureq::http::{HeaderMap, Method};
