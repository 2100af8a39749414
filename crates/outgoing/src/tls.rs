//! Whom we believe: root certificates.
//!
//! They are the system's, as a list, not the system's own verifier: the list can be added to, so that a company's
//! own authority can be named in the settings and a test can have one of its own.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

/// A text that was to have certificates in PEM, and has none or broken ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the root certificates are not certificates in PEM (`-----BEGIN CERTIFICATE-----`)")]
pub struct RootError;

/// Whether a text has root certificates in PEM.
///
/// # Errors
///
/// [`RootError`] where it has none, or a broken one.
pub fn check_roots(pem: &[u8]) -> Result<(), RootError> {
    read(pem).map(drop)
}

fn read(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, RootError> {
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| RootError)?;
    // That it is Base64 says little.
    let mut roots = RootCertStore::empty();
    found.iter().try_for_each(|root| roots.add(root.clone())).map_err(|_| RootError)?;
    if found.is_empty() { Err(RootError) } else { Ok(found) }
}

/// The system's roots, and those in `extra`, which is PEM or empty.
pub(crate) fn config(extra: &[u8]) -> Result<(TlsConfig, usize), RootError> {
    // What the system has in files that cannot be read is not there for us; where that leaves nothing, each
    // connection says that its certificate is of nobody known.
    let mut roots = rustls_native_certs::load_native_certs().certs;
    if !extra.is_empty() {
        roots.extend(read(extra)?);
    }
    let count = roots.len();
    let roots: Vec<Certificate<'static>> =
        roots.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
    let config = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&roots))
        .build();
    Ok((config, count))
}
