//! Publications: a key only moves forward in the order of the remote's moves; holders; retention.

use gristmill_db::publication::{self, Desire, Desired, Extra};
use gristmill_db::run::{self, NewRun, Stopped};
use gristmill_db::{artifact, head};
use gristmill_model::{ObjectKey, ProjectId, PublicationState, RunId, Timestamp};

use crate::bench::{Bench, START, commit, desire, digest, jobs, main_branch};

fn key() -> ObjectKey {
    "main.zip".parse().unwrap()
}

/// A bench with a project and a run per commit, older ones first.
fn with_runs(count: u8) -> (Bench, ProjectId, Vec<RunId>) {
    let (bench, project) = Bench::with_project(9);
    let runs = (1..=count)
        .map(|number| {
            bench.advance(1);
            let new = Bench::new_run(project, number, Some(i64::from(number)));
            bench.tx(|tx| run::create(tx, &new, &jobs(&["a"]), false))
        })
        .collect();
    (bench, project, runs)
}

fn want(bench: &Bench, desire: &Desire) -> Desired {
    bench.tx(|tx| publication::desire(tx, desire))
}

fn publish(bench: &Bench, seq: i64) {
    bench.tx(|tx| publication::published(tx, &key(), seq, Some("v")));
}

fn top(bench: &Bench) -> (i64, gristmill_model::Digest, PublicationState) {
    let top = bench.tx(|tx| publication::top(tx, &key())).unwrap();
    (top.seq, top.digest, top.state)
}

fn seqs(bench: &Bench) -> Vec<i64> {
    bench.tx(|tx| publication::versions(tx, &key(), i64::MAX, 99)).iter().map(|version| version.seq).collect()
}

#[test]
fn what_is_desired_is_kept_whole() {
    let (bench, project, runs) = with_runs(1);
    let desire = desire(project, runs[0], 1, commit(1), "one");
    assert!(bench.tx(|tx| publication::top(tx, &key())).is_none());
    assert_eq!(want(&bench, &desire), Desired::Committed { seq: 1 });
    let row = bench.tx(|tx| publication::top(tx, &key())).unwrap();
    assert_eq!((row.key, row.seq, row.digest, row.size), (key(), 1, digest("one"), 10));
    assert_eq!((row.content_type, row.metadata), (desire.content_type, desire.metadata));
    assert_eq!((row.project, row.pipeline.as_str(), row.git_ref), (project, "archive", main_branch()));
    assert_eq!((row.commit, row.run, row.state), (commit(1), runs[0], PublicationState::Desired));
    assert_eq!((row.created, row.published, row.version_id), (Timestamp(START + 1), None, None));
    assert!(bench.tx(|tx| publication::at(tx, &key(), 1)).is_none(), "readers do not see it yet");
    bench.advance(5);
    publish(&bench, 1);
    let row = bench.tx(|tx| publication::at(tx, &key(), 1)).unwrap();
    assert_eq!((row.state, row.published), (PublicationState::Published, Some(Timestamp(START + 6))));
    assert_eq!(row.version_id.as_deref(), Some("v"));
    bench.advance(5);
    bench.tx(|tx| publication::published(tx, &key(), 1, Some("w")));
    let row = bench.tx(|tx| publication::at(tx, &key(), 1)).unwrap();
    assert_eq!(row.version_id.as_deref(), Some("v"), "it is published once");
    assert_eq!(bench.tx(|tx| publication::of_run(tx, runs[0])).len(), 1);
}

#[test]
fn mistake_03_push_a_push_b_and_a_never_overwrites_b() {
    let (bench, project, runs) = with_runs(2);
    let (a, b) = (desire(project, runs[0], 1, commit(1), "a"), desire(project, runs[1], 2, commit(2), "b"));
    assert_eq!(want(&bench, &b), Desired::Committed { seq: 2 });
    assert_eq!(want(&bench, &a), Desired::Overtaken { by: 2 }, "although B is not even published");
    publish(&bench, 2);
    assert_eq!(want(&bench, &a), Desired::Overtaken { by: 2 });
    assert_eq!(top(&bench), (2, digest("b"), PublicationState::Published));
    assert_eq!(seqs(&bench), [2]);
}

#[test]
fn versions_follow_one_another() {
    let (bench, project, runs) = with_runs(3);
    for number in 1..=3 {
        let text = format!("bytes {number}");
        let index = usize::from(number) - 1;
        want(&bench, &desire(project, runs[index], i64::from(number), commit(number), &text));
        publish(&bench, i64::from(number));
    }
    assert_eq!(seqs(&bench), [3, 2, 1]);
    let page = |before, limit| -> Vec<i64> {
        let page = bench.tx(|tx| publication::versions(tx, &key(), before, limit));
        page.iter().map(|version| version.seq).collect()
    };
    assert_eq!(page(3, 9), [2, 1]);
    assert_eq!(page(i64::MAX, 2), [3, 2]);
    assert_eq!(bench.tx(|tx| publication::at(tx, &key(), 2)).unwrap().digest, digest("bytes 2"));
}

#[test]
fn one_that_was_desired_and_never_published_is_overtaken() {
    let (bench, project, runs) = with_runs(2);
    want(&bench, &desire(project, runs[0], 1, commit(1), "a"));
    want(&bench, &desire(project, runs[1], 2, commit(2), "b"));
    let row = bench.tx(|tx| publication::of_run(tx, runs[0])).remove(0);
    assert_eq!(row.state, PublicationState::Overtaken);
    assert!(seqs(&bench).is_empty());
    publish(&bench, 2);
    assert_eq!(seqs(&bench), [2]);
    assert_eq!(
        bench.tx(|tx| run::cancel(tx, runs[0], "x", None)),
        Stopped::Now,
        "nobody will see it any more"
    );
}

/// The holder of the key was at it when a later version was desired: readers did see it.
#[test]
fn one_that_is_overtaken_while_it_is_written_counts_as_published() {
    let (bench, project, runs) = with_runs(2);
    want(&bench, &desire(project, runs[0], 1, commit(1), "a"));
    want(&bench, &desire(project, runs[1], 2, commit(2), "b"));
    publish(&bench, 1);
    assert_eq!(seqs(&bench), [1]);
    assert_eq!(top(&bench).0, 2);
}

#[test]
fn an_equal_tree_under_a_new_commit_is_a_new_version() {
    let (bench, project, runs) = with_runs(2);
    want(&bench, &desire(project, runs[0], 1, commit(1), "same"));
    publish(&bench, 1);
    assert_eq!(want(&bench, &desire(project, runs[1], 2, commit(2), "same")), Desired::Committed { seq: 2 });
    publish(&bench, 2);
    assert_eq!(seqs(&bench), [2, 1]);
}

#[test]
fn a_push_back_to_an_ancestor_is_a_move_forward() {
    let (bench, project, runs) = with_runs(3);
    for (index, number, text) in [(0, 1, "a"), (1, 2, "b"), (2, 1, "a")] {
        let seq = i64::try_from(index).unwrap() + 1;
        assert_eq!(
            want(&bench, &desire(project, runs[index], seq, commit(number), text)),
            Desired::Committed { seq }
        );
        publish(&bench, seq);
    }
    assert_eq!(seqs(&bench), [3, 2, 1]);
    assert_eq!(top(&bench), (3, digest("a"), PublicationState::Published));
}

#[test]
fn the_same_move_again_with_the_same_bytes_is_there_already() {
    let (bench, project, runs) = with_runs(2);
    want(&bench, &desire(project, runs[0], 1, commit(1), "a"));
    let again = desire(project, runs[1], 1, commit(1), "a");
    assert_eq!(want(&bench, &again), Desired::Committed { seq: 1 }, "desired, but not there yet");
    assert_eq!(bench.tx(|tx| publication::of_run(tx, runs[1])).len(), 1, "it is the second one's now");
    assert_eq!(bench.tx(|tx| run::cancel(tx, runs[1], "x", None)), Stopped::Publishing);
    assert_eq!(bench.tx(|tx| run::cancel(tx, runs[0], "x", None)), Stopped::Now);
    publish(&bench, 1);
    assert_eq!(want(&bench, &again), Desired::Already { seq: 1 });
    assert_eq!(seqs(&bench), [1]);
}

/// Records that main is at a commit; the move's number.
fn moved(bench: &Bench, project: ProjectId, number: u8) -> i64 {
    let tip = commit(number);
    bench.tx(|tx| head::moved(tx, project, &main_branch(), Some(tip), Some(tip.0)))
}

#[test]
fn the_same_move_with_other_bytes_becomes_a_move_of_its_own() {
    let (bench, project, runs) = with_runs(2);
    assert_eq!(moved(&bench, project, 1), 1);
    want(&bench, &desire(project, runs[0], 1, commit(1), "old settings"));
    publish(&bench, 1);
    let again = desire(project, runs[1], 1, commit(1), "new settings");
    assert_eq!(want(&bench, &again), Desired::Committed { seq: 2 });
    assert_eq!(bench.tx(|tx| head::get(tx, project, &main_branch())).unwrap().seq, 2);
    // A second attempt of the same run, which only knows the old number.
    assert_eq!(want(&bench, &again), Desired::Committed { seq: 2 });
    publish(&bench, 2);
    assert_eq!(want(&bench, &again), Desired::Already { seq: 2 });
    assert_eq!(seqs(&bench), [2, 1]);
    assert_eq!(bench.tx(|tx| publication::at(tx, &key(), 1)).unwrap().digest, digest("old settings"));
}

#[test]
fn a_run_that_came_out_differently_at_its_second_attempt_makes_a_version_of_its_own() {
    let (bench, project, runs) = with_runs(1);
    moved(&bench, project, 1);
    want(&bench, &desire(project, runs[0], 1, commit(1), "first"));
    publish(&bench, 1);
    assert_eq!(
        want(&bench, &desire(project, runs[0], 1, commit(1), "second")),
        Desired::Committed { seq: 2 }
    );
}

#[test]
fn an_old_move_built_again_never_passes_a_later_one() {
    let (bench, project, runs) = with_runs(3);
    assert_eq!(moved(&bench, project, 1), 1);
    want(&bench, &desire(project, runs[0], 1, commit(1), "old settings"));
    publish(&bench, 1);
    assert_eq!(moved(&bench, project, 2), 2);
    let again = desire(project, runs[2], 1, commit(1), "new settings");
    assert_eq!(want(&bench, &again), Desired::Overtaken { by: 2 });
    assert_eq!(want(&bench, &desire(project, runs[1], 2, commit(2), "b")), Desired::Committed { seq: 2 });
    assert_eq!(top(&bench).1, digest("b"));
}

#[test]
fn an_older_run_never_replaces_what_a_younger_one_built_of_the_same_move() {
    let (bench, project, runs) = with_runs(2);
    moved(&bench, project, 1);
    want(&bench, &desire(project, runs[1], 1, commit(1), "new settings"));
    publish(&bench, 1);
    let late = desire(project, runs[0], 1, commit(1), "old settings");
    assert_eq!(want(&bench, &late), Desired::Overtaken { by: 1 });
    assert_eq!(top(&bench).1, digest("new settings"));
}

#[test]
fn a_ref_nobody_ever_looked_at_takes_the_next_number() {
    let (bench, project, runs) = with_runs(2);
    want(&bench, &desire(project, runs[0], 1, commit(1), "a"));
    let first = bench.tx(head::next_move);
    let again = desire(project, runs[1], 1, commit(1), "b");
    assert_eq!(want(&bench, &again), Desired::Committed { seq: first + 1 });
}

#[test]
fn a_key_belongs_to_the_ref_that_published_it() {
    let (bench, project, runs) = with_runs(1);
    want(&bench, &desire(project, runs[0], 1, commit(1), "a"));
    let base = desire(project, runs[0], 2, commit(2), "b");
    let by = format!("pipeline `archive` for refs/heads/main (run {})", runs[0]);
    let others = [
        Desire { git_ref: "refs/heads/dev".parse().unwrap(), ..base.clone() },
        Desire { pipeline: "other".to_owned(), ..base.clone() },
        Desire { project: ProjectId::new(Timestamp(1), 1), ..base.clone() },
    ];
    for other in others {
        assert_eq!(want(&bench, &other), Desired::Taken { by: by.clone() });
        let shared = Desire { allow_shared_key: true, ..other };
        let (bench, project, runs) = with_runs(1);
        want(&bench, &desire(project, runs[0], 1, commit(1), "a"));
        assert_eq!(want(&bench, &shared), Desired::Committed { seq: 2 });
    }
}

#[test]
fn keys_are_listed_and_forgotten() {
    let (bench, project, runs) = with_runs(1);
    for name in ["b", "a", "c"] {
        let key: ObjectKey = name.parse().unwrap();
        want(&bench, &Desire { key, ..desire(project, runs[0], 1, commit(1), "x") });
        let key: ObjectKey = name.parse().unwrap();
        want(&bench, &Desire { key, ..desire(project, runs[0], 2, commit(2), "y") });
    }
    let keys = |after: &str, limit| -> Vec<String> {
        bench.tx(|tx| publication::keys(tx, after, limit)).iter().map(ToString::to_string).collect()
    };
    assert_eq!(keys("", 9), ["a", "b", "c"]);
    assert_eq!(keys("", 2), ["a", "b"]);
    assert_eq!(keys("a", 9), ["b", "c"]);
    let of = |project, limit| bench.tx(|tx| publication::keys_of(tx, project, limit)).len();
    assert_eq!((of(project, 9), of(project, 2), of(ProjectId::new(Timestamp(1), 1), 9)), (3, 2, 0));
    let stranger = ProjectId::new(Timestamp(1), 1);
    let a: ObjectKey = "a".parse().unwrap();
    assert!(!bench.tx(|tx| publication::is_shared(tx, &a, project)));
    assert!(bench.tx(|tx| publication::is_shared(tx, &a, stranger)));
    bench.tx(|tx| publication::delete_of(tx, &a, stranger));
    assert_eq!(keys("", 9), ["a", "b", "c"]);
    bench.tx(|tx| publication::delete_of(tx, &a, project));
    assert_eq!(keys("", 9), ["b", "c"]);
}

/// Five versions, a second apart; the fifth is desired but not published.
fn five() -> (Bench, ProjectId) {
    let (bench, project, runs) = with_runs(5);
    for number in 1..=5 {
        let text = format!("bytes {number}");
        let seq = i64::from(number);
        want(&bench, &desire(project, runs[usize::from(number) - 1], seq, commit(number), &text));
        if number < 5 {
            publish(&bench, seq);
        }
        bench.advance(1_000);
    }
    (bench, project)
}

fn extra(seq: i64) -> Extra {
    Extra { key: key(), seq, size: 10, version_id: Some("v".to_owned()) }
}

#[test]
fn retention_by_age_spares_what_readers_see() {
    let (bench, project) = five();
    let older = |before, limit| {
        bench.tx(|tx| publication::older_than(tx, project, "archive", Timestamp(before), limit))
    };
    let first = START + 5;
    assert_eq!(older(first, 9), []);
    assert_eq!(older(first + 1, 9), [extra(1)]);
    assert_eq!(older(i64::MAX, 9), [extra(1), extra(2), extra(3)], "the fourth is what readers see");
    assert_eq!(older(i64::MAX, 2), [extra(1), extra(2)]);
    publish(&bench, 5);
    assert_eq!(older(i64::MAX, 9).len(), 4);
    let other = bench.tx(|tx| publication::older_than(tx, project, "other", Timestamp(i64::MAX), 9));
    assert_eq!(other, []);
}

#[test]
fn retention_by_count_keeps_so_many() {
    let (bench, project) = five();
    let more = |keep, limit| bench.tx(|tx| publication::more_than(tx, project, "archive", keep, limit));
    assert_eq!(more(4, 9), []);
    assert_eq!(more(3, 9), [extra(1)]);
    assert_eq!(more(2, 9), [extra(1), extra(2)]);
    assert_eq!(more(1, 9), [extra(1), extra(2), extra(3)]);
    assert_eq!(more(0, 9), more(1, 9), "what readers see is never let go");
    assert_eq!(more(1, 2), [extra(1), extra(2)]);
    bench.tx(|tx| publication::delete(tx, &key(), 1));
    assert_eq!(more(1, 9), [extra(2), extra(3)]);
    assert_eq!(seqs(&bench), [4, 3, 2]);
    let other = bench.tx(|tx| publication::more_than(tx, project, "other", 1, 9));
    assert_eq!(other, []);
}

/// Both pushes have their archive, whatever the key holds.
#[test]
fn mistake_03_both_commits_have_their_archive_and_mistake_09_it_says_of_which() {
    let (bench, project, runs) = with_runs(2);
    for (run, number) in runs.iter().zip([1, 2]) {
        let row = artifact::Artifact {
            id: gristmill_model::ArtifactId::new(Timestamp(START), u128::from(number)),
            run: *run,
            project,
            pipeline: "archive".to_owned(),
            git_ref: main_branch(),
            commit: commit(number),
            tree: gristmill_model::TreeId(gristmill_model::ObjectId::Sha1([9; 20])),
            recipe: "zip/1".to_owned(),
            step: digest("step"),
            digest: digest("bytes"),
            size: 10,
            media_type: "application/zip".to_owned(),
            index: None,
            key: key(),
            created: Timestamp(START),
        };
        bench.tx(|tx| artifact::insert(tx, &row));
    }
    for (run, number) in runs.iter().zip([1, 2]) {
        let found = bench.tx(|tx| artifact::of_commit(tx, &key(), commit(number))).unwrap();
        assert_eq!((found.commit, found.run, found.git_ref), (commit(number), *run, main_branch()));
    }
    assert!(bench.tx(|tx| artifact::of_commit(tx, &key(), commit(3))).is_none());
    let other: NewRun = Bench::new_run(project, 3, None);
    assert_eq!(other.seq, None);
}
