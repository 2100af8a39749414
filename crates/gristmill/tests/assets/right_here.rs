//! What was wrong in s3-asset-manager and is right here, by its number in docs/migrating/s3-asset-manager.md.

use gristmill_testkit::s3::Kind;

use crate::world::{At, World};

fn built(at: At, test: &str, files: &[(&str, &str)]) -> Option<World> {
    let world = World::new(at, test)?;
    world.check(&[]).ended(0);
    world.build(files);
    world.upload(&[]).ended(0);
    Some(world)
}

#[test]
fn number_1_a_stale_flag_does_not_skip_the_next_upload() {
    let world = built(At::Folder, "", &[("a.zip", "a")]).unwrap();
    world.check(&[]).ended(0);
    assert!(world.flag(".found").is_some());
    world.commit("lambdas/a/m.py", "other\n");
    world.check(&[]).ended(0).has("No package found");
    assert_eq!(world.flag(".found"), None);
    // Also where the check itself fails.
    std::fs::write(world.path("packages/.found"), "").unwrap();
    std::fs::rename(world.path("repo"), world.path("gone")).unwrap();
    world.check(&[]).ended(101);
    assert_eq!((world.flag(".found"), world.flag(".commit-hash")), (None, None));
}

#[test]
fn number_2_a_set_that_is_not_whole_is_not_found() {
    for at in At::ALL {
        let files = [("a.zip", "a"), ("b.zip", "b"), ("c.zip", "c")];
        let Some(world) = built(at, "right_here::number_2", &files) else { continue };
        let (commit, code) = (world.head(), world.manifest()["code_hash"].as_str().unwrap().to_owned());
        world.check(&[]).ended(0).has("3 artifact(s) found");
        world.delete(&format!("artifacts/{commit}/b.zip"));
        world.delete(&format!("cache/{code}/a.zip"));
        let done = world.check(&[]);
        done.ended(0)
            .has("Missing or replaced there, so that it does not count: b.zip")
            .has("does not count: a.zip");
        assert_eq!(world.flag(".found"), None, "{at:?}");
        // The build is made again, and both are whole again.
        world.upload(&[]).ended(0).has("3 package(s) uploaded");
        world.check(&[]).ended(0).has("3 artifact(s) found");
        assert_eq!(world.keys("cache/").len(), 3, "{at:?}");
    }
}

#[test]
fn number_2_a_file_that_others_replaced_is_not_found() {
    let world = built(At::Server(Kind::Moto), "right_here::replaced", &[("a.zip", "a"), ("b.zip", "b")]);
    let Some(world) = world else { return };
    let key = format!("artifacts/{}/a.zip", world.head());
    // The same bytes are the same, whatever the ETag is.
    let hash = world.header(&key, "x-amz-meta-package-hash");
    world.write(&key, "a", &[("x-amz-meta-package-hash", &hash)]);
    world.check(&[]).ended(0).has("2 artifact(s) found");
    world.write(&key, "A", &[]);
    world.check(&[]).ended(0).has("does not count: a.zip");
}

#[test]
fn number_3_names_modes_hidden_files_and_borders_count() {
    let world = World::new(At::Folder, "").unwrap();
    let hash = || {
        world.check(&[]).ended(0);
        world.flag(".code-hash").unwrap()
    };
    let mut seen = vec![hash()];
    let repo = world.path("repo/lambdas/a");
    let mut changed = |what: &str| {
        world.commit("README", what);
        let hash = hash();
        assert!(!seen.contains(&hash), "{what} is not seen");
        seen.push(hash);
    };
    std::fs::rename(repo.join("m.py"), repo.join("n.py")).unwrap();
    changed("a rename");
    std::fs::set_permissions(repo.join("n.py"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    changed("a mode");
    std::fs::write(repo.join(".hidden"), "x").unwrap();
    changed("a hidden file");
    std::fs::write(repo.join("n.py"), "on").unwrap();
    std::fs::write(repo.join("o.py"), "e\n").unwrap();
    changed("a border");
    std::fs::write(repo.join("n.py"), "one").unwrap();
    std::fs::write(repo.join("o.py"), "\n").unwrap();
    changed("bytes that moved from one file to another");
    // What the filter does not take in does not count.
    let last = seen.last().unwrap().clone();
    world.commit("README", "something else");
    assert_eq!(hash(), last);
}

#[test]
fn number_4_overlapping_patterns_count_once() {
    let mut world = World::new(At::Folder, "").unwrap();
    let mut hash = |filter: &str| {
        world.set("CODE_HASH_FIND_FILTER", filter);
        world.check(&[]).ended(0);
        world.flag(".code-hash")
    };
    let whole = hash("lambdas/**");
    assert_eq!(hash("lambdas/** lambdas/a/m.py lambdas"), whole);
    assert_eq!(hash("lambdas/a/*.py lambdas/**/m.py"), hash("lambdas/**/*.py"));
    // A filter that takes nothing in would be one hash for all commits.
    assert_eq!(hash("nothing/**"), None);
    world.check(&[]).ended(0).has("takes in no file of the commit");
    world.check(&["--strict"]).ended(1);
    world.set("CODE_HASH_ALGORITHM", "md5");
    world.check(&[]).ended(0).has("takes in no file of the commit");
    assert_eq!(world.flag(".code-hash"), None);
    world.unset("CODE_HASH_ALGORITHM");
    world.set("CODE_HASH_FIND_FILTER", "../x");
    world.check(&[]).ended(1).has("begins at the repository's root");
}

#[test]
fn number_5_more_than_a_thousand_files_are_seen() {
    let Some(world) = World::new(At::Server(Kind::S3sFs), "right_here::number_5") else { return };
    let names: Vec<String> = (0..1003).map(|number| format!("f{number:04}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    world.check(&[]).ended(0);
    world.build(&files);
    world.upload(&[]).ended(0).has("1003 package(s) uploaded");
    world.check(&[]).ended(0).has("1003 artifact(s) found");
    let second = world.commit("README", "x");
    world.check(&[]).ended(0).has("1003 cached artifact(s) found").has("copied from the cache");
    world.delete(&format!("artifacts/{second}/f1002"));
    world.check(&["--filter", ""]).ended(0).has("does not count: f1002");
}

#[test]
fn number_6_a_copy_from_the_cache_says_whose_it_is() {
    for at in &At::ALL[1..] {
        let Some(world) = built(*at, "right_here::number_6", &[("a.zip", "a")]) else { continue };
        let first = world.head();
        let second = world.commit("README", "x");
        world.check(&[]).ended(0).has("copied from the cache");
        let header = |commit: &str, name: &str| world.header(&format!("artifacts/{commit}/a.zip"), name);
        assert_eq!(header(&first, "x-amz-meta-commit-hash"), first);
        assert_eq!(header(&second, "x-amz-meta-commit-hash"), second, "{at:?}");
        for name in ["x-amz-meta-package-hash", "x-amz-meta-code-hash", "content-type"] {
            assert_eq!(header(&second, name), header(&first, name), "{at:?} {name}");
        }
    }
}

#[test]
fn number_7_a_half_copy_is_not_found() {
    let world = built(At::Folder, "", &[("a.zip", "a"), ("b.zip", "b")]).unwrap();
    let first = world.head();
    let second = world.commit("README", "x");
    // As a copy is when it is cut off after the first file: see `kills` for real ones.
    let manifest = world.read(&format!(".gristmill/sets/{first}.json")).unwrap();
    let manifest = manifest.replace("\"complete\"", "\"uploading\"").replace(&first, &second);
    world.write(&format!(".gristmill/sets/{second}.json"), &manifest, &[]);
    world.write(&format!("artifacts/{second}/a.zip"), "a", &[]);
    world.check(&["--filter", ""]).ended(0).has("not complete; it does not count");
    assert_eq!(world.flag(".found"), None);
    world.check(&[]).ended(0).has("copied from the cache");
    assert_eq!(world.keys(&format!("artifacts/{second}/")).len(), 2);
    world.check(&["--filter", ""]).ended(0).has("2 artifact(s) found");
}

#[test]
fn number_8_a_script_can_tell_found_from_not_found() {
    let world = World::new(At::Folder, "").unwrap();
    let file = world.path("outputs").display().to_string();
    let args = ["--exit-code", "--output", "json", "--output-file", &file];
    let done = world.check(&args);
    let code = world.flag(".code-hash").unwrap();
    let expected = serde_json::json!({
        "commit": world.head(), "found": false, "source": null, "code_hash": code, "files": 0
    });
    assert_eq!(done.ended(0).json(), expected);
    world.build(&[("a.zip", "a")]);
    world.upload(&[]).ended(0);
    let done = world.check(&args);
    assert_eq!(
        (done.code, &done.json()["found"], &done.json()["source"]),
        (10, &true.into(), &"commit".into())
    );
    let first = world.head();
    let second = world.commit("README", "x");
    let done = world.check(&args);
    assert_eq!((done.code, &done.json()["source"], &done.json()["files"]), (10, &"cache".into(), &1.into()));
    assert_eq!(
        std::fs::read_to_string(world.path("outputs")).unwrap(),
        format!(
            "found=false\nsource=\ncommit_hash={first}\ncode_hash={code}\n\
             found=true\nsource=commit\ncommit_hash={first}\ncode_hash=\n\
             found=true\nsource=cache\ncommit_hash={second}\ncode_hash={code}\n"
        )
    );
}

#[test]
fn number_9_each_file_has_its_type() {
    let Some(world) =
        built(At::Server(Kind::Moto), "right_here::number_9", &[("a.css", "a"), ("b.bin", "b")])
    else {
        return;
    };
    let of = |name: &str| world.header(&format!("artifacts/{}/{name}", world.head()), "content-type");
    assert_eq!(
        (of("a.css").as_str(), of("b.bin").as_str()),
        ("text/css; charset=utf-8", "application/octet-stream")
    );
}

#[test]
fn number_10_other_content_is_an_error_and_the_same_is_success() {
    for at in At::ALL {
        let Some(world) = built(at, "right_here::number_10", &[("a.zip", "one")]) else { continue };
        let key = format!("artifacts/{}/a.zip", world.head());
        world.upload(&[]).ended(0).has("1 package(s) are there already, with the same content");
        world.build(&[("a.zip", "two")]);
        world.upload(&[]).ended(1).has("other content (a.zip differs)").has("--force");
        assert_eq!(world.read(&key).as_deref(), Some("one"));
        world.build(&[("a.zip", "one"), ("b.zip", "b")]);
        world.upload(&[]).ended(1).has("b.zip is only here");
        world.build(&[("a.zip", "two")]);
        world.upload(&["--force"]).ended(0).has("1 package(s) uploaded");
        assert_eq!(world.read(&key).as_deref(), Some("two"), "{at:?}");
        world.check(&[]).ended(0).has("1 artifact(s) found");
    }
}

#[test]
fn number_10_objects_without_a_manifest_are_not_replaced_either() {
    for at in At::ALL {
        let Some(world) = World::new(at, "right_here::unmarked") else { continue };
        world.check(&[]).ended(0);
        let key = format!("artifacts/{}/a.zip", world.head());
        world.write(&key, "theirs", &[]);
        world.build(&[("a.zip", "ours")]);
        // However often it is tried, and what was found is found afterwards.
        for _ in 0..2 {
            world.upload(&[]).ended(1).has("a.zip");
            assert_eq!(world.read(&key).as_deref(), Some("theirs"), "{at:?}");
        }
        world.asset(&["check", "--exit-code"]).ended(10);
        world.check(&[]).ended(0);
        std::fs::remove_file(world.path("packages/.found")).unwrap();
        world.build(&[("a.zip", "theirs")]);
        world.upload(&[]).ended(0);
    }
}

#[test]
fn number_11_folders_are_kept_where_they_are_asked_for() {
    for at in At::ALL {
        let Some(world) = World::new(at, "right_here::number_11") else { continue };
        world.check(&[]).ended(0);
        world.build(&[("a.zip", "a"), ("site/index.html", "i"), ("site/.x", "x"), ("site/img/b.png", "b")]);
        world.upload(&["--recursive"]).ended(0).has("3 package(s) uploaded");
        let commit = world.head();
        let names = ["a.zip", "site/img/b.png", "site/index.html"];
        assert_eq!(
            world.keys("artifacts/"),
            names.map(|name| format!("artifacts/{commit}/{name}")),
            "{at:?}"
        );
        world.commit("README", "x");
        world.check(&[]).ended(0).has("3 cached artifact(s) found").has("copied from the cache");
        assert_eq!(world.keys(&format!("artifacts/{}/site/", world.head())).len(), 2);
    }
}

#[test]
fn number_12_repositories_share_a_bucket_by_prefixes() {
    let mut world = built(At::Folder, "", &[("a.zip", "a")]).unwrap();
    world.set("PACKAGE_ASSETS_PREFIX", "team/b");
    world.check(&[]).ended(0).has("No package found");
    world.upload(&[]).ended(0);
    world.check(&[]).ended(0).has("1 artifact(s) found");
    let commit = world.head();
    assert_eq!(world.keys("team/b/artifacts/"), [format!("team/b/artifacts/{commit}/a.zip")]);
    assert!(world.read(&format!("team/b/.gristmill/sets/{commit}.json")).is_some());
    world.check(&["--prefix", "team/c"]).ended(0).has("No package found");
}

#[test]
fn a_set_of_another_version_is_neither_taken_over_nor_found() {
    let Some(world) = built(At::Folder, "", &[("a.zip", "a")]) else { return };
    world.upload(&[]).ended(0);
    let key = format!(".gristmill/sets/{}.json", world.head());
    let text = world.read(&key).unwrap();
    world.write(&key, &text.replace("asset-set/1", "asset-set/2"), &[]);
    world.asset(&["check", "--filter", "", "--exit-code"]).ended(0);
    world.build(&[("a.zip", "other")]);
    world.upload(&[]).ended(1).has("another version of this program");
    assert_eq!(world.read(&format!("artifacts/{}/a.zip", world.head())).as_deref(), Some("a"));
    world.upload(&["--force"]).ended(0);
    world.asset(&["check", "--exit-code"]).ended(10);
}

#[test]
fn what_is_replaced_leaves_nothing_beside_it() {
    for at in At::ALL {
        let Some(world) = built(at, "right_here::replaced", &[("a.zip", "a"), ("b.zip", "b")]) else {
            continue;
        };
        world.upload(&[]).ended(0);
        world.build(&[("a.zip", "other")]);
        world.upload(&["--force"]).ended(0);
        assert_eq!(world.keys("artifacts/"), [format!("artifacts/{}/a.zip", world.head())], "{at:?}");
        assert_eq!(world.keys("cache/").len(), 1, "{at:?}");
    }
}

#[test]
fn a_check_that_cannot_be_made_leaves_no_stale_flag() {
    let Some(mut world) = built(At::Folder, "", &[("a.zip", "a")]) else { return };
    world.upload(&[]).ended(0);
    world.check(&[]).ended(0).has("1 artifact(s) found");
    assert!(world.flag(".found").is_some());
    world.set("CODE_HASH_ALGORITHM", "");
    world.check(&[]).ended(0).has("1 artifact(s) found");
    world.unset("PACKAGE_ASSETS_BUCKET");
    world.check(&[]).ended(100);
    assert!(world.flag(".found").is_none());
}
