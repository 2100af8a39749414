//! `add_project` leaves the rest of the file as it is, and the file itself where it fails.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use expect_test::expect;

use super::super::{AddError, NewProject, SecretSource, TokenFrom, add_project, prepare_project};
use super::{Place, project};

fn new(name: &str) -> NewProject {
    NewProject {
        token: None,
        username: None,
        api: None,
        name: name.parse().unwrap(),
        git: format!("https://github.com/{name}.git"),
        forge: "github".to_owned(),
        repository: None,
        branches: Vec::new(),
        tags: Vec::new(),
        key: None,
        tag_key: None,
        secret_file: None,
        host_keys_file: None,
        topic: None,
    }
}

fn mode(path: &std::path::Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

/// Everything below the folder, by name.
fn names(place: &Place) -> Vec<String> {
    fn walk(folder: &std::path::Path, place: &Place, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.push(place.tidy(&path.display().to_string()));
            if path.is_dir() {
                walk(&path, place, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(&place.path(""), place, &mut found);
    found.sort();
    found
}

#[test]
fn the_first_project_makes_the_file_and_its_secret() {
    let place = Place::new();
    let path = place.path("conf/gristmill.toml");
    let added = add_project(&path, &new("acme/shop"), &place.around()).unwrap();
    expect![[r#"
        [[project]]
        name = "acme/shop"
        git = "https://github.com/acme/shop.git"
        forge = "github"
        secret = { file = "secrets/acme_shop.secret" }

        [[project.pipeline]]
        kind = "archive"
    "#]]
    .assert_eq(&fs::read_to_string(&path).unwrap());
    assert!(added.file_is_new && added.secret_is_new);
    assert_eq!(added.file, path);
    let secret_file = added.secret_file.clone().unwrap();
    assert_eq!(secret_file, place.path("conf/secrets/acme_shop.secret"));
    assert_eq!(added.hook_path, "/hooks/acme/shop");
    assert_eq!(mode(&secret_file), 0o600);
    assert_eq!(mode(&place.path("conf/secrets")), 0o700);
    assert_eq!(mode(&path), 0o644);
    let secret = fs::read_to_string(&secret_file).unwrap();
    let digits = secret.strip_suffix('\n').unwrap();
    assert_eq!(gristmill_model::hex::decode(digits).unwrap().len(), 32);
    assert_eq!(added.config.projects[0].secrets, [SecretSource::File(secret_file)]);
    assert!(added.config.warnings.is_empty());

    let other = add_project(&path, &new("acme/tool"), &place.around()).unwrap();
    assert!(!other.file_is_new);
    assert_ne!(fs::read_to_string(other.secret_file.unwrap()).unwrap(), secret);
    assert_eq!(
        names(&place),
        [
            "conf",
            "conf/gristmill.toml",
            "conf/secrets",
            "conf/secrets/acme_shop.secret",
            "conf/secrets/acme_tool.secret"
        ]
    );
}

#[test]
fn comments_order_and_permissions_stay() {
    let place = Place::new();
    let old = "# The mill.\n\n[server] # here\nlisten = '127.0.0.1:1'   # odd quotes\n\n# Our shop.\n[[project]]\ngit = \"https://github.com/acme/shop.git\"\nname = \"acme/shop\"\n  [[project.pipeline]] # indented\n  kind = \"archive\"\n\n[worker]\njobs_max = 0x10\n# The end.\n";
    let path = place.write("gristmill.toml", old);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let project = NewProject {
        repository: Some("Acme/Tool".to_owned()),
        branches: vec!["main".to_owned(), "release/*".to_owned()],
        tags: vec!["v*".to_owned()],
        key: Some("{repo}/{branch}.zip".to_owned()),
        tag_key: Some("{repo}/tags/{tag}.zip".to_owned()),
        ..new("acme/tool")
    };
    let added = add_project(&path, &project, &place.around()).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    expect![[r##"
        # The mill.

        [server] # here
        listen = '127.0.0.1:1'   # odd quotes

        # Our shop.
        [[project]]
        git = "https://github.com/acme/shop.git"
        name = "acme/shop"
          [[project.pipeline]] # indented
          kind = "archive"

        [[project]]
        name = "acme/tool"
        git = "https://github.com/acme/tool.git"
        forge = "github"
        repository = "Acme/Tool"
        secret = { file = "secrets/acme_tool.secret" }

        [[project.pipeline]]
        kind = "archive"
        branches = ["main", "release/*"]
        tags = ["v*"]
        key = "{repo}/{branch}.zip"
        tag_key = "{repo}/tags/{tag}.zip"

        [worker]
        jobs_max = 0x10
        # The end.
    "##]]
    .assert_eq(&text);
    assert_eq!(mode(&path), 0o640);
    assert_eq!(added.config.projects.len(), 2);
    assert_eq!(added.config.projects[1].spec.repository.as_str(), "Acme/Tool");
    // Every old line is still there, in its order.
    let mut lines = text.lines();
    for line in old.lines() {
        assert!(lines.any(|kept| kept == line), "{line}");
    }
}

#[test]
fn a_secret_that_is_there_is_used_or_left_alone() {
    let place = Place::new();
    let path = place.path("gristmill.toml");
    place.write("mine", "hunter2\n");
    fs::set_permissions(place.path("mine"), fs::Permissions::from_mode(0o600)).unwrap();
    let with = NewProject { secret_file: Some("mine".into()), ..new("acme/shop") };
    let added = add_project(&path, &with, &place.around()).unwrap();
    assert!(!added.secret_is_new);
    assert_eq!(added.secret_file, Some(place.path("mine")));
    assert!(fs::read_to_string(&path).unwrap().contains("secret = { file = \"mine\" }"));
    assert_eq!(fs::read_to_string(place.path("mine")).unwrap(), "hunter2\n");

    let before = fs::read_to_string(&path).unwrap();
    place.write("secrets/acme_tool.secret", "old");
    let error = add_project(&path, &new("acme/tool"), &place.around()).unwrap_err();
    expect!["secrets/acme_tool.secret: a secret is there already and is not overwritten; name it as the project's secret file, or remove it: File exists (os error 17)"].assert_eq(&place.tidy(&error.to_string()));
    assert_eq!(fs::read_to_string(place.path("secrets/acme_tool.secret")).unwrap(), "old");
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn what_would_be_wrong_is_not_written() {
    let place = Place::new();
    let path = place.write("gristmill.toml", &project("", ""));
    let before = fs::read_to_string(&path).unwrap();
    let refused = |new: &NewProject| {
        let error = add_project(&path, new, &place.around()).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        place.tidy(&error.to_string())
    };
    let duplicate = refused(&new("acme/shop"));
    expect![
        "project `acme/shop` is already configured in gristmill.toml:1; choose another name, or edit it there"
    ]
    .assert_eq(&duplicate);
    let ssh = refused(&NewProject { git: "git@git.example.org:a/b".to_owned(), ..new("a/b") });
    expect![[r#"
        the project was not added, because the configuration would be wrong (lines are those of the new file):
        gristmill.toml:10: `git` is reached by ssh, and it is not known which key the server git.example.org has; ask it (`ssh-keyscan git.example.org`), compare the fingerprints of the answer (`ssh-keyscan git.example.org | ssh-keygen -lf -`) with what the server's owner publishes, and only where they are the same write its lines into `host_keys = ["…"]` (or into a file, for `project add --host-keys FILE`)"#]].assert_eq(&ssh);
    let shared = refused(&NewProject { repository: Some("acme/shop".to_owned()), ..new("acme/tool") });
    expect![[r#"
        the project was not added, because the configuration would be wrong (lines are those of the new file):
        gristmill.toml:15: pipeline `archive` of project `acme/tool` (branches `**`) and pipeline `archive` of project `acme/shop` in gristmill.toml:5 (branches `**`) could both publish under `acme/shop/…/acme_shop.zip`; give one another `key`, or set `allow_shared_key = true` in both"#]].assert_eq(&shared);
    let none = refused(&NewProject { secret_file: Some("none".into()), ..new("acme/tool") });
    expect![[r#"
        the project was not added, because the configuration would be wrong (lines are those of the new file):
        gristmill.toml:12: the secret in none cannot be read: No such file or directory (os error 2)"#]]
    .assert_eq(&none);
    // No secret is left behind, and no temporary file.
    assert_eq!(names(&place), ["gristmill.toml", "secrets"]);
}

#[test]
fn a_wrong_file_is_put_right_first() {
    let place = Place::new();
    let path = place.write("gristmill.toml", "x = 1\n");
    let told = |place: &Place| {
        let error = add_project(&path, &new("acme/shop"), &place.around()).unwrap_err();
        assert!(!place.path("secrets").exists());
        place.tidy(&error.to_string())
    };
    expect![[r#"
        the configuration must be right before a project is added:
        gristmill.toml:1: unknown key `x` in the file. Known keys: data_dir, database, network, project, server, storage, worker"#]].assert_eq(&told(&place));
    place.write("gristmill.toml", "[server\n");
    expect![[r#"
        the configuration must be right before a project is added:
        gristmill.toml:1: not valid TOML: unclosed table, expected `]`"#]]
    .assert_eq(&told(&place));
    place.write("gristmill.toml", "project = []\n");
    let error = add_project(&path, &new("acme/shop"), &place.around());
    assert!(matches!(error, Err(AddError::Shape(at)) if at == path));
    place.write("projects.d/x.toml", &project("", ""));
    place.write("gristmill.toml", "");
    let error = add_project(&path, &new("acme/shop"), &place.around());
    assert!(matches!(error, Err(AddError::Duplicate { .. })));
}

#[test]
fn the_keys_of_an_ssh_server_are_named() {
    let place = Place::new();
    let path = place.write("gristmill.toml", "");
    let key = gristmill_git::DeployKey::generate(&[1; 32], "test").unwrap();
    place.write("known_hosts", &format!("git.example.org {}", key.public_line()));
    let git = "git@git.example.org:acme/shop.git".to_owned();
    let with = NewProject { git, host_keys_file: Some("known_hosts".into()), ..new("acme/shop") };
    let added = add_project(&path, &with, &place.around()).unwrap();
    assert_eq!(added.config.projects[0].host_keys_file, Some(place.path("known_hosts")));
    assert!(fs::read_to_string(&path).unwrap().contains("host_keys = { file = \"known_hosts\" }"));
}

#[test]
fn a_project_of_codecommit_has_a_topic_and_no_secret() {
    let place = Place::new();
    let path = place.path("conf/gristmill.toml");
    let project = NewProject {
        git: "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/shop".to_owned(),
        forge: "codecommit".to_owned(),
        topic: Some("arn:aws:sns:eu-west-1:123456789012:pushes".to_owned()),
        ..new("acme/shop")
    };
    let added = add_project(&path, &project, &place.around()).unwrap();
    assert_eq!((added.secret_file, added.secret_is_new), (None, false));
    expect![[r#"
        [[project]]
        name = "acme/shop"
        git = "https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/shop"
        forge = "codecommit"
        topic = "arn:aws:sns:eu-west-1:123456789012:pushes"

        [[project.pipeline]]
        kind = "archive"
    "#]]
    .assert_eq(&fs::read_to_string(&path).unwrap());
    assert!(!place.path("conf/secrets").exists());
    let none = NewProject { topic: None, name: "acme/tool".parse().unwrap(), ..project };
    assert!(add_project(&path, &none, &place.around()).is_err());
}

#[test]
fn a_token_is_written_as_the_place_where_it_is() {
    for (token, line, file) in [
        (TokenFrom::Env("FORGE".to_owned()), "token = { env = \"FORGE\" }", None),
        (TokenFrom::File("sub/forge.token".into()), "token = { file = \"sub/forge.token\" }", None),
        (
            TokenFrom::Given("canary".to_owned()),
            "token = { file = \"secrets/acme_shop.token\" }",
            Some("secrets/acme_shop.token"),
        ),
    ] {
        assert!(!format!("{token:?}").contains("canary"));
        let place = Place::new();
        let path = place.write("gristmill.toml", "");
        let api = Some("https://ghe.acme.org/api/v3".to_owned());
        let with =
            NewProject { token: Some(token), username: Some("ada".to_owned()), api, ..new("acme/shop") };
        let added = add_project(&path, &with, &place.around().without_secrets()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for expected in [line, "username = \"ada\"", "api = \"https://ghe.acme.org/api/v3\""] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        let project = &added.config.projects[0];
        assert_eq!(project.git_token, added.token);
        assert_eq!(project.api.as_deref(), Some("https://ghe.acme.org/api/v3"));
        assert!(project.statuses);
        if let Some(file) = file {
            let file = path.parent().unwrap().join(file);
            assert_eq!(fs::read_to_string(&file).unwrap(), "canary\n");
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}

#[test]
fn what_somebody_else_writes_meanwhile_is_not_overwritten() {
    let place = Place::new();
    let path = place.write("gristmill.toml", "# mine\n");
    let prepared = prepare_project(&path, &new("acme/shop"), &place.around()).unwrap();
    fs::write(&path, "# theirs\n").unwrap();
    let error = prepared.write().unwrap_err().to_string();
    assert!(error.ends_with("was changed meanwhile, so nothing was added; run this again"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "# theirs\n");
    assert_eq!(fs::read_dir(path.parent().unwrap().join("secrets")).unwrap().count(), 0);
}

#[test]
fn a_pattern_is_added_with_its_star() {
    let place = Place::new();
    let path = place.write("gristmill.toml", "");
    let git = "https://github.com/acme/{repo}.git".to_owned();
    let added = add_project(&path, &NewProject { git, ..new("acme/*") }, &place.around()).unwrap();
    assert_eq!((added.config.patterns.len(), added.hook_path.as_str()), (1, "/hooks/acme/*"));
    assert_eq!(added.config.patterns[0].name(), "acme/*");
    assert!(added.secret_file.unwrap().ends_with("secrets/acme_all.secret"));
    let again = add_project(&path, &new("acme/*"), &place.around()).unwrap_err().to_string();
    assert!(again.starts_with("project `acme/*` is already configured"), "{again}");
}

#[test]
fn what_is_only_prepared_leaves_nothing() {
    let place = Place::new();
    let path = place.write("gristmill.toml", "# mine\n");
    let with = NewProject { token: Some(TokenFrom::Given("t".to_owned())), ..new("acme/shop") };
    let around = place.around().without_secrets();
    let prepared = prepare_project(&path, &with, &around).unwrap();
    let secrets = path.parent().unwrap().join("secrets");
    let count = || fs::read_dir(&secrets).unwrap().count();
    assert_eq!((count(), prepared.added().hook_path.as_str()), (2, "/hooks/acme/shop"));
    assert_eq!(prepared.added().config.projects.len(), 1);
    drop(prepared);
    assert_eq!((count(), fs::read_to_string(&path).unwrap().as_str()), (0, "# mine\n"));
    // A token that is there already is not overwritten, and the secret made for it goes.
    fs::write(secrets.join("acme_shop.token"), "another").unwrap();
    prepare_project(&path, &with, &around).unwrap_err();
    assert_eq!(count(), 1);
    fs::remove_file(secrets.join("acme_shop.token")).unwrap();
    prepare_project(&path, &with, &around).unwrap().write().unwrap();
    assert_eq!(count(), 2);
}
