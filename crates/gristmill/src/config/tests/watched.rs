//! Changes are taken up; a wrong one is told once and the old configuration kept.

use std::fs;
use std::path::Path;

use expect_test::expect;

use super::super::Watch;
use super::{Place, project};

/// What became of a look: nothing, the number of projects, or the errors.
fn look(place: &Place, watch: &mut Watch) -> Option<Result<usize, String>> {
    let seen = look_only(place, watch)?;
    if seen.is_ok() {
        watch.taken();
    }
    Some(seen)
}

/// The same by a caller that cannot take the configuration up.
fn look_only(place: &Place, watch: &mut Watch) -> Option<Result<usize, String>> {
    let seen = watch.check()?;
    Some(seen.map(|config| config.projects.len()).map_err(|errors| place.tidy(&errors.to_string())))
}

#[test]
fn changes_are_seen_once() {
    let place = Place::new();
    let (mut watch, config) = Watch::start(None, place.around());
    assert!(config.unwrap().projects.is_empty());
    assert_eq!(look(&place, &mut watch), None);

    let path = place.write("gristmill.toml", &project("", ""));
    assert_eq!(look(&place, &mut watch), Some(Ok(1)));
    assert_eq!(look(&place, &mut watch), None);

    // The same length in the same tick.
    place.write("gristmill.toml", &project("", "").replace("shop", "shap"));
    assert_eq!(look(&place, &mut watch), Some(Ok(1)));
    // Touched, not changed.
    let same = fs::read(&path).unwrap();
    fs::write(&path, same).unwrap();
    assert_eq!(look(&place, &mut watch), None);

    let more = place.write("projects.d/more.toml", &project("", "key = \"x/{branch}\""));
    assert_eq!(look(&place, &mut watch), Some(Ok(2)));
    fs::rename(&more, place.path("projects.d/moved.toml")).unwrap();
    assert_eq!(look(&place, &mut watch), Some(Ok(2)));
    fs::remove_file(place.path("projects.d/moved.toml")).unwrap();
    assert_eq!(look(&place, &mut watch), Some(Ok(1)));
}

#[test]
fn a_wrong_file_is_told_once() {
    let place = Place::new();
    place.write("gristmill.toml", &project("", ""));
    let (mut watch, config) = Watch::start(None, place.around());
    assert_eq!(config.unwrap().projects.len(), 1);
    place.write("gristmill.toml", "x = 1");
    let told = look(&place, &mut watch).unwrap().unwrap_err();
    expect!["gristmill.toml:1: unknown key `x` in the file. Known keys: data_dir, database, network, project, server, storage, worker"].assert_eq(&told);
    assert_eq!(look(&place, &mut watch), None);
    assert!(watch.reload().is_err());
    place.write("gristmill.toml", "");
    assert_eq!(watch.reload().unwrap().projects.len(), 0);
    assert_eq!(look(&place, &mut watch), None);
}

#[test]
fn a_file_that_is_gone_is_no_wish_to_have_no_projects() {
    let place = Place::new();
    let path = place.write("gristmill.toml", &project("", ""));
    let (mut watch, _) = Watch::start(None, place.around());
    fs::rename(&path, place.path("gristmill.toml~")).unwrap();
    let told = look(&place, &mut watch).unwrap().unwrap_err();
    expect![
        "gristmill.toml: is gone; what it held stays in force (to have no projects, leave the file empty)"
    ]
    .assert_eq(&told);
    assert_eq!(look(&place, &mut watch), None);
    fs::rename(place.path("gristmill.toml~"), &path).unwrap();
    assert_eq!(look(&place, &mut watch), Some(Ok(1)));
}

#[test]
fn a_named_file_may_come_later() {
    let place = Place::new();
    let (mut watch, config) = Watch::start(Some(Path::new("x.toml")), place.around());
    assert!(config.is_err());
    assert_eq!(look(&place, &mut watch), None);
    place.write("x.toml", &project("", ""));
    assert_eq!(look(&place, &mut watch), Some(Ok(1)));
}

#[test]
fn what_was_not_taken_up_is_offered_again() {
    let place = Place::new();
    let (mut watch, _) = Watch::start(None, place.around());
    place.write("gristmill.toml", &project("", ""));
    assert_eq!(look_only(&place, &mut watch), Some(Ok(1)));
    assert!(watch.refused("the database is busy"));
    assert_eq!(look_only(&place, &mut watch), Some(Ok(1)));
    assert!(!watch.refused("the database is busy"));
    assert!(watch.refused("the disk is full"));
    // The same reason for other files is news.
    place.write("gristmill.toml", &project("poll = \"1h\"", ""));
    assert_eq!(look_only(&place, &mut watch), Some(Ok(1)));
    assert!(watch.refused("the disk is full"));
    assert_eq!(look(&place, &mut watch), Some(Ok(1)));
    assert_eq!(look(&place, &mut watch), None);
    // What was wrong before it was taken up is forgotten.
    place.write("gristmill.toml", &project("", ""));
    assert_eq!(look_only(&place, &mut watch), Some(Ok(1)));
    assert!(watch.refused("the disk is full"));
}

#[test]
fn a_wrong_file_after_one_that_was_not_taken_up_is_told_once() {
    let place = Place::new();
    let (mut watch, _) = Watch::start(None, place.around());
    place.write("gristmill.toml", &project("", ""));
    assert_eq!(look_only(&place, &mut watch), Some(Ok(1)));
    place.write("gristmill.toml", "x = 1");
    assert!(look_only(&place, &mut watch).unwrap().is_err());
    assert_eq!(look_only(&place, &mut watch), None);
}

#[test]
fn changed_secrets_are_seen() {
    let place = Place::new();
    let secret = place.write("secret", "one");
    let token = place.write("token", "two");
    let lines = "secret = { file = \"secret\" }\ntoken = { file = \"token\" }";
    place.write("gristmill.toml", &project(lines, ""));
    let (mut watch, config) = Watch::start(None, place.around());
    assert_eq!(config.unwrap().projects.len(), 1);
    assert_eq!(look(&place, &mut watch), None);
    for path in [&secret, &token] {
        fs::write(path, "new").unwrap();
        assert_eq!(look(&place, &mut watch), Some(Ok(1)), "{}", path.display());
        assert_eq!(look(&place, &mut watch), None);
    }
    fs::remove_file(&secret).unwrap();
    let told = look(&place, &mut watch).unwrap().unwrap_err();
    assert!(told.contains("the secret in secret cannot be read"), "{told}");
    assert_eq!(look(&place, &mut watch), None);
    fs::write(&secret, "none").unwrap();
    assert_eq!(look(&place, &mut watch), Some(Ok(1)));
    assert_eq!(look(&place, &mut watch), None);
    // Nobody needs the secrets of a project that is off.
    place.write("gristmill.toml", &project(&format!("{lines}\nenabled = false"), ""));
    assert_eq!(look(&place, &mut watch), Some(Ok(1)));
    fs::write(&secret, "other").unwrap();
    assert_eq!(look(&place, &mut watch), None);
}

#[test]
fn changed_keys_are_seen() {
    let place = Place::new();
    let key = gristmill_git::DeployKey::generate(&[1; 32], "test").unwrap();
    let host = format!("git.example.org {}", key.public_line());
    let paths = [
        place.write("server.key", &"01".repeat(32)),
        place.write("ssh.key", key.to_openssh().as_ref()),
        place.write("known_hosts", &host),
        place.write("proxy", "http://me:secret@proxy.example.org"),
        place.write("hook", "secret"),
    ];
    let text = project(
        "ssh_key = { file = \"ssh.key\" }\nhost_keys = { file = \"known_hosts\" }\nsecret = { file = \"hook\" }",
        "",
    );
    let text = text.replace("\"acme/shop\"", "\"acme/*\"");
    let text = text.replace("https://github.com/acme/shop.git", "git@git.example.org:acme/{repo}.git");
    let top = "[server]\nkey = { file = \"server.key\" }\n[network]\nproxy = { file = \"proxy\" }\n";
    place.write("gristmill.toml", &format!("{top}{text}"));
    let (mut watch, config) = Watch::start(None, place.around());
    assert_eq!(config.unwrap().patterns.len(), 1);
    assert_eq!(look(&place, &mut watch), None);
    for path in &paths {
        let mut content = fs::read_to_string(path).unwrap();
        content.push('\n');
        fs::write(path, content).unwrap();
        assert_eq!(look(&place, &mut watch), Some(Ok(0)), "{}", path.display());
        assert_eq!(look(&place, &mut watch), None);
    }
}
