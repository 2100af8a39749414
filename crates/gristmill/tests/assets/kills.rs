//! Killed at every call to the bucket, before the bucket has it and after: nothing is found that is not whole.

use std::process::Stdio;

use gristmill_testkit::faults::{Fault, Proxy, Rule};
use gristmill_testkit::s3::Kind;
use gristmill_testkit::server::{PATIENCE, wait_for};

use crate::world::{At, World};

const FILES: [(&str, &str); 3] =
    [("a.zip", "content of a"), ("b.zip", "content of b"), ("c.zip", "content of c")];

/// Runs a program by way of a proxy, and kills it when its call number `at` hangs. `false` where it ended before.
fn killed(world: &mut World, program: &str, at: u32, fault: Fault) -> bool {
    let server = world.server.unwrap();
    let proxy = Proxy::start(&server.endpoint);
    proxy.rule(Rule::new(fault).after(at).times(1));
    world.set("AWS_ENDPOINT_URL", &proxy.endpoint());
    let mut command = world.command(&world.path(program), &[]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let hangs = || {
        proxy
            .seen()
            .iter()
            .any(|seen| seen.fault == fault && (fault == Fault::Hang || seen.server_status.is_some()))
    };
    let hung = wait_for(PATIENCE, || match child.try_wait().unwrap() {
        Some(_) => Some(false),
        None => hangs().then_some(true),
    });
    child.kill().unwrap();
    child.wait().unwrap();
    world.set("AWS_ENDPOINT_URL", &server.endpoint);
    hung.expect("it hangs or ends")
}

/// What is found is whole: brought back, with the right bytes.
fn found_is_whole(world: &World, what: &str) -> bool {
    let found = world.asset(&["check", "--filter", "", "--exit-code"]).code == 10;
    if found {
        let into = world.path("back");
        world.asset(&["get", "--into", into.to_str().unwrap()]).ended(0);
        for (name, text) in FILES {
            assert_eq!(
                std::fs::read_to_string(into.join(name)).ok().as_deref(),
                Some(text),
                "{what}: {name}"
            );
        }
        std::fs::remove_dir_all(into).unwrap();
    }
    found
}

/// Kills `program` at each of its calls. How many calls there were, and after how many of them the set was found.
fn campaign(kind: Kind, test: &str, program: &str, prepare: &dyn Fn(&World)) -> Option<(u32, u32)> {
    let (mut calls, mut found) = (0, 0);
    for fault in [Fault::Hang, Fault::DoneThenHang] {
        for at in 0.. {
            assert!(at < 100, "it does not end");
            let mut world = World::new(At::Server(kind), test)?;
            prepare(&world);
            if !killed(&mut world, program, at, fault) {
                assert!(found_is_whole(&world, "it ended"));
                break;
            }
            calls += 1;
            found += u32::from(found_is_whole(&world, &format!("{fault:?} at call {at}")));
            // The next job makes it whole.
            world.check(&[]).ended(0);
            world.build(&FILES);
            world.upload(&[]).ended(0);
            assert!(found_is_whole(&world, &format!("after {fault:?} at call {at}")));
        }
    }
    Some((calls, found))
}

#[test]
fn a_killed_upload_leaves_nothing_that_is_found() {
    for kind in [Kind::S3sFs, Kind::Moto] {
        let prepare = |world: &World| {
            world.check(&[]).ended(0);
            world.build(&FILES);
        };
        let Some((calls, found)) = campaign(kind, "kills::upload", "upload", &prepare) else { continue };
        // Two places are looked at by two calls each, then two manifests, three files and their copies, two listings, two
        // manifests.
        assert_eq!(calls, 32, "{kind:?}");
        // Only from the moment on at which its manifest is complete: that call, and the two of the cache behind it.
        assert!((3..=6).contains(&found), "{found}");
    }
}

#[test]
fn a_killed_copy_from_the_cache_leaves_nothing_that_is_found() {
    for kind in [Kind::S3sFs, Kind::Moto] {
        let prepare = |world: &World| {
            world.check(&[]).ended(0);
            world.build(&FILES);
            world.upload(&[]).ended(0);
            world.commit("README", "another commit");
        };
        let Some((calls, found)) = campaign(kind, "kills::copy", "check", &prepare) else { continue };
        // Two looks of two calls each, the manifest, three copies, the listing, the manifest.
        assert_eq!(calls, 20, "{kind:?}");
        assert_eq!(found, 1, "only after the last call was done");
    }
}
