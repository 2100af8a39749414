//! `[storage]` with a bucket.

use std::time::Duration;

use expect_test::expect;
use gristmill_storage::{Role, Sse};

use super::Place;
use super::refused::check;

#[test]
fn a_bucket_with_everything() {
    let place = Place::new();
    place.write(
        "gristmill.toml",
        r#"
[storage]
url = "s3://artifacts/mill"
region = "eu-west-1"
endpoint = "https://s3.example.org:9000"
path_style = false
profile = "mill"
credentials_file = "secrets/aws"
role_arn = "arn:aws:iam::123456789012:role/mill"
role_external_id = "x-1"
role_session_name = "mill"
expected_bucket_owner = "123456789012"
sse = "aws:kms"
kms_key = "alias/mill"
connect_timeout = "3s"
request_timeout = "1m"
cache = "/var/cache/mill"
cache_max = "1GiB"
"#,
    );
    let config = place.load().unwrap();
    let s3 = config.s3;
    assert!(config.storage.is_bucket() && config.storage.as_str() == "s3://artifacts/mill");
    assert_eq!(s3.region.as_deref(), Some("eu-west-1"));
    assert_eq!((s3.endpoint.as_deref(), s3.path_style), (Some("https://s3.example.org:9000"), false));
    assert_eq!(s3.profile.as_deref(), Some("mill"));
    assert!(s3.credentials_file.unwrap().ends_with("secrets/aws"));
    let (arn, external_id) = ("arn:aws:iam::123456789012:role/mill".to_owned(), Some("x-1".to_owned()));
    assert_eq!(s3.role, Some(Role { arn, external_id, session_name: "mill".to_owned() }));
    assert_eq!(s3.expected_bucket_owner.as_deref(), Some("123456789012"));
    assert_eq!(s3.sse, Some(Sse::Kms(Some("alias/mill".to_owned()))));
    assert_eq!((s3.connect_timeout, s3.request_timeout), (Duration::from_secs(3), Duration::from_secs(60)));
    assert_eq!((s3.cache.to_str(), s3.cache_bytes_max), (Some("/var/cache/mill"), 1 << 30));
}

#[test]
fn a_server_of_ones_own_has_buckets_in_paths() {
    let place = Place::new();
    place.write(
        "gristmill.toml",
        "[storage]\nurl = \"s3://mill\"\nendpoint = \"http://127.0.0.1:9000\"\nsse = \"AES256\"\n",
    );
    let s3 = place.load().unwrap().s3;
    assert!(s3.path_style && s3.sse == Some(Sse::Aes256) && s3.role.is_none());
    assert!(s3.cache.ends_with("gristmill-data/cache"));
}

#[test]
fn what_cannot_be_is_refused() {
    check(
        "[storage]\nregion = \"eu-west-1\"\nsse = \"AES256\"\n",
        expect![[r#"
        gristmill.toml:2: `region` is for a bucket; `url` begins with `file:`, or is not given
        gristmill.toml:3: `sse` is for a bucket; `url` begins with `file:`, or is not given"#]],
    );
    check(
        "[storage]\nurl = \"s3://mill\"\nregion = \"eu west\"\nendpoint = \"s3.example.org\"\nrole_arn = \"mill\"\nrole_external_id = \"x\"\nexpected_bucket_owner = \"me\"\nkms_key = \"k\"\nsse = \"kms\"\nconnect_timeout = \"0s\"\ncache_max = \"1\"\n",
        expect![[r#"
            gristmill.toml:1: `role_external_id` and `role_session_name` need a `role_arn`
            gristmill.toml:1: `kms_key` needs `sse = "aws:kms"`
            gristmill.toml:3: `region` is "eu west"; expected a region, such as "eu-west-1"
            gristmill.toml:4: `endpoint`: it has no scheme, such as https://
            gristmill.toml:5: `role_arn` is "mill"; expected an ARN, such as "arn:aws:iam::123456789012:role/mill"
            gristmill.toml:7: `expected_bucket_owner` is "me"; expected an account of 12 digits
            gristmill.toml:9: `sse` is "kms"; expected "AES256" or "aws:kms"
            gristmill.toml:10: `connect_timeout` is "0s"; expected a duration from 1 to 600 seconds, such as "15s" (s, m, h, d)
            gristmill.toml:11: `cache_max` is "1"; expected a size of 1048576 bytes or more, such as "10GiB" (KiB, MiB, GiB, TiB)"#]],
    );
}
