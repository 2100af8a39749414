//! Submodules as a commit names them; hostile files are refused and run nothing.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Setup, by_id, commit, files_below, limits, remote};
use gristmill_git::{GitError, Mirror, RemoteUrl, SubmoduleLimits, Submodules};
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;

const PINNED: &str = "1111111111111111111111111111111111111111";

fn url(text: &str) -> RemoteUrl {
    text.parse().expect(text)
}

/// A mirror with one commit of these changes.
async fn mirrored(setup: &Setup, repo: &TestRepo, changes: &Changes) -> (Mirror, String) {
    let id = repo.commit("main", &changes.clone());
    let mirror = setup.mirror().await;
    mirror.fetch(&remote(&repo.url()), &by_id(&id), limits()).await.expect("fetched");
    (mirror, id)
}

async fn read(mirror: &Mirror, base: &str, id: &str) -> Result<Submodules, GitError> {
    mirror.submodules(&url(base), commit(id), 0, SubmoduleLimits::default()).await
}

#[tokio::test]
async fn real_submodules_are_listed_and_each_can_be_fetched() {
    let inner = TestRepo::new();
    let inner_id = inner.commit("main", &Changes::new().file("inside", "1"));
    let work = tempfile::tempdir().expect("a folder");
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .args(["-c", "protocol.file.allow=always", "-c", "user.name=a", "-c", "user.email=a@b"])
            .args(args)
            .current_dir(work.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .expect("git starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["submodule", "--quiet", "add", "-b", "main", "--name", "the one", &inner.url(), "libs/inner"]);
    git(&["submodule", "--quiet", "add", &inner.url(), "other"]);
    git(&["commit", "--quiet", "-m", "x"]);
    let id = git(&["rev-parse", "HEAD"]);
    let setup = Setup::new();
    let mirror = setup.mirror().await;
    let base = work.path().display().to_string();
    mirror.fetch(&remote(&base), &by_id(&id), limits()).await.expect("fetched");
    let found = read(&mirror, &base, &id).await.expect("submodules");
    let lines: Vec<_> =
        found.modules.iter().map(|module| (module.name.as_str(), module.path.as_str())).collect();
    assert_eq!(lines, [("the one", "libs/inner"), ("other", "other")]);
    assert_eq!(found.unnamed, Vec::<String>::new());
    for module in found.modules {
        assert_eq!(module.commit, commit(&inner_id));
        let dir = setup.folder.path().join(module.name);
        let mirror = Mirror::open_or_create(&setup.git, dir).await.expect("a mirror");
        let wanted = gristmill_git::Wanted { git_ref: None, commit: module.commit };
        let from = gristmill_git::Remote::open(module.url);
        assert!(mirror.fetch(&from, &wanted, limits()).await.is_ok());
        let none = mirror.submodules(&from.url, module.commit, 1, SubmoduleLimits::default()).await;
        assert_eq!(none.expect("none"), Submodules::default());
    }
}

#[tokio::test]
async fn what_is_not_named_is_told_and_levels_and_numbers_have_limits() {
    let setup = Setup::new();
    let repo = TestRepo::new();
    let changes = Changes::new()
        .file(
            ".gitmodules",
            "[submodule \"a\"]\n\tpath = a\n\turl = https://x.org/a\n[core]\n\tfsmonitor = touch canary\n",
        )
        .submodule("a", PINNED)
        .submodule("b", PINNED);
    let (mirror, id) = mirrored(&setup, &repo, &changes).await;
    let base = "https://example.org/acme/shop.git";
    let found = read(&mirror, base, &id).await.expect("submodules");
    assert_eq!((found.modules.len(), found.unnamed), (1, vec!["b".to_owned()]));
    let with = async |level, limits| mirror.submodules(&url(base), commit(&id), level, limits).await;
    let exact =
        SubmoduleLimits { modules_max: 2, levels_max: 1, file_bytes_max: 94, ..SubmoduleLimits::default() };
    assert!(with(0, exact).await.is_ok());
    assert!(matches!(with(1, exact).await, Err(GitError::Submodules { .. })));
    assert!(matches!(
        with(0, SubmoduleLimits { modules_max: 1, ..exact }).await,
        Err(GitError::TooLarge { max: 1, .. })
    ));
    assert!(matches!(
        with(0, SubmoduleLimits { file_bytes_max: 10, ..exact }).await,
        Err(GitError::Object(_))
    ));
    let plain = TestRepo::new();
    let hostile = Changes::new().file(".gitmodules", "[submodule \"a\"]\n\tupdate = !touch canary\n");
    let (mirror, id) = mirrored(&setup, &plain, &hostile).await;
    assert_eq!(read(&mirror, base, &id).await.expect("nothing is pinned"), Submodules::default());
}

/// A file with one entry, and a word of the reason why it is refused.
fn entry(name: &str, path: &str, url: &str, more: &str) -> String {
    format!("[submodule \"{name}\"]\n\tpath = {path}\n\turl = {url}\n{more}")
}

/// Hostile files, each with a word of the reason.
fn hostile_files() -> Vec<(String, &'static str)> {
    let good = "https://x.org/a";
    let mut files = vec![
        ("[submodule \"a\"\n".to_owned(), "cannot read"),
        ("[submodule \"a\"]\n\tpath = \"a\n".to_owned(), "cannot read"),
        ("[submodule \"a\"]\n\tpath = \\q\n".to_owned(), "cannot read"),
        ("\0\0\0".to_owned(), "cannot read"),
        ("<<<<<<< HEAD\n".to_owned(), "cannot read"),
        ("[include]\n\tpath = /etc/passwd\n".to_owned(), "includes"),
        ("[includeIf \"gitdir:/\"]\n\tpath = ../x\n".to_owned(), "includes"),
        ("[submodule \"a\"]\n\tpath = a\n".to_owned(), "no url"),
        (format!("[submodule \"a\"]\n\turl = {good}\n"), "no path"),
        ("[submodule \"a\"]\n\tpath\n\turl = x\n".to_owned(), "no value"),
        (entry("a", "a", good, "\tpath = b\n"), "twice"),
        (entry("a", "a", good, "\turl = https://x.org/b\n"), "twice"),
        (entry("a", "a", good, "[submodule \"a\"]\n\turl = https://evil.org/a\n"), "twice"),
        (entry("a", "a", good, "[submodule \"b\"]\n\tpath = a\n\turl = https://x.org/b\n"), "same path"),
    ];
    for name in ["..", "../x", "a/../../b", "x/..", "../../.git/hooks", "..\\\\x", "/etc", "/"] {
        files.push((entry(name, "a", good, ""), "leads out"));
    }
    for name in ["-x", "--upload-pack=touch canary", "-c core.x=y", "-"] {
        files.push((entry(name, "a", good, ""), "option"));
    }
    files.push((entry("", "a", good, ""), "empty"));
    files.push((entry(&"n".repeat(256), "a", good, ""), "255"));
    files.push((entry("a\u{1b}[31m", "a", good, ""), "control"));
    for path in ["..", "../a", "a/../b", "a/..", "/a", "/", "a//b", "a/", "./a", "a/.", "."] {
        files.push((entry("a", path, good, ""), "absolute or leads"));
    }
    for path in [
        ".git",
        ".GIT",
        ".git/hooks",
        "a/.git",
        "a/.Git/x",
        ".git.",
        "\".git \"",
        "git~1",
        "GIT~1/x",
        ".git::$INDEX",
    ] {
        files.push((entry("a", path, good, ""), ".git"));
    }
    for path in ["-a", "--recurse", "-u/x"] {
        files.push((entry("a", path, good, ""), "option"));
    }
    for path in ["a\\\\b", "\"a\\tb\"", "\"a\\nb\"", "\"a\\bb\""] {
        files.push((entry("a", path, good, ""), "control character or a backslash"));
    }
    files.push((entry("a", "\"\"", good, ""), "empty"));
    files.push((entry("a", &"p".repeat(4097), good, ""), "4096"));
    for update in ["!touch canary", "!sh -c 'touch canary'", "\"!touch canary\"", "!"] {
        files.push((entry("a", "a", good, &format!("\tupdate = {update}\n")), "command"));
    }
    for update in ["", "Checkout", "rebase ", "none,!x", "-x", "checkout;touch canary"] {
        let text = format!("\tupdate = \"{update}\"\n");
        files.push((entry("a", "a", good, &text), "none of checkout"));
    }
    for key in ["branch", "ignore", "shallow", "fetchRecurseSubmodules"] {
        files.push((entry("a", "a", good, &format!("\t{key} = --upload-pack=x\n")), "option"));
        files.push((entry("a", "a", good, &format!("\t{key} = \"a\\nb\"\n")), "control"));
    }
    files.extend(
        hostile_urls().into_iter().map(|(url, why)| (entry("a", "a", &format!("\"{url}\""), ""), why)),
    );
    files
}

/// Addresses as a configuration file quotes them.
fn hostile_urls() -> Vec<(&'static str, &'static str)> {
    vec![
        ("", "empty"),
        ("-uhttps://x.org/a", "option"),
        ("--upload-pack=touch canary", "option"),
        ("ext::sh -c 'touch canary'", "run a program"),
        ("ext::sh", "run a program"),
        ("fd::17", "run a program"),
        ("foo::https://x.org/a", "run a program"),
        ("ftp://x.org/a", "not a scheme"),
        ("javascript://x.org/a", "not a scheme"),
        ("https://user:pass@x.org/a", "user or password"),
        ("https://token@x.org/a", "user or password"),
        ("ssh://-oProxyCommand=touch canary/a", "option"),
        ("ssh://-oProxyCommand=x@x.org/a", "option"),
        ("git@-oProxyCommand=x:a", "option"),
        ("git@x.org:-oProxyCommand=x", "option"),
        ("git@x.org:$(touch canary)", "blank"),
        ("git@x.org:$(touch)", "may have letters"),
        ("git@x.org:`touch`", "may have letters"),
        ("ssh://x.org/a;touch", "may have letters"),
        ("ssh://x.org/a%27%3btouch", "may have letters"),
        ("ssh://x.org/%2doption", "option"),
        ("https://x.org/a b", "blank"),
        ("https://x.org/a\\nb", "control"),
        ("https://x.org/a%0ahost", "control"),
        ("https://x.org/a%00", "control"),
        ("https://x.org/a\\\\b", "backslash"),
        ("https://x.org", "valid path"),
        ("https:///a", "valid host"),
        ("https://x.org:99999/a", "port"),
        ("https://x.org/a?b", "mean nothing"),
        ("https://x.org/../a", "not taken"),
        ("/srv/secret", "on this machine"),
        ("file:///srv/secret", "on this machine"),
        ("file:///etc", "on this machine"),
        ("file://host/a", "valid host"),
        ("secret", "full address"),
        ("../../../../x", "above"),
        ("../../../x", "above"),
        ("./", "names no repository"),
        ("../", "names no repository"),
        ("../..", "not taken"),
        ("../x/../../y", "not taken"),
        ("../a b", "blank"),
        ("../a\\nb", "control"),
        ("../x?y", "mean nothing"),
        (".././../../../x", "above"),
    ]
}

#[tokio::test]
async fn hostile_files_are_refused_with_their_reason() {
    let setup = Setup::new();
    let repo = TestRepo::new();
    let canary = setup.folder.path().join("canary");
    let files = hostile_files();
    assert!(files.len() >= 110, "{}", files.len());
    let mut ids = Vec::new();
    for (content, _) in &files {
        let content = content.replace("canary", &canary.display().to_string());
        ids.push(repo.commit("main", &Changes::new().file(".gitmodules", content).submodule("a", PINNED)));
    }
    let mirror = setup.mirror().await;
    let head =
        gristmill_git::Wanted { git_ref: Some(common::git_ref("refs/heads/main")), commit: commit(&ids[0]) };
    mirror.fetch(&remote(&repo.url()), &head, limits()).await.expect("fetched");
    for (id, (content, why)) in ids.iter().zip(&files) {
        let error = read(&mirror, "https://example.org/acme/shop.git", id).await.expect_err(content);
        assert!(
            matches!(error, GitError::Submodules { .. }) && !error.is_transient(),
            "{content:?}: {error:?}"
        );
        let text = error.to_string();
        assert!(text.contains(why) && !text.contains("pass@"), "{content:?}: {text}");
    }
    assert_nothing_ran(setup.folder.path(), &canary);
    assert!(!setup.mirror_dir().join("damaged").exists());
}

fn assert_nothing_ran(folder: &Path, canary: &Path) {
    assert!(!canary.exists());
    assert!(files_below(folder).iter().all(|(path, _)| !path.ends_with("canary")));
    assert!(!Path::new("canary").exists());
}

#[tokio::test]
async fn hostile_trees_are_refused() {
    let setup = Setup::new();
    let repo = TestRepo::new();
    let good = entry("a", "a", "https://x.org/a", "");
    for (changes, why) in [
        (Changes::new().symlink(".gitmodules", "/etc/passwd"), "not a file"),
        (Changes::new().file(".gitmodules/x", &good), "not a file"),
        (Changes::new().file(".gitmodules", &good).submodule(b"\xff", PINNED), "not UTF-8"),
        (Changes::new().file(".gitmodules", &good).submodule("-a", PINNED), "option"),
        (Changes::new().file(".gitmodules", &good).submodule("a\nb", PINNED), "control"),
        (Changes::new().file(".gitmodules", &good).submodule("git~1", PINNED), ".git"),
    ] {
        let id = repo.commit_onto("main", None, &changes.submodule("a", PINNED));
        let mirror = setup.mirror().await;
        mirror.fetch(&remote(&repo.url()), &by_id(&id), limits()).await.expect("fetched");
        let error = read(&mirror, "https://example.org/a", &id).await.expect_err(why);
        assert!(error.to_string().contains(why), "{why}: {error}");
    }
    fs::metadata(setup.repo_dir()).expect("the mirror is there");
}

#[test]
fn relative_addresses_mean_what_git_means() {
    for (base, relative, expected) in [
        ("https://x.org/acme/shop.git", "../lib.git", "https://x.org/acme/lib.git"),
        ("https://x.org/acme/shop.git/", "../lib.git", "https://x.org/acme/lib.git"),
        ("https://x.org/acme/shop.git", "./lib", "https://x.org/acme/shop.git/lib"),
        ("https://x.org/acme/shop.git", "../../other/lib", "https://x.org/other/lib"),
        ("https://x.org:8443/acme/shop.git", ".././../lib", "https://x.org:8443/lib"),
        ("ssh://git@x.org:2222/acme/shop.git", "../lib", "ssh://git@x.org:2222/acme/lib"),
        ("git@x.org:acme/shop.git", "../lib.git", "git@x.org:acme/lib.git"),
        ("git@x.org:acme/shop.git", "../../lib", "git@x.org:lib"),
        ("git@x.org:shop.git", "../lib.git", "git@x.org:lib.git"),
        ("/srv/git/shop.git", "../lib.git", "/srv/git/lib.git"),
        ("file:///srv/git/shop.git", "../../lib", "/srv/lib"),
    ] {
        let joined = url(base).join(relative).expect(relative);
        assert_eq!(joined.to_string(), expected, "{base} {relative}");
        assert_eq!(expected.parse::<RemoteUrl>().expect("read again"), joined);
    }
    for (base, relative) in [
        ("https://x.org/shop.git", "../../lib"),
        ("git@x.org:shop.git", "../../lib"),
        ("git@x.org:shop.git", "..//etc/x"),
        ("git@x.org:acme/shop.git", "../$(x)"),
        ("git@x.org:shop.git", "../-x"),
        ("/srv", "../../x"),
    ] {
        assert!(url(base).join(relative).is_err(), "{base} {relative}");
    }
}
