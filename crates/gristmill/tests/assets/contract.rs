//! The contract: environment, flag files, keys, metadata, exit codes, names.

use crate::world::{At, World, done};

const ONE: &str = "5bbf5a52328e7439ae6e719dfe712200";

#[test]
fn a_build_is_made_once_for_a_commit_and_once_for_its_code() {
    for at in At::ALL {
        let Some(mut world) = World::new(at, "contract::a_build_is_made_once") else { continue };
        world.set("CODE_HASH_ALGORITHM", "md5");
        let first = world.head();
        world.check(&[]).ended(0).has("No package found; a new one will need to be built");
        assert_eq!(world.flag(".commit-hash").as_deref(), Some(first.as_str()), "no newline");
        assert_eq!(world.flag(".code-hash").as_deref(), Some(ONE));
        assert_eq!(world.flag(".found"), None);
        world.build(&[("one.zip", "zip1"), ("two.txt", "text")]);
        world.upload(&[]).ended(0).has("2 package(s) uploaded");
        let expected = [
            format!("artifacts/{first}/one.zip"),
            format!("artifacts/{first}/two.txt"),
            format!("cache/{ONE}/one.zip"),
            format!("cache/{ONE}/two.txt"),
        ];
        assert_eq!([world.keys("artifacts/"), world.keys("cache/")].concat(), expected, "{at:?}");
        world.check(&[]).ended(0).has("2 artifact(s) found; no build necessary");
        assert_eq!((world.flag(".found").as_deref(), world.flag(".code-hash")), (Some(""), None));
        world.upload(&[]).ended(0).has("already exist; skipping this step");
        // Another commit with the same code.
        let second = world.commit("README", "x");
        world
            .check(&[])
            .ended(0)
            .has("2 cached artifact(s) found")
            .has("copied from the cache; no build necessary");
        assert_eq!(world.flag(".found").as_deref(), Some(""));
        assert_eq!(world.read(&format!("artifacts/{second}/one.zip")).as_deref(), Some("zip1"));
        assert_eq!(
            (world.manifest()["state"].as_str(), world.manifest()["origin"].as_str()),
            (Some("complete"), Some("cache"))
        );
        // Another code.
        world.commit("lambdas/a/m.py", "two\n");
        world.check(&[]).ended(0).has("No package found");
        assert_eq!(world.flag(".found"), None);
    }
}

#[test]
fn metadata_is_what_it_was_and_types_are_right() {
    for at in &At::ALL[1..] {
        let Some(mut world) = World::new(*at, "contract::metadata") else { continue };
        world.set("CODE_HASH_ALGORITHM", "md5");
        world.check(&[]).ended(0);
        world.build(&[("one.zip", "zip1"), ("site.html", "<p>")]);
        world.upload(&[]).ended(0);
        let commit = world.head();
        for key in [format!("artifacts/{commit}/one.zip"), format!("cache/{ONE}/one.zip")] {
            let header = |name: &str| world.header(&key, name);
            assert_eq!(header("x-amz-meta-commit-hash"), commit);
            assert_eq!(header("x-amz-meta-package-hash"), "aIlrzX7uACd/DeIdwKwR9rq8nGjom00wzkd6NvEJsvU=");
            assert_eq!(header("x-amz-meta-code-hash"), ONE);
            assert_eq!(header("content-type"), "application/zip", "9. everything had one content type");
        }
        assert_eq!(
            world.header(&format!("artifacts/{commit}/site.html"), "content-type"),
            "text/html; charset=utf-8"
        );
    }
}

#[test]
fn exit_codes_of_check() {
    let mut world = World::new(At::Folder, "").unwrap();
    let bucket = world.bucket.clone();
    for (name, code) in [("PACKAGE_ASSETS_BUCKET", 100), ("GIT_REPO_PATH", 101), ("PACKAGE_DIRECTORY", 102)] {
        world.set(name, "");
        world.check(&[]).ended(code).has(&format!("Missing environment variable: {name}"));
        match name {
            "PACKAGE_ASSETS_BUCKET" => world.set(name, &bucket),
            "GIT_REPO_PATH" => world.set(name, "repo"),
            _ => world.set(name, "packages"),
        }
    }
    world.check(&[]).ended(0);
    world.set("GIT_REPO_PATH", "nowhere");
    world.check(&[]).ended(101).has("there is no folder nowhere");
    world.set("GIT_REPO_PATH", "packages");
    world.check(&[]).ended(103).has("Unable to load git repo").has("not the root of a git repository");
    world.set("GIT_REPO_PATH", "repo");
    world.set("PACKAGE_DIRECTORY", "nowhere");
    world.check(&[]).ended(102).has("no package folder nowhere");
    world.unset("PACKAGE_ASSETS_BUCKET");
    world.check(&[]).ended(100);
    world.check(&["--nonsense"]).ended(2);
    // Where nothing is said, it is ./repo and ./packages.
    world.set("PACKAGE_ASSETS_BUCKET", &bucket);
    world.unset("GIT_REPO_PATH");
    world.unset("PACKAGE_DIRECTORY");
    std::fs::remove_dir_all(world.path("packages")).unwrap();
    world.check(&[]).ended(0);
    assert!(world.flag(".commit-hash").is_some());
}

#[test]
fn exit_codes_of_upload() {
    let mut world = World::new(At::Folder, "").unwrap();
    world.set("PACKAGE_DIRECTORY", "");
    world.upload(&[]).ended(100).has("Missing environment variable: PACKAGE_DIRECTORY");
    world.set("PACKAGE_DIRECTORY", "nowhere");
    world.upload(&[]).ended(100);
    world.set("PACKAGE_DIRECTORY", "packages");
    let bucket = world.bucket.clone();
    world.unset("PACKAGE_ASSETS_BUCKET");
    world.upload(&[]).ended(101).has("Missing environment variable: PACKAGE_ASSETS_BUCKET");
    // What was found needs no bucket.
    std::fs::write(world.path("packages/.found"), "").unwrap();
    world.upload(&[]).ended(0).has("skipping this step");
    std::fs::remove_file(world.path("packages/.found")).unwrap();
    world.set("PACKAGE_ASSETS_BUCKET", &bucket);
    world.upload(&[]).ended(102).has("No non-hidden files found");
    world.build(&[("a", "a")]);
    world.upload(&[]).ended(103).has("Commit Hash not found");
    std::fs::write(world.path("packages/.commit-hash"), "HEAD").unwrap();
    world.upload(&[]).ended(103);
    std::fs::write(world.path("packages/.commit-hash"), world.head()).unwrap();
    std::fs::write(world.path("packages/.code-hash"), "../x").unwrap();
    world.upload(&[]).ended(1).has("no code hash");
    std::fs::remove_file(world.path("packages/.code-hash")).unwrap();
    world.upload(&[]).ended(0);
}

#[test]
fn a_bucket_that_is_not_there_is_an_error_and_nothing_is_found() {
    let Some(mut world) = World::new(At::ALL[2], "contract::no_bucket") else { return };
    std::fs::write(world.path("packages/.found"), "").unwrap();
    world.set("PACKAGE_ASSETS_BUCKET", "no-such-bucket");
    world.check(&[]).ended(1).has("there is no such bucket; make it, or correct its name");
    assert_eq!(world.flag(".found"), None);
    world.set("AWS_SECRET_ACCESS_KEY", "another-word");
    let done = world.check(&[]);
    done.ended(1).has("does not take these credentials");
    assert!(!format!("{done:?}").contains("another-word"));
}

#[test]
fn the_same_commands_are_part_of_the_program() {
    let world = World::new(At::Folder, "").unwrap();
    let checked = world.asset(&["check", "--json", "--exit-code"]);
    assert_eq!(checked.ended(0).json()["found"], false);
    world.build(&[("a.zip", "a")]);
    assert_eq!(world.asset(&["upload", "--output", "json"]).ended(0).json()["files"], 1);
    world.asset(&["check", "--exit-code"]).ended(10);
    for name in ["check", "upload"] {
        let help = world.command(&world.path(name), &["--help"]).output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        assert!(help.contains(&format!("Usage: {name}")) && help.contains("Exit codes"), "{help}");
    }
}

#[test]
fn without_credentials_it_says_so() {
    let Some(mut world) = World::new(At::ALL[1], "contract::no_credentials") else { return };
    world.unset("AWS_ACCESS_KEY_ID");
    world.check(&[]).ended(1).has("no credentials were found that work; set AWS_ACCESS_KEY_ID");
}

/// The old README's `docker run … -v "${PWD}:/app" -v "${PWD}/local-repo:/repo" -w /app … check`, by the kernel's own means.
#[test]
fn the_readmes_command_lines_work_with_their_mounts() {
    let test = "contract::the_readmes_command_lines";
    let Some(mut world) = World::new(At::ALL[2], test) else { return };
    let root = world.path("root");
    for folder in ["app", "repo", "opt", "proc", "dev", "tmp", "etc"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    let script = "PATH=$PATH:/usr/sbin:/sbin; root=$1; app=$2; opt=$3; shift 3\n\
        for d in usr bin sbin lib lib64; do\n\
        \x20 [ -e /$d ] || continue\n\
        \x20 if [ -L /$d ]; then cp -P /$d $root/; else mkdir -p $root/$d; mount --rbind /$d $root/$d; fi\n\
        done\n\
        mount --bind $app $root/app; mount --bind $app/local-repo $root/repo; mount --bind $opt $root/opt\n\
        touch $root/dev/null; mount --bind /dev/null $root/dev/null\n\
        exec chroot $root /bin/sh -c 'cd /app && exec \"$@\"' sh \"$@\"\n";
    let app = world.path("app");
    std::fs::create_dir(&app).unwrap();
    std::fs::rename(world.path("repo"), app.join("local-repo")).unwrap();
    for name in ["GIT_REPO_PATH", "PACKAGE_DIRECTORY", "CODE_HASH_FIND_FILTER"] {
        world.unset(name);
    }
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_gristmill"));
    let opt = world.path("opt-mounted");
    std::fs::create_dir(&opt).unwrap();
    for name in ["check", "upload"] {
        std::fs::hard_link(program, opt.join(name))
            .or_else(|_| std::fs::copy(program, opt.join(name)).map(drop))
            .unwrap();
    }
    let run = |name: &str| {
        let mut command =
            world.command(std::path::Path::new("unshare"), &["--mount", "sh", "-euc", script, "sh"]);
        command.args([&root, &app, &opt]).arg(format!("/opt/{name}"));
        done(&command.output().unwrap())
    };
    let first = run("check");
    if first.code != 0 && first.lines.iter().any(|line| line.contains("unshare") || line.contains("mount")) {
        return gristmill_testkit::skip(test, &first.lines.join(" "));
    }
    first.ended(0).has("new packages will need to be built");
    std::fs::write(app.join("packages/a.zip"), "a").unwrap();
    run("upload").ended(0).has("1 package(s) uploaded");
    run("check").ended(0).has("1 artifact(s) found");
}
