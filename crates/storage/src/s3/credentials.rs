//! Where credentials come from, in which order, and when they are asked for again.
//!
//! The sources are the SDK's own, in the order of its default chain. Two things are otherwise than there. AWS's files
//! are read anew each minute: the SDK reads them once, and who rotates keys in them would have to restart the server.
//! And a profile or a file that the configuration names counts alone: keys that lie in the environment by chance do not
//! come before it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::SdkConfig;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, future};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::config::{ProvideCredentials, SharedCredentialsProvider};

use super::now_ms;
use super::settings::S3Settings;

/// Keys of a file that do not say when they end are looked up there again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The files of AWS's programs that count: those that the environment or the home folder has, or the named one alone.
pub(super) fn files(settings: &S3Settings) -> Option<EnvConfigFiles> {
    let file = settings.credentials_file.as_ref()?;
    Some(EnvConfigFiles::builder().with_file(EnvConfigFileKind::Credentials, file).build())
}

/// The region that the profile says.
pub(super) fn region_of_profile(settings: &S3Settings) -> ProfileFileRegionProvider {
    let mut region = ProfileFileRegionProvider::builder().configure(&ProviderConfig::without_region());
    if let Some(files) = files(settings) {
        region = region.profile_files(files);
    }
    if let Some(name) = &settings.profile {
        region = region.profile_name(name.clone());
    }
    region.build()
}

/// The same configuration with the source of its credentials.
pub(super) async fn with_credentials(config: SdkConfig, settings: &S3Settings) -> SdkConfig {
    let found = found(&config, settings);
    let config = config.into_builder().credentials_provider(found).build();
    let Some(role) = &settings.role else { return config };
    let mut provider =
        AssumeRoleProvider::builder(&role.arn).session_name(&role.session_name).configure(&config);
    if let Some(external_id) = &role.external_id {
        provider = provider.external_id(external_id);
    }
    let provider = provider.build().await;
    config.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
}

fn found(config: &SdkConfig, settings: &S3Settings) -> SharedCredentialsProvider {
    let files = Files { config: config.clone(), name: settings.profile.clone(), files: files(settings) };
    if settings.profile.is_some() || settings.credentials_file.is_some() {
        return SharedCredentialsProvider::new(files);
    }
    let config = of_providers(config);
    let web_identity = WebIdentityTokenCredentialsProvider::builder().configure(&config).build();
    let container = EcsCredentialsProvider::builder().configure(&config).build();
    let instance = ImdsCredentialsProvider::builder().configure(&config).build();
    let chain =
        CredentialsProviderChain::first_try("environment", EnvironmentVariableCredentialsProvider::new())
            .or_else("profile", files)
            .or_else("web identity", web_identity)
            .or_else("container", container)
            .or_else("instance", instance);
    SharedCredentialsProvider::new(chain)
}

/// The configuration of what gets credentials: TLS, region, patience. Nothing of AWS's files is in it yet.
fn of_providers(config: &SdkConfig) -> ProviderConfig {
    let mut own = ProviderConfig::without_region()
        .with_region(config.region().cloned())
        .with_use_fips(config.use_fips())
        .with_use_dual_stack(config.use_dual_stack());
    if let Some(http) = config.http_client() {
        own = own.with_http_client(http);
    }
    if let Some(tries) = config.retry_config() {
        own = own.with_retry_config(tries.clone());
    }
    match config.timeout_config() {
        Some(timeouts) => own.with_timeout_config(timeouts.clone()),
        None => own,
    }
}

/// A profile of AWS's files, which are read whenever it is asked.
#[derive(Debug)]
struct Files {
    config: SdkConfig,
    /// The environment's, where none is given.
    name: Option<String>,
    files: Option<EnvConfigFiles>,
}

impl Files {
    async fn read(&self) -> provider::Result {
        let mut profile = ProfileFileCredentialsProvider::builder().configure(&of_providers(&self.config));
        if let Some(files) = &self.files {
            profile = profile.profile_files(files.clone());
        }
        if let Some(name) = &self.name {
            profile = profile.profile_name(name);
        }
        let found = profile.build().provide_credentials().await;
        let mut credentials = found.map_err(|error| self.chosen_has_none(error))?;
        credentials.expiry_mut().get_or_insert_with(|| now() + LOOK_AGAIN);
        Ok(credentials)
    }

    /// Where nothing comes after a profile, that it is not there is an error of its own.
    fn chosen_has_none(&self, error: CredentialsError) -> CredentialsError {
        let none = matches!(error, CredentialsError::CredentialsNotLoaded(_));
        match &self.name {
            Some(name) if none => CredentialsError::invalid_configuration(format!(
                "the profile `{name}` is not in the files of AWS's programs, or has no credentials"
            )),
            None if none && self.files.is_some() => CredentialsError::invalid_configuration(
                "`credentials_file` has no profile `default` with credentials, nor the one that AWS_PROFILE names",
            ),
            _ => error,
        }
    }
}

impl ProvideCredentials for Files {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.read())
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(now_ms().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::super::client;
    use super::*;

    #[tokio::test]
    async fn files_are_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        let write = |id: &str, more: &str| {
            let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = secret\n{more}");
            std::fs::write(&file, text).unwrap();
        };
        let settings = S3Settings {
            credentials_file: Some(file.clone()),
            ..S3Settings::new(folder.path().join("cache"))
        };
        let config = client::sdk_config(&settings).await;
        let files = Files { config, name: None, files: files(&settings) };
        for (id, more, token) in [("ONE", "", None), ("TWO", "aws_session_token = token\n", Some("token"))] {
            write(id, more);
            let before = now();
            let read = files.read().await.unwrap();
            assert_eq!((read.access_key_id(), read.session_token()), (id, token));
            let ends = read.expiry().unwrap();
            assert!(before + LOOK_AGAIN <= ends && ends <= now() + LOOK_AGAIN);
        }
        std::fs::write(&file, "[other]\n").unwrap();
        let error = files.read().await.unwrap_err();
        let said = std::error::Error::source(&error).unwrap().to_string();
        assert!(said.contains("no profile `default`"), "{said}");
    }
}
