//! What is made of a project and its pipelines.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use expect_test::expect;
use gristmill_model::{
    CommitId, FirstLook, GitRef, Keep, KeyFields, ObjectId, PipelineKind, RepoPath, TreeId,
};

use super::super::SecretSource;
use super::{Place, load, project};

#[test]
fn every_setting_of_a_project() {
    let place = Place::new();
    place.write("hook.secret", "one\n");
    fs::set_permissions(place.path("hook.secret"), fs::Permissions::from_mode(0o640)).unwrap();
    let lines = r#"
repository = "acme/store"
repository_id = 1296269
secret = [{ env = "SECRET" }, { file = "hook.secret" }]
secret_sha1 = true
token = { env = "SECRET" }
username = "ci"
poll = "1h"
jobs_max = 7
enabled = false
forge = "github""#;
    let pipeline = r#"
name = "zips"
branches = ["main", "release/*"]
tags = ["v*"]
releases = true
key = "{repo}/{branch}.zip"
tag_key = "{repo}/t/{tag}.zip"
release_key = "r/{repo}/{tag}.zip"
supersede = true
delay = "30s"
schedule = "0 3 * * *"
first_look = "record"
keep = { versions = 10, days = 90 }
format = "zip""#;
    place.write("gristmill.toml", &project(lines, pipeline));
    let config = place.load().unwrap();
    assert!(config.warnings.is_empty());
    let project = &config.projects[0];
    expect![[r#"{"name":"acme/shop","git":"https://github.com/acme/shop.git","forge":"github","repository":"acme/store","repository_id":"1296269","poll_seconds":3600,"jobs_max":7,"pipelines":[{"name":"zips","refs":{"branches":["main","release/*"],"tags":["v*"]},"releases":true,"supersede":true,"delay_seconds":30,"schedule":"0 3 * * *","first_look":"record","keep":{"versions":10,"days":90},"kind":{"kind":"archive","key":"{repo}/{branch}.zip","tag_key":"{repo}/t/{tag}.zip","release_key":"r/{repo}/{tag}.zip","allow_shared_key":false}}]}"#]].assert_eq(&project.spec.to_stored().0);
    let env = SecretSource::Env("SECRET".to_owned());
    assert_eq!(project.secrets, [env.clone(), SecretSource::File(place.path("hook.secret"))]);
    assert!(project.hook.allow_sha1 && !project.enabled);
    assert_eq!((project.git_token.as_ref(), project.git_username.as_deref()), (Some(&env), Some("ci")));
}

#[test]
fn defaults_of_a_project() {
    let config = load(&project("", "")).unwrap();
    expect![[r#"{"name":"acme/shop","git":"https://github.com/acme/shop.git","forge":"github","repository":"acme/shop","repository_id":null,"poll_seconds":300,"jobs_max":4,"pipelines":[{"name":"archive","refs":{"branches":["**"],"tags":[]},"releases":false,"supersede":false,"delay_seconds":0,"schedule":null,"first_look":"build","keep":{"versions":null,"days":null},"kind":{"kind":"archive","key":"{owner}/{repo}/{branch}/{full_name_}.zip","tag_key":"{owner}/{repo}/tags/{tag}/{full_name_}.zip","release_key":"{owner}/{repo}/release/tags/{tag}/{full_name_}_release.zip","allow_shared_key":false}}]}"#]].assert_eq(&config.projects[0].spec.to_stored().0);
    let project = &config.projects[0];
    assert!(project.enabled && project.secrets.is_empty() && !project.hook.allow_sha1);
    assert_eq!((&project.git_token, &project.git_username), (&None, &None));
    assert_eq!(project.place.line, Some(1));
}

fn refs(pipeline: &str) -> (Vec<String>, Vec<String>) {
    let config = load(&project("", pipeline)).unwrap();
    let refs = &config.projects[0].spec.pipelines[0].refs;
    let texts =
        |patterns: &[gristmill_model::NamePattern]| patterns.iter().map(ToString::to_string).collect();
    (texts(&refs.branches), texts(&refs.tags))
}

#[test]
fn one_kind_of_ref_given_means_none_of_the_other() {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(refs(""), (list(&["**"]), list(&[])));
    assert_eq!(refs("branches = [\"main\"]"), (list(&["main"]), list(&[])));
    assert_eq!(refs("tags = [\"v*\"]"), (list(&[]), list(&["v*"])));
    assert_eq!(refs("branches = [\"main\"]\ntags = [\"v*\"]"), (list(&["main"]), list(&["v*"])));
    assert_eq!(refs("branches = []\nreleases = true"), (list(&[]), list(&[])));
}

#[test]
fn units_and_words_of_a_project() {
    let spec =
        |lines: &str, pipeline: &str| load(&project(lines, pipeline)).unwrap().projects[0].spec.clone();
    assert_eq!(spec("poll = \"off\"", "").poll_seconds, 0);
    assert_eq!(spec("poll = \"1s\"", "").poll_seconds, 1);
    assert_eq!(spec("poll = \"30d\"", "").poll_seconds, 2_592_000);
    for poll in ["\"0s\"", "\"31d\"", "\"never\"", "true"] {
        assert!(load(&project(&format!("poll = {poll}"), "")).is_err(), "{poll}");
    }
    assert_eq!(spec("repository_id = \"{4f-2}\"", "").repository_id.as_deref(), Some("{4f-2}"));
    assert_eq!(spec("repository_id = 0x10", "").repository_id.as_deref(), Some("16"));
    assert_eq!(spec("", "first_look = \"build\"").pipelines[0].first_look, FirstLook::Build);
    let keep = spec("", "keep = { days = 1 }").pipelines[0].keep;
    assert_eq!(keep, Keep { versions: None, days: Some(1) });
    for schedule in ["*/5 * * * *", "0 3 * * MON", "0 0 L * *", "0 0 29 2 *"] {
        let spec = spec("", &format!("schedule = \"{schedule}\""));
        assert_eq!(spec.pipelines[0].schedule.as_deref(), Some(schedule));
    }
    for schedule in ["", "60 * * * *", "* * * * * *", "0 0 0 1 1 * 2030", "hourly", "0 0 31 2 *"] {
        assert!(load(&project("", &format!("schedule = \"{schedule}\""))).is_err(), "{schedule}");
    }
    for name in ["a", "_x", "A.b-c_d", &"n".repeat(100)] {
        assert_eq!(spec("", &format!("name = \"{name}\"")).pipelines[0].name, name);
    }
    for name in ["", "-a", ".a", "a/b", "a b", &"n".repeat(101)] {
        assert!(load(&project("", &format!("name = \"{name}\""))).is_err(), "{name}");
    }
}

#[test]
fn a_bare_repository_is_called_what_the_project_is_called() {
    for git in ["ssh://git@github.com/srv/git/shop.git", "file:///srv/git/shop.git"] {
        let text = format!(
            "[[project]]\nname = \"acme/shop\"\ngit = \"{git}\"\nforge = \"bare\"\n[[project.pipeline]]\nkind = \"archive\"\n"
        );
        assert_eq!(load(&text).unwrap().projects[0].spec.repository.as_str(), "acme/shop", "{git}");
    }
}

#[test]
fn the_repository_comes_from_the_url_or_the_name() {
    for (git, name, repository) in [
        ("https://github.com/acme/shop.git", "x", "acme/shop"),
        ("https://github.com/acme/shop", "x", "acme/shop"),
        ("https://github.com/acme/shop/", "x", "acme/shop"),
        ("https://gitlab.example.org:8443/grp/sub/proj.git", "x", "grp/sub/proj"),
        ("git://host/acme/shop.git", "x", "acme/shop"),
        ("http://127.0.0.1:3000/acme/shop.git", "x", "acme/shop"),
        ("http://[::1]/acme/shop.git", "x", "acme/shop"),
        ("http://localhost/acme/shop.git", "x", "acme/shop"),
        ("git://host/shop.git", "team/shop", "team/shop"),
        ("file:///srv/git/shop.git", "team/shop", "team/shop"),
    ] {
        let text = project("", "").replace("https://github.com/acme/shop.git", git);
        let config = load(&text.replace("\"acme/shop\"", &format!("\"{name}\""))).unwrap();
        assert_eq!(config.projects[0].spec.repository.as_str(), repository, "{git}");
        assert_eq!(config.projects[0].spec.git, git);
    }
    let open = project("allow_http = true\ntoken = { env = \"SECRET\" }", "").replace("https:", "http:");
    let config = load(&open).unwrap();
    assert_eq!(config.projects[0].spec.git, "http://github.com/acme/shop.git");
    assert_eq!(config.warnings.len(), 1);
    assert!(
        config.warnings[0].to_string().contains(":5: `token` goes over http://"),
        "{:?}",
        config.warnings
    );
    let here =
        project("token = { env = \"SECRET\" }", "").replace("https://github.com", "http://127.0.0.1:1");
    assert!(load(&here).unwrap().warnings.is_empty());
}

/// The keys that a pipeline makes for a push to `main`, for tag `v1`, and for release `v1`.
fn keys(preset: &str, repository: &str) -> [Option<String>; 3] {
    let lines = format!("repository = \"{repository}\"");
    let config = load(&project(&lines, &format!("key = \"{preset}\""))).unwrap();
    let PipelineKind::Archive(archive) = &config.projects[0].spec.pipelines[0].kind;
    let repository: RepoPath = repository.parse().unwrap();
    let id = ObjectId::Sha1([0xab; 20]);
    [
        (GitRef::from_branch("main").unwrap(), Some(&archive.key)),
        (GitRef::from_tag("v1").unwrap(), archive.tag_key.as_ref()),
        (GitRef::from_tag("v1").unwrap(), archive.release_key.as_ref()),
    ]
    .map(|(git_ref, template)| {
        let fields = KeyFields {
            repository: &repository,
            git_ref: &git_ref,
            commit: CommitId(id),
            tree: TreeId(id),
            date: "2026-01-31",
        };
        template.map(|template| template.render(&fields).unwrap().to_string())
    })
}

#[test]
fn presets_make_the_keys_their_readers_know() {
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        keys("git2s3", "octocat/hello"),
        [
            some("octocat/hello/main/octocat_hello.zip"),
            some("octocat/hello/tags/v1/octocat_hello.zip"),
            some("octocat/hello/release/tags/v1/octocat_hello_release.zip"),
        ]
    );
    assert_eq!(keys("git2s3", "grp/sub/proj")[0], some("grp/sub/proj/main/grp_sub_proj.zip"));
    assert_eq!(
        keys("git2s3-2017", "octocat/hello"),
        [some("octocat/hello/main/octocat_hello_main.zip"), None, None]
    );
    assert_eq!(keys("git2s3-2017", "grp/sub/proj")[0], some("grp/sub/proj/main/grp_sub_proj_main.zip"));
    assert_eq!(
        keys("zipdl", "octocat/hello"),
        [some("octocat/hello/main/hello.zip"), some("octocat/hello/v1/hello.zip"), None]
    );
}

#[test]
fn every_placeholder_can_be_configured() {
    let key = "{owner}{owner_}{repo}{repo_}{full_name}{full_name_}{branch}{branch_}{ref}{ref_}{commit}{commit_}{short_commit}{short_commit_}{tree}{tree_}{date}{date_}";
    let tag_key = "{tag}{tag_}{tree}";
    assert!(load(&project("", &format!("key = \"{key}\"\ntag_key = \"{tag_key}\""))).is_ok());
    let own = load(&project("", "key = \"git2s3\"\ntag_key = \"t/{tag}\"")).unwrap();
    let PipelineKind::Archive(archive) = &own.projects[0].spec.pipelines[0].kind;
    assert_eq!(archive.tag_key.as_ref().map(ToString::to_string).as_deref(), Some("t/{tag}"));
    let release = archive.release_key.as_ref().map(ToString::to_string);
    assert_eq!(release.as_deref(), Some("{owner}/{repo}/release/tags/{tag}/{full_name_}_release.zip"));
    let literal = load(&project("", "branches = [\"main\"]\nkey = \"shop.zip\"")).unwrap();
    let PipelineKind::Archive(archive) = &literal.projects[0].spec.pipelines[0].kind;
    assert_eq!((archive.key.as_str(), &archive.tag_key), ("shop.zip", &None));
}
