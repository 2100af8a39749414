//! Projects: imports and their revisions, polls, schedules, purging.

use gristmill_db::delivery;
use gristmill_db::request::{self, BuildRequest};
use gristmill_db::schedule::{self, Due};
use gristmill_db::{head, job, project, publication, run, step};
use gristmill_model::{ProjectId, ProjectName, ProjectPattern, ProjectSpec, Timestamp};

use crate::bench::{Bench, START, chain, commit, delivery as webhook, desire, digest, main_branch, spec};

fn import(bench: &Bench, specs: &[ProjectSpec]) -> Vec<String> {
    bench.tx(|tx| project::import(tx, specs, &[])).iter().map(ToString::to_string).collect()
}

fn by_name(bench: &Bench, name: &str) -> project::Project {
    let name: ProjectName = name.parse().unwrap();
    bench.tx(|tx| project::by_name(tx, &name)).unwrap()
}

fn scheduled(name: &str, cron: &str) -> ProjectSpec {
    let mut spec = spec(name, 1);
    spec.pipelines[0].schedule = Some(cron.to_owned());
    spec
}

fn due(bench: &Bench) -> Vec<Due> {
    bench.tx(|tx| schedule::due(tx, 9))
}

#[test]
fn an_import_makes_changes_and_disables() {
    let bench = Bench::new();
    assert_eq!(import(&bench, &[spec("acme/b", 1), spec("acme/a", 2)]), ["acme/b", "acme/a"]);
    let first = by_name(&bench, "acme/a");
    assert_eq!((first.rev, first.active, &first.spec), (1, true, &spec("acme/a", 2)));
    assert_eq!((first.repository_id, first.looked, first.look_error), (None, None, None));
    bench.db.take_woken();
    assert_eq!(import(&bench, &[spec("acme/b", 1), spec("acme/a", 2)]), [""; 0]);
    assert!(!bench.db.take_woken());
    assert_eq!(import(&bench, &[spec("acme/b", 1), spec("acme/a", 3)]), ["acme/a"]);
    assert!(bench.db.take_woken(), "a higher limit makes work");
    let second = by_name(&bench, "acme/a");
    assert_eq!((second.id, second.rev, second.spec.jobs_max), (first.id, 2, 3));
    let at = |rev| bench.tx(|tx| project::spec_at(tx, first.id, rev));
    assert_eq!((at(1), at(2), at(3)), (Some(spec("acme/a", 2)), Some(spec("acme/a", 3)), None));
    assert_eq!(import(&bench, &[spec("acme/b", 1)]), [""; 0]);
    let gone = by_name(&bench, "acme/a");
    assert!(!gone.active && gone.rev == 2 && by_name(&bench, "acme/b").active);
    assert_eq!(import(&bench, &[spec("acme/b", 1), spec("acme/a", 3)]), [""; 0]);
    assert!(by_name(&bench, "acme/a").active);
    assert_eq!(by_name(&bench, "acme/a").rev, 2);
    assert_eq!(bench.tx(|tx| project::by_id(tx, first.id)).unwrap().name, first.name);
}

#[test]
fn an_import_of_many_disables_beyond_the_first_page() {
    let bench = Bench::new();
    let many: Vec<ProjectSpec> = (0..205).map(|index| spec(&format!("acme/p{index:03}"), 1)).collect();
    assert_eq!(import(&bench, &many).len(), 205);
    import(&bench, &many[..1]);
    assert!(by_name(&bench, "acme/p000").active);
    assert!(["acme/p001", "acme/p100", "acme/p204"].iter().all(|name| !by_name(&bench, name).active));
    let page = bench.tx(|tx| project::list(tx, "acme/p100", 2));
    assert_eq!(
        page.iter().map(|project| project.name.as_str()).collect::<Vec<_>>(),
        ["acme/p101", "acme/p102"]
    );
}

#[test]
fn polls_are_due_at_the_start_and_in_their_rhythm() {
    let bench = Bench::new();
    let mut polled = spec("acme/a", 1);
    polled.poll_seconds = 60;
    import(&bench, &[polled.clone(), spec("acme/b", 1)]);
    let poll = || bench.tx(|tx| project::poll_due(tx, 9));
    assert_eq!((poll(), poll()), (1, 0), "the one that is polled, once");
    assert_eq!(bench.kinds(9), ["look"]);
    bench.advance(59_999);
    assert_eq!(poll(), 0);
    bench.advance(1);
    assert_eq!(poll(), 1);
    import(&bench, &[spec("acme/b", 1)]);
    bench.advance(3_600_000);
    assert_eq!(poll(), 0, "a disabled project is not polled");
    import(&bench, &[polled.clone(), spec("acme/b", 1)]);
    assert_eq!(poll(), 1, "one that comes back is, at once");
    polled.poll_seconds = 0;
    import(&bench, &[polled]);
    bench.advance(3_600_000);
    assert_eq!(poll(), 0);
}

#[test]
fn no_more_polls_than_asked_for() {
    let bench = Bench::new();
    let polled = |name: &str| ProjectSpec { poll_seconds: 60, ..spec(name, 1) };
    import(&bench, &[polled("acme/a"), polled("acme/b"), polled("acme/c")]);
    assert_eq!(bench.tx(|tx| project::poll_due(tx, 2)), 2);
    assert_eq!(bench.tx(|tx| project::poll_due(tx, 2)), 1);
}

#[test]
fn what_a_look_learnt_is_kept() {
    let (bench, id) = Bench::with_project(1);
    bench.tx(|tx| project::learn_repository_id(tx, id, "42"));
    bench.tx(|tx| project::learn_repository_id(tx, id, "43"));
    bench.tx(|tx| project::looked(tx, id, Some("no answer")));
    let row = by_name(&bench, "acme/a");
    assert_eq!((row.repository_id.as_deref(), row.look_error.as_deref()), (Some("42"), Some("no answer")));
    bench.advance(1);
    bench.tx(|tx| project::looked(tx, id, None));
    let row = by_name(&bench, "acme/a");
    assert_eq!((row.looked, row.look_error), (Some(Timestamp(START + 1)), None));
}

#[test]
fn a_schedule_keeps_its_time_as_long_as_it_does_not_change() {
    let bench = Bench::new();
    import(&bench, &[scheduled("acme/a", "0 4 * * *")]);
    let found = due(&bench);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].at, found[0].pipeline.as_str()), (Timestamp(0), "archive"));
    assert_eq!(found[0].cron, "0 4 * * *");
    assert!(bench.tx(|tx| schedule::advance(tx, &found[0], Timestamp(START + 500))));
    assert!(
        !bench.tx(|tx| schedule::advance(tx, &found[0], Timestamp(START + 600))),
        "once, whoever does it"
    );
    assert_eq!(due(&bench).len(), 0);
    let mut changed = scheduled("acme/a", "0 4 * * *");
    changed.jobs_max = 7;
    import(&bench, &[changed]);
    bench.advance(499);
    assert_eq!(due(&bench).len(), 0, "other settings leave it");
    bench.advance(1);
    let found = due(&bench);
    assert_eq!(found[0].at, Timestamp(START + 500));
    let other = Due { cron: "0 5 * * *".to_owned(), ..found[0].clone() };
    assert!(!bench.tx(|tx| schedule::advance(tx, &other, Timestamp(START + 9_999))), "it was changed");
    assert!(bench.tx(|tx| schedule::advance(tx, &found[0], Timestamp(START + 9_999))));
    import(&bench, &[scheduled("acme/a", "0 5 * * *")]);
    assert_eq!(due(&bench)[0].at, Timestamp(0), "another expression begins anew");
    import(&bench, &[spec("acme/a", 1)]);
    assert_eq!(due(&bench).len(), 0, "it was taken out");
}

#[test]
fn a_disabled_project_has_no_schedule_until_it_comes_back() {
    let bench = Bench::new();
    import(&bench, &[scheduled("acme/a", "0 4 * * *")]);
    import(&bench, &[]);
    assert_eq!(due(&bench).len(), 0);
    import(&bench, &[scheduled("acme/a", "0 4 * * *")]);
    assert_eq!(due(&bench).len(), 1);
}

#[test]
fn build_requests_are_taken_once_in_their_order() {
    let (bench, project) = Bench::with_project(1);
    let ask = |cause: &str, git_ref: Option<&str>| BuildRequest {
        pipeline: git_ref.map(|_| "archive".to_owned()),
        git_ref: git_ref.map(|name| name.parse().unwrap()),
        commit: git_ref.map(|_| commit(7)),
        is_release: git_ref.is_some(),
        cause: cause.to_owned(),
        cause_id: Some(format!("by {cause}")),
    };
    let asked = [ask("manual", Some("refs/heads/main")), ask("schedule", None)];
    for one in &asked {
        bench.advance(1);
        let id = bench.tx(|tx| request::add(tx, project, one));
        assert_eq!(id.len(), 26);
    }
    assert_eq!(bench.kinds(9), ["look"]);
    assert_eq!(bench.tx(|tx| request::take(tx, ProjectId::new(Timestamp(1), 1))), []);
    assert_eq!(bench.tx(|tx| request::take(tx, project)), asked);
    assert_eq!(bench.tx(|tx| request::take(tx, project)), []);
}

#[test]
fn purging_leaves_nothing_of_a_project_and_all_of_the_others() {
    let bench = Bench::new();
    let ids = bench.import(&[scheduled("acme/a", "0 4 * * *"), scheduled("acme/b", "0 4 * * *")]);
    for (index, id) in ids.iter().enumerate() {
        bench.tx(|tx| delivery::accept(tx, *id, &webhook("d", "{}")));
        bench.tx(|tx| head::moved(tx, *id, &main_branch(), Some(commit(1)), None));
        let run = bench.run(*id, &chain(&["x", "y"]));
        let lease = bench.lease(9).into_iter().find(|lease| lease.run == Some(run)).unwrap();
        let key = digest(&format!("step {index}"));
        bench.tx(|tx| step::begin(tx, key, lease.job, Some(run)));
        assert!(bench.tx(|tx| step::made(tx, key, lease.job, Some(run), "{}", &[])));
        let mut want = desire(*id, run, 1, commit(1), "bytes");
        want.key = format!("{index}.zip").parse().unwrap();
        bench.tx(|tx| publication::desire(tx, &want));
    }
    bench.tx(|tx| project::purge(tx, ids[0]));
    let left: Vec<i64> = bench.tx(|tx| {
        [
            "SELECT count(*) FROM project",
            "SELECT count(*) FROM project_spec",
            "SELECT count(*) FROM delivery",
            "SELECT count(*) FROM ref_head",
            "SELECT count(*) FROM run",
            "SELECT count(*) FROM job_edge",
            "SELECT count(*) FROM pin",
            "SELECT count(*) FROM publication",
            "SELECT count(*) FROM schedule",
        ]
        .iter()
        .map(|sql| tx.query_one(sql, &[], |row| row.get::<i64>(0)).map(|count| count.unwrap_or(-1)))
        .collect()
    });
    assert_eq!(left, [1; 9]);
    assert!(bench.tx(|tx| project::by_id(tx, ids[0])).is_none());
    assert_eq!(bench.tx(|tx| run::list(tx, Some(ids[1]), "~", 9)).len(), 1);
    let left = bench.tx(|tx| run::list(tx, None, "~", 9)).remove(0).id;
    assert_eq!(bench.tx(|tx| job::of_run(tx, left, 9)).len(), 2);
}

#[test]
fn projects_made_from_a_pattern_follow_it_until_they_have_one_of_their_own() {
    let bench = Bench::new();
    let pattern = |jobs_max| ProjectPattern {
        name: "acme/*".parse().unwrap(),
        git: "https://github.com/acme/{repo}.git".to_owned(),
        fetch: gristmill_model::FetchBy::Git,
        forge: "github".to_owned(),
        repositories: "acme/*".parse().unwrap(),
        poll_seconds: 0,
        jobs_max,
        pipelines: Vec::new(),
    };
    let import = |specs: &[ProjectSpec], patterns: &[ProjectPattern]| -> Vec<String> {
        let changed = bench.tx(|tx| project::import(tx, specs, patterns));
        changed.iter().map(ToString::to_string).collect()
    };
    let made = |repository: &str, max| {
        let pattern = pattern(2);
        let spec = pattern.expand(&repository.parse().unwrap()).unwrap();
        bench.tx(|tx| project::of_pattern(tx, &spec, &pattern.name, max))
    };
    assert_eq!(import(&[], &[pattern(2)]), [""; 0]);
    let shop = made("acme/shop", 2).unwrap();
    assert_eq!(made("Acme/Shop", 2), Some(shop), "forges compare without regard to case");
    assert!(made("acme/tool", 2).is_some());
    assert_eq!(made("acme/third", 2), None, "the pattern has two already");
    assert_eq!(made("acme/shop", 2), Some(shop));
    assert_eq!(
        by_name(&bench, "acme/shop").spec.pattern.map(|name| name.to_string()).as_deref(),
        Some("acme/*")
    );

    assert_eq!(import(&[], &[pattern(7)]), ["acme/shop", "acme/tool"]);
    assert_eq!(by_name(&bench, "acme/tool").spec.jobs_max, 7);
    // A project of its own, under another name, takes the repository over.
    let own = ProjectSpec { repository: "Acme/Tool".parse().unwrap(), ..spec("our/tool", 1) };
    assert_eq!(import(&[own], &[pattern(7)]), ["our/tool"]);
    assert!(!by_name(&bench, "acme/tool").active && by_name(&bench, "acme/shop").active);
    import(&[], &[]);
    assert!(!by_name(&bench, "acme/shop").active);
    import(&[], &[pattern(7)]);
    assert!(by_name(&bench, "acme/shop").active && by_name(&bench, "acme/tool").active);
}
