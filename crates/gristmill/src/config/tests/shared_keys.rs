//! Keys that two projects, pipelines or refs would share.

use expect_test::{Expect, expect};

use super::{load, project, refusal};

fn check(pipeline: &str, wanted: Expect) {
    wanted.assert_eq(&refusal(&project("", pipeline)));
}

fn taken(pipeline: &str) {
    if let Err(errors) = load(&project("", pipeline)) {
        panic!("{pipeline}\n{errors}");
    }
}

#[test]
fn branches_and_tags() {
    check(
        "key = \"zipdl\"\nbranches = [\"**\"]\ntags = [\"**\"]",
        expect![
            "gristmill.toml:5: pipeline `archive`: its branches `**` and its tags `**` could both be published under `acme/shop/…/shop.zip`; narrow `branches` or `tags`, give each a key of its own (`key`, `tag_key`, `release_key`), or set `allow_shared_key = true`"
        ],
    );
    check(
        "branches = [\"**\"]\ntags = [\"v*\"]",
        expect![
            "gristmill.toml:5: pipeline `archive`: its branches `**` and its tags `v*` could both be published under `acme/shop/tags/v…/acme_shop.zip`; narrow `branches` or `tags`, give each a key of its own (`key`, `tag_key`, `release_key`), or set `allow_shared_key = true`"
        ],
    );
    check(
        "branches = [\"tags/v1\"]\ntags = [\"v*\"]",
        expect![
            "gristmill.toml:5: pipeline `archive`: its branches `tags/v1` and its tags `v*` could both be published under `acme/shop/tags/v1/acme_shop.zip`; narrow `branches` or `tags`, give each a key of its own (`key`, `tag_key`, `release_key`), or set `allow_shared_key = true`"
        ],
    );
    check(
        "branches = [\"main\"]\ntags = [\"v1\"]\nkey = \"{commit}.zip\"\ntag_key = \"{tree}.zip\"",
        expect![
            "gristmill.toml:5: pipeline `archive`: its branches `main` and its tags `v1` could both be published under `….zip`; narrow `branches` or `tags`, give each a key of its own (`key`, `tag_key`, `release_key`), or set `allow_shared_key = true`"
        ],
    );
    for pipeline in [
        "branches = [\"*\"]\ntags = [\"**\"]",
        "branches = [\"main\", \"release/*\"]\ntags = [\"**\"]\nreleases = true",
        "branches = [\"**\"]\ntags = [\"**\"]\nkey = \"{repo}/{ref}.zip\"",
        "branches = [\"**\"]\ntags = [\"**\"]\nkey = \"{repo}/{commit}.zip\"",
        "branches = [\"**\"]\ntags = [\"**\"]\nkey = \"{repo}/{short_commit_}.zip\"",
        "branches = [\"**\"]\ntags = [\"**\"]\nkey = \"{repo}/{tree}.zip\"",
        "key = \"zipdl\"\nbranches = [\"main\"]\ntags = [\"v*\"]",
        "key = \"zipdl\"\nbranches = [\"**\"]\ntags = [\"**\"]\nallow_shared_key = true",
    ] {
        taken(pipeline);
    }
}

#[test]
fn releases() {
    // Without a key of its own a release is the tag's commit under the tag's key.
    taken("key = \"zipdl\"\nbranches = []\ntags = [\"v*\"]\nreleases = true");
    taken("branches = []\nreleases = true");
    check(
        "branches = [\"**\"]\nreleases = true\nkey = \"zipdl\"",
        expect![
            "gristmill.toml:5: pipeline `archive`: its branches `**` and its releases could both be published under `acme/shop/…/shop.zip`; narrow `branches` or `tags`, give each a key of its own (`key`, `tag_key`, `release_key`), or set `allow_shared_key = true`"
        ],
    );
    check(
        "branches = []\ntags = [\"v*\"]\nreleases = true\ntag_key = \"{tag}/x\"\nrelease_key = \"{tag_}/{repo}\"",
        expect![
            "gristmill.toml:5: pipeline `archive`: with `{tag_}/{repo}`, two of its releases such as `a/b` and `a_b` would share a key, as {tag_} writes `/` as `_`; use {tag}, or set `allow_shared_key = true`"
        ],
    );
    check(
        "branches = []\nreleases = true\nrelease_key = \"{repo}/latest.zip\"",
        expect![
            "gristmill.toml:5: pipeline `archive`: all its releases would be published under one key, `{repo}/latest.zip`; put {tag} into the key, name one tag only, or set `allow_shared_key = true`"
        ],
    );
}

#[test]
fn all_refs_under_one_key() {
    check(
        "key = \"{repo}.zip\"",
        expect![
            "gristmill.toml:5: pipeline `archive`: all its branches would be published under one key, `{repo}.zip`; put {branch} into the key, name one branch only, or set `allow_shared_key = true`"
        ],
    );
    check(
        "key = \"{repo}/{date}.zip\"\nbranches = [\"main\", \"next\"]",
        expect![
            "gristmill.toml:5: pipeline `archive`: all its branches would be published under one key, `{repo}/{date}.zip`; put {branch} into the key, name one branch only, or set `allow_shared_key = true`"
        ],
    );
    check(
        "branches = []\ntags = [\"v*\"]\nkey = \"{repo}.zip\"",
        expect![
            "gristmill.toml:5: pipeline `archive`: all its tags would be published under one key, `{repo}.zip`; put {tag} into the key, name one tag only, or set `allow_shared_key = true`"
        ],
    );
    taken("key = \"{repo}.zip\"\nbranches = [\"main\"]");
    taken("key = \"{repo}.zip\"\nbranches = [\"main\", \"main\"]");
    taken("key = \"{repo}.zip\"\nallow_shared_key = true");
    taken("key = \"{repo}/{commit}.zip\"");
    check(
        "key = \"{repo}.zip\"\nbranches = [\"main\"]\ntags = [\"v1\"]",
        expect![
            "gristmill.toml:5: pipeline `archive`: its branches `main` and its tags `v1` could both be published under `shop.zip`; narrow `branches` or `tags`, give each a key of its own (`key`, `tag_key`, `release_key`), or set `allow_shared_key = true`"
        ],
    );
}

#[test]
fn flattened_names() {
    check(
        "key = \"{repo}/{branch_}.zip\"",
        expect![
            "gristmill.toml:5: pipeline `archive`: with `{repo}/{branch_}.zip`, two of its branches such as `a/b` and `a_b` would share a key, as {branch_} writes `/` as `_`; use {branch}, or set `allow_shared_key = true`"
        ],
    );
    check(
        "branches = []\ntags = [\"**\"]\nkey = \"{repo}/{tag_}.zip\"",
        expect![
            "gristmill.toml:5: pipeline `archive`: with `{repo}/{tag_}.zip`, two of its tags such as `a/b` and `a_b` would share a key, as {tag_} writes `/` as `_`; use {tag}, or set `allow_shared_key = true`"
        ],
    );
    check(
        "key = \"{repo}/{ref_}.zip\"",
        expect![
            "gristmill.toml:5: pipeline `archive`: with `{repo}/{ref_}.zip`, two of its branches such as `a/b` and `a_b` would share a key, as {branch_} writes `/` as `_`; use {branch}, or set `allow_shared_key = true`"
        ],
    );
    let flat = |branches: &str| {
        load(&project("", &format!("key = \"{{repo}}/{{branch_}}.zip\"\nbranches = [{branches}]"))).is_ok()
    };
    for safe in
        ["\"main\"", "\"*\"", "\"release/*\"", "\"*/x\"", "\"a/b\", \"a_c\"", "\"a*\", \"b/*\"", "\"*_*\""]
    {
        assert!(flat(safe), "{safe}");
    }
    for shared in [
        "\"a/b\", \"a_b\"",
        "\"*/*\"",
        "\"**\"",
        "\"release/**\"",
        "\"a/**/b\", \"c\"",
        "\"a/*\", \"a_*\"",
        "\"*/x\", \"a*\"",
        "\"[/_]\"",
        "\"{a/b,a_b}\"",
    ] {
        assert!(!flat(shared), "{shared}");
    }
    taken("key = \"{repo}/{branch_}/{branch}.zip\"");
    taken("key = \"{repo}/{branch_}-{short_commit}.zip\"");
    taken("key = \"{repo}/{branch_}.zip\"\nallow_shared_key = true");
}

#[test]
fn pipelines_of_one_project() {
    let second =
        |lines: &str| format!("\n[[project.pipeline]]\nkind = \"archive\"\nname = \"second\"\n{lines}");
    check(
        &second(""),
        expect![
            "gristmill.toml:8: pipeline `second` of project `acme/shop` (branches `**`) and pipeline `archive` of project `acme/shop` in gristmill.toml:5 (branches `**`) could both publish under `acme/shop/…/acme_shop.zip`; give one another `key`, or set `allow_shared_key = true` in both"
        ],
    );
    check(
        &format!("allow_shared_key = true\n{}", second("")),
        expect![
            "gristmill.toml:9: pipeline `second` of project `acme/shop` (branches `**`) and pipeline `archive` of project `acme/shop` in gristmill.toml:5 (branches `**`) could both publish under `acme/shop/…/acme_shop.zip`; give one another `key`, or set `allow_shared_key = true` in both"
        ],
    );
    taken(&format!("allow_shared_key = true\n{}", second("allow_shared_key = true")));
    taken(&format!("branches = [\"main\"]\n{}", second("branches = [\"next\"]")));
    taken(&second("key = \"second/{branch}.zip\""));
    // Nine pairs of patterns, one thing to put right; and the sides are told in the order of the file.
    let many = "branches = [\"a\", \"b\", \"c\"]\n";
    let told = refusal(&project("", &format!("{many}{}", second(many))));
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.starts_with("gristmill.toml:9: pipeline `second`"), "{told}");
}

#[test]
fn mistake_11_two_projects_with_one_repository_name() {
    let two = |first: &str, second: &str, pipeline: &str| {
        let text = |name: &str, repository: &str| {
            let lines = format!("repository = \"{repository}\"");
            project(&lines, pipeline).replace("name = \"acme/shop\"", &format!("name = \"{name}\""))
        };
        format!("{}{}", text("first", first), text("second", second))
    };
    for preset in ["git2s3", "git2s3-2017", "zipdl"] {
        let text = two("one/shop", "two/shop", &format!("key = \"{preset}\""));
        assert!(load(&text).is_ok(), "{preset}");
    }
    expect!["gristmill.toml:12: pipeline `archive` of project `second` (branches `**`) and pipeline `archive` of project `first` in gristmill.toml:5 (branches `**`) could both publish under `shop/….zip`; give one another `key`, or set `allow_shared_key = true` in both"].assert_eq(&refusal(&two("one/shop", "two/shop", "key = \"{repo}/{branch}.zip\"")));
    expect!["gristmill.toml:12: pipeline `archive` of project `second` (branches `**`) and pipeline `archive` of project `first` in gristmill.toml:5 (branches `**`) could both publish under `a_b/b/….zip`; give one another `key`, or set `allow_shared_key = true` in both"].assert_eq(&refusal(&two("a/b", "a_b/c", "key = \"{owner_}/{repo}/{branch}.zip\"").replace("a_b/c", "a_b/b")
        .replace("a/b", "a/b/b").replace("name = \"a/b/b\"", "name = \"deep\"")));
    assert!(
        load(&two("one/shop", "two/shop", "key = \"{repo}/{branch}.zip\"\nallow_shared_key = true")).is_ok()
    );
    // A key with one project's name in it, and a nested group.
    expect!["gristmill.toml:12: pipeline `archive` of project `second` (branches `**`) and pipeline `archive` of project `first` in gristmill.toml:5 (branches `**`) could both publish under `acme/shop/main/….zip`; give one another `key`, or set `allow_shared_key = true` in both"].assert_eq(&refusal(&two("acme/shop", "acme/shop/main", "key = \"{full_name}/{branch}.zip\"")));
}

#[test]
fn thousands_of_projects_are_compared_by_neighbours() {
    let mut text = String::new();
    for n in 0..1000 {
        text += &project("", "tags = [\"v*\"]\nbranches = [\"main\"]")
            .replace("acme/shop", &format!("acme/shop-{n}"));
    }
    assert_eq!(load(&text).unwrap().projects.len(), 1000);
    let text = text.replace("\"acme/shop-7\"", "\"seven\"").replace("acme/shop-7.git", "acme/shop-999.git");
    assert_eq!(load(&text).unwrap_err().findings.len(), 1);
}
