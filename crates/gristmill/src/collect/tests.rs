//! Over a bucket, days later by our clock: what servers say of the age of their objects cannot be turned back.

use std::sync::Arc;
use std::time::Duration;

use gristmill_db::blob;
use gristmill_model::ManualClock;
use gristmill_testkit::s3::{Kind, Server};

use crate::app::App;
use crate::config::{Config, Surroundings};

/// A bucket, and what is in it: every version of every object.
fn versions(server: &Server, bucket: &str) -> usize {
    let listed = server.client().expect(200, "GET", &format!("/{bucket}?versions="), &[], b"").unwrap();
    listed.text().matches("<VersionId>").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_in_a_bucket_go_with_all_their_versions() {
    for kind in [Kind::Moto, Kind::Radosgw] {
        let test = "collect::blobs_in_a_bucket_go_with_all_their_versions";
        let Some(server) = Server::shared(kind, test) else { continue };
        let bucket = server.bucket(true);
        let folder = tempfile::tempdir().unwrap();
        let (id, secret) = (&server.access_key, &server.secret_key);
        let credentials = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        std::fs::write(folder.path().join("credentials"), credentials).unwrap();
        let text = format!(
            "data_dir = \"data\"\n[storage]\nurl = \"s3://{bucket}\"\nendpoint = \"{}\"\n\
             credentials_file = \"credentials\"\n",
            server.endpoint
        );
        std::fs::write(folder.path().join("gristmill.toml"), text).unwrap();
        let path = |name: &str| (name == "PATH").then(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
        let around = Surroundings::new(folder.path().to_owned(), path);
        let config = Config::load(Some(&folder.path().join("gristmill.toml")), &around).unwrap();
        let app = App::open(config, &around).await.unwrap();
        assert_eq!(versions(server, &bucket), 0, "nothing is left of what was tried out");
        let now = app.clock.now();
        let known = app.storage.put_bytes("nothing refers to it").await.unwrap();
        app.storage.put_bytes("no row knows it").await.unwrap();
        app.db.transact(move |tx| blob::add(tx, known.digest, known.size)).await.unwrap();
        let report = super::run(&app).await.unwrap();
        assert_eq!((report.blobs, versions(server, &bucket)), (0, 2), "of today");
        let later = now.plus(Duration::from_secs(3 * 24 * 3600));
        let app = app.with(|inner| inner.clock = Arc::new(ManualClock::at(later)));
        let report = super::run(&app).await.unwrap();
        assert_eq!((report.blobs, versions(server, &bucket)), (2, 0), "{kind:?}");
    }
}
