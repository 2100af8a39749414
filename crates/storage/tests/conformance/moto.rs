//! Over moto, a server of S3 in Python that others wrote. Skipped where it is not installed (`pip install moto[server]`).

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gristmill_storage::{S3Settings, Storage, StorageUrl, create_bucket};

use crate::suite;

/// A running moto, stopped when dropped.
pub(crate) struct Moto {
    child: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Moto {
    pub(crate) fn start(test: &str) -> Option<Moto> {
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdin(Stdio::null()).stdout(Stdio::null());
        let Ok(mut child) = command.stderr(Stdio::piped()).spawn() else {
            println!("skipped: {test}: moto_server is not installed");
            return None;
        };
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, url) = line.split_once("Running on ")?;
            Some(url.trim().to_owned())
        });
        // What it goes on to say must go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        let folder = tempfile::tempdir().unwrap();
        let credentials = "[default]\naws_access_key_id = AKIATEST\naws_secret_access_key = not-a-secret\n";
        std::fs::write(folder.path().join("credentials"), credentials).unwrap();
        Some(Moto { child, url: url.unwrap(), folder })
    }

    pub(crate) fn settings(&self, cache: &str) -> S3Settings {
        S3Settings {
            region: Some("us-east-1".to_owned()),
            endpoint: Some(self.url.clone()),
            path_style: true,
            credentials_file: Some(self.folder.path().join("credentials")),
            ..S3Settings::new(self.folder.path().join(cache))
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a bucket of versions, without records of our own, does otherwise than a folder.
pub(crate) const OF_BUCKETS: &[crate::Gap] = &[(
    "forgotten_key_counts_anew",
    "a deleted version leaves no trace in a bucket; that the key does not move back is then for the database alone",
)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moto() {
    let Some(moto) = Moto::start("moto") else { return };
    let open = async |name: &'static str| {
        let bucket = name.replace('_', "-");
        let settings = moto.settings(name);
        create_bucket(&bucket, &settings).await.unwrap();
        let url: StorageUrl = format!("s3://{bucket}/some/prefix").parse().unwrap();
        Storage::open(&url, &settings).await.unwrap()
    };
    suite(open, OF_BUCKETS).await;
}
