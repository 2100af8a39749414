use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gristmill_forge::api::{Answer, ApiBase, Call};
use gristmill_model::{Clock, ProjectId};

use super::*;
use crate::config::{Config, Surroundings};
use crate::forges::Forges;

const COMMIT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn project() -> Project {
    let spec = r#"{"name":"acme/shop","git":"https://github.com/acme/shop.git","forge":"github",
        "repository":"acme/shop","poll_seconds":0,"jobs_max":1,"pipelines":[]}"#;
    Project {
        id: ProjectId::new(Timestamp(1), 1),
        name: "acme/shop".parse().unwrap(),
        active: true,
        rev: 1,
        spec: serde_json::from_str(spec).unwrap(),
        repository_id: Some("42".to_owned()),
        looked: None,
        look_error: None,
    }
}

/// What a missed delivery of this event and payload asks for: ref, commit, whether it is a release.
fn asked(event: &str, payload: &str) -> Vec<(String, bool, bool)> {
    let base = ApiBase::given("https://api.github.com").unwrap();
    let api = Api::new(Forge::Github, base, None, "acme/shop".parse().unwrap()).unwrap();
    let delivery = Delivery {
        id: "1".to_owned(),
        guid: "g".to_owned(),
        event: event.to_owned(),
        delivered_at: None,
        status: None,
        repository_id: None,
        payload: None,
    };
    let body = format!(r#"{{"request":{{"payload":{payload}}}}}"#).into_bytes();
    let mut carry =
        |_: Call| Ok::<_, ApiError>(Answer { status: 200, headers: Vec::new(), body: body.clone() });
    let payload = api.payload(HooksOf::Repository, "7", &delivery, &mut carry).unwrap().unwrap();
    let found = requests(&project(), &delivery, &payload);
    let line = |one: BuildRequest| {
        assert_eq!((one.cause.as_str(), one.cause_id.as_deref(), one.pipeline), ("missed", Some("g"), None));
        assert!(one.commit.is_none_or(|commit| commit.to_string() == COMMIT));
        (one.git_ref.unwrap().to_string(), one.commit.is_some(), one.is_release)
    };
    found.into_iter().map(line).collect()
}

#[test]
fn rule_5_rule_7_only_pushes_and_releases_of_this_repository_ask_for_anything() {
    let ours = r#""repository":{"id":42,"full_name":"acme/shop"}"#;
    let theirs = r#""repository":{"id":43,"full_name":"acme/shop"}"#;
    let push = |git_ref: &str, after: &str, of: &str| {
        format!(r#"{{"ref":"{git_ref}","before":"{COMMIT}","after":"{after}",{of}}}"#)
    };
    let main = "refs/heads/main";
    assert_eq!(asked("push", &push(main, COMMIT, ours)), [(main.to_owned(), true, false)]);
    let tag = asked("push", &push("refs/tags/v1", COMMIT, ours));
    assert_eq!(tag, [("refs/tags/v1".to_owned(), true, false)]);
    assert_eq!(asked("push", &push(main, COMMIT, theirs)), []);
    assert_eq!(asked("push", &push(main, &"0".repeat(40), ours)), []);
    assert_eq!(asked("push", "{}"), []);
    let release = |action: &str| {
        asked("release", &format!(r#"{{"action":"{action}","release":{{"tag_name":"v1"}},{ours}}}"#))
    };
    assert_eq!(release("published"), [("refs/tags/v1".to_owned(), false, true)]);
    assert_eq!(release("created"), []);
    assert_eq!(asked("create", &format!(r#"{{"ref":"v1","ref_type":"tag",{ours}}}"#)), []);
    assert_eq!(asked("ping", &format!(r#"{{"zen":"z",{ours}}}"#)), []);
}

/// The address that the forge posts to.
const OURS: &str = "https://here.example/hooks/acme/shop";
/// Noon of 2026-01-01, when all of a [`Place`] was missed; in milliseconds.
const NOON: i64 = 1_767_268_800_000;

/// A clock that a test turns, in milliseconds.
struct Turned(AtomicI64);

impl Clock for Turned {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// A program with one project at GitHub, and what is asked there.
struct Place {
    _folder: tempfile::TempDir,
    app: App,
    clock: Arc<Turned>,
    /// The address that the one webhook there has.
    hook: Arc<Mutex<String>>,
    asked: Arc<Mutex<Vec<String>>>,
    /// How many deliveries were missed; 1 is the oldest.
    missed: Arc<AtomicUsize>,
}

impl Place {
    /// Where GitHub has a webhook with this address.
    async fn new(hook: &str) -> Place {
        let hook = Arc::new(Mutex::new(hook.to_owned()));
        let folder = tempfile::tempdir().unwrap();
        let text = "[server]\npublic_url = \"https://here.example\"\n[[project]]\nname = \"acme/shop\"\n\
            git = \"https://github.com/acme/shop.git\"\ntoken = { env = \"TOKEN\" }\n\
            [[project.pipeline]]\nkind = \"archive\"\n";
        std::fs::write(folder.path().join("gristmill.toml"), text).unwrap();
        let mut around = Surroundings::new(folder.path().to_owned(), |name| {
            (name == "TOKEN").then(|| "a-token".to_owned())
        });
        around.system_file = folder.path().join("none");
        let config = Config::load(None, &around).unwrap();
        let (asked, missed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (seen, count, url) = (asked.clone(), missed.clone(), hook.clone());
        let carry = move |call: Call| {
            let path = call.url.split_once("/repos/acme/shop").unwrap().1.to_owned();
            let body = match path.split('?').next().unwrap() {
                "/hooks" => {
                    let url = url.lock().unwrap();
                    format!(r#"[{{"id":7,"active":true,"config":{{"url":"{url}"}}}}]"#)
                }
                "/hooks/6" | "/hooks/6/deliveries" => {
                    seen.lock().unwrap().push(path);
                    return Ok(Answer { status: 404, ..Answer::default() });
                }
                "/hooks/7/deliveries" => deliveries(count.load(Ordering::Relaxed)),
                _ => r#"{"request":{"payload":{"zen":"z"}}}"#.to_owned(),
            };
            seen.lock().unwrap().push(path);
            Ok(Answer { status: 200, headers: Vec::new(), body: body.into_bytes() })
        };
        let clock = Arc::new(Turned(AtomicI64::new(NOON)));
        let app = App::open(config, &around).await.unwrap().with(|inner| {
            inner.forges = Forges::new(Arc::new(carry));
            inner.clock = clock.clone();
        });
        Place { _folder: folder, app, clock, hook, asked, missed }
    }

    /// What a look asks, this long after noon: how often for webhooks, and which payloads.
    async fn look(&self, after: Duration) -> (usize, Vec<usize>) {
        self.clock.0.store(Timestamp(NOON).plus(after).0, Ordering::Relaxed);
        look(&self.app).await.unwrap();
        let asked = std::mem::take(&mut *self.asked.lock().unwrap());
        let hooks = asked.iter().filter(|path| path.split('?').next() == Some("/hooks")).count();
        let payload = |path: &String| path.strip_prefix("/hooks/7/deliveries/")?.parse().ok();
        (hooks, asked.iter().filter_map(payload).collect())
    }
}

fn deliveries(count: usize) -> String {
    let one = |id| {
        format!(
            r#"{{"id":{id},"guid":"g{id}","event":"ping","delivered_at":"2026-01-01T12:00:00Z","status_code":502}}"#
        )
    };
    format!("[{}]", (1..=count).rev().map(one).collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn what_one_look_does_not_take_the_next_ones_do() {
    let place = Place::new(OURS).await;
    place.missed.store(2 * DELIVERIES_MAX + 1, Ordering::Relaxed);
    // Further apart than what is looked at again in any case.
    let apart = OVERLAP * 2;
    let down = |from: usize, to: usize| (to..=from).rev().collect::<Vec<_>>();
    assert_eq!(place.look(Duration::ZERO).await.1, down(201, 102));
    assert_eq!(place.look(apart).await.1, down(101, 2));
    assert_eq!(place.look(apart * 2).await.1, [1]);
    // All are found: what is as old as they are is not looked at any more.
    place.missed.store(2 * DELIVERIES_MAX + 2, Ordering::Relaxed);
    assert!(place.look(apart * 3).await.1.is_empty());
}

#[tokio::test]
async fn that_there_is_no_webhook_of_ours_is_remembered_for_a_day() {
    let place = Place::new("https://elsewhere.example/hooks/acme/shop").await;
    place.missed.store(1, Ordering::Relaxed);
    let asked = async |after: Duration| {
        let (hooks, payloads) = place.look(after).await;
        assert!(payloads.is_empty());
        hooks
    };
    assert_eq!(asked(Duration::ZERO).await, 1);
    assert_eq!(asked(Duration::from_secs(300)).await, 0);
    assert_eq!(asked(NO_HOOK - Duration::from_millis(1)).await, 0);
    assert_eq!(asked(NO_HOOK).await, 1);
    assert_eq!(asked(NO_HOOK * 2 - Duration::from_millis(1)).await, 0);
    // One that was made meanwhile is found, and so is what it missed.
    place.hook.lock().unwrap().replace_range(.., OURS);
    assert_eq!(place.look(NO_HOOK * 2).await, (1, vec![1]));
    assert_eq!(place.look(NO_HOOK * 2 + OVERLAP).await, (0, vec![]));
}

#[tokio::test]
async fn a_webhook_that_was_made_anew_by_hand_is_found() {
    let place = Place::new(OURS).await;
    place.missed.store(1, Ordering::Relaxed);
    let ours = forge_object::ForgeObject {
        project: "acme/shop".to_owned(),
        kind: Kind::Hook,
        api: "https://api.github.com".to_owned(),
        remote_id: "6".to_owned(),
        forge: "github".to_owned(),
        repository: "acme/shop".to_owned(),
        token: None,
        username: None,
    };
    place.app.db.transact(move |tx| forge_object::put(tx, &ours)).await.unwrap();
    assert_eq!(place.look(Duration::ZERO).await, (0, vec![]), "the one that we made is not there");
    assert_eq!(place.look(Duration::from_secs(300)).await, (1, vec![1]), "the one with our address is");
}
