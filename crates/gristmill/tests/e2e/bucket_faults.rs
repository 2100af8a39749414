//! The whole program over a bucket that fails, and over one that is gone for a while.
//!
//! `GRISTMILL_SOAK=1` makes both large; `GRISTMILL_SOAK_SEED` chooses other faults.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gristmill_testkit::faults::{Fault, Odds};
use gristmill_testkit::s3::Kind;
use gristmill_testkit::server::{pause, sha256};

use crate::bucket::Place;
use crate::world::{PROJECT, assert_equals_git};

const BRANCHES: usize = 5;
/// Calls that are never answered end soon.
const QUICK: &str = "request_timeout = \"2s\"\nconnect_timeout = \"1s\"\n";
/// How long nothing may move: a job that failed often waits for minutes.
const PATIENCE: Duration = Duration::from_secs(900);

fn is_soak() -> bool {
    std::env::var_os("GRISTMILL_SOAK").is_some()
}

fn seed() -> u64 {
    let chosen = std::env::var_os("GRISTMILL_SOAK_SEED").and_then(|text| text.to_str()?.parse().ok());
    chosen.unwrap_or(20_240_607)
}

fn branch(number: usize) -> String {
    format!("b{}", number % BRANCHES)
}

/// Pushes a commit of its own to one of the branches; the commit and its ref.
fn push(place: &Place, number: usize) -> (String, String) {
    let commit = place.world.text(None, &format!("text {number}"));
    let git_ref = format!("refs/heads/{}", branch(number));
    place.world.push(&git_ref, &commit);
    (commit, git_ref)
}

/// Every push has its run and its archive, every branch's key shows its last, and no version is there twice.
fn check(place: &Place, pushed: &[(String, String)]) {
    let store = place.world.server.store();
    assert_eq!(store.integrity(), ["ok"]);
    let bad = store.query("SELECT id || coalesce(reason, '') FROM run WHERE state <> 'succeeded'");
    assert_eq!(bad, Vec::<String>::new());
    let client = place.s3.client();
    let get = |name: &str| {
        client.expect(200, "GET", &format!("/{}/mill/{name}", place.bucket), &[], b"").expect("it is there")
    };
    let mut last = BTreeMap::new();
    for (commit, git_ref) in pushed {
        let sql = format!("SELECT lower(hex(digest)) FROM artifact WHERE commit_id = '{commit}'");
        let digest = store.query(&sql).pop().unwrap_or_else(|| panic!("no archive of {commit}"));
        let bytes = get(&format!(".gristmill/blobs/sha256/{}/{digest}", &digest[..2])).body;
        assert_eq!(sha256(&bytes), digest);
        assert_equals_git(&place.world.repo, commit, &bytes);
        last.insert(git_ref.trim_start_matches("refs/heads/"), (commit, digest));
    }
    for (branch, (commit, digest)) in last {
        let key = format!("{PROJECT}/{branch}/{}.zip", PROJECT.replace('/', "_"));
        let reply = get(&key);
        assert_eq!((sha256(&reply.body), reply.header("x-amz-meta-commit")), (digest, Some(commit.as_str())));
        check_versions(place, &key);
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
    let pushes = if is_soak() { 200 } else { 20 };
    let pushed: Vec<_> = (0..pushes).map(|number| push(&place, number)).collect();
    place.world.server.wait_until_idle_for(PATIENCE);
    let seen = place.proxy.take_seen();
    let failed = seen.iter().filter(|seen| seen.fault != Fault::Pass).count();
    println!("{pushes} pushes, {} calls, {failed} of them failed", seen.len());
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

#[test]
fn a_bucket_that_is_gone_for_a_while_loses_nothing() {
    let test = "bucket_faults::gone_for_a_while";
    let Some(mut place) = Place::prepare(Kind::Moto, test, QUICK, |project| project) else { return };
    place.world.server.start();
    let mut pushed = vec![push(&place, 0)];
    place.world.server.wait_until_idle();
    let gone = Duration::from_secs(if is_soak() { 600 } else { 6 });
    place.proxy.go_away();
    let (begun, mut most_kib, mut most_cache) = (Instant::now(), 0, 0);
    let cache = place.world.server.data().join("cache");
    while begun.elapsed() < gone {
        pushed.push(push(&place, pushed.len()));
        most_kib = most_kib.max(resident_kib(place.world.server.pid()));
        most_cache = most_cache.max(bytes_below(&cache.join("tmp")));
        // 20 a second.
        let due = Duration::from_millis(50) * u32::try_from(pushed.len()).expect("few");
        pause(due.saturating_sub(begun.elapsed()));
    }
    place.world.server.wait_for_log("the storage does not answer");
    let store = place.world.server.store();
    let waiting =
        store.number("SELECT count(*) FROM job WHERE kind IN ('archive', 'publish') AND state = 'ready'");
    // A start meanwhile accepts deliveries.
    place.world.server.crash_and_restart();
    pushed.push(push(&place, pushed.len()));
    place.proxy.come_back();
    let back = Instant::now();
    place.world.server.wait_until_idle_for(PATIENCE.max(gone * 10));
    let tries = store.number("SELECT max(tries) FROM job WHERE kind IN ('archive', 'publish')");
    let attempts = store.number("SELECT max(attempt) FROM job WHERE kind IN ('archive', 'publish')");
    println!(
        "{} pushes in {gone:?}, {waiting} jobs waited, at most {most_kib} KiB in memory and {most_cache} bytes of \
         unfinished files; {:?} after the bucket was back all was published, with at most {attempts} attempts of a job",
        pushed.len(),
        back.elapsed()
    );
    assert_eq!(tries, 0, "an outage is no job's fault");
    assert!(attempts <= 5, "{attempts}: jobs are not tried in vain");
    assert!(most_kib < 512 << 10 && most_cache < 64 << 20, "{most_kib} KiB, {most_cache} bytes");
    check(&place, &pushed);
}
