//! The SDK's client: TLS, time and what is tried again.
//!
//! Calls that may be repeated are tried three times in all by the SDK. Calls that make a version or finish an upload
//! are never repeated by it: after an unsure answer we look first.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{Builder, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use super::credentials;
use super::line::Line;
use super::settings::S3Settings;

/// The most tries of a call that may be repeated.
pub(super) const TRIES_MAX: u32 = 3;
/// How long the pauses between tries become.
const PAUSE_MAX: Duration = Duration::from_secs(2);
pub(super) const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// A server or line that moves fewer bytes a second than this has failed.
const BYTES_PER_SECOND_MIN: u64 = 256 << 10;

/// What one copy within the server may take.
const COPY_BASE: Duration = Duration::from_secs(7);
/// A server that copies fewer bytes a second within itself is too slow.
pub(super) const COPIED_PER_SECOND_MIN: u64 = 32 << 20;

/// How long one copy of so many bytes may take.
pub(super) fn copy_max(size: u64) -> Duration {
    COPY_BASE + Duration::from_secs(size / COPIED_PER_SECOND_MIN)
}

/// The region where none is found.
pub(super) const FIRST_REGION: &str = "us-east-1";

/// How long calls may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For a connection.
    pub(super) connect: Duration,
    /// For one try of a call without a body.
    pub(super) request: Duration,
    /// For the end of an upload of so many bytes, in which some servers write all of them once more.
    pub(super) end: fn(u64) -> Duration,
}

impl Patience {
    pub(super) fn timeouts(&self, attempt: Duration) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .operation_attempt_timeout(attempt)
            .operation_timeout((attempt + PAUSE_MAX) * TRIES_MAX)
            .build()
    }

    /// For calls that send or move this many bytes.
    pub(super) fn for_bytes(&self, bytes: u64) -> Builder {
        let attempt = self.request + Duration::from_secs(bytes / BYTES_PER_SECOND_MIN);
        Builder::new().timeout_config(self.timeouts(attempt))
    }

    /// For calls that are made once, within this time.
    pub(super) fn once(&self, attempt: Duration) -> Builder {
        let timeouts = self.timeouts(attempt).to_builder().operation_timeout(attempt).build();
        Builder::new().retry_config(RetryConfig::disabled()).timeout_config(timeouts)
    }
}

/// What is tried again, and when.
pub(super) fn tries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(TRIES_MAX)
        .with_initial_backoff(PAUSE_FIRST)
        .with_max_backoff(PAUSE_MAX)
}

/// The settings of a client, but for what is tried again besides.
pub(super) fn builder(config: &SdkConfig, endpoint: Option<&String>, path_style: bool) -> Builder {
    let builder = Builder::from(config)
        .force_path_style(path_style)
        // Ours are set by hand where the server was found to check them; others do not know the headers.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    match endpoint {
        Some(endpoint) => builder.endpoint_url(endpoint),
        None => builder,
    }
}

/// A client for a bucket. Finds no credentials yet: the first call does.
pub(super) async fn client(settings: &S3Settings) -> Client {
    let config = sdk_config(settings).await;
    let builder = builder(&config, settings.endpoint.as_ref(), settings.path_style);
    Client::from_conf(builder.retry_classifier(denied::Denied).build())
}

/// The bucket, by a client of its own.
pub(super) async fn line(bucket: &str, settings: &S3Settings) -> Line {
    let (owner, sse) = (settings.expected_bucket_owner.clone(), settings.sse.clone());
    let mut line = Line::new(client(settings).await, bucket, patience(settings));
    (line.owner, line.sse) = (owner, sse);
    line
}

fn patience(settings: &S3Settings) -> Patience {
    // Whoever publishes has reckoned with no more.
    Patience { connect: settings.connect_timeout, request: settings.request_timeout, end: copy_max }
}

/// What the client is made of.
pub(super) async fn sdk_config(settings: &S3Settings) -> SdkConfig {
    let http =
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(tries())
        .timeout_config(patience(settings).timeouts(settings.request_timeout));
    if settings.endpoint.is_some() || settings.region.is_some() {
        // Elsewhere than at Amazon no instance is asked for its region, and most servers take any.
        let chain = RegionProviderChain::first_try(settings.region.clone().map(Region::new))
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(credentials::region_of_profile(settings));
        loader = loader.region(chain.or_else(FIRST_REGION));
    }
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(files) = credentials::files(settings) {
        loader = loader.profile_files(files);
    }
    let config = loader.no_credentials().load().await;
    let region = config.region().cloned().unwrap_or_else(|| Region::new(FIRST_REGION));
    let config = config.into_builder().region(region).build();
    credentials::with_credentials(config, settings).await
}

mod denied {
    //! Access that is denied for a moment: rights that were just given take a while to be known everywhere.

    use aws_sdk_s3::config::interceptors::InterceptorContext;
    use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction};

    #[derive(Debug)]
    pub(super) struct Denied;

    impl ClassifyRetry for Denied {
        fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
            let status = context.response().map(|response| response.status().as_u16());
            if status == Some(403) { RetryAction::transient_error() } else { RetryAction::NoActionIndicated }
        }

        fn name(&self) -> &'static str {
            "access denied for a moment"
        }
    }
}
