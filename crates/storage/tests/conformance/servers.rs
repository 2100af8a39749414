//! Over servers of S3 that others wrote. What each is known not to do is listed beforehand.

use std::path::Path;

use gristmill_storage::{Opening, S3Settings, Storage, StorageUrl};
use gristmill_testkit::s3::{Kind, Server};

use crate::{Gap, suite};

/// How a bucket of this server is reached, by way of `endpoint`. `folder` is the test's.
pub(crate) fn settings(server: &Server, endpoint: &str, folder: &Path, cache: &str) -> S3Settings {
    let credentials = folder.join("credentials");
    let (id, secret) = (&server.access_key, &server.secret_key);
    let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    std::fs::write(&credentials, text).unwrap();
    S3Settings {
        region: Some(server.region.clone()),
        endpoint: Some(endpoint.to_owned()),
        path_style: true,
        credentials_file: Some(credentials),
        ..S3Settings::new(folder.join(cache))
    }
}

/// What a bucket of versions, without records of our own, does otherwise than a folder.
const OF_BUCKETS: &[Gap] = &[(
    "forgotten_key_counts_anew",
    "a deleted version leaves no trace in a bucket; that the key does not move back is then for the database alone",
)];

/// What one without versions does not do besides.
const WITHOUT_VERSIONS: &[Gap] = &[
    OF_BUCKETS[0],
    ("equal_bytes_under_a_new_seq_make_a_version", "the version before is gone"),
    ("versions_page_newest_first", "there is only the newest"),
    ("sound_storage_has_no_findings", "the version before is gone and not counted"),
    ("version_in_use_stays", "the version before is gone, so that there is none to delete"),
    (
        "withdrawn_key_returns_only_forward",
        "what is withdrawn is gone, and does not say how far the key came",
    ),
];

/// What s3s-fs does not do, as its buckets are folders of files.
const OF_FOLDERS: &[Gap] = &[
    (
        "key_holds_what_was_projected",
        "a key that is the beginning of another one is a folder there: status 500",
    ),
    (
        "odd_names_work",
        "metadata of a key with a part of 255 bytes would need a longer file name, and is dropped",
    ),
];

async fn over(kind: Kind, gaps: &[Gap]) {
    let Some(server) = Server::shared(kind, &format!("conformance::{}", kind.name())) else { return };
    let folder = tempfile::tempdir().unwrap();
    let open = async |name: &'static str| {
        let url: StorageUrl =
            format!("s3://{}/some/prefix", server.bucket(kind.has_versions())).parse().unwrap();
        let settings = settings(server, &server.endpoint, folder.path(), name);
        Storage::open(&url, &settings, Opening::Anew).await.unwrap()
    };
    let can = open("capabilities").await.capabilities();
    println!("{}: {can}", kind.name());
    suite(open, gaps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moto() {
    over(Kind::Moto, OF_BUCKETS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3s_fs() {
    over(Kind::S3sFs, &[WITHOUT_VERSIONS, OF_FOLDERS].concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn radosgw() {
    over(Kind::Radosgw, OF_BUCKETS).await;
}
