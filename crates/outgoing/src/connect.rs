//! How the HTTP library is made to connect to checked addresses only.

use std::time::Duration;

use ureq::Error as Lib;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector, SocksConnector,
    TcpConnector, Transport,
};

use crate::error::Error;
use crate::resolve::Checked;
use crate::url::Host;

/// What is asked for by the library is looked up here, and it connects to the addresses that it gets.
impl Resolver for Checked {
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Lib> {
        let ours = |error: Error| Lib::Other(Box::new(error));
        let host = uri.host().and_then(|host| Host::parse(host).ok()).ok_or(Lib::HostNotFound)?;
        let default = match uri.scheme_str() {
            Some("https") => 443,
            Some("http") => 80,
            // What is left are the proxies of SOCKS.
            _ => 1080,
        };
        let within: Duration = *timeout.after;
        let found = self.addresses(&host, uri.port_u16().unwrap_or(default), within).map_err(ours)?;
        let mut addresses = self.empty();
        for address in found {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

/// A connector that looks the proxy up: it is the operator's own, so other rules hold for it.
#[derive(Debug)]
struct ToProxy<C> {
    inner: C,
    resolver: Checked,
}

impl<In: Transport, C: Connector<In>> Connector<In> for ToProxy<C> {
    type Out = C::Out;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<C::Out>, Lib> {
        let details = ConnectionDetails {
            uri: details.uri,
            addrs: details.addrs.clone(),
            config: details.config,
            request_level: details.request_level,
            resolver: &self.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        self.inner.connect(&details, chained)
    }
}

/// The library's own chain of connectors, but that a proxy is looked up by `operators`.
pub(crate) fn connector(operators: &Checked) -> impl Connector {
    let to_socks = ToProxy { inner: SocksConnector::default(), resolver: operators.clone() };
    let to_connect = ToProxy { inner: ConnectProxyConnector::default(), resolver: operators.clone() };
    ().chain(to_socks).chain(to_connect).chain(TcpConnector::default()).chain(RustlsConnector::default())
}
