//! Deliveries: accepted once, answered alike, kept, replayed.

use gristmill_db::delivery::{self, Accepted, Delivery};
use gristmill_db::job;
use gristmill_model::{
    CommitId, DeliveryId, DeliveryState, Event, EventKind, ObjectId, ProjectId, Timestamp,
};

use crate::bench::{Bench, START, delivery as webhook, spec, succeeded};

const DAY_MS: i64 = 24 * 3_600_000;

fn accept(bench: &Bench, project: ProjectId, id: &str, body: &str) -> Accepted {
    bench.tx(|tx| delivery::accept(tx, project, &webhook(id, body)))
}

fn new(answer: Accepted) -> DeliveryId {
    match answer {
        Accepted::New(id) => id,
        other => panic!("{other:?}"),
    }
}

fn row(bench: &Bench, id: DeliveryId) -> Delivery {
    bench.tx(|tx| delivery::by_id(tx, id)).unwrap()
}

fn settle(bench: &Bench, id: DeliveryId, state: DeliveryState, reason: Option<&str>) {
    bench.tx(|tx| delivery::settle(tx, id, &[], state, reason));
}

#[test]
fn a_delivery_is_kept_whole_and_asks_for_a_look() {
    let (bench, project) = Bench::with_project(1);
    let id = new(accept(&bench, project, "d1", "{\"a\":1}"));
    let kept = row(&bench, id);
    assert_eq!((kept.id, kept.project, kept.remote_id.as_str()), (id, project, "d1"));
    assert_eq!((kept.event.as_str(), kept.verifier.as_str()), ("push", "hmac"));
    assert_eq!(kept.body.unwrap(), b"{\"a\":1}");
    assert_eq!((kept.received, kept.state), (Timestamp(START), DeliveryState::Received));
    assert_eq!((kept.reason, kept.replays), (None, 0));
    assert_eq!(bench.kinds(9), ["look"]);
}

#[test]
fn rule_6_the_same_delivery_again_gets_the_first_answer_and_nothing_is_built() {
    let (bench, project) = Bench::with_project(1);
    let id = new(accept(&bench, project, "d1", "{}"));
    assert_eq!(accept(&bench, project, "d1", "{}"), Accepted::Again(id));
    bench.finish(&bench.lease_one(), succeeded());
    settle(&bench, id, DeliveryState::Handled, None);
    bench.advance(29 * DAY_MS);
    bench.db.take_woken();
    assert_eq!(accept(&bench, project, "d1", "{}"), Accepted::Again(id));
    assert!(!bench.db.take_woken());
    assert_eq!(bench.lease(9).len(), 0, "nobody looks for it");
    assert_eq!(row(&bench, id).state, DeliveryState::Handled);
}

#[test]
fn rule_6_another_body_under_the_same_id_is_a_conflict() {
    let (bench, project) = Bench::with_project(1);
    let id = new(accept(&bench, project, "d1", "{}"));
    assert_eq!(accept(&bench, project, "d1", "{} "), Accepted::Conflict(id));
    assert_eq!(row(&bench, id).body.unwrap(), b"{}");
    assert_eq!(accept(&bench, project, "d1", "{}"), Accepted::Again(id));
}

#[test]
fn rule_6_ids_are_per_project() {
    let bench = Bench::new();
    let ids = bench.import(&[spec("acme/a", 1), spec("acme/b", 1)]);
    let first = new(accept(&bench, ids[0], "d1", "{}"));
    let second = new(accept(&bench, ids[1], "d1", "other"));
    assert_ne!(first, second);
}

#[test]
fn rule_6_ids_are_kept_for_thirty_days() {
    let (bench, project) = Bench::with_project(1);
    let settled = new(accept(&bench, project, "d1", "{}"));
    let waiting = new(accept(&bench, project, "d2", "{}"));
    bench.tx(|tx| {
        delivery::settle(tx, settled, &[Event::ignored("a star")], DeliveryState::Ignored, Some("a star"))
    });
    bench.advance(30 * DAY_MS);
    let expire = |before| bench.tx(|tx| delivery::expire(tx, Timestamp(before), 9));
    assert_eq!(expire(START), 0);
    assert_eq!(accept(&bench, project, "d1", "{}"), Accepted::Again(settled));
    assert_eq!(bench.tx(|tx| delivery::events(tx, settled)).len(), 1);
    assert_eq!(expire(START + 1), 1);
    assert_eq!(bench.tx(|tx| delivery::events(tx, settled)).len(), 0);
    assert!(bench.tx(|tx| delivery::by_id(tx, settled)).is_none());
    assert_eq!(row(&bench, waiting).state, DeliveryState::Received, "what waits is never deleted");
    assert!(matches!(accept(&bench, project, "d1", "{}"), Accepted::New(_)));
}

#[test]
fn a_replay_has_a_delivery_handled_again() {
    let (bench, project) = Bench::with_project(1);
    let id = new(accept(&bench, project, "d1", "{}"));
    bench.finish(&bench.lease_one(), succeeded());
    settle(&bench, id, DeliveryState::Ignored, Some("a star"));
    assert_eq!(bench.tx(delivery::waiting_count), 0);
    assert!(bench.tx(|tx| delivery::replay(tx, id)));
    let kept = row(&bench, id);
    assert_eq!((kept.state, kept.reason, kept.replays), (DeliveryState::Received, None, 1));
    assert_eq!(bench.tx(delivery::waiting_count), 1);
    assert_eq!(bench.kinds(9), ["look"]);
    assert!(bench.tx(|tx| delivery::replay(tx, id)));
    assert_eq!(row(&bench, id).replays, 2);
    assert!(!bench.tx(|tx| delivery::replay(tx, DeliveryId::new(Timestamp(1), 1))));
}

#[test]
fn waiting_deliveries_come_in_the_order_of_their_arrival() {
    let bench = Bench::new();
    let projects = bench.import(&[spec("acme/a", 1), spec("acme/b", 1)]);
    let ids: Vec<DeliveryId> = ["d1", "d2", "d3"]
        .iter()
        .map(|id| {
            bench.advance(1);
            new(accept(&bench, projects[0], id, "{}"))
        })
        .collect();
    new(accept(&bench, projects[1], "d1", "{}"));
    let page = |limit, bytes| -> (Vec<DeliveryId>, bool) {
        let (page, more) = bench.tx(|tx| delivery::waiting(tx, projects[0], limit, bytes));
        (page.iter().map(|one| one.id).collect(), more)
    };
    let waiting = |limit| page(limit, i64::MAX).0;
    assert_eq!(page(3, 6), (ids.clone(), false));
    assert_eq!(page(2, 6), (ids[..2].to_vec(), true));
    assert_eq!(page(9, 5), (ids[..2].to_vec(), true), "each has two bytes");
    assert_eq!(page(9, 4), (ids[..2].to_vec(), true));
    assert_eq!(page(9, 0), (ids[..1].to_vec(), true), "always one");
    assert_eq!(bench.tx(delivery::waiting_count), 4);
    settle(&bench, ids[0], DeliveryState::Handled, None);
    assert_eq!(waiting(9), ids[1..]);
    let list = |project, before: &str, limit| -> Vec<DeliveryId> {
        let page = bench.tx(|tx| delivery::list(tx, project, before, limit));
        assert!(page.iter().all(|one| one.body == Ok(Vec::new())), "listings carry no bodies");
        page.iter().map(|one| one.id).collect()
    };
    assert_eq!(list(Some(projects[0]), "~", 9), [ids[2], ids[1], ids[0]]);
    assert_eq!(list(None, "~", 9).len(), 4);
    assert_eq!(list(Some(projects[0]), &ids[2].to_string(), 1), [ids[1]]);
}

#[test]
fn mistake_06_all_refs_of_a_push_are_recorded_and_settling_again_replaces_them() {
    let (bench, project) = Bench::with_project(1);
    let id = new(accept(&bench, project, "d1", "{}"));
    let event = |git_ref: &str, number: u8| Event {
        kind: EventKind::Push,
        repository: None,
        git_ref: Some(git_ref.parse().unwrap()),
        before: Some(CommitId(ObjectId::Sha1([9; 20]))),
        after: Some(CommitId(ObjectId::Sha1([number; 20]))),
        reason: None,
    };
    let told = [event("refs/heads/a", 1), event("refs/heads/b", 2), event("refs/heads/c", 3)];
    bench.tx(|tx| delivery::settle(tx, id, &told, DeliveryState::Handled, None));
    let events = bench.tx(|tx| delivery::events(tx, id));
    let refs: Vec<&str> = events.iter().map(|event| event.git_ref.as_ref().unwrap().as_str()).collect();
    assert_eq!(refs, ["refs/heads/a", "refs/heads/b", "refs/heads/c"]);
    assert_eq!(events[1].kind, "push");
    assert_eq!(events[1].before.as_deref(), Some("09".repeat(20).as_str()));
    assert_eq!(events[1].after.as_deref(), Some("02".repeat(20).as_str()));
    assert_eq!(row(&bench, id).state, DeliveryState::Handled);
    let ignored = [Event::ignored("a star")];
    bench.tx(|tx| delivery::settle(tx, id, &ignored, DeliveryState::Ignored, Some("a star")));
    let events = bench.tx(|tx| delivery::events(tx, id));
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].kind.as_str(), events[0].reason.as_deref()), ("ignored", Some("a star")));
    assert_eq!(row(&bench, id).reason.as_deref(), Some("a star"));
}

#[test]
fn a_delivery_that_comes_while_a_look_runs_has_a_look_of_its_own() {
    let (bench, project) = Bench::with_project(1);
    accept(&bench, project, "d1", "{}");
    let look = bench.lease_one();
    accept(&bench, project, "d2", "{}");
    bench.finish(&look, succeeded());
    assert_eq!(bench.kinds(9), ["look"]);
    assert_eq!(bench.tx(job::next_due), None);
}

#[test]
fn a_damaged_body_stops_nobody_else() {
    let (bench, project) = Bench::with_project(1);
    let bent = new(accept(&bench, project, "d1", "{\"a\":1}"));
    let whole = new(accept(&bench, project, "d2", "{}"));
    const BEND: &str = "UPDATE delivery SET body_bytes = body_bytes + 1 WHERE id = $1";
    bench.tx(|tx| tx.execute(BEND, gristmill_db::params![bent]));
    let (waiting, _) = bench.tx(|tx| delivery::waiting(tx, project, 9, 99));
    assert_eq!(waiting.iter().map(|one| one.id).collect::<Vec<_>>(), [bent, whole]);
    let fault = waiting[0].body.clone().unwrap_err().to_string();
    assert_eq!(fault, "the stored body is damaged: its checksum differs; check the disk under the database");
    assert_eq!(waiting[1].body.as_deref(), Ok(&b"{}"[..]));
}

#[test]
fn a_body_without_an_id_is_the_same_delivery_for_ten_minutes_only() {
    let (bench, project) = Bench::with_project(1);
    let send = || {
        let window = Some(std::time::Duration::from_secs(600));
        let one = delivery::NewDelivery { id_stands_for: window, ..webhook("sha256:x", "{}") };
        bench.tx(|tx| delivery::accept(tx, project, &one))
    };
    let first = new(send());
    bench.advance(599_999);
    assert_eq!(send(), Accepted::Again(first));
    bench.advance(1);
    let second = new(send());
    assert_ne!(first, second);
    assert_eq!(send(), Accepted::Again(second));
    assert_eq!(row(&bench, first).body.unwrap(), b"{}", "the first one stays");
}
