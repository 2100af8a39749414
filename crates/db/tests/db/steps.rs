//! Content-keyed steps: made once, waited for, pinned, collected; and the blobs they consist of.

use gristmill_db::artifact::{self, Artifact};
use gristmill_db::blob::{self, BlobError};
use gristmill_db::job::{Finish, Lease};
use gristmill_db::publication;
use gristmill_db::step::{self, Begin};
use gristmill_model::{ArtifactId, Digest, ObjectId, RunId, Timestamp, TreeId};

use crate::bench::{Bench, START, commit, desire, digest, jobs, main_branch, retry, succeeded};

/// A bench with a run whose one job is leased.
fn leased() -> (Bench, gristmill_model::ProjectId, Lease) {
    let (bench, project) = Bench::with_project(9);
    bench.run(project, &jobs(&["a"]));
    let lease = bench.lease_one();
    (bench, project, lease)
}

fn another(bench: &Bench, project: gristmill_model::ProjectId) -> Lease {
    bench.run(project, &jobs(&["b"]));
    bench.lease_one()
}

fn begin(bench: &Bench, key: &str, lease: &Lease) -> Begin {
    bench.tx(|tx| step::begin(tx, digest(key), lease.job, lease.run))
}

fn made(bench: &Bench, key: &str, lease: &Lease, blobs: &[Digest]) -> bool {
    bench.tx(|tx| step::made(tx, digest(key), lease.job, lease.run, "\"out\"", blobs))
}

fn condemn(bench: &Bench, idle_since: i64) -> usize {
    bench.tx(|tx| {
        step::pardon(tx)?;
        step::condemn(tx, Timestamp(idle_since), 9)
    })
}

fn delete(bench: &Bench, before: i64, max: i64) -> usize {
    bench.tx(|tx| step::delete_condemned(tx, Timestamp(before), max))
}

#[test]
fn a_step_is_made_once_and_found_from_then_on() {
    let (bench, project, first) = leased();
    assert_eq!(begin(&bench, "k", &first), Begin::Make);
    let second = another(&bench, project);
    assert_eq!(begin(&bench, "k", &second), Begin::Wait(first.job));
    assert_eq!(begin(&bench, "other", &second), Begin::Make);
    assert!(made(&bench, "k", &first, &[]));
    assert_eq!(begin(&bench, "k", &second), Begin::Hit("\"out\"".to_owned()));
    assert!(!made(&bench, "k", &second, &[]), "it is not its to make");
}

#[test]
fn the_same_job_asks_again_and_goes_on_making() {
    let (bench, _, first) = leased();
    assert_eq!(begin(&bench, "k", &first), Begin::Make);
    assert_eq!(begin(&bench, "k", &first), Begin::Make);
    assert!(made(&bench, "k", &first, &[]));
}

#[test]
fn a_step_whose_maker_is_gone_is_made_by_the_next_that_asks() {
    let (bench, project, first) = leased();
    assert_eq!(begin(&bench, "k", &first), Begin::Make);
    bench.advance(20_001);
    bench.tx(|tx| crate::bench::rescue(tx, 9));
    let second = bench.lease(9).remove(0);
    assert_eq!(second.job, first.job);
    let third = another(&bench, project);
    assert_eq!(begin(&bench, "k", &third), Begin::Make);
    assert_eq!(begin(&bench, "k", &second), Begin::Wait(third.job));
    assert!(!made(&bench, "k", &second, &[]));
    assert!(made(&bench, "k", &third, &[]));
}

#[test]
fn a_maker_that_tries_again_or_ends_leaves_the_step_to_others() {
    for how in [retry("later"), Finish::Failed { reason: "no".to_owned(), public: None }, succeeded()] {
        let (bench, project, first) = leased();
        assert_eq!(begin(&bench, "k", &first), Begin::Make);
        bench.finish(&first, how);
        let second = another(&bench, project);
        assert_eq!(begin(&bench, "k", &second), Begin::Make);
    }
}

#[test]
fn a_hit_pins_and_what_is_pinned_is_not_condemned() {
    let (bench, project, first) = leased();
    begin(&bench, "k", &first);
    made(&bench, "k", &first, &[]);
    bench.finish(&first, succeeded());
    let second = another(&bench, project);
    assert_eq!(begin(&bench, "k", &second), Begin::Hit("\"out\"".to_owned()));
    assert_eq!(condemn(&bench, i64::MAX), 0);
    bench.finish(&second, succeeded());
    assert_eq!(condemn(&bench, i64::MAX), 1);
    assert_eq!(condemn(&bench, i64::MAX), 0, "once");
}

#[test]
fn a_step_used_lately_is_not_condemned() {
    let (bench, project, first) = leased();
    begin(&bench, "k", &first);
    bench.advance(100);
    made(&bench, "k", &first, &[]);
    bench.finish(&first, succeeded());
    assert_eq!(condemn(&bench, START + 100), 0);
    assert_eq!(condemn(&bench, START + 101), 1);
    bench.advance(50);
    let second = another(&bench, project);
    assert_eq!(begin(&bench, "k", &second), Begin::Hit("\"out\"".to_owned()), "found before it is gone");
    bench.finish(&second, succeeded());
    assert_eq!(condemn(&bench, START + 150), 0);
    assert_eq!(condemn(&bench, START + 151), 1);
}

#[test]
fn condemned_steps_are_deleted_after_their_time_unless_used() {
    let (bench, project, first) = leased();
    for key in ["k", "l", "m"] {
        begin(&bench, key, &first);
        made(&bench, key, &first, &[]);
    }
    bench.finish(&first, succeeded());
    bench.advance(10);
    assert_eq!(condemn(&bench, START + 1), 3);
    let second = another(&bench, project);
    assert!(matches!(begin(&bench, "k", &second), Begin::Hit(_)));
    assert_eq!(delete(&bench, START + 10, 9), 0);
    assert_eq!(delete(&bench, START + 11, 1), 1);
    assert_eq!(delete(&bench, START + 11, 9), 1);
    assert_eq!(delete(&bench, START + 11, 9), 0, "the one that was used stays");
    assert!(matches!(begin(&bench, "k", &second), Begin::Hit(_)));
    assert_eq!(begin(&bench, "l", &second), Begin::Make);
}

fn artifact_of(project: gristmill_model::ProjectId, run: RunId, step: Digest) -> Artifact {
    Artifact {
        id: ArtifactId::new(Timestamp(START), 1),
        run,
        project,
        pipeline: "archive".to_owned(),
        git_ref: main_branch(),
        commit: commit(1),
        tree: TreeId(ObjectId::Sha1([9; 20])),
        recipe: "zip/1".to_owned(),
        step,
        digest: digest("bytes"),
        size: 10,
        media_type: "application/zip".to_owned(),
        index: None,
        key: "main.zip".parse().unwrap(),
        created: Timestamp(START),
    }
}

#[test]
fn the_source_of_an_artifact_is_not_condemned_and_is_pardoned() {
    let (bench, project, first) = leased();
    begin(&bench, "k", &first);
    made(&bench, "k", &first, &[]);
    bench.finish(&first, succeeded());
    bench.advance(5);
    let artifact = artifact_of(project, first.run.unwrap(), digest("k"));
    bench.tx(|tx| artifact::insert(tx, &artifact));
    assert_eq!(condemn(&bench, i64::MAX), 0);
    bench.tx(|tx| artifact::delete(tx, artifact.id));
    assert_eq!(condemn(&bench, i64::MAX), 1);
    bench.tx(|tx| artifact::insert(tx, &artifact));
    bench.advance(5);
    assert_eq!(condemn(&bench, i64::MAX), 0, "it is pardoned");
    assert_eq!(delete(&bench, i64::MAX, 9), 0);
}

fn add(bench: &Bench, text: &str) -> Result<(), BlobError> {
    bench.db.transact(|tx| blob::add(tx, digest(text), 10))
}

fn unused(bench: &Bench, before: i64) -> Vec<(Digest, i64)> {
    bench.tx(|tx| blob::unused(tx, Timestamp(before), 9))
}

#[test]
fn a_blob_is_unused_when_nothing_refers_to_it_for_a_time() {
    let (bench, project, first) = leased();
    add(&bench, "bytes").unwrap();
    assert!(bench.tx(|tx| blob::is_known(tx, digest("bytes"))));
    assert!(!bench.tx(|tx| blob::is_known(tx, digest("other"))));
    assert_eq!(unused(&bench, START), []);
    assert_eq!(unused(&bench, START + 1), [(digest("bytes"), 10)]);
    bench.advance(5);
    add(&bench, "bytes").unwrap();
    assert_eq!(unused(&bench, START + 5), [], "stored again, it is young again");
    begin(&bench, "k", &first);
    made(&bench, "k", &first, &[digest("bytes")]);
    assert_eq!(unused(&bench, i64::MAX), []);
    assert!(!bench.tx(|tx| blob::mark_deleting(tx, digest("bytes"))), "a step has it");
    bench.finish(&first, succeeded());
    bench.advance(1);
    condemn(&bench, i64::MAX);
    assert_eq!(unused(&bench, i64::MAX), [], "a condemned step still has it");
    bench.advance(1);
    assert_eq!(delete(&bench, i64::MAX, 9), 1);
    assert_eq!(unused(&bench, i64::MAX).len(), 1);
    bench.tx(|tx| publication::desire(tx, &desire(project, first.run.unwrap(), 1, commit(1), "bytes")));
    assert_eq!(unused(&bench, i64::MAX), [], "a version has it");
    assert!(!bench.tx(|tx| blob::mark_deleting(tx, digest("bytes"))));
}

#[test]
fn nobody_refers_to_a_blob_that_is_going_and_afterwards_it_is_stored_anew() {
    let (bench, ..) = leased();
    add(&bench, "bytes").unwrap();
    assert!(bench.db.transact(|tx| blob::confirm(tx, digest("bytes"))).is_ok());
    bench.advance(3);
    assert_eq!(bench.tx(|tx| blob::deleting(tx, 9)), []);
    assert!(bench.tx(|tx| blob::mark_deleting(tx, digest("bytes"))));
    assert!(!bench.tx(|tx| blob::mark_deleting(tx, digest("bytes"))), "once");
    assert_eq!(bench.tx(|tx| blob::deleting(tx, 9)), [digest("bytes")]);
    assert_eq!(unused(&bench, i64::MAX), []);
    assert!(matches!(add(&bench, "bytes"), Err(BlobError::Deleting)));
    let confirmed = bench.db.transact(|tx| blob::confirm(tx, digest("bytes")));
    assert!(matches!(confirmed, Err(BlobError::Deleting)));
    assert!(bench.tx(|tx| blob::is_known(tx, digest("bytes"))));
    bench.tx(|tx| blob::gone(tx, digest("bytes")));
    assert!(!bench.tx(|tx| blob::is_known(tx, digest("bytes"))));
    let confirmed = bench.db.transact(|tx| blob::confirm(tx, digest("bytes")));
    assert!(matches!(confirmed, Err(BlobError::Deleting)), "what was recorded before is gone");
    add(&bench, "bytes").unwrap();
    bench.tx(|tx| blob::gone(tx, digest("bytes")));
    assert!(bench.tx(|tx| blob::is_known(tx, digest("bytes"))), "one that lives does not go");
}

#[test]
fn a_confirmed_blob_is_young_again() {
    let (bench, ..) = leased();
    add(&bench, "bytes").unwrap();
    bench.advance(9);
    bench.db.transact(|tx| blob::confirm(tx, digest("bytes"))).unwrap();
    assert_eq!(unused(&bench, START + 9), []);
    assert_eq!(unused(&bench, START + 10).len(), 1);
}

#[test]
fn the_collection_marks_what_is_old_and_unused() {
    let (bench, _, first) = leased();
    for text in ["a", "b", "kept"] {
        add(&bench, text).unwrap();
    }
    begin(&bench, "k", &first);
    made(&bench, "k", &first, &[digest("kept")]);
    bench.advance(5);
    add(&bench, "young").unwrap();
    assert_eq!(bench.tx(|tx| blob::collect(tx, Timestamp(START), 9)), []);
    assert_eq!(bench.tx(|tx| blob::collect(tx, Timestamp(START + 5), 1)).len(), 1);
    assert_eq!(bench.tx(|tx| blob::collect(tx, Timestamp(START + 5), 9)).len(), 1);
    assert_eq!(bench.tx(|tx| blob::collect(tx, Timestamp(START + 5), 9)), []);
    assert_eq!(bench.tx(|tx| blob::deleting(tx, 9)).len(), 2);
    assert_eq!(bench.tx(|tx| blob::deleting(tx, 1)).len(), 1);
}

#[test]
fn a_step_made_anew_forgets_the_blobs_it_had() {
    let (bench, project, first) = leased();
    add(&bench, "old").unwrap();
    begin(&bench, "k", &first);
    made(&bench, "k", &first, &[digest("old")]);
    bench.finish(&first, succeeded());
    bench.advance(1);
    condemn(&bench, i64::MAX);
    delete(&bench, i64::MAX, 9);
    let second = another(&bench, project);
    assert_eq!(begin(&bench, "k", &second), Begin::Make);
    assert!(made(&bench, "k", &second, &[]));
    assert_eq!(unused(&bench, i64::MAX).len(), 1);
}
