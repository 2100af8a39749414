//! `doctor` on a folder that is not there yet, on one in use, and on one with faults.

use gristmill::config::Config;
use gristmill::doctor::{Check, CheckState, examine};
use gristmill_testkit::repo::{Changes, TestRepo};

use super::{World, around, commit};

fn load(folder: &std::path::Path, text: &str) -> Config {
    std::fs::write(folder.join("gristmill.toml"), text).unwrap();
    Config::load(None, &around(folder)).unwrap()
}

/// The checks of one name: their states, and their texts together.
fn of<'a>(checks: &'a [Check], name: &str) -> (Vec<CheckState>, String) {
    let named: Vec<&'a Check> = checks.iter().filter(|check| check.name == name).collect();
    let texts: Vec<&str> = named.iter().map(|check| check.text.as_str()).collect();
    (named.iter().map(|check| check.state).collect(), texts.join("\n"))
}

#[tokio::test]
async fn before_the_first_start_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let config = load(folder.path(), "");
    let checks = examine(&config, &around(folder.path()), false).await;
    assert!(!config.data_dir.exists());
    for (name, states, part) in [
        ("configuration", vec![CheckState::Warning], "0 of 0 projects enabled"),
        ("server", vec![CheckState::Ok], "not running"),
        ("database", vec![CheckState::Ok], "not there yet"),
        ("storage", vec![CheckState::Ok], "not there yet"),
        ("git", vec![CheckState::Ok], "or newer is needed"),
    ] {
        let (found, text) = of(&checks, name);
        assert_eq!(found, states, "{name}: {text}");
        assert!(text.contains(part), "{name}: {text}");
    }
}

#[tokio::test]
async fn remotes_secrets_and_webhooks() {
    let (folder, repo) = (tempfile::tempdir().unwrap(), TestRepo::new());
    repo.commit("main", &Changes::new().file("a", "1"));
    let empty = TestRepo::new();
    let project = |name: &str, git: &str, more: &str| {
        format!(
            "[[project]]\nname = \"{name}\"\nrepository = \"acme/{name}\"\ngit = \"{git}\"\n{more}\n[[project.pipeline]]\nkind = \"archive\"\n"
        )
    };
    let text = [
        "[server]\npublic_url = \"https://mill.example.org\"\n".to_owned(),
        project("good", &repo.url(), "secret = { env = \"SECRET\" }"),
        project("empty", &empty.url(), ""),
        project("gone", "https://127.0.0.1:1/acme/gone.git", "poll = \"off\""),
        project("off", "https://127.0.0.1:1/acme/off.git", "enabled = false"),
    ]
    .concat();
    let config = load(folder.path(), &text);
    let checks = examine(&config, &around(folder.path()), false).await;
    let (states, text) = of(&checks, "project good");
    assert_eq!(states, [CheckState::Ok, CheckState::Ok], "{text}");
    assert!(text.contains("has 1 branches and tags"), "{text}");
    assert!(text.contains("webhook https://mill.example.org/hooks/good"), "{text}");
    let (states, text) = of(&checks, "project empty");
    assert_eq!(states, [CheckState::Warning, CheckState::Ok], "{text}");
    assert!(text.contains("no webhook; its remote is looked at every 300 s"), "{text}");
    let (states, text) = of(&checks, "project gone");
    assert_eq!(states, [CheckState::Error, CheckState::Ok], "{text}");
    assert!(text.contains("no webhook and no polling"), "{text}");
    assert!(of(&checks, "project off").0.is_empty());

    let mut local = config.clone();
    local.server.public_url = None;
    local.worker.git = folder.path().join("no-such-git");
    let mut other = around(folder.path());
    other.env = std::sync::Arc::new(|_| None);
    let checks = examine(&local, &other, false).await;
    assert_eq!(of(&checks, "git").0, [CheckState::Error]);
    let (states, text) = of(&checks, "project good");
    assert_eq!(states, [CheckState::Error], "no git to ask with, and no secret: {text}");
    assert!(text.contains("SECRET"), "{text}");
    let checks = examine(&local, &around(folder.path()), false).await;
    assert_eq!(of(&checks, "project good").0, [CheckState::Warning], "no address for forges outside");
}

#[tokio::test]
async fn a_git_that_is_too_old_for_what_a_project_wants() {
    let (folder, repo) = (tempfile::tempdir().unwrap(), TestRepo::new());
    repo.commit("main", &Changes::new().file("a", "1"));
    let (draft, git) = (folder.path().join("draft"), folder.path().join("git-2.44"));
    let text = "#!/bin/sh\nfor last; do :; done\n\
                [ \"$last\" = --version ] && echo git version 2.44.1 && exit\nexec git \"$@\"\n";
    std::fs::write(&draft, text).unwrap();
    // Another process writes it: one that is open for writing here, in any thread, cannot be started.
    let made = std::process::Command::new("install").args(["-m", "755"]).args([&draft, &git]).status();
    assert!(made.unwrap().success());
    for (clone, enabled, expected) in [
        ("full", true, vec![CheckState::Ok]),
        ("partial", false, vec![CheckState::Ok]),
        ("partial", true, vec![CheckState::Ok, CheckState::Error]),
    ] {
        let text = format!(
            "[[project]]\nname = \"long\"\nrepository = \"acme/long\"\ngit = \"{}\"\nclone = \"{clone}\"\n\
             enabled = {enabled}\n[[project.pipeline]]\nkind = \"archive\"\n",
            repo.url()
        );
        let mut config = load(folder.path(), &text);
        let checks = examine(&config, &around(folder.path()), false).await;
        assert_eq!(of(&checks, "git").0, [CheckState::Ok], "this machine's own");
        config.worker.git = git.clone();
        let checks = examine(&config, &around(folder.path()), false).await;
        let (states, text) = of(&checks, "git");
        assert_eq!(states, expected, "{clone} {enabled}: {text}");
        let is_told = text.contains("project long: a partial mirror") && text.contains("found 2.44.1");
        assert_eq!(is_told, expected.len() == 2, "{text}");
    }
}

#[tokio::test]
async fn data_in_use_and_damaged_data() {
    let world = World::new("", "").await;
    let put = world.publish("one.zip", 1, &commit('a'), b"bytes").await;
    let config = world.app.live().config.clone();
    let around = around(world.folder.path());
    let shallow = examine(&config, &around, false).await;
    assert!(of(&shallow, "server").1.starts_with("not running"));
    let lock = loop {
        // A program that another test starts at this moment holds doctor's lock until it runs.
        match gristmill::app::lock_data(&config.data_dir).unwrap() {
            Some(lock) => break lock,
            None => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    };
    let checks = examine(&config, &around, true).await;
    assert!(of(&checks, "server").1.starts_with("running on "));
    assert!(of(&checks, "database").1.ends_with("is whole"));
    let (states, text) = of(&checks, "storage");
    assert_eq!(states, [CheckState::Ok; 3], "{text}");
    assert!(
        text.contains("1 blobs with 5 bytes, 1 keys with 1 versions read and compared; 0 findings"),
        "{text}"
    );
    drop(lock);

    let path = world.blob_path(put.digest);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"other").unwrap();
    let deep = examine(&config, &around, true).await;
    assert!(of(&deep, "storage").0.contains(&CheckState::Error), "{:?}", of(&deep, "storage"));
}

#[tokio::test]
async fn rows_and_storage_are_compared_where_all_is_read() {
    let world = World::new("", "").await;
    let put = world.publish("main.zip", 1, &commit('a'), b"one").await;
    world.make("other.zip", &commit('b'), b"two").await;
    world.app.storage.put_bytes(b"nobody's".to_vec()).await.unwrap();
    let config = Config::load(None, &around(world.folder.path())).unwrap();
    let examined = async |deep| examine(&config, &around(world.folder.path()), deep).await;
    assert!(of(&examined(false).await, "public keys").0.is_empty(), "only where it was asked for");
    // The key's metadata was projected without what its row says.
    let checks = examined(true).await;
    assert_eq!(of(&checks, "public keys").1, "1 read and compared with the database; 1 differ");
    let (states, text) = of(&checks, "public key");
    assert_eq!(states, [CheckState::Error], "{text}");
    assert!(text.contains("`main.zip`: its metadata is not what was published"), "{text}");
    let (states, text) = of(&checks, "blobs");
    assert_eq!(states, [CheckState::Ok], "{text}");
    assert!(text.starts_with("2 are named by rows, 0 of these are missing; 1 with 8 bytes"), "{text}");
    std::fs::remove_file(world.blob_path(put.digest)).unwrap();
    let (states, text) = of(&examined(true).await, "blobs");
    assert_eq!(states, [CheckState::Ok, CheckState::Error], "{text}");
    assert!(text.contains(&format!("rows name {}, which is not in the storage", put.digest)), "{text}");
}
