//! A server of Gristmill over the same bucket. What `upload` has left there is enough for it, and neither is in the other's
//! way. Nothing here is of the commands' own code: only what a server has too.

use std::io::{Read as _, Seek as _};
use std::sync::Arc;

use gristmill_model::{AssetKeys, AssetSet, AssetState, Digest, ObjectKey};
use gristmill_storage::{
    Bucket, BucketAccess, BucketCredentials, BucketKeys, Opening, PublicObject, S3Settings, Storage,
    StorageUrl,
};
use gristmill_testkit::s3::Kind;

use crate::world::{At, World};

fn url(world: &World) -> StorageUrl {
    let is_folder = world.bucket.starts_with("file:");
    let text = if is_folder { world.bucket.clone() } else { format!("s3://{}", world.bucket) };
    text.parse().unwrap()
}

async fn storage(world: &World) -> Storage {
    let mut settings = S3Settings::new(world.path("cache"));
    if let Some(server) = world.server {
        let (id, secret) = (&server.access_key, &server.secret_key);
        let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        std::fs::write(world.path("credentials"), text).unwrap();
        settings.region = Some(server.region.clone());
        settings.endpoint = Some(server.endpoint.clone());
        settings.path_style = true;
        settings.credentials_file = Some(world.path("credentials"));
    }
    Storage::open(&url(world), &settings, Opening::Anew).await.unwrap()
}

async fn bucket(world: &World) -> Bucket {
    let access = world.server.map_or_else(BucketAccess::default, |server| BucketAccess {
        region: Some(server.region.clone()),
        endpoint: Some(server.endpoint.clone()),
        path_style: true,
        credentials: BucketCredentials::Keys(BucketKeys {
            id: server.access_key.clone(),
            secret: server.secret_key.clone(),
            token: None,
        }),
        ..BucketAccess::default()
    });
    Bucket::open(&url(world), &access).await
}

/// The complete sets, by their manifests.
async fn sets(bucket: &Bucket, keys: &AssetKeys) -> Vec<AssetSet> {
    let mut sets = Vec::new();
    for listed in bucket.list(&keys.manifests()).await.unwrap() {
        let (bytes, _) = bucket.get(&listed.key).await.unwrap().unwrap();
        sets.push(AssetSet::parse(&bytes).unwrap());
    }
    sets.retain(|set| set.state == AssetState::Complete);
    sets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_lists_promotes_and_collects_what_was_uploaded() {
    for at in At::ALL {
        let Some(mut world) = World::new(at, "server::lists") else { continue };
        world.unset("CODE_HASH_FIND_FILTER");
        let mut commits = Vec::new();
        for text in ["one", "two"] {
            commits.push(world.commit("lambdas/a/m.py", text));
            world.check(&[]).ended(0);
            world.build(&[("a.zip", text), ("index.html", "page")]);
            world.upload(&[]).ended(0);
        }
        let (storage, bucket, keys) = (storage(&world).await, bucket(&world).await, AssetKeys::new(""));

        // Listed, as artifacts are: commit, files, sizes, digests, media types.
        let sets = sets(&bucket, &keys).await;
        let mut found: Vec<String> = sets.iter().map(|set| set.commit.to_string()).collect();
        found.sort();
        commits.sort();
        assert_eq!(found, commits, "{at:?}");
        let promoted = sets.iter().find(|set| set.files[0].digest == Some(Digest::of(b"two"))).unwrap();
        let page = &promoted.files[1];
        assert_eq!(
            (page.path.as_str(), page.media_type.as_str()),
            ("index.html", "text/html; charset=utf-8")
        );

        // Promoted: its digest is the blob's, under which it gets a public key with versions.
        let file = &promoted.files[0];
        let mut local = tempfile::tempfile().unwrap();
        let from = format!("{}{}", keys.commit(&promoted.commit.to_string()), file.path);
        let got = bucket.download(&from, Arc::new(local.try_clone().unwrap())).await.unwrap();
        assert_eq!(got, Some((file.size, file.digest.unwrap())));
        let mut bytes = Vec::new();
        local.rewind().unwrap();
        local.read_to_end(&mut bytes).unwrap();
        let blob = storage.put_bytes(bytes).await.unwrap();
        assert_eq!(Some(blob.digest), file.digest);
        let key: ObjectKey = "release/a.zip".parse().unwrap();
        let object = PublicObject {
            seq: 1,
            digest: blob.digest,
            size: blob.size,
            content_type: file.media_type.clone(),
            metadata: [("commit".to_owned(), promoted.commit.to_string())].into(),
        };
        assert!(storage.project(&key, &object).await.unwrap().changed);
        // A folder has what readers see in a folder of its own.
        let shown = if at == At::Folder { "public/release/a.zip" } else { "release/a.zip" };
        assert_eq!(world.read(shown).as_deref(), Some("two"));

        // Neither takes what is the other's for its own, nor for damage.
        let mut findings = Vec::new();
        storage.verify(true, |finding| findings.push(finding.to_string())).await.unwrap();
        assert_eq!(findings, Vec::<String>::new(), "{at:?}");
        assert_eq!(world.asset(&["list", "--json"]).json().as_array().unwrap().len(), 2);
        world.check(&[]).ended(0).has("2 artifact(s) found");
        if let Some(library) = gristmill_testkit::faketime().filter(|_| at == At::Server(Kind::Moto)) {
            // As three days later: all sets would go, and nothing of the server's.
            world.set("LD_PRELOAD", library.to_str().unwrap());
            world.set("FAKETIME", "+3d");
            let told = world.asset(&["gc", "--keep-days", "1", "--json"]).ended(0).json();
            world.unset("LD_PRELOAD");
            let removed = told["removed"].as_array().unwrap();
            assert_eq!(removed.len(), 2, "{told}");
            assert!(removed.iter().all(|set| set.as_str().unwrap().contains("/artifacts/")), "{told}");
        }

        // Collected: what the manifest names, and the manifest. The promoted bytes stay.
        let name = promoted.commit.to_string();
        for file in &promoted.files {
            bucket.delete(&format!("{}{}", keys.commit(&name), file.path)).await.unwrap();
        }
        bucket.delete(&keys.commit_manifest(&name)).await.unwrap();
        assert_eq!(world.asset(&["list", "--json"]).json().as_array().unwrap().len(), 1);
        assert_eq!(storage.current(&key, true).await.unwrap().unwrap().digest, blob.digest);
    }
}
