//! A client that is there at once: where keys are given, nothing is looked for, and where the endpoint is `http:`, no
//! certificates are read.

use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::web_identity_token::{StaticConfiguration, WebIdentityTokenCredentialsProvider};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};

use super::super::client::{FIRST_REGION, Patience, builder, tries};
use super::super::line::Line;
use super::http;
use crate::bucket::{BucketAccess, BucketCredentials};

/// What the end of an upload may take, besides the time by its size.
const END: Duration = Duration::from_secs(15);
/// A server that puts fewer bytes a second together is too slow.
const JOINED_PER_SECOND_MIN: u64 = 8 << 20;
/// How often an instance is asked for its role; each time within a second.
const INSTANCE_TRIES: u32 = 2;

/// The bucket, by a client of its own.
pub(super) async fn line(bucket: &str, access: &BucketAccess) -> Line {
    let config = sdk_config(access).await;
    let client = Client::from_conf(builder(&config, access.endpoint.as_ref(), access.path_style).build());
    Line::new(client, bucket, patience(access))
}

fn patience(access: &BucketAccess) -> Patience {
    let end = |bytes| END + Duration::from_secs(bytes / JOINED_PER_SECOND_MIN);
    Patience { connect: access.connect_timeout, request: access.request_timeout, end }
}

async fn sdk_config(access: &BucketAccess) -> SdkConfig {
    let http = http::client(access);
    // A region that is not said is the first, as it is for AWS's own programs; an instance is not asked.
    let region = RegionProviderChain::first_try(access.region.clone().map(Region::new))
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(aws_config::profile::ProfileFileRegionProvider::new())
        .or_else(FIRST_REGION);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .retry_config(tries())
        .timeout_config(patience(access).timeouts(access.request_timeout))
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
