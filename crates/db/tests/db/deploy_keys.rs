//! Keys for ssh: one current and one previous a project, what is remembered of them, and when they go.

use gristmill_db::deploy_key::{self, KeyState, NewKey, StoredKey};
use gristmill_db::project;
use gristmill_model::{DeployKeyId, ProjectId, Timestamp};

use crate::bench::{Bench, START, spec};

fn new_key(project: ProjectId, number: u8) -> NewKey {
    NewKey {
        id: DeployKeyId::new(Timestamp(START), u128::from(number)),
        project,
        public_line: format!("ssh-ed25519 AAAA{number} test"),
        fingerprint: format!("SHA256:{number}"),
        sealed: vec![number; 3],
    }
}

fn keys(bench: &Bench, project: ProjectId) -> Vec<StoredKey> {
    bench.tx(|tx| deploy_key::of_project(tx, project))
}

/// State and number of each key.
fn shown(bench: &Bench, project: ProjectId) -> Vec<(KeyState, u8)> {
    keys(bench, project).iter().map(|key| (key.state, key.sealed[0])).collect()
}

#[test]
fn a_project_has_one_current_and_at_most_one_previous_key() {
    let (bench, project) = Bench::with_project(1);
    assert_eq!(shown(&bench, project), []);
    assert!(!bench.tx(|tx| deploy_key::retire(tx, project)), "there is none to retire");
    assert!(bench.tx(|tx| deploy_key::add(tx, &new_key(project, 1))));
    assert!(!bench.tx(|tx| deploy_key::add(tx, &new_key(project, 2))), "there is one");
    bench.advance(5);
    assert!(bench.tx(|tx| deploy_key::retire(tx, project)));
    assert!(bench.tx(|tx| deploy_key::add(tx, &new_key(project, 2))));
    assert_eq!(shown(&bench, project), [(KeyState::Current, 2), (KeyState::Previous, 1)]);
    assert!(!bench.tx(|tx| deploy_key::retire(tx, project)), "the one before is still there");
    let [current, previous] = &keys(&bench, project)[..] else { panic!("two") };
    assert_eq!((previous.created, previous.retired), (Timestamp(START), Some(Timestamp(START + 5))));
    assert_eq!((current.created, current.retired), (Timestamp(START + 5), None));
    assert_eq!(
        (current.public_line.as_str(), current.fingerprint.as_str()),
        ("ssh-ed25519 AAAA2 test", "SHA256:2")
    );
    assert!(bench.tx(|tx| deploy_key::remove_previous(tx, project)));
    assert!(!bench.tx(|tx| deploy_key::remove_previous(tx, project)));
    assert_eq!(shown(&bench, project), [(KeyState::Current, 2)]);
    bench.tx(|tx| deploy_key::remove(tx, new_key(project, 2).id));
    assert_eq!(shown(&bench, project), []);
    assert_eq!((KeyState::Current.as_str(), KeyState::Previous.as_str()), ("current", "previous"));
}

#[test]
fn what_remotes_said_decides_when_a_replaced_key_goes() {
    // When the new key was let in and refused, and whether the old one is gone a moment before and after the limit.
    for (accepted, refused, goes) in [
        (None, None, false),
        (None, Some(2), false),
        (Some(1), None, true),
        (Some(1), Some(2), false),
        (Some(2), Some(1), true),
    ] {
        let (bench, project) = Bench::with_project(1);
        bench.tx(|tx| deploy_key::add(tx, &new_key(project, 1)));
        bench.tx(|tx| deploy_key::retire(tx, project));
        bench.tx(|tx| deploy_key::add(tx, &new_key(project, 2)));
        let id = new_key(project, 2).id;
        for at in 1..=2 {
            bench.advance(1);
            if accepted == Some(at) {
                bench.tx(|tx| deploy_key::accepted(tx, id));
            }
            if refused == Some(at) {
                bench.tx(|tx| deploy_key::refused(tx, id));
            }
        }
        let current = keys(&bench, project).remove(0);
        let at = |at: Option<i64>| at.map(|at| Timestamp(START + at));
        assert_eq!((current.accepted, current.refused), (at(accepted), at(refused)));
        let drop = |before: i64| bench.tx(|tx| deploy_key::remove_replaced(tx, Timestamp(before)));
        let any = |before: i64| bench.tx(|tx| deploy_key::any_replaced(tx, Timestamp(before)));
        assert_eq!((any(START), any(START + 1)), (false, true));
        assert_eq!(drop(START), []);
        let expected = if goes { vec![project] } else { Vec::new() };
        assert_eq!(drop(START + 1), expected, "{accepted:?} {refused:?}");
        assert_eq!(shown(&bench, project).len(), if goes { 1 } else { 2 });
    }
}

#[test]
fn sealed_halves_are_listed_and_replaced_only_where_they_did_not_change() {
    let bench = Bench::new();
    let ids = bench.import(&[spec("acme/a", 1), spec("acme/b", 1)]);
    for (number, id) in (1..).zip(&ids) {
        bench.tx(|tx| deploy_key::add(tx, &new_key(*id, number)));
    }
    let all = bench.tx(|tx| deploy_key::sealed(tx, "", 9));
    let names: Vec<&str> = all.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(names, ["acme/a", "acme/b"]);
    assert_eq!((all[0].project, all[0].pattern.as_deref(), &all[0].sealed), (ids[0], None, &vec![1; 3]));
    let after = all[0].id.to_string();
    assert_eq!(bench.tx(|tx| deploy_key::sealed(tx, &after, 9)).len(), 1);
    assert_eq!(bench.tx(|tx| deploy_key::sealed(tx, "", 1)).len(), 1);
    assert!(!bench.tx(|tx| deploy_key::reseal(tx, all[0].id, &[9], &[7])));
    assert!(bench.tx(|tx| deploy_key::reseal(tx, all[0].id, &[1; 3], &[7])));
    assert_eq!(shown(&bench, ids[0]), [(KeyState::Current, 7)]);
    bench.tx(|tx| project::purge(tx, ids[0]));
    assert_eq!((shown(&bench, ids[0]).len(), shown(&bench, ids[1]).len()), (0, 1));
}
