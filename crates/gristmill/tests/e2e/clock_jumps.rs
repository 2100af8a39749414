//! The real program, whose clock is set while it runs: by libfaketime, which leaves the monotonic clock alone.

use std::path::Path;

use gristmill_testkit::server::{PATIENCE, wait_for};

use crate::world::{KEY, MAIN, World};

/// Jumps as libfaketime reads them: of an hour and a bit, and of ten years, each set right again.
const JUMPS: [&str; 4] = ["+3700", "-3700", "+315619200", "-315619200"];

/// In one step: the program may read it at any moment.
fn set(file: &Path, offset: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, offset).expect("written");
    std::fs::rename(new, file).expect("renamed");
}

#[test]
fn pushes_are_published_once_whatever_the_clock_does() {
    let Some(library) = gristmill_testkit::faketime() else {
        return gristmill_testkit::skip("jumps of the real program's clock", "libfaketime is not installed");
    };
    let mut world = World::prepare(|project| project.pipeline("schedule = \"0 3 1 1 *\""));
    let file = world.server.folder().join("clock");
    set(&file, "+0");
    for (name, value) in [
        ("LD_PRELOAD", library.to_str().expect("a path")),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().expect("a path")),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ] {
        world.server.set_env(name, value);
    }
    world.server.start();
    let mut last = world.text(None, "the first");
    world.push_and_wait(MAIN, &last);
    let mut pushes = 1;
    for jump in JUMPS {
        for offset in [jump, "+0"] {
            set(&file, offset);
            last = world.text(Some(&last), &format!("{jump} {offset}"));
            world.push_and_wait(MAIN, &last);
            pushes += 1;
            world.assert_public(KEY, &last);
        }
    }
    let by_hook = || world.runs().iter().filter(|run| run["cause"] == "delivery").count();
    assert_eq!(by_hook(), pushes, "{}", world.server.log());
    let lost = world.server.store().number("SELECT count(*) FROM job_attempt WHERE result = 'lost'");
    assert_eq!(lost, 0, "no lease was taken from anybody: {}", world.server.log());
    // A start sees what nobody saw: the years that the clock is behind.
    set(&file, "-315619200");
    world.server.stop();
    world.server.start();
    let said = wait_for(PATIENCE, || world.server.log().contains("the clock was set back").then_some(()));
    assert!(said.is_some(), "{}", world.server.log());
    last = world.text(Some(&last), "after the start");
    world.push_and_wait(MAIN, &last);
    world.assert_public(KEY, &last);
    world.server.stop();
    set(&file, "+315619200");
    world.server.start();
    let doctor = world.server.cli(&["doctor"]);
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(text.contains("the server deletes nothing by its age before"), "{text}");
}
