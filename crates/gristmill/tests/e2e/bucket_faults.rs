//! The whole program over a bucket that fails, and over one that is gone for a while.
//!
//! `GRISTMILL_SOAK=1` makes both large; `GRISTMILL_SOAK_SEED` chooses other faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gristmill_testkit::Postgres;
use gristmill_testkit::faults::{Fault, Odds};
use gristmill_testkit::s3::{Client, Kind};
use gristmill_testkit::server::{Server, pause, sha256, wait_for};

use crate::bucket::{Place, bucket_settings};
use crate::world::{BINARY, PROJECT, assert_equals_git, project};

const BRANCHES: usize = 5;
/// Between two deliveries for a branch while the bucket is gone: for all branches 20 a second.
const EVERY: Duration = Duration::from_millis(250);
/// One of so many is a push.
const A_PUSH_OF: u32 = 4;
/// Calls that are never answered end soon.
const QUICK: &str = "request_timeout = \"2s\"\nconnect_timeout = \"1s\"\n";
/// How long nothing may move: a job that failed often waits for minutes.
const PATIENCE: Duration = Duration::from_secs(900);

fn is_soak() -> bool {
    std::env::var_os("GRISTMILL_SOAK").is_some()
}

/// A reader is a process each time, and should leave the machine to who is watched where that takes long.
fn between_reads() -> Duration {
    if is_soak() { Duration::from_secs(1) } else { Duration::from_millis(50) }
}

fn seed() -> u64 {
    let chosen = std::env::var_os("GRISTMILL_SOAK_SEED").and_then(|text| text.to_str()?.parse().ok());
    chosen.unwrap_or(20_240_607)
}

fn key(branch: usize) -> String {
    format!("{PROJECT}/b{branch}/{}.zip", PROJECT.replace('/', "_"))
}

fn push(place: &Place, branch: usize, commit: &str) {
    place.world.push(&format!("refs/heads/b{branch}"), commit);
}

/// Commits to be pushed one after the other, of each branch.
type Commits = [Vec<String>; BRANCHES];

fn commits(place: &Place, of_each: usize) -> Commits {
    let of =
        |branch: usize| (0..of_each).map(|number| format!("text {number} of {branch}")).collect::<Vec<_>>();
    std::array::from_fn(|branch| place.world.repo.texts_unreferenced(&of(branch)))
}

/// Reads all keys again and again, by no way that fails: each holds a whole version, whose blob is there too, and
/// never an older one than before. How often something was read.
fn watch(client: &Client, bucket: &str, commits: &Commits, over: &AtomicBool) -> usize {
    let (mut last, mut reads) = ([0; BRANCHES], 0);
    while !over.load(Ordering::Relaxed) {
        for (branch, last) in last.iter_mut().enumerate() {
            let target = format!("/{bucket}/mill/{}", key(branch));
            let reply = client.send("GET", &target, &[], b"").expect("an answer");
            if reply.status == 404 {
                assert_eq!(*last, 0, "{target} was there and is gone");
                continue;
            }
            let digest = sha256(&reply.body);
            let told = (reply.status, reply.header("x-amz-meta-sha256"));
            assert_eq!(told, (200, Some(digest.as_str())), "{target}");
            let commit = reply.header("x-amz-meta-commit").expect("a commit");
            let at = 1 + commits[branch]
                .iter()
                .position(|known| known == commit)
                .expect("a commit that was pushed");
            assert!(*last <= at, "{target}: {commit} is older than what was there");
            *last = at;
            let blob = format!("/{bucket}/mill/.gristmill/blobs/sha256/{}/{digest}", &digest[..2]);
            client.expect(200, "HEAD", &blob, &[], b"").expect("its blob");
            reads += 1;
        }
        pause(between_reads());
    }
    reads
}

/// Acts while somebody reads.
fn watched<T>(place: &mut Place, commits: &Commits, act: impl FnOnce(&mut Place) -> T) -> T {
    let (client, bucket, over) = (place.s3.client(), place.bucket.clone(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| watch(&client, &bucket, commits, &over));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(place)));
        over.store(true, Ordering::Relaxed);
        let reads = reader.join().expect("a reader that found nothing wrong");
        assert!(reads > 0, "somebody read");
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Every push has its run and its archive, every branch's key shows its last, and no version is there twice.
fn check(place: &Place, pushed: &Commits) {
    let store = place.world.server.store();
    assert_eq!(store.integrity(), ["ok"]);
    let bad = store.query("SELECT id || coalesce(reason, '') FROM run WHERE state <> 'succeeded'");
    assert_eq!(bad, Vec::<String>::new());
    let client = place.s3.client();
    let get = |name: &str| {
        client.expect(200, "GET", &format!("/{}/mill/{name}", place.bucket), &[], b"").expect("it is there")
    };
    let made = store.query("SELECT commit_id || ' ' || lower(hex(digest)) FROM artifact");
    let made: BTreeMap<&str, &str> = made.iter().filter_map(|line| line.split_once(' ')).collect();
    for commit in pushed.iter().flatten() {
        let digest = made.get(commit.as_str()).unwrap_or_else(|| panic!("no archive of {commit}"));
        let bytes = get(&format!(".gristmill/blobs/sha256/{}/{digest}", &digest[..2])).body;
        assert_eq!(sha256(&bytes), *digest);
        assert_equals_git(&place.world.repo, commit, &bytes);
    }
    for (branch, pushed) in pushed.iter().enumerate() {
        let last = pushed.last().expect("a push").as_str();
        let reply = get(&key(branch));
        let shown = (sha256(&reply.body), reply.header("x-amz-meta-commit"));
        assert_eq!(shown, (made[last].to_owned(), Some(last)));
        check_versions(place, &key(branch));
    }
}

/// The bucket holds the versions of a key that were published, once each and in their order; of those that were
/// overtaken it may hold one too, where it was shown before that was recorded.
fn check_versions(place: &Place, key: &str) {
    let rows = |wanted: &str| {
        let sql = format!("SELECT commit_id FROM publication WHERE key = '{key}' {wanted} ORDER BY seq DESC");
        place.world.server.store().query(&sql)
    };
    let (all, published) = (rows(""), rows("AND state = 'published'"));
    let shown: Vec<String> = place.versions(key).into_iter().map(|(_, commit)| commit).collect();
    let places: Vec<usize> = shown
        .iter()
        .map(|commit| all.iter().position(|known| known == commit).expect("it was published"))
        .collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{key}: twice or backwards: {places:?}");
    let lost: Vec<&String> = published.iter().filter(|commit| !shown.contains(commit)).collect();
    assert!(lost.is_empty(), "{key}: {lost:?}");
}

#[test]
fn calls_that_fail_lose_nothing_and_publish_nothing_twice() {
    let test = "bucket_faults::calls_that_fail";
    let Some(mut place) = Place::prepare(Kind::Moto, test, QUICK, |project| project) else { return };
    place.world.server.start();
    let faults = vec![
        Fault::Status(500),
        Fault::Status(503),
        Fault::Status(403),
        Fault::DoneThenStatus(500),
        Fault::ResetBefore,
        Fault::ResetMidway,
        Fault::ResetAfter,
        Fault::Truncate(20),
        Fault::ErrorIn200,
        Fault::Delay(Duration::from_millis(300)),
    ];
    place.proxy.odds(Some(Odds { seed: seed(), per_thousand: 100, faults }));
    let pushed = commits(&place, if is_soak() { 100 } else { 4 });
    watched(&mut place, &pushed, |place| {
        let of_each = pushed[0].len();
        for (number, branch) in
            (0..of_each).flat_map(|number| (0..BRANCHES).map(move |branch| (number, branch)))
        {
            push(place, branch, &pushed[branch][number]);
        }
        place.world.server.wait_until_idle_for(PATIENCE);
    });
    let seen = place.proxy.take_seen();
    let failed = seen.iter().filter(|seen| seen.fault != Fault::Pass).count();
    println!("{} pushes, {} calls, {failed} of them failed", pushed.concat().len(), seen.len());
    assert!(failed > 0);
    check(&place, &pushed);
}

/// Bytes in a folder and below.
fn bytes_below(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// The most that the server used.
#[derive(Debug, Default)]
struct Used {
    memory_kib: u64,
    unfinished: u64,
    cache: u64,
}

impl Used {
    fn look(&mut self, place: &Place) {
        let cache = place.world.server.data().join("cache");
        self.memory_kib = self.memory_kib.max(resident_kib(place.world.server.pid()));
        self.unfinished = self.unfinished.max(bytes_below(&cache.join("tmp")));
        self.cache = self.cache.max(bytes_below(&cache));
    }
}

/// Sends for so long for all branches at once: a push, then other deliveries. How many commits each has then, of which
/// the first of the first is there already, and the ids of the others.
fn send_for(time: Duration, place: &Place, all: &Commits, most: &mut Used) -> (Vec<usize>, Vec<String>) {
    let begun = Instant::now();
    let send = |branch: usize| {
        let (mut next, mut others) = (usize::from(branch == 0), Vec::new());
        for number in 0_u32.. {
            pause((EVERY * number).saturating_sub(begun.elapsed()));
            if begun.elapsed() >= time || next + 1 == all[branch].len() {
                break;
            }
            if number % A_PUSH_OF == 0 {
                push(place, branch, &all[branch][next]);
                next += 1;
            } else {
                let ping = place.world.github.ping(PROJECT).with_id(&format!("{branch}-{number}"));
                others.extend(place.world.server.accept(PROJECT, [&ping]));
            }
        }
        (next, others)
    };
    let done: Vec<_> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..BRANCHES).map(|branch| scope.spawn(move || send(branch))).collect();
        while senders.iter().any(|sender| !sender.is_finished()) {
            most.look(place);
            pause(EVERY);
        }
        senders.into_iter().map(|sender| sender.join().expect("all were accepted")).collect()
    });
    let (sent, others): (Vec<usize>, Vec<Vec<String>>) = done.into_iter().unzip();
    (sent, others.concat())
}

#[test]
fn a_bucket_that_is_gone_for_a_while_loses_nothing() {
    let test = "bucket_faults::gone_for_a_while";
    let Some(mut place) = Place::prepare(Kind::Moto, test, QUICK, |project| project) else { return };
    let gone = Duration::from_secs(if is_soak() { 600 } else { 6 });
    let pushes = gone.as_millis() / (EVERY * A_PUSH_OF).as_millis();
    let mut pushed = commits(&place, usize::try_from(pushes).expect("few") + 3);
    let all = pushed.clone();
    place.world.server.start();
    let mut most = Used::default();
    let (waiting, took, others) = watched(&mut place, &all, |place| {
        push(place, 0, &all[0][0]);
        place.world.server.wait_until_idle();
        place.proxy.go_away();
        let (sent, others) = send_for(gone, place, &all, &mut most);
        place.world.server.wait_for_log("the storage does not answer");
        let sql = "SELECT count(*) FROM job WHERE kind IN ('archive', 'publish') AND state = 'ready'";
        let waiting = place.world.server.store().number(sql);
        // A start meanwhile accepts deliveries.
        place.world.server.crash_and_restart();
        push(place, 0, &all[0][sent[0]]);
        (0..BRANCHES).for_each(|branch| pushed[branch].truncate(sent[branch] + usize::from(branch == 0)));
        place.proxy.come_back();
        let back = Instant::now();
        place.world.server.wait_until_idle_for(PATIENCE.max(gone * 10));
        (waiting, back.elapsed(), others)
    });
    most.look(&place);
    let store = place.world.server.store();
    let tries = store.number("SELECT max(tries) FROM job WHERE kind IN ('archive', 'publish')");
    let attempts = store.number("SELECT max(attempt) FROM job WHERE kind IN ('archive', 'publish')");
    println!(
        "{} pushes and {} other deliveries in {gone:?}, {waiting} jobs waited, at most {} KiB in memory, {} bytes of unfinished files, \
         {} bytes of cache; {took:?} after the bucket was back all was published, with at most {attempts} attempts of a job",
        pushed.concat().len(),
        others.len(),
        most.memory_kib,
        most.unfinished,
        most.cache
    );
    let known = store.query("SELECT id FROM delivery WHERE state <> 'received'");
    let known: BTreeSet<&String> = known.iter().collect();
    let lost: Vec<&String> = others.iter().filter(|id| !known.contains(id)).collect();
    assert!(lost.is_empty(), "{} deliveries are lost", lost.len());
    assert_eq!(tries, 0, "an outage is no job's fault");
    assert!(attempts <= 5, "{attempts}: jobs are not tried in vain");
    assert!(most.memory_kib < 512 << 10 && most.unfinished < 64 << 20 && most.cache < 2 << 30, "{most:?}");
    check(&place, &pushed);
}

#[test]
fn a_worker_finds_out_by_itself_that_the_bucket_is_back() {
    let test = "bucket_faults::a_worker_finds_out_by_itself";
    let Some(mut place) = Place::prepare(Kind::Moto, test, QUICK, |project| project) else { return };
    let Some(postgres) = Postgres::shared(test) else { return };
    let database = postgres.create_database();
    let mut worker = Server::new(BINARY);
    worker.set_projects([project(&place.world.github, PROJECT)]);
    worker.set_task(&["worker", "--listen", "127.0.0.1:0"]);
    place.world.server.set_task(&["serve", "--no-work"]);
    for server in [&mut place.world.server, &mut worker] {
        let more = bucket_settings(server, place.s3, &place.proxy.endpoint(), &place.bucket, QUICK);
        server.use_postgres(&database, &more);
        server.start();
    }
    let all = commits(&place, 2);
    let all = &all[0];
    let published = |commit: &str| {
        let sql =
            format!("SELECT count(*) FROM publication WHERE state = 'published' AND commit_id = '{commit}'");
        let found = || (postgres.sql(&database, &sql).expect("a number").trim() == "1").then_some(());
        assert!(wait_for(PATIENCE, found).is_some(), "{commit} is not published\n{}", worker.log());
    };
    push(&place, 0, &all[0]);
    published(&all[0]);
    place.proxy.go_away();
    push(&place, 0, &all[1]);
    worker.wait_for_log("the storage does not answer");
    place.proxy.come_back();
    published(&all[1]);
    worker.wait_for_log("the storage answers again");
    worker.stop();
    place.world.server.stop();
}
