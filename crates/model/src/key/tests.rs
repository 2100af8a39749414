use super::*;
use crate::pattern::{glob, intersect, literal};

fn render(template: &str, repository: &str, git_ref: &str) -> Result<String, TemplateError> {
    let fields = KeyFields {
        repository: &repository.parse().unwrap(),
        git_ref: &git_ref.parse().unwrap(),
        commit: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
        tree: "fedcba9876543210fedcba9876543210fedcba98".parse().unwrap(),
        date: "2026-01-31",
    };
    template.parse::<KeyTemplate>()?.render(&fields).map(|key| key.to_string())
}

fn made(template: &str, repository: &str, git_ref: &str) -> String {
    render(template, repository, git_ref).unwrap()
}

#[test]
fn every_placeholder() {
    for (template, branch, tag) in [
        ("{owner}", "grp/sub", "grp/sub"),
        ("{owner_}", "grp_sub", "grp_sub"),
        ("{repo}", "proj", "proj"),
        ("{repo_}", "proj", "proj"),
        ("{full_name}", "grp/sub/proj", "grp/sub/proj"),
        ("{full_name_}", "grp_sub_proj", "grp_sub_proj"),
        ("{ref}", "heads/a/b", "tags/v/1"),
        ("{ref_}", "heads_a_b", "tags_v_1"),
        ("{commit}", "0123456789abcdef0123456789abcdef01234567", "0123456789abcdef0123456789abcdef01234567"),
        ("{short_commit}", "0123456789ab", "0123456789ab"),
        ("{tree}", "fedcba9876543210fedcba9876543210fedcba98", "fedcba9876543210fedcba9876543210fedcba98"),
        ("{date}", "2026-01-31", "2026-01-31"),
        ("{date_}", "2026-01-31", "2026-01-31"),
    ] {
        assert_eq!(made(template, "grp/sub/proj", "refs/heads/a/b"), branch, "{template}");
        assert_eq!(made(template, "grp/sub/proj", "refs/tags/v/1"), tag, "{template}");
    }
    assert_eq!(made("{branch}|{branch_}", "a/b", "refs/heads/x/y"), "x/y|x_y");
    assert_eq!(made("{tag}|{tag_}", "a/b", "refs/tags/x/y"), "x/y|x_y");
    assert_eq!(made("a{repo}b{owner}c", "o/r", "refs/heads/x"), "arboc");
}

#[test]
fn presets_of_the_contract() {
    let row = |name: &str, repository: &str| {
        let preset = key_preset(name).unwrap();
        [
            (Some(preset.branch), "refs/heads/main"),
            (preset.tag, "refs/tags/v1"),
            (preset.release, "refs/tags/v1"),
        ]
        .map(|(template, git_ref)| template.map(|template| made(template, repository, git_ref)))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        row("git2s3", "octocat/hello"),
        [
            some("octocat/hello/main/octocat_hello.zip"),
            some("octocat/hello/tags/v1/octocat_hello.zip"),
            some("octocat/hello/release/tags/v1/octocat_hello_release.zip"),
        ]
    );
    assert_eq!(
        row("git2s3", "grp/sub/proj"),
        [
            some("grp/sub/proj/main/grp_sub_proj.zip"),
            some("grp/sub/proj/tags/v1/grp_sub_proj.zip"),
            some("grp/sub/proj/release/tags/v1/grp_sub_proj_release.zip"),
        ]
    );
    assert_eq!(
        row("git2s3-2017", "octocat/hello"),
        [some("octocat/hello/main/octocat_hello_main.zip"), None, None]
    );
    assert_eq!(row("git2s3-2017", "grp/sub/proj")[0], some("grp/sub/proj/main/grp_sub_proj_main.zip"));
    assert_eq!(
        row("zipdl", "octocat/hello"),
        [some("octocat/hello/main/hello.zip"), some("octocat/hello/v1/hello.zip"), None]
    );
    assert_eq!(
        made(key_preset("git2s3-2017").unwrap().branch, "o/r", "refs/heads/a/b"),
        "o/r/a/b/o_r_a_b.zip"
    );
    assert_eq!(key_preset("git2s4"), None);
    assert_eq!(KEY_PRESETS.map(|(name, _)| name), ["git2s3", "git2s3-2017", "zipdl"]);
}

#[test]
fn mistake_11_two_projects_with_one_repository_name_have_two_keys() {
    for (name, preset) in KEY_PRESETS {
        for template in [Some(preset.branch), preset.tag, preset.release].into_iter().flatten() {
            let template: KeyTemplate = template.parse().unwrap();
            let keys = |repository: &str| {
                template.possible_keys(Repositories::One(&repository.parse().unwrap()), "**", false)
            };
            assert!(!intersect(&keys("one/shop"), &keys("two/shop")), "{name}");
            assert!(!intersect(&keys("grp/one/shop"), &keys("grp/two/shop")), "{name}");
            assert!(intersect(&keys("one/shop"), &keys("one/shop")), "{name}");
        }
    }
    let by_repo: KeyTemplate = "{repo}/{branch}.zip".parse().unwrap();
    let keys = |repository: &str| {
        by_repo.possible_keys(Repositories::One(&repository.parse().unwrap()), "**", false)
    };
    assert!(intersect(&keys("one/shop"), &keys("two/shop")));
}

#[test]
fn a_placeholder_that_the_ref_cannot_fill() {
    let error = render("{repo}/{branch}", "a/b", "refs/tags/v1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "key template `{repo}/{branch}` asks for {branch}, but refs/tags/v1 has none; set `tag_key`"
    );
    let error = render("{tag}", "a/b", "refs/heads/main").unwrap_err();
    assert_eq!(
        error.to_string(),
        "key template `{tag}` asks for {tag}, but refs/heads/main has none; set `key`"
    );
    for (template, branch, tag) in [
        ("x", false, false),
        ("{ref}", false, false),
        ("{branch}", true, false),
        ("x{branch_}", true, false),
        ("{tag}", false, true),
        ("{tag_}{branch}", true, true),
    ] {
        let template: KeyTemplate = template.parse().unwrap();
        assert_eq!((template.asks_for_branch(), template.asks_for_tag()), (branch, tag), "{template}");
    }
}

#[test]
fn templates_that_cannot_be_read() {
    let error = |text: &str| text.parse::<KeyTemplate>().unwrap_err();
    for text in ["{", "}", "a{", "{owner", "a}b", "{{owner}}", "{own{er}", "{owner}}"] {
        assert_eq!(error(text), TemplateError::Brace(text.to_owned()));
    }
    assert_eq!(error("{").to_string(), "key template `{`: a brace without its partner");
    for name in ["", "Owner", "owner__", "_", "x", " owner"] {
        let template = format!("{{repo}}/{{{name}}}");
        assert_eq!(error(&template), TemplateError::Unknown { template, name: name.to_owned() });
    }
    assert!(
        error("{x}")
            .to_string()
            .starts_with("key template `{x}`: unknown placeholder `{x}`; known are {owner} {repo}")
    );
    for text in ["", "/a", "a/", "a//b", "a/../b", "./a", "..", "a\u{7}"] {
        assert!(matches!(error(text), TemplateError::Key(_)), "{text:?}");
    }
    assert!("{owner}{repo}".parse::<KeyTemplate>().is_ok());
}

#[test]
fn templates_are_kept_as_written() {
    let template: KeyTemplate = "a/{owner}-{repo_}.zip".parse().unwrap();
    assert_eq!(
        (template.as_str(), template.to_string().as_str()),
        ("a/{owner}-{repo_}.zip", "a/{owner}-{repo_}.zip")
    );
    let json = serde_json::to_string(&template).unwrap();
    assert_eq!(json, "\"a/{owner}-{repo_}.zip\"");
    assert_eq!(serde_json::from_str::<KeyTemplate>(&json).unwrap(), template);
    assert!(serde_json::from_str::<KeyTemplate>("\"{\"").is_err());
}

#[test]
fn a_key_that_gets_too_long_or_odd_when_filled_in() {
    let long = format!("refs/heads/{}", "b".repeat(900));
    assert!(render("{branch}", "a/b", &long).is_ok());
    let error = render("{branch}{branch}", "a/b", &long).unwrap_err().to_string();
    assert!(error.ends_with("it is longer than 1024 bytes"), "{error}");
}

#[test]
fn object_keys() {
    let longest = "k".repeat(KEY_BYTES_MAX);
    for text in ["a", "a/b", "a b", "...", ".a", "a..b", "é/ü", "a@b", "a\\b", longest.as_str()] {
        let key: ObjectKey = text.parse().unwrap();
        assert_eq!((key.as_str(), key.to_string().as_str()), (text, text));
        assert_eq!(format!("{key:?}"), text);
        assert_eq!(serde_json::from_str::<ObjectKey>(&serde_json::to_string(&key).unwrap()).unwrap(), key);
    }
    let longer = format!("{longest}k");
    let why = |text: &str| text.parse::<ObjectKey>().unwrap_err().to_string();
    assert!(why(&longer).ends_with("…` is not an object key: it is longer than 1024 bytes"));
    for text in ["", "/", "a/", "/a", "a//b", ".", "..", "a/.", "a/../b"] {
        assert_eq!(
            why(text),
            format!("`{text}` is not an object key: no part between slashes may be empty, `.` or `..`")
        );
    }
    for text in ["a\0", "a\n", "\u{85}"] {
        assert!(why(text).ends_with("it has a control character"), "{text:?}");
    }
}

#[test]
fn possible_keys_are_patterns_of_what_is_rendered() {
    let can = |template: &str, pattern: &str, is_tag: bool, key: &str| {
        let template: KeyTemplate = template.parse().unwrap();
        let keys =
            template.possible_keys(Repositories::One(&"grp/sub/proj".parse().unwrap()), pattern, is_tag);
        intersect(&keys, &literal(key))
    };
    for (template, made) in [
        ("{owner}|{owner_}", "grp/sub|grp_sub"),
        ("{repo}|{full_name}|{full_name_}", "proj|grp/sub/proj|grp_sub_proj"),
        ("{branch}.zip", "release/1.zip"),
        ("{branch_}.zip", "release_1.zip"),
        ("{ref}", "heads/release/1"),
        ("{ref_}", "heads_release_1"),
        ("{commit}-{short_commit}-{tree}-{date}", "c-s-t-d"),
        ("{tag}", "release/1"),
    ] {
        assert!(can(template, "release/*", false, made), "{template}");
        assert!(!can(template, "release/*", false, &format!("{made}/")), "{template}");
    }
    assert!(!can("{branch}", "release/*", false, "release_1"));
    assert!(!can("{branch_}", "release/*", false, "release/1"));
    assert!(!can("{branch}", "release/*", false, "main"));
    assert!(can("{ref}", "v1", true, "tags/v1") && !can("{ref}", "v1", true, "heads/v1"));
    assert!(can("{ref}", "v1", false, "heads/v1") && !can("{ref}", "v1", false, "tags/v1"));
    let exact: KeyTemplate = "a{branch}".parse().unwrap();
    let mut wanted = literal("a");
    wanted.extend(glob("x?*"));
    assert_eq!(exact.possible_keys(Repositories::One(&"a/b".parse().unwrap()), "x?*", false), wanted);
}

#[test]
fn which_templates_tell_refs_apart() {
    for (field, same) in [
        ("owner", true),
        ("repo_", true),
        ("full_name", true),
        ("date", true),
        ("branch", false),
        ("branch_", false),
        ("tag", false),
        ("ref", false),
        ("commit", false),
        ("short_commit", false),
        ("tree", false),
    ] {
        let template: KeyTemplate = format!("x/{{owner}}/{{{field}}}").parse().unwrap();
        assert_eq!(template.same_for_all_refs(), same, "{field}");
    }
    assert!("x".parse::<KeyTemplate>().unwrap().same_for_all_refs());
}

#[test]
fn repositories() {
    let longest = format!("a/{}", "r".repeat(253));
    for (text, owner, name) in [
        ("octocat/hello", "octocat", "hello"),
        ("grp/sub/proj", "grp/sub", "proj"),
        ("_a/.github", "_a", ".github"),
        ("ä/ö", "ä", "ö"),
        ("a/b-", "a", "b-"),
        ("~ann/tool", "~ann", "tool"),
        ("Our Shop/Web Site", "Our Shop", "Web Site"),
        (longest.as_str(), "a", &longest[2..]),
    ] {
        let path: RepoPath = text.parse().unwrap();
        assert_eq!((path.as_str(), path.owner(), path.name()), (text, owner, name));
        assert_eq!((path.to_string().as_str(), format!("{path:?}").as_str()), (text, text));
        assert_eq!(serde_json::from_str::<RepoPath>(&serde_json::to_string(&path).unwrap()).unwrap(), path);
    }
    let longer = format!("{longest}r");
    for text in [
        "",
        "a",
        "/",
        "a/",
        "/b",
        "a//b",
        "a/-b",
        "-a/b",
        "a/.",
        "../b",
        " a/c",
        "a /c",
        "a/ ",
        "a\u{a0}b/c",
        "a/b*",
        "a/b\n",
        longer.as_str(),
    ] {
        assert!(text.parse::<RepoPath>().is_err(), "{text:?}");
    }
    let error = "a".parse::<RepoPath>().unwrap_err().to_string();
    assert!(error.starts_with("`a` is not a repository; expected `owner/name` of letters"), "{error}");
}
