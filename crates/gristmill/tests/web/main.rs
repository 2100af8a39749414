//! Reading through the server, pages, collection and doctor, on a real folder. No worker runs: what is
//! published is put there by the functions that a worker would call.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod collection;
mod doctor;
mod downloads;
mod pages;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use gristmill::app::App;
use gristmill::clock::system_random;
use gristmill::config::{Config, Surroundings};
use gristmill::http::{download, pages as page_routes};
use gristmill_db::artifact::{self, Artifact};
use gristmill_db::publication::{self, Desire};
use gristmill_db::{Db, DbError, blob, project, step};
use gristmill_model::{
    ArtifactId, CommitId, Digest, JobId, ManualClock, ObjectKey, ProjectId, RunId, Timestamp,
};
use gristmill_storage::PublicObject;
use http_body_util::BodyExt;
use tower::ServiceExt;

const DAY: Duration = Duration::from_secs(86_400);
const TREE: &str = "1111111111111111111111111111111111111111";

/// A data folder with one project, `acme/shop`.
struct World {
    folder: tempfile::TempDir,
    app: App,
    /// The same database, to write into the past.
    past: Db,
    clock: Arc<ManualClock>,
    project: ProjectId,
    next: AtomicU64,
}

/// What was put there.
struct Put {
    digest: Digest,
    run: RunId,
    step: Digest,
    job: JobId,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn around(folder: &std::path::Path) -> Surroundings {
    let mut around =
        Surroundings::new(folder.to_owned(), |name| (name == "SECRET").then(|| "s3cret".to_owned()));
    around.system_file = folder.join("none.toml");
    around
}

impl World {
    /// `server` are lines of `[server]`, `keep` is the pipeline's.
    async fn new(server: &str, keep: &str) -> World {
        let text = format!(
            "[server]\n{server}\n[[project]]\nname = \"acme/shop\"\ngit = \"https://127.0.0.1:1/acme/shop.git\"\n[[project.pipeline]]\nkind = \"archive\"\nkey = \"{{branch}}.zip\"\n{keep}\n"
        );
        World::with_config(&text).await
    }

    async fn with_config(text: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gristmill.toml"), text).unwrap();
        let around = around(folder.path());
        let config = Config::load(None, &around).unwrap();
        let app = App::open(config, &around).await.unwrap();
        let clock = Arc::new(ManualClock::at(app.clock.now()));
        let past =
            Db::open(&folder.path().join("gristmill-data/gristmill.db"), clock.clone(), system_random())
                .unwrap();
        let name = "acme/shop".parse().unwrap();
        let project = app.db.read(move |tx| project::by_name(tx, &name)).await.unwrap();
        let project = project.map_or(ProjectId::new(Timestamp(0), 0), |project| project.id);
        World { folder, app, past, clock, project, next: AtomicU64::new(1) }
    }

    /// What is written from now on was written `ago`.
    fn turn_back(&self, ago: Duration) {
        self.clock.set(self.app.clock.now().minus(ago));
    }

    fn router(&self) -> Router {
        download::routes().merge(page_routes::routes()).with_state(self.app.clone())
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: head.status, headers: head.headers, body }
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[]).await
    }

    /// What a worker leaves behind when it has made `bytes` of a commit for a key: blob, step, artifact.
    async fn make(&self, key: &str, commit: &str, bytes: &[u8]) -> Put {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let stored = self.app.storage.put_bytes(bytes.to_vec()).await.unwrap();
        let now = self.clock_now();
        let (run, job) = (RunId::new(now, n.into()), JobId::new(now, n.into()));
        let step = Digest::of_parts([b"step".as_slice(), bytes]);
        let artifact = Artifact {
            id: ArtifactId::new(now, n.into()),
            run,
            project: self.project,
            pipeline: "archive".to_owned(),
            git_ref: "refs/heads/main".parse().unwrap(),
            commit: commit.parse().unwrap(),
            tree: TREE.parse().unwrap(),
            recipe: "zip/1".to_owned(),
            step,
            digest: stored.digest,
            size: i64::try_from(bytes.len()).unwrap(),
            media_type: "application/zip".to_owned(),
            index: None,
            key: key.parse().unwrap(),
            created: now,
        };
        let recorded = self.past.transact(move |tx| {
            if step::begin(tx, step, job, None)? == step::Begin::Make {
                blob::add(tx, stored.digest, stored.size).unwrap();
                assert!(step::made(tx, step, job, None, "{}", &[stored.digest])?);
            }
            artifact::insert(tx, &artifact)
        });
        recorded.await.unwrap();
        self.age(stored.digest, 400);
        Put { digest: stored.digest, run, step, job }
    }

    fn clock_now(&self) -> Timestamp {
        gristmill_model::Clock::now(&*self.clock)
    }

    /// What `publish` leaves behind.
    async fn publish(&self, key: &str, seq: i64, commit: &str, bytes: &[u8]) -> Put {
        let put = self.make(key, commit, bytes).await;
        self.desire(key, seq, commit, &put, bytes.len()).await;
        let key: ObjectKey = key.parse().unwrap();
        let object = PublicObject {
            seq,
            digest: put.digest,
            size: bytes.len() as u64,
            content_type: "application/zip".to_owned(),
            metadata: BTreeMap::new(),
        };
        self.app.storage.project(&key, &object).await.unwrap();
        let published =
            self.past.transact(move |tx| publication::published(tx, &key, seq, Some(&seq.to_string())));
        published.await.unwrap();
        self.age(put.digest, 400);
        put
    }

    async fn desire(&self, key: &str, seq: i64, commit: &str, put: &Put, size: usize) {
        let metadata = BTreeMap::from([("tree".to_owned(), TREE.to_owned())]);
        let want = Desire {
            key: key.parse().unwrap(),
            seq,
            digest: put.digest,
            size: i64::try_from(size).unwrap(),
            content_type: "application/zip".to_owned(),
            metadata,
            project: self.project,
            pipeline: "archive".to_owned(),
            git_ref: "refs/heads/main".parse().unwrap(),
            commit: commit.parse::<CommitId>().unwrap(),
            run: put.run,
            allow_shared_key: false,
        };
        let desired: Result<_, DbError> = self.past.transact(move |tx| publication::desire(tx, &want)).await;
        assert_eq!(desired.unwrap(), publication::Desired::Committed { seq });
    }

    fn blob_path(&self, digest: Digest) -> std::path::PathBuf {
        let hex = digest.to_hex();
        self.folder.path().join("gristmill-data/storage/blobs/sha256").join(&hex[..2]).join(&hex)
    }

    /// Makes a blob's file look as if it was stored `days` ago.
    fn age(&self, digest: Digest, days: u64) {
        let now = u64::try_from(self.app.clock.now().0).unwrap();
        let then = UNIX_EPOCH + Duration::from_millis(now) - DAY * u32::try_from(days).unwrap();
        std::fs::File::open(self.blob_path(digest)).unwrap().set_modified(then).unwrap();
    }
}

/// A commit id of one digit.
fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}
