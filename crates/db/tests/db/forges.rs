//! What is remembered of forges: what runs they were told of, what was missed, what was made there.

use gristmill_db::forge_object::{self, ForgeObject, Kind};
use gristmill_db::told::{self, Told};
use gristmill_db::{missed, run};
use gristmill_model::{ProjectId, RunId, Timestamp};

use crate::bench::{Bench, START, delivery as webhook, jobs, succeeded};

/// What is to be told: the run, whether it is known to wait, whether it is outdated, tries.
fn due(bench: &Bench) -> Vec<(RunId, bool, bool, i64)> {
    let untold = bench.tx(|tx| told::due(tx, None, 9));
    assert_eq!(bench.tx(told::is_due), !untold.is_empty());
    untold.into_iter().map(|one| (one.run.id, one.is_pending, one.is_outdated, one.tries)).collect()
}

#[test]
fn a_run_is_told_of_when_it_is_made_and_when_it_is_over() {
    let (bench, project) = Bench::with_project(1);
    assert_eq!(due(&bench), []);
    let id = bench.run(project, &jobs(&["a"]));
    assert_eq!(due(&bench), [(id, false, false, 0)]);
    bench.tx(|tx| told::record(tx, id, Told::Pending));
    assert_eq!(due(&bench), []);
    let lease = bench.lease(1).remove(0);
    assert_eq!(due(&bench), [], "that it runs is nothing new");
    bench.finish(&lease, succeeded());
    assert_eq!(due(&bench), [(id, true, false, 0)]);
    bench.tx(|tx| told::record(tx, id, Told::Over));
    assert_eq!(due(&bench), []);
}

#[test]
fn a_run_that_was_over_first_is_told_of_once() {
    let (bench, project) = Bench::with_project(1);
    let id = bench.run(project, &jobs(&["a"]));
    bench.tx(|tx| run::cancel(tx, id, "a person", None));
    assert_eq!(due(&bench), [(id, false, false, 0)]);
    bench.tx(|tx| told::record(tx, id, Told::Over));
    assert_eq!(due(&bench), []);
    let silent = bench.run(project, &jobs(&["a"]));
    bench.tx(|tx| told::record(tx, silent, Told::Never));
    bench.tx(|tx| run::cancel(tx, silent, "a person", None));
    assert_eq!(due(&bench), []);
}

#[test]
fn telling_that_failed_is_tried_again_when_it_is_time() {
    let (bench, project) = Bench::with_project(1);
    let id = bench.run(project, &jobs(&["a"]));
    bench.tx(|tx| told::later(tx, id, Timestamp(START + 100)));
    bench.advance(99);
    assert_eq!(due(&bench), []);
    bench.advance(1);
    assert_eq!(due(&bench), [(id, false, false, 1)]);
    bench.tx(|tx| told::later(tx, id, Timestamp(START)));
    assert_eq!(due(&bench), [(id, false, false, 2)]);
    // The next thing to tell has all its tries.
    bench.tx(|tx| told::record(tx, id, Told::Pending));
    bench.tx(|tx| run::cancel(tx, id, "a person", None));
    assert_eq!(due(&bench), [(id, true, false, 0)]);
}

#[test]
fn the_newest_run_of_a_commit_speaks_for_it() {
    let (bench, project) = Bench::with_project(1);
    let make = |number, pipeline: &str| {
        bench.advance(1);
        let mut new = Bench::new_run(project, number, Some(1));
        new.pipeline = pipeline.to_owned();
        bench.tx(|tx| run::create(tx, &new, &jobs(&["a"]), false))
    };
    let (first, other_commit, other_pipeline) = (make(1, "archive"), make(2, "archive"), make(1, "docs"));
    let again = make(1, "archive");
    assert_eq!(
        due(&bench),
        [
            (first, false, true, 0),
            (other_commit, false, false, 0),
            (other_pipeline, false, false, 0),
            (again, false, false, 0)
        ]
    );
    assert_eq!(bench.tx(|tx| told::due(tx, None, 2)).len(), 2);
    let behind = bench.tx(|tx| told::due(tx, Some(other_commit), 9));
    assert_eq!(behind.iter().map(|one| one.run.id).collect::<Vec<_>>(), [other_pipeline, again]);
}

#[test]
fn rule_6_a_missed_delivery_counts_once_and_not_where_it_came() {
    let bench = Bench::new();
    let ids = bench.import(&[crate::bench::spec("acme/a", 1), crate::bench::spec("acme/b", 1)]);
    let note = |project: ProjectId, id: &str| bench.tx(|tx| missed::note(tx, project, id));
    assert!(!bench.tx(|tx| missed::is_known(tx, ids[0], "d1")));
    assert!(note(ids[0], "d1"));
    assert!(bench.tx(|tx| missed::is_known(tx, ids[0], "d1")));
    assert!(!note(ids[0], "d1"));
    assert!(note(ids[1], "d1"), "ids are the project's own");
    bench.tx(|tx| gristmill_db::delivery::accept(tx, ids[0], &webhook("d2", "{}")));
    assert!(!note(ids[0], "d2"));
    assert!(note(ids[1], "d2"));
}

#[test]
fn rule_6_a_delivery_that_any_project_of_a_pattern_has_is_known_to_the_pattern() {
    let bench = Bench::new();
    let pattern = |name: &str| name.parse::<gristmill_model::PatternName>().unwrap();
    let made = |of: &str, name: &str| {
        let spec = gristmill_model::ProjectSpec { pattern: Some(pattern(of)), ..crate::bench::spec(name, 1) };
        let made = bench.tx(|tx| gristmill_db::project::of_pattern(tx, &spec, &pattern(of), 9));
        made.expect("there is room")
    };
    let (came, missed_one, other) =
        (made("acme/*", "acme/a"), made("acme/*", "acme/b"), made("beta/*", "beta/c"));
    bench.tx(|tx| gristmill_db::delivery::accept(tx, came, &webhook("d1", "{}")));
    bench.tx(|tx| missed::note(tx, missed_one, "d2"));
    bench.tx(|tx| missed::note(tx, other, "d3"));
    let known = |of: &str, id: &str| bench.tx(|tx| missed::is_known_of_pattern(tx, &pattern(of), id));
    let all = |of: &str| ["d1", "d2", "d3"].map(|id| known(of, id));
    assert_eq!(all("acme/*"), [true, true, false]);
    assert_eq!(all("beta/*"), [false, false, true]);
    assert_eq!(all("none/*"), [false; 3]);
}

#[test]
fn rule_6_what_a_patterns_purged_project_had_stays_known_to_the_pattern_for_a_time() {
    let bench = Bench::new();
    let pattern: gristmill_model::PatternName = "acme/*".parse().unwrap();
    let spec = |of: Option<&gristmill_model::PatternName>, name: &str| gristmill_model::ProjectSpec {
        pattern: of.cloned(),
        ..crate::bench::spec(name, 1)
    };
    let make = |name: &str| {
        let spec = spec(Some(&pattern), name);
        bench.tx(|tx| gristmill_db::project::of_pattern(tx, &spec, &pattern, 9)).expect("there is room")
    };
    let (own, made) = (bench.import(&[spec(None, "acme/own")])[0], make("acme/a"));
    for (project, came, found) in [(made, "d1", "d2"), (own, "d3", "d4")] {
        bench.tx(|tx| gristmill_db::delivery::accept(tx, project, &webhook(came, "{}")));
        bench.tx(|tx| missed::note(tx, project, found));
    }
    let known =
        || ["d1", "d2", "d3", "d4"].map(|id| bench.tx(|tx| missed::is_known_of_pattern(tx, &pattern, id)));
    let purged = |name: &str| bench.tx(|tx| missed::purged(tx, &pattern, &name.parse().unwrap()));
    let purge = |project| bench.tx(|tx| gristmill_db::project::purge(tx, project));
    purge(made);
    purge(own);
    assert_eq!((known(), purged("acme/A")), ([true, true, false, false], Some(Timestamp(START))));
    bench.advance(10);
    purge(make("acme/A"));
    assert_eq!((known(), purged("acme/a")), ([true, true, false, false], Some(Timestamp(START + 10))));
    assert_eq!((purged("acme/own"), purged("acme/b")), (None, None));
    let expire = |before, max| bench.tx(|tx| missed::expire(tx, Timestamp(START + before), max));
    assert_eq!(expire(0, 9), 0);
    assert_eq!((expire(10, 1), expire(10, 9), known()), (1, 1, [false; 4]));
    assert_eq!((purged("acme/a").is_some(), expire(11, 9), purged("acme/a")), (true, 1, None));
}

#[test]
fn missed_deliveries_are_forgotten_in_time() {
    let (bench, project) = Bench::with_project(1);
    for id in ["d1", "d2", "d3"] {
        bench.tx(|tx| missed::note(tx, project, id));
        bench.advance(10);
    }
    let expire = |before, max| bench.tx(|tx| missed::expire(tx, Timestamp(START + before), max));
    assert_eq!(expire(0, 9), 0);
    assert_eq!(expire(20, 1), 1);
    assert_eq!(expire(20, 9), 1);
    assert_eq!(expire(20, 9), 0);
    assert!(bench.tx(|tx| missed::is_known(tx, project, "d3")));
    assert!(!bench.tx(|tx| missed::is_known(tx, project, "d1")));
}

fn object(project: &str, kind: Kind, id: &str) -> ForgeObject {
    ForgeObject {
        project: project.to_owned(),
        kind,
        api: "https://api.github.com".to_owned(),
        remote_id: id.to_owned(),
        forge: "github".to_owned(),
        repository: "acme/shop".to_owned(),
        token: Some("env:TOKEN".to_owned()),
        username: None,
    }
}

#[test]
fn what_was_made_at_a_forge_is_known_until_it_is_gone() {
    let bench = Bench::new();
    let (hook, key) = (object("acme/shop", Kind::Hook, "7"), object("acme/shop", Kind::Key, "7"));
    for made in [&key, &hook, &object("acme/other", Kind::Hook, "7"), &hook] {
        bench.tx(|tx| forge_object::put(tx, made));
    }
    let made = || bench.tx(|tx| forge_object::made_for(tx, "acme/shop"));
    assert_eq!(made(), [hook.clone(), key.clone()]);
    let moved = ForgeObject { token: None, username: Some("ada".to_owned()), ..hook.clone() };
    bench.tx(|tx| forge_object::put(tx, &moved));
    assert_eq!(made(), [moved, key.clone()]);
    bench.tx(|tx| forge_object::remove(tx, &hook));
    assert_eq!(made(), [key]);
    assert_eq!(bench.tx(|tx| forge_object::made_for(tx, "acme/other")).len(), 1);
}
