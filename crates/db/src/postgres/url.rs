//! [`PostgresUrl`]: where the server is and how it is reached.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A server that takes nothing for so long is not there any more.
const TCP_SILENCE_MAX: Duration = Duration::from_secs(5);
/// How often it is asked then whether it is, and how many times.
const TCP_ASK: Duration = Duration::from_secs(2);
const TCP_ASKS: u32 = 2;

/// Why a text is not the URL of a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostgresUrlError {
    /// Not of the form.
    #[error("`{0}` was expected as postgres://user@host:port/database")]
    Form(String),
    /// The certificates cannot be read.
    #[error("the database's certificates (database.ca) cannot be used: {0}")]
    Certificates(String),
}

/// Where a database of PostgreSQL is, and what lets us in. Shown without the password and the options.
#[derive(Clone)]
pub struct PostgresUrl {
    config: Config,
    text: String,
    tls: MakeRustlsConnect,
}

pub(crate) type Connected =
    (Client, Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>);

impl std::fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PostgresUrl").field(&self.text).finish()
    }
}

impl std::fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for PostgresUrl {
    type Err = PostgresUrlError;

    /// Reads `postgres://user@host:port/database?option=value`, with the options that the driver knows. The server's
    /// certificate is checked wherever TLS is used, so that `sslmode=verify-full` means the same as `require`, which
    /// is the default for servers of other machines.
    fn from_str(text: &str) -> Result<PostgresUrl, PostgresUrlError> {
        let form = || PostgresUrlError::Form(without_password(text));
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(form());
        }
        let plain = text
            .replace("sslmode=verify-full", "sslmode=require")
            .replace("sslmode=verify-ca", "sslmode=require");
        let mut config: Config = plain.parse().map_err(|_| form())?;
        if config.get_hosts().is_empty() {
            return Err(form());
        }
        if !text.contains("sslmode=") && !config.get_hosts().iter().all(is_here) {
            // Otherwise whoever stands in between only says that the server has no TLS, and is told the password.
            config.ssl_mode(SslMode::Require);
        }
        config.connect_timeout(TCP_SILENCE_MAX).tcp_user_timeout(TCP_SILENCE_MAX);
        config.keepalives_idle(TCP_SILENCE_MAX).keepalives_interval(TCP_ASK).keepalives_retries(TCP_ASKS);
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        let tls = system_roots().and_then(|roots| connector(roots, &config))?;
        Ok(PostgresUrl { config, text: without_password(text), tls })
    }
}

impl PostgresUrl {
    /// Whether the text it was read from held a password.
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// With a password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> PostgresUrl {
        self.config.password(password);
        self
    }

    /// Trusts these certificates (PEM), and no others.
    pub fn with_roots(mut self, pem: &[u8]) -> Result<PostgresUrl, PostgresUrlError> {
        let wrong = |error: &dyn std::fmt::Display| PostgresUrlError::Certificates(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
        }
        if roots.is_empty() {
            return Err(wrong(&"there is none in the file"));
        }
        self.tls = connector(roots, &self.config)?;
        Ok(self)
    }

    pub(crate) async fn connect(&self) -> Result<Connected, tokio_postgres::Error> {
        self.config.connect(self.tls.clone()).await
    }
}

/// The certificates that the system trusts; none where TLS cannot be used anyway.
fn system_roots() -> Result<RootCertStore, PostgresUrlError> {
    let mut roots = RootCertStore::empty();
    for certificate in rustls_native_certs::load_native_certs().certs {
        // One that is damaged must not take the others with it.
        let _ = roots.add(certificate);
    }
    Ok(roots)
}

fn connector(roots: RootCertStore, config: &Config) -> Result<MakeRustlsConnect, PostgresUrlError> {
    if roots.is_empty() && config.get_ssl_mode() == SslMode::Require {
        let why = "this system trusts none; name a file with database.ca".to_owned();
        return Err(PostgresUrlError::Certificates(why));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| PostgresUrlError::Certificates(error.to_string()))?;
    Ok(MakeRustlsConnect::new(client.with_root_certificates(roots).with_no_client_auth()))
}

/// Whether the server is on this machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        Host::Unix(_) => true,
    }
}

/// The text of a URL without what stands between the user's name and the `@`, and without options.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return "(a text without ://)".to_owned() };
    let Some((user, host)) = rest.rsplit_once('@') else {
        // Without an @ what stands there may be anything.
        let host = rest.split(['?', '/']).next().unwrap_or_default();
        return format!("{scheme}://{}", if host.contains(':') { "…" } else { host });
    };
    let user = user.split([':', '?', '/']).next().unwrap_or_default();
    format!("{scheme}://{user}@{}", host.split('?').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_never_holds_a_password() {
        for (text, shown) in [
            ("postgres://mill@db:5433/mill?sslmode=require", "postgres://mill@db:5433/mill"),
            ("postgres://mill:hunter2@db/mill", "postgres://mill@db/mill"),
            ("postgres://mill:hun?ter2@db:x/mill", "postgres://mill@db:x/mill"),
            ("postgres://mill:hun/ter2@db/mill?password=hunter2", "postgres://mill@db/mill"),
            ("postgres://mill:hunter2", "postgres://…"),
            ("postgres://db/mill", "postgres://db"),
            ("hunter2", "(a text without ://)"),
        ] {
            assert_eq!(without_password(text), shown);
        }
    }

    #[test]
    fn servers_of_other_machines_must_have_tls() {
        let mode = |text: &str| text.parse::<PostgresUrl>().unwrap().config.get_ssl_mode();
        for (text, wanted) in [
            ("postgres://mill@db.example.org/mill", SslMode::Require),
            ("postgres://mill@10.1.2.3/mill", SslMode::Require),
            ("postgres://mill@localhost,db.example.org/mill", SslMode::Require),
            ("postgres://mill@db.example.org/mill?sslmode=disable", SslMode::Disable),
            ("postgres://mill@db.example.org/mill?sslmode=prefer", SslMode::Prefer),
            ("postgres://mill@db.example.org/mill?sslmode=verify-full", SslMode::Require),
            ("postgres://mill@localhost/mill", SslMode::Prefer),
            ("postgres://mill@127.0.0.1:5433/mill", SslMode::Prefer),
            ("postgres://mill@%2Frun%2Fpostgresql/mill", SslMode::Prefer),
        ] {
            assert_eq!(mode(text), wanted, "{text}");
        }
        for text in ["postgres://", "mysql://db/x", "postgres:///mill", "postgres://mill@db:port/mill"] {
            assert!(text.parse::<PostgresUrl>().is_err(), "{text}");
        }
    }
}
