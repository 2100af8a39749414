//! What a run is compared with, where a pipeline builds only what touches certain paths.

use gristmill_db::base::{self, Shown};
use gristmill_db::job::Finish;
use gristmill_db::publication;
use gristmill_db::run::{self, NewRun, Run};
use gristmill_model::{CommitId, GitRef, ProjectId};

use crate::bench::{Bench, commit, desire, jobs};

/// A run of a move, with one job; and whether its commit is published.
fn moved(bench: &Bench, project: ProjectId, number: u8, is_published: bool) -> Run {
    bench.advance(10);
    let new = Bench::new_run(project, number, Some(i64::from(number)));
    let id = bench.tx(|tx| run::create(tx, &new, &jobs(&["a"]), false));
    if is_published {
        let want = desire(project, id, i64::from(number), commit(number), "bytes");
        bench.tx(|tx| publication::desire(tx, &want));
        bench.tx(|tx| publication::published(tx, &want.key, i64::from(number), None));
    }
    bench.run_row(id)
}

fn base_of(bench: &Bench, run: &Run) -> (Option<(CommitId, i64)>, Vec<CommitId>) {
    let shown = bench.tx(|tx| base::shown_before(tx, run));
    let between = shown.map(|shown| bench.tx(|tx| base::between(tx, run, &shown, 9)));
    (shown.map(|shown| (shown.commit, shown.seq)), between.unwrap_or_default())
}

#[test]
fn a_move_is_compared_with_what_is_shown_and_with_all_that_may_yet_be() {
    let (bench, project) = Bench::with_project(9);
    let first = moved(&bench, project, 1, true);
    assert_eq!(base_of(&bench, &first), (None, vec![]), "nothing before the first");
    let second = moved(&bench, project, 2, false);
    assert_eq!(base_of(&bench, &second), (Some((commit(1), 1)), vec![]));
    let third = moved(&bench, project, 3, false);
    assert_eq!(base_of(&bench, &third), (Some((commit(1), 1)), vec![commit(2)]), "the second runs");
    let lease = bench.lease(99).into_iter().find(|lease| lease.run == Some(second.id)).unwrap();
    bench.finish(&lease, Finish::Failed { reason: "no".to_owned(), public: None });
    assert_eq!(base_of(&bench, &third).1, [commit(2)], "somebody may have it made again");
    let fourth = moved(&bench, project, 4, true);
    assert_eq!(base_of(&bench, &fourth).1, [commit(2), commit(3)]);
    assert_eq!(base_of(&bench, &third).0, Some((commit(1), 1)), "what came later does not count");
    let fifth = moved(&bench, project, 5, false);
    assert_eq!(base_of(&bench, &fifth), (Some((commit(4), 4)), vec![]));
    let one = Shown { commit: commit(1), seq: 1, spec_rev: 1 };
    assert_eq!(bench.tx(|tx| base::shown_before(tx, &fourth)), Some(one));
    assert_eq!(bench.tx(|tx| base::between(tx, &fourth, &one, 1)), [commit(2)], "bounded");
}

#[test]
fn what_was_left_out_what_is_only_desired_and_other_refs_do_not_count() {
    let (bench, project) = Bench::with_project(9);
    moved(&bench, project, 1, true);
    let skipped = moved(&bench, project, 2, false);
    let lease = bench.lease(99).into_iter().find(|lease| lease.run == Some(skipped.id)).unwrap();
    bench.finish(&lease, Finish::Skipped { reason: "nothing".to_owned() });
    let desired = moved(&bench, project, 3, false);
    let want = desire(project, desired.id, 3, commit(3), "other");
    bench.tx(|tx| publication::desire(tx, &want));
    let run = moved(&bench, project, 4, false);
    assert_eq!(base_of(&bench, &run), (Some((commit(1), 1)), vec![commit(3)]));
    for other in [
        Run { git_ref: "refs/heads/other".parse::<GitRef>().unwrap(), ..run.clone() },
        Run { pipeline: "other".to_owned(), ..run.clone() },
        Run { is_release: true, ..run.clone() },
    ] {
        assert_eq!(base_of(&bench, &other), (None, vec![]));
    }
}

#[test]
fn an_overtaken_commit_is_compared_with_what_was_shown_when_its_run_was_made() {
    let (bench, project) = Bench::with_project(9);
    moved(&bench, project, 1, true);
    bench.advance(10);
    let new = NewRun { seq: None, ..Bench::new_run(project, 2, None) };
    let id = bench.tx(|tx| run::create(tx, &new, &jobs(&["a"]), false));
    let overtaken = bench.run_row(id);
    moved(&bench, project, 3, true);
    assert_eq!(base_of(&bench, &overtaken), (Some((commit(1), 1)), vec![]));
}
