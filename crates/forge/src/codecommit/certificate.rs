//! RSA signatures, and the certificates that hold their keys.

use std::time::Duration;

use gristmill_model::Timestamp;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use x509_cert::Certificate;
use x509_cert::der::DecodePem;
use x509_cert::der::oid::ObjectIdentifier;

use super::envelope::SignatureVersion;
use crate::error::VerifyError;

/// rsaEncryption, RFC 8017.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A key of the usual size that nobody has the other half of, for messages whose certificate is not at
/// hand: their refusal takes as long.
const NOBODYS_MODULUS: [u8; 256] = [0xC5; 256];
const USUAL_EXPONENT: [u8; 3] = [1, 0, 1];

/// The public key within a certificate in PEM, where that is valid `now`.
pub(super) fn public_key(pem: &[u8], now: Timestamp) -> Result<Vec<u8>, VerifyError> {
    let problem = |problem| VerifyError::Certificate { problem };
    let certificate = Certificate::from_pem(pem).map_err(|_| problem("is not X.509 in PEM"))?;
    let certificate = certificate.tbs_certificate();
    let (from, until) = (certificate.validity().not_before, certificate.validity().not_after);
    let now = Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
    if now < from.to_unix_duration() {
        return Err(problem("is not valid yet"));
    }
    // Valid through the second that it names, RFC 5280.
    if now.as_secs() > until.to_unix_duration().as_secs() {
        return Err(problem("is no longer valid"));
    }
    let key = certificate.subject_public_key_info();
    if key.algorithm.oid != RSA {
        return Err(problem("has no RSA key"));
    }
    let bytes = key.subject_public_key.as_bytes().ok_or(problem("has no whole key"))?;
    Ok(bytes.to_vec())
}

/// Whether the key, or nobody's, made the signature of `text`.
pub(super) fn is_signed(key: Option<&[u8]>, version: SignatureVersion, text: &str, signature: &[u8]) -> bool {
    let (text, is_sha1) = (text.as_bytes(), version == SignatureVersion::One);
    let algorithm =
        if is_sha1 { &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY } else { &RSA_PKCS1_2048_8192_SHA256 };
    match key {
        Some(key) => UnparsedPublicKey::new(algorithm, key).verify(text, signature).is_ok(),
        None => {
            let nobodys = RsaPublicKeyComponents { n: &NOBODYS_MODULUS[..], e: &USUAL_EXPONENT[..] };
            // Whatever this says: nobody's key lets nobody in.
            let _ = nobodys.verify(algorithm, text, signature);
            false
        }
    }
}
