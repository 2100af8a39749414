//! [`Line`]: a bucket as it is reached.

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use gristmill_model::Digest;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::client::Patience;
use super::settings::Sse;

/// Bytes of bodies in memory at once, over all objects, in units of 64 KiB.
const MEMORY_UNITS: u32 = (128 << 20 >> 16) as u32;
const MEMORY_UNIT: u64 = 64 << 10;

/// A bucket, what goes with every call on it, and how much is on its way at once.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) client: Client,
    pub(super) bucket: String,
    /// The account that must own the bucket.
    pub(super) owner: Option<String>,
    /// How the server encrypts what is written.
    pub(super) sse: Option<Sse>,
    pub(super) patience: Patience,
    /// Room for bodies in memory.
    memory: Semaphore,
}

impl Line {
    pub(super) fn new(client: Client, bucket: &str, patience: Patience) -> Line {
        let memory = Semaphore::new(MEMORY_UNITS as usize);
        Line { client, bucket: bucket.to_owned(), owner: None, sse: None, patience, memory }
    }

    /// Waits for room in memory.
    pub(super) async fn memory(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let units = u32::try_from(bytes.div_ceil(MEMORY_UNIT)).unwrap_or(u32::MAX).min(MEMORY_UNITS);
        self.memory.acquire_many(units).await.ok()
    }

    /// An object of this bucket as the source of a copy.
    pub(super) fn copy_source(&self, name: &str) -> String {
        let mut source = format!("{}/", self.bucket);
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
                source.push(char::from(byte));
            } else {
                source.push_str(&format!("%{byte:02X}"));
            }
        }
        source
    }
}

/// Signs a body by the digest that is known of it, which need not be reckoned a second time.
#[derive(Debug)]
pub(super) struct Hashed(pub(super) Digest);

impl Intercept for Hashed {
    fn name(&self) -> &'static str {
        "the body's digest is known"
    }

    fn modify_before_signing(
        &self,
        _context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(self.0.to_hex()));
        Ok(())
    }
}
