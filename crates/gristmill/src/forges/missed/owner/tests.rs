use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gristmill_forge::api::{Answer, Call};
use gristmill_model::{Clock, Timestamp};

use crate::app::App;
use crate::config::{Config, Surroundings};
use crate::forges::Forges;
use crate::forges::missed::{NO_HOOK, OVERLAP, look};

/// Noon of 2026-01-01; in milliseconds.
const NOON: i64 = 1_767_268_800_000;
const FIVE_MINUTES: Duration = Duration::from_secs(300);

struct Turned(AtomicI64);

impl Clock for Turned {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// What GitHub has for the organisation, and what was asked of it.
#[derive(Default)]
struct There {
    /// The status of a list of webhooks, and of a list of deliveries.
    hooks: u16,
    deliveries: u16,
    /// The repositories that deliveries were missed of, the oldest first; their ids are their places.
    missed: Vec<&'static str>,
    /// Those from this one on are of a time to come, for the database has the clock of this machine.
    late: Option<usize>,
    /// How many deliveries are on a page; 0 for all.
    page: usize,
    /// Whether the payloads are gone.
    is_gone: bool,
    asked: Vec<String>,
}

/// A program with a pattern for an organisation, in which one repository has a project of its own.
struct Place {
    _folder: tempfile::TempDir,
    app: App,
    clock: Arc<Turned>,
    there: Arc<Mutex<There>>,
}

const CONFIG: &str = r#"
[server]
public_url = "https://here.example"
[[project]]
name = "acme/*"
git = "https://github.com/acme/{repo}.git"
token = { env = "TOKEN" }
secret = { env = "TOKEN" }
[[project.pipeline]]
kind = "archive"
[[project]]
name = "acme/own"
git = "https://github.com/acme/own.git"
[[project.pipeline]]
kind = "archive"
allow_shared_key = true
"#;

impl Place {
    async fn new(there: There) -> Place {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("gristmill.toml"), CONFIG).unwrap();
        let mut around = Surroundings::new(folder.path().to_owned(), |name| {
            (name == "TOKEN").then(|| "a-token-of-some-length".to_owned())
        });
        around.system_file = folder.path().join("none");
        let config = Config::load(None, &around).unwrap_or_else(|errors| panic!("{errors}"));
        let there = Arc::new(Mutex::new(there));
        let seen = there.clone();
        let carry = move |call: Call| {
            let path = call.url.strip_prefix("https://api.github.com").expect("the configured host");
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let (path, from) = (path.to_owned(), query.split_once("&cursor=").map_or("0", |(_, from)| from));
            let mut headers = Vec::new();
            let mut there = seen.lock().unwrap();
            there.asked.push(path.clone());
            let (status, body) = match path.as_str() {
                "/orgs/acme/hooks" => (there.hooks, HOOKS.to_owned()),
                "/orgs/acme/hooks/9/deliveries" => {
                    let (all, from) = (list(&there), from.parse::<usize>().unwrap());
                    let to = if there.page == 0 { all.len() } else { all.len().min(from + there.page) };
                    let next = format!("<https://api.github.com/?cursor={to}>; rel=\"next\"");
                    headers.extend((to < all.len()).then(|| ("Link".to_owned(), next)));
                    (there.deliveries, format!("[{}]", all[from..to].join(",")))
                }
                path => match path.strip_prefix("/orgs/acme/hooks/9/deliveries/") {
                    Some(_) if there.is_gone => (404, "{}".to_owned()),
                    Some(id) => (200, detail(there.missed[id.parse::<usize>().unwrap()])),
                    // No repository has a webhook of its own.
                    None => (200, "[]".to_owned()),
                },
            };
            Ok(Answer { status, headers, body: body.into_bytes() })
        };
        let clock = Arc::new(Turned(AtomicI64::new(NOON)));
        let app = App::open(config, &around).await.unwrap().with(|inner| {
            inner.forges = Forges::new(Arc::new(carry));
            inner.clock = clock.clone();
        });
        Place { _folder: folder, app, clock, there }
    }

    /// What a look asks of the organisation, this long after noon.
    async fn look(&self, after: Duration) -> Vec<String> {
        self.clock.0.store(Timestamp(NOON).plus(after).0, Ordering::Relaxed);
        look(&self.app).await.unwrap();
        let asked = std::mem::take(&mut self.there.lock().unwrap().asked);
        asked.iter().filter_map(|path| Some(path.strip_prefix("/orgs/acme/hooks")?.to_owned())).collect()
    }

    async fn projects(&self) -> Vec<String> {
        let read = self.app.db.read(|tx| gristmill_db::project::list(tx, "", 100)).await.unwrap();
        read.into_iter().map(|project| project.name.to_string()).collect()
    }
}

const HOOKS: &str = r#"[{"id":8,"active":true,"config":{"url":"https://here.example/hooks/acme/own"}},
    {"id":9,"active":true,"config":{"url":"https://here.example/hooks/acme/%2A"}}]"#;

/// The newest first; each a minute after the one before, the oldest at noon.
fn list(there: &There) -> Vec<String> {
    let one = |id: usize| {
        let year = if there.late.is_some_and(|late| id >= late) { 2999 } else { 2026 };
        format!(
            r#"{{"id":{id},"guid":"g{id}","event":"push","delivered_at":"{year}-01-01T12:{id:02}:00Z","status_code":502,"repository_id":7}}"#
        )
    };
    (0..there.missed.len()).rev().map(one).collect()
}

fn detail(repository: &str) -> String {
    let commit = "a".repeat(40);
    let push = format!(
        r#"{{"ref":"refs/heads/main","before":"{commit}","after":"{commit}","repository":{{"id":7,"full_name":"{repository}"}}}}"#
    );
    format!(r#"{{"request":{{"payload":{push}}}}}"#)
}

#[tokio::test]
async fn one_look_finds_what_all_repositories_of_a_pattern_missed() {
    let there = There { hooks: 200, deliveries: 200, ..There::default() };
    let place = Place::new(There { missed: vec!["acme/a", "acme/own", "beta/b", "acme/c"], ..there }).await;
    assert_eq!(place.projects().await, ["acme/own"]);
    let asked = place.look(Duration::ZERO).await;
    let of = |id: usize| format!("/9/deliveries/{id}");
    assert_eq!(asked, ["", "/9/deliveries", &of(3), &of(2), &of(1), &of(0)]);
    assert_eq!(place.projects().await, ["acme/a", "acme/c", "acme/own"], "the pattern's two are made");
    // Neither what was found nor what is nobody's is asked for again, though it is still listed.
    assert_eq!(place.look(FIVE_MINUTES).await, ["/9/deliveries"]);
    place.there.lock().unwrap().missed.push("acme/a");
    assert_eq!(place.look(FIVE_MINUTES * 2).await, ["/9/deliveries", &of(4)]);
    assert_eq!(place.projects().await.len(), 3);
}

#[tokio::test]
async fn that_the_owners_webhooks_are_not_to_be_seen_is_remembered_for_a_day() {
    for (hooks, deliveries, first) in
        [(403, 200, vec![""]), (404, 200, vec![""]), (200, 403, vec!["", "/9/deliveries"])]
    {
        let missed = vec!["acme/a"];
        let place = Place::new(There { hooks, deliveries, missed, ..There::default() }).await;
        assert_eq!(place.look(Duration::ZERO).await, first, "{hooks} {deliveries}");
        assert!(place.look(FIVE_MINUTES).await.is_empty(), "{hooks} {deliveries}");
        assert!(place.look(NO_HOOK - Duration::from_millis(1)).await.is_empty(), "{hooks} {deliveries}");
        *place.there.lock().unwrap() =
            There { hooks: 200, deliveries: 200, missed: vec!["acme/a"], ..There::default() };
        let again = place.look(NO_HOOK).await;
        assert_eq!(again, ["", "/9/deliveries", "/9/deliveries/0"], "{hooks} {deliveries}");
        assert_eq!(place.projects().await, ["acme/a", "acme/own"]);
    }
}

#[tokio::test]
async fn a_failure_that_passes_is_asked_again() {
    let place = Place::new(There { hooks: 503, deliveries: 200, ..There::default() }).await;
    assert_eq!(place.look(Duration::ZERO).await, [""]);
    place.there.lock().unwrap().hooks = 200;
    assert_eq!(place.look(FIVE_MINUTES).await, ["", "/9/deliveries"]);
}

impl Place {
    fn change(&self, how: impl FnOnce(&mut There)) {
        how(&mut self.there.lock().unwrap());
    }

    /// As after a restart.
    fn forget(&self) {
        self.app.forges.missed.lock().unwrap().clear();
    }

    async fn named(&self, name: &str) -> Option<gristmill_db::project::Project> {
        let name = name.parse().unwrap();
        self.app.db.read(move |tx| gristmill_db::project::by_name(tx, &name)).await.unwrap()
    }

    async fn purge(&self, name: &str) {
        let id = self.named(name).await.unwrap().id;
        self.app.db.transact(move |tx| gristmill_db::project::purge(tx, id)).await.unwrap();
    }

    /// How many looks at remotes are asked for.
    async fn looks(&self) -> i64 {
        let count = "SELECT count(*) FROM job WHERE kind = 'look'";
        let read = self.app.db.read(move |tx| tx.query_one(count, &[], |row| row.get(0)));
        read.await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn rule_6_a_delivery_from_before_a_purge_does_not_make_the_project_anew() {
    const MINUTE: Duration = Duration::from_secs(60);
    let there = There { hooks: 200, deliveries: 200, ..There::default() };
    let place = Place::new(There { missed: vec!["acme/a"], ..there }).await;
    place.look(Duration::ZERO).await;
    assert_eq!(place.projects().await, ["acme/a", "acme/own"]);
    // The second was not found before the purge, and is as old.
    place.clock.0.store(Timestamp(NOON).plus(MINUTE).0, Ordering::Relaxed);
    place.purge("acme/a").await;
    place.there.lock().unwrap().missed.push("Acme/A");
    let of = |id: usize| format!("/9/deliveries/{id}");
    assert_eq!(place.look(MINUTE * 2).await, ["/9/deliveries", &of(1)]);
    assert_eq!(place.projects().await, ["acme/own"]);
    place.forget();
    assert_eq!(place.look(MINUTE * 3).await, ["", "/9/deliveries", &of(1)], "the first is known still");
    assert_eq!(place.projects().await, ["acme/own"]);
    place.change(|there| {
        there.missed.push("acme/a");
        there.late = Some(2);
    });
    assert_eq!(place.look(MINUTE * 4).await, ["/9/deliveries", &of(2)]);
    assert_eq!(place.projects().await, ["acme/a", "acme/own"], "it was sent after the purge");
}

#[tokio::test]
async fn what_lies_beyond_the_pages_of_one_look_the_next_ones_find() {
    let missed = vec!["acme/a", "acme/b", "acme/c", "acme/d", "acme/e", "acme/f", "acme/g"];
    let there = There { hooks: 200, deliveries: 200, page: 1, missed, ..There::default() };
    let place = Place::new(there).await;
    // Further apart than what is looked at again in any case.
    let apart = OVERLAP * 2;
    let payloads = async |after| {
        let asked = place.look(after).await;
        asked
            .iter()
            .filter_map(|path| path.strip_prefix("/9/deliveries/")?.parse().ok())
            .collect::<Vec<i32>>()
    };
    assert_eq!(payloads(Duration::ZERO).await, [6, 5, 4, 3, 2]);
    assert_eq!(payloads(apart).await, [1, 0]);
    assert_eq!(place.projects().await.len(), 8);
    // The next one begins at the top, with what came since the first of them began.
    place.there.lock().unwrap().missed.push("acme/h");
    assert_eq!(payloads(apart * 2).await, [7]);
    assert_eq!(place.projects().await.len(), 9);
}

#[tokio::test]
async fn a_delivery_whose_payload_is_gone_makes_the_project_look_whose_repository_it_names() {
    for (repository, looks) in [("7", 1), ("8", 0)] {
        let there = There { hooks: 200, deliveries: 200, missed: vec!["acme/a"], ..There::default() };
        let place = Place::new(there).await;
        place.look(Duration::ZERO).await;
        let id = place.named("acme/a").await.unwrap().id;
        let learnt = move |tx: &mut gristmill_db::Tx<'_>| {
            gristmill_db::project::learn_repository_id(tx, id, repository)?;
            tx.execute("DELETE FROM job", &[])
        };
        place.app.db.transact(learnt).await.unwrap();
        place.change(|there| (there.missed, there.is_gone) = (vec!["acme/a", "acme/a"], true));
        assert_eq!(place.look(FIVE_MINUTES).await, ["/9/deliveries", "/9/deliveries/1"]);
        assert_eq!(place.looks().await, looks, "{repository}");
        assert_eq!(place.look(FIVE_MINUTES * 2).await, ["/9/deliveries"], "once");
    }
}
