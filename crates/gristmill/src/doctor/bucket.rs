//! What `doctor` does for a bucket when it is asked to.

use anyhow::{Context, bail};
use gristmill_storage::StorageUrl;

use crate::config::Config;

/// Makes the bucket of the storage; gives what was done.
pub async fn create_bucket(config: &Config) -> anyhow::Result<Vec<String>> {
    let (bucket, _) = bucket(config)?;
    let made = gristmill_storage::create_bucket(&bucket, &config.s3).await;
    made.with_context(|| format!("the bucket {bucket} cannot be made"))
}

/// The rights that the storage needs in its bucket.
pub fn bucket_policy(config: &Config) -> anyhow::Result<String> {
    let (bucket, prefix) = bucket(config)?;
    Ok(gristmill_storage::policy(&bucket, &prefix, &config.s3))
}

fn bucket(config: &Config) -> anyhow::Result<(String, String)> {
    match config.storage.as_str().parse()? {
        StorageUrl::S3 { bucket, prefix } => Ok((bucket, prefix)),
        StorageUrl::File(_) => {
            bail!(
                "the storage is the folder {}; a bucket is set by `url = \"s3://…\"` in [storage]",
                config.storage.as_str()
            )
        }
    }
}
