//! Strangers' repositories, names and configurations run nothing here.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use common::{Setup, by_id, limits, list_limits, remote, wanted};
use gristmill_git::{GitError, Reachability};
use gristmill_testkit::TestRepo;
use gristmill_testkit::repo::Changes;

/// Hooks that git knows, all of which would make the canary.
const HOOKS: &[&str] = &[
    "pre-receive",
    "post-receive",
    "update",
    "post-update",
    "pre-auto-gc",
    "post-checkout",
    "post-merge",
    "pre-push",
    "reference-transaction",
    "fsmonitor-watchman",
    "post-index-change",
];

/// Makes a repository's configuration and hooks do what they can to make the file `canary`.
fn set_traps(git_dir: &Path, canary: &Path) {
    let script = git_dir.join("trap.sh");
    fs::write(&script, format!("#!/bin/sh\ntouch '{}'\n", canary.display())).expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    fs::create_dir_all(git_dir.join("hooks")).expect("made");
    for hook in HOOKS {
        fs::copy(&script, git_dir.join("hooks").join(hook)).expect("copied");
    }
    let script = script.display();
    let mut config = fs::read_to_string(git_dir.join("config")).expect("a config");
    config.push_str(&format!(
        "[core]\n\tfsmonitor = {script}\n\tsshCommand = {script}\n\tgitProxy = {script}\n\tpager = {script}\n\
         \talternateRefsCommand = {script}\n\taskPass = {script}\n\thooksPath = {0}/hooks\n\
         [uploadpack]\n\tpackObjectsHook = {script}\n[credential]\n\thelper = !{script}\n\
         [gpg]\n\tprogram = {script}\n[uploadarchive]\n\tallowUnreachable = true\n\
         [remote \"origin\"]\n\turl = ext::{script}\n\tpromisor = true\n\tuploadpack = {script}\n\
         [extensions]\n\tpartialClone = origin\n[gc]\n\tauto = 1\n",
        git_dir.display()
    ));
    fs::write(git_dir.join("config"), config).expect("written");
}

#[tokio::test]
async fn a_trapped_repository_on_this_machine_runs_nothing() {
    let repo = TestRepo::new();
    let first = repo.commit("main", &Changes::new().file("a", "1").file(".gitattributes", "* filter=x\n"));
    let lost = repo.commit("main", &Changes::new().file("a", "2"));
    repo.commit_onto("main", Some(&first), &Changes::new().file("a", "3"));
    let setup = Setup::new();
    let canary = setup.folder.path().join("canary");
    let work = setup.folder.path().join("work");
    let plain = |args: &[&str], dir: &Path| {
        let output = Command::new("git").args(args).current_dir(dir).output().expect("git starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    plain(&["clone", "--quiet", &repo.url(), &work.display().to_string()], setup.folder.path());
    set_traps(&work.join(".git"), &canary);
    set_traps(repo.path(), &canary);
    for (n, url) in [repo.url(), format!("file://{}", work.display())].into_iter().enumerate() {
        let remote = remote(&url);
        let refs = setup.git.ls_remote(&remote, list_limits()).await.expect("a list");
        assert!(!refs.refs.is_empty());
        let dir = setup.folder.path().join(format!("mirror-{n}"));
        let mirror = gristmill_git::Mirror::open_or_create(&setup.git, dir).await.expect("a mirror");
        let fetched =
            mirror.fetch(&remote, &wanted("refs/heads/main", &first), limits()).await.expect("fetched");
        assert_eq!(fetched.reachability, Reachability::Ancestor);
        if n == 0 {
            mirror.fetch(&remote, &by_id(&lost), limits()).await.expect("fetched");
        }
        assert!(!canary.exists(), "{url} ran something");
    }
    // The traps do work: an ordinary command falls into one.
    plain(&["-c", "extensions.partialClone=", "status"], &work);
    assert!(canary.exists());
}

#[tokio::test]
async fn a_repository_of_another_user_can_be_read() {
    let repo = TestRepo::new();
    let id = repo.commit("main", &Changes::new().file("a", "1"));
    let stranger = Some(12_345);
    if std::os::unix::fs::chown(repo.path(), stranger, stranger).is_err() {
        println!("not tried: only root can give files away");
        return;
    }
    let setup = Setup::new();
    let mirror = setup.mirror().await;
    let fetched = mirror.fetch(&remote(&repo.url()), &wanted("refs/heads/main", &id), limits()).await;
    assert_eq!(fetched.expect("read").reachability, Reachability::Tip);
    // Git by itself refuses: without our configuration file the test above would fail.
    let output = Command::new("git")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .args(["ls-remote", &repo.url()])
        .output()
        .expect("git starts");
    assert!(String::from_utf8_lossy(&output.stderr).contains("dubious ownership"));
}

#[tokio::test]
async fn odd_names_are_only_names() {
    let setup = Setup::new();
    let canary = setup.folder.path().join("canary");
    let touch = format!("touch${{IFS}}{}", canary.display());
    let repo = TestRepo::new();
    let id = repo.commit("main", &Changes::new().file("a", "1"));
    let mirror = setup.mirror().await;
    for (n, name) in [
        "-x".to_owned(),
        "--upload-pack=x".to_owned(),
        format!("--upload-pack={touch}"),
        format!("$({touch})"),
        format!("`{touch}`"),
        format!(";{touch};"),
        format!("|{touch}"),
        format!("'{touch}'"),
        format!("\"{touch}\""),
        "@".to_owned(),
        "HEAD".to_owned(),
        "ünï/cødé".to_owned(),
        "refs/heads/main".to_owned(),
        "{a,b}".to_owned(),
        "#!%".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let full = format!("refs/heads/{name}");
        let Ok(git_ref) = full.parse() else { continue };
        let missing = setup.git.remote_ref(&remote(&repo.url()), &git_ref, list_limits()).await;
        assert_eq!(missing.expect("an answer"), None, "{full}");
        let commit = repo.commit_unreferenced(&[], &Changes::new().file("n", n.to_string()));
        repo.set_ref(&full, &commit);
        let found = setup.git.remote_ref(&remote(&repo.url()), &git_ref, list_limits()).await;
        assert_eq!(found.expect("an answer").map(|at| at.commit), Some(common::commit(&commit)), "{full}");
        let fetched = mirror.fetch(&remote(&repo.url()), &wanted(&full, &commit), limits()).await;
        assert_eq!(fetched.expect(&full).reachability, Reachability::Tip, "{full}");
    }
    for name in ["$(touch canary)", "'; touch canary; '", "a b", "--upload-pack=touch canary", "\"x\""] {
        let path = setup.folder.path().join("odd").join(name).join("repo.git");
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        let odd = TestRepo::at(&path);
        let id = odd.commit("main", &Changes::new().file("odd", name));
        let fetched = mirror.fetch(&remote(path.to_str().expect("UTF-8")), &by_id(&id), limits()).await;
        assert!(fetched.is_ok(), "{name}: {fetched:?}");
    }
    let home_canary = files_named(setup.folder.path(), "canary");
    assert_eq!(home_canary, 0);
    assert!(mirror.fetch(&remote(&repo.url()), &by_id(&id), limits()).await.is_ok());
}

fn files_named(dir: &Path, name: &str) -> usize {
    common::files_below(dir).iter().filter(|(path, _)| path.ends_with(name)).count()
}

#[tokio::test]
async fn git_gets_only_the_environment_we_give_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("git");
    let seen = folder.path().join("seen");
    fs::write(
        &script,
        format!("#!/bin/sh\n{{ env; echo ---; printf '%s\\n' \"$@\"; }} > {}\nexit 1\n", seen.display()),
    )
    .expect("written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("executable");
    let setup = Setup::with(|options| {
        options.program = script;
        options.env = vec![
            ("https_proxy".to_owned(), "http://proxy.example.org:3128".into()),
            ("GIT_SSH_COMMAND".to_owned(), "touch canary".into()),
            ("LD_PRELOAD".to_owned(), "/x.so".into()),
        ];
    });
    let ask = async |url: &str| {
        let error = setup.git.ls_remote(&remote(url), list_limits()).await.expect_err("the script fails");
        assert!(matches!(error, GitError::Failed { command: "ls-remote", .. }), "{error:?}");
        fs::read_to_string(&seen).expect("the script ran")
    };
    let text = ask("https://example.org/a/b.git").await;
    let (env, args) = text.split_once("---\n").expect("both parts");
    let mut env: Vec<_> =
        env.lines().filter(|line| !line.starts_with("PWD=") && !line.starts_with("_=")).collect();
    env.sort_unstable();
    let home = format!("HOME={}", setup.folder.path().join("git/home").display());
    let mut expected = [
        "GIT_ALLOW_PROTOCOL=https",
        "GIT_ATTR_NOSYSTEM=1",
        "GIT_CONFIG_GLOBAL=/dev/null",
        "GIT_CONFIG_NOSYSTEM=1",
        "GIT_NO_LAZY_FETCH=1",
        "GIT_NO_REPLACE_OBJECTS=1",
        "GIT_TERMINAL_PROMPT=0",
        &home,
        "LC_ALL=C",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "https_proxy=http://proxy.example.org:3128",
    ];
    expected.sort_unstable();
    let env: Vec<_> =
        env.into_iter().filter(|line| !line.starts_with("OLDPWD=") && !line.starts_with("SHLVL=")).collect();
    assert_eq!(env, expected);
    for setting in [
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "protocol.ext.allow=never",
        "gc.auto=0",
        "maintenance.auto=false",
        "http.followRedirects=false",
        "credential.helper=",
    ] {
        assert!(args.contains(&format!("-c\n{setting}\n")), "{setting}");
    }
    assert!(
        args.ends_with("ls-remote\n--quiet\n--heads\n--tags\n--\nhttps://example.org/a/b.git\n"),
        "{args}"
    );
    assert_eq!(fs::read_dir(setup.folder.path().join("git/home")).expect("a home").count(), 0);

    let text = ask("/srv/a.git").await;
    assert!(
        text.contains("GIT_ALLOW_PROTOCOL=file\n") && text.contains("file-remotes.gitconfig\n"),
        "{text}"
    );
    let mode = fs::metadata(setup.folder.path().join("git")).expect("a folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
