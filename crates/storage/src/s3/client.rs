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
use super::settings::S3Settings;

/// The most tries of a call that may be repeated.
pub(super) const TRIES_MAX: u32 = 3;
/// How long the pauses between tries become.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(2);
pub(super) const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// A server or line that moves fewer bytes a second than this has failed.
pub(super) const BYTES_PER_SECOND_MIN: u64 = 256 << 10;

/// The region where none is found.
pub(super) const FIRST_REGION: &str = "us-east-1";

/// A client for the bucket. Finds no credentials yet: the first call does.
pub(super) async fn client(settings: &S3Settings) -> Client {
    let config = sdk_config(settings).await;
    let builder = Builder::from(&config)
        .force_path_style(settings.path_style)
        // Ours are set by hand where the server was found to check them; others do not know the headers.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_classifier(denied::Denied);
    let builder = match &settings.endpoint {
        Some(endpoint) => builder.endpoint_url(endpoint),
        None => builder,
    };
    Client::from_conf(builder.build())
}

/// What the client is made of.
pub(super) async fn sdk_config(settings: &S3Settings) -> SdkConfig {
    let http =
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let tries = RetryConfig::standard()
        .with_max_attempts(TRIES_MAX)
        .with_initial_backoff(PAUSE_FIRST)
        .with_max_backoff(PAUSE_MAX);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(tries)
        .timeout_config(timeouts(settings, settings.request_timeout));
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

fn timeouts(settings: &S3Settings, attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(settings.connect_timeout)
        .operation_attempt_timeout(attempt)
        .operation_timeout((attempt + PAUSE_MAX) * TRIES_MAX)
        .build()
}

/// For calls that send or move this many bytes.
pub(super) fn for_bytes(settings: &S3Settings, bytes: u64) -> Builder {
    let attempt = settings.request_timeout + Duration::from_secs(bytes / BYTES_PER_SECOND_MIN);
    Builder::new().timeout_config(timeouts(settings, attempt))
}

/// For calls that are made once, within this time.
pub(super) fn once(settings: &S3Settings, attempt: Duration) -> Builder {
    let timeouts = timeouts(settings, attempt).to_builder().operation_timeout(attempt).build();
    Builder::new().retry_config(RetryConfig::disabled()).timeout_config(timeouts)
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
