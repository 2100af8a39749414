//! What `doctor` does for a bucket: makes it, and says which rights are needed.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration,
    PublicAccessBlockConfiguration, VersioningConfiguration,
};

use super::client::{self, FIRST_REGION};
use super::fault::Fault;
use super::names::Names;
use super::settings::{S3Settings, Sse};
use crate::error::StorageError;

/// Makes the bucket with versions, and closed to the public where the server knows that; an existing one of ours is
/// brought to the same. Gives what was done, a sentence each.
///
/// # Errors
/// What the server refused.
pub async fn create_bucket(bucket: &str, settings: &S3Settings) -> Result<Vec<String>, StorageError> {
    let client = client::client(settings).await;
    let owner = settings.expected_bucket_owner.clone();
    let doing = |what: &str| format!("{what} the bucket `{bucket}`");
    let mut done = Vec::new();
    let region = client.config().region().map(ToString::to_string).unwrap_or_default();
    // The first region may not be said.
    let elsewhere = (region != FIRST_REGION && settings.endpoint.is_none()).then(|| {
        let place = BucketLocationConstraint::from(region.as_str());
        CreateBucketConfiguration::builder().location_constraint(place).build()
    });
    let made = client.create_bucket().bucket(bucket).set_create_bucket_configuration(elsewhere);
    match made.send().await.map_err(Fault::from) {
        Ok(_) => done.push(format!("the bucket {bucket} is made")),
        Err(fault) if fault.is_ours_already() => done.push(format!("the bucket {bucket} was there")),
        Err(fault) => return Err(fault.told(doing("making"))),
    }
    let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let call = client.put_bucket_versioning().bucket(bucket).set_expected_bucket_owner(owner);
    let set = call.versioning_configuration(versions).send().await;
    set.map_err(|error| Fault::from(error).told(doing("turning versions on for")))?;
    done.push("its objects have versions".to_owned());
    let is_closed =
        close(&client, (bucket, settings), true).await.map_err(|fault| fault.told(doing("closing")))?;
    done.push(if is_closed {
        "nothing in it can be made public".to_owned()
    } else {
        "this server cannot block public access: see to it that the bucket is private".to_owned()
    });
    Ok(done)
}

/// Closes a bucket to the public; false where the server does not know how.
async fn close(client: &Client, of: (&str, &S3Settings), all: bool) -> Result<bool, Fault> {
    let closed = PublicAccessBlockConfiguration::builder()
        .block_public_acls(all)
        .ignore_public_acls(true)
        .block_public_policy(true)
        .restrict_public_buckets(true)
        .build();
    let call = client.put_public_access_block().bucket(of.0);
    let call = call.set_expected_bucket_owner(of.1.expected_bucket_owner.clone());
    match call.public_access_block_configuration(closed).send().await.map_err(Fault::from) {
        // Ceph's gateway, in version 16, takes every object for one with a public list of access, and refuses it. That
        // such lists are ignored closes the bucket as well.
        Ok(_) if all && !takes_objects(client, of).await => Box::pin(close(client, of, false)).await,
        Ok(_) => Ok(true),
        Err(fault) if fault.is_unknown_call() || fault.is_absent() => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Whether an object can be put there; it is taken away again.
async fn takes_objects(client: &Client, (bucket, settings): (&str, &S3Settings)) -> bool {
    let (name, owner) = (".gristmill/probe/closed", settings.expected_bucket_owner.clone());
    let (algorithm, key) = Sse::said(settings.sse.as_ref());
    let put = client.put_object().bucket(bucket).key(name).set_expected_bucket_owner(owner.clone());
    // As all that is written: a bucket's policy may refuse the rest.
    let put = put.set_server_side_encryption(algorithm).set_ssekms_key_id(key);
    let id = match put.send().await.map_err(Fault::from) {
        Ok(put) => put.version_id,
        Err(fault) => return !fault.is_denied(),
    };
    let delete = client.delete_object().bucket(bucket).key(name).set_expected_bucket_owner(owner);
    let _ = delete.set_version_id(id).send().await;
    true
}

/// The least rights that the storage needs, as a policy of IAM. `arn:aws:` is for Amazon's usual partition.
pub fn policy(bucket: &str, prefix: &str, settings: &S3Settings) -> String {
    let names = Names::new(prefix);
    let arn = format!("arn:aws:s3:::{bucket}");
    let mut statements = vec![
        serde_json::json!({
            "Sid": "Bucket",
            "Effect": "Allow",
            "Action": ["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:GetBucketVersioning"],
            "Resource": arn,
        }),
        serde_json::json!({
            "Sid": "Objects",
            "Effect": "Allow",
            "Action": [
                "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion",
                "s3:AbortMultipartUpload",
            ],
            "Resource": format!("{arn}/{}*", names.all()),
        }),
    ];
    if let Some(Sse::Kms(Some(key))) = &settings.sse {
        // A key may be named by its id or alias alone, which is no resource.
        let resource = if key.starts_with("arn:") { key.as_str() } else { "*" };
        statements.push(serde_json::json!({
            "Sid": "Key",
            "Effect": "Allow",
            "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
            "Resource": resource,
        }));
    }
    format!("{:#}", serde_json::json!({ "Version": "2012-10-17", "Statement": statements }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_bucket_prefix_and_key() {
        let mut settings = S3Settings::new("/x");
        let read = |settings: &S3Settings, prefix: &str| -> serde_json::Value {
            serde_json::from_str(&policy("bucket", prefix, settings)).unwrap()
        };
        let plain = read(&settings, "");
        assert_eq!(plain["Statement"][0]["Resource"], "arn:aws:s3:::bucket");
        assert_eq!(plain["Statement"][1]["Resource"], "arn:aws:s3:::bucket/*");
        assert_eq!(plain["Statement"].as_array().unwrap().len(), 2);
        settings.sse = Some(Sse::Kms(Some("arn:aws:kms:eu-west-1:1:key/k".to_owned())));
        let sealed = read(&settings, "a/b");
        assert_eq!(sealed["Statement"][1]["Resource"], "arn:aws:s3:::bucket/a/b/*");
        assert_eq!(sealed["Statement"][2]["Resource"], "arn:aws:kms:eu-west-1:1:key/k");
    }
}
