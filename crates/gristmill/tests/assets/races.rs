//! Two jobs at once for one commit: in the end one set, whole, of one of them.

use std::process::{Child, Stdio};

use gristmill_testkit::s3::Kind;

use crate::world::{At, Done, World, done};

/// Starts an upload of a package folder of its own.
fn start(world: &World, folder: &str, files: &[(String, String)]) -> Child {
    let packages = world.path(folder);
    std::fs::create_dir_all(&packages).unwrap();
    for (name, text) in files {
        std::fs::write(packages.join(name), text).unwrap();
    }
    for flag in [".commit-hash", ".code-hash"] {
        std::fs::copy(world.path("packages").join(flag), packages.join(flag)).unwrap();
    }
    let mut command = world.command(&world.path("upload"), &["--packages", folder]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn files(content: &str) -> Vec<(String, String)> {
    (0..12).map(|number| (format!("f{number:02}"), format!("{content} {number}"))).collect()
}

/// Both jobs; what is there then is one of them.
fn race(world: &World, at: At, contents: [&str; 2]) -> [Done; 2] {
    world.check(&[]).ended(0);
    let jobs = [start(world, "one", &files(contents[0])), start(world, "two", &files(contents[1]))];
    let ended = jobs.map(|job| done(&job.wait_with_output().unwrap()));
    let into = world.path("back");
    let got = world.asset(&["get", "--into", into.to_str().unwrap()]);
    if got.code == 0 {
        let read = |name: &str| std::fs::read_to_string(into.join(name)).unwrap();
        let is = |content: &str| files(content).iter().all(|(name, text)| read(name) == *text);
        assert!(is(contents[0]) || is(contents[1]), "a mixture: {ended:#?}");
    }
    if got.code != 0 && at == At::Server(Kind::S3sFs) {
        // It looks whether a condition holds, and writes later: the last object of who was told to stop may come after
        // all was compared, and its listing does not show it. Who gets it is told, by its digest.
        got.has("has other bytes");
        return ended;
    }
    assert_eq!(got.code, 0, "{got:#?} {ended:#?}");
    world.check(&[]).ended(0).has("12 artifact(s) found");
    ended
}

#[test]
fn the_same_content_is_success_for_both() {
    for at in At::ALL {
        for round in 0..3 {
            let Some(world) = World::new(at, "races::the_same") else { break };
            for job in race(&world, at, ["same", "same"]) {
                assert_eq!(job.code, 0, "{at:?} {round}: {job:#?}");
            }
            assert_eq!(world.keys("cache/").len(), 12);
        }
    }
}

#[test]
fn of_different_content_one_counts_and_the_other_is_told() {
    for at in At::ALL {
        for round in 0..4 {
            let Some(world) = World::new(at, "races::different") else { break };
            let ended = race(&world, at, ["one", "two"]);
            let good = ended.iter().filter(|job| job.code == 0).count();
            assert_eq!(good, 1, "{at:?} {round}: {ended:#?}");
            let told = ended.iter().find(|job| job.code != 0).unwrap();
            let is_told = told.lines.iter().any(|line| {
                line.contains("taken over by another job")
                    || line.contains("there already with other content")
            });
            assert!(is_told && told.code == 1, "{at:?} {told:#?}");
        }
    }
}
