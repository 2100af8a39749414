//! Whether the source comes by git or as the forge's archives.

use gristmill_model::{Download, FetchBy};

use super::{load, project, refusal};

/// What the project's lines give.
fn fetch(lines: &str) -> FetchBy {
    load(&project(lines, "")).unwrap_or_else(|errors| panic!("{lines}: {errors}")).projects[0].spec.fetch
}

#[test]
fn the_source_comes_by_git_unless_it_is_said() {
    let download = |bytes_max, allow_filtered| FetchBy::Download(Download { bytes_max, allow_filtered });
    for (lines, expected) in [
        ("", FetchBy::Git),
        ("fetch = \"git\"", FetchBy::Git),
        ("clone = \"full\"", FetchBy::Git),
        ("clone = \"partial\"", FetchBy::Partial),
        ("fetch = \"git\"\nclone = \"partial\"", FetchBy::Partial),
        ("fetch = \"download\"", download(524_288_000, false)),
        ("fetch = \"download\"\ndownload_max = \"2GiB\"\nforge = \"gitlab\"", download(2 << 30, false)),
        ("fetch = \"download\"\nallow_filtered = true\nforge = \"gitea\"", download(524_288_000, true)),
        ("fetch = \"download\"\nallow_filtered = false\nforge = \"forgejo\"", download(524_288_000, false)),
        (
            "fetch = \"download\"\nallow_filtered = true\nforge = \"bitbucket\"\napi = \"https://b.org\"",
            download(524_288_000, true),
        ),
        ("fetch = \"download\"\nforge = \"gogs\"", download(524_288_000, false)),
        (
            "fetch = \"download\"\nforge = \"azure-devops\"\napi = \"https://a.org/x\"",
            download(524_288_000, false),
        ),
    ] {
        assert_eq!(fetch(lines), expected, "{lines}");
    }
}

#[test]
fn a_pattern_says_it_for_all_its_repositories() {
    let text = project("fetch = \"download\"", "")
        .replace("acme/shop.git", "acme/{repo}.git")
        .replace("name = \"acme/shop\"", "name = \"acme/*\"");
    let config = load(&text).unwrap_or_else(|errors| panic!("{text}: {errors}"));
    let pattern = config.patterns[0].pattern.as_ref().unwrap();
    let made = pattern.expand(&"acme/tool".parse().unwrap()).unwrap();
    assert_eq!(made.fetch, FetchBy::Download(Download { bytes_max: 524_288_000, allow_filtered: false }));
}

#[test]
fn a_partial_clone_is_by_git_and_goes_into_no_archive() {
    for (lines, pipeline, told) in [
        ("clone = \"shallow\"", "", "`clone` is \"shallow\"; expected one of: full, partial"),
        ("clone = true", "", "`clone` is true; expected one of: full, partial"),
        ("fetch = \"download\"\nclone = \"partial\"", "", "`clone` is for `fetch = \"git\"` only"),
        ("fetch = \"download\"\nclone = \"full\"", "", "`clone` is for `fetch = \"git\"` only"),
        (
            "clone = \"partial\"",
            "include_git = true",
            "pipeline `archive`: `include_git` puts the whole history into the archive; with `clone = \"partial\"`",
        ),
    ] {
        let refused = refusal(&project(lines, pipeline));
        assert!(refused.contains(told), "{lines} {pipeline}: {refused}");
    }
    assert!(load(&project("clone = \"full\"", "include_git = true")).is_ok());
    let all = "lfs = true\nsubmodules = true\nattributes = \"git\"\nexport_ignore = true\npaths = [\"a/**\"]";
    assert!(load(&project("clone = \"partial\"", all)).is_ok());
}

#[test]
fn what_cannot_be_downloaded_is_refused_with_the_reason() {
    for (lines, pipeline, told) in [
        ("fetch = \"svn\"", "", "`fetch` is \"svn\"; expected one of: git, download"),
        ("fetch = 1", "", "`fetch` is 1; expected one of: git, download"),
        ("allow_filtered = true", "", "`allow_filtered` is for `fetch = \"download\"` only; leave it out"),
        ("fetch = \"git\"\ndownload_max = \"1GiB\"", "", "`download_max` is for `fetch = \"download\"` only"),
        (
            "fetch = \"download\"\ndownload_max = \"500MB\"",
            "",
            "`download_max` is \"500MB\"; expected a size",
        ),
        ("fetch = \"download\"\nallow_filtered = 1", "", "`allow_filtered` is 1; expected true or false"),
        (
            "fetch = \"download\"\nforge = \"azure-devops\"",
            "",
            "does not end in `PROJECT/_git/NAME` of `acme/shop`",
        ),
        ("fetch = \"download\"\nforge = \"bitbucket\"", "", "`github.com` is not bitbucket.org"),
        (
            "fetch = \"download\"\nforge = \"codecommit\"",
            "",
            "of codecommit no archives are read here, use git",
        ),
        (
            "fetch = \"download\"\nforge = \"bitbucket-server\"",
            "",
            "set `allow_filtered = true` to take them",
        ),
        ("fetch = \"download\"\nforge = \"generic\"", "", "of generic no archives are read here"),
        ("fetch = \"download\"\nforge = \"bitbucket\"", "", "set `allow_filtered = true` to take them"),
        ("fetch = \"download\"\ncredential_helper = [\"x\"]", "", "set `token` instead"),
        ("fetch = \"download\"", "lfs = true", "pipeline `archive`: `lfs` needs what only git brings"),
        ("fetch = \"download\"", "submodules = true", "`submodules` needs what only git brings"),
        ("fetch = \"download\"", "include_git = true", "`include_git` needs what only git brings"),
        ("fetch = \"download\"", "attributes = \"git\"", "`attributes = \"git\"` is for the forge alone"),
        ("fetch = \"download\"", "export_ignore = true", "`export_ignore` is for the forge alone"),
    ] {
        let refused = refusal(&project(lines, pipeline));
        assert!(refused.contains(told), "{lines} {pipeline}: {refused}");
    }
    let ssh = project("fetch = \"download\"", "").replace("https://github.com/", "git@github.com:");
    assert!(refusal(&ssh).contains("let `git` be the repository's https:// address"), "{}", refusal(&ssh));
}
