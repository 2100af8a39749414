//! A client that is there at once: where keys are given, nothing is looked for, and where the endpoint is `http:`, no
//! certificates are read.

use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::web_identity_token::{StaticConfiguration, WebIdentityTokenCredentialsProvider};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    Builder, Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
    SharedHttpClient,
};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use super::super::client::{BYTES_PER_SECOND_MIN, FIRST_REGION, PAUSE_FIRST, PAUSE_MAX, TRIES_MAX};
use crate::bucket::{BucketAccess, BucketCredentials};

/// How often an instance is asked for its role; each time within a second.
const INSTANCE_TRIES: u32 = 2;

pub(super) async fn client(access: &BucketAccess) -> Client {
    let config = sdk_config(access).await;
    let builder = Builder::from(&config)
        .force_path_style(access.path_style)
        // Ours are set by hand; others know them or not.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    let builder = match &access.endpoint {
        Some(endpoint) => builder.endpoint_url(endpoint),
        None => builder,
    };
    Client::from_conf(builder.build())
}

/// Only what is known to speak without TLS goes without certificates.
fn http(access: &BucketAccess) -> SharedHttpClient {
    let builder = aws_smithy_http_client::Builder::new();
    let is_plain = access.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    if is_plain && matches!(access.credentials, BucketCredentials::Keys(_)) && access.role.is_none() {
        return builder.build_http();
    }
    builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
}

async fn sdk_config(access: &BucketAccess) -> SdkConfig {
    let http = http(access);
    let tries = RetryConfig::standard()
        .with_max_attempts(TRIES_MAX)
        .with_initial_backoff(PAUSE_FIRST)
        .with_max_backoff(PAUSE_MAX);
    // A region that is not said is the first, as it is for AWS's own programs; an instance is not asked.
    let region = RegionProviderChain::first_try(access.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(aws_config::profile::ProfileFileRegionProvider::new())
        .or_else(FIRST_REGION);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .retry_config(tries)
        .timeout_config(timeouts(access, access.request_timeout))
        .region(region);
    match &access.credentials {
        BucketCredentials::Found => {
            let region = access.region.clone().unwrap_or_else(|| FIRST_REGION.to_owned());
            let provider = ProviderConfig::without_region().with_http_client(http);
            let provider = provider.with_region(Some(Region::new(region)));
            // Elsewhere than on an instance nobody answers, and who has no credentials should be told so soon.
            let instance =
                aws_config::imds::Client::builder().configure(&provider).max_attempts(INSTANCE_TRIES);
            let chain = DefaultCredentialsChain::builder().imds_client(instance.build()).configure(provider);
            loader = loader.credentials_provider(chain.build().await);
        }
        BucketCredentials::Keys(keys) => {
            let (id, secret, token) = (keys.id.clone(), keys.secret.clone(), keys.token.clone());
            loader = loader.credentials_provider(Credentials::new(id, secret, token, None, "given"));
        }
        BucketCredentials::WebIdentity { token_file, role_arn, session_name } => {
            let region = access.region.clone().or_else(|| Some(FIRST_REGION.to_owned())).map(Region::new);
            let provider = ProviderConfig::without_region().with_http_client(http).with_region(region);
            let token = StaticConfiguration {
                web_identity_token_file: token_file.clone(),
                role_arn: role_arn.clone(),
                session_name: session_name.clone(),
            };
            let builder = WebIdentityTokenCredentialsProvider::builder().static_configuration(token);
            loader = loader.credentials_provider(builder.configure(&provider).build());
        }
    }
    let config = loader.load().await;
    let Some((role, time)) = &access.role else { return config };
    let mut provider = AssumeRoleProvider::builder(&role.arn)
        .session_name(&role.session_name)
        .session_length(*time)
        .configure(&config);
    if let Some(external_id) = &role.external_id {
        provider = provider.external_id(external_id);
    }
    let provider = provider.build().await;
    config.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
}

fn timeouts(access: &BucketAccess, attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(access.connect_timeout)
        .operation_attempt_timeout(attempt)
        .operation_timeout((attempt + PAUSE_MAX) * TRIES_MAX)
        .build()
}

/// For calls that send or move this many bytes.
pub(super) fn for_bytes(access: &BucketAccess, bytes: u64) -> Builder {
    let attempt = access.request_timeout + Duration::from_secs(bytes / BYTES_PER_SECOND_MIN);
    Builder::new().timeout_config(timeouts(access, attempt))
}
