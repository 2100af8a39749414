//! HTTP as the environment wants it: by proxies, with certificates of its own, or with neither.

use std::fmt;
use std::net::IpAddr;

use aws_sdk_s3::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

use crate::bucket::{BucketAccess, BucketCredentials};

/// What is gone through to a bucket, and to servers that give credentials for it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    none_for: String,
}

/// There may be a password in them.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxies(…)")
    }
}

/// A proxy's address that is none, or one of a kind that is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected the address of a proxy, such as http://proxy.example.org:3128")]
pub struct ProxyAddressError;

fn config(address: &str, none_for: &str) -> Result<ProxyConfig, ProxyAddressError> {
    // As curl has it.
    let full = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let config = ProxyConfig::all(full).map_err(|_| ProxyAddressError)?;
    Ok(if none_for.is_empty() { config } else { config.no_proxy(none_for) })
}

impl Proxies {
    /// The same with one for `http:`.
    ///
    /// # Errors
    ///
    /// [`ProxyAddressError`], here and below.
    pub fn for_http(self, address: &str) -> Result<Proxies, ProxyAddressError> {
        config(address, "").map(|_| Proxies { http: Some(address.to_owned()), ..self })
    }

    /// The same with one for `https:`.
    ///
    /// # Errors
    pub fn for_https(self, address: &str) -> Result<Proxies, ProxyAddressError> {
        config(address, "").map(|_| Proxies { https: Some(address.to_owned()), ..self })
    }

    /// The same, but for these names, addresses and networks, with commas between them.
    pub fn without(self, none_for: &str) -> Proxies {
        Proxies { none_for: none_for.to_owned(), ..self }
    }

    fn is_none(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }
}

/// The client for a bucket. Only what is known to speak without TLS goes without certificates.
pub(super) fn client(access: &BucketAccess) -> SharedHttpClient {
    let proxies = &access.proxies;
    let is_plain = access.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"))
        && matches!(access.credentials, BucketCredentials::Keys(_))
        && access.role.is_none();
    if is_plain && proxies.is_none() {
        return Builder::new().build_http();
    }
    let way = |address: &String| config(address, &proxies.none_for).ok().map(|proxy| one(access, proxy));
    let direct = one(access, ProxyConfig::disabled());
    if proxies.is_none() {
        return direct;
    }
    let [http, https] = [&proxies.http, &proxies.https].map(|address| address.as_ref().and_then(way));
    SharedHttpClient::new(Ways { direct, http, https })
}

/// A client of one way.
fn one(access: &BucketAccess, proxy: ProxyConfig) -> SharedHttpClient {
    let roots = match &access.certificates {
        Some(pem) => TrustStore::empty().with_pem_certificate(pem.clone()),
        None => TrustStore::default(),
    };
    let tls = TlsContext::builder().with_trust_store(roots).build();
    let tls = tls.expect("a store of certificates is all that is in it");
    Builder::new().build_with_connector_fn(move |settings, components| {
        let connector = Connector::builder().proxy_config(proxy.clone());
        let mut connector =
            connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.build()
    })
}

/// Which way a call goes: by its scheme, and never by a proxy to this machine or to what gives it credentials.
#[derive(Debug)]
struct Ways<T> {
    direct: T,
    http: Option<T>,
    https: Option<T>,
}

impl HttpClient for Ways<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let of = |client: &SharedHttpClient| client.http_connector(settings, components);
        let (http, https) = (self.http.as_ref().map(of), self.https.as_ref().map(of));
        SharedHttpConnector::new(Ways { direct: of(&self.direct), http, https })
    }
}

impl HttpConnector for Ways<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let proxied = match request.uri().split_once("://") {
            Some((_, rest)) if is_own(rest) => None,
            Some(("https", _)) => self.https.as_ref(),
            _ => self.http.as_ref(),
        };
        proxied.unwrap_or(&self.direct).call(request)
    }
}

/// Whether what follows `https://` is of this machine, or at an address that leads no further than its own line: there
/// AWS gives instances and containers their credentials.
fn is_own(rest: &str) -> bool {
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    match host.parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        // Of AWS's own range for what instances ask, fd00:ec2::/32.
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.segments()[..2] == [0xfd00, 0xec2],
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_asked_directly() {
        for near in [
            "127.0.0.1:9000/bucket",
            "localhost",
            "169.254.169.254/latest/meta-data",
            "169.254.170.2/v2",
            "[fd00:ec2::254]/latest",
            "[::1]:80/",
        ] {
            assert!(is_own(near), "{near}");
        }
        for far in ["s3.eu-west-2.amazonaws.com/b", "10.0.0.1", "[2001:db8::1]/", "localhost.example.org", ""]
        {
            assert!(!is_own(far), "{far}");
        }
    }

    #[test]
    fn addresses_of_proxies_are_looked_at() {
        for good in ["http://proxy:3128", "https://a:b@proxy", "proxy:3128"] {
            let proxies = Proxies::default().for_https(good).unwrap();
            assert_eq!(format!("{proxies:?}"), "Proxies(…)");
        }
        for bad in ["socks5h://proxy:1080", "http://", "a b"] {
            assert!(Proxies::default().for_http(bad).is_err(), "{bad}");
        }
    }
}
