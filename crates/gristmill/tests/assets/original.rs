//! Beside what does as s3-asset-manager does: either finds what the other has stored, says the same, and stores the same.

use std::process::Command;

use gristmill_testkit::s3::Kind;

use crate::world::{At, World, done};

const SERVERS: [Kind; 3] = Kind::ALL;

fn world(kind: Kind, test: &str) -> Option<World> {
    let mut world = World::new(At::Server(kind), test)?;
    world.set("CODE_HASH_ALGORITHM", "md5");
    Some(world)
}

/// The whole life of a build: not there, uploaded, found, found by its code, and other code.
fn sequence(world: &World, run: &mut dyn FnMut(&World, &str) -> Option<Vec<String>>) -> Option<Vec<String>> {
    let mut lines = run(world, "check")?;
    world.build(&[("one.zip", "zip1")]);
    for step in ["upload", "check", "upload"] {
        lines.extend(run(world, step)?);
    }
    world.commit("README", "x");
    lines.extend(run(world, "check")?);
    world.commit("lambdas/a/m.py", "two\n");
    lines.extend(run(world, "check")?);
    Some(lines)
}

#[test]
fn the_same_lines_in_the_same_order_and_the_same_objects() {
    let test = "original::the_same_lines";
    for kind in SERVERS {
        let (Some(theirs), Some(ours)) = (world(kind, test), world(kind, test)) else { continue };
        let original = &mut |world: &World, step: &str| {
            let done = world.original(step, test)?;
            assert_eq!(done.code, 0, "{done:#?}");
            // Its flag stays: that is mistake number 1.
            if step == "check" && !done.lines.iter().any(|line| line.contains("no build necessary")) {
                let _ = std::fs::remove_file(world.path("packages/.found"));
            }
            Some(done.lines)
        };
        let Some(expected) = sequence(&theirs, original) else { return };
        let program = &mut |world: &World, step: &str| {
            let done = if step == "check" { world.check(&[]) } else { world.upload(&[]) };
            assert_eq!(done.code, 0, "{done:#?}");
            Some(done.lines)
        };
        let found = sequence(&ours, program).unwrap();
        let plain = |lines: &[String], world: &World| -> Vec<String> {
            lines.iter().map(|line| line.replace(&world.bucket, "BUCKET")).collect()
        };
        assert_eq!(plain(&found, &ours), plain(&expected, &theirs), "{kind:?}");
        for prefix in ["artifacts/", "cache/"] {
            assert_eq!(ours.keys(prefix), theirs.keys(prefix), "{kind:?}");
        }
        for key in theirs.keys("") {
            assert_eq!(ours.read(&key), theirs.read(&key), "{kind:?} {key}");
            for name in ["package-hash", "code-hash"] {
                let name = format!("x-amz-meta-{name}");
                assert_eq!(ours.header(&key, &name), theirs.header(&key, &name), "{kind:?} {key}");
            }
        }
    }
}

#[test]
fn what_the_original_has_stored_is_found() {
    let test = "original::stored_by_it";
    for kind in SERVERS {
        let Some(world) = world(kind, test) else { continue };
        let Some(checked) = world.original("check", test) else { return };
        checked.ended(0);
        world.build(&[("one.zip", "zip1"), ("two.zip", "zip2")]);
        world.original("upload", test).unwrap().ended(0);
        assert_eq!(world.keys(".gristmill/"), Vec::<String>::new());
        world.check(&[]).ended(0).has("2 artifact(s) found").has("counted, not verified");
        // By its code too; the copy has a manifest then, with the digests that stood with the objects.
        let second = world.commit("README", "x");
        world.check(&[]).ended(0).has("2 cached artifact(s) found").has("copied from the cache");
        let digest = world.manifest()["files"][0]["digest"].as_str().unwrap().to_owned();
        assert_eq!(digest, gristmill_model::Digest::of(b"zip1").to_string(), "{kind:?}");
        assert_eq!(world.header(&format!("artifacts/{second}/one.zip"), "x-amz-meta-commit-hash"), second);
        // What was built again is the same.
        std::fs::remove_file(world.path("packages/.found")).unwrap();
        world.upload(&[]).ended(0).has("2 package(s)");
    }
}

#[test]
fn what_is_stored_here_is_found_by_the_original() {
    let test = "original::stored_here";
    for kind in SERVERS {
        let Some(world) = world(kind, test) else { continue };
        world.check(&[]).ended(0);
        world.build(&[("one.zip", "zip1"), ("two.zip", "zip2")]);
        world.upload(&[]).ended(0);
        let Some(checked) = world.original("check", test) else { return };
        // No manifest is counted as an object.
        checked.ended(0).has("2 artifact(s) found; no build necessary");
        world.commit("README", "x");
        world
            .original("check", test)
            .unwrap()
            .ended(0)
            .has("2 cached artifact(s) found")
            .has("copied from the cache");
        world.check(&[]).ended(0).has("2 artifact(s) found");
    }
}

#[test]
fn boto3_reads_back_what_was_written() {
    let test = "original::boto3";
    let script = "import boto3, json, os, sys\n\
        b = os.environ['PACKAGE_ASSETS_BUCKET']; s3 = boto3.client('s3')\n\
        for k in sys.argv[1:]:\n\
        \x20   o = s3.get_object(Bucket=b, Key=k)\n\
        \x20   print(o['Body'].read().decode(), o['ContentType'], sorted(o['Metadata']))\n";
    for kind in SERVERS {
        let Some(world) = world(kind, test) else { continue };
        let Some(python) = gristmill_testkit::s3::boto3(test) else { return };
        world.check(&[]).ended(0);
        world.build(&[("ä b+c.json", "{}")]);
        world.upload(&[]).ended(0);
        let key = format!("artifacts/{}/ä b+c.json", world.head());
        let mut command = Command::new(python);
        command.args(["-c", script, &key]);
        world.dress(&mut command);
        let read = done(&command.output().unwrap());
        let expected = "{} application/json ['code-hash', 'commit-hash', 'package-hash']\n";
        assert_eq!((read.ended(0).out.as_str(), read.code), (expected, 0), "{kind:?}");
    }
}
