//! `kill -9` at each named place.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use gristmill::fail::POINTS;
use gristmill_testkit::server::{PATIENCE, wait_for};

use crate::world::{KEY, MAIN, PROJECT, World};

/// Servers that are tried at the same time.
const AT_ONCE: usize = 3;

/// One push to a server that dies at `point`, and a start after it.
fn die_at(point: &str) {
    let mut world = World::start(|project| project);
    let (a, b) = (world.text(None, "A"), world.text(None, "B"));
    world.push_and_wait(MAIN, &a);
    world.server.stop();
    world.server.set_env("GRISTMILL_FAILPOINT", point);
    world.server.start();
    let push = world.github.push(PROJECT, MAIN, Some(&b)).remove(0);
    let first = world.server.send(PROJECT, &push);
    let status = world.server.wait();
    assert_eq!(status.signal(), Some(9), "{point}: {status}\n{}", world.server.log());
    if let Ok(reply) = &first {
        assert_eq!(reply.status, 202, "{point}");
    }
    // Whoever looks now sees a whole archive: that of A, or already that of B.
    let shown = world.server.store().public(KEY).expect("something is published");
    let commit = if shown == world.server.store().artifact(KEY, &a) { &a } else { &b };
    crate::world::assert_equals_git(&world.repo, commit, &shown);
    world.server.remove_env("GRISTMILL_FAILPOINT");
    world.server.start();
    if first.is_err() {
        // The sender has no answer and sends again.
        let again = || world.server.send(PROJECT, &push).is_ok_and(|reply| reply.status == 202).then_some(());
        assert!(wait_for(PATIENCE, again).is_some(), "{point}");
    }
    world.server.wait_until_idle();
    world.assert_public(KEY, &b);
    world.assert_archived(KEY, &a);
    let commits: Vec<String> =
        world.server.store().versions_of(KEY).into_iter().map(|version| version.commit).collect();
    assert_eq!(commits, [a, b.clone()], "{point}: one version a move");
    let count = |sql: &str| world.server.store().number(sql);
    assert_eq!(count("SELECT count(*) FROM delivery"), 3, "{point}: push and create of A, push of B");
    assert_eq!(count("SELECT count(*) FROM run"), 2, "{point}");
    assert_eq!(count("SELECT count(*) FROM artifact"), 2, "{point}");
    assert_eq!(world.run_of(&b)["state"], "succeeded", "{point}");
}

#[test]
fn a_server_that_dies_at_any_place_loses_nothing_and_makes_nothing_twice() {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(point) = POINTS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    die_at(point);
                }
            });
        }
    });
}
