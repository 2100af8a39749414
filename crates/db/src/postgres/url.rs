//! [`PostgresUrl`]: where the server is and how it is reached.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A server that takes nothing for so long is not there any more.
const TCP_SILENCE_MAX: Duration = Duration::from_secs(15);

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

    /// Reads `postgres://user@host:port/database?option=value`, as libpq does. The server's certificate is checked
    /// wherever TLS is used, so that `sslmode=verify-full` means the same as `require`.
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
        config.connect_timeout(TCP_SILENCE_MAX).tcp_user_timeout(TCP_SILENCE_MAX);
        config
            .keepalives_idle(TCP_SILENCE_MAX)
            .target_session_attrs(tokio_postgres::config::TargetSessionAttrs::ReadWrite);
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
    let is_local = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
    if roots.is_empty() && config.get_ssl_mode() == SslMode::Require && !is_local {
        let why = "this system trusts none; name a file with database.ca".to_owned();
        return Err(PostgresUrlError::Certificates(why));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| PostgresUrlError::Certificates(error.to_string()))?;
    Ok(MakeRustlsConnect::new(client.with_root_certificates(roots).with_no_client_auth()))
}

/// The text of a URL without what stands between the user's name and the `@`, and without options.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return "(a text without ://)".to_owned() };
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    match rest.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            format!("{scheme}://{user}@{host}")
        }
        None => format!("{scheme}://{rest}"),
    }
}
