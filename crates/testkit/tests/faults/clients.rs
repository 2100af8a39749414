//! Signed requests hold by way of the proxy: those of Amazon's client, of curl and of our own, at each server.

use std::process::Command;

use gristmill_testkit::faults::{Operation, Proxy};
use gristmill_testkit::s3::{Kind, Server, boto3};
use gristmill_testkit::skip;

/// An upload in one request and one in parts, a copy, lists, reads and removals.
const SCRIPT: &str = r#"
import os, boto3
from botocore.config import Config
config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1},
                request_checksum_calculation="when_required", response_checksum_validation="when_required")
s3 = boto3.client("s3", endpoint_url=os.environ["ENDPOINT"], region_name=os.environ["REGION"], config=config)
bucket = os.environ["BUCKET"]
s3.put_object(Bucket=bucket, Key="a b/c", Body=b"hello", Metadata={"made-by": "boto3"})
print(s3.get_object(Bucket=bucket, Key="a b/c")["Body"].read().decode())
print(s3.get_object(Bucket=bucket, Key="a b/c", Range="bytes=1-2")["Body"].read().decode())
print(s3.head_object(Bucket=bucket, Key="a b/c")["Metadata"]["made-by"])
part = b"x" * (5 << 20)
upload = s3.create_multipart_upload(Bucket=bucket, Key="large")["UploadId"]
of = dict(Bucket=bucket, Key="large", UploadId=upload)
parts = [{"PartNumber": n, "ETag": s3.upload_part(PartNumber=n, Body=body, **of)["ETag"]}
         for n, body in ((1, part), (2, b"end"))]
s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **of)
s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "large"})
print(s3.head_object(Bucket=bucket, Key="copy")["ContentLength"])
print([entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]])
s3.delete_object(Bucket=bucket, Key="copy")
s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a b/c"}, {"Key": "large"}]})
print(s3.list_objects_v2(Bucket=bucket)["KeyCount"])
"#;

#[test]
fn amazons_client_works_by_way_of_it() {
    for kind in Kind::ALL {
        let test = format!("faults::amazons_client_works_by_way_of_it::{}", kind.name());
        let (Some(python), Some(server)) = (boto3(&test), Server::shared(kind, &test)) else { continue };
        let proxy = Proxy::start(&server.endpoint);
        let output = Command::new(python)
            .args(["-c", SCRIPT])
            .env_clear()
            .env("ENDPOINT", proxy.endpoint())
            .env("BUCKET", server.bucket(false))
            .env("REGION", &server.region)
            .env("AWS_ACCESS_KEY_ID", &server.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &server.secret_key)
            .output()
            .expect("Python starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{kind:?}: {error}\n{}", proxy.table());
        let said = "hello\nel\nboto3\n5242883\n['a b/c', 'copy', 'large']\n0\n";
        assert_eq!(String::from_utf8_lossy(&output.stdout), said, "{kind:?}");
        let operations: Vec<Operation> = proxy.seen().iter().map(|seen| seen.operation).collect();
        let expected = [
            Operation::PutObject,
            Operation::GetObject,
            Operation::GetObject,
            Operation::HeadObject,
            Operation::CreateMultipartUpload,
            Operation::UploadPart,
            Operation::UploadPart,
            Operation::CompleteMultipartUpload,
            Operation::CopyObject,
            Operation::HeadObject,
            Operation::ListObjectsV2,
            Operation::DeleteObject,
            Operation::DeleteObjects,
            Operation::ListObjectsV2,
        ];
        assert_eq!(operations, expected, "{kind:?}");
        assert!(proxy.bytes_sent() > 5 << 20, "{kind:?}: {}", proxy.table());
    }
}

#[test]
fn signatures_are_checked_over_the_host_as_it_was_sent() {
    for kind in [Kind::S3sFs, Kind::Radosgw] {
        let test = format!("faults::signatures_are_checked_over_the_host_as_it_was_sent::{}", kind.name());
        let Some(server) = Server::shared(kind, &test) else { continue };
        let proxy = Proxy::start(&server.endpoint);
        let mut client = server.client_at(&proxy.endpoint());
        client.expect(200, "GET", "/", &[], b"").expect("the signature holds");
        client.secret_key.push('x');
        client.expect(403, "GET", "/", &[], b"").expect("another key's does not");
    }
}

/// SHA-256 of `hello`, and of nothing.
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Which curls sign requests to S3 as S3 wants it: 7.87 was the first.
fn signing_curl() -> Option<()> {
    let output = Command::new("curl").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.split(' ').nth(1)?.split('.').map_while(|number| number.parse::<u32>().ok());
    ((numbers.next()?, numbers.next()?) >= (7, 87)).then_some(())
}

#[test]
fn curl_works_by_way_of_it() {
    for kind in Kind::ALL {
        let test = format!("faults::curl_works_by_way_of_it::{}", kind.name());
        let Some(()) = signing_curl() else { return skip(&test, "there is no curl of 7.87 or newer") };
        let Some(server) = Server::shared(kind, &test) else { continue };
        let proxy = Proxy::start(&server.endpoint);
        let url = format!("{}/{}/key", proxy.endpoint(), server.bucket(false));
        let curl = |payload: &str, more: &[&str]| {
            let output = Command::new("curl")
                .args(["--silent", "--show-error", "--fail-with-body", "--noproxy", "*"])
                .args(["--aws-sigv4", &format!("aws:amz:{}:s3", server.region)])
                .args(["--user", &format!("{}:{}", server.access_key, server.secret_key)])
                // Older ones sign for S3 and leave this out.
                .args(["--header", &format!("x-amz-content-sha256: {payload}")])
                .args(more)
                .arg(&url)
                .output()
                .expect("curl starts");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{kind:?} {more:?}: {text}\n{}", server.log());
            text
        };
        curl(HELLO, &["--request", "PUT", "--header", "content-type: text/plain", "--data-binary", "hello"]);
        assert_eq!(curl(EMPTY, &[]), "hello", "{kind:?}");
    }
}
