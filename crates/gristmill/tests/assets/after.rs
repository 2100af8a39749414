//! `get`, `list` and `gc`.

use gristmill_testkit::s3::Kind;

use crate::world::{At, World, git};

#[test]
fn assets_come_back_verified() {
    for at in At::ALL {
        let Some(world) = World::new(at, "after::get") else { continue };
        world.check(&[]).ended(0);
        world.build(&[("a.zip", "aaa"), ("site/index.html", "i")]);
        world.upload(&["--recursive"]).ended(0);
        let (commit, into) = (world.head(), world.path("back"));
        let into = into.to_str().unwrap();
        let done = world.asset(&["get", "--into", into, "--json"]);
        let json = done.ended(0).json();
        assert_eq!((&json["commit"], &json["files"][0]["path"]), (&commit.clone().into(), &"a.zip".into()));
        let read = |name: &str| std::fs::read_to_string(world.path("back").join(name)).ok();
        assert_eq!((read("a.zip").as_deref(), read("site/index.html").as_deref()), (Some("aaa"), Some("i")));
        std::fs::remove_dir_all(into).unwrap();
        world
            .asset(&["get", &commit[..7], "a.zip", "--into", into])
            .ended(0)
            .has("Got a.zip, 3 bytes, sha256:");
        assert_eq!(read("site/index.html"), None);
        world.asset(&["get", &commit, "b.zip"]).ended(1).has("there are: a.zip, site/index.html");
        world.asset(&["get", "main"]).ended(1).has("is no commit");
        world.asset(&["get", "0000000"]).ended(1).has("no commit with assets begins with");
        // Other bytes of the same size are not taken.
        world.write(&format!("artifacts/{commit}/a.zip"), "AAA", &[]);
        let done = world.asset(&["get", &commit, "a.zip", "--into", into]);
        assert_eq!(done.code, 1, "{at:?} {done:#?}");
        assert_eq!(read("a.zip").as_deref(), Some("aaa"));
    }
}

#[test]
fn sets_are_listed() {
    for at in At::ALL {
        let Some(world) = World::new(at, "after::list") else { continue };
        let none = world.asset(&["list", "--json"]);
        assert_eq!(none.ended(0).json(), serde_json::json!([]));
        world.check(&[]).ended(0);
        world.build(&[("a.zip", "aaa"), ("b.zip", "bb")]);
        world.upload(&[]).ended(0);
        let commit = world.head();
        world.write("artifacts/00000000000000000000000000000000000000aa/x.zip", "x", &[]);
        world.write("artifacts/README", "somebody's", &[]);
        let listed = world.asset(&["list", "--json"]).json();
        let listed = listed.as_array().unwrap();
        assert_eq!(listed.len(), 2, "{listed:#?}");
        let ours = listed.iter().find(|set| set["commit"] == commit.as_str()).unwrap();
        let told = [&ours["state"], &ours["from"], &ours["bytes"], &ours["files"][1]["path"]];
        assert_eq!(told, [&"complete".into(), &"build".into(), &5.into(), &serde_json::json!("b.zip")]);
        assert_eq!(ours["code_hash"].as_str(), world.flag(".code-hash").as_deref());
        let text = world.asset(&["list"]).ended(0).out.clone();
        assert!(text.starts_with("COMMIT ") && text.contains("without manifest"), "{text}");
        assert_eq!(world.asset(&["list", "--limit", "1"]).ended(0).has("1 older").out.lines().count(), 2);
        let cache = world.asset(&["list", "--cache", "--json"]).json();
        assert_eq!(cache[0]["code_hash"], ours["code_hash"]);
    }
}

#[test]
fn a_folder_of_the_console_is_no_file() {
    let Some(world) = World::new(At::Server(Kind::Moto), "after::console") else { return };
    let commit = world.head();
    world.write(&format!("artifacts/{commit}/"), "", &[]);
    world.write(&format!("artifacts/{commit}/a.zip"), "aaa", &[]);
    world.asset(&["get", &commit]).ended(0).has("Got a.zip, 3 bytes");
}

#[test]
fn what_is_old_and_not_named_is_removed() {
    let world = World::new(At::Folder, "").unwrap();
    let mut commits = Vec::new();
    for number in 0..4 {
        commits.push(world.commit("lambdas/a/m.py", &number.to_string()));
        world.check(&[]).ended(0);
        world.build(&[("a.zip", &number.to_string())]);
        world.upload(&[]).ended(0);
    }
    git(&world.path("repo"), &["tag", "-a", "v1", "-m", "v1", &commits[0]]);
    commits.push(world.commit("README", "from the cache"));
    world.check(&[]).ended(0).has("copied from the cache");
    // The first three are of another year, and so is a set of the original's.
    world.write("artifacts/00000000000000000000000000000000000000aa/x.zip", "x", &[]);
    world.write("artifacts/README", "somebody's", &[]);
    let old = std::fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
    let age = |key: &str| {
        let file = std::fs::File::options().write(true).open(world.path("bucket").join(key)).unwrap();
        file.set_times(old).unwrap();
    };
    let is_old = |key: &String| {
        let text = world.read(key).unwrap();
        commits[..3].iter().any(|commit| key.contains(commit) || text.contains(commit))
            || key.contains("aa/x.zip")
            || key.starts_with("cache/") && ["0", "1", "2"].contains(&text.as_str())
    };
    let keys = world.keys("");
    keys.iter().filter(|key| is_old(key)).for_each(|key| age(key));
    let args = ["gc", "--keep-days", "30", "--keep-refs", "refs/tags/v*", "--json"];
    let planned = world.asset(&args).ended(0).json();
    assert_eq!(world.keys(""), keys, "nothing goes without --apply");
    assert_eq!(planned["commits"]["sets"], 6);
    assert_eq!((&planned["cache"]["sets"], &planned["from_cache"]), (&4.into(), &1.into()));
    let applied = world.asset(&[&args[..], &["--apply"]].concat()).ended(0).json();
    assert_eq!(applied["removed"], planned["removed"]);
    // Two commits and the original's; of the cache what these two were made with.
    assert_eq!((&applied["gone"]["sets"], &applied["applied"]), (&5.into(), &true.into()));
    let left_of = |world: &World| {
        let left = world.keys("");
        let has = |commit: &String| left.iter().filter(|key| key.contains(commit.as_str())).count();
        (commits.iter().map(has).collect::<Vec<_>>(), left)
    };
    // What says that they are removed stays, for whoever writes them anew meanwhile.
    let (counts, left) = left_of(&world);
    assert_eq!(counts, [2, 1, 1, 2, 2]);
    left.iter().filter(|key| world.read(key).unwrap().contains("\"removing\"")).for_each(|key| age(key));
    world.asset(&[&args[..], &["--apply"]].concat()).ended(0);
    let (counts, left) = left_of(&world);
    assert_eq!(counts, [2, 0, 0, 2, 2]);
    assert_eq!(world.keys("cache/").len(), 2, "{left:#?}");
    assert!(left.contains(&"artifacts/README".to_owned()), "what is none of ours is left alone");
    world.asset(&["gc", "--keep-days", "1", "--keep-refs", "refs/none"]).ended(1).has("no ref");
    let some =
        ["gc", "--keep-days", "1", "--keep-refs", "refs/tags/v*", "--keep-refs", "refs/none", "--apply"];
    world.asset(&some).ended(1).has("refs/none");
    world.asset(&["gc"]).ended(2);
}

#[test]
fn a_set_that_is_being_removed_is_not_found() {
    for at in At::ALL {
        let Some(world) = World::new(at, "after::removing") else { continue };
        world.check(&[]).ended(0);
        world.build(&[("a.zip", "a")]);
        world.upload(&[]).ended(0);
        let key = format!(".gristmill/sets/{}.json", world.head());
        let text = world.read(&key).unwrap().replace("\"complete\"", "\"removing\"");
        world.write(&key, &text, &[]);
        world.asset(&["check", "--filter", "", "--exit-code"]).ended(0);
        world.asset(&["get"]).ended(1).has("not complete");
        // And can be made again.
        world.upload(&[]).ended(0);
        world.asset(&["check", "--exit-code"]).ended(10);
        // A young set stays, whatever its age is counted in.
        let report = world.asset(&["gc", "--keep-days", "0", "--apply", "--json"]).ended(0).json();
        assert_eq!(report["gone"]["sets"], 0, "an upload of today may be under way");
    }
}

/// As three days later. moto and s3s-fs take signatures of any day.
#[test]
fn what_is_old_is_removed_from_a_server() {
    let Some(library) = gristmill_testkit::faketime() else {
        return gristmill_testkit::skip("after::gc over servers", "libfaketime is not installed");
    };
    for kind in [Kind::Moto, Kind::S3sFs] {
        let Some(mut world) = World::new(At::Server(kind), "after::gc_server") else { continue };
        for text in ["one", "two"] {
            world.commit("lambdas/a/m.py", text);
            world.check(&[]).ended(0);
            world.build(&[("a.zip", text), ("large", &"0123456789".repeat(2_000_000))]);
            world.upload(&[]).ended(0);
        }
        git(&world.path("repo"), &["tag", "v2"]);
        // An upload that was killed before its end.
        let begun = format!("/{}/artifacts/{}/more?uploads", world.bucket, world.head());
        world.client().expect(200, "POST", &begun, &[], b"").unwrap();
        let gc = ["gc", "--keep-days", "1", "--keep-refs", "refs/tags/*", "--json"];
        let gone = |report: &serde_json::Value| report["gone"]["sets"].as_u64().unwrap();
        assert_eq!(gone(&world.asset(&gc).ended(0).json()), 0, "all of it is of today");
        world.set("LD_PRELOAD", library.to_str().unwrap());
        world.set("FAKETIME", "+3d");
        let done = world.asset(&gc);
        assert_eq!(gone(&done.ended(0).json()), 2, "{kind:?}: the first commit's and its code's");
        assert_eq!(world.keys("artifacts/").len(), 4, "only told");
        let applied = world.asset(&[&gc[..], &["--apply"]].concat()).ended(0).json();
        assert_eq!(gone(&applied), 2);
        let unfinished = u64::from(kind == Kind::Moto);
        assert_eq!(applied["unfinished"], unfinished, "s3s-fs lists none: {applied}");
        world.unset("LD_PRELOAD");
        let left = world.keys("artifacts/");
        assert!(left.len() == 2 && left.iter().all(|key| key.contains(&world.head())), "{left:?}");
        world.check(&[]).ended(0).has("2 artifact(s) found");
    }
}
