//! Collection: what must stay stays, a dry run changes nothing, and what a crash left is finished.

use gristmill::collect::{self, Report};
use gristmill_db::publication::{self, Publication};
use gristmill_db::{DbError, artifact, blob, step};
use gristmill_model::{Digest, ObjectKey};

use super::{DAY, Put, World, commit};

impl World {
    async fn versions(&self, key: &str) -> Vec<i64> {
        let key: ObjectKey = key.parse().unwrap();
        let found = self.app.db.read(move |tx| publication::versions(tx, &key, i64::MAX, 100)).await;
        found.unwrap().iter().map(|publication: &Publication| publication.seq).collect()
    }

    async fn stored_versions(&self, key: &str) -> Vec<i64> {
        let found = self.app.storage.versions(&key.parse().unwrap(), None, 100).await.unwrap();
        found.iter().map(|version| version.seq).collect()
    }

    async fn has_archive(&self, key: &str, of: char) -> bool {
        let (key, commit) = (key.parse::<ObjectKey>().unwrap(), commit(of).parse().unwrap());
        let found = self.app.db.read(move |tx| artifact::of_commit(tx, &key, commit)).await;
        found.unwrap().is_some()
    }

    async fn is_stored(&self, digest: Digest) -> bool {
        self.app.storage.contains(&digest).await.unwrap()
    }

    async fn is_known(&self, digest: Digest) -> bool {
        self.app.db.read(move |tx| blob::is_known(tx, digest)).await.unwrap()
    }

    /// Takes the artifact of a run away, and condemns its step, as a collection did at the world's time.
    async fn condemn(&self, put: &Put) {
        let (run, step) = (put.run, put.step);
        let condemned = self.past.transact(move |tx| {
            for artifact in artifact::of_run(tx, run)? {
                artifact::delete(tx, artifact.id)?;
            }
            step::condemn(tx, tx.now().plus(DAY), 9)
        });
        assert_eq!(condemned.await.map_err(|error: DbError| error).unwrap(), 1, "{step}");
    }
}

#[tokio::test]
async fn versions_go_by_count_and_age_but_never_the_newest() {
    let world = World::new("", "keep = { versions = 2, days = 30 }").await;
    world.turn_back(DAY * 31);
    for (seq, of) in [(1, 'a'), (2, 'b'), (3, 'c')] {
        world.publish("one.zip", seq, &commit(of), format!("one {seq}").as_bytes()).await;
    }
    world.publish("old.zip", 4, &commit('d'), b"old").await;
    world.make("one.zip", &commit('e'), b"never moved").await;
    world.turn_back(DAY * 29);
    for (seq, of) in [(5, '5'), (6, '6'), (7, '7')] {
        world.publish("two.zip", seq, &commit(of), format!("two {seq}").as_bytes()).await;
    }
    // By age 1 and 2, by count 1 and 5. The steps of 1, 2 and `e` have no artifact any more; that of 5
    // keeps its artifact, which is not old enough.
    let expected = Report { versions: 3, artifacts: 3, steps_condemned: 3, ..Report::default() };
    assert_eq!(collect::plan(&world.app).await.unwrap(), expected);
    assert_eq!(world.versions("one.zip").await, [3, 2, 1], "a dry run changes nothing");
    assert_eq!(world.stored_versions("one.zip").await, [3, 2, 1]);
    assert!(world.has_archive("one.zip", 'e').await);
    assert_eq!(collect::plan(&world.app).await.unwrap(), expected, "and plans the same again");

    assert_eq!(collect::run(&world.app).await.unwrap(), expected);
    for (key, left) in [("one.zip", vec![3]), ("two.zip", vec![7, 6]), ("old.zip", vec![4])] {
        assert_eq!(world.versions(key).await, left, "{key}");
        assert_eq!(world.stored_versions(key).await, left, "{key}");
    }
    for (key, of, is_left) in [
        ("one.zip", 'a', false),
        ("one.zip", 'b', false),
        ("one.zip", 'c', true),
        ("one.zip", 'e', false),
        ("old.zip", 'd', true),
        ("two.zip", '5', true),
    ] {
        assert_eq!(world.has_archive(key, of).await, is_left, "{key} of {of}");
    }
    assert_eq!(world.get("/archive/one.zip").await.text(), "one 3");
    assert_eq!(world.get("/archive/old.zip").await.text(), "old");
    let again = collect::run(&world.app).await.unwrap();
    assert_eq!(again, Report::default(), "nothing is left to do");
}

#[tokio::test]
async fn without_a_limit_everything_stays() {
    let world = World::new("", "").await;
    world.turn_back(DAY * 4000);
    world.publish("one.zip", 1, &commit('a'), b"1").await;
    world.publish("one.zip", 2, &commit('b'), b"2").await;
    world.make("one.zip", &commit('c'), b"3").await;
    assert_eq!(collect::plan(&world.app).await.unwrap(), Report::default());
    assert_eq!(collect::run(&world.app).await.unwrap(), Report::default());
    assert_eq!(world.versions("one.zip").await, [2, 1]);
    assert!(world.has_archive("one.zip", 'c').await);
}

#[tokio::test]
async fn a_count_alone_keeps_the_archives_of_commits() {
    let world = World::new("", "keep = { versions = 1 }").await;
    world.turn_back(DAY * 4000);
    world.publish("one.zip", 1, &commit('a'), b"1").await;
    world.publish("one.zip", 2, &commit('b'), b"2").await;
    let expected = Report { versions: 1, ..Report::default() };
    assert_eq!(collect::run(&world.app).await.unwrap(), expected);
    assert_eq!(world.get(&format!("/archive/one.zip@{}", commit('a'))).await.text(), "1");
}

#[tokio::test]
async fn what_readers_see_stays_while_the_next_version_is_on_its_way() {
    let world = World::new("", "keep = { versions = 1, days = 1 }").await;
    world.turn_back(DAY * 10);
    world.publish("one.zip", 1, &commit('a'), b"1").await;
    let put = world.make("one.zip", &commit('b'), b"2").await;
    world.desire("one.zip", 2, &commit('b'), &put, 1).await;
    assert_eq!(collect::run(&world.app).await.unwrap().versions, 0);
    assert_eq!(world.get("/archive/one.zip").await.text(), "1");
    assert_eq!(world.stored_versions("one.zip").await, [1]);
}

#[tokio::test]
async fn more_versions_than_one_page() {
    let world = World::new("", "keep = { versions = 1 }").await;
    world.turn_back(DAY * 10);
    let put = world.make("one.zip", &commit('a'), b"same").await;
    for seq in 1..=450 {
        world.desire("one.zip", seq, &commit('a'), &put, 4).await;
        let key: ObjectKey = "one.zip".parse().unwrap();
        let done = world.past.transact(move |tx| publication::published(tx, &key, seq, None)).await;
        done.map_err(|error: DbError| error).unwrap();
    }
    assert_eq!(collect::plan(&world.app).await.unwrap().versions, 449);
    assert_eq!(collect::run(&world.app).await.unwrap().versions, 449);
    assert_eq!(world.versions("one.zip").await, [450]);
}

#[tokio::test]
async fn bytes_go_a_day_after_their_step_was_condemned() {
    let world = World::new("", "").await;
    world.turn_back(DAY * 2);
    let gone = world.make("one.zip", &commit('a'), b"nobody needs it").await;
    world.condemn(&gone).await;
    let kept = world.publish("one.zip", 1, &commit('b'), b"published").await;
    let young = world.make("one.zip", &commit('c'), b"stored again just now").await;
    world.condemn(&young).await;
    world.age(young.digest, 0);
    world.turn_back(DAY / 2);
    let waits = world.make("one.zip", &commit('d'), b"condemned today").await;
    world.condemn(&waits).await;

    let expected = Report { steps: 2, blobs: 1, bytes: 15, ..Report::default() };
    assert_eq!(collect::plan(&world.app).await.unwrap(), expected);
    assert!(world.is_stored(gone.digest).await);
    assert_eq!(collect::run(&world.app).await.unwrap(), expected);
    for (what, put, is_stored, is_known) in [
        ("gone", &gone, false, false),
        ("kept", &kept, true, true),
        ("young", &young, true, true),
        ("waits", &waits, true, true),
    ] {
        assert_eq!(world.is_stored(put.digest).await, is_stored, "{what}");
        assert_eq!(world.is_known(put.digest).await, is_known, "{what}");
    }
}

#[tokio::test]
async fn a_condemned_step_that_is_used_again_is_pardoned() {
    let world = World::new("", "").await;
    world.turn_back(DAY * 2);
    let put = world.make("one.zip", &commit('a'), b"used again").await;
    world.condemn(&put).await;
    let (step_key, job) = (put.step, put.job);
    let used = world.app.db.transact(move |tx| step::begin(tx, step_key, job, None)).await;
    assert_eq!(used.unwrap(), step::Begin::Hit("{}".to_owned()));
    assert_eq!(collect::run(&world.app).await.unwrap(), Report::default());
    assert!(world.is_stored(put.digest).await && world.is_known(put.digest).await);
}

#[tokio::test]
async fn what_died_between_mark_and_deletion_is_finished() {
    let world = World::new("", "").await;
    world.turn_back(DAY * 2);
    let mut marked = Vec::new();
    for text in ["old", "young", "absent"] {
        let stored = world.app.storage.put_bytes(text.as_bytes()).await.unwrap();
        world.age(stored.digest, 3);
        marked.push(stored.digest);
        let digest = stored.digest;
        let mark = world.past.transact(move |tx| {
            blob::add(tx, digest, 3).unwrap();
            blob::mark_deleting(tx, digest)
        });
        assert!(mark.await.map_err(|error: DbError| error).unwrap());
    }
    world.age(marked[1], 0);
    world.app.storage.delete_blob(&marked[2]).await.unwrap();
    let expected = Report { blobs: 1, bytes: 3, ..Report::default() };
    assert_eq!(collect::plan(&world.app).await.unwrap(), expected);
    assert_eq!(collect::run(&world.app).await.unwrap(), expected);
    assert!(!world.is_stored(marked[0]).await);
    assert!(world.is_stored(marked[1]).await, "somebody stored it again: only the mark goes");
    for digest in marked {
        assert!(!world.is_known(digest).await);
    }
}

#[tokio::test]
async fn files_that_no_row_knows_go_when_they_are_a_day_old() {
    let world = World::new("", "").await;
    let old = world.app.storage.put_bytes(b"left by a crash").await.unwrap().digest;
    let young = world.app.storage.put_bytes(b"about to be recorded").await.unwrap().digest;
    world.age(old, 2);
    let known = world.make("one.zip", &commit('a'), b"known").await.digest;
    let expected = Report { blobs: 1, bytes: 15, ..Report::default() };
    assert_eq!(collect::plan(&world.app).await.unwrap(), expected);
    assert_eq!(collect::run(&world.app).await.unwrap(), expected);
    assert!(!world.is_stored(old).await);
    assert!(world.is_stored(young).await && world.is_stored(known).await);
}

#[tokio::test]
async fn keys_that_somebody_changed_are_found_and_repaired() {
    let world = World::new("", "").await;
    world.publish("one.zip", 1, &commit('a'), b"one").await;
    world.publish("two.zip", 2, &commit('b'), b"two").await;
    let public = world.folder.path().join("gristmill-data/storage/public/two.zip");
    assert_eq!(
        collect::check_keys(&world.app, true).await.unwrap(),
        collect::KeyReport { keys: 2, ..collect::KeyReport::default() }
    );
    std::fs::remove_file(&public).unwrap();
    let found = collect::check_keys(&world.app, false).await.unwrap();
    assert_eq!((found.keys, found.wrong, found.repaired), (2, 1, 0));
    assert_eq!(found.named, [("two.zip".parse().unwrap(), None)]);
    assert!(!public.exists());
    let repaired = collect::check_keys(&world.app, true).await.unwrap();
    assert_eq!((repaired.keys, repaired.wrong, repaired.repaired), (2, 1, 1));
    assert_eq!(std::fs::read(&public).unwrap(), b"two");
    assert_eq!(collect::check_keys(&world.app, true).await.unwrap().wrong, 0);
}
