//! Which operation of S3 a request is, by its method, path, query and headers. Buckets stand in the path.

use percent_encoding::percent_decode_str;

/// Operations by the names that S3's reference gives them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "S3's reference says what they are")]
pub enum Operation {
    AbortMultipartUpload,
    CompleteMultipartUpload,
    CopyObject,
    CreateBucket,
    CreateMultipartUpload,
    DeleteBucket,
    DeleteObject,
    DeleteObjects,
    GetBucketLocation,
    GetBucketVersioning,
    GetObject,
    GetObjectAttributes,
    HeadBucket,
    HeadObject,
    ListBuckets,
    ListMultipartUploads,
    ListObjectVersions,
    ListObjects,
    ListObjectsV2,
    ListParts,
    PutBucketVersioning,
    PutObject,
    UploadPart,
    UploadPartCopy,
    /// One that is not in this list, or none of S3.
    Other,
}

/// What a request is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Subject {
    pub(super) operation: Operation,
    pub(super) bucket: String,
    /// Decoded.
    pub(super) key: String,
    pub(super) part: Option<String>,
}

pub(super) fn subject(method: &str, target: &str, is_copy: bool) -> Subject {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let pairs = || query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let has = |name: &str| pairs().any(|(known, _)| known == name);
    let operation = match (bucket.is_empty(), key.is_empty()) {
        (true, _) if method == "GET" => Operation::ListBuckets,
        (true, _) => Operation::Other,
        (false, true) => of_bucket(method, &has, query.contains("list-type=2")),
        (false, false) => of_object(method, &has, is_copy),
    };
    Subject {
        operation,
        bucket: bucket.to_owned(),
        key: percent_decode_str(key).decode_utf8_lossy().into_owned(),
        part: pairs().find(|(name, _)| *name == "partNumber").map(|(_, number)| number.to_owned()),
    }
}

/// What asks for something about a bucket or an object that is no operation of the list.
const OTHERS: &[&str] = &[
    "acl",
    "analytics",
    "cors",
    "encryption",
    "legal-hold",
    "lifecycle",
    "logging",
    "notification",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "restore",
    "retention",
    "select",
    "tagging",
    "torrent",
    "website",
];

fn of_bucket(method: &str, has: &dyn Fn(&str) -> bool, is_second: bool) -> Operation {
    if OTHERS.iter().any(|name| has(name)) {
        return Operation::Other;
    }
    match method {
        "GET" if has("location") => Operation::GetBucketLocation,
        "GET" if has("uploads") => Operation::ListMultipartUploads,
        "GET" if has("versioning") => Operation::GetBucketVersioning,
        "GET" if has("versions") => Operation::ListObjectVersions,
        "GET" if is_second => Operation::ListObjectsV2,
        "GET" => Operation::ListObjects,
        "HEAD" => Operation::HeadBucket,
        "PUT" if has("versioning") => Operation::PutBucketVersioning,
        "PUT" => Operation::CreateBucket,
        "DELETE" => Operation::DeleteBucket,
        "POST" if has("delete") => Operation::DeleteObjects,
        _ => Operation::Other,
    }
}

fn of_object(method: &str, has: &dyn Fn(&str) -> bool, is_copy: bool) -> Operation {
    if OTHERS.iter().any(|name| has(name)) {
        return Operation::Other;
    }
    match (method, has("uploadId")) {
        ("GET", true) => Operation::ListParts,
        ("GET", false) if has("attributes") => Operation::GetObjectAttributes,
        ("GET", false) => Operation::GetObject,
        ("HEAD", _) => Operation::HeadObject,
        ("PUT", true) if is_copy => Operation::UploadPartCopy,
        ("PUT", true) => Operation::UploadPart,
        ("PUT", false) if is_copy => Operation::CopyObject,
        ("PUT", false) => Operation::PutObject,
        ("POST", true) => Operation::CompleteMultipartUpload,
        ("POST", false) if has("uploads") => Operation::CreateMultipartUpload,
        ("DELETE", true) => Operation::AbortMultipartUpload,
        ("DELETE", false) => Operation::DeleteObject,
        _ => Operation::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Operation, subject};

    #[test]
    fn operations_are_told_apart() {
        for (request, is_copy, expected) in [
            ("GET /", false, Operation::ListBuckets),
            ("POST /", false, Operation::Other),
            ("PUT /b", false, Operation::CreateBucket),
            ("PUT /b/", false, Operation::CreateBucket),
            ("PUT /b?versioning", false, Operation::PutBucketVersioning),
            ("PUT /b?lifecycle", false, Operation::Other),
            ("HEAD /b", false, Operation::HeadBucket),
            ("DELETE /b", false, Operation::DeleteBucket),
            ("POST /b?delete", false, Operation::DeleteObjects),
            ("POST /b", false, Operation::Other),
            ("GET /b", false, Operation::ListObjects),
            ("GET /b?list-type=2&prefix=versions", false, Operation::ListObjectsV2),
            ("GET /b?versions", false, Operation::ListObjectVersions),
            ("GET /b?uploads", false, Operation::ListMultipartUploads),
            ("GET /b?location=", false, Operation::GetBucketLocation),
            ("GET /b?versioning", false, Operation::GetBucketVersioning),
            ("GET /b/k", false, Operation::GetObject),
            ("GET /b/k?versionId=1", false, Operation::GetObject),
            ("GET /b/k?attributes", false, Operation::GetObjectAttributes),
            ("GET /b/k?tagging", false, Operation::Other),
            ("GET /b/k?uploadId=u", false, Operation::ListParts),
            ("HEAD /b/k", false, Operation::HeadObject),
            ("PUT /b/k", false, Operation::PutObject),
            ("PUT /b/k", true, Operation::CopyObject),
            ("PUT /b/k?partNumber=1&uploadId=u", false, Operation::UploadPart),
            ("PUT /b/k?partNumber=1&uploadId=u", true, Operation::UploadPartCopy),
            ("POST /b/k?uploads", false, Operation::CreateMultipartUpload),
            ("POST /b/k?uploadId=u", false, Operation::CompleteMultipartUpload),
            ("DELETE /b/k", false, Operation::DeleteObject),
            ("DELETE /b/k?uploadId=u", false, Operation::AbortMultipartUpload),
            ("PATCH /b/k", false, Operation::Other),
        ] {
            let (method, target) = request.split_once(' ').expect("two words");
            assert_eq!(subject(method, target, is_copy).operation, expected, "{request}");
        }
        let found = subject("PUT", "/b/f%20o/k?partNumber=7&uploadId=u", false);
        assert_eq!((&*found.bucket, &*found.key, found.part.as_deref()), ("b", "f o/k", Some("7")));
    }
}
